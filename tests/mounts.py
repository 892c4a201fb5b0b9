"""File systems of a test's own, which are gone when the test's command ends."""

import os
import subprocess
from pathlib import Path

from tests.real_engine import unable


def mounting(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script that may mount, in a mount namespace of its own."""
    unshare = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode:
        unable("no mount namespace can be had here")
    command = [*unshare, "sh", "-ec", script]
    environment = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
