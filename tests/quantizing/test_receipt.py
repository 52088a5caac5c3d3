"""Receipts of quantisation: the model made again is the same; what was changed is found and named."""

import json
from pathlib import Path
from typing import Any

import pytest

from intact._base.errors import NewerReceiptError, ReceiptError
from intact.checkpoints.formats import open_checkpoint
from intact.models import build_program
from intact.quantizing import QuantizedModel, quantize
from intact.quantizing.receipt import QuantizationReceipt, make_receipt
from intact.quantizing.verify import verify_quantization
from intact.receipts import canonical
from intact.receipts.identity import measure
from intact.receipts.signature import new_key
from support.tiny import write_tiny

TEXT = "the cat sat on the mat and the dog ran to the man " * 60


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def made(model: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> QuantizedModel:
    folder = tmp_path_factory.mktemp("made") / "out"
    return quantize(model, folder, "gptq:int3-16", calibrate=text, context=32, windows=4)


@pytest.fixture(scope="module")
def receipt(made: QuantizedModel) -> QuantizationReceipt:
    return make_receipt(made, 32, 4)


def changed(receipt: QuantizationReceipt, *path: str, value: Any) -> QuantizationReceipt:
    """The same receipt, read again with one member changed."""
    document = json.loads(receipt.encode())
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return QuantizationReceipt.parse(canonical.encode(document))


def test_the_model_made_again_is_the_same(receipt: QuantizationReceipt, model: Path, text: Path) -> None:
    assert QuantizationReceipt.parse(receipt.encode()) == receipt
    verdict = verify_quantization(receipt, model, text, threads=2)
    assert (verdict.outcome, verdict.checked) == ("true", 14)


def test_it_names_the_model_as_receipts_of_its_answers_do(receipt: QuantizationReceipt, made: QuantizedModel) -> None:
    with open_checkpoint(made.path) as checkpoint:
        assert receipt.output.weights == measure(build_program(checkpoint)).root


@pytest.mark.parametrize(
    ("path", "value", "outcome", "what"),
    [
        (("output", "digest"), "0" * 64, "false", "output"),
        (("output", "weights"), "0" * 64, "false", "output"),
        (("output", "matrices"), 13, "false", "output"),
        (("spec",), "gptq:int3-32@search", "false", "output"),
        (("spec",), "gptq:int3-16", "false", "spec"),
        (("embeddings",), "nearest:int8-32@search", "false", "output"),
        (("embeddings",), "int8-32", "false", "spec"),
        (("spec",), "nearest:int3-16@search", "false", "text"),
        (("source",), "0" * 64, "unverifiable", "weights"),
        (("text", "digest"), "0" * 64, "unverifiable", "text"),
        (("text", "windows"), 3, "unverifiable", "text"),
        (("text",), None, "unverifiable", "model"),
        (("numerics",), "0", "unverifiable", "numerics"),
        (("spec",), "gptq:int3-17", "unverifiable", "model"),
    ],
)
def test_a_changed_member_is_found(
    receipt: QuantizationReceipt, model: Path, text: Path, path: tuple[str, ...], value: Any, outcome: str, what: str
) -> None:
    verdict = verify_quantization(changed(receipt, *path, value=value), model, text)
    assert (verdict.outcome, verdict.what) == (outcome, what), verdict.detail


def test_another_version_of_the_package_is_no_proof_of_falsehood(
    receipt: QuantizationReceipt, model: Path, text: Path
) -> None:
    other = changed(receipt, "intact", value="0.0.1")
    assert verify_quantization(other, model, text).outcome == "true"
    verdict = verify_quantization(changed(other, "output", "digest", value="0" * 64), model, text)
    assert (verdict.outcome, verdict.what) == ("unverifiable", "quantizing")
    assert "the receipt is of '0.0.1'" in verdict.detail


def test_a_signature_is_checked_before_anything_is_made_again(
    receipt: QuantizationReceipt, model: Path, text: Path, tmp_path: Path
) -> None:
    pytest.importorskip("cryptography")
    key, other = new_key(tmp_path / "key"), new_key(tmp_path / "other")
    signed = QuantizationReceipt.parse(receipt.signed(key.sign(receipt.digest)).encode())
    assert (signed.digest, signed.signature and signed.signature.key) == (receipt.digest, key.public)
    assert verify_quantization(signed, model, text, signed_by=key.public).outcome == "true"
    missing = tmp_path / "none.gguf"  # never opened
    for one, by, outcome, detail in (
        (receipt, key.public, "unverifiable", "it is not signed"),
        (signed, other.public, "unverifiable", f"not by {other.public.hex()}"),
        (changed(signed, "spec", value="gptq:int3-32"), None, "false", f"{key.public.hex()} has not signed this"),
        (receipt.signed(other.sign(b"x" * 32)), None, "false", f"{other.public.hex()} has not signed this"),
    ):
        verdict = verify_quantization(one, missing, text, signed_by=by)
        assert (verdict.outcome, verdict.what) == (outcome, "signature")
        assert detail in verdict.detail


def test_a_receipt_of_a_mixture_from_before_costs_were_stated_is_verified(
    model: Path, text: Path, tmp_path: Path
) -> None:
    spec = "mix:5.2@output(int2-32|int3-16|int4-32|int8-32)"
    made = quantize(model, tmp_path / "out", spec, calibrate=text, context=32, windows=4)
    new = make_receipt(made, 32, 4)
    old = changed(new, "spec", value=new.spec.replace("@output", ""))
    assert (new.spec.count("@output"), old.spec.count("@output")) == (1, 0)
    assert verify_quantization(old, model, text).outcome == "true"


def test_scales_of_inputs_are_made_again(model: Path, text: Path, tmp_path: Path) -> None:
    made = quantize(model, tmp_path / "out", "keep", static=True, calibrate=text, context=32, windows=4)
    receipt = QuantizationReceipt.parse(make_receipt(made, 32, 4).encode())
    assert (receipt.static, receipt.spec, receipt.output.matrices) == (True, "keep", 0)
    assert verify_quantization(receipt, model, text, threads=2).outcome == "true"
    verdict = verify_quantization(changed(receipt, "output", "digest", value="0" * 64), model, text)
    assert (verdict.outcome, verdict.what) == ("false", "output")


def test_another_text_or_none_is_named(receipt: QuantizationReceipt, model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(TEXT.replace("cat", "cow", 1))
    verdict = verify_quantization(receipt, model, other)
    assert (verdict.outcome, verdict.what) == ("unverifiable", "text")
    assert str(other) in verdict.detail
    assert receipt.text is not None
    assert receipt.text.digest.hex() in verdict.detail
    verdict = verify_quantization(receipt, model)
    assert (verdict.what, verdict.detail) == ("text", "it was calibrated on a text: name it by --text")


def test_what_is_no_receipt_is_refused(receipt: QuantizationReceipt) -> None:
    document = json.loads(receipt.encode())
    with pytest.raises(NewerReceiptError):
        QuantizationReceipt.parse(canonical.encode(document | {"version": 3}))
    with pytest.raises(ReceiptError, match="activations"):
        QuantizationReceipt.parse(canonical.encode(document | {"version": 2}))
    with pytest.raises(ReceiptError, match="activations"):
        QuantizationReceipt.parse(canonical.encode(document | {"version": 2, "activations": "dynamic"}))
    with pytest.raises(ReceiptError, match="more"):
        QuantizationReceipt.parse(canonical.encode(document | {"more": 1}))
    with pytest.raises(ReceiptError, match="not canonical JSON"):
        QuantizationReceipt.parse(json.dumps(document).encode())
    with pytest.raises(ReceiptError, match="source"):
        QuantizationReceipt.parse(canonical.encode(document | {"source": "ab"}))
