"""An NVIDIA driver for tests: standin.c, compiled, with the cards that a test wants, behind the real nvidia-ml-py."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pynvml
import pytest

from tests.real_engine import REQUIRED

SOURCE = Path(__file__).with_name("standin.c")
LIBRARY = "libnvidia-ml.so.1"
HANGING_CUDA = Path(__file__).with_name("hanging_cuda.c")
CUDA_LIBRARY = "libcuda.so.1"
DRIVER, CUDA = "535.104.05", 12020  # 12.2, as NVML writes it

Card = Mapping[str, object]  # key: value, as the head of standin.c says

T4: Card = {
    "name": "Tesla T4",
    "uuid": "GPU-11111111-0000-0000-0000-000000000001",
    "compute_capability": "7.5",
    "memory_total": 15360 * 2**20,
    "memory_used": 3 * 2**20,
    "cores": 2560,
    "memory_bus_bits": 256,
    "max_sm_megahertz": 1590,
    "max_memory_megahertz": 5001,
    "sm_megahertz": 300,
    "memory_megahertz": 405,
    "power_limit_milliwatts": 70000,
    "power_milliwatts": 9123,
    "energy_millijoules": "of_power",
    "pcie_max_generation": 3,
    "pcie_max_width": 16,
    "pcie_generation": 1,
    "pcie_width": 8,
    "ecc": 1,
    "persistence": 0,
    "temperature": 36,
    "busy_percent": 0,
    "throttle_reasons": 1,
    "compute_processes": "",
    "graphics_processes": "",
}  # MIG is not there: a T4 answers 'Not Supported'
TWIN: Card = {**T4, "uuid": "GPU-55555555-0000-0000-0000-000000000005"}  # another T4
A100: Card = {
    **T4,
    "name": "NVIDIA A100-SXM4-40GB",
    "uuid": "GPU-22222222-0000-0000-0000-000000000002",
    "compute_capability": "8.0",
    "memory_total": 40960 * 2**20,
    "cores": 6912,
    "memory_bus_bits": 5120,
    "max_sm_megahertz": 1410,
    "max_memory_megahertz": 1215,
    "power_limit_milliwatts": 400000,
    "pcie_max_generation": 4,
    "mig": 0,
}
K80: Card = {
    **T4,
    "name": "Tesla K80",
    "uuid": "GPU-33333333-0000-0000-0000-000000000003",
    "compute_capability": "3.7",
    "memory_total": 11441 * 2**20,
    "cores": 2496,
    "memory_bus_bits": 384,
    "max_sm_megahertz": 875,
    "max_memory_megahertz": 2505,
    "power_limit_milliwatts": 149000,
    "energy_millijoules": "error 3",  # before Volta
}
SILENT: Card = {}  # answers 'Not Supported' to everything
LOST: Card = {**T4, "uuid": "GPU-44444444-0000-0000-0000-000000000004", "lost": ""}


def environment(
    folder: Path,
    *cards: Card,
    driver: str = DRIVER,
    cuda: int = CUDA,
    before_510: bool = False,
    **system: object,
) -> dict[str, str]:
    """This process's environment with the stand-in as its driver and these cards in it; `folder` holds both.

    `system`: further keys of the system, e.g. init="error 9" for a driver that is not loaded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / LIBRARY).exists():
        compile_into(folder, before_510)
    describe(folder, *cards, driver=driver, cuda=cuda, **system)
    return {**os.environ, "LD_LIBRARY_PATH": _with(folder), "NVML_STANDIN": str(folder / "cards.txt")}


def with_hanging_cuda(folder: Path) -> dict[str, str]:
    """This process's environment with a CUDA driver in which every call hangs; `folder` holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    _compile(HANGING_CUDA, folder / CUDA_LIBRARY)
    return {**os.environ, "LD_LIBRARY_PATH": _with(folder)}


def _with(folder: Path) -> str:
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])


def compile_into(folder: Path, before_510: bool = False) -> None:
    _compile(SOURCE, folder / LIBRARY, *(["-DBEFORE_510"] if before_510 else []))


def _compile(source: Path, library: Path, *flags: str) -> None:
    """Skips the test where there is no C compiler, unless there has to be one."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and there is no C compiler")
        pytest.skip("no C compiler")
    strict = ["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *strict, *flags, "-o", library, source], check=True)


def describe(folder: Path, *cards: Card, driver: str = DRIVER, cuda: int = CUDA, **system: object) -> None:
    """Write what the stand-in answers from now on."""
    own: Card = {"driver": driver, "cuda": cuda, "count": len(cards), "began": time.time(), **system}
    blocks = [own, *cards]
    texts = ["".join(f"{key} {value}".rstrip(" ") + "\n" for key, value in block.items()) for block in blocks]
    (folder / "cards.txt").write_text("card\n".join(texts))


def bare_python(folder: Path) -> Path:
    """A Python without any package, for an image of it: the stages in it start at once."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin/python"


def modules(folder: Path, torch: str | None = None) -> Path:
    """A folder for PYTHONPATH with the real nvidia-ml-py, and the text of a module `torch`, where one is wanted."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(pynvml.__file__, folder)
    if torch is not None:
        (folder / "torch.py").write_text(torch)
    return folder


def image_yaml(python: Path, folder: Path, libraries: Path) -> str:
    """An image.yaml of a Python that sees the stand-in of this folder: the shell's variables reach no job."""
    variables = {"LD_LIBRARY_PATH": folder, "NVML_STANDIN": folder / "cards.txt", "PYTHONPATH": libraries}
    return f"python: {python}\nenv:\n" + "".join(f"  {name}: {value}\n" for name, value in variables.items())
