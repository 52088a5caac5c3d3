"""The digests that identify a receipt's model: weights and program, tokenizer, chat template (docs/spec/receipts.md).

Weights and program form a Merkle tree with one leaf for the program and one for each tensor (the tree of RFC 6962).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, dataclass, fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import numpy as np

from intact._base.errors import ParameterError, ReceiptError
from intact._base.strict_json import LARGEST
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Strings
from intact.checkpoints.formats.safetensors import read_json
from intact.checkpoints.formats.tensor import release
from intact.executors.base import choose_threads
from intact.models import Program
from intact.numerics import VERSION, fp32
from intact.numerics.profiles import Profile
from intact.receipts import canonical
from intact.receipts.canonical import HashName, digest
from intact.receipts.model_digests import ModelDigests, Numerics
from intact.text import Tokenizer
from intact.text.json_tokenizer import tokenizer_file
from intact.text.wordpiece import vocabulary_options

if TYPE_CHECKING:
    from intact.engine.model import LoadedModel, Partner

PROGRAM: Final = ""
"""The name of the program's leaf; it sorts before all tensors."""
_LEAF: Final = b"\0"
_NODE: Final = b"\1"
_BLOCK: Final = 1 << 24
"""Number of bytes of a tensor hashed at a time."""


@dataclass(frozen=True)
class Proof:
    """A proof that a leaf belongs to a root: its index among `size` leaves, and the siblings on its path upwards."""

    index: int
    size: int
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class Weights:
    """The leaves of a model, and the root over them.

    Attributes
    ----------
    names : tuple of str
        The program's name, then the names of the tensors in the order of their UTF-8 bytes.
    leaves : tuple of bytes
        Their digests.
    """

    hash: HashName
    names: tuple[str, ...]
    leaves: tuple[bytes, ...]

    @property
    def root(self) -> bytes:
        """The digest of the whole tree."""
        return root_of(self.hash, self.leaves)

    @property
    def tensors(self) -> int:
        """The number of tensors."""
        return len(self.names) - 1

    def prove(self, name: str) -> Proof:
        """Return the proof that a tensor (or the program, for an empty name) belongs to the root.

        Raises
        ------
        ParameterError
            If the model has no such tensor.
        """
        if name not in self.names:
            raise ParameterError(f"this model has no tensor {name!r:.80}; it has {self.names[1]}, ...")
        index = self.names.index(name)
        return Proof(index, len(self.leaves), tuple(path_of(self.hash, self.leaves, index)))


_measured: WeakKeyDictionary[LoadedModel | Partner, dict[HashName, tuple[Weights, ModelDigests]]] = WeakKeyDictionary()


def weights_of(model: LoadedModel | Partner, hash: HashName = "sha256") -> Weights:  # noqa: A002
    """Return the Merkle tree over a model; the first call reads the whole file."""
    return _measure(model, hash)[0]


def digests_of(
    model: LoadedModel | Partner,
    hash: HashName = "sha256",  # noqa: A002
    progress: Callable[[int, int], None] | None = None,
) -> ModelDigests:
    """Return the digests of a model; the first call reads the whole file.

    Parameters
    ----------
    progress : callable, optional
        Called with the number of bytes of weights hashed so far and their total, from several threads.

    Raises
    ------
    ReceiptError
        If the model's tokenizer file no longer exists.
    """
    return _measure(model, hash, progress)[1]


def numerics_of(model: LoadedModel | Partner) -> Numerics:
    """Return the arithmetic that a model uses."""
    executor = model.executor
    return Numerics(version_of(executor.profile), executor.profile, executor.bits)


def version_of(profile: Profile) -> str:
    """Return the version of a profile's arithmetic."""
    return fp32.VERSION if profile == "fp32" else VERSION


def _measure(
    model: LoadedModel | Partner, name: HashName, progress: Callable[[int, int], None] | None = None
) -> tuple[Weights, ModelDigests]:
    known = _measured.setdefault(model.own, {})
    if name not in known:
        known[name] = identify(model.checkpoint, model.program, model.tokenizer, name, progress=progress)
    return known[name]


def identify(
    checkpoint: Checkpoint,
    program: Program,
    tokenizer: Tokenizer,
    hash: HashName = "sha256",  # noqa: A002
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Weights, ModelDigests]:
    """Return the Merkle tree over a checkpoint, and all its digests; `progress` is as in `digests_of`.

    Raises
    ------
    ReceiptError
        If the checkpoint's tokenizer file no longer exists.
    """
    weights = measure(program, hash, choose_threads(None), progress)
    return weights, ModelDigests(
        weights.root,
        weights.tensors,
        tokenizer_digest(hash, checkpoint, tokenizer),
        template_digest(hash, tokenizer),
        ends=tuple(sorted(tokenizer.eos_ids)),
        name=_declared_name(checkpoint),
    )


def _declared_name(checkpoint: Checkpoint) -> str | None:
    """Return the model name stored in a GGUF file."""
    name: Any = checkpoint.metadata.get("general.name")
    return name if isinstance(name, str) and name else None


def template_digest(name: HashName, tokenizer: Tokenizer) -> bytes | None:
    """Return the digest of a chat template's UTF-8 source; a template for tools is appended after a 0xFF byte."""
    template = tokenizer.chat_template
    if template is None:
        return None
    return digest(name, b"\xff".join(text.encode("utf-8", "surrogatepass") for text in template.sources))


def tokenizer_digest(name: HashName, checkpoint: Checkpoint, tokenizer: Tokenizer) -> bytes:
    """Return the digest of a tokenizer.

    Raises
    ------
    ReceiptError
        If the tokenizer's file was removed, or contains a value without a canonical form.
    """
    describe = _of_gguf if checkpoint.format == "gguf" else _of_folder
    return digest(name, canonical.encode(describe(name, checkpoint, tokenizer)))


def _of_gguf(name: HashName, checkpoint: Checkpoint, tokenizer: Tokenizer) -> dict[str, Any]:
    metadata: Mapping[str, Any] = checkpoint.metadata
    keys = [key for key in metadata if key.startswith("tokenizer.ggml.")]
    return {"format": "gguf", "metadata": {key: _metadata_value(metadata[key], key) for key in keys}}


def _metadata_value(value: Any, key: str) -> Any:
    """Return a metadata value in which floats are written as the hexadecimal digits of their binary64 bits."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            digits = value.astype(">f8").tobytes().hex()
            return [digits[at : at + 16] for at in range(0, len(digits), 16)]
        value = value.tolist()
    if isinstance(value, Strings):
        return value.tolist()
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    if isinstance(value, list | tuple):
        return [_metadata_value(item, key) for item in value]
    if isinstance(value, bool | str) or (isinstance(value, int) and abs(value) <= LARGEST):
        return value
    raise ReceiptError(f"{key} is {value!r:.60}, which a receipt cannot represent")


def _of_folder(name: HashName, checkpoint: Checkpoint, tokenizer: Tokenizer) -> dict[str, Any]:
    file = tokenizer_file(checkpoint.folder)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ReceiptError(f"{file} cannot be read again ({error}); a receipt needs its digest") from error
    prefix, suffix = tokenizer.around
    own = {"format": "json"} if file.suffix == ".json" else _of_vocabulary(checkpoint.folder)
    return own | {
        "file": digest(name, content).hex(),
        "bos": tokenizer.bos_id,
        "prefix": list(prefix),
        "suffix": list(suffix),
    }


def _of_vocabulary(folder: Path) -> dict[str, Any]:
    """Describe the options that accompany a vocab.txt and affect tokenization."""
    file = folder / "tokenizer_config.json"
    config = read_json(file, "the file") if file.exists() else {}
    return {"format": "vocabulary", "options": vocabulary_options(config)}


def measure(
    program: Program,
    hash: HashName = "sha256",  # noqa: A002
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Weights:
    """Read all tensors of a program and compute their digests; this takes seconds for a few gigabytes.

    `progress` is as in `digests_of`.
    """
    total, done, lock = sum(tensor.stored_bytes for tensor in program.tensors.values()), 0, Lock()

    def leaf(name: str) -> bytes:
        nonlocal done
        tensor = program.tensors[name]
        found = tensor_leaf(hash, name, tensor)
        if progress is not None:
            with lock:
                done += tensor.stored_bytes
                progress(done, total)
        return found

    names = sorted(program.tensors, key=str.encode)
    by_size = sorted(names, key=lambda name: program.tensors[name].stored_bytes, reverse=True)
    with ThreadPoolExecutor(max(1, threads)) as pool:  # hashing releases the GIL
        found = dict(zip(by_size, pool.map(leaf, by_size), strict=True))
    leaves = [program_leaf(hash, program), *(found[name] for name in names)]
    return Weights(hash, (PROGRAM, *names), tuple(leaves))


def added_digest(program: Program, base: Program) -> bytes:
    """Return a digest of the parts of a program that are not in `base`: its description and its additional tensors."""
    leaves = [program_leaf("sha256", program)]
    leaves += [
        tensor_leaf("sha256", name, program.tensors[name]) for name in sorted(program.tensors.keys() - base.tensors)
    ]
    return digest("sha256", *leaves)


def tensor_leaf(hash: HashName, name: str, tensor: Tensor) -> bytes:  # noqa: A002
    """Return the digest of a zero byte, a line of JSON that names the tensor, and the tensor's stored bytes."""
    head = canonical.encode({"kind": tensor.kind, "name": name, "shape": list(tensor.shape)})
    made, data = canonical.new_hash(hash), tensor.data
    made.update(_LEAF + head + b"\n")
    for at in range(0, data.nbytes, _BLOCK):
        made.update(data[at : at + _BLOCK])
        release(data[at : at + _BLOCK])  # keeps the whole file from accumulating in memory
    return made.digest()


def program_leaf(hash: HashName, program: Program) -> bytes:  # noqa: A002
    """Return the digest of a zero byte followed by the program's description."""
    return digest(hash, _LEAF, canonical.encode(describe(program)))


def describe(program: Program) -> dict[str, Any]:
    """Describe everything in a program that affects the answer, except its tensors; floats are avoided."""
    return {
        "architecture": program.architecture,
        "buffers": {name: _members(buffer) for name, buffer in program.buffers.items()},
        "ops": [{"op": type(op).__name__.lower(), **_members(op)} for op in program.ops],
        "rotations": [[str(turn) for turn in rotation.tolist()] for rotation in program.rotations],
        **({"rotation_factors": [str(f) for f in program.rotation_factors]} if program.rotation_factors else {}),
        "layers": program.layers,
        "kv_heads": program.kv_heads,
        "head_width": program.head_width,
        "vocabulary": program.vocabulary,
        "context": program.context,
    }


def _members(value: Any) -> dict[str, Any]:
    """Return a dataclass's fields that differ from their defaults; new fields leave old descriptions unchanged."""
    found = {f.name: (getattr(value, f.name), f.default) for f in fields(value)}
    return {name: _plain(item) for name, (item, default) in found.items() if default is MISSING or item != default}


def _plain(value: Any) -> Any:
    if isinstance(value, float | Fraction):
        return str(Fraction(value))
    if isinstance(value, tuple):
        return [_members(item) if is_dataclass(item) else item for item in value]
    return int(value) if isinstance(value, np.integer) else value


def check_proof(hash: HashName, root: bytes, leaf: bytes, proof: Proof) -> bool:  # noqa: A002
    """Return true if a leaf has its index in the tree with this root (RFC 9162, section 2.1.3.2)."""
    index, last, digest = proof.index, proof.size - 1, leaf
    if not 0 <= index <= last:
        return False
    for sibling in proof.path:
        if last == 0:
            return False
        if index % 2 or index == last:
            digest = _node(hash, sibling, digest)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            digest = _node(hash, digest, sibling)
        index, last = index // 2, last // 2
    return last == 0 and digest == root


def root_of(hash: HashName, leaves: Sequence[bytes]) -> bytes:  # noqa: A002
    """Return the root over leaf digests; the left subtree has the largest power of two below the number of leaves."""
    if len(leaves) == 1:
        return leaves[0]
    middle = _split(len(leaves))
    return _node(hash, root_of(hash, leaves[:middle]), root_of(hash, leaves[middle:]))


def path_of(hash: HashName, leaves: Sequence[bytes], index: int) -> list[bytes]:  # noqa: A002
    """Return the siblings on the path from a leaf to the root, lowest first."""
    if len(leaves) == 1:
        return []
    middle = _split(len(leaves))
    if index < middle:
        return [*path_of(hash, leaves[:middle], index), root_of(hash, leaves[middle:])]
    return [*path_of(hash, leaves[middle:], index - middle), root_of(hash, leaves[:middle])]


def _split(count: int) -> int:
    """Return the largest power of two below a count."""
    return 1 << (count - 1).bit_length() - 1


def _node(hash: HashName, left: bytes, right: bytes) -> bytes:  # noqa: A002
    return digest(hash, _NODE, left, right)
