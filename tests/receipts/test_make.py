"""Receipts do not depend on how they were made, and are true wherever they are verified."""

from itertools import product

import pytest

import intact
from intact._base.errors import ParameterError
from intact.engine.drafting import Drafting
from intact.executors.native import available_tiers
from intact.receipts.document import Receipt, first_link, next_link
from intact.receipts.make import IN_A_ROW
from intact.receipts.verify import verify
from support.asks import Prophet, preempting
from support.forger import states
from support.tally import Eager
from support.tiny import write_tiny

TIERS = tuple(available_tiers())
PROMPT = [(53 * i * i + 7 * i + 40) % 256 + 3 for i in range(70)]
KINDS = {
    "greedy": {},
    "sampled": {"temperature": 0.9, "top_p": 0.95, "seed": 11},
    "penalised": {"temperature": 0.8, "repetition_penalty": 1.3, "min_tokens": 9, "logit_bias": {2: 20.0}},
}
SITUATIONS = ("alone", "batch", "drafted", "preempted")
ANSWERED = 12


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "gemma3", context=256)


def load(path, tier, threads, profile="int8"):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTACT_ISA", tier)
        model = intact.load(path, profile, threads, drafter="off")
    assert model.executor.description["tier"] == tier
    return model


def make(model, situation, answers):
    """The receipts of all kinds, as bytes."""
    found = {}
    counters = model.engine.counters
    before = counters.as_dict()
    for name, fields in KINDS.items():
        given = {"n": 2, "max_tokens": ANSWERED, "receipt": True, **fields}
        if situation == "batch":
            others = [[9 + i, 8, 7] for i in range(30)]
            made = model.generate([*others[:11], PROMPT, *others[11:]], **given)[11]
            assert counters.largest_step > 32
        elif situation == "drafted":
            texts = [[*PROMPT, *tokens] for tokens in answers[name]]
            model.engine.drafting = Drafting(Prophet(texts, model.executor.trees, 301), Eager())
            made = model.generate([PROMPT], **given)[0]
            model.engine.drafting = None
        elif situation == "preempted":
            with preempting(model):
                made = model.generate([PROMPT], **given)[0]
        else:
            made = model.generate([PROMPT], **given)[0]
        found[name] = [completion.receipt.encode() for completion in made]
    assert counters.accepted > before["accepted"] or situation != "drafted"
    assert counters.preemptions > before["preemptions"] or situation != "preempted"
    return found


EVERYWHERE = [(tier, 1) for tier in TIERS], [(TIERS[-1], 1), *product(TIERS, (2,))]
"""Tiers and threads: each tier on one thread, and each on two."""


@pytest.mark.parametrize("settings", [EVERYWHERE[0], pytest.param(EVERYWHERE[1], marks=pytest.mark.slow)], ids=[1, 2])
@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_receipts_are_the_same_however_they_were_made_and_verify_everywhere(path, profile, settings):
    models = {(tier, threads): load(path, tier, threads, profile) for tier, threads in settings}
    expected = make(next(iter(models.values())), "alone", {})
    receipts = [Receipt.parse(data) for several in expected.values() for data in several]
    answers = {name: [Receipt.parse(data).output.tokens for data in several] for name, several in expected.items()}
    for settings, model in models.items():
        for situation in SITUATIONS:
            assert make(model, situation, answers) == expected, (settings, situation)
        steps = model.engine.counters.steps
        for verdict, receipt in zip(verify(model, receipts), receipts, strict=True):
            assert (verdict.outcome, verdict.checked) == ("true", len(receipt.output.tokens)), (settings, verdict)
        assert model.engine.counters.steps - steps <= 4
        assert model.engine.held == 0


def test_reference_and_native_receipts_are_one(path):
    asked = {"max_tokens": 3, "temperature": 0.8, "receipt": True}
    reference, native = intact.load(path, executor="reference"), intact.load(path)
    ((made,),), ((same,),) = reference.generate(PROMPT[:5], **asked), native.generate(PROMPT[:5], **asked)
    assert made.receipt.encode() == same.receipt.encode()
    assert next(verify(reference, [same.receipt])).outcome == "true"


@pytest.mark.parametrize("count", [1, 9, IN_A_ROW, 2 * IN_A_ROW + 1])
def test_the_chain_is_as_the_page_says(path, count):
    model = intact.load(path)
    asked = {"max_tokens": count, "temperature": 0.9, "ignore_eos": True}
    receipt = model.generate(PROMPT, receipt=True, **asked)[0][0].receipt
    assert receipt.count == count
    link = first_link("sha256", receipt.header.digest)
    heads = states(model, [*PROMPT, *receipt.output.tokens])
    for i, token in enumerate(receipt.output.tokens):
        link = next_link("sha256", link, token, heads[len(PROMPT) - 1 + i])
        assert receipt.link(i) == link


def test_streams_chats_and_coroutines_give_the_same(path, tmp_path):
    import asyncio

    model = intact.load(path)
    asked = {"max_tokens": 12, "temperature": 0.7, "receipt": True}
    text = "Once upon a time"
    expected = model.generate(text, **asked)[0][0].receipt
    assert [chunk.receipt for chunk in model.stream(text, **asked)] == [None] * 11 + [expected]
    assert asyncio.run(model.agenerate(text, **asked))[0][0].receipt == expected

    async def last():
        return [chunk.receipt async for chunk in model.astream(text, **asked)][-1]

    assert asyncio.run(last()) == expected
    messages = [{"role": "system", "content": "Be bri\u00ebf."}, {"role": "user", "content": "Why?"}]
    chat = model.chat(messages, **asked)
    assert list(model.chat_stream(messages, **asked))[-1].receipt == chat.receipt
    assert (
        chat.tokens
        == model.generate(model.tokenizer.encode_chat(messages), **(asked | {"receipt": False}))[0][0].tokens
    )
    assert chat.receipt.header.request.source.conversation() == {"messages": messages}
    assert [v.outcome for v in verify(model, [expected, chat.receipt])] == ["true", "true"]
    chat.receipt.save(tmp_path / "one.receipt")
    assert Receipt.parse((tmp_path / "one.receipt").read_bytes().rstrip()) == chat.receipt


def test_blake3_where_asked(path):
    pytest.importorskip("blake3")
    model = intact.load(path)
    receipt = model.generate("a", max_tokens=5, receipt="blake3")[0][0].receipt
    assert receipt.header.hash == "blake3"
    assert next(verify(model, [receipt])).outcome == "true"
    with pytest.raises(ParameterError, match="receipt must be True, False or one of sha256, blake3, got 'md5'"):
        model.generate("a", receipt="md5")


def test_what_is_not_finished_has_no_receipt(path):
    model = intact.load(path)

    assert model.generate("a", max_tokens=3)[0][0].receipt is None
    nothing = {token: float("-inf") for token in range(model.program.vocabulary)}
    failed = model.generate("a", max_tokens=3, logit_bias=nothing, receipt=True, on_error="return")[0][0]
    assert (failed.finish, failed.receipt) == ("error", None)
    pieces = model.stream("a", max_tokens=30, receipt=True)
    assert next(pieces).receipt is None
    pieces.close()


def test_a_token_costs_less_than_200_bytes(path):
    model = intact.load(path)
    sizes = {}
    for count in (10, 110):
        answer = model.generate("a", max_tokens=count, temperature=1.0, ignore_eos=True, receipt=True)[0][0]
        sizes[count] = len(answer.receipt.encode())
    assert (sizes[110] - sizes[10]) / 100 < 100
