"""Models for other machines: identified by digest, and pulled once by each machine that lacks them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from filelock import FileLock

from intact._base.errors import WorkerError
from intact._base.files import sha256_of
from intact.checkpoints.catalogue import store
from intact.checkpoints.formats import model_files

CHUNK = 16 << 20
"""Maximum number of bytes per request."""

Read = Callable[[int, int], bytes]
"""A function that returns at most `CHUNK` bytes of a file, given its number and an offset."""


class File(NamedTuple):
    """A file of a model."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class Shipment:
    """A model as a file or a folder of files, with the options to load it.

    Attributes
    ----------
    path : Path
        Its path on the machine that ships it.
    options : mapping
        Options of `intact.load`.
    models : mapping of str to Shipment
        Additional models that it is loaded with, by the option of `intact.load` that names them, such as `draft_model`.
    """

    path: Path
    files: tuple[File, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Shipment] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the files' names and digests."""
        return hashlib.sha256(repr(self.files).encode()).hexdigest()

    def read(self, number: int, start: int) -> bytes:
        """Read a part of a file, on the machine that ships it."""
        with _place(self.path, self.files[number]).open("rb") as stream:
            stream.seek(start)
            return stream.read(CHUNK)


def ship(path: Path, options: Mapping[str, Any], models: Mapping[str, Path] | None = None) -> Shipment:
    """Describe a model's files, and the files of the models that options of `intact.load` name."""
    files = tuple(File(item.name, item.stat().st_size, sha256_of(item)) for item in model_files(path))
    others = {option: ship(other, {}) for option, other in (models or {}).items()}
    return Shipment(path, files, dict(options), others)


Key = str | tuple[str, str]
"""A model's name, or its name and the option that names an additional model for it."""
K = TypeVar("K", bound=Key)


def with_others(shipments: Mapping[str, Shipment]) -> dict[Key, Shipment]:
    """Return models by name, and the additional models that they are loaded with by name and option."""
    found: dict[Key, Shipment] = {}
    for name, shipment in shipments.items():
        found[name] = shipment
        found.update({(name, option): other for option, other in shipment.models.items()})
    return found


def receive(shipment: Shipment, read: Read) -> Path:
    """Return the path of a model on this machine; if it is missing, pull it once for all workers.

    Raises
    ------
    WorkerError
        If a pulled file has the wrong digest.
    """
    if shipment.path.exists() and all(_is(shipment.path, file) for file in shipment.files):
        return shipment.path
    folder = store() / "by-digest" / shipment.digest
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / shipment.path.name
    with FileLock(folder.with_suffix(".lock")):
        for number, file in enumerate(shipment.files):
            target = place / file.name if len(shipment.files) > 1 else place
            if target.is_file() and target.stat().st_size == file.size:
                continue  # its digest was checked when it was pulled
            target.parent.mkdir(parents=True, exist_ok=True)
            _pull(target, file, lambda start, number=number: read(number, start))  # type: ignore[misc]
    return place


def _pull(target: Path, file: File, read: Callable[[int], bytes]) -> None:
    part, found, size = target.with_name(target.name + ".part"), hashlib.sha256(), 0
    try:
        with part.open("wb") as stream:
            while size < file.size and (piece := read(size)):
                stream.write(piece)
                found.update(piece)
                size += len(piece)
    except OSError as error:
        part.unlink(missing_ok=True)
        why = f"{error.strerror or error}, after {size:,} of {file.size:,} bytes"
        raise WorkerError(f"{file.name} cannot be stored in {target.parent}: {why}") from error
    if found.hexdigest() != file.digest:
        part.unlink()
        raise WorkerError(f"{file.name} was transferred with the digest {found.hexdigest()}, expected {file.digest}")
    part.replace(target)


def _place(path: Path, file: File) -> Path:
    return path / file.name if path.is_dir() else path.with_name(file.name)


def _is(path: Path, file: File) -> bool:
    place = _place(path, file)
    return place.is_file() and place.stat().st_size == file.size and sha256_of(place) == file.digest


class FileServer:
    """An actor that reads parts of model files on the machine that has them."""

    def __init__(self, shipments: Mapping[str, Shipment]) -> None:
        self._shipments = with_others(shipments)

    def read(self, name: Key, number: int, start: int) -> bytes:
        """Read a part of a model file, by its number."""
        return self._shipments[name].read(number, start)


def received(shipments: Mapping[K, Shipment], files: Any) -> dict[K, Path]:
    """Return the paths of models on this machine, after pulling missing ones; raise as `receive` does.

    Parameters
    ----------
    files : actor handle
        The handle of a `FileServer`.
    """
    import ray

    def reader(name: K) -> Read:
        def read(number: int, start: int) -> bytes:
            part: bytes = ray.get(files.read.remote(name, number, start))
            return part

        return read

    return {name: receive(shipment, reader(name)) for name, shipment in shipments.items()}
