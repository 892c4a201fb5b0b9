"""What a provider states beside what is found; GB and GiB are never taken for each other."""

import dataclasses

import pytest
import yaml

from stages.codec import RecordError
from stages.harness.params import schema
from stages.harness.params.overrides import merged
from stages.harness.report import provider
from tests import comparisons, project
from tests.environments import GIB, facts, gpu, hardware
from tests.page import pages
from tests.project import DOGS_CATS, PARAMS, ROOT

UNSTATED = schema.ProviderParams(**dict.fromkeys(field.name for field in dataclasses.fields(schema.ProviderParams)))
NOTHING = dataclasses.replace(pages.params_of(comparisons.pair()), provider=UNSTATED)


def claiming(**claims):
    stated = {"name": "Cloud", "source": "https://cloud.example/specs", **claims}
    return dataclasses.replace(NOTHING, provider=dataclasses.replace(NOTHING.provider, **stated))


def rows(wanted, found):
    return {row.what: row for row in provider.rows(wanted, found)}


def test_without_claims_there_is_the_machine_and_what_may_be_used_of_it():
    found = rows(NOTHING, facts(on=hardware(memory_limit=2 * GIB, cpu_quota=1.0, usable_cpus=1.0)))
    assert (found["memory"].machine, found["memory"].limit, found["memory"].claim) == ("8 GiB", "2 GiB", "")
    assert (found["CPUs"].machine, found["CPUs"].limit) == ("2", "1")
    assert {row.verdict for row in found.values()} == {""}


def test_what_is_not_limited_shows_no_limit():
    found = rows(NOTHING, facts())
    assert found["memory"].limit == found["CPUs"].limit == ""


@pytest.mark.parametrize(
    ("claim", "found_bytes", "expected"),
    [
        ("12 GB", int(11.17 * GIB), "agrees"),  # the article's K80: 11.17 GiB are 12 GB
        ("12 GiB", int(11.17 * GIB), "differs: 7% less found; as 12 GB it would agree"),
        ("8 GiB", 8 * GIB - 100 * 2**20, "agrees"),  # the kernel keeps some
        ("29 GB", int(31.36 * GIB), "differs: 16% more found"),
        ("16 GB", 16 * GIB, "differs: 7% more found; as 16 GiB it would agree"),
        ("512 MiB", 2**29, "agrees"),
        ("0.5 TB", 10**12 // 2, "agrees"),
    ],
)
def test_amounts_agree_in_their_own_unit_alone(claim, found_bytes, expected):
    found = rows(
        claiming(memory=claim, disk=claim), facts(on=hardware(memory_bytes=found_bytes, total_bytes=found_bytes))
    )
    for what in ("memory", "disk of the data"):
        assert (found[what].claim, found[what].verdict) == (claim, expected)


def test_a_limit_is_what_counts_beside_a_claim():
    limited = hardware(memory_bytes=16 * GIB, memory_limit=8 * GIB)
    assert rows(claiming(memory="8 GiB"), facts(on=limited))["memory"].verdict == "agrees"
    assert rows(claiming(memory="16 GiB"), facts(on=limited))["memory"].verdict == "differs: 50% less found"


def test_cards():
    two = facts(on=hardware(gpu("Tesla T4", memory_bytes=15 * GIB), gpu("Tesla T4", memory_bytes=15 * GIB)))
    found = rows(claiming(gpu="NVIDIA T4", gpus=2, gpu_memory="16 GB"), two)
    assert [found[what].verdict for what in ("GPU", "GPUs", "GPU 0 memory")] == ["agrees"] * 3
    found = rows(claiming(gpu="Tesla P100", gpus=1), two)
    assert found["GPU"].verdict == "differs: another card found"
    assert found["GPUs"].verdict == "differs: 2 found"


def test_what_cannot_be_found_is_not_called_different():
    found = rows(claiming(gpu="Tesla T4", gpu_memory="16 GB", memory="8 GB"), facts(on=hardware(memory_bytes=None)))
    assert found["GPU"].verdict == found["GPU memory"].verdict == "not found: no NVIDIA driver answers"
    assert found["memory"].verdict == "not found: not stated"
    found = rows(claiming(gpus=1), facts())["GPUs"]
    assert (found.machine, found.verdict) == ("no NVIDIA driver answers", "not found: no NVIDIA driver answers")


def test_the_session_is_a_claim_that_no_machine_shows():
    wanted = dataclasses.replace(NOTHING, session=schema.SessionParams(12.0))
    assert rows(wanted, facts())["session"].claim == "at most 12 h"


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"memory": "30"}, "an amount with its unit"),
        ({"memory": "30GB"}, "an amount with its unit"),
        ({"disk": "30 gigabytes"}, "an amount with its unit"),
        ({"cpus": 0}, "above 0"),
        ({"name": None, "source": None, "cpus": 2}, "a name, where cpus is stated"),
        ({"source": None}, "the address of the page"),
    ],
)
def test_a_claim_has_a_unit_a_name_and_a_source(claims, expected):
    with pytest.raises(RecordError, match=expected):
        claiming(**claims)


PRESETS = {name: yaml.safe_load((ROOT / f"presets/{name}.yaml").read_text()) for name in project.PRESETS}


@pytest.mark.parametrize("name", sorted(name for name, preset in PRESETS.items() if preset.get("provider")))
def test_what_a_preset_states_is_set_beside_what_is_found(name):
    claims = PRESETS[name]["provider"]
    stated = [row for row in provider.rows(claiming(**claims), facts()) if row.claim and row.verdict]
    assert len(stated) == sum(claims[key] is not None for key in set(claims) - {"name", "source"})


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_makes_good_params(name):
    variants = {"fp32-bs16": {"precision": "fp32", "batch_size": 16}}
    plain = {**PARAMS, "image": "host", "images": ["host"], "job": "dogs_cats", "variants": variants}
    plain |= {"dogs_cats": DOGS_CATS, "compare": {**PARAMS["compare"], "baseline": "host/fp32-bs16"}}
    text = merged(yaml.safe_dump(plain), PRESETS[name])
    assert schema.parse(text, f"presets/{name}.yaml", ROOT).image in PRESETS[name]["images"]
