"""Downloading a file from the Hugging Face hub, or from ``HF_ENDPOINT``."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from intact.checkpoints.catalogue import Entry, Hub
from intact.checkpoints.download.base import FULL, DownloadError, Report, WrongContentError, require_space, sync


def fetch_from_hub(source: Hub, entry: Entry, folder: Path, report: Report) -> tuple[Path, str]:
    """Return the downloaded file and the digest it must have. A partial file with the same digest is resumed."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    with hub_errors(source.file):
        metadata = get_hf_file_metadata(
            hf_hub_url(source.repo, source.file, revision=source.revision, endpoint=endpoint())
        )
    expected, size = metadata.etag or "", metadata.size
    if len(expected) != 64 or size is None or metadata.commit_hash is None:
        raise DownloadError(f"the hub states no SHA-256 and size of {source.file} (is HF_ENDPOINT a hub?)")
    if entry.sha256 is not None and expected != entry.sha256:
        raise DownloadError(f"{source.file} has SHA-256 {expected} on the hub, expected {entry.sha256}")

    partial = folder / f".{entry.file}.{expected[:16]}.partial"
    require_space(folder, size - bytes_kept(partial, size), entry.name)
    transfer(replace(source, revision=metadata.commit_hash), partial, size, lambda done: report("fetch", done, size))
    return partial, expected


def endpoint() -> str | None:
    """Return the hub's address if the environment sets one, else None for the client's default."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def bytes_kept(partial: Path, size: int) -> int:
    """Return the number of bytes already present of a file of this size; delete a partial file that is longer."""
    have = partial.stat().st_size if partial.exists() else 0
    if have > size:
        partial.unlink()
        return 0
    return have


def transfer(source: Hub, partial: Path, size: int, report: Callable[[int], None]) -> None:
    """Download a file, or the rest of it, into a partial file.

    Parameters
    ----------
    source : Hub
        The file; its revision must be a commit.
    size : int
        Size of the file; no more bytes are written.

    Raises
    ------
    WrongContentError
        If more bytes than that are sent.
    DownloadError
        If the file cannot be downloaded.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    url = hf_hub_url(source.repo, source.file, revision=source.revision, endpoint=endpoint())
    receive(url, build_hf_headers(), source.file, partial, size=size, report=report)


def receive(
    url: str, headers: Mapping[str, str], name: str, partial: Path, size: int, report: Callable[[int], None]
) -> None:
    """Download the rest of a file from a URL into a partial file; raises the same errors as `transfer`."""
    # hf_hub_download discards its data when interrupted, so only its building blocks are used, with a persistent
    # partial file
    from huggingface_hub.file_download import http_get

    have = bytes_kept(partial, size)
    headers = {**headers, "Accept-Encoding": "identity"}
    with hub_errors(name), _quiet_bars(), _Growing(partial, size, report) as file:
        http_get(url, file, resume_size=have, headers=headers, expected_size=size)
        sync(file)


class _Growing(io.BufferedRandom):
    """A file opened for appending; reports its length after each write and rejects data beyond its maximum length."""

    def __init__(self, path: Path, longest: int, report: Callable[[int], None]) -> None:
        path.touch()
        super().__init__(io.FileIO(path, "r+"))
        self._longest, self._report = longest, report
        report(self.seek(0, os.SEEK_END))

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > self._longest:
            raise WrongContentError(f"the server sent more than the expected {self._longest} bytes")
        written = super().write(data)
        self._report(self.tell())
        return written


@contextmanager
def _quiet_bars() -> Iterator[None]:
    from huggingface_hub import utils

    before = utils.are_progress_bars_disabled()  # type: ignore[attr-defined]
    utils.disable_progress_bars()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if not before:
            utils.enable_progress_bars()  # type: ignore[attr-defined]


@contextmanager
def hub_errors(file: str) -> Iterator[None]:
    """Turn errors of the hub's client into a one-line message that suggests a remedy."""
    from huggingface_hub import errors

    try:
        yield
    except DownloadError:
        raise
    except errors.GatedRepoError as error:
        raise DownloadError("accept the licence on the model's page on the hub, then set HF_TOKEN") from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadError("the repository does not exist, or is private (set HF_TOKEN)") from error
    except errors.RevisionNotFoundError as error:
        raise DownloadError("the revision does not exist, or no longer exists") from error
    except errors.EntryNotFoundError as error:
        raise DownloadError(f"the repository has no file {file}") from error
    except errors.OfflineModeIsEnabled as error:
        raise DownloadError("HF_HUB_OFFLINE is set") from error
    except Exception as error:
        # the transport's classes differ between versions of the client
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        if isinstance(error, errors.HfHubHTTPError) and error.response.status_code == 401:
            raise DownloadError("the repository is private or does not exist (set HF_TOKEN)") from error
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise DownloadError(
            f"{reason}; the part already downloaded is kept; run the same command again to continue"
        ) from error
