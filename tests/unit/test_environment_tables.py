"""Machine and images in rows: every value, and why one is not known."""

import dataclasses

from stages.harness.report.page import environment_tables
from stages.records import CoreKind
from tests import environments, results


def test_a_machine_with_a_gpu_is_told_down_to_its_lanes():
    card = environments.gpu(
        compute_capability="7.5", driver_cuda="13.0", pcie_max_width=16, ecc=True, max_sm_hertz=10**9
    )
    plain = results.profile("host")
    facts = dataclasses.replace(plain.facts, hardware=environments.hardware(card, physical_cores=1))
    rows = {
        what: words
        for what, (words,) in environment_tables.of_machine(dataclasses.replace(plain, facts=facts), results.machine())
    }
    assert rows["physical cores"] == "1" and rows["sockets"] == "unknown: not stated"
    assert rows["GPU: driver"] == "580.65.06, for CUDA up to 13.0"
    assert (rows["GPU: PCIe lanes"], rows["GPU: ECC"], rows["GPU: maximum clock"]) == ("16", "yes", "1.00 GHz")
    assert rows["GPU: power limit"] == "unknown: not stated"
    assert rows["disk of the data"] == "ext4, solid state" and rows["free on it"] == "64 GiB"


def test_without_a_profile_the_host_is_told():
    rows = dict(environment_tables.of_machine(None, results.machine()))
    assert rows["caches"] == ("L1 data 1 x 32 KiB; L3 unified 1 x 16 MiB",) and "free on it" not in rows


def test_images_are_columns_of_which_each_says_what_it_knows():
    profiles = {name: results.profile(name) for name in ("host", "mine")}
    made = dataclasses.replace(results.image("mine"), image_id="sha256:1", absent={
        name: why for name, why in results.image("mine").absent.items() if name != "image_id"
    })  # fmt: skip
    rows = dict(environment_tables.of_images(("host", "mine", "never"), profiles, {"mine": made}))
    assert rows["NCCL"] == ("2.30.7", "2.30.7")
    assert rows["image id"] == ("image.json is missing", "sha256:1")
    assert rows["base"][1] == "image host runs without a container"
    assert environment_tables.of_images(("never",), profiles, {}) == []


def test_the_overview_has_what_any_image_holds_and_a_dash_where_one_does_not():
    absent = dict.fromkeys(("torch", "cuda", "cudnn", "nccl"), "no torch in this image")
    plain = results.profile("plain")
    contents = dataclasses.replace(
        plain.facts.contents, **dict.fromkeys(absent), python="3.7.16", cuda_architectures=(), absent=absent
    )
    unknown = dict.fromkeys(("device", "gpu_uuid", "torch_threads"), "no torch in this image")
    without = dataclasses.replace(plain.facts, device=None, torch_threads=None, contents=contents, absent=unknown)
    bare = dataclasses.replace(plain, facts=without)
    rows = dict(environment_tables.overview([results.profile("host"), bare]))
    assert rows["Python"] == ("3.11.9", "3.7.16")
    assert (rows["torch"], rows["cuDNN"], rows["device"]) == (("2.14.1", "-"), ("9.24.0", "-"), ("CPU", "-"))
    assert set(dict(environment_tables.overview([bare]))) == {"OS", "Python"}
    details = dict(environment_tables.of_images(["plain"], {"plain": bare}, {}))
    assert details["NCCL"] == details["torch's threads"] == ("unknown: no torch in this image",)
    assert details["torch compiled for"] == ("-",)


def test_what_steers_speed_is_told_of_images_and_of_the_processors():
    plain = results.profile("host")
    set_here = dataclasses.replace(plain.facts, variables={"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"})
    rows = dict(environment_tables.of_images(["host"], {"host": dataclasses.replace(plain, facts=set_here)}, {}))
    assert rows["variables that steer speed"] == ("ATEN_CPU_CAPABILITY=default; OMP_NUM_THREADS=1",)
    machine = dict(environment_tables.of_machine(plain, results.machine()))
    assert machine["CPU governor"] == ("unknown: no cpufreq",)
    assert machine["CPUs by speed"] == ("all alike: 0-1: capacity 1024",)
    assert machine["times that heat held the CPU back until then"] == ("0",)
    kinds = tuple(CoreKind(cpus, None, clock, {"capacity": "none"}) for cpus, clock in (("0-15", 52), ("16-23", 39)))
    kinds = tuple(dataclasses.replace(each, max_hertz=(each.max_hertz or 0) * 10**8) for each in kinds)
    hybrid = environments.hardware(core_kinds=kinds, governor="powersave (acpi-cpufreq)")
    machine = dict(environment_tables.of_machine(None, results.machine(hardware=hybrid)))
    assert machine["CPUs by speed"] == ("0-15: at most 5.200 GHz; 16-23: at most 3.900 GHz",)
    assert machine["CPU governor"] == ("powersave (acpi-cpufreq)",)
