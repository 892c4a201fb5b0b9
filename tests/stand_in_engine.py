"""A stand-in at the engine's end of a socket, which answers as a test says: for words of engines that are not here."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

Answers = dict[str, tuple[int, list[Any]]]
VERSION = {"ApiVersion": "1.41", "Components": [{"Name": "Engine"}]}
INFO = {"ServerVersion": "20.10.24", "DefaultRuntime": "runc", "SecurityOptions": []}


class StandIn(socketserver.ThreadingUnixStreamServer):
    """Answers 'METHOD /path' (without the API's version) with a status and JSON lines, and keeps what was asked."""

    def __init__(self, path: Path, answers: Answers) -> None:
        usual: Answers = {"GET /version": (200, [VERSION]), "GET /_ping": (200, ["OK"]), "GET /info": (200, [INFO])}
        self.answers = usual | answers
        self.asked: list[str] = []
        self.headers: dict[str, dict[str, str]] = {}  # of the last request of each kind
        super().__init__(str(path), Answer)


class Answer(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/v1.41")
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while self.rfile.readline() != b"0\r\n":
                pass
        asked = f"{self.command} {path}"
        self.server.asked.append(asked)
        self.server.headers[asked] = dict(self.headers)
        status, lines = self.server.answers.get(asked, (404, [{"message": f"no {path}"}]))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        body = "\n".join(map(json.dumps, lines)).encode()
        if status == 200 and self.command == "POST" and body:  # a stream of events comes in chunks
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    do_GET = do_POST = do_DELETE = answer

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def answering(path: Path, answers: Answers | None = None) -> Iterator[StandIn]:
    """It, on a socket there."""
    with StandIn(path, answers or {}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
