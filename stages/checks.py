"""What preflight asks on the host and inside each image: facts in, a records.Check out.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import re
import sys
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional, Tuple

from stages import holders
from stages.records import Check, Gpu, Limits, Load, Scalar
from stages.units import amount, listed

# Oldest Linux driver that runs what was built with a CUDA release: before 11 each minor release had its own, since then
# one holds for the major release. Tables 2 and 3 of https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/ and
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
OLDEST_DRIVERS = {
    "8.0": "367.48",
    "9.0": "384.81",
    "9.1": "390.46",
    "9.2": "396.26",
    "10.0": "410.48",
    "10.1": "418.39",
    "10.2": "440.33",
    "11": "450.80.02",
    "12": "525.60.13",
    "13": "580.65.06",
}
VMSTAT = Path("/proc/vmstat")
NUMBERS_OF_THREADS = ("MKL_NUM_THREADS", "OMP_NUM_THREADS")  # the first that is set counts, as torch reads them
WORKERS = "workers"  # the parameter or fact by which a job says how many processes load its data
FEW_SPINS = 1000  # of libgomp, a few microseconds: beside a busy process as good as none (docs/statistics.md)
SESSION_SHARE = 0.8  # of a session that a run may be predicted to take: the prediction is one
SHM_STEP_BYTES = 64 * 2**20  # what is advised is a multiple of
# Load that casts doubt on a timing. Others: a tenth of all CPUs is what an idle desktop stays under, and what takes a
# visible share of two loader processes. Steal: nothing of it is the user's own; so much is the margin within which
# settings count as equal. A quota that held back: of the span, though summed over the CPUs.
OTHERS_SHARE, STEAL_SHARE, THROTTLED_SHARE = 0.1, 0.02, 0.02


def capability(gpu: Gpu, architectures: Iterable[str]) -> Check:
    """Whether torch's code runs on the card. `architectures`: what torch was compiled for, records.Contents.

    A binary for sm_XY runs where the major version is X and the minor at least Y; one for sm_XYa on X.Y alone. PTX for
    compute_XY is compiled by the driver for any card from X.Y up:
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/#binary-compatibility
    """
    name = "compute capability of {}".format(gpu.title)
    card, listed = gpu.compute_capability, sorted(set(architectures))
    needed = "one that torch was compiled for: {}".format(", ".join(listed) or "not known")
    if card is None:
        return not_checked(name, needed, gpu.absent["compute_capability"])
    if not listed:
        return not_checked(name, needed, "{}; torch does not say what it was compiled for".format(card))
    binaries = [each for each in listed if _runs_natively(each, card)]
    if binaries:
        return passed(name, needed, "{}: runs natively ({})".format(card, max(binaries, key=_version)))
    sources = [each for each in listed if _runs_by_ptx(each, card)]
    if sources:
        advice = (
            "expect minutes at the first start, and libraries without code for this card may fail all the same: choose "
            "an image whose torch was compiled for {}".format(card)
        )
        found = "{}: runs by PTX ({}), compiled by the driver".format(card, max(sources, key=_version))
        return Check(name, "warning", needed, found, advice)
    return Check(name, "failed", needed, "{}: will not run".format(card), _other_image(gpu))


def capability_in_range(gpu: Gpu, lowest: str, highest: str) -> Check:
    """Check the card as `capability` does, by the range that an image.yaml states, before the image is there.

    Of the highest a binary is taken to be there, which runs on later minor versions too. Nothing is known of PTX.
    """
    name = "compute capability of {}".format(gpu.title)
    needed = "{} to {}".format(lowest, highest)
    if gpu.compute_capability is None:
        return not_checked(name, needed, gpu.absent["compute_capability"])
    found, least, most = (_version(each) for each in (gpu.compute_capability, lowest, highest))
    if least <= found <= most or _runs_natively("sm_" + highest.replace(".", ""), gpu.compute_capability):
        return passed(name, needed, "{}: runs natively".format(gpu.compute_capability))
    return Check(name, "failed", needed, "{}: will not run".format(gpu.compute_capability), _other_image(gpu))


def driver(gpu: Gpu, cuda: str) -> Check:
    """Whether the card's driver runs what was built with this CUDA, as torch.version.cuda has it: '10.0.130'."""
    release = ".".join(cuda.split(".")[:2])
    name = "driver of {} for CUDA {}".format(gpu.title, release)
    oldest = OLDEST_DRIVERS.get(release) or OLDEST_DRIVERS.get(release.split(".")[0])
    if oldest is None:
        return not_checked(name, "not known for CUDA {}".format(release), "driver {}".format(gpu.driver))
    needed, found = "driver {} or newer".format(oldest), "driver {}".format(gpu.driver)
    if _version(gpu.driver) >= _version(oldest):
        return passed(name, needed, found)
    advice = "update the driver, or choose an image with an older CUDA; the card is driven by CUDA {} at most".format(
        gpu.driver_cuda or "(not known)"
    )
    return Check(name, "failed", needed, found, advice)


def shared_memory(
    variant: str, need_bytes: int, shm_bytes: Optional[int], free_bytes: Optional[int], in_container: bool
) -> Check:
    """Return whether /dev/shm holds what the job says that a variant puts there.

    `free_bytes`: of its size now; None where it is yet to be made. A machine's is shared by all that runs there.
    """
    name, needed = "shared memory, {}".format(variant), "{} in /dev/shm".format(amount(need_bytes))
    if shm_bytes is None:
        return not_checked(name, needed, "the size of /dev/shm is not known")
    found = amount(shm_bytes)
    if free_bytes is not None and free_bytes < shm_bytes:
        found += ", {} of it free".format(amount(free_bytes))
    less = "let the variant need less: smaller batches, fewer processes that load"
    if need_bytes <= shm_bytes and free_bytes is not None and free_bytes < need_bytes:
        advice = "delete what lies in it (ls -l /dev/shm), end what else uses it, or {}".format(less)
        who = holders.of_shm()
        return Check(name, "failed", needed, found + (f"; {who}" if who else ""), advice)
    if need_bytes <= shm_bytes:
        return passed(name, needed, found)
    size = "{}m".format(-(-need_bytes // SHM_STEP_BYTES) * SHM_STEP_BYTES // 2**20)  # as Docker and mount write it
    enlarge = "container.shm_size: {} in params.yaml" if in_container else "mount -o remount,size={} /dev/shm as root"
    return Check(name, "failed", needed, found, "{}, or {}".format(enlarge.format(size), less))


def session(max_hours: float, whole_seconds: float, part_seconds: float, part: str, needed: str) -> Check:
    """Return whether a session holds the run, or at least a part of it, after which it can go on in the next one.

    `part`: 'span' of a job that resumes, else 'cell'. `needed`: in words, with how it is known.
    """
    name, found = "session", "{:g} h: session.max_hours".format(max_hours)
    if part_seconds > max_hours * 3600:
        advice = "not one {} would end in time: let it do less, or take a machine without such a limit".format(part)
        return Check(name, "failed", needed, found, advice)
    if whole_seconds > SESSION_SHARE * max_hours * 3600:
        advice = "keep metrics/, models/ and dvc.lock, and run `make repro` again in the next session: it goes on"
        return Check(name, "warning", needed, found, advice)
    return passed(name, needed, found)


def threads(env: Mapping[str, str], otherwise: Optional[int]) -> Optional[int]:
    """Return how many threads torch takes with these variables of a variant; `otherwise`: without them."""
    said = next((env[name] for name in NUMBERS_OF_THREADS if name in env), "")
    number = re.match(r"\s*(\d+)", said)  # '4,2' is of nested regions
    return otherwise if otherwise is None or number is None else int(number.group(1))


def workers(said: Mapping[str, Scalar]) -> Optional[int]:
    """Return how many processes load a job's data, by its parameters and facts; None where none tells."""
    found = str(said.get(WORKERS, ""))
    return int(found) if found.isdecimal() else None


def crowded(limits: Limits, threads: Optional[int], workers: Optional[int]) -> Optional[Check]:
    """Return a warning where threads and workers share a CPU quota that is too small for them."""
    quota = limits.cpu_quota
    if quota is None or quota >= len(listed(limits.cpuset)) or (threads or 0) + (workers or 0) <= quota:
        return None
    sharing = ["{} of torch's threads".format(threads)] if threads else []
    sharing += ["{} worker{}".format(workers, "" if workers == 1 else "s")] if workers else []
    found = "{} share a CPU quota of {:g}, which stops them all when it is used up".format(" and ".join(sharing), quota)
    advice = ["container.cpuset in place of container.cpus"]
    if workers:
        advice.insert(0, "fewer workers")
    if threads and threads > 1:
        advice.insert(0, 'env: {{OMP_NUM_THREADS: "{}"}} for the variant or in image.yaml'.format(max(1, int(quota))))
    needed = "no more threads and workers than CPUs"
    return Check("CPU quota", "warning", needed, found, "set {}".format(", or ".join(advice)))


def disturbing(load: Load) -> Dict[str, float]:
    """Return those of others_share, steal_share and throttled_share that cast doubt on a timing."""
    held_back = None if load.throttled_seconds is None else load.throttled_seconds / max(load.seconds, 1e-9)
    found = (
        ("others_share", load.others_share, OTHERS_SHARE),
        ("steal_share", load.steal_share, STEAL_SHARE),
        ("throttled_share", held_back, THROTTLED_SHARE),
    )
    return {name: share for name, share, limit in found if share is not None and share > limit}


def waits_passively(env: Mapping[str, str]) -> bool:
    """Return whether OpenMP's threads soon sleep while they wait, by these variables: by itself they spin for a while.

    GOMP_SPINCOUNT goes before the policy: https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
    KMP_BLOCKTIME says nothing: Intel's runtime reads it, and libgomp, which torch has on Linux, does not.
    """
    spins = env.get("GOMP_SPINCOUNT", "").strip()
    if spins:
        return spins.isdigit() and int(spins) <= FEW_SPINS
    return env.get("OMP_WAIT_POLICY", "").strip().lower() == "passive"


def idle(warnings: Iterable[str]) -> List[Check]:
    """Return a check for each thing of the machine's present state that would spoil a timing, or one that passed."""
    name, needed = "idle machine", "CPUs and cards that are cool and do nothing else"
    advice = "end what else runs, or let it cool down; else the results carry this warning"
    found = [Check(name, "warning", needed, each, advice) for each in warnings]
    return found or [passed(name, needed, "so they are")]


def steady(warnings: Iterable[Tuple[str, str]]) -> List[Check]:
    """Return a check for each thing of the processors that makes timings unsteady, with what to do; or none."""
    needed = "CPUs that are all alike and keep their clocks up"
    return [Check("steady CPUs", "warning", needed, found, advice) for found, advice in warnings]


def killed_on_machine_for_memory() -> int:
    """How many processes of this machine the kernel has killed for want of memory, in containers too."""
    try:
        found = re.search(r"^oom_kill (\d+)$", VMSTAT.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) if found else 0  # not before Linux 4.13


def report(found: Iterable[Check], what: str) -> int:
    """Print what did not pass, a line each: warnings, and on stderr failures. The exit code."""
    found = tuple(found)
    for each in found:
        if each.status == "failed":
            print("faceoff: {}".format(sentence(each)), file=sys.stderr)
        elif each.status != "passed":
            print("{}: {}".format(each.status, sentence(each)))
    statuses = [each.status for each in found]
    print("{}: {}".format(what, _summary(statuses)))
    return int("failed" in statuses)


def _summary(statuses: List[str]) -> str:
    """Return '1 failed, 3 passed', or 'nothing failed: 3 passed, 2 warnings, 1 not checked'."""
    counts = []
    for status in ("failed", "passed", "warning", "not checked"):
        number = statuses.count(status)
        if number:
            counts.append("{} {}{}".format(number, status, "s" if status == "warning" and number > 1 else ""))
    return ("" if "failed" in statuses else "nothing failed: ") + (", ".join(counts) or "there is nothing to check")


def several_gpus(variant: str, wanted: int, cards: int) -> Check:
    """Whether there are as many cards as the variant's `gpus` says. Where there is none its processes use the CPU."""
    name, needed = f"GPUs of {variant}", f"{wanted} (gpus of the variant)"
    if cards >= wanted:
        return passed(name, needed, str(cards))
    if cards == 0:
        found = f"none: its {wanted} processes compute on the CPU"
        return Check(name, "warning", needed, found, "nothing, to try it out; else take a machine that has them")
    advice = f"lower gpus of the variant to {cards}, or give it more cards by container.gpus or CUDA_VISIBLE_DEVICES"
    return Check(name, "failed", needed, str(cards), advice)


def sentence(check: Check) -> str:
    line = "{}: needs {}; found: {}".format(check.name, check.needed, check.found)
    return line if check.advice is None else "{}; {}".format(line, check.advice)


def passed(name: str, needed: str, found: str) -> Check:
    return Check(name, "passed", needed, found, None)


def not_checked(name: str, needed: str, why: str) -> Check:
    return Check(name, "not checked", needed, why, "nothing, unless the run fails at this")


def _other_image(gpu: Gpu) -> str:
    return "choose an image whose torch was compiled for {}, or another card".format(gpu.compute_capability)


def _runs_natively(architecture: str, capability: str) -> bool:
    if not architecture.startswith("sm_"):
        return False
    compiled, card = _version(architecture), _version(capability)
    if architecture.endswith("a"):  # with features of that one architecture
        return compiled == card
    return compiled[0] == card[0] and compiled[1] <= card[1]


def _runs_by_ptx(architecture: str, capability: str) -> bool:
    if not architecture.startswith("compute_"):
        return False
    compiled, card = _version(architecture), _version(capability)
    return compiled == card if architecture.endswith("a") else compiled <= card


def _version(text: str) -> Tuple[int, ...]:
    """'396.26' and '7.5' as numbers that compare; 'sm_75' and 'compute_120' likewise: the last digit is the minor."""
    compiled_for = re.match(r"(?:sm|compute)_(\d+)(\d)", text)
    if compiled_for:
        return tuple(int(each) for each in compiled_for.groups())
    return tuple(int(each) for each in re.findall(r"\d+", text))
