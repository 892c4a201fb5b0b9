"""The card that was meant, from stage machine to a cell's result: two equal cards, none at all, and one that dies."""

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stages import codec, records
from stages.errors import TRY_LATER, FaceoffError
from stages.harness.environments import cards, docker_container, launch
from stages.harness.params import schema
from stages.records import Result
from stages.workload import job_cards, surroundings
from stages.workload.probes import gpus
from tests import nvml
from tests.environments import facts, gpu, hardware
from tests.nvml import LOST, T4, TWIN
from tests.project import PARAMS, TINY, make_project, run_stage, write_job
from tests.supervised import Checkout, write_image_task

FIRST, SECOND = str(T4["uuid"]), str(TWIN["uuid"])
# A torch that computes on the first card that it is shown, as far as a profile asks.
TORCH = """
import os, types
__version__ = "2.14.0"
version = types.SimpleNamespace(cuda="12.6")
backends = types.SimpleNamespace(cudnn=types.SimpleNamespace(version=lambda: 91000))
_C = types.SimpleNamespace(_cuda_getArchFlags=lambda: "sm_75")
get_num_threads = lambda: 2
first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0]
cuda = types.SimpleNamespace(
    is_available=lambda: bool(first),
    get_device_name=lambda index: "Tesla T4",
    get_device_properties=lambda index: types.SimpleNamespace(uuid=first.replace("GPU-", "", 1)),
    nccl=types.SimpleNamespace(version=lambda: (2, 30, 7)),
)
"""
WITHOUT_CUDA = TORCH.replace('"12.6"', "None").replace("bool(first)", "False")
SHOW = 'echo "{\\"fact\\": \\"visible\\", \\"value\\": \\"$CUDA_VISIBLE_DEVICES\\"}" >> "$FACEOFF_EVENTS"\n'
WORK = 'echo \'{"span": "work", "seconds": 0.1}\' >> "$FACEOFF_EVENTS"\n'
JOB = {"job.yaml": "train: bash train.sh\ntotal: [work]\n", "train.sh": SHOW + WORK}
DIES = {**JOB, "train.sh": SHOW + WORK + 'printf "init error 9\\n" > "$NVML_STANDIN"\n'}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose job and image are made, in a folder with a bare Python and the compiled stand-in."""
    folder = tmp_path_factory.mktemp("made")
    python = nvml.bare_python(folder / "bare")
    shell = nvml.environment(folder / "driver", T4)
    project(folder, python)
    for words in (("machine",), ("job",), ("download",), ("image", "host")):
        done = run_stage(folder / "project", *words, **shell)
        assert done.returncode == 0, done.stderr
    return folder


def project(folder: Path, python: Path, gpus: str = "auto", torch: str | None = None) -> None:
    root = make_project(folder / "project", ["host"], container={"gpus": gpus}, repeats=[1, 2])
    libraries = nvml.modules(folder / "modules", torch)
    (root / "docker/host/image.yaml").write_text(nvml.image_yaml(python, folder / "driver", libraries))
    write_job(root, TINY, JOB)


class Face:
    """A project whose only image sees the stand-in's cards."""

    def __init__(
        self, folder: Path, made: Path, *found: nvml.Card, torch: str | None = None, gpus: str = "auto"
    ) -> None:
        self.root, self.driver, self.python = folder / "project", folder / "driver", made / "bare/bin/python"
        self.driver.mkdir()
        shutil.copy(made / "driver" / nvml.LIBRARY, self.driver)
        self.shell = nvml.environment(self.driver, *found, driver="580.65.06", cuda=13000)
        project(folder, self.python, gpus, torch)
        for part in ("metrics", "data"):
            shutil.copytree(made / "project" / part, self.root / part)
        (self.root / records.MACHINE_PATH).unlink()

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return run_stage(self.root, *arguments, **{**self.shell, **more})

    def look(self, **more: str) -> subprocess.CompletedProcess[str]:
        """Stage machine, and then the profile, which may fail."""
        done = self.run("machine", **more)
        assert done.returncode == 0, done.stderr
        return self.run("inside", "host", "--profile", **more)

    def cell(self, repeat: int = 1, **more: str) -> subprocess.CompletedProcess[str]:
        path = records.Cell("host", "plain", repeat).result_path("train")
        return self.run("inside", "host", "--result", str(path), **more)

    def result(self, repeat: int = 1) -> Result:
        return codec.read(self.root / records.Cell("host", "plain", repeat).result_path("train"), Result)

    @property
    def facts(self) -> records.Facts:
        return codec.read(self.root / records.facts_path("host"), records.Facts)


def test_cuda_visible_devices_gives_the_same_of_two_equal_cards_to_every_image(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    face, shell = Face(tmp_path, made, T4, TWIN, torch=TORCH), {"CUDA_VISIBLE_DEVICES": "1"}
    done = face.look(**shell)
    assert done.returncode == 0, done.stderr
    assert codec.read(face.root / records.MACHINE_PATH, records.Machine).job_gpus == (SECOND,)
    facts = face.facts
    assert (facts.device, facts.gpu_uuid) == ("Tesla T4", SECOND)
    assert [card.uuid for card in facts.hardware.gpus] == [card.uuid for card in facts.cards] == [SECOND]
    done = face.cell(**shell)
    assert done.returncode == 0, done.stderr
    result = face.result()
    assert result.gpu_uuids == (SECOND,) and result.facts == {"visible": SECOND}
    assert [card.uuid for card in result.conditions[0].gpus] == [SECOND]
    # ... and to a container, by what the engine is asked for.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    wanted = schema.load(face.root)
    given = cards.handed(wanted, face.root)
    job = launch.container_job("image:1", ("true",), face.root, (), wanted.container, given, {}, {})
    assert job.environment["CUDA_VISIBLE_DEVICES"] == SECOND
    (request,) = docker_container.arguments(job, (), ())["device_requests"]
    assert (request.device_ids, request.count) == ([SECOND], 0)


def test_a_variant_gets_as_many_cards_as_it_says_of_those_that_there_are(tmp_path: Path, made: Path) -> None:
    face = Face(tmp_path, made, T4, TWIN)
    write_job(face.root, TINY, {**JOB, "job.yaml": JOB["job.yaml"].replace("train.sh", "train.sh {gpus}")})
    text = (face.root / "params.yaml").read_text()
    for count, found in ((1, (FIRST,)), (2, (FIRST, SECOND))):
        (face.root / "params.yaml").write_text(text.replace("plain: {}", f"plain: {{gpus: {count}}}"))
        assert face.look().returncode == 0 and face.run("job").returncode == 0
        assert face.cell().returncode == 0
        result = face.result()
        assert (result.gpu_uuids, result.facts, result.notes) == (found, {"visible": ",".join(found)}, ())
        assert [card.uuid for card in result.conditions[0].gpus] == [*found]
    (face.root / "params.yaml").write_text(text.replace("plain: {}", "plain: {gpus: 3}"))
    done = face.cell()
    said = (
        f"gpus of variant plain is 3, and 2 found: {FIRST}, {SECOND}; lower gpus of the variant to 2, or give it more"
    )
    assert done.returncode == 1 and said in done.stderr, done.stderr


def test_a_torch_that_tells_no_uuid_computes_on_the_first_that_is_visible(tmp_path: Path, made: Path) -> None:
    face = Face(tmp_path, made, T4, TWIN, torch=TORCH.replace("uuid=", "no_uuid="))
    assert face.look(CUDA_VISIBLE_DEVICES="1,0").returncode == 0
    assert [card.uuid for card in face.facts.hardware.gpus] == [SECOND, FIRST]
    assert (face.facts.gpu_uuid, [card.uuid for card in face.facts.cards]) == (SECOND, [SECOND])


def test_another_of_equal_cards_is_another_machine(tmp_path: Path, made: Path) -> None:
    face, found = Face(tmp_path, made, T4, TWIN), []
    for index, uuid in (("0", FIRST), ("1", SECOND)):
        assert f"; jobs get Tesla T4 ({uuid})\n" in face.run("machine", CUDA_VISIBLE_DEVICES=index).stdout
        found.append(codec.fingerprint(codec.read(face.root / records.MACHINE_PATH, records.Machine)))
    assert found[0] != found[1]


def test_a_card_that_the_shell_does_not_leave_is_no_doubt(tmp_path: Path, made: Path) -> None:
    face = Face(tmp_path, made, T4, {**TWIN, "temperature": 95})
    for visible, said in (("1", True), ("0", False)):
        assert face.run("machine", CUDA_VISIBLE_DEVICES=visible).returncode == 0
        preflight = face.run("preflight", CUDA_VISIBLE_DEVICES=visible)
        assert ("95 °C hot" in preflight.stdout) is said
    assert face.cell(CUDA_VISIBLE_DEVICES="0").returncode == 0
    assert not any("95 °C hot" in warning for warning in face.result().warnings)


def test_a_driver_that_stops_answering_costs_no_result_and_is_told_as_that(tmp_path: Path, made: Path) -> None:
    face = Face(tmp_path, made, T4)
    write_job(face.root, TINY, DIES)
    assert face.look().returncode == 0
    assert face.cell().returncode == 0
    result = face.result()
    assert result.status == "ok" and result.gpu_uuids == (FIRST,)
    assert "the NVIDIA driver stopped answering: no NVIDIA driver answers: Driver Not Loaded" in result.warnings
    before = {path: path.read_bytes() for path in (face.root / "metrics").rglob("*.json")}
    done = face.cell(2)
    assert done.returncode == 75  # nothing failed that is to be recorded
    assert "the NVIDIA driver stopped answering: no NVIDIA driver answers: Driver Not Loaded; see" in done.stderr
    assert "nvidia-smi" in done.stderr and "profile@" not in done.stderr and "Traceback" not in done.stderr
    done = face.run("machine")
    assert done.returncode == 1 and done.stderr.startswith("faceoff: the NVIDIA driver has stopped answering: ")
    assert "nvidia-smi" in done.stderr and done.stderr.count("\n") == 1
    assert before == {path: path.read_bytes() for path in (face.root / "metrics").rglob("*.json")}
    nvml.describe(face.driver, T4, driver="580.65.06", cuda=13000)  # mended
    assert face.run("machine").returncode == 0
    assert (face.root / records.MACHINE_PATH).read_bytes() == before[face.root / records.MACHINE_PATH]


def test_one_card_of_two_that_fell_off_its_bus_is_told_and_no_other_taken(tmp_path: Path, made: Path) -> None:
    face = Face(tmp_path, made, T4, TWIN)
    assert face.look(CUDA_VISIBLE_DEVICES="1").returncode == 0
    nvml.describe(face.driver, T4, LOST, driver="580.65.06", cuda=13000)
    for done in (face.run("machine", CUDA_VISIBLE_DEVICES="1"), face.cell(CUDA_VISIBLE_DEVICES="1")):
        assert done.returncode != 0 and "GPU is lost" in done.stderr and "nvidia-smi" in done.stderr, done.stderr


def test_without_a_wish_for_cards_no_driver_is_needed(tmp_path: Path, made: Path) -> None:
    face = Face(tmp_path, made, T4, gpus="none")
    assert face.look().returncode == 0
    machine = (face.root / records.MACHINE_PATH).read_bytes()
    assert face.facts.hardware.gpus == ()
    nvml.describe(face.driver, init="error 9")
    assert face.run("machine").returncode == 0
    assert (face.root / records.MACHINE_PATH).read_bytes() == machine
    assert face.cell().returncode == 0
    assert face.result().gpu_uuids == ()


def without_a_driver(face: Face) -> None:
    """The image finds no driver: as in a container whose engine dropped the request."""
    other = face.root.parent / "other"
    other.mkdir()
    (other / nvml.LIBRARY).touch()
    path = face.root / "docker/host/image.yaml"
    path.write_text(path.read_text().replace(f"LD_LIBRARY_PATH: {face.driver}", f"LD_LIBRARY_PATH: {other}"))


def test_a_card_that_was_asked_for_and_is_not_there_ends_profile_and_cell(tmp_path: Path, made: Path) -> None:
    face = Face(tmp_path, made, T4, gpus="all")
    without_a_driver(face)
    for done in (face.look(), face.cell()):
        assert done.returncode == 1
        assert f"container.gpus asks for {FIRST}: there is none: no NVIDIA driver answers: NVML Shared" in done.stderr
    assert face.result().status == "failed"


def test_libraries_of_the_shell_that_no_job_gets_are_named_in_place_of_the_driver(tmp_path: Path, made: Path) -> None:
    """As in Colab, whose driver's libraries lie where LD_LIBRARY_PATH of its shell says."""
    face = Face(tmp_path, made, T4, gpus="all")
    path, line = face.root / "docker/host/image.yaml", f"  LD_LIBRARY_PATH: {face.driver}\n"
    path.write_text(path.read_text().replace(line, ""))
    for done in (face.look(), face.cell()):
        assert (
            done.returncode == 1 and f"container.gpus asks for {FIRST}: there is none: no NVIDIA driver" in done.stderr
        )
        said = f"LD_LIBRARY_PATH={face.driver}{os.pathsep if 'LD_LIBRARY_PATH' in os.environ else ' of this shell'}"
        assert said in done.stderr and "put it under `env` in docker/host/image.yaml" in done.stderr
    path.write_text(path.read_text() + line.replace(str(face.driver), str(face.root)))  # set, and not there
    assert "under `env`" not in face.cell().stderr


def test_auto_goes_on_without_the_card_and_says_so_beside_the_result(tmp_path: Path, made: Path) -> None:
    face = Face(tmp_path, made, T4)
    without_a_driver(face)
    done = face.look()
    assert done.returncode == 0, done.stderr
    assert (
        f"warning: cards: needs those of container.gpus in params.yaml; found: this machine has {FIRST}" in done.stdout
    )
    assert face.cell().returncode == 0
    assert face.result().gpu_uuids == ()
    assert [warning for warning in face.result().warnings if warning.startswith(f"this machine has {FIRST}, and")]


def as_in_a_container(face: Face) -> None:
    """The record says that it is one, which is all that its jobs know of it; the engine's own part is tried nowhere."""
    path = face.root / records.image_path("host")
    image = codec.read(path, records.Image)
    absent = {name: why for name, why in image.absent.items() if name != "reference"}
    codec.write(path, dataclasses.replace(image, reference="image:1", absent=absent))


def test_auto_goes_on_in_a_container_whose_engine_dropped_the_request_and_says_so(tmp_path: Path, made: Path) -> None:
    face = Face(tmp_path, made, T4)
    without_a_driver(face)
    as_in_a_container(face)
    assert face.run("machine").returncode == 0
    assert profile(face, gpus="auto", in_container=True, driver=tmp_path / "other").returncode == 0
    assert face.facts.hardware.gpus == ()
    done = face.cell()
    assert done.returncode == 0, done.stderr
    dropped = f"this machine has {FIRST}, and this container has none: the engine dropped the request; use Docker with"
    assert [warning for warning in face.result().warnings if warning.startswith(dropped)]
    assert face.result().gpu_uuids == ()


@pytest.mark.parametrize(
    ("has_devices", "reason", "said"),
    [
        (
            True,
            "Driver Not Loaded",
            "the NVIDIA driver stopped answering: no NVIDIA driver answers: Driver Not Loaded; see what nvidia-smi",
        ),
        (False, "NVML Shared Library Not Found", f"this machine has {FIRST}, and this container has none: the engine"),
    ],
    ids=["the driver died", "no card was handed out"],
)
def test_in_a_container_a_driver_that_died_is_told_from_a_card_that_was_not_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_devices: bool, reason: str, said: str
) -> None:
    """After a profile with the card: by the card's device, which stays there when its driver dies."""
    before, now = (
        hardware(gpu(uuid=FIRST)),
        dataclasses.replace(hardware(), gpus_reason=f"no NVIDIA driver answers: {reason}"),
    )
    task = Checkout(tmp_path / "checkout").task("train", (), gpu_uuids=(FIRST,))
    monkeypatch.setattr(gpus, "has_devices", lambda: has_devices)
    monkeypatch.setattr(job_cards, "in_container", lambda image: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", FIRST)
    with pytest.raises(FaceoffError) as caught:
        surroundings._check_cards(task, facts("host", before), now)
    assert str(caught.value).startswith(said) and (caught.value.exit_code == TRY_LATER) is has_devices


def test_a_driver_that_dies_before_the_profile_is_no_reason_to_do_without_it(tmp_path: Path, made: Path) -> None:
    face = Face(tmp_path, made, T4)
    assert face.run("machine").returncode == 0
    nvml.describe(face.driver, init="error 9")
    for done in (face.run("inside", "host", "--profile"), face.cell()):
        assert done.returncode == 1 and f"this machine has {FIRST}, and there is none: no NVIDIA driver" in done.stderr


def test_auto_warns_of_a_torch_that_could_and_does_not_compute_on_the_card(tmp_path: Path, made: Path) -> None:
    face = Face(tmp_path, made, T4, torch=TORCH.replace("bool(first)", "False"))
    assert "torch 2.14.0 finds no CUDA, for which it was built" in face.look().stdout
    assert face.cell().returncode == 0
    assert [warning for warning in face.result().warnings if "torch 2.14.0 finds no CUDA, for which" in warning]


def profile(face: Face, driver: Path | None = None, **task: object) -> subprocess.CompletedProcess[str]:
    """The profile inside an image, of what the host tells."""
    path = write_image_task(face.root, **{"gpus": "all", "gpu_uuids": (FIRST,), **task})
    values = {"LD_LIBRARY_PATH": str(driver or face.driver), "NVML_STANDIN": str(face.driver / "cards.txt")}
    values |= {"PYTHONPATH": f"{face.root}:{face.root.parent / 'modules'}", "CUDA_VISIBLE_DEVICES": FIRST}
    values |= PARAMS["env"]
    words = [str(face.python), "-m", "stages.profile", "--task", path]
    return subprocess.run(words, cwd=face.root, env=values, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("torch", "found", "driver", "said"),
    [
        (
            None,
            (),
            {},
            f"container.gpus asks for {FIRST}: this container has none: the engine dropped the request; use",
        ),
        (WITHOUT_CUDA, (T4,), {}, "torch 2.14.0 finds no CUDA: it was built without it; choose"),
        (
            TORCH.replace("bool(first)", "False"),
            (T4,),
            {"driver": "470.57.02"},
            "torch 2.14.0 finds no CUDA: it was built for 12.6, which needs driver 525.60.13 or newer, and this is 470",
        ),
        (TORCH.replace("bool(first)", "False"), (T4,), {}, "torch 2.14.0 finds no CUDA, for which it was built (12.6)"),
    ],
    ids=["the engine dropped the request", "a CPU build", "a driver too old", "whatever it is"],
)
def test_a_profile_says_why_a_card_that_was_asked_for_is_not_used(
    tmp_path: Path, made: Path, torch: str | None, found: tuple[nvml.Card, ...], driver: dict[str, object], said: str
) -> None:
    face = Face(tmp_path, made, torch=torch)
    nvml.describe(face.driver, *found, **{"driver": "580.65.06", **driver})  # type: ignore[arg-type]
    done = profile(face, in_container=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert said in done.stderr, done.stderr
    assert not (face.root / records.facts_path("host")).exists()
