"""The networks' bodies (all but the head), the same code in every image, with their ImageNet weights.

ResNets are torchvision's. `tf_efficientnet_lite0` is written out here, since no release of timm runs on both torch 1.2
and today's: the same modules in the same order as timm's, so that the published weights fit one by one.
"""

from pathlib import Path
from typing import NamedTuple, Optional, Tuple

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from stages.errors import FaceoffError

IMAGENET_STATS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF_STATS = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Body(NamedTuple):
    """A network without its head."""

    layers: nn.Sequential
    split: int  # index in `layers` where the second layer group begins, for discriminative learning rates
    stats: Tuple[Tuple[float, ...], Tuple[float, ...]]  # mean and standard deviation per channel, for inputs in 0 to 1


def body(arch: str, weights: Optional[Path]) -> Body:
    """Return the body of `arch`; random where `weights` is None.

    Raises FaceoffError if the weights are not those of `arch`.
    """
    if arch == "tf_efficientnet_lite0":
        network = efficientnet_lite0()
        layers, split, stats = network[0], 9, HALF_STATS
    else:
        network = getattr(torchvision.models, arch)()
        layers, split, stats = nn.Sequential(*list(network.children())[:-2]), 6, IMAGENET_STATS
    if weights is not None:
        load_in_order(network, weights)
    return Body(layers, split, stats)


def load_in_order(network: nn.Module, weights: Path) -> None:
    """Load a state dict whose tensors come in the network's own order, whatever their names."""
    if not weights.is_file():
        raise FaceoffError(
            "{}: missing; the download stage fetches it: run `.venv/bin/dvc repro -s -f download`".format(weights)
        )
    loaded = torch.load(str(weights), map_location="cpu")
    own = network.state_dict()
    if [tensor.shape for tensor in own.values()] != [tensor.shape for tensor in loaded.values()]:
        raise FaceoffError(
            "{}: not the weights of this network ({} tensors, expected {}, or other shapes); fetch it anew: delete it "
            "and run `.venv/bin/dvc repro -s -f download`".format(weights, len(loaded), len(own))
        )
    network.load_state_dict(dict(zip(own, loaded.values())))


# ------------------------------------------------------------------------------------- EfficientNet-Lite0, as in timm

# repeats, output channels, kernel size, stride of the first, expansion; https://arxiv.org/abs/1905.11946, and
# https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html
LITE0_STAGES = (
    (1, 16, 3, 1, 1),
    (2, 24, 3, 2, 6),
    (2, 40, 5, 2, 6),
    (3, 80, 3, 2, 6),
    (3, 112, 5, 1, 6),
    (4, 192, 5, 2, 6),
    (1, 320, 3, 1, 6),
)


class SamePaddedConv2d(nn.Conv2d):
    """TensorFlow's 'same' padding, which is asymmetric for strides above 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padding = []  # type: List[int]
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(x, padding))


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        expand = [] if expansion == 1 else [_conv(inputs, inner, 1), _norm(inner), nn.ReLU6(inplace=True)]
        depthwise = [_conv(inner, inner, kernel, stride, groups=inner), _norm(inner), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(*expand, *depthwise, _conv(inner, outputs, 1), _norm(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


def efficientnet_lite0() -> nn.Sequential:
    """Return body (a flat Sequential of 18 modules) and ImageNet classifier, with random weights."""
    layers = [nn.Sequential(_conv(3, 32, 3, 2), _norm(32), nn.ReLU6(inplace=True))]  # type: List[nn.Module]
    channels = 32
    for repeats, outputs, kernel, first_stride, expansion in LITE0_STAGES:
        for index in range(repeats):
            stride = first_stride if index == 0 else 1
            layers.append(InvertedResidual(channels, outputs, kernel, stride, expansion))
            channels = outputs
    layers.append(nn.Sequential(_conv(channels, 1280, 1), _norm(1280), nn.ReLU6(inplace=True)))
    classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))
    return nn.Sequential(nn.Sequential(*layers), classifier)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride > 1:
        return SamePaddedConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
