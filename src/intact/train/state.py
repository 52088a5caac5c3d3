"""The state of a run between steps: trained tensors, moments and links, saved whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from intact._base.errors import FormatError
from intact._base.files import sha256_of, write_whole
from intact.checkpoints.formats.safetensors import Stored, read_json, read_safetensors, write_safetensors
from intact.numerics.fp32 import Floats
from intact.receipts import canonical

STATE: Final = "state.json"
FORMAT: Final = "intact-training-state"
VERSION: Final = 1
_FILE: Final = re.compile(r"state-(\d{1,9})\.safetensors")
_HEX: Final = re.compile(r"[0-9a-f]{64}")


class StepLink(NamedTuple):
    """The digests of one step: what it read, the sum of its gradients, and the state after it."""

    batch: bytes
    gradient: bytes
    state: bytes


@dataclass(frozen=True)
class TrainState:
    """The state after a step.

    Attributes
    ----------
    step : int
        Number of steps so far.
    tensors : mapping of str to float32
        Trained tensors by name.
    moments : mapping of str to float32
        The optimiser's state, named "TENSOR.SUFFIX".
    links : sequence of StepLink
        One per step.
    """

    step: int
    tensors: Mapping[str, Floats]
    moments: Mapping[str, Floats]
    links: Sequence[StepLink] = ()


def save_state(folder: Path, state: TrainState, header: str) -> None:
    """Write a state: first its tensors under a new name, then the file that names them, then remove the previous ones.

    Parameters
    ----------
    header : str
        Digest of the run's header, hexadecimal.

    Raises
    ------
    OSError
        If the disk is full; the previous state is then intact.
    """
    file = folder / f"state-{state.step}.safetensors"
    write_tensors(file, {**_prefixed("tensor", state.tensors), **_prefixed("moment", state.moments)})
    document = {
        "format": FORMAT,
        "version": VERSION,
        "header": header,
        "step": state.step,
        "file": file.name,
        "sha256": sha256_of(file),
        "links": [part.hex() for link in state.links for part in link],
    }
    write_whole(folder / STATE, canonical.encode(document))
    for old in folder.glob("state-*.safetensors"):
        if old != file:
            old.unlink(missing_ok=True)


def write_tensors(file: Path, tensors: Mapping[str, Floats]) -> None:
    """Write float32 tensors as safetensors."""
    stored = [Stored(name, "F32", values.shape, 4 * values.size) for name, values in tensors.items()]
    write_safetensors(file, stored, lambda name: np.ascontiguousarray(tensors[name], "<f4").tobytes(), {})


def read_tensors(file: Path) -> dict[str, Floats]:
    """Read float32 tensors; raises `FormatError` if a file is damaged or holds other types."""
    found: dict[str, Floats] = {}
    for name, tensor in read_safetensors(file).items():
        if tensor.kind != "F32":
            raise FormatError(f"{file}: tensor {name:.80} is {tensor.kind}; expected F32")
        values = np.frombuffer(bytes(tensor.data), "<f4").reshape(tensor.shape)
        if not np.isfinite(values).all():
            raise FormatError(f"{file}: tensor {name:.80} holds NaN or infinity")
        found[name] = values.astype(np.float32)
    return found


def load_state(folder: Path, header: str | None = None) -> TrainState:
    """Read the last whole state of a run.

    Parameters
    ----------
    header : str, optional
        Digest that the state must name.

    Raises
    ------
    FormatError
        If a file is missing, damaged or from another run.
    """
    path = folder / STATE
    document = read_json(path, "the state of a training run")
    step, links, name = document.get("step"), document.get("links"), document.get("file")
    if (document.get("format"), document.get("version")) != (FORMAT, VERSION):
        raise FormatError(f"{path}: expected the format {FORMAT}, version {VERSION}")
    if header is not None and document.get("header") != header:
        raise FormatError(f"{path}: belongs to another run than the header beside it")
    if type(step) is not int or not isinstance(name, str) or not (match := _FILE.fullmatch(name)):
        raise FormatError(f"{path}: step and file must be a number and state-STEP.safetensors")
    if int(match[1]) != step or not isinstance(links, list) or len(links) != 3 * step:
        raise FormatError(f"{path}: has {step} steps, but not as many links")
    if not all(isinstance(link, str) and _HEX.fullmatch(link) for link in links):
        raise FormatError(f"{path}: links must be hexadecimal digests of 32 bytes")
    file = folder / name
    if not file.is_file() or sha256_of(file) != document.get("sha256"):
        raise FormatError(f"{file}: is missing or damaged (its SHA-256 is not that of {STATE})")
    tensors = read_tensors(file)
    parts = [bytes.fromhex(link) for link in links]
    return TrainState(
        step,
        {name.removeprefix("tensor."): values for name, values in tensors.items() if name.startswith("tensor.")},
        {name.removeprefix("moment."): values for name, values in tensors.items() if name.startswith("moment.")},
        [StepLink(*parts[at : at + 3]) for at in range(0, len(parts), 3)],
    )


def _prefixed(prefix: str, tensors: Mapping[str, Floats]) -> dict[str, Floats]:
    return {f"{prefix}.{name}": values for name, values in sorted(tensors.items())}
