"""Sessions of other machines, made through the records in a project of their own, packed by the real thing."""

import dataclasses
import datetime
import hashlib
import json
import random
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from stages import codec, records
from stages.harness.params import jobs, schema
from stages.harness.results import read
from stages.harness.sites import names, pack
from stages.records import Hardware, Machine, Profile
from tests import project, results

BEGIN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
VARIANTS = {"fp32-bs16": {"precision": "fp32", "batch_size": 16}}
SETTING = "host/fp32-bs16"
PRICE = {"amount": 0.36, "currency": "USD", "per": "hour", "source": "https://cloud.example/prices", "on": "2026-11-27"}


def make_project(folder: Path, images: Sequence[str] = ("host",), **overrides: Any) -> Path:
    """A project whose job is results.TOY."""
    given = {"variants": VARIANTS, "repeats": [1, 2, 3], "toy": {"size": 96}, **overrides}
    made = project.make_project(folder, [*images], job="toy", **given)
    project.write_job(made, "toy", results.TOY)
    return made


def priced(folder: Path, **changes: Any) -> None:
    """Write a price into params.yaml."""
    change_params(folder, lambda params: params["provider"].update(price={**PRICE, **changes}))


def change_params(folder: Path, change: Any) -> None:
    path = folder / schema.PARAMS_PATH
    params = yaml.safe_load(path.read_text())
    change(params)
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def measure(
    folder: Path,
    day: int,
    machine: Machine | None = None,
    profile: Profile | None = None,
    spread: float = 0.003,
    **seconds: float,
) -> None:
    """Write the results of a session of that day; an epoch took about so many seconds, by image."""
    wanted = schema.load(folder)
    definition = jobs.load(wanted.job, folder)
    job = jobs.record(wanted.job, definition, wanted.section, wanted.seed, folder)
    results.write_run(job, folder)
    codec.write(folder / records.MACHINE_PATH, machine or results.machine())
    began = BEGIN + datetime.timedelta(days=day)
    codec.write(folder / records.SESSION_PATH, records.Session((began - datetime.timedelta(minutes=5)).isoformat()))
    for image in wanted.images:
        seen = profile or results.profile(image)
        codec.write(folder / records.profile_path(image), seen)
        codec.write(folder / records.facts_path(image), seen.facts)
    present = read.belongs(wanted, job, folder)
    noise = random.Random(day)  # noqa: S311 - repeatable
    for place, cell in enumerate(wanted.cells()):
        took = seconds.get(cell.image.replace("-", "_"), 10.0) * (1 + noise.gauss(0, spread))
        start = began + datetime.timedelta(minutes=2 * place)
        fields = {"belongs": present[cell.image, cell.variant]}
        train = results.trained(cell, took, started_at=start.isoformat(), **fields)
        later = (start + datetime.timedelta(minutes=1)).isoformat()
        evaluate = results.evaluated(cell, 0.3 * took, started_at=later, **fields)
        results.write_cell(train, evaluate, root=folder)


def packed(path: Path) -> Path:
    """The pack of the project that is the current folder."""
    return pack.pack(path)[0]


def rewritten(pack_file: Path, into: Path, changes: Mapping[str, bytes | None], index: bool = True) -> Path:
    """The pack with these files instead, None: without one; and with an index that tells of them."""
    with zipfile.ZipFile(pack_file) as old:
        contents: dict[str, bytes | None] = {each: old.read(each) for each in old.namelist()} | {**changes}
    kept = {name: each for name, each in contents.items() if each is not None}
    described = kept.pop(names.INDEX)
    if index and names.INDEX not in changes:
        described = index_of(json.loads(described)["session"], kept)
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as new:
        for name, each in {names.INDEX: described, **kept}.items():
            new.writestr(name, each)
    return into


def index_of(session: str, contents: Mapping[str, bytes]) -> bytes:
    """The text of a pack.json of these files."""
    digests = {name: sha256(each) for name, each in contents.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / names.INDEX
        codec.write(path, names.Index(session, digests))
        return path.read_bytes()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def other_hardware(model: str) -> Hardware:
    return dataclasses.replace(results.HARDWARE, cpu=dataclasses.replace(results.HARDWARE.cpu, model=model))
