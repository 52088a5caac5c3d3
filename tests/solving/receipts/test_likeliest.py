"""Receipts of methods that read what else was likely: none of it is believed."""

import pytest

import intact
from intact._base.errors import ReceiptError
from intact.engine.sampling.spread import Spread
from intact.receipts import spreads
from intact.receipts.likeliest import PAIR, pack, unpack
from intact.solving.receipts.document import RunReceipt
from support.run_forger import cover, judge, loser, swap
from support.tiny import write_tiny

METHODS = {
    "deepconf": {"n": 4, "top": 3, "keep": 50},
    "self_certainty": {"n": 4, "vocabulary": 301},
    "deepconf_online": {"n": 6, "warmup": 2, "batch": 2, "stride": 4, "window": 3, "top": 2, "consensus": 1.0},
    "best_of_majority": {"n": 3, "scorer": "p_true"},
    "best_of_n": {"n": 2, "scorer": "verification"},
    "beam_search": {"width": 2, "n": 4, "steps": 2, "delimiter": "e", "scorer": "entropy"},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return intact.load(write_tiny(tmp_path_factory.mktemp("models") / "m.gguf", context=4096), threads=1)


@pytest.fixture(scope="module")
def receipts(model):
    return {name: solve(model, name).receipt for name in METHODS}


def solve(model, name, **more):
    asked = {"max_tokens": 12, "temperature": 1.0, **METHODS[name], **more}
    return intact.solve(model, name, "What is 2 + 2?", receipt=True, **asked)


@pytest.mark.parametrize("name", METHODS)
def test_the_truth_is_found_true(model, receipts, name):
    assert judge(model, receipts[name]) == ("true", None, None, None)
    assert cover(model, receipts[name]) == receipts[name]


def test_likeliest_tokens_are_packed_and_read_again():
    places = [((3, -5), (70_000, -(1 << 40))), ((0, 0), ((1 << 31) - 1, -1))]
    assert unpack(pack(places), 2) == places
    assert len(pack(places)) == 4 * PAIR


def changed(output, place, logprob):
    """The likeliest tokens with another log-probability of the first of one place."""
    places = unpack(output.top, len(output.tokens))
    (token, _), *others = places[place]
    return pack([*places[:place], ((token, logprob), *others), *places[place + 1 :]])


@pytest.mark.parametrize("name", ["deepconf", "self_certainty", "deepconf_online", "best_of_majority", "best_of_n"])
def test_another_likelihood(model, receipts, name):
    """The confidence of a text, or the verdict on one: scores and votes follow, so that only the model can tell."""
    receipt = receipts[name]
    texts = [i for i, e in enumerate(receipt.entries) if getattr(e, "output", None) and e.output.top is not None]
    index = next((i for i in texts if i == loser(receipt)), texts[-1])
    output = receipt.entries[index].output
    place = len(output.tokens) - 1
    false = cover(model, receipt, swap(receipt, index, top=changed(output, place, -1)))
    assert judge(model, false) == ("false", "likeliest", index, place)


def test_more_or_fewer_tokens_than_were_asked_for(model, receipts):
    receipt = receipts["deepconf"]
    output = receipt.entries[1].output
    fewer = pack([place[:2] for place in unpack(output.top, len(output.tokens))])
    for lie in (fewer, None):
        false = RunReceipt.make(receipt.header, tuple(swap(receipt, 1, top=lie)), receipt.result)
        assert judge(model, false)[:3] == ("false", "likeliest", 1)
    plain = intact.solve(model, "self_consistency", "Why?", n=2, max_tokens=4, receipt=True).receipt
    more = pack([((1, -1),)] * len(plain.entries[0].output.tokens))
    false = RunReceipt.make(plain.header, tuple(swap(plain, 0, top=more)), plain.result)
    assert judge(model, false)[:3] == ("false", "likeliest", 0)


def test_another_order_of_the_likeliest(model, receipts):
    """As probable as each other or not: the order is by logits, of equals by number."""
    receipt = receipts["self_certainty"]
    output = receipt.entries[0].output
    places = unpack(output.top, len(output.tokens))
    top = pack([(places[0][1], places[0][0], *places[0][2:]), *places[1:]])
    assert judge(model, cover(model, receipt, swap(receipt, 0, top=top))) == ("false", "likeliest", 0, 0)


def test_spreads_are_packed_and_read_again():
    found = (Spread(0, 1), Spread((1 << 28) + 3, (1 << 40) + 5))
    assert spreads.unpack(spreads.pack(found)) == found
    assert len(spreads.pack(found)) == 2 * spreads.SPREAD


@pytest.mark.parametrize("name", ["self_certainty", "beam_search"])
@pytest.mark.parametrize("lie", [Spread(5, 7), None])
def test_another_spread(model, receipts, name, lie):
    """Scores and votes follow from it, so that only the model can tell."""
    receipt = receipts[name]
    index = max(i for i, entry in enumerate(receipt.entries) if getattr(entry, "output", None))
    output = receipt.entries[index].output
    *others, last = spreads.unpack(output.spread)
    changed = spreads.pack([*others, lie or last._replace(entropy=last.entropy + 1)])
    false = cover(model, receipt, swap(receipt, index, spread=changed))
    assert judge(model, false) == ("false", "spread", index, len(others))


def test_spreads_that_were_not_asked_for_or_are_missing(model, receipts):
    receipt = receipts["self_certainty"]
    missing = RunReceipt.make(receipt.header, tuple(swap(receipt, 0, spread=None)), receipt.result)
    assert judge(model, missing)[:3] == ("false", "spread", 0)
    plain = receipts["deepconf"]
    assert all("spread" not in entry.to_document().get("output", {}) for entry in plain.entries)
    more = spreads.pack([Spread(1, 1)] * len(plain.entries[0].output.tokens))
    false = RunReceipt.make(plain.header, tuple(swap(plain, 0, spread=more)), plain.result)
    assert judge(model, false)[:3] == ("false", "spread", 0)
    short = RunReceipt.make(plain.header, tuple(swap(plain, 0, spread=more[:-1])), plain.result)
    with pytest.raises(ReceiptError, match="spread must be 12 bytes"):
        RunReceipt.parse(short.encode())
