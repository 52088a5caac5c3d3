"""Openings of receipts: the rows that enter a few layers, so that only these layers need to be checked.

Defined in docs/spec/receipts.md.

The verifier picks a nonce after receiving the receipt; the nonce selects the layers. The maker, or anyone else with the
model, computes the rows that enter these layers and the head. The verifier computes these layers and every draw.

If m of L layers are false, s selected layers miss all of them with probability C(L - m, s) / C(L, s).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from intact._base.errors import FormatError, ModelError, ParameterError, ReceiptError
from intact.checkpoints.formats.safetensors import Stored, read_metadata, read_safetensors, write_safetensors
from intact.engine.engine import Engine
from intact.models.adapters import STREAM
from intact.receipts.canonical import SIZE
from intact.receipts.commitment import MOST_LAYERS
from intact.receipts.document import Receipt
from intact.receipts.identity import root_of, weights_of
from intact.receipts.layers import CHUNK, LayerRun, as_stored, layer_count, positions_of, rows_root, trace
from intact.receipts.spot import missing
from intact.receipts.verify import Verdict, adapter_of, rejected_by_header, verify_together

if TYPE_CHECKING:
    from intact.engine.model import LoadedModel

LARGEST_ROW: Final = 1 << 61
"""Bound on the magnitude of a number in the residual stream, with 20 fraction bits (docs/spec/numerics.md, section 11).
"""
TAG: Final = b"intact-layer-check-1\n"
FORMAT: Final = "intact-layer-opening"
VERSION: Final = "1"
MEMBERS: Final = {"format", "version", "receipt", "layers", "roots", "leaves"}
"""The members of the metadata in an opening's file."""
_KINDS: Final = {"I64": "<i8", "F32": "<f4"}


@dataclass(frozen=True, eq=False)
class Opening:
    """The rows of some boundaries of a receipt.

    Attributes
    ----------
    receipt : bytes
        The digest of the receipt.
    layers : tuple of int
        The opened layers, ascending.
    roots : tuple of bytes
        The roots of all boundaries.
    leaves : tuple of bytes
        The leaves of the model's weights (`Weights.leaves`), so that a verifier needs to read only the tensors that it
        computes with.
    rows : mapping of int to array
        For each opened layer and for the head, by boundary: its input rows, (positions, width).
    """

    receipt: bytes
    layers: tuple[int, ...]
    roots: tuple[bytes, ...]
    leaves: tuple[bytes, ...]
    rows: Mapping[int, NDArray[Any]] = field(repr=False)

    def save(self, path: Path) -> None:
        """Write the opening to a file, atomically: safetensors with a tensor `boundary.N` for each boundary.

        Raises
        ------
        ReceiptError
            If the file cannot be written.
        """
        rows = {f"boundary.{boundary}": as_stored(self.rows[boundary]) for boundary in sorted(self.rows)}
        kinds = {kind: name for name, kind in _KINDS.items()}
        tensors = [Stored(name, kinds[value.dtype.str], value.shape, value.nbytes) for name, value in rows.items()]
        metadata = {
            "format": FORMAT,
            "version": VERSION,
            "receipt": self.receipt.hex(),
            "layers": ",".join(map(str, self.layers)),
            "roots": b"".join(self.roots).hex(),
            "leaves": b"".join(self.leaves).hex(),
        }
        try:
            write_safetensors(path, tensors, lambda name: rows[name].tobytes(), metadata)
        except OSError as error:
            raise ReceiptError(f"{path} cannot be written ({error.strerror or error})") from error

    @classmethod
    def load(cls, path: Path) -> Opening:
        """Read a file; its content is not trusted.

        Raises
        ------
        ReceiptError
            If the file is not an opening.
        """
        try:
            metadata, tensors = read_metadata(path), read_safetensors(path)
        except FormatError as error:
            raise ReceiptError(f"not an opening of a receipt: {error}") from error
        if metadata.get("format") != FORMAT or metadata.get("version") != VERSION or metadata.keys() != MEMBERS:
            raise ReceiptError(f"{path}: expected an opening ({FORMAT} {VERSION}), as written by `intact receipt open`")
        layers = _numbers(metadata["layers"])
        roots, leaves = _digests(metadata["roots"]), _digests(metadata["leaves"])
        receipts = _digests(metadata["receipt"])
        names = {f"boundary.{boundary}": boundary for boundary in {*layers, len(roots) - 1}}
        shapes = {tensor.shape for tensor in tensors.values()}
        kinds = {tensor.kind for tensor in tensors.values()}
        good = layers and len(receipts) == 1 and len(roots) > 1 and tensors.keys() == names.keys() and len(shapes) == 1
        if not good or len(kinds) != 1 or not kinds <= _KINDS.keys() or len(next(iter(shapes))) != 2:
            raise ReceiptError(f"{path}: its layers, digests or rows are not those of an opening")
        rows = {names[n]: t.data.view(_KINDS[t.kind]).reshape(t.shape) for n, t in tensors.items()}
        return cls(receipts[0], layers, roots, leaves, rows=rows)


def _numbers(text: Any) -> tuple[int, ...]:
    """Parse ascending numbers separated by commas; return an empty tuple if the text is anything else."""
    parts = text.split(",") if isinstance(text, str) else []
    if not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        return ()
    numbers = tuple(map(int, parts))
    good = sorted(set(numbers)) == list(numbers) and ",".join(map(str, numbers)) == text
    return numbers if good and all(n < MOST_LAYERS for n in numbers) else ()


def _digests(text: Any) -> tuple[bytes, ...]:
    """Parse concatenated digests in hexadecimal; return an empty tuple if the text is anything else."""
    try:
        data = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return ()
    if len(data) % SIZE or data.hex() != text:  # `fromhex` also accepts spaces and upper case
        return ()
    return tuple(data[at : at + SIZE] for at in range(0, len(data), SIZE))


def choose_layers(nonce: str, receipt: bytes, count: int, chosen: int) -> tuple[int, ...]:
    """Return the layers that a nonce selects: those with the smallest SHA-256 of nonce, receipt and number.

    Parameters
    ----------
    receipt : bytes
        The receipt's digest.
    count, chosen : int
        The number of layers, and the number to select.

    Raises
    ------
    ParameterError
        If the receipt has fewer layers than are to be selected.
    """
    if not 1 <= chosen <= count:
        raise ParameterError(
            f"the number of layers to check must be from 1 to {count}, as in the receipt; got {chosen}"
        )
    text = TAG + nonce.encode() + b"\n" + receipt
    ranks = sorted(range(count), key=lambda layer: hashlib.sha256(text + layer.to_bytes(4, "little")).digest())
    return tuple(sorted(ranks[:chosen]))


def commit(model: LoadedModel, receipt: Receipt) -> Receipt:
    """Return an unsigned receipt that commits to the rows between layers.

    The answer is recomputed once; nothing is verified.

    Raises
    ------
    ParameterError
        If the model's layers cannot be run separately, or the answer is sampled from a mix.
    """
    found = trace(model, receipt, adapter_of(model, receipt.header))
    return replace(receipt, layers=found.commitment, signature=None)


def open_layers(model: LoadedModel, receipt: Receipt, nonce: str, layers: int = 1) -> Opening:
    """Return the opening of a receipt for a nonce. The answer is recomputed once.

    Parameters
    ----------
    layers : int
        Number of layers to open.

    Raises
    ------
    ReceiptError
        If the receipt does not commit to layers, or this model computes different rows.
    """
    claimed = receipt.layers
    if claimed is None:
        raise ReceiptError("the receipt does not commit to layers: `intact receipt commit` makes one that does")
    if claimed.count != layer_count(model):
        raise ReceiptError(
            f"the receipt is for a model with {claimed.count} layers, but this one has {layer_count(model)}"
        )
    chosen = choose_layers(nonce, receipt.digest, claimed.count, layers)
    found = trace(model, receipt, adapter_of(model, receipt.header), {*chosen, claimed.count})
    if found.commitment != claimed:
        raise ReceiptError(
            "this model computes different rows from those that the receipt commits to, so nothing can be opened"
        )
    leaves = weights_of(model.variant(adapter_of(model, receipt.header)), receipt.header.hash).leaves
    return Opening(receipt.digest, chosen, found.roots, leaves, rows=found.rows)


def check(
    model: LoadedModel,
    receipt: Receipt,
    opening: Opening,
    nonce: str,
    layers: int = 1,
    signed_by: bytes | None = None,
) -> Verdict:
    """Verify a receipt by computing the layers that a nonce selects, and every draw.

    Parameters
    ----------
    layers : int
        Number of layers to check.
    signed_by : bytes, optional
        The required public key, as for `verify`.

    Returns
    -------
    Verdict
        'partial' if everything checked is true but some layers were not checked.
    """
    if rejected := rejected_by_header(model, receipt, signed_by):
        return rejected
    claimed, name = receipt.layers, receipt.header.hash
    if claimed is None:
        return _unverifiable("the receipt commits to no layers")
    if receipt.header.request.decoding is not None:
        return _unverifiable("the answer is drawn from a mix, of which no receipt commits to layers")
    try:
        own = layer_count(model)
    except ParameterError as error:
        return _unverifiable(str(error))
    if claimed.count != own:
        return _false(f"it says that the model has {claimed.count} layers; it has {own}")
    chosen, count = choose_layers(nonce, receipt.digest, claimed.count, layers), positions_of(receipt)
    if opening.receipt != receipt.digest or opening.layers != chosen:
        wanted = ", ".join(map(str, chosen))
        return _unverifiable(f"the opening is not for layers {wanted} of this receipt")
    if len(opening.roots) != claimed.count + 1 or root_of(name, opening.roots) != claimed.root:
        return _false("the roots that were opened are not those that the receipt commits to")
    if opening.leaves != weights_of(model.variant(adapter_of(model, receipt.header)), name).leaves:
        return _false("its leaves do not match the weights named in the receipt")
    width = model.program.buffers[STREAM].width
    for boundary, rows in opening.rows.items():
        if rows.shape != (count, width) or rows_root(name, boundary, rows) != opening.roots[boundary]:
            return _false(f"the opened rows of boundary {boundary} are not those that the receipt commits to")
        if not ((rows <= LARGEST_ROW) & (rows >= -LARGEST_ROW)).all():  # NaN too
            return _false(f"the opened rows of boundary {boundary} have numbers that no model's rows reach")
    with closing(LayerRun(model, chosen, name, opening.rows)) as run:
        engine = Engine(run.executor, model.context, chunk=CHUNK, rows=CHUNK, prefix_cache=False)
        try:
            (verdict,) = verify_together(model.on(engine), [receipt], signed_by=signed_by, layers=False)
        except ModelError as error:
            return _false(f"the layers cannot run on the opened rows: {error}")
        for layer in (-1, *chosen):
            root = run.root(layer + 1, count)
            if root != opening.roots[layer + 1] and (root is not None or verdict.outcome == "true"):
                where = "the embedding" if layer < 0 else f"layer {layer}"
                return replace(_false(f"{where} gives other rows than the receipt states"), checked=verdict.checked)
    if verdict.outcome != "true" or len(chosen) == claimed.count:
        return verdict
    detail = (
        f"of {claimed.count} layers {', '.join(map(str, chosen))} were computed; a single false one is missed with "
        f"probability {float(missing(claimed.count, len(chosen), 1)):.3g}"
    )
    return replace(verdict, outcome="partial", detail=detail)


def _unverifiable(detail: str) -> Verdict:
    return Verdict("unverifiable", "layers", None, detail)


def _false(detail: str) -> Verdict:
    return Verdict("false", "layers", None, detail)
