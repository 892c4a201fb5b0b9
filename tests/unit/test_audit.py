""".ci/audit.py: the real pip-audit, against a stand-in for the vulnerability service OSV on 127.0.0.1."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.jobs.dogs_cats.helper_http import refused_url

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = re.findall(r"^[\w.-]+==", (ROOT / "docker/host/requirements.lock").read_text(), re.MULTILINE)
FOUND = {
    "id": "PYSEC-2099-1",
    "modified": "2099-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "pillow", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}],
        }
    ],
}


@contextmanager
def service(vulnerable: str) -> Iterator[str]:
    """Knows one vulnerability, of this package; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps({"vulns": [FOUND]} if asked["package"]["name"] == vulnerable else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def audit(url: str, tmp_path: Path) -> tuple[int, str]:
    command = [sys.executable, ".ci/audit.py", "--vulnerability-service", "osv", "--osv-url", url]
    command += ["--cache-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_known_vulnerability_is_named(tmp_path: Path) -> None:
    with service("pillow") as url:
        code, said = audit(url, tmp_path)
    assert code == 1
    assert re.fullmatch(r"audit: pillow [\d.]+: PYSEC-2099-1, fixed in 99\.1\n", said)


def test_none_is_only_said_of_what_was_looked_up(tmp_path: Path) -> None:
    with service("nothing of ours") as url:
        code, said = audit(url, tmp_path)
    assert code == 0
    [counted] = re.findall(r"^audit: (\d+) packages of requirements\.lock, none known to be vulnerable\n$", said)
    assert 0.9 * len(PACKAGES) < int(counted) <= len(PACKAGES)  # some are for other systems


def test_where_no_service_answers_it_is_not_done_and_not_passed(tmp_path: Path) -> None:
    code, said = audit(refused_url(), tmp_path)
    assert code == 3
    assert said.startswith("audit: NOT DONE: no vulnerability service answers (") and said.count("\n") == 1


def test_a_service_that_knows_none_of_the_packages_is_no_service(capsys) -> None:
    sys.path.insert(0, str(ROOT / ".ci"))
    try:
        import audit as program
    finally:
        sys.path.pop(0)
    unknown = [{"name": name, "skip_reason": "not found"} for name in ("a", "b", "c", "d", "e", "f")]
    known = {"name": "g", "version": "1", "vulns": []}
    assert program.report(unknown) == program.report([*unknown, known]) == program.report([]) == program.NOT_DONE
    assert "NOT DONE: the vulnerability service knows nothing of 6 of 7: a, b, c, d, e, ..." in capsys.readouterr().out
