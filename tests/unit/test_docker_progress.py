"""How far a pull and a build are, from events as Docker sends them; what of them a log keeps."""

from pathlib import Path

import pytest

from stages.errors import FaceoffError
from stages.harness.environments import docker_progress
from stages.harness.environments.docker_engine import DockerEngine
from stages.harness.environments.docker_progress import Layers, Step
from tests.stand_in_engine import answering

MIB = 2**20
FIRST, SECOND = "0123456789ab", "ba9876543210"


def event(layer: str, status: str, current: int = 0, total: int = 0) -> dict[str, object]:
    return {"id": layer, "status": status, "progressDetail": {"current": current, "total": total} if total else {}}


@pytest.fixture
def layers(monkeypatch: pytest.MonkeyPatch) -> Layers:
    """Those of a pull that began 10 seconds ago."""
    monkeypatch.setattr(docker_progress.time, "monotonic", lambda: 0.0)
    found = Layers("team/train:1")
    monkeypatch.setattr(docker_progress.time, "monotonic", lambda: 10.0)
    return found


def test_a_pull_says_what_is_left_once_it_knows(layers: Layers) -> None:
    assert not layers.hear({"id": "1", "status": "Pulling from team/train"})
    for layer in (FIRST, SECOND):
        assert layers.hear(event(layer, "Pulling fs layer"))
    layers.hear(event(FIRST, "Downloading", 10 * MIB, 40 * MIB))
    assert layers.say() == "pulling team/train:1: 10 MiB, 0 of 2 layers"  # who knows how large the other is?
    layers.hear(event(SECOND, "Downloading", 10 * MIB, 60 * MIB))
    assert layers.say() == "pulling team/train:1: 20 MiB of 100 MiB, 0 of 2 layers, 40 s left"
    layers.hear(event(FIRST, "Download complete"))
    layers.hear(event(FIRST, "Extracting", 1 * MIB, 40 * MIB))
    layers.hear(event(FIRST, "Pull complete"))
    assert layers.say() == "pulling team/train:1: 50 MiB of 100 MiB, 1 of 2 layers, 10 s left"


def test_a_layer_that_is_here_already_is_not_waited_for(layers: Layers) -> None:
    layers.hear(event(FIRST, "Already exists"))
    layers.hear(event(SECOND, "Downloading", 10 * MIB, 20 * MIB))
    assert layers.say() == "pulling team/train:1: 10 MiB of 20 MiB, 1 of 2 layers, 10 s left"


def test_a_build_says_its_step_and_of_pip_its_package() -> None:
    step, said = Step(), []
    for line in (
        "Step 2/3 : RUN apt-get update",
        "Get:1 bookworm",
        "[2/2] STEP 3/3: RUN pip install -r packages.lock",  # as Podman writes it
        " ---> Running in 0123456789ab",
        "Collecting six==1.17.0 (from -r packages.lock (line 1))",
        "  Downloading six-1.17.0-py2.py3-none-any.whl (11 kB)",
        "Installing collected packages: six, torch",
    ):
        begins = step.hear(line)
        said.append(step.say())
        assert begins == ("step" in line.lower())
    assert said[1:] == [
        "step 2 of 3: Get:1 bookworm",
        "step 3 of 3: [2/2] STEP 3/3: RUN pip install -r packages.lock",
        "step 3 of 3: ---> Running in 0123456789ab",
        "step 3 of 3: package 1: six==1.17.0",
        "step 3 of 3: package 1: six-1.17.0 (11 kB)",
        "step 3 of 3: installing 2 packages",
    ]


def test_a_log_keeps_the_steps_of_a_build_and_of_one_that_fails_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled = [{"id": "1", "status": "Pulling from x"}, event(FIRST, "Pulling fs layer"), event(FIRST, "Pull complete")]
    built = [{"stream": "Step 1/1 : RUN make\n"}, {"stream": "cc: no input files\n"}]
    answers = {
        "POST /images/create": (200, [*pulled, {"status": "Downloaded"}]),
        "POST /build": (200, built),
    }
    shown: list[str] = []
    with answering(tmp_path / "socket", answers) as stand_in:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'socket'}")
        engine = DockerEngine()
        engine.pull("x:1", shown.append)
        assert shown == ["1: Pulling from x", "Downloaded"]
        engine.build({"Dockerfile": b"FROM x\n"}, "y:1", {}, None, shown.append)
        assert shown[2:] == ["Step 1/1 : RUN make"]
        stand_in.answers["POST /build"] = (200, [*built, {"error": "returned 1"}])
        with pytest.raises(FaceoffError, match="returned 1"):
            engine.build({"Dockerfile": b"FROM x\n"}, "y:1", {}, None, shown.append)
        assert shown[3:] == ["Step 1/1 : RUN make", "cc: no input files"]
