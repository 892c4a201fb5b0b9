"""Sessions of other machines, read as this machine's own results are: through params.yaml and the records' codec."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from stages import codec, records
from stages.codec import RecordError
from stages.errors import FaceoffError
from stages.harness.comparison import as_run
from stages.harness.comparison.runs import read_profiles
from stages.harness.params import schema
from stages.harness.params.schema import Params
from stages.harness.results.read import CellResult, read_all
from stages.harness.sites import names
from stages.records import Facts, Job, Machine, Profile


@dataclasses.dataclass(frozen=True)
class Session:
    """One face-off, whole or cut off, on one machine."""

    site: str
    name: str  # of names.SESSION_NAME
    params: Params
    job: Job
    machine: Machine
    data_sha256: str
    profiles: Mapping[str, Profile]  # by image, those that there are, with what their image.yaml sets
    results: Sequence[CellResult]
    began_at: str | None  # of metrics/session.json; None: it is not there

    def of_setting(self, setting: str) -> list[CellResult]:
        """Pick the results of one setting."""
        return [each for each in self.results if each.cell.setting == setting]

    def facts(self, setting: str) -> Facts | None:
        """Return the setting's environment, its variant's variables with it; None without a profile."""
        return as_run.facts(self.of_setting(setting), self.profiles)


def read(root: Path, site: str = "") -> Session:
    """Read what lies under `root`. Raises FaceoffError or RecordError, one line."""
    wanted = schema.load(root)
    results = read_all(wanted, root)
    began = root / records.SESSION_PATH
    return Session(
        site=site,
        name=_name(root, results),
        params=wanted,
        job=codec.read(root / records.JOB_PATH, Job),
        machine=codec.read(root / records.MACHINE_PATH, Machine),
        data_sha256=codec.read(root / records.MANIFEST_PATH, records.Manifest).sha256,
        profiles=read_profiles(wanted.images, root),
        results=results,
        began_at=codec.read(began, records.Session).began_at if began.exists() else None,
    )


def of_site(site: str, root: Path = Path()) -> list[Session]:
    """Read all sessions of a site that were collected, the earliest first. Raises FaceoffError where there is none."""
    names.check_site(site, root)
    folders = names.session_dirs(site, root)
    if not folders:
        known = ", ".join(names.known_sites(root)) or "none"
        raise FaceoffError(
            f"no site {site}: expected one of those that were collected ({known}); "
            f"`.venv/bin/python -m stages.collect FILE --as {site}` makes it one"
        )
    return [read(each, site) for each in folders]


def moment(text: str) -> datetime:
    """Return the time that a record says, in UTC."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise RecordError(f"expected a time in ISO 8601, found {text!r:.80}") from None


def _name(root: Path, results: Sequence[CellResult]) -> str:
    """Name the session by its first training, when it began and what came out: repeats that are added keep the name.

    Machines that are copies of each other, as nodes and containers are, may begin in the same second.
    """
    trainings = [(moment(each.train.started_at), codec.fingerprint(each.train)) for each in results if each.train]
    if not trainings:
        reason = next((each.reason for each in results if each.reason), "there is no cell")
        raise FaceoffError(f"{root / names.METRICS_DIR}: no training ran whole, so there is nothing to keep ({reason})")
    began, digest = min(trainings)
    return f"{began:%Y%m%d-%H%M%S}-{digest[:8]}"
