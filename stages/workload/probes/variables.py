"""The environment variables that steer how fast a job runs: those of threads, libraries, CUDA, torch and memory.

Other variables are left out: a record is shown to others, and what steers nothing would only make two environments
differ that do not.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import re
from typing import Dict, Mapping

# How the names begin that libraries read: OpenMP's, MKL's and their kin, torch's, CUDA's, memory's.
PREFIXES = (
    "OMP_",
    "GOMP_",
    "KMP_",
    "MKL_",
    "OPENBLAS_",
    "GOTO_",
    "BLIS_",
    "NUMEXPR_",
    "VECLIB_",
    "ATEN_",
    "DNNL_",
    "ONEDNN_",
    "CUDA_",
    "CUBLAS_",
    "CUBLASLT_",
    "CUDNN_",
    "NCCL_",
    "NVIDIA_",
    "PYTORCH_",
    "TORCH_",
    "TORCHINDUCTOR_",
    "TORCHDYNAMO_",
    "TRITON_",
    "XLA_",
    # TensorFlow's, by more of their names: TF_VAR_ and TF_CLI_ are Terraform's.
    "TF_AUTOTUNE_",
    "TF_CUBLAS_",
    "TF_CUDNN_",
    "TF_DISABLE_",
    "TF_ENABLE_",
    "TF_FORCE_",
    "TF_GPU_",
    "TF_NUM_",
    "TF_USE_",
    "TF_XLA_",
    "MALLOC_",
    "TCMALLOC_",
)
NAMES = (
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "GLIBC_TUNABLES",
    "PYTHONMALLOC",
    "PYTHONOPTIMIZE",
    "PYTHONDEVMODE",
    "PYTHONTRACEMALLOC",
)
# Which card a job gets is told by the cards themselves, by UUID (Facts.gpu_uuid, Hardware.gpus): CUDA_VISIBLE_DEVICES
# and CUDA_DEVICE_ORDER are faceoff's own in a job's environment, NVIDIA_VISIBLE_DEVICES and
# NVIDIA_DRIVER_CAPABILITIES a request to the engine.
OF_CARDS = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES")
# Labels of a base image (CUDA_VERSION, NVIDIA_REQUIRE_CUDA) and folders (CUDA_HOME, TORCH_HOME) steer nothing: what is
# installed is told by itself.
LABEL = re.compile(r"\w+_VERSION|NVIDIA_(REQUIRE_\w+|PRODUCT_NAME|BUILD_ID|BUILD_REF)|\w+_(HOME|ROOT|PATH|DIR)")
# NVIDIA_API_KEY opens NVIDIA's registry, and begins as those do that steer.
SECRET = re.compile(r"(\w+_)?(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|AUTH)(_\w+)?", re.IGNORECASE)


def look(environment: Mapping[str, str]) -> Dict[str, str]:
    """Return those of the environment that steer speed; each value is one line that can be shown as it is."""
    return {name: shown(environment[name]) for name in sorted(environment) if steers(name)}


def steers(name: str) -> bool:
    """Whether a variable of this name may change how fast a job runs."""
    if name in NAMES:
        return True
    listed = name.startswith(PREFIXES) and name not in OF_CARDS
    return listed and not LABEL.fullmatch(name) and not SECRET.fullmatch(name)


def shown(value: str) -> str:
    r"""Return the value with what does not print written as Python does: '\n', '\x1b', '\udcff'."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode() for each in value
    )
