"""The zip of a run: what is in it, what never is, and that the same run makes the same one."""

import json
import shutil
import zipfile

import pytest

from stages import codec, records
from stages.errors import FaceoffError
from stages.harness.sites import pack
from tests import project, results, sites

SECRET = "hunter2-hunter2"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A project with results, data, a model and files that are nobody's business."""
    folder = sites.make_project(tmp_path_factory.mktemp("pack") / "project")
    for name in (
        "jobs/toy/.env",
        "jobs/toy/kaggle.json",
        "jobs/toy/id_rsa",
        "jobs/toy/weights.bin",
        "docker/host/key.pem",
    ):
        (folder / name).write_bytes(b"private" * (200_000 if name.endswith(".bin") else 1))
    sites.measure(folder, 0)
    for name in ("data/toy/item.png", "models/host/fp32-bs16/1/model.pt", ".env", "secrets.json", "metrics/.half.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("private")
    (folder / "metrics/gone").mkdir()
    (folder / "metrics/gone/profile.json").write_text("of an image that is no more")
    return folder


@pytest.fixture
def folder(measured, tmp_path, monkeypatch):
    """A copy, without the code."""
    made = tmp_path / "project"
    shutil.copytree(measured, made, ignore=shutil.ignore_patterns("stages"))
    monkeypatch.chdir(made)
    return made


def contents(path):
    with zipfile.ZipFile(path) as made:
        return {name: made.read(name) for name in made.namelist()}


def test_it_holds_definitions_and_records_and_nothing_private(folder):
    path, index, left_out = pack.pack()
    found = contents(path)
    assert path == records.REPORT_PATH.parent / f"{index.session}.zip" and index.session.startswith("20260102-030405-")
    assert {*found} == {"pack.json", *index.files}
    cells = {f"metrics/host/fp32-bs16/{name}-{repeat}" for name in ("train", "steps") for repeat in (1, 2, 3)}
    assert cells <= {name.rsplit(".", 1)[0] for name in found}
    wanted = {"params.yaml", "data/manifest.json", "jobs/toy/job.yaml", "jobs/toy/train.py", "docker/host/image.yaml"}
    assert wanted | {"metrics/session.json", "metrics/host/profile.json", "docker/Dockerfile"} <= {*found}
    assert [name for name, content in found.items() if b"private" in content or "gone" in name] == []
    told = {each.split()[0]: each.split(maxsplit=1)[1] for each in left_out}
    assert told == {
        "jobs/toy/.env": "is hidden, or ends in a dot or a space",
        "jobs/toy/kaggle.json": "may hold a secret, by its name",
        "jobs/toy/id_rsa": "may hold a secret, by its name",
        "jobs/toy/weights.bin": "is too large for a definition",
        "docker/host/key.pem": "may hold a secret, by its name",
    }


def test_the_same_run_makes_the_same_pack(folder, tmp_path):
    one, two = (sites.packed(tmp_path / f"{name}.zip").read_bytes() for name in "ab")
    assert one == two


@pytest.mark.parametrize("key", ["env", "variant", "image", "shell"])
def test_a_secret_that_a_variable_holds_is_refused_by_its_place(folder, monkeypatch, key):
    def change(params):
        if key == "env":
            params["env"]["MY_TOKEN"] = SECRET
        if key == "variant":
            params["variants"]["fp32-bs16"]["env"] = {"DB_PASSWORD": SECRET}

    sites.change_params(folder, change)
    if key == "image":
        image = folder / "docker/host/image.yaml"
        image.write_text(image.read_text() + f"env: {{API_KEY: {SECRET}}}\n")
    sites.measure(folder, 0)
    if key == "shell":
        monkeypatch.setenv("WANDB_API_KEY", SECRET)
        (folder / "jobs/toy/train.py").write_text(f"login({SECRET!r})")
        sites.measure(folder, 0)
    place = {
        "env": "params.yaml holds the value of MY_TOKEN (params.yaml: env)",
        "variant": "holds the value of DB_PASSWORD (params.yaml: variants.fp32-bs16.env)",
        "image": "docker/host/image.yaml holds the value of API_KEY (docker/host/image.yaml: env)",
        "shell": "jobs/toy/train.py holds the value of WANDB_API_KEY (the shell)",
    }[key]
    with pytest.raises(FaceoffError) as caught:
        pack.pack()
    assert place in str(caught.value) and SECRET not in str(caught.value)
    assert not (folder / "reports").exists()


@pytest.mark.parametrize("spelled", [SECRET.join("''"), f"{SECRET[:4]}''{SECRET[4:]}".join("''"), '"\\x61bcdefgh"'])
def test_a_secret_in_params_is_refused_however_yaml_spells_it(folder, spelled):
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("\nenv:\n", f"\nenv:\n  MY_TOKEN: {spelled}\n"))
    sites.measure(folder, 0)
    with pytest.raises(FaceoffError, match=r"params.yaml holds the value of MY_TOKEN \(params.yaml: env\)"):
        pack.pack()


def test_a_secret_is_found_in_json_as_that_spells_it(folder, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", 'pass"wo\\rd')
    (folder / "jobs/toy/login.json").write_text(json.dumps({"login": 'pass"wo\\rd'}))
    sites.measure(folder, 0)
    with pytest.raises(FaceoffError, match=r"jobs/toy/login.json holds the value of DB_PASSWORD \(the shell\)"):
        pack.pack()


def test_an_address_with_a_password_is_refused(folder):
    (folder / "docker/host/requirements.in").write_text("--index-url https://me:hunter2@mirror.example/simple\n")
    with pytest.raises(FaceoffError, match=r"docker/host/requirements.in holds an address with a password in it"):
        pack.pack()


def test_what_a_collector_would_refuse_is_refused_where_it_is_packed(folder):
    path = folder / "docker/host/image.yaml"
    path.write_text("x: &a 1\ny: *a\n")
    with pytest.raises(FaceoffError, match=r"docker/host/image.yaml: has an alias"):
        pack.pack()


def test_before_anything_is_measured_it_says_so(folder):
    shutil.rmtree("metrics/host")
    with pytest.raises(FaceoffError, match="no training ran whole, so there is nothing to keep"):
        pack.pack()


def test_by_the_command_it_says_where_the_pack_lies_and_what_stayed(measured, tmp_path):
    done = project.run_stage(measured, "pack", "--output", str(tmp_path / "made.zip"))
    assert (done.returncode, done.stderr.count("faceoff: not packed: ")) == (0, 5)
    assert done.stdout.startswith(f"{tmp_path}/made.zip: session 20260102-030405-")
    assert json.loads(contents(tmp_path / "made.zip")["pack.json"])["schema_version"] == codec.SCHEMA_VERSION
    assert results.TOY["job.yaml"].encode() in contents(tmp_path / "made.zip").values()
