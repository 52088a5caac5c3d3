"""Receipts of runs whose texts are drawn from mixes: the truth is found true, each lie by what it is about."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import intact
from intact._base.errors import ReceiptError
from intact.engine.request import Mixing
from intact.library import Model
from intact.reason import Problem
from intact.reason.backends.native import NativeBackend
from intact.reason.backends.text_mix import TextMix
from intact.receipts.decoding import Decoding
from intact.receipts.identity import digests_of
from intact.receipts.model_digests import ModelDigests
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.entries import TextEntry
from intact.solving.receipts.mixes import RunMix
from intact.solving.receipts.record import RecordingBackend
from intact.solving.receipts.schema import schema
from intact.solving.receipts.verify import verify_run
from support.run_forger import judge, loser, swap
from support.tiny import write_tiny

QUESTION = "What is 2 + 2?"
GUIDED: dict[str, Any] = {"mix": {"name": "guidance", "scale": 2.5}, "shadow": "Say it."}
TUNED: dict[str, Any] = {"mix": "proxy"}
ASKED: dict[str, dict[str, Any]] = {
    "self_consistency": {"n": 5},
    "beam_search": {"n": 4, "width": 2, "steps": 3, "delimiter": "e"},
    "short_m_at_k": {"k": 5, "m": 2, "stop": ("e",), "max_tokens": 60},
    "best_of_majority": {"n": 2, "scorer": "p_true"},
    "nudging": {"nudger": "main", "gamma": 0.3, "tokens": 4, "rounds": 5},
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [write_tiny(folder / f"{seed}.gguf", seed=seed, context=512) for seed in range(4)]


@pytest.fixture(scope="module")
def model(paths: list[Path]) -> Iterator[Model]:
    with intact.load(paths[0], partners=paths[1:3], drafter="off", threads=1) as loaded:
        yield loaded


def run(model: Any, name: str, question: str | Problem = QUESTION, **more: Any) -> RunReceipt:
    asked = {"max_tokens": 16, "temperature": 1.0, **ASKED.get(name, {}), **more}
    result = intact.solve(model, name, question, receipt=True, **asked)
    assert result.receipt is not None, (result.error, result.caveats)
    return result.receipt


@pytest.mark.parametrize("mix", [GUIDED, TUNED], ids=["shadow", "partners"])
@pytest.mark.parametrize("name", ASKED)
def test_a_run_of_any_method_is_found_true(model: Model, name: str, mix: dict[str, Any]) -> None:
    backend = {"main": NativeBackend(model, mix=TextMix.of(**mix))}
    receipt = run(backend, name)
    (only,) = receipt.header.models
    assert only.mix is not None
    assert judge(model, receipt) == ("true", None, None, None)
    document = receipt.to_document()
    jsonschema.Draft202012Validator(schema()).validate(document)
    stated = document["models"][0]["mix"]
    assert (stated["shadow"], len(stated["partners"])) == (mix.get("shadow"), 2 * (mix is TUNED))
    plain = run({"main": NativeBackend(model)}, name)
    assert "mix" not in plain.to_document()["models"][0]
    assert [e.to_document() for e in plain.entries] != [e.to_document() for e in receipt.entries]


def test_the_texts_are_those_of_generate_with_their_receipts(model: Model) -> None:
    problem = Problem("p", QUESTION, seed=4)
    for mix in (GUIDED, TUNED):
        asked = {"max_tokens": 16, "temperature": 0.7, "n": 3}
        receipt = intact.solve(model, "self_consistency", problem, receipt=True, **asked, **mix).receipt
        own = {"seed": 4, "ids": ["p"], "receipt": True, "logprobs": True}
        (texts,) = model.generate(QUESTION, **asked, **own, **mix)
        for entry, text in zip(receipt.entries, texts, strict=True):
            assert isinstance(entry, TextEntry)
            assert entry.output.tokens == text.tokens
            assert entry.output.logprobs == text.receipt.output.logprobs
            bare = replace(
                text.receipt.header.request, source=None,
                decoding=replace(text.receipt.header.request.decoding, streams=tuple(
                    replace(stream, source=None) for stream in text.receipt.header.request.decoding.streams
                )),
            )  # fmt: skip
            assert entry.header == replace(text.receipt.header, request=bare).digest


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mix", [GUIDED, TUNED], ids=["shadow", "partners"])
def test_journal_threads_chunks_and_company_change_no_byte(
    model: Model, paths: list[Path], tmp_path: Path, mix: dict[str, Any], threads: int
) -> None:
    for name in ("self_consistency", "beam_search"):
        expected = run(model, name, **mix).encode()
        for _ in range(2):
            assert run(model, name, journal=tmp_path / "journal", **mix).encode() == expected
        with intact.load(
            paths[0], partners=paths[1:3], threads=threads, chunk=5, page_size=16, rows=3, prefix_cache=False
        ) as other:
            assert run(other, name, **mix).encode() == expected


def test_the_verifier_needs_the_partners_in_any_order(paths: list[Path], model: Model) -> None:
    guided, tuned = run(model, "self_consistency", **GUIDED), run(model, "self_consistency", **TUNED)
    assert tuned.header.models[0].mix is not None
    assert tuned.header.models[0].mix.partners == tuple(map(digests_of, model.partners))
    for partners in (paths[2:0:-1], [paths[3], paths[0], *paths[1:3]]):
        with intact.load(paths[0], partners=partners, drafter="off", threads=1) as other:
            assert judge(other, tuned) == ("true", None, None, None)
            assert judge(other, guided) == ("true", None, None, None)
    with intact.load(paths[0], partners=paths[1:2], drafter="off", threads=1) as lacking:
        assert judge(lacking, guided) == ("true", None, None, None)
        verdict = verify_run(lacking, tuned)
        assert (verdict.outcome, verdict.what) == ("unverifiable", "decoding")
        assert "takes another model" in verdict.detail


def test_one_partner_may_stand_twice(paths: list[Path]) -> None:
    with intact.load(paths[0], partners=[paths[1], paths[1]], drafter="off", threads=1) as twice:
        receipt = run(twice, "self_consistency", **TUNED)
    with intact.load(paths[0], partners=[paths[1]], drafter="off", threads=1) as once:
        assert judge(once, receipt) == ("true", None, None, None)


def test_a_second_model_with_a_mix_of_its_own_is_verified(model: Model, paths: list[Path]) -> None:
    with intact.load(paths[3], partners=[paths[1]], drafter="off", threads=1) as large:
        backends = {
            "main": NativeBackend(model, mix=TextMix.of(**GUIDED)),
            "large": NativeBackend(large, mix=TextMix.of("contrastive")),
            "spare": NativeBackend(model),
        }
        receipt = run(backends, "best_of_majority", scorer="p_true:large")
        first, second = receipt.header.models
        assert first.mix is not None
        assert second.mix is not None
        assert (first.mix.name, second.mix.name) == ("guidance", "contrastive")
        assert judge(model, receipt, others={"large": large}) == ("true", None, None, None)
        bare = replace(receipt.header, models=(first, replace(second, mix=None)))
        false = RunReceipt.make(bare, receipt.entries, receipt.result)
        assert judge(model, false, others={"large": large})[:2] == ("false", "request")


def make(receipt: RunReceipt, **changes: Any) -> RunReceipt:
    """The receipt with another mix of its first model, whose root fits."""
    first, *others = receipt.header.models
    mix = replace(first.mix, **changes) if first.mix else None
    header = replace(receipt.header, models=(replace(first, mix=mix), *others))
    return RunReceipt.make(header, receipt.entries, receipt.result)


def test_another_mix_than_the_texts_headers_state_is_found_without_the_model(model: Model) -> None:
    receipt = run(model, "self_consistency", **GUIDED)
    for lie in ({"shadow": "Say."}, {"parameters": (("scale", 2_500_001),)}):
        assert judge(model, make(receipt, **lie)) == ("false", "request", 0, None)
    first = receipt.header.models[0]
    bare = replace(receipt.header, models=(replace(first, mix=None),))
    assert judge(model, RunReceipt.make(bare, receipt.entries, receipt.result)) == ("false", "request", 0, None)
    plain = run(model, "self_consistency")
    claimed = replace(plain.header, models=(first,))
    assert judge(model, RunReceipt.make(claimed, plain.entries, plain.result)) == ("false", "request", 0, None)


LIES = [
    (GUIDED, {"parameters": (("scale", 2_000_000),)}, ("token", "logprobs")),
    (GUIDED, {"shadow": "Tell me."}, ("hidden state",)),
    (TUNED, {"partners": ()}, ("hidden state",)),
]


@pytest.mark.parametrize(("mix", "lie", "found"), LIES, ids=["parameter", "shadow", "order of partners"])
def test_a_liar_who_covers_it_all_up_is_found_by_the_models(
    model: Model, monkeypatch: pytest.MonkeyPatch, mix: dict[str, Any], lie: dict[str, Any], found: tuple[str, ...]
) -> None:
    """Texts of one mix under the digests, chains, cost and root of another."""
    described, headed = RunMix.of, RunMix.decoding

    def false(own: TextMix, drawn: Model) -> RunMix:
        stated = described(own, drawn)
        return replace(stated, **({"partners": stated.partners[::-1]} if mix is TUNED else lie))

    def fitting(own: RunMix, mixing: Mixing) -> Decoding:
        stated = headed(own, mixing)
        if mix is TUNED:
            return stated
        (stream,) = stated.streams
        return replace(stated, streams=(replace(stream, prompt=tuple(model.tokenizer.encode(own.shadow or ""))),))

    monkeypatch.setattr(RunMix, "of", false)
    monkeypatch.setattr(RunMix, "decoding", fitting)
    receipt = run(model, "self_consistency", Problem("p", QUESTION), **mix)
    monkeypatch.undo()
    outcome, what, entry, position = judge(model, receipt)
    assert (outcome, what in found, entry is not None, position is not None) == ("false", True, True, True), what
    assert judge(model, run(model, "self_consistency", **mix))[0] == "true"


def test_a_mix_of_which_there_is_no_text_is_no_part_of_a_receipt(model: Model, paths: list[Path]) -> None:
    """Else whoever adds one would have it called true."""
    with intact.load(paths[3], drafter="off", threads=1) as large:
        backends = {"main": NativeBackend(model), "large": NativeBackend(large, mix=TextMix.of(**GUIDED))}
        receipt = run(backends, "arbitrage", scorer="likelihood", threshold=-9999.0, tokens=5, delimiter="e", steps=2)
        first, second = receipt.header.models
        assert (first.name, second.name, second.mix) == ("", "large", None)  # named, and asked for nothing
        assert judge(model, receipt, others={"large": large})[0] == "true"
        assert backends["large"].mix is not None
        claimed = replace(second, mix=RunMix.of(backends["large"].mix, large))
        false = RunReceipt.make(replace(receipt.header, models=(first, claimed)), receipt.entries, receipt.result)
        assert judge(model, false, others={"large": large}) == ("false", "extra", None, None)


def test_tokens_and_losers_of_mixed_texts_are_held_against_all_streams(model: Model) -> None:
    receipt = run(model, "self_consistency", Problem("p", QUESTION), **GUIDED)
    index = loser(receipt)
    entry = receipt.entries[index]
    assert isinstance(entry, TextEntry)
    other = (entry.output.tokens[-1] + 1) % 256
    changed = swap(receipt, index, tokens=(*entry.output.tokens[:-1], other))
    false = RunReceipt.make(receipt.header, tuple(changed), receipt.result)
    assert judge(model, false)[0] == "false"
    winner = verify_run(model, receipt, winner=True)
    assert (winner.outcome, winner.what) == ("partial", None)
    read = len(model.tokenizer.encode(QUESTION)) + len(model.tokenizer.encode("Say it."))
    assert verify_run(model, receipt).given == receipt.count + read


@pytest.mark.parametrize(
    ("change", "outcome", "message"),
    [
        ({"version": 2}, "unverifiable", "this program has version 1"),
        ({"name": "guidances"}, "unverifiable", "this program has none"),
        ({"parameters": (("scale", 10**9),)}, "false", "must lie in"),
        ({"parameters": ()}, "false", "takes the parameters scale"),
        ({"shadow": None}, "false", "must have the streams shadow"),
        ({"partners": "one"}, "false", "must have the streams shadow"),
    ],
)
def test_impossible_and_unknown_mixes_have_a_verdict(
    model: Model, change: dict[str, Any], outcome: str, message: str
) -> None:
    receipt = run(model, "self_consistency", n=1, **GUIDED)
    if change.get("partners") == "one":
        change = {"partners": (digests_of(model.partners[0]),)}
    verdict = verify_run(model, RunReceipt.parse(make(receipt, **change).encode()))
    assert (verdict.outcome, verdict.what) == (outcome, "decoding")
    assert message in verdict.detail


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": {"scale": 1.5}}, "integers"),
        ({"parameters": {"größe": 1}}, "the names of parameters"),
        ({"version": 0}, "an integer from 1"),
        ({"shadow": 5}, "models[0].mix.shadow must be a string"),
        ({"shadow": "x" * (1 << 18) + "x"}, "at most 262,144 characters"),
        ({"partners": [{}]}, "lacks the member 'weights'"),
        ({"partners": "many"}, "at most 8 models"),
        ({"more": 1}, "models[0].mix has the unknown member"),
    ],
)
def test_malformed_ones_are_refused(model: Model, change: dict[str, Any], message: str) -> None:
    receipt = run(model, "self_consistency", n=1, **GUIDED)
    if change.get("partners") == "many":
        one: ModelDigests = digests_of(model)
        change = {"partners": [one.to_document()] * 9}
    document = receipt.to_document()
    document["models"][0]["mix"] |= change
    with pytest.raises(ReceiptError) as caught:
        RunReceipt.parse(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    assert message in str(caught.value)


def test_a_recording_back_end_draws_from_its_mix(model: Model) -> None:
    mix = TextMix.of(**GUIDED)
    plain = intact.solve(NativeBackend(model, mix=mix), "self_consistency", QUESTION, n=2, max_tokens=8)
    recording = RecordingBackend(model, mix=mix)
    recorded = intact.solve(recording, "self_consistency", QUESTION, n=2, max_tokens=8, receipt=True)
    assert [node["text"] for node in plain.trace["nodes"]] == [node["text"] for node in recorded.trace["nodes"]]
    assert plain.cost._replace(seconds=0) == recorded.cost._replace(seconds=0)
