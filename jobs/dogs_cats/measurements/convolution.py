"""What torch reaches in the network's convolutions, on the device that the job trains on.

Runs inside images: Python 3.7 syntax; torch and torchvision.
"""

import copy
import functools
import os
import time
from typing import Callable, Iterator, NamedTuple, Tuple, Union

import torch
from torch import nn

from jobs.dogs_cats import networks
from jobs.dogs_cats.measurements import queued, sampling
from jobs.dogs_cats.measurements.sampling import NotPossible

Measured = Iterator[Union[str, float]]
TRIALS = 3


def convolution(
    device: str,
    number_format: str,
    layer: str,
    arch: str,
    size: int,
    channels_last: bool,
    batch_size: int,
    seconds: float,
) -> Measured:
    """Run one layer of the network forward and backward. The first needs no gradient of its input, a photo."""
    _refuse_unknown(device, number_format)
    _allow_tf32(number_format == "tf32")
    began = time.perf_counter()
    shape = _layers(arch, size)[layer]
    if device == "cpu":
        _refuse_slow(_convolution_step(device, number_format, layer, shape, channels_last, 1), batch_size, seconds)
    layout = "channels_last" if channels_last else "contiguous"
    inputs = " x ".join(map(str, (batch_size, *shape.input)))
    yield "{} on {}, {}, in {}, {}".format(shape, inputs, layout, number_format, _threads(device))
    passes = 2 if layer == "first" else 3
    step = _convolution_step(device, number_format, layer, shape, channels_last, batch_size)
    measured = sampling.rates if device == "cpu" else queued.rates
    yield from measured(passes * batch_size * shape.operations, step, max(0.0, seconds - (time.perf_counter() - began)))


def start_gpu() -> None:
    """Begin with the GPU: its context, cuBLAS and cuDNN, which take seconds the first time."""
    inputs = torch.ones(1, 8, 16, 16, device="cuda", requires_grad=True)
    nn.Conv2d(8, 8, 3).to("cuda")(inputs).sum().backward()
    torch.mm(*(torch.ones(64, 64, device="cuda") for _ in range(2)))
    torch.cuda.synchronize()


def tf32_by_default() -> bool:
    """Whether a training's convolutions of fp32 are computed in TF32: by torch since 1.7, on cards of 8.0 or later."""
    allowed = getattr(torch.backends.cudnn, "allow_tf32", False) and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0"
    return bool(allowed) and torch.cuda.get_device_capability(0) >= (8, 0)


class Layer(NamedTuple):
    """A convolution and the input that it gets: channels, height, width."""

    convolution: nn.Conv2d
    input: Tuple[int, ...]
    operations: float  # forward, for one photo

    def __str__(self) -> str:
        layer = self.convolution
        groups = "" if layer.groups == 1 else ", {} groups".format(layer.groups)
        return "{} to {} channels, {} x {}, stride {}{}".format(
            layer.in_channels, layer.out_channels, *layer.kernel_size, layer.stride[0], groups
        )


@functools.lru_cache(maxsize=None)
def _layers(arch: str, size: int) -> dict:
    """Find the network's first convolution, and that of 3 x 3 or more that costs most, all of its kind together."""
    found = []

    def look(module: nn.Conv2d, inputs: tuple, output: torch.Tensor) -> None:
        weights = module.weight.shape
        each = 2.0 * weights[1] * weights[2] * weights[3]
        found.append(Layer(module, tuple(inputs[0].shape[1:]), each * output[0].numel()))

    body = networks.body(arch, None).layers
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(look)
    with torch.no_grad():
        body.eval()(torch.zeros(1, 3, size, size))
    for layer in found:
        layer.convolution._forward_hooks.clear()
    wide = [layer for layer in found[1:] if layer.convolution.kernel_size[0] > 1]
    cost = {}  # type: dict
    for layer in wide:
        key = (str(layer), layer.input)
        cost[key] = cost.get(key, 0) + layer.operations
    heaviest = max(cost, key=lambda key: cost[key])
    return {"first": found[0], "heaviest": next(each for each in wide if (str(each), each.input) == heaviest)}


def _convolution_step(
    device: str, number_format: str, layer: str, shape: Layer, channels_last: bool, batch_size: int
) -> Callable[[], object]:
    dtype = _dtype(number_format)
    inputs = torch.randn(batch_size, *shape.input, device=device).to(dtype)
    module = copy.deepcopy(shape.convolution).to(device).to(dtype)
    if channels_last:
        module, inputs = module.to(memory_format=torch.channels_last), inputs.to(memory_format=torch.channels_last)
    inputs.requires_grad_(layer != "first")
    gradient = torch.ones_like(module(inputs))

    def step() -> None:
        inputs.grad = module.weight.grad = None
        module(inputs).backward(gradient)

    return step


def _dtype(number_format: str) -> torch.dtype:
    return {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16}.get(number_format) or torch.bfloat16


def _refuse_unknown(device: str, number_format: str) -> None:
    """Refuse what device or torch has not; torch computes some of it all the same, by turning it into fp32."""
    if number_format == "tf32":
        if device == "cpu":
            raise NotPossible("no GPU: TF32 is a format of NVIDIA's tensor cores")
        if not hasattr(torch.backends.cuda, "matmul") or not hasattr(torch.backends.cuda.matmul, "allow_tf32"):
            raise NotPossible("torch {} does not know TF32".format(torch.__version__))
    if device == "cuda" and number_format in ("tf32", "bf16"):
        capability = torch.cuda.get_device_capability(0)
        if capability < (8, 0):
            raise NotPossible("compute capability {}.{} has no {}: 8.0 brought it".format(*capability, number_format))


def _allow_tf32(allowed: bool) -> None:
    """Set whether fp32 products and convolutions may be computed in TF32, whatever this version's defaults are."""
    for part in (getattr(torch.backends.cuda, "matmul", None), torch.backends.cudnn):
        if hasattr(part, "allow_tf32"):
            part.allow_tf32 = allowed


def _refuse_slow(of_one_photo: Callable[[], None], batch_size: int, seconds: float) -> None:
    expected_seconds = _fastest(of_one_photo) * batch_size
    if expected_seconds > seconds:
        raise NotPossible(
            "too slow: once would take about {:.1f} s, told from one photo, and its share of the time is {:.1f} "
            "s".format(expected_seconds, seconds)
        )


def _fastest(work: Callable[[], None]) -> float:
    """Return the seconds of the fastest of a few: the first ones start threads and choose algorithms."""
    taken = []
    for _ in range(TRIALS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def _threads(device: str) -> str:
    return "on the GPU" if device == "cuda" else "{} threads".format(torch.get_num_threads())
