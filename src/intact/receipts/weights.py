"""The Merkle tree over a model: one leaf for its program, one for each tensor (RFC 6962's tree; docs/receipts.md)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, dataclass, fields
from fractions import Fraction
from typing import Any, Final

import numpy as np

from intact.errors import ParameterError
from intact.formats import Tensor
from intact.models import Program
from intact.models.program import Op
from intact.receipts import canonical
from intact.receipts.digests import HashName, new_hash

PROGRAM: Final = ""
"""The name of the leaf of the program; it comes before all tensors."""
_LEAF: Final = b"\0"
_NODE: Final = b"\1"
_PIECE: Final = 1 << 24


@dataclass(frozen=True)
class Proof:
    """That a leaf belongs to a root: its place among `size` leaves, and the siblings on its way up, lowest first."""

    index: int
    size: int
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class Weights:
    """The leaves of a model, and the root over them.

    Attributes
    ----------
    names : tuple of str
        The program's, then the tensors' in the order of their UTF-8.
    leaves : tuple of bytes
        Their digests.
    """

    hash: HashName
    names: tuple[str, ...]
    leaves: tuple[bytes, ...]

    @property
    def root(self) -> bytes:
        """The digest that stands for all of it."""
        return root_of(self.hash, self.leaves)

    @property
    def tensors(self) -> int:
        """How many tensors there are."""
        return len(self.names) - 1

    def prove(self, name: str) -> Proof:
        """The proof that a tensor, or with an empty name the program, belongs to the root.

        Raises
        ------
        ParameterError
            If there is no such tensor.
        """
        if name not in self.names:
            raise ParameterError(f"this model has no tensor {name!r:.80}; it has {self.names[1]}, ...")
        index = self.names.index(name)
        return Proof(index, len(self.leaves), tuple(path_of(self.hash, self.leaves, index)))


def measure(program: Program, hash: HashName = "sha256", threads: int = 1) -> Weights:  # noqa: A002
    """Read all tensors of a program and take their digests; some gigabytes take seconds."""
    names = sorted(program.tensors, key=str.encode)
    by_size = sorted(names, key=lambda name: program.tensors[name].data.nbytes, reverse=True)
    with ThreadPoolExecutor(max(1, threads)) as pool:  # the hash functions let go of the interpreter's lock
        found = dict(zip(by_size, pool.map(lambda n: tensor_leaf(hash, n, program.tensors[n]), by_size), strict=True))
    leaves = [program_leaf(hash, program), *(found[name] for name in names)]
    return Weights(hash, (PROGRAM, *names), tuple(leaves))


def tensor_leaf(hash: HashName, name: str, tensor: Tensor) -> bytes:  # noqa: A002
    """The digest of one tensor: a zero byte, a line of JSON that names it, and its bytes as the checkpoint has them."""
    leaf = new_hash(hash)
    leaf.update(_LEAF + canonical.encode({"kind": tensor.kind, "name": name, "shape": list(tensor.shape)}) + b"\n")
    for at in range(0, tensor.data.nbytes, _PIECE):
        leaf.update(tensor.data[at : at + _PIECE])
    return leaf.digest()


def program_leaf(hash: HashName, program: Program) -> bytes:  # noqa: A002
    """The digest of a zero byte and the program's description."""
    leaf = new_hash(hash)
    leaf.update(_LEAF + canonical.encode(describe(program)))
    return leaf.digest()


def describe(program: Program) -> dict[str, Any]:
    """All of a program but its tensors, without floats: what no tensor says and yet decides the answer."""
    return {
        "architecture": program.architecture,
        "buffers": {name: _members(buffer) for name, buffer in program.buffers.items()},
        "ops": [_op(op) for op in program.ops],
        "rotations": [[str(turn) for turn in rotation.tolist()] for rotation in program.rotations],
        "layers": program.layers,
        "kv_heads": program.kv_heads,
        "head_width": program.head_width,
        "vocabulary": program.vocabulary,
        "context": program.context,
    }


def _op(op: Op) -> dict[str, Any]:
    return {"op": type(op).__name__.lower(), **_members(op)}


def _members(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, those that have their default left out: so new ones change no old description."""
    found = {f.name: (getattr(value, f.name), f.default) for f in fields(value)}
    return {name: _plain(item) for name, (item, default) in found.items() if default is MISSING or item != default}


def _plain(value: Any) -> Any:
    if isinstance(value, float | Fraction):
        return str(Fraction(value))
    if isinstance(value, tuple):
        return [_members(item) for item in value]
    return int(value) if isinstance(value, np.integer) else value


def check_proof(hash: HashName, root: bytes, leaf: bytes, proof: Proof) -> bool:  # noqa: A002
    """Whether a leaf stands at a place of the tree that has a root (RFC 9162, section 2.1.3.2)."""
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
    """The root over digests of leaves: of a number of leaves that is no power of two, the left part is the largest."""
    if len(leaves) == 1:
        return leaves[0]
    middle = _split(len(leaves))
    return _node(hash, root_of(hash, leaves[:middle]), root_of(hash, leaves[middle:]))


def path_of(hash: HashName, leaves: Sequence[bytes], index: int) -> list[bytes]:  # noqa: A002
    """The siblings on the way from a leaf to the root, lowest first."""
    if len(leaves) == 1:
        return []
    middle = _split(len(leaves))
    if index < middle:
        return [*path_of(hash, leaves[:middle], index), root_of(hash, leaves[middle:])]
    return [*path_of(hash, leaves[middle:], index - middle), root_of(hash, leaves[:middle])]


def _split(count: int) -> int:
    """The largest power of two below a count."""
    return 1 << (count - 1).bit_length() - 1


def _node(hash: HashName, left: bytes, right: bytes) -> bytes:  # noqa: A002
    node = new_hash(hash)
    node.update(_NODE + left + right)
    return node.digest()
