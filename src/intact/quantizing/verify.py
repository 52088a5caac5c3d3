"""Verify receipts of quantisation: quantise the model again, and compare the digests."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import intact
from intact._base.errors import IntactError, ParameterError
from intact._base.files import read_text
from intact.checkpoints.catalogue import resolve
from intact.checkpoints.formats import Checkpoint, open_checkpoint
from intact.models import build_program
from intact.numerics import VERSION as NUMERICS
from intact.quantizing.calibration import Calibration
from intact.quantizing.pipeline import KEEP, quantize
from intact.quantizing.quantizers import parse_recorded
from intact.quantizing.quantizers.mixture import UNSTATED_COST
from intact.quantizing.receipt import QuantizationReceipt, QuantizedOutput, measure_output
from intact.receipts.identity import measure
from intact.receipts.verify import Outcome, signature_of
from intact.text import Tokenizer


@dataclass(frozen=True)
class QuantizationVerdict:
    """The result of verifying a quantisation receipt.

    Attributes
    ----------
    outcome : {'true', 'false', 'unverifiable'}
        ``true`` if the same model was reproduced, ``false`` if a different one was, ``unverifiable`` if this source,
        text or program does not allow a decision.
    what : str or None
        The part that differs or is missing.
    detail : str
        An explanation in words.
    checked : int
        Number of matrices found to be identical.
    """

    outcome: Outcome
    what: Literal["numerics", "weights", "spec", "text", "quantizing", "output", "signature", "model"] | None = None
    detail: str = ""
    checked: int = 0


def verify_quantization(
    receipt: QuantizationReceipt,
    model: str | os.PathLike[str],
    text: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    signed_by: bytes | None = None,
) -> QuantizationVerdict:
    """Repeat a quantisation from its receipt in a temporary folder, and compare the results.

    Parameters
    ----------
    model : str or path
        The source: a name or path, as for `intact.load`.
    text : path, optional
        The calibration text.
    signed_by : bytes, optional
        The public key that must have signed the receipt. Without it, a signature must be valid if present.
    """
    if receipt.numerics != NUMERICS:
        detail = f"it was made with version {receipt.numerics!r:.40} of the numerics; this program has {NUMERICS}"
        return QuantizationVerdict("unverifiable", "numerics", detail)
    unsigned = signature_of(receipt, signed_by)
    if unsigned is not None:
        outcome: Literal["false", "unverifiable"] = "false" if unsigned.outcome == "false" else "unverifiable"
        return QuantizationVerdict(outcome, "signature", unsigned.detail)
    try:
        with open_checkpoint(Path(resolve(model))) as checkpoint:
            if found := _other_input(receipt, checkpoint, model, text):
                return found
        with TemporaryDirectory(prefix="intact-verify-") as folder:
            cut: dict[str, Any] = (
                {} if receipt.text is None else {"context": receipt.text.context, "windows": receipt.text.windows}
            )
            if found := _short_spec(receipt):
                return found
            spec = receipt.spec if receipt.spec == KEEP else str(parse_recorded(receipt.spec))
            made = quantize(
                model, Path(folder) / "model", spec, embeddings=receipt.embeddings, static=receipt.static,
                calibrate=None if receipt.text is None else text, threads=threads, **cut,
            )  # fmt: skip
            if receipt.text is not None and made.text is None:
                detail = f"it names a text, which {receipt.spec} does not read"
                return QuantizationVerdict("false", "text", detail)
            return _compare(receipt, measure_output(made))
    except (IntactError, OSError) as error:
        return QuantizationVerdict("unverifiable", "model", str(error))


def _other_input(
    receipt: QuantizationReceipt,
    checkpoint: Checkpoint,
    model: str | os.PathLike[str],
    text: str | os.PathLike[str] | None,
) -> QuantizationVerdict | None:
    """Return a verdict if the source or the text differs from the one that the receipt names."""
    root = measure(build_program(checkpoint)).root
    if root != receipt.source:
        detail = f"its source has the weights {receipt.source.hex()}; {os.fspath(model)} has {root.hex()}"
        return QuantizationVerdict("unverifiable", "weights", detail)
    if receipt.text is None:
        return None
    if text is None:
        return QuantizationVerdict("unverifiable", "text", "it was calibrated on a text: name it by --text")
    tokens = tuple(Tokenizer.from_checkpoint(checkpoint).encode(read_text(Path(text), ParameterError)))
    digest = Calibration(tokens, receipt.text.context, receipt.text.windows).digest
    if digest != receipt.text.digest.hex():
        detail = f"its text has the digest {receipt.text.digest.hex()}; {os.fspath(text)} has {digest}"
        return QuantizationVerdict("unverifiable", "text", detail)
    return None


def _short_spec(receipt: QuantizationReceipt) -> QuantizationVerdict | None:
    """Return a verdict if the receipt abbreviates a spec; mixtures in older receipts may omit their cost."""
    for claimed in (receipt.spec, receipt.embeddings):
        full = KEEP if claimed == KEEP else str(parse_recorded(claimed))
        if claimed not in (full, full.replace(f"@{UNSTATED_COST}(", "(")):
            detail = f"it states the spec {claimed!r:.80}, which in full is {full!r:.80}"
            return QuantizationVerdict("false", "spec", detail=detail)
    return None


def _compare(receipt: QuantizationReceipt, made: QuantizedOutput) -> QuantizationVerdict:
    if made == receipt.output:
        return QuantizationVerdict("true", checked=made.matrices)
    claimed, found = receipt.output.to_document(), made.to_document()
    name = next(name for name in ("matrices", "digest", "weights") if claimed[name] != found[name])
    detail = f"it says that the output's {name} is {claimed[name]}; made again it is {found[name]}"
    if receipt.made_by != intact.__version__:
        detail += f", by version {intact.__version__} of this package; the receipt is of {receipt.made_by!r:.40}"
        return QuantizationVerdict("unverifiable", "quantizing", detail)
    return QuantizationVerdict("false", "output", detail)
