"""The receipt of a quantisation: what a model was made from and how, so that anybody can make it again.

It is a line of canonical JSON, as receipts of answers are (docs/spec/receipts.md).
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
"""Of receipts that state activations; that of others is 1."""
_MEMBERS: Final = ("format", "version", "intact", "numerics", "source", "spec", "embeddings", "text", "output")
_MOST: Final = 1 << 31


@dataclass(frozen=True)
class CalibrationText:
    """The text of a calibration: `Calibration.digest` of its tokens, and how they are cut into windows."""

    digest: bytes
    context: int
    windows: int

    def to_document(self) -> dict[str, Any]:
        """Return its members in a receipt."""
        return {"digest": self.digest.hex(), "context": self.context, "windows": self.windows}

    @classmethod
    def from_document(cls, value: Any) -> CalibrationText:
        """Read what `to_document` returns."""
        fields = Fields(value, "text", ("digest", "context", "windows"))
        return cls(fields.digest("digest"), fields.integer("context", 1, _MOST), fields.integer("windows", 1, _MOST))


@dataclass(frozen=True)
class QuantizedOutput:
    """A model that was written.

    Attributes
    ----------
    weights : bytes
        Root of the Merkle tree over program and tensors: the `model.weights` of receipts of its answers.
    digest : bytes
        SHA-256 over what was made (`QuantizedModel.digest`).
    matrices : int
        The number of these.
    """

    weights: bytes
    digest: bytes
    matrices: int

    def to_document(self) -> dict[str, Any]:
        """Return its members in a receipt."""
        return {"weights": self.weights.hex(), "digest": self.digest.hex(), "matrices": self.matrices}

    @classmethod
    def from_document(cls, value: Any) -> QuantizedOutput:
        """Read what `to_document` returns."""
        fields = Fields(value, "output", ("weights", "digest", "matrices"))
        return cls(fields.digest("weights"), fields.digest("digest"), fields.integer("matrices", 0, _MOST))


@dataclass(frozen=True)
class QuantizationReceipt(AnyReceipt):
    """All that decides a quantised model, and its digests.

    Attributes
    ----------
    made_by : str
        The version of this package. Quantisers may change between versions; digests of results do within none.
    numerics : str
        The version of the arithmetic, in which calibration runs.
    source : bytes
        Root of the source's weights.
    spec, embeddings : str
        The full specs; either may be ``keep``.
    text : CalibrationText or None
        None where the quantiser needs none.
    static : bool
        If true, the model has the largest inputs of its products on that text.
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
        """The number of quantised matrices."""
        return self.output.matrices

    def unsigned(self) -> dict[str, Any]:
        """Return its members, except for the signature."""
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
        """Read what `unsigned` returns."""
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
"""For `intact.receipts.document.read_any`."""


def measure_output(model: QuantizedModel) -> QuantizedOutput:
    """Return the digests of a model that `quantize` wrote; its tensors are read once."""
    with open_checkpoint(model.path) as checkpoint:
        root = measure(build_program(checkpoint)).root
    return QuantizedOutput(root, bytes.fromhex(model.digest), model.matrices)


def make_receipt(model: QuantizedModel, context: int, windows: int) -> QuantizationReceipt:
    """Return the receipt of a model that `quantize` wrote.

    Parameters
    ----------
    context, windows : int
        As they were given to `quantize`.

    Raises
    ------
    ParameterError
        If the model was made with an importance matrix, which a receipt does not state.
    """
    if model.imatrix is not None:
        raise ParameterError("a receipt states the text of a calibration; this model was made with an imatrix instead")
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
