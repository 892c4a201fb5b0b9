#!/usr/bin/env python3
"""Known vulnerabilities of what the host runs, by pip-audit.

    python .ci/audit.py [OPTION OF pip-audit ...]

Exit code 0: every package was looked up and none is known to be vulnerable; 1: some are, and each is named; 3: not
every package was looked up, as where no vulnerability service answers: that says nothing, and is not to be counted.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parents[1] / "docker" / "host" / "requirements.lock"
NOT_DONE = 3


def main() -> int:
    given = ("--requirement", str(LOCK), "--require-hashes", "--disable-pip", "--format", "json")
    command = [sys.executable, "-m", "pip_audit", *given, "--progress-spinner", "off", *sys.argv[1:]]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:  # it prints nothing where the service cannot be reached
        said = done.stderr.strip().splitlines()
        print(f"audit: NOT DONE: no vulnerability service answers ({said[-1] if said else 'pip-audit said nothing'})")
        return NOT_DONE
    return report(packages)


def report(packages: list[dict[str, Any]]) -> int:
    """Print what pip-audit found of the packages; the exit code."""
    unknown = [each["name"] for each in packages if "skip_reason" in each]
    found = [(each, vulnerability) for each in packages for vulnerability in each.get("vulns", ())]
    for package, vulnerability in found:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        print(f"audit: {package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}")
    if found:
        return 1
    if unknown or not packages:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        print(f"audit: NOT DONE: the vulnerability service knows nothing of {len(unknown)} of {len(packages)}: {shown}")
        return NOT_DONE
    print(f"audit: {len(packages)} packages of {LOCK.name}, none known to be vulnerable")
    return 0


if __name__ == "__main__":
    sys.exit(main())
