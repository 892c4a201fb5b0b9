"""A registry on this machine that has one image, of one layer: enough of the HTTP API V2 for an engine to pull it."""

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

PREFIX = "application/vnd.docker"


@contextlib.contextmanager
def serving(marker: bytes, in_list: bool = False) -> Iterator[tuple[str, str]]:
    """Reference and digest of an image that holds the marker. Engines trust a registry on 127.0.0.1.

    `in_list`: the digest is of a list of what the image is on each platform, as with most images of today.
    """
    layer = _layer(marker)
    packed = gzip.compress(layer, mtime=0)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            "history": [{"created_by": "test"}],
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{PREFIX}.distribution.manifest.v2+json",
            "config": _described(f"{PREFIX}.container.image.v1+json", config),
            "layers": [_described(f"{PREFIX}.image.rootfs.diff.tar.gzip", packed)],
        }
    ).encode()
    platform = {"architecture": "amd64", "os": "linux"}
    listed = _described(f"{PREFIX}.distribution.manifest.v2+json", manifest) | {"platform": platform}
    kind = f"{PREFIX}.distribution.manifest.list.v2+json"
    manifests = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [listed]}).encode()
    blobs = {_digest(each): each for each in (config, packed, manifest, manifests)}
    tagged = _digest(manifests if in_list else manifest)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(blobs, tagged))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}/faceoff-test:1", tagged
    finally:
        server.shutdown()
        server.server_close()


def _handler(blobs: dict[str, bytes], tagged: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, _, place = self.path.partition("/faceoff-test/")
            kind, _, name = place.partition("/")
            digest = name if name.startswith("sha256:") else tagged
            body = blobs.get(digest, b"") if place else b"{}"
            self.send_response(200 if body else 404)
            is_manifest = body and kind == "manifests"
            self.send_header(
                "Content-Type", json.loads(body)["mediaType"] if is_manifest else "application/octet-stream"
            )
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", digest)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _layer(marker: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("marker")
        entry.size = len(marker)
        archive.addfile(entry, io.BytesIO(marker))
    return buffer.getvalue()


def _described(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "size": len(content), "digest": _digest(content)}


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
