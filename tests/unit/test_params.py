"""params.yaml through the real command: presets, and one line for whatever is wrong, before anything is done."""

import re
from pathlib import Path

import pytest
import yaml

from stages.errors import FaceoffError
from stages.harness.params import schema
from tests.project import PRESETS, copy_shipped, run_stage, write_job

TEXT = """\
# What the face-off runs.
image: host               # whose metrics
images: [host]
job: dogs_cats
variants:                 # a name, and what it stands for
  fp32-bs16: {precision: fp32, batch_size: 16}
  mixed-bs16: {precision: mixed, batch_size: 16}
repeats: [1, 2, 3]        # they interleave
seed: 42
env: {OMP_WAIT_POLICY: passive}
dogs_cats:
  dataset:
    source: synthetic     # or another
    folder: null
    train_photos: 320
    valid_photos: 96
    seed: 42
  recipe:
    arch: resnet18        # or another
    pretrained: false
    size: 96
    frozen_epochs: 1
    unfrozen_epochs: 1
    frozen_learning_rate: 3.0e-3
    unfrozen_learning_rates: [1.0e-5, 3.0e-4]
    pct_start: 0.05
    workers: 2
    channels_last: true
container:
  gpus: auto              # when there are any
  shm_size: 1g
  memory: null            # no limit
  cpus: null
  cpuset: null
  base_images: {}
on_failure: stop
limits:
  stall_minutes: 10
  cell_minutes: null
profile:
  measure_seconds: 20
provider: {name: null, source: null, cpus: null, memory: null, gpu: null, gpus: null, gpu_memory: null, disk: null}
session:
  max_hours: null
compare:
  baseline: host/fp32-bs16
  margin: 0.02
  looks: []
  remeasure: 1
"""


@pytest.fixture
def folder(tmp_path):
    """A project with params.yaml of its own, and this checkout's presets, images and jobs."""
    copy_shipped(tmp_path, "stages", "docker", "presets", "jobs")
    (tmp_path / "params.yaml").write_text(TEXT)
    return tmp_path


def refusal(folder, *arguments):
    """The one line that the command ends with."""
    done = run_stage(folder, "params", *arguments)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.startswith("faceoff: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("faceoff: ").rstrip()


def within(part, whole):
    """Whether all that `part` says stands in `whole`."""
    if isinstance(part, dict):
        return all(key in whole and within(value, whole[key]) for key, value in part.items())
    return part == whole


def edit(folder, old, new):
    path = folder / "params.yaml"
    text = path.read_text()
    old = old if old.startswith("^") or "\\" in old else re.escape(old)
    assert re.search(old, text, re.MULTILINE), f"{old} is not in params.yaml"
    path.write_text(re.sub(old, lambda _: new, text, count=1, flags=re.MULTILINE))


@pytest.mark.parametrize("section", ["env", "compare"])
def test_keys_that_a_file_of_before_has_not_are_named_with_the_line_to_write(folder, section):
    path = folder / "params.yaml"
    content, key = yaml.safe_load(path.read_text()), {"env": "env", "compare": "remeasure"}[section]
    holder, place = (content, "") if section == key else (content[section], f" {section}:")
    del holder[key]
    path.write_text(yaml.safe_dump(content))
    said, _, line = refusal(folder).rstrip("`").partition(": write `")
    assert said == f"params.yaml:{place} key '{key}' is missing"
    assert [*yaml.safe_load(line)] == [key]
    holder.update(yaml.safe_load(line))
    path.write_text(yaml.safe_dump(content))
    assert run_stage(folder, "params").returncode == 0


def test_env_with_nothing_sets_nothing(folder):
    content = yaml.safe_load((folder / "params.yaml").read_text())
    text = yaml.safe_dump({**content, "env": None}).replace("env: null", "env:")
    assert "\nenv:\n" in text and schema.parse(text, "params.yaml", folder).env == {}


def test_a_good_file_is_left_as_it_is(folder):
    before = (folder / "params.yaml").read_bytes()
    done = run_stage(folder, "params")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (folder / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("^variants:", "variant:", "params.yaml: unknown key 'variant' (did you mean 'variants'?)"),
        ("^dogs_cats:", "dog_cats:", "params.yaml: unknown key 'dog_cats' (did you mean 'dogs_cats'?)"),
        ("^seed: 42$", "", "params.yaml: key 'seed' is missing"),
        ("{OMP_WAIT_POLICY: passive}", "{A: 1}", "params.yaml: env['A']: expected text: put it in quotes"),
        ("{OMP_WAIT_POLICY: passive}", "{FACEOFF_A: b}", "params.yaml: env: expected a variable's name, none that"),
        ("^job: dogs_cats", "job: cats_dogs", "params.yaml: job: no job 'cats_dogs': expected a folder of jobs/ with"),
        (
            "  fp32-bs16:",
            "  fp32.bs16:",
            "params.yaml: variants: expected a name of lower-case letters, digits, '_' and",
        ),
        (
            "{precision: fp32, batch_size: 16}",
            "3",
            "params.yaml: variants.fp32-bs16: expected parameters, or {} for none",
        ),
        ("{precision: fp32,", "{precision: [fp32],", "expected text, a number, true or false, found ['fp32']"),
        ("fp32-bs16: {precision", "16: {precision", "variants: expected a name in letters, for example bs16"),
        ("fp32-bs16: {precision", "no: {precision", "variants: expected a name in letters, for example bs16"),
        ("{precision: fp32,", "{env: {A B: x},", "params.yaml: variants['fp32-bs16'].env: expected a variable's name"),
        ("{precision: fp32,", "{env: {FACEOFF_STATE: x},", "none that begins with FACEOFF_, found 'FACEOFF_STATE'"),
        (
            r"^repeats: \[1, 2, 3\]",
            "repeats: [1, 1]",
            "params.yaml: repeats: expected at least one value, each once, found [1, 1]",
        ),
        (
            r"^repeats: \[1, 2, 3\]",
            "repeats: []",
            "params.yaml: repeats: expected at least one value, each once, found []",
        ),
        (r"^repeats: \[1, 2, 3\]", "repeats: 1", "params.yaml: repeats: expected a list, found 1"),
        (
            "^variants:.*\n.*\n.*\n",
            "",
            "params.yaml: key 'variants' is missing",
        ),
        (
            "{precision: fp32,",
            "{env: {OMP_NUM_THREADS: 1},",
            "params.yaml: variants.fp32-bs16.env['OMP_NUM_THREADS']: expected text, found 1: put it in quotes",
        ),
        (r"^images: \[host\]", "images: [hots]", "params.yaml: images: expected a folder of docker/ ("),
        (r"^images: \[host\]", "images: [host, nowhere]", "params.yaml: images: expected a folder of docker/ ("),
        (r"^images: \[host\]", "images: [Host]", "params.yaml: images: expected lower-case letters"),
        (r"^images: \[host\]", "images: ['x; touch x']", "params.yaml: images: expected lower-case letters"),
        ("^image: host", "image: cuda-10.0", "params.yaml: image: expected one of `images`: host, found 'cuda-10.0'"),
        (
            "baseline: host",
            "baseline: hosst",
            "compare.baseline: expected one of the settings: host/fp32-bs16, host/mixed",
        ),
        (
            r"  looks: \[\]",
            "  looks: [6, 3]",
            "compare.looks: expected rising numbers of repeats, e.g. [3, 6], found [6, 3]",
        ),
        ("  margin: 0.02", "  margin: 2e-2", "as in 1.0e-5, found '2e-2'"),
        ("  cpuset: null", "  cpuset: 3-0", "params.yaml: container.cpuset: expected CPUs as the kernel lists them"),
        (
            "  cpuset: null",
            "  cpuset: 0-99999",
            "params.yaml: container.cpuset: expected CPUs as the kernel lists them",
        ),
        ("  shm_size: 1g", "  shm_size: lots", "params.yaml: container.shm_size: expected a size as Docker writes it"),
        ("^seed: 42$", "seed: 42\nseed: 43", "found duplicate key"),
        ("^seed: 42$", "   seed: 42", "params.yaml: not readable as YAML: "),
        ("^container:", "container: 3\nother:", "params.yaml: unknown key 'other'"),
        # What the harness does not read, the job's own check does, before anything is built.
        ("    size: 96", "    sizee: 96", "jobs/dogs_cats/job.yaml: check of variant fp32-bs16: "),
        ("{precision: mixed, ", "{precision: fp16, ", "jobs/dogs_cats/job.yaml: check of variant mixed-bs16: "),
    ],
)
def test_a_typo_is_one_line_that_names_the_key_and_what_was_expected(folder, old, new, expected):
    edit(folder, old, new)
    assert expected in refusal(folder)


@pytest.mark.parametrize("text", ["", "3\n", "- a\n", "\t\n", "a: !!python/object:os.system {}\n"])
def test_a_file_that_holds_no_params_is_one_line(folder, text):
    (folder / "params.yaml").write_text(text)
    assert refusal(folder).startswith("params.yaml: ")


@pytest.mark.parametrize("name", ["profile", "seed", "image"])
def test_a_job_with_the_name_of_a_key_is_refused(folder, name):
    write_job(folder, name, {"job.yaml": "train: 'true'\n"})
    with pytest.raises(FaceoffError, match=f"jobs/{name}: expected a name that is no key of params.yaml: rename it"):
        schema.load(folder)


def test_no_file_at_all(folder):
    (folder / "params.yaml").unlink()
    assert refusal(folder) == "params.yaml: missing; run from the top of the checkout"


@pytest.mark.parametrize("name", ["article", "smoke"])
def test_a_preset_is_laid_over_with_the_comments_kept(folder, name):
    before = (folder / "params.yaml").read_text()
    assert run_stage(folder, "params", "--preset", name).returncode == 0
    after = (folder / "params.yaml").read_text()
    preset = yaml.safe_load((folder / "presets" / f"{name}.yaml").read_text())
    merged = yaml.safe_load(after)
    assert within(preset, merged)
    assert merged["variants"] == preset["variants"]
    assert [line.split("#")[1] for line in after.splitlines() if "#" in line] == [
        line.split("#")[1] for line in before.splitlines() if "#" in line
    ]
    assert "frozen_learning_rate: 3.0e-3" in after
    assert schema.load(folder).image == preset["image"]


def test_the_default_preset_of_none_changes_nothing_after_a_preset(folder):
    run_stage(folder, "params", "--preset", "smoke")
    before = (folder / "params.yaml").read_bytes()
    for arguments in ((), ("--preset", "smoke")):
        assert run_stage(folder, "params", *arguments).returncode == 0
        assert (folder / "params.yaml").read_bytes() == before


def test_an_unknown_preset_lists_those_there_are(folder):
    known = ", ".join(PRESETS)
    assert refusal(folder, "--preset", "artcile") == f"no preset 'artcile'; presets/ has {known}"
    assert refusal(folder, "--preset", "../params").startswith("no preset '../params'")


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (
            "container: {cpu: 1}\n",
            "params.yaml with presets/mine.yaml: container: unknown key 'cpu' (did you mean 'cpus'",
        ),
        ("repeats: [0]\n", "params.yaml with presets/mine.yaml: repeats: expected 1 or more, found 0"),
        ("dogs_cats: {recipe: {sizee: 1}}\n", "jobs/dogs_cats/job.yaml: check of variant fp32-bs16: "),
        ("- a\n", "presets/mine.yaml: expected keys with values, found ['a']"),
        ("recipe: [\n", "presets/mine.yaml: not readable as YAML: "),
        (
            "images: [nowhere]\nimage: nowhere\n",
            "with presets/mine.yaml: images: expected a folder of docker/",
        ),
    ],
)
def test_a_bad_preset_leaves_params_untouched(folder, preset, expected):
    before = (folder / "params.yaml").read_bytes()
    (folder / "presets/mine.yaml").write_text(preset)
    assert expected in refusal(folder, "--preset", "mine")
    assert (folder / "params.yaml").read_bytes() == before


def test_an_image_may_be_named_in_a_free_mapping(folder):
    (folder / "presets/mine.yaml").write_text("container: {base_images: {cuda-9.2: 'mirror.example/python:3.7'}}\n")
    assert run_stage(folder, "params", "--preset", "mine").returncode == 0
    assert schema.load(folder).container.base_images == {"cuda-9.2": "mirror.example/python:3.7"}


def test_cells_interleave_the_repeats(folder):
    edit(folder, r"^images: \[host\]", "images: [host, cuda-10.0]")
    cells = schema.load(Path(folder)).cells()
    assert [cell.repeat for cell in cells] == [1] * 4 + [2] * 4 + [3] * 4
    assert [cell.setting for cell in cells[:4]] == [
        "host/fp32-bs16",
        "host/mixed-bs16",
        "cuda-10.0/fp32-bs16",
        "cuda-10.0/mixed-bs16",
    ]


def test_gpus_of_a_variant_go_before_those_of_its_job(folder):
    write_job(folder, "mine", {"job.yaml": "train: python train.py\ngpus: 4\n", "train.py": ""})
    variants = {"all": {}, "one": {"gpus": 1}, "two": {"gpus": 2}}
    params = {**yaml.safe_load(TEXT), "job": "mine", "variants": variants}
    params["compare"]["baseline"] = "host/all"
    found = schema.parse(yaml.safe_dump(params), "params.yaml", folder)
    assert {name: (each.gpus, each.parameters) for name, each in found.variants.items()} == {
        "all": (4, {}),
        "one": (1, {}),
        "two": (2, {}),
    }


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        (0, "params.yaml: variants['fp32-bs16'].gpus: expected from 1 to 64, found 0"),
        ("two", "params.yaml: variants['fp32-bs16'].gpus: expected a whole number, found 'two'"),
        # The article's job does not know of others.
        (2, "jobs/dogs_cats/job.yaml: check of variant fp32-bs16: params.yaml: variants.fp32-bs16.gpus: expected 1, "),
    ],
)
def test_a_number_of_gpus_that_cannot_be_is_refused(folder, gpus, said):
    edit(folder, "{precision: fp32, batch_size: 16}", f"{{precision: fp32, batch_size: 16, gpus: {gpus}}}")
    assert refusal(folder).startswith(said)


def test_a_presets_variants_take_the_place_of_all(folder):
    (folder / "presets/mine.yaml").write_text("variants: {plain: {precision: fp32, batch_size: 8}}\n")
    text = (folder / "params.yaml").read_text().replace("host/fp32-bs16", "host/plain")
    (folder / "params.yaml").write_text(text)
    assert run_stage(folder, "params", "--preset", "mine").returncode == 0
    assert list(schema.load(folder).variants) == ["plain"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_passes(folder, name):
    done = run_stage(folder, "params", "--preset", name)
    assert done.returncode == 0, done.stderr
