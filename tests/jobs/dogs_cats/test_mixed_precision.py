"""fastai's own MixedPrecision leaves a CPU at fp32 without a word; the learner's must not."""

import pytest
import torch

from jobs.dogs_cats.learners.fastai2 import _cpu_mixed_precision


@pytest.fixture(scope="module")
def learner():
    from fastai.vision.all import DataLoader, DataLoaders, Learner, nn

    rows = [(torch.randn(3, 8, 8), torch.tensor(index % 2)) for index in range(8)]
    loaders = DataLoaders(DataLoader(rows, bs=4), DataLoader(rows, bs=4))
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return Learner(loaders, network, loss_func=nn.CrossEntropyLoss())


@pytest.mark.parametrize(("precision", "expected"), [("mixed", torch.bfloat16), ("fp32", torch.float32)])
def test_convolutions_compute_in(precision, expected, learner):
    seen = set()
    hook = learner.model[0].register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, cbs=[_cpu_mixed_precision()] if precision == "mixed" else [])
    hook.remove()
    assert seen == {expected}
    assert all(parameter.dtype == torch.float32 for parameter in learner.model.parameters())
    assert not torch.is_autocast_enabled("cpu")
