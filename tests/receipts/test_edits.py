"""Whatever byte of a receipt is changed: it is no receipt any more, or none that verifies."""

import random
from collections import Counter
from pathlib import Path

import pytest

import intact
from intact._base.errors import ReceiptError
from intact.receipts.document import Receipt
from intact.receipts.signature import new_key
from intact.receipts.verify import verify
from intact.text import ChatPrompt
from support.tiny import write_tiny

EDITS = 1000


@pytest.mark.parametrize("signed", [False, True])
def test_no_edit_of_a_byte_verifies(tmp_path: Path, signed: bool) -> None:
    model = intact.load(write_tiny(tmp_path / "tiny.gguf"), drafter="off")
    asked = ChatPrompt([{"role": "user", "content": "Why?"}])
    sampling = {"max_tokens": 12, "temperature": 0.9, "top_p": 0.95, "seed": 5, "logit_bias": {7: -1.5}, "stop": "zz"}
    receipt = model.generate(asked, logprobs=True, receipt=True, **sampling)[0][0].receipt
    assert receipt is not None
    if signed:
        receipt = receipt.signed(new_key(tmp_path / "key").sign(receipt.digest))
    assert [verdict.outcome for verdict in verify(model, [receipt])] == ["true"]

    data, rng = receipt.encode(), random.Random(2)
    read = []
    for _ in range(EDITS):
        at = rng.randrange(len(data))
        byte = data[at] ^ (1 << rng.randrange(8)) if rng.random() < 0.5 else rng.choice(b'0123456789abcdef,"-.')
        if byte == data[at]:
            continue
        try:
            read.append(Receipt.parse(data[:at] + bytes([byte]) + data[at + 1 :]))
        except ReceiptError:
            continue
    forged = [edited.signature is not None and not edited.signature.holds(edited.digest) for edited in read]
    found = Counter(
        ("false", "signature") if bad else (verdict.outcome, verdict.what)
        for bad, verdict in zip(forged, verify(model, read), strict=True)
    )
    assert len(read) > EDITS / 5  # many say something else, and must be found false by what they say
    assert not [outcome for outcome, _ in found if outcome == "true"]
    if signed:
        assert found["false", "signature"] == len(read)
    else:
        assert {what for _, what in found} >= {"hidden state", "prompt", "weights", "tokenizer"}
