"""Sessions on Kaggle: the real client against a stand-in of Kaggle, and the pushed script run for real."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import kagglesdk.kaggle_env
import pytest
from kagglesdk.kernels.types.kernels_enums import KernelWorkerStatus

from reach.kaggle import __main__ as command
from reach.kaggle import kernels, script
from stages.errors import FaceoffError
from stages.harness.sites import names
from tests import checkouts
from tests.jobs.dogs_cats.helper_http import serving
from tests.reach.kaggle import TOKEN, Kernels


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkouts.make_checkout(tmp_path_factory.mktemp("kaggle") / "checkout", repeats=[1])


@pytest.fixture
def server(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernels]:
    with serving(Kernels(tmp_path)) as server:
        assert isinstance(server, Kernels)
        monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
        monkeypatch.setitem(kagglesdk.kaggle_env._env_to_endpoint, kagglesdk.kaggle_env.KaggleEnv.LOCAL, server.url)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
        monkeypatch.setenv("KAGGLE_USERNAME", "someone")
        monkeypatch.setattr(command, "POLL_SECONDS", 0.05)
        monkeypatch.setattr(command, "FOLDER", tmp_path / "kernels")
        monkeypatch.chdir(checkout)
        yield server


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["reach.kaggle", *arguments])
    return command.main()


def pushed(monkeypatch: pytest.MonkeyPatch, server: Kernels, *arguments: str) -> str:
    """Push, and return the kernel's name."""
    before = {*server.kernels}
    assert run(monkeypatch, "push", "--accelerator", "NvidiaTeslaT4", *arguments) == 0
    [slug] = {*server.kernels} - before
    return slug


def offered(server: Kernels, slug: str, state: str, card: str | None) -> None:
    """Kaggle has what a session of that card left; its records are none."""
    machine = {"hardware": {"gpus": [{"name": card}] if card else []}}
    path = server.folder / "pack.zip"
    with zipfile.ZipFile(path, "w") as pack:
        pack.writestr("metrics/machine.json", json.dumps(machine))
    server.files[f"/signed/{slug}/pack.zip"] = path.read_bytes()
    server.files[f"/signed/{slug}/state.json"] = json.dumps({"state": state}).encode()
    server.states[slug] = KernelWorkerStatus.COMPLETE


@pytest.mark.slow
def test_a_session_is_pushed_runs_and_comes_back(
    server: Kernels, checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "push", "--accelerator", "none", "--hours", "2") == 0
    [slug] = server.kernels
    asked = server.kernels[slug]
    assert asked["isPrivate"] and asked["sessionTimeoutSeconds"] == 7200 and "machineShape" not in asked
    server.run(slug)
    assert run(monkeypatch, "follow") == 0
    assert len(names.session_dirs("kaggle-1", checkout)) == 1
    printed = capfd.readouterr()
    assert f"{slug}: done" in printed.out and "site kaggle-1 has 1 session now" in printed.out
    assert TOKEN not in printed.out + printed.err and "s3cr3t" not in printed.out + printed.err
    assert server.authorizations == {f"Bearer {TOKEN}", ""}  # a signed address is shown no token
    assert run(monkeypatch, "follow") == 0  # again: it is collected, and not fetched anew
    assert len(names.session_dirs("kaggle-1", checkout)) == 1
    assert run(monkeypatch, "delete", slug) == 0
    assert server.deleted == [slug]


def test_a_face_off_that_was_killed_finds_its_kernel_again(
    server: Kernels, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    push = kernels.Kaggle.push

    def killed(*arguments: object) -> str:
        push(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(kernels.Kaggle, "push", killed)
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, "push", "--accelerator", "none")
    [slug] = server.kernels
    run(monkeypatch, "follow", "--once")
    assert f"{slug}: queued" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--preset", "none"), "no preset 'none'"),
        (("--hours", "inf"), "--hours: expected a number above 0, found inf"),
        (("--hours", "-1"), "--hours: expected a number above 0, found -1"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_pushed(
    server: Kernels, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, str], said: str
) -> None:
    with pytest.raises(FaceoffError, match=said):
        run(monkeypatch, "push", "--accelerator", "none", *arguments)
    assert not server.kernels and not command.FOLDER.exists()


def test_one_that_never_came_there_is_named(
    server: Kernels, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    server.error = "Maximum batch GPU session count of 2 reached."
    with pytest.raises(FaceoffError, match=r"Kaggle refused .*: Maximum batch GPU session count of 2 reached\."):
        run(monkeypatch, "push", "--accelerator", "none")
    assert run(monkeypatch, "follow") == 1
    assert "missing (it was not pushed, or was deleted)" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("card", "shape", "said"),
    [
        ("Tesla P100-PCIE-16GB", "", "asked for NvidiaTeslaT4, and found Tesla P100-PCIE-16GB"),
        (None, "NvidiaTeslaT4", "asked for NvidiaTeslaT4, and found no GPU"),
        ("Tesla P100-PCIE-16GB", "NvidiaTeslaP100", "found Tesla P100-PCIE-16GB, and Kaggle calls it NvidiaTeslaP100"),
    ],
)
def test_another_accelerator_than_asked_for_is_told_and_not_collected(
    server: Kernels,
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    card: str | None,
    shape: str,
    said: str,
) -> None:
    slug = pushed(monkeypatch, server, "--as", "t4")
    server.shapes[slug] = shape
    offered(server, slug, "done", card)
    assert run(monkeypatch, "follow") == 1
    assert said in capfd.readouterr().err
    assert names.session_dirs("t4", checkout) == []


def test_the_accelerator_that_was_asked_for_is_taken() -> None:
    assert command.other_accelerator("NvidiaTeslaT4", "NvidiaTeslaT4", ["Tesla T4", "Tesla T4"]) is None
    assert command.other_accelerator("NvidiaL4", "", ["NVIDIA L4"]) is None
    assert command.other_accelerator("none", "", []) is None
    assert command.other_accelerator("TpuV5E8", "TpuV5E8", []) is None
    assert command.other_accelerator("none", "", ["Tesla T4"]) == "asked for no accelerator, and found Tesla T4"
    assert "Kaggle calls it None" in str(command.other_accelerator("TpuV5E8", "None", []))
    assert command.other_accelerator("NvidiaL4", "", ["NVIDIA L40S"]) is not None


@pytest.mark.parametrize(
    ("status", "own", "expected"),
    [
        (KernelWorkerStatus.COMPLETE, None, "failed"),
        (KernelWorkerStatus.ERROR, "timed-out", "timed-out"),
        (KernelWorkerStatus.ERROR, "failed", "failed"),
        (KernelWorkerStatus.ERROR, "running", "failed"),
        (KernelWorkerStatus.CANCEL_ACKNOWLEDGED, "running", "cancelled"),
        (KernelWorkerStatus.CANCEL_ACKNOWLEDGED, None, "cancelled"),
    ],
)
def test_every_end_has_a_name(
    server: Kernels,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    status: KernelWorkerStatus,
    own: str | None,
    expected: str,
) -> None:
    slug = pushed(monkeypatch, server)
    if own:
        offered(server, slug, own, "Tesla T4")
    server.states[slug] = status
    assert run(monkeypatch, "follow") == 1
    assert f"{slug}: {expected}" in capfd.readouterr().out


@pytest.mark.parametrize(("status", "said"), [(401, "expected a valid token of someone"), (503, "answers 503")])
def test_refused_is_one_line_without_the_token(
    server: Kernels, monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    slug = pushed(monkeypatch, server)
    server.refuse = status
    with pytest.raises(FaceoffError, match=said) as caught:
        run(monkeypatch, "follow")
    assert slug in str(caught.value) and TOKEN not in str(caught.value) and "\n" not in str(caught.value)


def test_a_user_that_is_not_known_is_asked_for(server: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAGGLE_USERNAME")
    with pytest.raises(FaceoffError, match="whose kernel"):
        run(monkeypatch, "push", "--accelerator", "none")
    assert server.kernels == {}


def test_a_kernel_that_is_not_ours_is_not_deleted(server: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    slug = pushed(monkeypatch, server)
    with pytest.raises(FaceoffError, match=f"no kernel of this checkout: expected one of {slug}"):
        run(monkeypatch, "delete", slug, "another")
    assert server.deleted == []


def test_what_git_ignores_does_not_go_along_and_a_large_checkout_is_refused(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = checkout / "jobs/tiny/token"
    secret.write_text("s3cr3t")
    (checkout / "jobs/tiny/.gitignore").write_text("token\n")
    try:
        assert "jobs/tiny/token" not in script.checkout.files(checkout)
        assert "jobs/tiny/train.sh" in script.checkout.files(checkout)
        monkeypatch.setattr(script, "MOST_BYTES", 1000)
        with pytest.raises(FaceoffError, match=r"Kaggle's take at most"):
            script.render(checkout, None)
    finally:
        secret.unlink()
        (checkout / "jobs/tiny/.gitignore").unlink()
