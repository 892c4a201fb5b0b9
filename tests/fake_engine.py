"""A container engine in memory, for tests of what is asked of one. It passes the contract suite as Docker does."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from stages.errors import FaceoffError
from stages.harness.environments.launch import (
    About,
    BuildFailed,
    Found,
    Job,
    Outcome,
    ProgramForbidden,
    ProgramMissing,
    Show,
)
from stages.harness.process.watchdog import Watch


class FakeEngine:
    """launch.Engine whose images are names; its 'containers' are processes of the host, without walls."""

    def __init__(self, *references: str, registry: tuple[str, ...] = ()) -> None:
        self.images = {reference: self._new(reference) for reference in references}
        self.registry = {reference: f"sha256:digest of {reference}" for reference in registry}
        self.pulls: list[str] = []
        self.builds: list[tuple[str, Mapping[str, bytes], Mapping[str, str], str | None]] = []
        self.jobs: list[Job] = []

    @staticmethod
    def _new(reference: str, digest: str | None = None) -> Found:
        return Found(f"sha256:id of {reference}", 1000, digest)

    def about(self) -> About:
        return About("1.0", "processes")

    def check_sees(self, checkout: Path) -> None:
        """It does: it is this process."""

    def find(self, reference: str) -> Found | None:
        return self.images.get(reference)

    def pull(self, reference: str, show: Show) -> None:
        self.pulls.append(reference)
        if reference not in self.registry:
            raise FaceoffError(f"{reference} cannot be pulled: no such image")
        self.images[reference] = self._new(reference, self.registry[reference])

    def build(
        self, files: Mapping[str, bytes], tag: str, arguments: Mapping[str, str], network: str | None, show: Show
    ) -> None:
        self.builds.append((tag, files, arguments, network))
        for step in files["Dockerfile"].decode().splitlines():
            if step.startswith("RUN "):
                done = subprocess.run(["sh", "-c", step.removeprefix("RUN ")], capture_output=True, text=True)
                lines = (done.stdout + done.stderr).splitlines()
                show(f"Step 1/1 : {step}")
                if done.returncode:
                    for line in lines:
                        show(line)
                    raise BuildFailed(f"{tag} was not built: a step returned {done.returncode}", lines)
        self.images[tag] = self._new(tag)

    def remove_left_over(self, checkout: Path) -> None:
        """Its processes leave nothing."""

    def run(self, job: Job, watch: Watch | None = None) -> Outcome:
        self.jobs.append(job)
        if job.reference not in self.images:
            raise FaceoffError(f"no such image: {job.reference}")
        environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **job.environment}
        try:
            done = subprocess.run(job.command, cwd=job.directory, env=environment, capture_output=True)
        except FileNotFoundError:
            raise ProgramMissing(f"{job.reference} has no program {job.command[0]}", 127) from None
        except PermissionError:
            raise ProgramForbidden(f"{job.command[0]} may not be run", 126) from None
        sys.stdout.buffer.write(done.stdout)
        sys.stdout.flush()
        sys.stderr.buffer.write(done.stderr)
        sys.stderr.flush()
        return Outcome(done.returncode if done.returncode >= 0 else 128 - done.returncode, out_of_memory=False)
