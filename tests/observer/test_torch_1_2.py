"""The oldest torch, in the image that has it, with fastai 1: the scripts that know no newer one."""

import subprocess
from pathlib import Path

import pytest

from stages.workload.observer.read import observed
from tests import real_engine
from tests.observer.observing import HOOK, SCRIPTS, Seen, look_again

pytestmark = [pytest.mark.engine, pytest.mark.slow]

FASTAI_1 = """
import time
from common import data, net, tell, nn
from fastai.basics import *

class Own(Callback):
    _order = 99
    spent = began = steps = 0
    def on_epoch_begin(self, **kwargs):
        Own.began = time.perf_counter()
    def on_step_end(self, **kwargs):
        Own.ended, Own.steps = time.perf_counter(), Own.steps + 1
    def on_epoch_end(self, **kwargs):
        Own.spent += Own.ended - Own.began

bunch = DataBunch.create(data(130), data(40), bs=16, num_workers=0, device=torch.device("cpu"))
learn = Learner(bunch, net(), loss_func=nn.functional.cross_entropy, path="/tmp")
learn.fit(2, callbacks=[Own()])
tell(train=2, steps=Own.steps, samples=256, validation=2, seconds=Own.spent)
"""


@pytest.fixture(scope="module")
def image() -> str:
    images = real_engine.connect()._client.images.list("faceoff/cuda-10.0")
    if not images:
        real_engine.unable("cuda-10.0 is not built")
    reference: str = images[0].id
    return reference


@pytest.mark.parametrize(
    "command",
    [
        "plain.py",
        "plain.py WORKERS=1",
        "accumulate.py",
        "gan.py",
        "two_loaders.py",
        "two_loaders.py WORK=both",
        "midway.py",
        "no_loader.py",
        "subclassed.py",
        "subclassed.py THREAD=1",
        "sizes.py",
        "on_card.py CASES=launch-bound",
        "children.py fork",
        "children.py spawn",
        FASTAI_1,
    ],
)
def test_counts_are_the_scripts_own(tmp_path: Path, image: str, command: str) -> None:
    seen, wrong = look_again(tmp_path, whose_time_is_off, lambda folder: observe_in(image, folder, command))
    assert not wrong, (seen.truth, seen.observation.spans)


def observe_in(image: str, folder: Path, command: str) -> Seen:
    """Run a script, or a program, with the observer in a container."""
    folder.chmod(0o777)
    words = ["-c", command] if "\n" in command else [word for word in command.split() if "=" not in word]
    changes = [] if "\n" in command else [word for word in command.split() if "=" in word]
    environment = ["FACEOFF_OBSERVE=/out/observed", "PYTHONPATH=/hook:/scripts", "OMP_NUM_THREADS=1", *changes]
    docker = ["docker", "run", "--rm", "--network=none", "--shm-size=256m", "--workdir=/scripts", "--entrypoint="]
    volumes = [f"{HOOK}:/hook:ro", f"{SCRIPTS}:/scripts:ro", f"{folder}:/out"]
    options = [*(f"--env={each}" for each in environment), *(f"--volume={each}" for each in volumes)]
    done = subprocess.run([*docker, *options, image, "python", *words], capture_output=True, text=True, timeout=300)
    return Seen(done, observed(folder / "observed"), sorted(folder.glob("*.jsonl")))


def whose_time_is_off(seen: Seen) -> list[str]:
    assert seen.counts == {key: seen.truth[key] for key in ("train", "steps", "samples", "validation")}
    assert "faceoff" not in seen.done.stderr
    assert seen.observation.torch == "1.2.0"
    if "seconds" in seen.truth:
        return ["train"] if seen.seconds("train") != pytest.approx(seen.truth["seconds"], rel=0.01, abs=0.003) else []
    # A card that is none waits for launches whenever its steps compute.
    last = [span.split for span in seen.observation.spans if span.name == "train"][-1]
    launches = last is not None and last.launch_seconds == pytest.approx(last.compute_seconds, rel=0.05)
    return [] if launches else ["launches"]
