"""A real HTTP server on 127.0.0.1, with ranges, that can cut, dawdle or refuse; and one that plays Kaggle."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK_BYTES = 1 << 15


class FileServer:
    """Serves `files` (path: bytes). What it was asked for stands in `asked`, as (path, Range header)."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}  # sent with every file
        self.status: int | None = None  # answer everything with this error
        self.cut_after: int | None = None  # bytes of a file after which the connection is closed
        self.seconds_per_chunk = 0.0
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []
        self.authorizations: set[str] = set()  # what it was shown of tokens
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        self.asked.append((path, handler.headers.get("Range")))
        if self.status is not None:
            handler.send_error(self.status)
        elif path not in self.files:
            handler.send_error(404)
        else:
            self._send(handler, self.files[path])

    def _send(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        wanted = handler.headers.get("Range") if self.ranges else None
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(content) > 0:
            handler.send_error(416)
            return
        handler.send_response(206 if wanted else 200)
        handler.send_header("Content-Length", str(len(content) - start))
        if self.ranges:
            handler.send_header("Accept-Ranges", "bytes")
        if wanted:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        end = len(content) if self.cut_after is None else min(len(content), start + self.cut_after)
        for begin in range(start, end, CHUNK_BYTES):
            handler.wfile.write(content[begin : min(begin + CHUNK_BYTES, end)])
            handler.wfile.flush()
            time.sleep(self.seconds_per_chunk)


class Kaggle(FileServer):
    """As much of Kaggle as kagglehub needs: the version, then a redirect to the archive, whose address is signed."""

    ARCHIVE = "/storage/archive.zip"
    SIGNATURE = "Signature=s3cr3t"

    def offer(self, archive: bytes) -> None:
        self.files[self.ARCHIVE] = archive
        md5 = base64.b64encode(hashlib.md5(archive, usedforsecurity=False).digest()).decode()
        self.headers["x-goog-hash"] = f"crc32c=AAAAAA==,md5={md5}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.authorizations.add(handler.headers.get("Authorization", ""))
        if self.status is not None or not handler.path.startswith("/api/"):
            super().answer(handler)
        elif handler.path.endswith("/GetDataset"):
            body = json.dumps({"currentVersionNumber": 3}).encode()
            handler.send_response(200)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
        else:
            handler.send_response(302)
            handler.send_header("Location", f"{self.url}{self.ARCHIVE}?{self.SIGNATURE}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()


@contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.close_connection = True  # so that `cut_after` cuts
            with suppress(ConnectionError):  # the client has gone, which some tests are about
                server.answer(self)

        def do_POST(self) -> None:
            self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listener.server_port}"
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def refused_url() -> str:
    """An address on which nothing listens."""
    with serving(FileServer()) as server:
        return server.url
