"""Receipts of races: who finished first, who lost, and how far each came, with a liar who makes all digests fit."""

import pytest

import intact
from intact.solving.receipts.document import RunReceipt
from support.run_forger import cover, judge, swap
from support.tiny import write_tiny

METHODS = {"short_m_at_k": {"k": 6, "m": 2}, "first_finish": {"n": 5}}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return intact.load(write_tiny(tmp_path_factory.mktemp("models") / "m.gguf"), drafter="off", threads=1)


@pytest.fixture(scope="module", params=METHODS)
def receipt(request, model):
    asked = {"max_tokens": 100, "temperature": 1.0, "stop": ("e",), **METHODS[request.param]}
    return intact.solve(model, request.param, "What is 2 + 2?", receipt=True, **asked).receipt


def runners(receipt, *finishes):
    """The numbers of texts that ended so, in the order in which they came there."""
    found = [i for i, entry in enumerate(receipt.entries) if entry.output.finish in finishes]
    return sorted(found, key=lambda i: (len(receipt.entries[i].output.tokens), i))


def cut(receipt, index, count, **changes):
    """The entries with a text of which only the beginning is left."""
    output, chain = receipt.entries[index].output, receipt.entries[index].chain
    changes = {"chain": chain[: 32 * count], "finish": "cancelled", **changes}
    return swap(receipt, index, tokens=output.tokens[:count], logprobs=output.logprobs[:count], **changes)


def test_losers_are_cut_at_the_last_winner(model, receipt):
    winners, losers = runners(receipt, "stop"), runners(receipt, "cancelled")
    wanted = receipt.header.parameters.get("m", 1)
    assert len(winners) >= wanted
    assert losers
    limit = len(receipt.entries[winners[wanted - 1]].output.tokens)
    assert {len(receipt.entries[i].output.tokens) for i in losers} == {limit}
    assert judge(model, receipt) == ("true", None, None, None)
    assert cover(model, receipt) == receipt


def test_a_racer_who_is_missing(model, receipt):
    for index in range(len(receipt.entries)):
        entries = receipt.entries[:index] + receipt.entries[index + 1 :]
        assert judge(model, RunReceipt.make(receipt.header, entries, receipt.result)) == (
            "false",
            "missing",
            None,
            None,
        )


def test_a_loser_who_is_said_to_have_been_slower(model, receipt):
    loser = runners(receipt, "cancelled")[0]
    count = len(receipt.entries[loser].output.tokens) - 1
    false = cover(model, receipt, cut(receipt, loser, count))
    assert judge(model, false) == ("false", "race", loser, count)


def test_a_loser_who_is_said_to_have_won(model, receipt):
    """At the very token where it was cancelled: the vote changes, all else fits."""
    loser = runners(receipt, "cancelled")[0]
    count = len(receipt.entries[loser].output.tokens)
    false = cover(model, receipt, swap(receipt, loser, finish="stop"))
    assert judge(model, false) == ("false", "finish", loser, count)


def test_a_winner_who_is_said_to_have_lost(model, receipt):
    """The race goes on to the next who finishes, as far as the liar can invent that."""
    first, limit = runners(receipt, "stop")[0], len(receipt.entries[runners(receipt, "cancelled")[0]].output.tokens)
    tokens = receipt.entries[first].output.tokens
    if len(tokens) < limit:
        short = cover(model, receipt, swap(receipt, first, finish="cancelled"))
        outcome, what, entry, _ = judge(model, short)
        assert (outcome, what, entry is not None) == ("false", "race", True)
    longer = (*tokens[:-1], *[100] * (limit - len(tokens) + 1))
    more = {"finish": "cancelled", "logprobs": (0,) * len(longer), "chain": bytes(32 * len(longer))}
    invented = cover(model, receipt, swap(receipt, first, tokens=longer, **more))
    if receipt.header.method == "first_finish":  # nobody has won then: the losers would not have been cancelled
        assert judge(model, invented)[:2] == ("false", "race")
    else:
        other = runners(receipt, "cancelled")[0]
        entries = list(swap(invented, other, finish="stop"))
        found = judge(model, cover(model, invented, entries))
        assert found in [("false", "finish", other, limit), ("false", "logprobs", first, 0)]  # whichever comes first


def test_a_runner_who_went_on_after_the_race(model, receipt):
    """As if it had come to an end of its own, or to the most tokens, later than the last winner."""
    loser = runners(receipt, "cancelled")[0]
    tokens = (*receipt.entries[loser].output.tokens, 100, 100, 100)
    for finish in ("stop", "length"):
        more = {"finish": finish, "logprobs": (0,) * len(tokens), "chain": bytes(32 * len(tokens))}
        false = cover(model, receipt, swap(receipt, loser, tokens=tokens, **more))
        assert judge(model, false) == ("false", "race", loser, len(tokens))


def test_a_text_outside_of_a_race_is_not_cancelled(model):
    receipt = intact.solve(model, "self_consistency", "Why?", n=2, max_tokens=8, receipt=True).receipt
    false = cover(model, receipt, swap(receipt, 1, finish="cancelled"))
    assert judge(model, false) == ("false", "race", 1, 8)


def test_a_race_in_part(model, receipt):
    """Losers and their number are held against the rules of the race, but not against the model."""
    assert judge(model, receipt, winner=True)[0] == ("true" if receipt.result.chosen is None else "partial")
    assert judge(model, receipt, most=2)[0] == "partial"
    assert judge(model, receipt, most=receipt.count)[0] == "true"
    loser = runners(receipt, "cancelled")[0]
    count = len(receipt.entries[loser].output.tokens) - 1
    assert judge(model, cover(model, receipt, cut(receipt, loser, count)), winner=True)[:2] == ("false", "race")
