"""What faceoff expects of a container engine: one suite that the fake and Docker itself pass."""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.errors import FaceoffError
from stages.harness.environments.launch import BuildFailed, Engine, ProgramForbidden, ProgramMissing
from tests import real_engine, registry
from tests.fake_engine import FakeEngine
from tests.real_engine import make_job


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.engine)])
def engine(request: pytest.FixtureRequest) -> Engine:
    return FakeEngine("base:1") if request.param == "fake" else real_engine.connect()


@pytest.fixture
def base(engine: Engine) -> str:
    return "base:1" if isinstance(engine, FakeEngine) else real_engine.base(real_engine.connect())


@pytest.fixture
def tag(engine: Engine) -> Iterator[str]:
    name = f"faceoff-test/{uuid.uuid4().hex[:12]}:1"
    yield name
    real_engine.remove_image(engine, name)


def test_an_image_that_is_not_there_is_none(engine: Engine) -> None:
    assert engine.find("faceoff-test/none:1") is None


def test_an_image_that_is_there_has_an_id_that_stays(engine: Engine, base: str) -> None:
    found = engine.find(base)
    assert found is not None and found.image_id.startswith("sha256:") and found.size_bytes > 0
    assert engine.find(base) == found


def test_the_engine_says_its_version_and_what_runs_its_containers(engine: Engine) -> None:
    about = engine.about()
    assert about.version and about.version[0].isdigit()
    assert about.runtime and about == engine.about()


def test_what_was_built_here_has_no_registrys_digest(engine: Engine, base: str, tag: str) -> None:
    engine.build({"Dockerfile": b"ARG BASE\nFROM ${BASE}\nLABEL test=1\n"}, tag, {"BASE": base}, "none", print)
    found = engine.find(tag)
    assert found is not None and found.digest is None


@pytest.mark.parametrize(("pinned", "in_list"), [(False, False), (True, False), (False, True), (True, True)])
def test_what_was_pulled_has_its_registrys_digest(engine: Engine, pinned: bool, in_list: bool) -> None:
    with registry.serving(uuid.uuid4().bytes, in_list) as (reference, digest):
        reference += f"@{digest}" if pinned else ""
        if isinstance(engine, FakeEngine):
            engine.registry = {reference: digest}
        try:
            engine.pull(reference, print)
            found = engine.find(reference)
        finally:
            real_engine.remove_image(engine, reference)
    assert found is not None and found.digest == digest


def test_a_build_shows_its_steps_and_is_found_by_its_tag(engine: Engine, base: str, tag: str) -> None:
    shown: list[str] = []
    files = {"Dockerfile": b"ARG BASE\nFROM ${BASE}\nRUN echo hello from the build\n"}
    engine.build(files, tag, {"BASE": base}, "none", shown.append)
    assert any(re.match(r"(?i)step \d+/\d+ ?: RUN echo hello", line) for line in shown)
    assert "hello from the build" not in shown  # which is for whoever watches; of thousands of lines a log grows long
    assert engine.find(tag) is not None


def test_a_failed_build_has_its_last_words_and_leaves_no_image(engine: Engine, base: str, tag: str) -> None:
    shown: list[str] = []
    files = {"Dockerfile": b"ARG BASE\nFROM ${BASE}\nRUN echo out; echo ERROR: no wheel >&2; exit 3\n"}
    with pytest.raises(BuildFailed) as caught:
        engine.build(files, tag, {"BASE": base}, "none", shown.append)
    assert tag in str(caught.value) and "\n" not in str(caught.value)
    for line in ("out", "ERROR: no wheel"):  # without the colour that Docker puts around it
        assert line in caught.value.lines
        assert line in shown
    assert engine.find(tag) is None


def test_a_pull_of_what_no_registry_has_is_one_line(engine: Engine) -> None:
    with pytest.raises(FaceoffError, match=r"127\.0\.0\.1:1/none:1 cannot be pulled: ") as caught:
        engine.pull("127.0.0.1:1/none:1", print)
    assert "\n" not in str(caught.value)


def test_output_goes_where_the_command_sent_it(
    engine: Engine, base: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    outcome = engine.run(make_job(base, tmp_path, "sh", "-c", r"printf 'one\rtwo\n\377'; echo three >&2"))
    assert (outcome.exit_code, outcome.out_of_memory) == (0, False)
    captured = capfdbinary.readouterr()
    assert (captured.out, captured.err) == (b"one\rtwo\n\xff", b"three\n")


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_the_exit_code_is_the_commands(engine: Engine, base: str, tmp_path: Path, script: str, code: int) -> None:
    assert engine.run(make_job(base, tmp_path, "sh", "-c", script)).exit_code == code


def test_a_program_that_does_not_start_is_an_error_of_its_own(
    engine: Engine, base: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "closed").write_text("#!/bin/sh\n")
    with pytest.raises(ProgramMissing, match="has no program no-such-program") as missing:
        engine.run(make_job(base, tmp_path, "no-such-program"))
    with pytest.raises(ProgramForbidden, match=r"closed .*may not be run") as forbidden:
        engine.run(make_job(base, tmp_path, str(tmp_path / "closed")))
    assert (missing.value.exit_code, forbidden.value.exit_code) == (127, 126)
    assert not isinstance(missing.value, ProgramForbidden) and "\n" not in f"{missing.value}{forbidden.value}"
    assert capfd.readouterr() == ("", "")
    assert engine.run(make_job(base, tmp_path, "sh", "-c", "exit 126")).exit_code == 126  # the program's own


def test_the_command_is_no_shell_line(
    engine: Engine, base: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.run(make_job(base, tmp_path, "echo", "$HOME", "a  b", "&&", "--", "*"))
    assert capfd.readouterr().out == "$HOME a  b && -- *\n"


def test_directory_environment_and_writable_mount(engine: Engine, base: str, tmp_path: Path) -> None:
    engine.run(
        make_job(
            base, tmp_path, "sh", "-c", 'pwd > seen; echo "$GREETING" >> seen', environment={"GREETING": "good day"}
        )
    )
    assert (tmp_path / "seen").read_text() == f"{tmp_path}\ngood day\n"


def test_much_output_arrives_whole(
    engine: Engine, base: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.run(make_job(base, tmp_path, "python", "-c", "for i in range(50_000): print(i)"))
    assert capfd.readouterr().out.split() == list(map(str, range(50_000)))


def test_an_image_that_is_gone_is_one_line(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(FaceoffError, match=r"(?i)no such image: (docker\.io/)?faceoff-test/none:1") as caught:
        engine.run(make_job("faceoff-test/none:1", tmp_path, "true"))
    assert "\n" not in str(caught.value)
