"""Facts of machines and images, made through the records: for tests that need some without a machine like that."""

from typing import Any

from stages.records import Contents, Cpu, Disk, Facts, Gpu, Hardware, Limits, Machine

GIB = 2**30


def unknown(kind: Any, known: dict[str, Any], *certain: str) -> Any:
    """A record of which only `known` is known; the fields `certain` are null without that being unknown."""
    names = [name for name in kind.__dataclass_fields__ if name != "absent"]
    values = {name: known.get(name) for name in names}
    return kind(**values, absent={name: "not stated" for name in names if values[name] is None})


def gpu(name: str = "Tesla T4", **known: Any) -> Gpu:
    return unknown(Gpu, {"name": name, "uuid": f"GPU-{name}", "driver": "580.65.06", **known})


def hardware(*gpus: Gpu, **known: Any) -> Hardware:
    """A machine of 2 CPUs and 8 GiB. Each name goes to the part that has it; `memory_limit` to the limits."""
    cpu = {"architecture": "x86_64", "logical_cpus": 2, "model": "AMD EPYC 7B12", "caches": (), "isa": ("avx2",)}
    cpu |= {"core_kinds": ()}
    limits = {
        "cpuset": "0-1",
        "usable_cpus": 2.0,
        "shm_bytes": GIB,
        "cgroup_version": 2,
        "memory_bytes": known.pop("memory_limit", None),
    }
    machine = {"kernel": "6.1.0", "memory_bytes": 8 * GIB}
    disk = {"filesystem": "ext4", "kind": "solid state", "total_bytes": 100 * GIB}
    for part, kind in ((cpu, Cpu), (disk, Disk), (machine, Hardware), (limits, Limits)):
        part.update({name: known.pop(name) for name in list(known) if name in kind.__dataclass_fields__})
    assert not known, known
    parts = {"cpu": unknown(Cpu, cpu), "limits": unknown(Limits, limits), "disk": unknown(Disk, disk)}
    absent = {} if machine["memory_bytes"] else {"memory_bytes": "not stated"}
    reason = None if gpus else "no NVIDIA driver answers"
    return Hardware(**machine, **parts, gpus=gpus, gpus_reason=reason, absent=absent)


def contents(**known: Any) -> Contents:
    """Python 3.7, torch 1.2.0 for CUDA 10.0, and no other package."""
    plain = {
        "python": "3.7.17",
        "torch": "1.2.0",
        "cuda": "10.0.130",
        "cudnn": 7602,
        "cuda_architectures": ("sm_35", "sm_70", "sm_75"),
        "packages": {},
        "packages_sha256": "c" * 64,
    }
    return unknown(Contents, {**plain, **known})


def facts(image: str = "host", on: Hardware | None = None, **known: Any) -> Facts:
    """An environment; of what is given, the names of `Facts` go there, the others to what the image holds."""
    plain = {"device": "cpu", "os": "Debian GNU/Linux 12", "glibc": "2.36", "torch_threads": 2}
    plain |= {"gpu_uuid": None, "variables": {}}
    plain.update({name: known.pop(name) for name in list(known) if name in plain})
    there = on or hardware()
    plain["gpu_uuid"] = plain["gpu_uuid"] or next(
        (each.uuid for each in there.gpus if each.name == plain["device"]), None
    )
    return unknown(Facts, {"image": image, "hardware": there, "contents": contents(**known), **plain})


def machine(on: Hardware | None = None, job_gpus: tuple[str, ...] = ()) -> Machine:
    return Machine("one", on or hardware(), job_gpus, {})
