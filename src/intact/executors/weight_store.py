"""The folder of packed weight files: created once per model, verified, limited in size, and shared by processes.

A file is named by a digest of everything that determines its bytes. It is written under a temporary name and then
renamed, so a process that maps it never sees it change. A process that finds a damaged file creates it again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from intact import _native
from intact._base.errors import CapacityError, FormatError, ModelError, ParameterError
from intact.checkpoints.catalogue.measured import known_digests, remember_digests, state_of
from intact.checkpoints.catalogue.place import store
from intact.checkpoints.formats.tensor import release
from intact.executors.packing import pack_tensor
from intact.executors.weight_file import FORMAT, WeightFile, matrices_of, write_weights
from intact.models.program import Program

LIMIT: Final = 200_000_000_000
"""Maximum total size of all files, in bytes; beyond it, files of the least recently used models are removed."""
_LOG = logging.getLogger("intact")
_VERIFIED: Final = "packed"


def packed_folder() -> Path:
    """Return the folder of packed weights: ``$INTACT_HOME/packed``, by default under ``~/.cache/intact``."""
    return store().parent / "packed"


def packed_key(weights: str, bits: int) -> bytes:
    """Return the key of a model's packed matrices.

    Parameters
    ----------
    weights : str
        The root digest over the model's weights and program (`intact.receipts.identity`).
    bits : {8, 4}
        Number of bits per code for matrices that the model stores as floats.
    """
    about = {"format": FORMAT, "weights": weights, "bits": bits, "byte_order": sys.byteorder}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).digest()


def map_packed(program: Program, weights: str, bits: int, threads: int, limit: int = LIMIT) -> WeightFile:
    """Map the packed matrices of a model; if their file is missing or damaged, create it first.

    Creating it takes twice the memory of the largest matrix. A file that has not changed since it was verified is not
    read again.

    Parameters
    ----------
    program : Program
        The model.
    weights, bits
        See `packed_key`.
    threads : int
        Number of threads for packing and verifying.
    limit : int
        Maximum size of the folder, in bytes.

    Raises
    ------
    ParameterError
        If the folder cannot be created or written.
    CapacityError
        If the disk has too little space, or the file would exceed the limit.
    ModelError
        If a matrix cannot be packed.
    """
    from filelock import FileLock  # where nothing is mapped, it is not needed

    folder, key = packed_folder(), packed_key(weights, bits)
    path = folder / f"{key.hex()}.weights"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            found = _open(path, key, threads)
            if found is None:
                _make(path, key, program, bits, threads, limit)
                found = WeightFile(path, key)
            path.with_suffix(".used").touch()
            return found
    except FormatError as error:
        raise CapacityError(f"weights_memory: {error}; its disk loses what is written") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CapacityError(f"weights_memory: {_no_room(folder, program)}") from error
        raise ParameterError(
            f"weights_memory: {folder} cannot keep packed weights ({error.strerror}); set INTACT_HOME to a folder that "
            "can be written"
        ) from error


def _open(path: Path, key: bytes, threads: int) -> WeightFile | None:
    """Return the verified file for a key, or None if there is no such file. Remove a damaged file."""
    if not path.exists():
        return None
    try:
        found, state, want = WeightFile(path, key), state_of(path), {_VERIFIED: key.hex()}
        if state is None or known_digests(path) != want:
            found.verify(threads)
            remember_digests(path, state, dict(want))
        return found
    except FormatError as error:
        _LOG.warning("%s", error)
        path.unlink(missing_ok=True)
        return None


def _make(path: Path, key: bytes, program: Program, bits: int, threads: int, limit: int) -> None:
    names = matrices_of(program)

    def packed(name: str) -> _native.Weight:
        tensor = program.tensors[name]
        try:
            return pack_tensor(tensor, bits, threads)
        except (ModelError, ValueError) as error:
            shape = " x ".join(map(str, tensor.shape))
            raise ModelError(f"tensor {tensor.name} ({tensor.kind}, {shape}): {error}") from error
        finally:
            for stored in tensor.stored:
                release(stored)

    _make_room(path.parent, _estimate(program), limit)
    if shutil.disk_usage(path.parent).free < _estimate(program):
        raise CapacityError(f"weights_memory: {_no_room(path.parent, program)}")
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            write_weights(file, key, names, packed)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _estimate(program: Program) -> int:
    """Estimate an upper bound on the size of a packed file in bytes: slightly more than the model's own size."""
    return sum(program.tensors[name].stored_bytes for name in matrices_of(program)) * 9 // 8 + (1 << 20)


def _no_room(folder: Path, program: Program) -> str:
    return (
        f"the disk of {folder} has too little room for packed weights: they need about {_estimate(program):,} bytes, "
        f"{shutil.disk_usage(folder).free:,} are free; free some, or set INTACT_HOME to a folder on another disk"
    )


def _make_room(folder: Path, wanted: int, limit: int) -> None:
    """Remove files of the least recently used models until the wanted bytes fit within the limit.

    Also remove partial files left by killed writers. Processes that map a removed file keep it until they end.
    """
    if wanted > limit:
        raise CapacityError(
            f"weights_memory: packed weights of about {wanted:,} bytes exceed the {limit:,} that {folder} may hold"
        )
    for file in folder.iterdir():
        if file.suffix == ".part":
            file.unlink(missing_ok=True)  # its writer would hold the lock
    used = {file: _used(file) for file in folder.glob("*.weights")}
    total = sum(file.stat().st_size for file in used)
    for file in sorted(used, key=lambda file: used[file]):
        if total + wanted <= limit:
            break
        total -= file.stat().st_size
        file.unlink(missing_ok=True)
        with suppress(OSError):
            file.with_suffix(".used").unlink()


def _used(file: Path) -> int:
    """Return the time at which a file was last used, in nanoseconds."""
    mark = file.with_suffix(".used")
    return os.stat(mark if mark.exists() else file).st_mtime_ns  # noqa: PTH116
