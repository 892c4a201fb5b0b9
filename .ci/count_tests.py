"""Count what a pytest run did, and refuse a run that proves nothing.

    python .ci/count_tests.py JUNIT_XML ENGINE_TESTS

JUNIT_XML is what pytest wrote; ENGINE_TESTS holds what `pytest --collect-only --quiet -m engine` printed. Prints
'<passed> <failed>'. Exit code 1, and a line on standard error for each reason, where no test ran, where a test that
needs a Docker engine did not run, or where any was skipped: CI promises an engine, a browser and a compiler. A missing
GPU alone excuses it.
"""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree


def main() -> int:
    outcomes = read_outcomes(Path(sys.argv[1]))
    wanted = [address(line) for line in Path(sys.argv[2]).read_text().splitlines() if "::" in line]
    kinds = [kind for kind, _ in outcomes.values()]
    print(kinds.count("passed"), kinds.count("failed"))

    problems = [] if outcomes else ["no test ran"]
    if not wanted:
        problems.append("no test needs the engine, so nothing shows that images are built and run")
    problems += [f"{test} needs the engine and was not run" for test in wanted if test not in outcomes]
    for test, (kind, reason) in outcomes.items():
        if kind == "skipped" and "GPU" not in reason:
            problems.append(f"{test} was skipped: {reason}")
    for problem in problems:
        print(f"ci: {problem}", file=sys.stderr)
    return 1 if problems else 0


def read_outcomes(junit_xml: Path) -> dict[str, tuple[str, str]]:
    """For each test 'passed', 'failed', 'foreseen' (to fail, strictly) or 'skipped', and the reason of a skip."""
    outcomes = {}
    for case in ElementTree.parse(junit_xml).iter("testcase"):  # noqa: S314 (pytest wrote it, a moment ago)
        kind, reason = "passed", ""
        for child in case:
            if child.tag in ("failure", "error"):
                kind = "failed"
            elif child.tag == "skipped" and kind == "passed":
                foreseen = child.get("type") == "pytest.xfail"
                kind, reason = "foreseen" if foreseen else "skipped", child.get("message", "")
        outcomes[f"{case.get('classname')}.{case.get('name')}"] = (kind, reason)
    return outcomes


def address(node_id: str) -> str:
    """Under which class name and name pytest's junitxml reports a node id (_pytest.junitxml.mangle_test_address)."""
    path, bracket, parameters = node_id.partition("[")
    file, *names = path.split("::")
    return ".".join([re.sub(r"\.py$", "", file.replace("/", ".")), *names]) + bracket + parameters


if __name__ == "__main__":
    sys.exit(main())
