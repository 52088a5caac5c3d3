"""Layers: a folder as a compressed tar with the same bytes each time, whatever the files' owners and times."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

TIME = 1_577_836_800
"""The time of every file, 2020-01-01: one that never changes, so that an unchanged layer stays the same layer."""
LEVEL = 6
"""Level of compression."""
Owner = Callable[[PurePosixPath], int]
"""Maps a path in the image to the user and group that own it."""


@dataclass(frozen=True)
class Layer:
    """A compressed layer.

    Attributes
    ----------
    title : str
        Its contents, for people.
    path : Path
        The file that holds it.
    digest, size : str, int
        Digest and size in bytes as compressed.
    diff_id, unpacked : str, int
        Digest and size in bytes of the tar.
    """

    title: str
    path: Path
    digest: str
    size: int
    diff_id: str
    unpacked: int


class _Digesting(io.RawIOBase):
    """A file that digests and counts what is written to it."""

    def __init__(self, inner: BinaryIO | gzip.GzipFile) -> None:
        self._inner, self._digest, self.size = inner, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._digest.update(data)
        self.size += len(data)
        self._inner.write(data)
        return len(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"


def write_layer(title: str, tree: Path, path: Path, owner: Owner = lambda _: 0) -> Layer:
    """Write a folder's contents as a layer.

    Raises
    ------
    ValueError
        If it holds anything but folders, files and links.
    """
    with path.open("wb") as file:
        packed = _Digesting(file)
        with gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=packed, mtime=0) as compressed:
            plain = _Digesting(compressed)
            with tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for found in walk(tree):
                    _add(tar, found, PurePosixPath(found.relative_to(tree).as_posix()), owner)
    return Layer(title, path, packed.digest, packed.size, plain.digest, plain.size)


def walk(tree: Path) -> Iterator[Path]:
    """Yield everything below a folder, folders before their contents, in the order of names."""
    for entry in sorted(os.scandir(tree), key=lambda entry: os.fsencode(entry.name)):
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from walk(Path(entry.path))


def _add(tar: tarfile.TarFile, path: Path, name: PurePosixPath, owner: Owner) -> None:
    found, info = path.lstat(), tarfile.TarInfo(str(name))
    info.mtime = TIME
    info.uid = info.gid = owner(name)
    info.mode = stat.S_IMODE(found.st_mode) & ~0o022 | (found.st_mode & stat.S_ISVTX and 0o022)
    if stat.S_ISLNK(found.st_mode):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        tar.addfile(info)
    elif stat.S_ISDIR(found.st_mode):
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif stat.S_ISREG(found.st_mode):
        info.size = found.st_size
        with path.open("rb") as file:
            tar.addfile(info, file)
    else:
        raise ValueError(f"{path} is neither a folder nor a file nor a link: an image has no such entries")
