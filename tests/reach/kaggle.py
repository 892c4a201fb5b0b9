"""As much of Kaggle's kernels as kagglesdk asks for, on 127.0.0.1, in Kaggle's own words: kagglesdk's types make them.

A kernel that is pushed stays queued until `run` runs its script, for real, as a process of its own.
"""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from kagglesdk.kernels.types import kernels_api_service as api
from kagglesdk.kernels.types.kernels_enums import KernelWorkerStatus

from tests.jobs.dogs_cats.helper_http import FileServer

TOKEN = "KGAT_do_not_print_me"


class Kernels(FileServer):
    """Kernels by their names; `refuse` answers all with that error of HTTP, `error` pushes with Kaggle's own words."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.kernels: dict[str, dict[str, Any]] = {}
        self.states: dict[str, KernelWorkerStatus] = {}
        self.shapes: dict[str, str] = {}  # what a session got, where it is not what was asked for
        self.refuse: int | None = None
        self.error: str | None = None
        self.deleted: list[str] = []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.authorizations.add(handler.headers.get("Authorization", ""))
        if handler.path.startswith("/api/v1/kernels.KernelsApiService/"):
            if self.refuse:
                handler.send_error(self.refuse)
                return
            self._say(handler, handler.path.rpartition("/")[2], json.loads(handler.body))  # type: ignore[attr-defined]
        else:
            super().answer(handler)

    def run(self, slug: str, status: KernelWorkerStatus | None = None, **environment: str) -> None:
        """Run the script that was pushed, as Kaggle would, and offer what it leaves."""
        folder = self.folder / slug
        folder.mkdir()
        (folder / "script.py").write_text(self.kernels[slug]["text"], encoding="utf-8")
        self.states[slug] = KernelWorkerStatus.RUNNING
        done = subprocess.run(
            [sys.executable, "script.py"],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder), **environment},
            capture_output=True,
            text=True,
        )
        (folder / "log").write_text(done.stdout + done.stderr, encoding="utf-8")
        ended = KernelWorkerStatus.ERROR if done.returncode else KernelWorkerStatus.COMPLETE
        self.states[slug] = status or ended
        for path in (*folder.glob("*.zip"), *folder.glob("*.json")):
            self.files[f"/signed/{slug}/{path.name}"] = path.read_bytes()

    def _say(self, handler: BaseHTTPRequestHandler, what: str, asked: dict[str, Any]) -> None:
        answer: Any
        if what == "SaveKernel":
            answer = self._save(asked)
        else:
            slug = asked["kernelSlug"]
            if slug not in self.kernels:
                handler.send_error(404)
                return
            answer = {
                "GetKernelSessionStatus": self._status,
                "GetKernel": self._get,
                "ListKernelSessionOutput": self._output,
                "DeleteKernel": self._delete,
            }[what](slug)
        content = json.dumps(type(answer).to_dict(answer)).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _save(self, asked: dict[str, Any]) -> api.ApiSaveKernelResponse:
        answer = api.ApiSaveKernelResponse()
        if self.error:
            answer.error = self.error
            return answer
        slug = asked["slug"].partition("/")[2]
        self.kernels[slug], self.states[slug] = asked, KernelWorkerStatus.QUEUED
        answer.url, answer.version_number = f"{self.url}/code/{asked['slug']}", 1
        return answer

    def _status(self, slug: str) -> api.ApiGetKernelSessionStatusResponse:
        answer = api.ApiGetKernelSessionStatusResponse()
        answer.status = self.states[slug]
        return answer

    def _get(self, slug: str) -> api.ApiGetKernelResponse:
        answer = api.ApiGetKernelResponse()
        answer.metadata = api.ApiKernelMetadata()
        answer.metadata.machine_shape = self.shapes.get(slug, self.kernels[slug].get("machineShape", ""))
        return answer

    def _output(self, slug: str) -> api.ApiListKernelSessionOutputResponse:
        answer = api.ApiListKernelSessionOutputResponse()
        for path in self.files:
            if path.startswith(f"/signed/{slug}/"):
                each = api.ApiKernelSessionOutputFile()
                each.url, each.file_name = f"{self.url}{path}?Signature=s3cr3t", path.rpartition("/")[2]
                answer.files.append(each)
        answer.log = "[]"
        return answer

    def _delete(self, slug: str) -> api.ApiDeleteKernelResponse:
        del self.kernels[slug], self.states[slug]
        self.deleted.append(slug)
        return api.ApiDeleteKernelResponse()
