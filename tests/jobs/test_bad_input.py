"""What a job's folder, its variants and its events may have wrong: each is one line that names file and key."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from stages import codec, records
from tests import real_engine
from tests.project import make_project, run_stage, stage, write_job

TINY = "jobs/tiny/job.yaml"
TRAIN = "train: bash train.sh"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A project that has looked at its machine, job, data and image."""
    folder = make_project(tmp_path_factory.mktemp("bad") / "project", ["host"], repeats=[1])
    for name in (("machine",), ("job",), ("download",), ("image", "host")):
        stage(folder, *name)
    return folder


@pytest.fixture
def project(checkout):
    """The same, with its params and its job's files as they were."""
    kept = {path: path.read_text() for path in (checkout / "params.yaml", *(checkout / "jobs/tiny").iterdir())}
    yield checkout
    for path, text in kept.items():
        path.write_text(text)
    for path in set((checkout / "jobs/tiny").iterdir()) - {*kept}:
        path.unlink()


def refusal(folder):
    """The one line that `make repro` begins with, and so ends with; nothing was written."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    done = run_stage(folder, "params")
    [line] = done.stderr.splitlines()
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert done.returncode == 1 and before == after
    return line


def with_variants(folder, variants):
    params = yaml.safe_load((folder / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump({**params, "variants": variants}, sort_keys=False))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trian: bash train.sh", "unknown key 'trian' (did you mean 'train'?)"),
        ("evaluate: bash train.sh", "key 'train' is missing"),
        ("train: [bash, train.sh]", "train: expected text"),
        ("train: ''", "train: expected a command"),
        ("train: 'bash train.sh \"{seed}'", "train: expected a command with its quotes closed"),
        ("train: python nowhere.py", "train: nowhere.py is not in jobs/tiny: expected a file there"),
        (f"{TRAIN}\nevaluate: bash nowhere.sh", "evaluate: nowhere.sh is not in jobs/tiny"),
        (f"{TRAIN} {{sede}}", "train: unknown placeholder {sede} (did you mean {seed}?)"),
        (f"{TRAIN} {{seed!r}}", "train: '{seed!r}': expected a placeholder such as {seed}"),
        (f"{TRAIN} {{seed", "train: '{seed': expected '}' before end of string"),
        (f"{TRAIN} --{{parameters}}", "{parameters} stands for several words"),
        (f"{TRAIN}\ndownload: bash train.sh {{seed}}", "download: has no placeholders, found {seed}"),
        (f"{TRAIN}\nfiles: [train.sh, ../../params.yaml]", "files: "),
        (f"{TRAIN}\nfiles: [trian.sh]", "files: trian.sh is not there"),
        (f"{TRAIN}\ndata: [datasets/mine]", "data: expected an absolute path, found 'datasets/mine'"),
        (f"{TRAIN}\ndata: [/no/such/folder]", "data: expected a folder that is there, found '/no/such/folder'"),
        (f"{TRAIN}\ntotal: []", "total: expected wall, or a list of spans"),
        (f"{TRAIN}\nresumes: sometimes", "resumes: expected true or false, found 'sometimes'"),
        (f"{TRAIN}\nmetrics: {{score: {{unit: points, better: more}}}}", "better: expected one of higher, lower"),
        (f"{TRAIN}\nmetrics: {{total_seconds: {{unit: s, better: lower}}}}", "metrics: expected a name that is not"),
        (f"{TRAIN}\nmetrics: {{score: {{unit: points, better: higher, timd: true}}}}", "unknown key 'timd'"),
        (f"{TRAIN}\ncheck: bash check.sh", "check of variant plain: batch_size 3 is odd"),
        ("train: [", TINY),
    ],
)
def test_a_job_that_is_wrong_is_refused_by_file_and_key(project, text, words):
    write_job(project, "tiny", {"job.yaml": text + "\n"})
    if "check" in text:
        write_job(project, "tiny", {"check.sh": 'echo \'{"error": "batch_size 3 is odd"}\' >> $FACEOFF_EVENTS\n'})
    line = refusal(project)
    assert line.startswith(f"faceoff: {TINY}: ") and words in line


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ({}, "variants: expected at least one"),
        (["plain"], "variants: expected names with their parameters"),
        ({"plain": None}, "variants.plain: expected parameters, or {} for none"),
        ({"fp32.bs16": {}}, "variants: expected a name of lower-case letters, digits, '_' and '-'; DVC takes no dot"),
        ({"Plain": {}}, "variants: expected a name of lower-case letters"),
        ({"plain": {"batch_size": 16}}, "variants.plain.batch_size: reaches no command of " + TINY),
        ({"plain": {}, "other": {"threads": 2}}, "variants.other.threads: reaches no command"),
        ({"plain": {"sizes": [16, 32]}}, "sizes'"),
        ({"plain": {"Batch": 16}}, "parameters: expected lower-case letters, digits and '_', found 'Batch'"),
        ({"plain": {"env": {"FACEOFF_EVENTS": "x"}}}, "env: expected a variable's name, and none that begins with"),
        ({"plain": {"env": {"OMP_NUM_THREADS": 2}}}, "OMP_NUM_THREADS']: expected text, found 2: put it in quotes"),
        ({"plain": {"env": ["A=1"]}}, "env: expected a mapping"),
    ],
)
def test_variants_that_cannot_be_told_apart_or_named_are_refused(project, variants, words):
    with_variants(project, variants)
    line = refusal(project)
    assert line.startswith("faceoff: params.yaml: ") and words in line


def test_a_job_that_is_not_there_is_refused_with_those_that_are(project):
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("job: tiny", "job: tny"))
    assert refusal(project).startswith("faceoff: params.yaml: job: no job 'tny': expected a folder of jobs/")
    (project / "params.yaml").write_text(text + "tinny: {}\n")
    assert "params.yaml: unknown key 'tinny' (did you mean 'tiny'?)" in refusal(project)


def attempt(folder, script, image="host"):
    """Train the cell by this script; how it ended, and its result."""
    write_job(folder, "tiny", {"train.sh": script})
    cell = records.Cell(image, "plain", 1)
    command = [sys.executable, "-m", "stages.inside", image, "--result", str(cell.result_path("train"))]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert "Traceback" not in done.stderr
    return done, codec.read(folder / cell.result_path("train"), records.Result)


def says(line):
    """A script that writes this line, and ends well."""
    return f"cat >> $FACEOFF_EVENTS << 'END'\n{line}\nEND\n"


WORK = '{"span": "work", "seconds": 1}'


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (says('{"spam": "work"}'), "line 1: unknown key 'spam' (did you mean 'span'?)"),
        (says('{"span": "work", "seconds": 1, "smaples": 2}'), "unknown key 'smaples' (did you mean 'samples'?)"),
        (says(WORK + '\n{"span": "work", "seconds": NaN}'), "line 2: not JSON (NaN is no number)"),
        (says('{"span": "work", "seconds": -1}'), "line 1.seconds: expected 0 or more, found -1"),
        (says('{"span": "work", "seconds": "1"}'), "line 1.seconds: expected a finite number, found '1'"),
        (says(WORK + '\n{"metric": "work", "value": 1}'), "line 2: 'work' is a metric here and was a span before"),
        (says('{"metric": "scoer", "value": 1}'), "metric 'scoer' is not in `metrics` of job.yaml (did you mean"),
        (says('{"metric": "score", "value": true}'), "line 1: value: expected a finite number, found True"),
        (says('{"span": "work", "metric": "score", "seconds": 1}'), "span and metric in one line"),
        (says("work took 3 s"), "line 1: not JSON"),
        (says("[1, 2]"), "line 1: expected an object"),
        (says(WORK) + 'printf \'{"span": "wo\' >> $FACEOFF_EVENTS', "line 2: not JSON"),
        (
            says(WORK) + 'printf \'{"fact": "\\377", "value": 1}\\n\' >> $FACEOFF_EVENTS',
            "line 2: bytes that are no UTF-8",
        ),
        ('yes \'{"span": "work", "seconds": 1}\' | head -c 10M >> $FACEOFF_EVENTS', "bytes, at most 8388608 are read"),
        (says('{"resumed_after_spans": 2}') + says(WORK), "resumed_after_spans: 2, but earlier attempts"),
        ("true", "the job reported no span 'work', which `total` of jobs/tiny/job.yaml names"),
        (says('{"error": "out of memory at batch size 64"}'), "out of memory at batch size 64"),
        (says('{"error": "no such network"}') + "exit 1", "no such network"),
        (
            says(WORK) + "echo 1 >> log.txt",
            "log.txt changed in jobs/tiny while it ran, which would measure all again",
        ),
        (says(WORK) + "rm train.sh", "a file of jobs/tiny was removed while it ran"),
        (says(WORK) + "exit 3", "the command ended with exit code 3; its own words are above"),
        (says(WORK) + "kill -SEGV $$", "it died of a segmentation fault"),
        (says(WORK) + "kill -KILL $$", "it was killed (SIGKILL), and not by faceoff"),
        (says(WORK) + "sleep 3; rm $FACEOFF_EVENTS; sleep 1", "it was removed: open it to append"),
        (says(WORK) + "sleep 3; : > $FACEOFF_EVENTS; sleep 1", "shorter than before: open it to append"),
    ],
)
def test_a_training_that_breaks_the_contract_fails_with_the_line_that_does(project, script, words):
    done, result = attempt(project, script)
    assert done.returncode != 0
    assert result.status == "failed" and words in result.reason and "\n" not in result.reason
    assert [line for line in done.stderr.splitlines() if line.startswith("faceoff: ") and words in line]
    assert list((project / "models/host/plain/1").iterdir()) == []


def test_what_a_result_does_not_depend_on_may_be_written_into_the_jobs_folder(project):
    write_job(project, "tiny", {"job.yaml": TRAIN + "\ntotal: [work]\nfiles: [train.sh]\n"})
    stage(project, "job")
    done, result = attempt(project, says(WORK) + "echo 1 > log.txt")
    assert (done.returncode, result.status) == (0, "ok")


@pytest.mark.parametrize(
    "script",
    [
        says(WORK) + "exec >&- 2>&-",
        "exec >&- 2>&- <&-\n" + says(WORK),
        says(WORK) + "echo; printf '\\377\\n'; echo nonsense >&2",
        says(WORK) + "echo >> $FACEOFF_EVENTS",
        f"printf '%s' '{WORK}' >> $FACEOFF_EVENTS",
        "read -r line\n" + says(WORK),
        says(WORK) + "trap '' TERM HUP",
    ],
    ids=["closes stdout", "closes all", "prints nonsense", "an empty line", "no last newline", "reads", "traps"],
)
def test_a_training_that_is_odd_and_within_the_contract_counts(project, script):
    done, result = attempt(project, script)
    assert (done.returncode, result.status, [span.name for span in result.spans]) == (0, "ok", ["work"])


def test_what_a_job_leaves_behind_is_ended_and_what_it_writes_later_does_not_count(project):
    later = f"(trap '' TERM HUP; echo $BASHPID > {project}/left; sleep 2; {says(WORK)}\n) &\nsetsid sleep 60 &\n"
    began = time.monotonic()
    done, result = attempt(project, says(WORK) + later + f"until test -s {project}/left; do sleep 0.05; done")
    assert done.returncode == 0 and time.monotonic() - began < 30
    assert len(result.spans) == 1
    assert not Path("/proc", (project / "left").read_text().strip()).exists()


def test_no_shell_sees_a_command(project):
    """What a shell would run, expand or redirect are plain words."""
    write_job(
        project,
        "tiny",
        {
            "job.yaml": "train: python train.py \"$(touch ran)\" 'a  b' {{x}} ; > out {greeting}\ntotal: wall\n",
            "train.py": "import json, os, sys\nopen(os.environ['FACEOFF_EVENTS'], 'a').write(\n"
            "    json.dumps({'fact': 'words', 'value': json.dumps(sys.argv[1:]).encode().hex()}) + '\\n')\n",
        },
    )
    with_variants(project, {"plain": {"greeting": "it's `id` $HOME"}})
    stage(project, "job")
    _, result = attempt(project, "")
    assert json.loads(bytes.fromhex(result.facts["words"])) == [
        "$(touch ran)",
        "a  b",
        "{x}",
        ";",
        ">",
        "out",
        "it's `id` $HOME",
    ]
    assert not (project / "jobs/tiny/ran").exists() and not (project / "jobs/tiny/out").exists()


def test_a_job_that_says_nothing_is_timed_by_the_wall_clock(project):
    write_job(project, "tiny", {"job.yaml": TRAIN + "\n"})
    stage(project, "job")
    _, result = attempt(project, "sleep 0.3")
    assert result.status == "ok" and result.spans == () and 0.3 <= result.command_seconds < 3


def test_unsupported_is_no_failure_whatever_the_exit_code(project):
    done, result = attempt(project, says('{"unsupported": "no mixed precision on a CPU"}') + "exit 9")
    assert (done.returncode, result.status, result.reason) == (0, "unsupported", "no mixed precision on a CPU")


@pytest.mark.engine
def test_a_job_that_writes_into_its_folder_in_a_container_is_told_where_to(tmp_path):
    reference = real_engine.base(real_engine.connect())
    folder = make_project(tmp_path / "project", ["host"], repeats=[1], container={"gpus": "none"})
    (folder / "docker/bare").mkdir()
    (folder / "docker/bare/image.yaml").write_text(f"pull: {reference}\n")
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("host", "bare"))
    for name in (("machine",), ("job",), ("download",), ("image", "bare")):
        stage(folder, *name)
    done, result = attempt(folder, "set -e; echo a model > model\n", "bare")
    assert done.returncode != 0 and result.status == "failed"
    assert "read-only" in result.reason and "{output}" in result.reason and "\n" not in result.reason
    done, result = attempt(folder, 'echo a model > "$FACEOFF_OUTPUT/model"\n' + says(WORK), "bare")
    assert (done.returncode, result.status) == (0, "ok")
