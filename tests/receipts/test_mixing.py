"""Receipts of answers that were drawn from a mix: true ones, lies, and what a verifier lacks."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

import intact
from intact._base.errors import ReceiptError
from intact.engine.mixes import MIXES
from intact.receipts.document import Receipt
from intact.receipts.schema import schema
from intact.receipts.verify import verify
from support.forger import forge
from support.tiny import write_tiny

ASKED = {"max_tokens": 30, "temperature": 0.8, "seed": 5, "ignore_eos": True, "receipt": True, "logprobs": True}
QUESTION = "Why is it blue?"


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [write_tiny(folder / f"{seed}.gguf", "llama", seed=seed, context=256) for seed in range(3)]


@pytest.fixture(scope="module")
def model(paths):
    return intact.load(paths[0], partners=paths[1:], drafter="off")


@pytest.fixture(scope="module")
def guided(model):
    return model.generate(QUESTION, mix={"name": "guidance", "scale": 2}, shadow="Say it.", **ASKED)[0][0].receipt


@pytest.fixture(scope="module")
def tuned(model):
    return model.generate(QUESTION, mix="proxy", **ASKED)[0][0].receipt


def judge(model, receipt):
    (verdict,) = verify(model, [Receipt.parse(receipt.encode())])
    return verdict


def changed(model, receipt, **changes):
    """The same receipt with another decoding, made by a liar who computes the chain of the true mix again."""
    decoding = replace(receipt.header.request.decoding, **changes)
    header = replace(receipt.header, request=replace(receipt.header.request, decoding=decoding))
    return replace(receipt, header=header)


def test_true_ones_are_found_true(model, guided, tuned):
    for receipt in (guided, tuned):
        verdict = judge(model, receipt)
        assert (verdict.outcome, verdict.checked) == ("true", 30)
        jsonschema.validate(receipt.to_document(), schema())
    document = guided.to_document()["request"]["decoding"]
    assert document["parameters"] == {"scale": 2_000_000}
    assert document["streams"][0]["source"]["text"] == "Say it."


def test_the_order_of_partners_does_not_matter_to_a_verifier(paths, tuned):
    assert judge(intact.load(paths[0], partners=paths[:0:-1]), tuned).outcome == "true"
    assert judge(intact.load(paths[0], partners=[paths[0], *paths[1:]]), tuned).outcome == "true"


def test_what_the_verifier_lacks_is_named(paths, model, guided, tuned):
    alone = intact.load(paths[0])
    assert judge(alone, guided).outcome == "true"
    for lacking in (alone, intact.load(paths[0], partners=paths[1:2])):
        verdict = judge(lacking, tuned)
        assert (verdict.outcome, verdict.what) == ("unverifiable", "decoding")
        assert "takes another model" in verdict.detail
    for other in ({"version": 2}, {"name": "guidances"}):
        verdict = judge(model, changed(model, guided, **other))
        assert (verdict.outcome, verdict.what) == ("unverifiable", "decoding")
        assert "the mix 'guidance" in verdict.detail


def test_impossible_mixes_are_false(model, guided, tuned):
    wrong = [
        (guided, {"parameters": (("scale", 10**9),)}, "must lie in"),
        (guided, {"parameters": (("beta", 10**6), ("scale", 10**6))}, "takes the parameters scale"),
        (guided, {"streams": tuned.header.request.decoding.streams}, "must have the streams shadow"),
    ]
    for receipt, change, message in wrong:
        verdict = judge(model, changed(model, receipt, **change))
        assert (verdict.outcome, verdict.what) == ("false", "decoding")
        assert message in verdict.detail


def test_another_mix_than_was_drawn_from_is_found_out(model, guided):
    (stream,) = guided.header.request.decoding.streams
    lies = [
        {"parameters": (("scale", 2_000_001),)},
        {"parameters": (("scale", 3_000_000),)},
        {"streams": (replace(stream, prompt=(5, 6), source=None),)},
    ]
    for lie in lies:  # the chain of the honest receipt is that of another header
        verdict = judge(model, changed(model, guided, **lie))
        assert (verdict.outcome, verdict.what, verdict.position) == ("false", "hidden state", 0)
    other = model.generate(QUESTION, mix={"name": "guidance", "scale": 9}, shadow="Say it.", **ASKED)[0][0].receipt
    verdict = judge(model, replace(other, output=replace(guided.output, logprobs=None)))
    first = next(i for i, (a, b) in enumerate(zip(other.output.tokens, guided.output.tokens, strict=True)) if a != b)
    assert (verdict.outcome, verdict.what, verdict.position) == ("false", "token", first)


def test_a_shadow_that_its_source_does_not_give_is_false(model, guided):
    (stream,) = guided.header.request.decoding.streams
    verdict = judge(model, changed(model, guided, streams=(replace(stream, prompt=(*stream.prompt, 9)),)))
    assert (verdict.outcome, verdict.what) == ("false", "prompt")
    assert verdict.detail.startswith("of a stream of its mix")


def test_a_receipt_without_a_mix_is_as_before(model):
    receipt = model.generate("abc", **ASKED)[0][0].receipt
    assert "decoding" not in receipt.to_document()["request"]
    later = {"stop_below", "stop_mean_below", "stop_window"}
    assert not later & receipt.to_document()["request"]["sampling"].keys()


@pytest.mark.parametrize(
    ("finish", "rule", "off"),
    [
        ("uncertain", {"stop_below": 0.2}, {"stop_below": 0.0}),
        ("unlikely", {"stop_mean_below": -2.05, "stop_window": 6}, {"stop_mean_below": 0.0, "stop_window": 16}),
        ("unlikely", {"stop_mean_below": -2.05, "stop_window": 6}, {"stop_mean_below": -2.05, "stop_window": 7}),
    ],
)
def test_where_the_model_was_unsure_is_verified(model, finish, rule, off):
    ((certain,),) = model.generate("abc", **ASKED)
    ((unsure,),) = model.generate("abc", **rule, **ASKED)
    count = len(unsure.tokens)
    assert (unsure.finish, unsure.tokens) == (finish, certain.tokens[:count])
    assert 0 < count < 30
    assert certain.text.startswith(unsure.text)
    assert judge(model, unsure.receipt).outcome == "true"
    longer = replace(unsure.receipt.output, finish="length")
    assert judge(model, replace(unsure.receipt, output=longer)).what == "finish"
    request = unsure.receipt.header.request
    request = replace(request, parameters=replace(request.parameters, **off))
    forged = forge(model, replace(unsure.receipt.header, request=request), unsure.receipt.output)
    assert judge(model, forged).what == "finish"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"streams": []}, "a list of 1 to 8 streams"),
        (
            {"streams": [{"prompt": None, "source": None, "model": None}]},
            "either a prompt with its source, or a model",
        ),
        ({"streams": [{"prompt": [], "source": None, "model": None}]}, "a non-empty list of integers"),
        ({"parameters": {"scale": 1.5}}, "expected integers"),
        ({"parameters": {"scale": -1}}, "an integer from 0"),
        ({"parameters": {"größe": 1}}, "the names of parameters"),
        ({"version": 0}, "an integer from 1"),
        ({"more": 1}, "unknown member"),
    ],
)
def test_malformed_ones_are_refused(guided, change, message):
    document = guided.to_document()
    document["request"]["decoding"] |= change
    with pytest.raises(ReceiptError, match=message):
        Receipt.parse(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def test_the_page_has_each_mix_with_its_parameters():
    page = (Path(__file__).parents[2] / "docs/mixing.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    expected = []
    for name, mix in MIXES.items():
        count = mix.streams.count("partner")
        takes = "shadow" if not count else f"{count} partner{'s' * (count > 1)}"
        bounds = [
            f"`{key}` {one.usual or f'{one.default:g}'} ({'above ' if one.above else ''}{one.low} to {one.high})"
            for key, one in mix.parameters.items()
        ]
        expected.append(f"| `{name}` | {takes} | {', '.join(bounds)} | {mix.source} |")
        assert f"\n- **{name}**" in page
    assert rows == expected
