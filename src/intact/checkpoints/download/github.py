"""Downloading a file of a GitHub repository at a commit, from GitHub or ``INTACT_GITHUB_ENDPOINT``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from intact.checkpoints.download.base import (
    DownloadError,
    Pulled,
    Report,
    WrongContentError,
    locked,
    require_space,
    sha256,
    space_errors,
)
from intact.checkpoints.download.hub import bytes_kept, receive


@dataclass(frozen=True)
class GitHubFile:
    """A file of a GitHub repository.

    Attributes
    ----------
    repo, commit, path : str
        Location of the file.
    bytes : int
        Size of the file.
    sha256 : str
        Digest of the file; different content is rejected.
    """

    repo: str
    commit: str
    path: str
    bytes: int
    sha256: str

    @property
    def url(self) -> str:
        """URL of its content."""
        endpoint = os.environ.get("INTACT_GITHUB_ENDPOINT", "").rstrip("/") or "https://raw.githubusercontent.com"
        return f"{endpoint}/{self.repo}/{self.commit}/{self.path}"

    def __str__(self) -> str:
        return f"{self.path} of {self.repo} at {self.commit[:12]}"


def fetch_from_github(file: GitHubFile, target: Path, report: Report = lambda stage, done, total: None) -> Pulled:
    """Download a file to a path, unless it is already there: resumable, checked by SHA-256, atomic.

    Raises
    ------
    NoSpaceError
        If there is not enough space; data downloaded so far is kept.
    DownloadError
        If it cannot be downloaded, or has the wrong content.
    """
    folder = target.parent
    with space_errors(folder, target.name):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f".{target.name}.lock", report):
            fresh = not (target.is_file() and _digest(target, report) == file.sha256)
            if fresh:
                _fetch(file, target, report)
    return Pulled(target.name, target, file.bytes, file.sha256, source=str(file), fresh=fresh)


def _fetch(file: GitHubFile, target: Path, report: Report) -> None:
    """Download the file and move it into place; if it resumed a wrong partial file, start again from the beginning."""
    partial = target.with_name(f".{target.name}.{file.sha256[:16]}.partial")
    kept = bytes_kept(partial, file.bytes)
    require_space(target.parent, file.bytes - kept, target.name)
    try:
        receive(
            file.url, {}, target.name, partial, size=file.bytes, report=lambda done: report("fetch", done, file.bytes)
        )
        if (found := _digest(partial, report)) != file.sha256:
            raise WrongContentError(f"the downloaded file has SHA-256 {found}, expected {file.sha256}")
    except WrongContentError as error:
        partial.unlink()
        if not kept:
            raise DownloadError(f"cannot fetch {file}: {error}; it was deleted") from error
        _fetch(file, target, report)
    except DownloadError as error:
        raise DownloadError(f"cannot fetch {file}: {error}") from error
    else:
        partial.replace(target)


def _digest(path: Path, report: Report) -> str:
    """Return the SHA-256 of a file, reporting progress."""
    size = path.stat().st_size
    return sha256(path, lambda done: report("check", done, size))
