"""The notebook for Colab, run for real by nbclient on a local kernel, in a virtual environment of its own."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from reach.colab import __main__ as colab
from stages.harness.sites import names
from tests import checkouts, project

RUNNER = """\
import sys, nbclient, nbformat
from pathlib import Path
path = Path(sys.argv[1])
notebook = nbformat.read(path, as_version=4)
nbformat.validate(notebook)
nbclient.NotebookClient(notebook, timeout=400, resources={"metadata": {"path": str(path.parent)}}).execute()
nbformat.write(notebook, path)
"""
PACKAGES = ("nbclient==0.10.2", "nbformat==5.10.4", "ipykernel==6.29.5")


@pytest.fixture
def jupyter(tmp_path: Path) -> Path:
    """The Python of an environment with nbclient, which finds the harness's packages too, as if it held them."""
    made = tmp_path / "jupyter"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True)
    python = made / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *PACKAGES]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"NOT TESTED: {', '.join(PACKAGES)} cannot be installed: {done.stderr.strip()[-200:]}")
    [site] = made.glob("lib/python*/site-packages")
    (site / "harness.pth").write_text(f"import sys; sys.path.insert(0, {sysconfig.get_path('purelib')!r})\n")
    return python


@pytest.mark.slow
def test_the_notebook_runs_a_session_and_leaves_its_pack(
    jupyter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = checkouts.make_checkout(tmp_path / "checkout", repeats=[1])
    notebook = tmp_path / "colab/faceoff.ipynb"
    monkeypatch.chdir(checkout)
    arguments = ["--repository", str(checkout), "--preset", "", "--output", str(notebook)]
    monkeypatch.setattr("sys.argv", ["reach.colab", *arguments])
    assert colab.main() == 0
    done = subprocess.run([jupyter, "-c", RUNNER, notebook], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    [cell] = json.loads(notebook.read_text())["cells"]
    printed = "".join("".join(each.get("text", "")) for each in cell["outputs"])
    assert "setting up .venv" not in printed and "\x1b[" not in printed and "pack.zip: session " in printed
    assert "site colab-1 has 1 session now" in project.stage(
        checkout, "collect", str(notebook.parent / "pack.zip"), "--as", "colab-1"
    )
    assert len(names.session_dirs("colab-1", checkout)) == 1


def test_the_badge_leads_to_the_branch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").touch()
    checkouts.commit(tmp_path)
    for command in ("checkout -q -b mine", "remote add origin git@github.com:someone/face-off.git"):
        subprocess.run(["git", *command.split()], check=True)
    monkeypatch.setattr("sys.argv", ["reach.colab"])
    assert colab.main() == 0
    link = "(https://colab.research.google.com/github/someone/face-off/blob/mine/reach/colab/faceoff.ipynb)"
    assert capsys.readouterr().out.splitlines()[-1].endswith(link)
    [cell] = json.loads((tmp_path / "reach/colab/faceoff.ipynb").read_text())["cells"]
    source = "".join(cell["source"])
    compile(source, "cell", "exec")
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert f"COMMIT = {head!r}" in source and "PRESET = 'colab'" in source
    assert "REPOSITORY = 'https://github.com/someone/face-off'" in source


@pytest.mark.parametrize(
    "given",
    [
        "https://ghp_s3cr3t@github.com/a/b.git",
        "https://me:s3cr3t@github.com/a/b",
        "ssh://git@github.com/a/b.git",
        "git@github.com:a/b",
    ],
)
def test_the_notebook_clones_without_a_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    monkeypatch.chdir(tmp_path)
    checkouts.commit(tmp_path)
    monkeypatch.setattr("sys.argv", ["reach.colab", "--repository", given])
    assert colab.main() == 0
    text = (tmp_path / "reach/colab/faceoff.ipynb").read_text()
    assert "REPOSITORY = 'https://github.com/a/b'" in text
    assert "s3cr3t" not in text + capsys.readouterr().out
