"""jobs/<name>/job.yaml: what is refused, in one line that names file and key, and how commands are filled in."""

import hashlib
import re
from pathlib import Path

import pytest

from stages.errors import FaceoffError
from stages.harness.params import jobs
from stages.records import Metric, Variant
from tests.project import write_job

PLAIN = {"plain": Variant({}, {})}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_job(tmp_path, "mine", {"train.py": "print(1)\n"})
    return tmp_path


def load(root: Path, text: str) -> jobs.Definition:
    write_job(root, "mine", {"job.yaml": text})
    return jobs.load("mine", root)


def refusal(root: Path, text: str, **variants: Variant) -> str:
    with pytest.raises(FaceoffError) as caught:
        definition = load(root, text)
        jobs.check_variants("mine", definition, variants or PLAIN)
        jobs.folders("mine", definition, root)
        jobs.record("mine", definition, None, 42, root)
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_one_line_is_enough(root: Path) -> None:
    found = load(root, "train: python train.py\n")
    jobs.check_variants("mine", found, PLAIN)
    record = jobs.record("mine", found, {"b": 1, "a": 2}, 42, root)
    assert (record.train, record.evaluate, record.total, record.resumes) == ("python train.py", None, ("wall",), False)
    assert record.section_json == '{"a": 2, "b": 1}'
    assert record.files == {
        name: hashlib.sha256((root / "jobs/mine" / name).read_bytes()).hexdigest() for name in ("train.py", "job.yaml")
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trian: python train.py", "jobs/mine/job.yaml: unknown key 'trian' (did you mean 'train'?)"),
        ("evaluate: python train.py", "jobs/mine/job.yaml: key 'train' is missing"),
        ("train: ''", "jobs/mine/job.yaml: train: expected a command, found ''"),
        ("train: [python, train.py]", "jobs/mine/job.yaml: train: expected text, found ['python', 'train.py']"),
        ("train: python tarin.py", "jobs/mine/job.yaml: train: tarin.py is not in jobs/mine: expected a file there"),
        ("train: python -u tarin.py", "jobs/mine/job.yaml: train: tarin.py is not in jobs/mine: expected a file there"),
        ("train: python -u ../train.py", "jobs/mine/job.yaml: train: ../train.py is not in jobs/mine"),
        ("train: python train.py\ngpus: 0", "jobs/mine/job.yaml: gpus: expected from 1 to 64, found 0"),
        ('train: "python train.py \\0"', "jobs/mine/job.yaml: train: expected a command without a null byte"),
        ("train: python train.py\ntotal: wal", "job.yaml: total: expected wall, or a list of spans, found 'wal'"),
        ("train: python train.py\ntotal: [wall, a]", "job.yaml: total: expected wall alone, or a list of spans"),
        ("train: python 'train.py", "jobs/mine/job.yaml: train: expected a command with its quotes closed"),
        ("train: python train.py {batch}", "train: unknown placeholder {batch}: variant plain of params.yaml has no"),
        ("train: python train.py {sed}", "unknown placeholder {sed} (did you mean {seed}?)"),
        ("train: python train.py {", "jobs/mine/job.yaml: train: '{': "),
        ("train: python train.py {0.x}", "expected a placeholder such as {seed}; double the brace"),
        ("train: python train.py x{parameters}", "{parameters} stands for several words, so it is one"),
        (
            "train: python train.py\ndownload: python train.py {seed}",
            "job.yaml: download: has no placeholders, found {seed}",
        ),
        (
            "train: python train.py\nfiles: [tarin.py]",
            "job.yaml: files: tarin.py is not there: expected a file or folder",
        ),
        ("train: python train.py\nfiles: [../../x]", "is outside of jobs/mine: expected a path below it"),
        ("train: python train.py\nfiles: [/etc/passwd]", "/etc/passwd is outside of jobs/mine"),
        ("train: python train.py\ndata: [pictures]", "job.yaml: data: expected an absolute path, found 'pictures'"),
        (
            "train: python train.py\ndata: [/no/such]",
            "job.yaml: data: expected a folder that is there, found '/no/such'",
        ),
        ("train: python train.py\ntotal: [total]", "job.yaml: total: expected a span, and none called total"),
        ("train: python train.py\ntotal: []", "job.yaml: total: expected wall, or a list of spans, found []"),
        ("train: python train.py\nmetrics: {a: {unit: x, better: more}}", "better: expected one of higher, lower"),
        (
            "train: python train.py\nmetrics: {total_seconds: {unit: s, better: lower}}",
            "expected a name that is not there",
        ),
        (
            "train: python train.py\ntotal: [a]\nmetrics: {a_seconds: {unit: s, better: lower}}",
            "a name that is not there",
        ),
        (
            "train: python train.py\nmetrics: {Top-1: {unit: share, better: higher}}",
            "job.yaml: metrics: expected a name of lower-case letters, digits and '_', found 'Top-1'",
        ),
        ("train: python train.py\nresumes: maybe", "job.yaml: resumes: expected true or false"),
        ("- train", "jobs/mine/job.yaml: expected keys with values"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_key(root: Path, text: str, said: str) -> None:
    assert said in refusal(root, text)


@pytest.mark.parametrize("command", ["bash -c 'x > y.sh'", "env A=b.py true", "tool --of=x.py", "tool /opt/x.py"])
def test_what_only_looks_like_a_script_of_the_job_is_not_looked_for(root: Path, command: str) -> None:
    load(root, f"train: {command}")


@pytest.mark.parametrize("word", ["|", ">", ">>", "<", "&&", "||", ";", "2>&1", "$(nproc)", "`nproc`"])
def test_a_word_that_only_a_shell_would_act_on_is_warned_of(root: Path, word: str) -> None:
    found = load(root, f"train: python train.py {word} x\nevaluate: bash -c 'true {word} x'")
    assert jobs.warnings("mine", found) == [
        f"jobs/mine/job.yaml: train: no shell sees it: {word!r} is plain text to the command; use `bash run.sh`"
    ]


def test_a_parameter_that_reaches_no_command_is_refused_by_name(root: Path) -> None:
    said = refusal(root, "train: python train.py {size}", small=Variant({"size": 1, "rate": 2}, {}))
    assert said.startswith(
        "params.yaml: variants.small.rate: reaches no command of jobs/mine/job.yaml: write {rate} or "
    )


@pytest.mark.parametrize("name", jobs.PLACEHOLDERS)
def test_a_parameter_with_the_name_of_a_placeholder_is_refused(root: Path, name: str) -> None:
    said = refusal(root, f"train: python train.py {{{name}}}", small=Variant({name: "x"}, {}))
    assert said.startswith("params.yaml: variants.small: expected a name that is no placeholder of its own (repeat, ")
    assert said.endswith(f"found '{name}'")


def test_several_gpus_are_for_python_or_for_who_says_what_to_do_with_them(root: Path) -> None:
    """torch's launcher starts nothing but Python."""
    write_job(root, "mine", {"train.sh": ""})
    said = refusal(root, "train: bash train.sh", two=Variant({}, {}, gpus=2))
    assert said.startswith("params.yaml: variants.two: gpus is 2, and `train` of jobs/mine/job.yaml begins with 'bash'")
    assert said.endswith("write {gpus} into it where it starts its processes itself")
    for text in ("train: bash train.sh {gpus}", "train: python train.py"):
        jobs.check_variants("mine", load(root, text), {"two": Variant({}, {}, gpus=2)})


def test_a_job_that_is_not_there_is_told_with_those_that_are(root: Path) -> None:
    load(root, "train: python train.py")
    with pytest.raises(
        FaceoffError, match=re.escape("no job 'yours': expected a folder of jobs/ with a job.yaml (mine)")
    ):
        jobs.load("yours", root)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("python train.py --size {size}", ("python", "train.py", "--size", "3")),
        (
            "python train.py {parameters}",
            ("python", "train.py", "--size", "3", "--use-amp", "true", "--note", "a b; $(x)"),
        ),
        ("run '{note}' \"$(touch x)\" | > &", ("run", "a b; $(x)", "$(touch x)", "|", ">", "&")),
        ("run {size}x{seed} {{size}} {use_amp}", ("run", "3x43", "{size}", "true")),
    ],
)
def test_a_command_is_split_before_its_placeholders_are_filled_in_and_no_shell_sees_it(
    template: str, words: tuple[str, ...]
) -> None:
    parameters = {"size": 3, "use_amp": True, "note": "a b; $(x)"}
    assert jobs.command(template, parameters, {"seed": "43"}) == words


@pytest.mark.parametrize(
    ("change", "is_seen"),
    [
        (("train.py", "print(2)\n"), True),
        (("configs/deep/a.yaml", "x: 2\n"), True),
        (("notes.md", "words\n"), False),
        (("configs/__pycache__/a.pyc", "x"), False),
    ],
)
def test_what_files_names_is_what_a_result_depends_on(root: Path, change: tuple[str, str], is_seen: bool) -> None:
    write_job(root, "mine", {"configs/deep/a.yaml": "x: 1\n", "notes.md": ""})
    definition = load(root, "train: python train.py\nfiles: [train.py, configs]\n")
    before = jobs.record("mine", definition, None, 42, root)
    write_job(root, "mine", dict([change]))
    assert (jobs.record("mine", definition, None, 42, root) != before) == is_seen


def test_scripts_that_commands_name_are_among_the_files_whatever_files_says(root: Path) -> None:
    write_job(root, "mine", {"data.sh": "", "configs/a.yaml": "x: 1\n"})
    definition = load(root, "train: python -u ./train.py\ndownload: bash data.sh\nfiles: [configs]\n")
    record = jobs.record("mine", definition, None, 42, root)
    assert {*record.files} == {"job.yaml", "train.py", "data.sh", "configs/a.yaml"}


def test_metrics_of_its_own(root: Path) -> None:
    found = load(
        root, "train: python train.py\nmetrics: {tokens_per_second: {unit: t/s, better: higher, timed: true}}\n"
    )
    assert found.metrics == {"tokens_per_second": Metric("t/s", "higher", True)}
