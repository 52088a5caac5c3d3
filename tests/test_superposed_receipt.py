"""Receipts of superposed drafts: written again they come out the same; what was changed is found and named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import intact
from intact._base.errors import NewerReceiptError, ParameterError, ReceiptError
from intact.library import Model
from intact.library.superposed import (
    VERSION,
    NGrams,
    SuperposedDecoder,
    SuperposedReceipt,
    make_receipt,
    verify_drafts,
)
from intact.receipts import canonical
from intact.receipts.signature import new_key
from support.tiny import write_tiny

PROMPT = "Why is it blue?"
TEXTS = "Why is it blue? Why is it not?\n\nIt is blue.\n"
ASKED: dict[str, Any] = {"n": 3, "max_tokens": 6, "temperature": 0.8}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", context=128)


def load(path: Path, **options: Any) -> Model:
    return intact.load(path, **{"threads": 1, "drafter": "off"} | options)


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[Model]:
    with load(path) as loaded:
        yield loaded


def made(model: Model, texts: str | None = None, prompt: Any = PROMPT, **more: Any) -> SuperposedReceipt:
    table = None if texts is None else NGrams.of_lines(model.tokenizer, texts)
    with SuperposedDecoder(model, table) as decoder:
        return make_receipt(decoder, decoder.request(prompt, **ASKED | more))


@pytest.fixture(scope="module")
def plain(model: Model) -> SuperposedReceipt:
    return made(model)


@pytest.fixture(scope="module")
def receipt(model: Model) -> SuperposedReceipt:
    return made(model, TEXTS, candidates=200)


def verdict(model: Model, receipt: SuperposedReceipt, texts: str | None = TEXTS, **more: Any) -> tuple[Any, ...]:
    (found,) = verify_drafts(model, [receipt], texts, **more)
    return found.outcome, found.what, found.position


def document(receipt: SuperposedReceipt, *place: str | int, value: Any) -> bytes:
    """A receipt's bytes with one member changed."""
    changed = json.loads(receipt.encode())
    inner = changed
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return canonical.encode(changed)


def test_drafts_written_again_are_the_same(model: Model, plain: SuperposedReceipt, receipt: SuperposedReceipt) -> None:
    chosen = made(model, TEXTS, prompt=[5, 9, 17], n=2, candidates=20, alpha=0.25)
    for one in (plain, receipt, chosen):
        assert SuperposedReceipt.parse(one.encode()) == one
    verdicts = list(verify_drafts(model, [plain, receipt, chosen, plain], TEXTS))
    assert [found.outcome for found in verdicts] == ["true"] * 4
    assert [found.checked for found in verdicts[:3]] == [plain.count, receipt.count, chosen.count]
    assert plain.drafts != receipt.drafts
    with SuperposedDecoder(model) as decoder:
        assert plain.drafts == tuple(decoder.write(PROMPT, **ASKED))
    assert (chosen.request.source, plain.request.source and plain.request.source.text) == (None, PROMPT)


def test_threads_page_sizes_and_executors_change_no_byte(
    path: Path, model: Model, plain: SuperposedReceipt, receipt: SuperposedReceipt
) -> None:
    for more in ({"threads": 2}, {"page_size": 16}, {"executor": "reference"}):
        with load(path, **more) as other:
            assert made(other, TEXTS, candidates=200).encode() == receipt.encode()
            assert [found.outcome for found in verify_drafts(other, [plain, receipt], TEXTS)] == ["true", "true"]


@pytest.mark.parametrize(
    ("place", "value", "found"),
    [
        (("definition",), VERSION + 1, ("unverifiable", "decoding", None)),
        (("model", "weights"), "0" * 64, ("unverifiable", "weights", None)),
        (("model", "tensors"), 1, ("unverifiable", "weights", None)),
        (("model", "tokenizer"), "0" * 64, ("unverifiable", "tokenizer", None)),
        (("model", "ends"), [7], ("unverifiable", "tokenizer", None)),
        (("model", "template"), "0" * 64, ("unverifiable", "template", None)),
        (("model", "name"), "another", ("true", None, None)),
        (("numerics", "version"), "0", ("unverifiable", "numerics", None)),
        (("numerics", "profile"), "int8+kv-int4", ("unverifiable", "numerics", None)),
        (("numerics", "bits"), 4, ("unverifiable", "numerics", None)),
        (("request", "prompt", 0), 1 << 20, ("false", "prompt", 0)),
        (("request", "prompt", 1), 9, ("false", "prompt", 1)),
        (("request", "source", "text"), PROMPT.upper(), ("false", "prompt", 1)),
        (("request", "source", "now"), "2026-11-20T17:45:00", ("false", "prompt", None)),
        (("request", "n"), 4, ("false", "token", 1)),
        (("request", "max_tokens"), 7, ("false", "token", 6)),
        (("request", "max_tokens"), 1000, ("unverifiable", "context", None)),
        (("request", "temperature"), "0.79", ("false", "score", None)),
        (("request", "alpha"), "0.53", ("false", "token", 2)),
        (("request", "candidates"), 1000, ("false", "sampling", None)),
        (("ngrams",), "0" * 64, ("unverifiable", "ngrams", None)),
        (("drafts", 1, "tokens", 2), 9, ("false", "token", 2)),
        (("drafts", 1, "tokens", 2), 1 << 20, ("false", "token", 2)),
        (("drafts", 1, "tokens"), [9], ("false", "token", 0)),
        (("drafts", 1, "score"), 0, ("false", "score", None)),
        (("drafts", 1, "ended"), True, ("false", "finish", None)),
        (("drafts", 1, "text"), "something else", ("false", "text", None)),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_changed_member_is_found(
    model: Model, receipt: SuperposedReceipt, place: tuple[str, ...], value: Any, found: tuple[Any, ...]
) -> None:
    assert verdict(model, SuperposedReceipt.parse(document(receipt, *place, value=value))) == found


def test_a_draft_that_is_left_out_added_or_moved_is_found(model: Model, receipt: SuperposedReceipt) -> None:
    first, second, third = receipt.drafts
    for drafts, found in (
        ((first, second), ("false", "drafts", None)),
        ((second, first, third), ("false", "token")),
        ((first, second, second), ("false", "token")),
    ):
        assert verdict(model, replace(receipt, drafts=drafts))[: len(found)] == found


def test_scores_one_unit_away_are_found(model: Model, plain: SuperposedReceipt) -> None:
    score = plain.drafts[2].score
    for other in (score - 1, score + 1):
        assert verdict(model, replace(plain, drafts=(*plain.drafts[:2], plain.drafts[2]._replace(score=other)))) == (
            *("false", "score", None),
        )


def test_without_the_texts_nothing_can_be_told_of_n_grams(
    model: Model, plain: SuperposedReceipt, receipt: SuperposedReceipt
) -> None:
    assert verdict(model, receipt, None) == ("unverifiable", "ngrams", None)
    assert verdict(model, receipt, TEXTS + "One more.") == ("unverifiable", "ngrams", None)
    assert verdict(model, receipt, "\n".join(reversed(TEXTS.splitlines()))) == ("true", None, None)
    assert verdict(model, plain, None) == verdict(model, plain, TEXTS) == ("true", None, None)
    weighted = replace(plain, ngrams=receipt.ngrams, request=replace(plain.request, alpha=0.5))
    assert verdict(model, weighted)[0] == "false"
    assert verdict(model, replace(receipt, ngrams=None))[0] == "false"


def test_the_digest_of_n_grams_is_that_of_their_counts() -> None:
    grams = {(1, 2): 2, (2, 1): 1, (1, 2, 1): 1, (2, 1, 2): 1, (1, 2, 1, 2): 1}
    data = b"intact-ngrams-1\n"
    for gram, count in sorted(grams.items(), key=lambda entry: (len(entry[0]), entry[0])):
        data += b"".join(number.to_bytes(4, "little") for number in (len(gram), *gram)) + count.to_bytes(8, "little")
    assert NGrams([[1, 2, 1, 2]]).digest == hashlib.sha256(data).digest()
    assert NGrams([[7], [1, 2, 1, 2]]).digest == NGrams([[1, 2, 1, 2]]).digest
    assert NGrams([[1, 2], [1, 2]]).digest != NGrams([[1, 2]]).digest


def test_an_ended_draft_is_stated(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    end = made(model).drafts[0].tokens[2]
    monkeypatch.setattr(type(model.tokenizer), "eos_ids", frozenset({end}), raising=False)
    with load(model.path) as other:
        ending = made(other)
        assert [draft.ended for draft in ending.drafts].count(True) >= 1
        assert ending.model.ends == (end,)
        assert verdict(other, SuperposedReceipt.parse(ending.encode())) == ("true", None, None)


def test_signatures_are_checked(model: Model, plain: SuperposedReceipt, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    key, other = new_key(tmp_path / "key"), new_key(tmp_path / "other")
    signed = SuperposedReceipt.parse(plain.signed(key.sign(plain.digest)).encode())
    assert signed.digest == plain.digest
    assert verdict(model, signed, signed_by=key.public) == ("true", None, None)
    assert verdict(model, plain, signed_by=key.public) == ("unverifiable", "signature", None)
    assert verdict(model, signed, signed_by=other.public) == ("unverifiable", "signature", None)
    lie = SuperposedReceipt.parse(document(signed, "drafts", 0, "score", value=0))
    assert verdict(model, lie) == ("false", "signature", None)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("format",), "intact-superposed", "not a receipt of superposed drafts"),
        (("version",), 0, "version must be a positive integer"),
        (("definition",), 0, r"the receipt\.definition must be an integer from 1"),
        (("definition",), "1", r"the receipt\.definition must be an integer from 1"),
        (("more",), 1, "unknown member 'more'"),
        (("model",), [], "model must be an object"),
        (("numerics", "profile"), "fp32", "must be an integer profile"),
        (("numerics", "profile"), "int9", r"numerics\.profile must be one of"),
        (("request", "prompt"), [], r"request\.prompt must be a non-empty list of integers"),
        (("request", "prompt"), ["1"], r"request\.prompt\[0\] must be an integer"),
        (("request", "source"), PROMPT, r"request\.source must be an object"),
        (("request", "n"), 10**9, r"request\.n must be an integer from 1 to 64"),
        (("request", "n"), 3.0, "3.0; expected integers"),
        (("request", "n"), True, r"request\.n must be an integer from 1 to 64, got True"),
        (("request", "max_tokens"), 1 << 40, r"request\.max_tokens must be an integer from 1"),
        (("request", "temperature"), 0.06, "0.06; expected integers"),
        (("request", "temperature"), "0", r"request: temperature must lie in \(0, 100\]"),
        (("request", "temperature"), "0.80", "in its shortest form"),
        (("request", "alpha"), "1.5", r"request: alpha must lie in \[0, 1\]"),
        (("request", "candidates"), 10**6, r"request\.candidates must be an integer from 1 to 1024"),
        (("ngrams",), "ab", r"the receipt\.ngrams must be 64 lower-case hexadecimal digits"),
        (("ngrams",), None, r"request\.alpha must be '0' for a request without n-grams"),
        (("drafts",), {}, r"drafts must be a list"),
        (("drafts",), [], r"drafts must be a list of 1 to 3 drafts"),
        (("drafts", 0), [], r"drafts\[0\] must be an object"),
        (("drafts", 0, "tokens"), [], r"drafts\[0\]\.tokens must be a non-empty list of integers"),
        (("drafts", 0, "tokens"), [5] * 7, r"drafts\[0\]\.tokens has 7 tokens; the request allows at most 6"),
        (("drafts", 0, "score"), "0", r"drafts\[0\]\.score must be an integer"),
        (("drafts", 0, "ended"), 1, r"drafts\[0\]\.ended must be one of False, True"),
        (("drafts", 0, "text"), None, r"drafts\[0\]\.text must be a string"),
        (("signature",), {"key": "ab", "value": "cd"}, "signature.key must be 64 lower-case hexadecimal digits"),
    ],
)
def test_hostile_values_are_refused_before_any_work(
    receipt: SuperposedReceipt, place: tuple[str, ...], value: Any, message: str
) -> None:
    changed = json.loads(receipt.encode())
    inner = changed
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    data = json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    with pytest.raises(ReceiptError, match=message):
        SuperposedReceipt.parse(data)


def test_more_drafts_than_were_asked_for_are_refused(receipt: SuperposedReceipt) -> None:
    four = json.loads(receipt.encode())["drafts"] + json.loads(receipt.encode())["drafts"][:1]
    with pytest.raises(ReceiptError, match="a list of 1 to 3 drafts, the request's n"):
        SuperposedReceipt.parse(document(receipt, "drafts", value=four))


def test_a_later_version_and_another_form_are_refused(receipt: SuperposedReceipt) -> None:
    with pytest.raises(NewerReceiptError, match="has version 2, but this program reads version 1"):
        SuperposedReceipt.parse(document(receipt, "version", value=2))
    with pytest.raises(ReceiptError, match="not canonical JSON"):
        SuperposedReceipt.parse(json.dumps(json.loads(receipt.encode())).encode())
    lacking = json.loads(receipt.encode())
    del lacking["drafts"]
    with pytest.raises(ReceiptError, match="lacks the member 'drafts'"):
        SuperposedReceipt.parse(canonical.encode(lacking))


def test_what_a_header_rejects_runs_no_model(
    model: Model, receipt: SuperposedReceipt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a decoder was made")

    monkeypatch.setattr(SuperposedDecoder, "__init__", refuse)
    for place, value in (("definition", 2), ("ngrams", "0" * 64)):
        changed = SuperposedReceipt.parse(document(receipt, place, value=value))
        assert verdict(model, changed)[0] == "unverifiable"
    outside = SuperposedReceipt.parse(document(receipt, "drafts", 2, "tokens", 5, value=1 << 20))
    assert verdict(model, outside) == ("false", "token", 5)
    with pytest.raises(AssertionError, match="a decoder was made"):
        verdict(model, receipt)


def test_a_request_is_checked_before_it_runs(model: Model) -> None:
    with SuperposedDecoder(model) as decoder:
        with pytest.raises(ParameterError, match=r"n must lie in \[1, 64\], got 65"):
            decoder.request(PROMPT, n=65)
        assert decoder.request(PROMPT, alpha=0.5).alpha == 0
        assert decoder.request(PROMPT, n=5).candidates == 15
        with pytest.raises(ParameterError, match="candidates must lie in"):
            decoder.run(decoder.request(PROMPT, candidates=1024))
