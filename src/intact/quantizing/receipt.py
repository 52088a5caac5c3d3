"""Receipts of quantisation: how and from what a model was made, so that anyone can reproduce it.

A receipt is a line of canonical JSON, like the receipts of answers (docs/spec/receipts.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import intact
from intact._base.errors import ParameterError
from intact._base.strict_json import Fields, check_kind
from intact.checkpoints.formats import open_checkpoint
from intact.models import build_program
from intact.numerics import VERSION as NUMERICS
from intact.quantizing.pipeline import QuantizedModel
from intact.receipts.document import AnyReceipt
from intact.receipts.identity import measure

FORMAT: Final = "intact-quantization-receipt"
VERSION: Final = 2
"""The version of receipts that state static activations; other receipts have version 1."""
_MEMBERS: Final = ("format", "version", "intact", "numerics", "source", "spec", "embeddings", "text", "output")
_MOST: Final = 1 << 31


@dataclass(frozen=True)
class CalibrationText:
    """A calibration text: the `Calibration.digest` of its tokens, the window length, and the number of windows."""

    digest: bytes
    context: int
    windows: int

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object stored in a receipt."""
        return {"digest": self.digest.hex(), "context": self.context, "windows": self.windows}

    @classmethod
    def from_document(cls, value: Any) -> CalibrationText:
        """Parse the object that `to_document` returns."""
        fields = Fields(value, "text", ("digest", "context", "windows"))
        return cls(fields.digest("digest"), fields.integer("context", 1, _MOST), fields.integer("windows", 1, _MOST))


@dataclass(frozen=True)
class QuantizedOutput:
    """The digests of a model that `quantize` wrote.

    Attributes
    ----------
    weights : bytes
        Root of the Merkle tree over program and tensors: the `model.weights` of receipts of its answers.
    digest : bytes
        SHA-256 over the quantised matrices (`QuantizedModel.digest`).
    matrices : int
        Number of quantised matrices.
    """

    weights: bytes
    digest: bytes
    matrices: int

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object stored in a receipt."""
        return {"weights": self.weights.hex(), "digest": self.digest.hex(), "matrices": self.matrices}

    @classmethod
    def from_document(cls, value: Any) -> QuantizedOutput:
        """Parse the object that `to_document` returns."""
        fields = Fields(value, "output", ("weights", "digest", "matrices"))
        return cls(fields.digest("weights"), fields.digest("digest"), fields.integer("matrices", 0, _MOST))


@dataclass(frozen=True)
class QuantizationReceipt(AnyReceipt):
    """Everything that determines a quantised model, and the model's digests.

    Attributes
    ----------
    made_by : str
        The version of this package. Quantisers may change between versions, but never alter results within one.
    numerics : str
        The version of the arithmetic used for calibration.
    source : bytes
        Merkle root of the source's weights.
    spec, embeddings : str
        The full specs; either may be ``keep``.
    text : CalibrationText or None
        The calibration text; None if the quantiser does not need one.
    static : bool
        If true, the model includes the largest inputs of its products on that text.
    """

    made_by: str
    numerics: str
    source: bytes
    spec: str
    embeddings: str
    text: CalibrationText | None
    output: QuantizedOutput
    static: bool = False

    @property
    def count(self) -> int:
        """Number of quantised matrices."""
        return self.output.matrices

    def unsigned(self) -> dict[str, Any]:
        """Return the receipt's JSON object without the signature."""
        return {
            "format": FORMAT,
            "version": VERSION if self.static else 1,
            "intact": self.made_by,
            "numerics": self.numerics,
            "source": self.source.hex(),
            "spec": self.spec,
            "embeddings": self.embeddings,
            "text": None if self.text is None else self.text.to_document(),
            "output": self.output.to_document(),
            **({"activations": "static"} if self.static else {}),
        }

    @classmethod
    def from_document(cls, value: Any) -> QuantizationReceipt:
        """Parse the object that `unsigned` returns."""
        static = not isinstance(value, dict) or value.get("version") != 1
        check_kind(value, "receipt of a quantisation", FORMAT, VERSION if static else 1)
        fields = Fields(value, "the receipt", (*_MEMBERS, *(("activations",) if static else ())), ("signature",))
        if static:
            fields.choice("activations", ("static",))
        return cls(
            made_by=fields.text("intact"),
            numerics=fields.text("numerics"),
            source=fields.digest("source"),
            spec=fields.text("spec"),
            embeddings=fields.text("embeddings"),
            text=None if value["text"] is None else CalibrationText.from_document(value["text"]),
            output=QuantizedOutput.from_document(value["output"]),
            static=static,
        )


PARSERS: Final[Mapping[str, Callable[[bytes], QuantizationReceipt]]] = {FORMAT: QuantizationReceipt.parse}
"""The format, for `intact.receipts.document.read_any`."""


def measure_output(model: QuantizedModel) -> QuantizedOutput:
    """Return the digests of a model that `quantize` wrote; each tensor is read once."""
    with open_checkpoint(model.path) as checkpoint:
        root = measure(build_program(checkpoint)).root
    return QuantizedOutput(root, bytes.fromhex(model.digest), model.matrices)


def make_receipt(model: QuantizedModel, context: int, windows: int) -> QuantizationReceipt:
    """Build the receipt of a model that `quantize` wrote.

    Parameters
    ----------
    context, windows : int
        The values passed to `quantize`.

    Raises
    ------
    ParameterError
        If the model was made with an importance matrix, which receipts cannot state.
    """
    if model.imatrix is not None:
        raise ParameterError("a receipt states a calibration text, but this model was made with an imatrix")
    text = None if model.text is None else CalibrationText(bytes.fromhex(model.text), context, windows)
    source, output = bytes.fromhex(model.source), measure_output(model)
    return QuantizationReceipt(
        made_by=intact.__version__,
        numerics=NUMERICS,
        source=source,
        spec=model.spec,
        embeddings=model.embeddings,
        text=text,
        output=output,
        static=model.static,
    )
