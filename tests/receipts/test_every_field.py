"""Every field of a receipt is checked, or listed among those that nothing checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

import intact
from intact._base.errors import IntactError
from intact.checkpoints.formats.safetensors import read_metadata
from intact.library import Model
from intact.library.superposed import NGrams, SuperposedDecoder, SuperposedReceipt, verify_drafts
from intact.library.superposed import make_receipt as make_drafts
from intact.quantizing import quantize
from intact.quantizing.receipt import QuantizationReceipt, make_receipt
from intact.quantizing.verify import verify_quantization
from intact.receipts import canonical, opening
from intact.receipts.document import Receipt, first_link, next_link
from intact.receipts.make import Chain
from intact.receipts.opening import Opening, check, commit, open_layers
from intact.receipts.schema import schema
from intact.receipts.signature import new_key
from intact.receipts.verify import verify
from intact.text import ChatPrompt
from support.clock import write_dated
from support.fields import PARTLY, UNCHECKED, SchemaFields, at, lies, listed, members_of, others
from support.tiny import write_tiny

T = TypeVar("T")
TEXT = "the cat sat on the mat and the dog ran to the man " * 60
UNUSED = ("request.sampling", "request.branch", "request.decoding")
"""Fields whose value may make no difference (docs/spec/receipts.md)."""


class Answer(NamedTuple):
    """A receipt with its model, and what entered the head before each token."""

    model: Model
    receipt: Receipt
    states: list[bytes]

    def covered(self, lie: Receipt) -> Receipt:
        """Make the chain of a false receipt anew, of the states that were true."""
        link, chain, name = first_link(lie.header.hash, lie.header.digest), b"", lie.header.hash
        for token, state in zip(lie.output.tokens, self.states, strict=False):
            link = next_link(name, link, token, state)
            chain += link
        return replace(lie, chain=chain, signature=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fields")


@pytest.fixture(scope="module")
def models(folder: Path) -> Iterator[list[Model]]:
    """One whose template writes the date; one with partners for mixes."""
    paths = [write_dated(folder / f"{seed}.gguf", seed) for seed in range(3)]
    with (
        intact.load(paths[0], drafter="off", threads=1) as plain,
        intact.load(paths[0], partners=paths[1:], drafter="off", threads=1) as mixing,
    ):
        yield [plain, mixing]


@pytest.fixture(scope="module")
def answers(models: list[Model], folder: Path) -> list[Answer]:
    """Receipts that have all fields."""
    plain, mixing = models
    key = new_key(folder / "key")
    asked = {"max_tokens": 4, "temperature": 1.0, "logprobs": True, "receipt": True}
    limits = {"stop_below": 1e-6, "stop_mean_below": -100.0, "stop_window": 3, "regex": "[a-z ]+"}
    shadow = ChatPrompt([{"role": "user", "content": "Say it.<|im_end|>"}])
    question = [{"role": "user", "content": "Why?<|im_end|>"}]
    states: list[bytes] = []
    add, found = Chain.add, []

    def noted(chain: Chain, event: Any) -> None:
        states.append(event.head)
        add(chain, event)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Chain, "add", noted)
        for model, more in (
            (plain, limits),
            (
                mixing,
                {
                    "mix": {"name": "guidance", "scale": 2.5},
                    "shadow": shadow,
                },
            ),
            (mixing, {"mix": "proxy"}),
        ):
            states.clear()
            receipt = model.chat(question, **asked, **more).receipt
            assert receipt is not None
            if model is plain:
                receipt = commit(model, receipt)
                receipt = receipt.signed(key.sign(receipt.digest))
            found.append(Answer(model, receipt, list(states)))
    return found


def test_every_field_of_an_answer_is_checked_or_listed(answers: list[Answer], root: Path) -> None:
    fields, found, true = SchemaFields(schema()), set(), set()
    for answer in answers:
        document = answer.receipt.to_document()
        for name, path in fields.of(document):
            found.add(name)
            for lie, value in lies(document, path, lambda one: Receipt.parse(canonical.encode(one))):
                for one in (lie, answer.covered(lie)):
                    claimed = one.to_document()
                    if (path[0] == "signature" and one.signature is None) or at(claimed, path) != value:
                        continue  # the lie was taken back
                    if next(verify(answer.model, [one])).outcome == "true":
                        true.add(name)
    assert found == fields.names()
    unchecked = {*UNCHECKED["answer"], *PARTLY["answer"]}
    unused = {name for name in true if name.startswith(UNUSED)}
    assert true - unused <= unchecked <= true
    assert set(UNUSED) <= set(listed(root, 0))
    assert all(name.startswith(tuple(listed(root, 0))) for name in unchecked)


def test_every_field_of_a_quantisation_is_checked_or_listed(folder: Path, root: Path) -> None:
    source, text, true = write_tiny(folder / "source.gguf"), folder / "text.txt", set()
    text.write_text(TEXT)
    made = quantize(
        source, folder / "made", "gptq:int3-16", embeddings="int8-32", static=True, context=16, windows=2,
        calibrate=text,
    )  # fmt: skip
    document = make_receipt(made, 16, 2).to_document()
    for name, path in members_of(document):
        read = lies(document, path, lambda one: QuantizationReceipt.parse(canonical.encode(one)))
        for lie, _ in islice(read, 1):  # the model is made again for each
            if verify_quantization(lie, source, text).outcome == "true":
                true.add(name)
    assert true == set(UNCHECKED["quantised"])
    page = (root / "docs" / "spec" / "receipts.md").read_text("utf-8")
    assert "nothing checks `intact`" in " ".join(page.split())


def test_every_field_of_drafts_is_checked_or_listed(models: list[Model]) -> None:
    model, table = models[0], NGrams.of_lines(models[0].tokenizer, TEXT)
    with SuperposedDecoder(model, table) as decoder:
        receipt = make_drafts(decoder, decoder.request("Why?", n=2, max_tokens=3, temperature=0.8, candidates=20))
    document, true = receipt.to_document(), set()
    for name, path in members_of(document):
        for lie, _ in lies(document, path, lambda one: SuperposedReceipt.parse(canonical.encode(one))):
            if next(verify_drafts(model, [lie], TEXT)).outcome == "true":
                true.add(name)
    assert true == set(UNCHECKED["superposed"])


@pytest.mark.parametrize("name", sorted(opening.MEMBERS))
def test_every_field_of_an_opening_is_checked(answers: list[Answer], folder: Path, name: str) -> None:
    """Digests that are zeros, none, or three times as many, and other versions, layers and receipts."""
    model, receipt, _ = answers[0]
    path, nonce = folder / "opening", "3"
    open_layers(model, receipt, nonce).save(path)
    assert check(model, receipt, Opening.load(path), nonce).outcome == "partial"
    given, data = read_metadata(path)[name], path.read_bytes()
    for value in ("", "0" * len(given), given * 3, given.upper(), given[:-2] + "00", *others(given)):
        if value is None or value == given:
            continue
        path.write_bytes(_with_metadata(data, name, value))
        assert read_metadata(path)[name] == value
        try:
            verdict = check(model, receipt, Opening.load(path), nonce)
        except IntactError:
            continue
        assert verdict.outcome in ("false", "unverifiable"), (name, value)


def _with_metadata(data: bytes, name: str, value: str) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"][name] = value
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]
