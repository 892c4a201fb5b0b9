"""Time the same pair of trainings with faceoff and with what people would use instead: who is right, and how soon.

    python -m benchmarks.against OUTPUT.jsonl --pyperf PYTHON                 10 face-offs of each tool
    python -m benchmarks.against OUTPUT.jsonl --pyperf PYTHON --busy 1        ... beside a process that never rests
    python -m benchmarks.against OUTPUT.jsonl --face-offs 0                   the table of what is there

One of the two trainings does 5 % more in each of its steps: 21 matrix products, not 20. So 'slower' is right, and all
else is wrong, 'not shown' too: whoever looks for 5 % has then spent the machine's time for nothing. Each tool is driven
as its manual says and gives its own verdict at 95 %:

hyperfine  --warmup 1, and its own number of runs, which is 10 where a run takes long. It names a ratio of means and a
           deviation, no verdict: taken is the 95 % interval of the ratio from the times that it exports (of Welch's
           test on logarithms, as the script that comes with it tests their difference).
pyperf     `pyperf command` in 10 processes, a value in each. By its defaults it were 20 processes of 1 warm-up and 3
           values, 8 times as long. Its verdict is that of `pyperf compare_to`, by its t-test.
t-test     a plain loop, 10 rounds of both in turn, over the seconds that the training tells of its steps, without its
           start and end. Welch's test at 5 %.
faceoff    a project whose job tells its step times; 3 repeats, then as many as `until` adds. Its verdict is that of
           the setting. The seconds are those of the whole pipeline, but without measurements of the machine's speed
           (profile.measure_seconds: 0), of which no other tool tells anything.

Threads wait as params.yaml's `env` has it, for all tools alike. The training ends its process at
once: torch's own end would be a second of each run, which would hide the 5 % from hyperfine and pyperf. The tools take
turns, in another order each time. Each face-off is a line of OUTPUT.jsonl: one that is there is not run again.

It needs hyperfine (`apt-get install hyperfine`), and pyperf in a virtual environment of its own.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import yaml
from scipy import stats

from stages import codec, records
from stages.errors import FaceoffError, run_entry

ROOT = Path(__file__).resolve().parent.parent
PRODUCTS = {"plain": 20, "slowed": 21}  # in a step
STEPS = 60
RUNS = 10
CONFIDENCE = 0.95
MOST_HOURS = 0.25  # of a face-off, before it is given up
RIGHT = "slower"
NOT_SHOWN = "not shown"
TRAINING = """import json, os, sys, time
import torch

products, steps = int(sys.argv[1]), int(sys.argv[2])
one, other, into = (torch.rand(512, 512) for _ in range(3))
times = [time.perf_counter()]
for _ in range(steps):
    for _ in range(products):
        torch.mm(one, other, out=into)
    times.append(time.perf_counter())
seconds, step_seconds = times[-1] - times[0], [b - a for a, b in zip(times, times[1:])]
if "FACEOFF_EVENTS" in os.environ:
    with open(os.environ["FACEOFF_EVENTS"], "a") as events:
        span = {"span": "train", "seconds": seconds, "samples": steps, "steps": steps, "step_seconds": step_seconds}
        events.write(json.dumps(span) + "\\n")
print(seconds, flush=True)
os._exit(0)
"""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a tool says of the slowed training, and how many trainings it ran for that."""

    verdict: str
    trainings: int
    ratio: float | None  # of the slowed one's time, as the tool has it


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One face-off: a line of the output."""

    tool: str
    busy: int  # processes beside it
    face_off: int
    seconds: float  # of the machine
    verdict: str
    trainings: int
    ratio: float | None
    steps: int  # of a training: results of others are not mixed with these
    products: tuple[int, ...]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description="faceoff and other tools.")
    parser.add_argument("output", type=Path, help="JSON lines; those that are there are kept")
    parser.add_argument("--face-offs", type=int, default=10, help="of each tool (10)")
    parser.add_argument("--busy", type=int, default=0, help="processes that never rest beside it (0)")
    parser.add_argument("--tools", nargs="+", choices=[*TOOLS], default=[*TOOLS], help="all, unless named")
    parser.add_argument("--pyperf", default=sys.executable, help="a Python that has pyperf")
    options = parser.parse_args()
    if options.face_offs:
        check_tools(options.tools, options.pyperf)
    wanted = [
        (tool, number)
        for number in range(1, options.face_offs + 1)
        for tool in turned(options.tools, number)
        if not any(is_same(each, tool, options.busy, number) for each in read(options.output))
    ]
    with busy_processes(options.busy if wanted else 0):
        for tool, number in wanted:
            outcome = face_off(tool, number, options.busy, options.pyperf)
            with options.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dataclasses.asdict(outcome)) + "\n")
            print(f"{tool}, face-off {number}: {outcome.verdict} after {outcome.seconds:.0f} s", flush=True)
    print("\n".join(table(read(options.output))))
    return 0


def check_tools(tools: Sequence[str], pyperf: str) -> None:
    """Raise FaceoffError where a tool is not there."""
    if "hyperfine" in tools and shutil.which("hyperfine") is None:
        raise FaceoffError("hyperfine: not found on PATH; `apt-get install hyperfine`, or leave it out with --tools")
    if "pyperf" in tools and subprocess.run([pyperf, "-c", "import pyperf"], capture_output=True).returncode:
        advice = "`python3 -m venv DIR && DIR/bin/pip install pyperf`, then --pyperf DIR/bin/python"
        raise FaceoffError(f"pyperf: {pyperf} has none; {advice}, or leave it out with --tools")


def turned(tools: Sequence[str], number: int) -> list[str]:
    """Let another tool begin each time, so that none has always the same neighbour's heat."""
    first = number % len(tools)
    return [*tools[first:], *tools[:first]]


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep so many processes beside what is measured that never rest."""
    found = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in found:
            each.kill()
            each.wait()


def face_off(tool: str, number: int, busy: int, pyperf: str) -> Outcome:
    """Let a tool find its verdict, in a folder of its own that is laid out before the clock starts."""
    with tempfile.TemporaryDirectory(prefix="faceoff-against-") as name:
        folder = Path(name)
        lay_out(folder)
        began = time.monotonic()
        found = TOOLS[tool](folder, pyperf)
        seconds = time.monotonic() - began
    return Outcome(tool, busy, number, seconds, **dataclasses.asdict(found), steps=STEPS, products=_products())


def _products() -> tuple[int, ...]:
    return tuple(PRODUCTS.values())


# ---------------------------------------------------------------------------------------------------------- the tools


def by_hyperfine(folder: Path, pyperf: str) -> Verdict:
    """Take the interval of the ratio from the times that it exports."""
    commands = [shlex.join(training(name)) for name in PRODUCTS]
    run(folder, "hyperfine", "--style=basic", "--warmup=1", "--export-json=times.json", *commands)
    found = [each["times"] for each in json.loads((folder / "times.json").read_text())["results"]]
    return of_interval(found[0], found[1], trainings=sum(map(len, found)) + len(found))


def by_pyperf(folder: Path, pyperf: str) -> Verdict:
    """Take what `compare_to` says."""
    inherited = ",".join(variables())
    runs = (f"--processes={RUNS}", "--values=1", "--warmups=0", "--loops=1")
    for name in PRODUCTS:
        own = ("--name=training", *runs, "--quiet", f"--inherit-environ={inherited}", f"--output={name}.json")
        run(folder, pyperf, "-m", "pyperf", "command", *own, "--", *training(name))
    said = run(folder, pyperf, "-m", "pyperf", "compare_to", *(f"{name}.json" for name in PRODUCTS))
    verdict = next((word for word in ("slower", "faster") if f"x {word}" in said), NOT_SHOWN)
    means = [statistics.fmean(pyperf_values(folder / f"{name}.json")) for name in PRODUCTS]
    return Verdict(verdict, len(PRODUCTS) * RUNS, means[1] / means[0])


def pyperf_values(path: Path) -> list[float]:
    """Return the seconds of each run that pyperf kept."""
    [benchmark] = json.loads(path.read_text())["benchmarks"]
    return [value for each in benchmark["runs"] for value in each.get("values", ())]


def by_t_test(folder: Path, pyperf: str) -> Verdict:
    """Run both in turn, and test what the trainings say of their own time."""
    found: dict[str, list[float]] = {name: [] for name in PRODUCTS}
    for _ in range(RUNS):
        for name, seconds in found.items():
            seconds.append(float(run(folder, *training(name)).split()[-1]))
    return of_interval(found["plain"], found["slowed"], trainings=len(PRODUCTS) * RUNS)


def by_faceoff(folder: Path, pyperf: str) -> Verdict:
    """Run the pipeline, and add repeats until the verdict is settled."""
    run(folder, sys.executable, "-m", "stages.until", f"--hours={MOST_HOURS}")
    compared = codec.read(folder / records.COMPARISON_PATH, records.Comparison)
    setting = next(each for each in compared.settings if each.setting == "host/slowed")
    ratio = setting.ratios.get(setting.verdict_by)
    trainings = len([*folder.glob("metrics/host/*/train-*.json")])
    return Verdict(setting.verdict, trainings, ratio.mean if ratio else None)


TOOLS: dict[str, Callable[[Path, str], Verdict]] = {
    "hyperfine": by_hyperfine,
    "pyperf": by_pyperf,
    "t-test": by_t_test,
    "faceoff": by_faceoff,
}


def training(name: str) -> list[str]:
    """Return the command of a training."""
    return [sys.executable, "train.py", str(PRODUCTS[name]), str(STEPS)]


def variables() -> dict[str, str]:
    """Return the environment variables that params.yaml gives to every job."""
    found: dict[str, str] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["env"]
    return found


def of_interval(plain: Sequence[float], slowed: Sequence[float], trainings: int) -> Verdict:
    """Judge by whether the interval of the ratio holds 1: Welch's test on the logarithms."""
    ours, theirs = ([math.log(each) for each in seconds] for seconds in (slowed, plain))
    low, high = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(CONFIDENCE)
    verdict = RIGHT if low > 0 else "faster" if high < 0 else NOT_SHOWN
    return Verdict(verdict, trainings, math.exp((low + high) / 2))


def run(folder: Path, *command: str) -> str:
    """Run a command there, and return what it printed. Raises FaceoffError where it fails."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, **variables(), "PATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise FaceoffError(f"{shlex.join(command[:4])}: exit code {done.returncode}: {said[-1] if said else 'no word'}")
    return done.stdout


# --------------------------------------------------------------------------------------------------------- the project


def lay_out(folder: Path) -> None:
    """Write the training, and a checkout of faceoff whose job it is."""
    (folder / "train.py").write_text(TRAINING, encoding="utf-8")
    for part in ("stages", "docker", ".dvc/plots"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copy(ROOT / file, folder / file)
    (folder / ".venv").symlink_to(sys.prefix)  # whose Python runs each stage of dvc.yaml
    (folder / "docker/host/image.yaml").write_text(f"python: {sys.executable}\n", encoding="utf-8")
    job = folder / "jobs/mine"
    job.mkdir(parents=True)
    shutil.copy(folder / "train.py", job)
    definition = {"train": f"python train.py {{products}} {STEPS}", "total": ["train"], "observe": "none"}
    (job / "job.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params = {name: value for name, value in params.items() if name != params["job"]}
    params |= {
        "image": "host",
        "images": ["host"],
        "job": "mine",
        "variants": {name: {"products": products} for name, products in PRODUCTS.items()},
        "repeats": [1, 2, 3],
        "profile": {"measure_seconds": 0},
        "compare": {**params["compare"], "baseline": "host/plain"},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    user = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
    for command in (("init", "-q"), ("add", "--all"), (*user, "commit", "-q", "-m", "A project")):
        run(folder, "git", *command)


# ----------------------------------------------------------------------------------------------------------- the table


def read(path: Path) -> list[Outcome]:
    """Return the face-offs that are there, of these trainings."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    documents = map(json.loads, lines)
    found = [Outcome(**{**document, "products": tuple(document["products"])}) for document in documents]
    return [each for each in found if (each.steps, each.products) == (STEPS, _products())]


def is_same(outcome: Outcome, tool: str, busy: int, number: int) -> bool:
    """Whether that face-off is this one."""
    return (outcome.tool, outcome.busy, outcome.face_off) == (tool, busy, number)


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield a Markdown table: by load and tool, how often it was right and what a verdict took."""
    head = ("beside it", "tool", "face-offs", "right", "machine-seconds, median", "mean", "trainings", "ratio, median")
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for busy in sorted({each.busy for each in outcomes}):
        for tool in TOOLS:
            found = [each for each in outcomes if (each.busy, each.tool) == (busy, tool)]
            if found:
                load = f"{busy} busy" if busy else "nothing"
                yield f"| {load} | {tool} | {' | '.join(_row(found))} |"


def _row(found: Sequence[Outcome]) -> Iterator[str]:
    seconds = [each.seconds for each in found]
    ratios = [each.ratio for each in found if each.ratio is not None]
    yield str(len(found))
    yield str(sum(each.verdict == RIGHT for each in found))
    yield f"{statistics.median(seconds):.0f}"
    yield f"{statistics.fmean(seconds):.0f}"
    yield f"{statistics.median(each.trainings for each in found):g}"
    yield f"{statistics.median(ratios):.3f}" if ratios else "-"


if __name__ == "__main__":
    run_entry(main)
