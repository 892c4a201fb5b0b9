"""Source `folder`: photos that are already here. They are copied; the folder itself is only read."""

import dataclasses
import hashlib
from pathlib import Path

from jobs.dogs_cats.sources import layout
from stages.errors import FaceoffError


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder of the user's own."""

    folder: Path

    def identity(self) -> str:
        """Return the path, and every file's name, size and time of change."""
        self._check()
        digest = hashlib.sha256()
        for path in layout.files(self.folder):
            status = path.stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
        return f"folder {self.folder.resolve()} {digest.hexdigest()}"

    def fetch(self, destination: Path) -> str:
        """Copy the photos."""
        layout.copy(self.folder, destination)
        return f"folder {self.folder}"

    def _check(self) -> None:
        if not self.folder.is_dir():
            raise FaceoffError(
                f"params.yaml: dogs_cats.dataset.folder: {self.folder} is not a folder: name one that holds photos"
            )
        missing = layout.missing_folders(self.folder)
        if missing:
            raise FaceoffError(
                f"params.yaml: dogs_cats.dataset.folder: {self.folder} lacks {', '.join(missing)}: "
                f"it must hold {', '.join(layout.FOLDERS)}"
            )
