"""Receipts of runs of several models, of value heads and tables: all that numbers depend on is stated and checked."""

from dataclasses import replace

import numpy as np
import pytest

import intact
from intact._base.errors import ReceiptError
from intact.reason.backends.native import NativeBackend
from intact.reason.parts.choice import Arm, Policy, pilot_arm
from intact.receipts.identity import digests_of
from intact.receipts.lock import LockedModel
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.entries import TextEntry
from intact.tasks.score.value import NextHead, ValueHead
from support.run_forger import cover, judge, swap
from support.tiny import write_tiny

QUESTION = "What is 2 + 2?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def small(folder):
    return intact.load(write_tiny(folder / "small.gguf", context=2048), threads=1)


@pytest.fixture(scope="module")
def large(folder):
    return intact.load(write_tiny(folder / "large.gguf", seed=1, context=2048), threads=1)


@pytest.fixture(scope="module")
def other(folder):
    return intact.load(write_tiny(folder / "other.gguf", seed=2, context=2048), threads=1)


def solve(models, method, **more):
    asked = {"max_tokens": 12, "temperature": 1.0, **more}
    return intact.solve(models, method, QUESTION, receipt=True, **asked)


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        ("generative_verifier", {"n": 2, "checks": 2, "verifier": "large"}),
        ("best_of_n", {"n": 3, "scorer": "p_true:large"}),
        ("best_of_n", {"n": 2, "scorer": "verification:large"}),
    ],
)
def test_a_second_model_is_named_and_must_be_there(small, large, other, method, asked):
    models = {"main": small, "large": large}
    receipt = solve(models, method, **asked).receipt
    assert [one.name for one in receipt.header.models] == ["", "large"]
    assert receipt.header.models[1].digests == digests_of(large)
    assert judge(small, receipt, others={"large": large}) == ("true", None, None, None)
    assert judge(small, receipt)[:2] == ("unverifiable", "model")
    assert judge(small, receipt, others={"large": other})[:2] == ("unverifiable", "weights")
    assert cover({"": small, "large": large}, receipt) == receipt
    claimed = (receipt.header.models[0], replace(receipt.header.models[1], digests=digests_of(other)))
    false = cover({"": small, "large": other}, receipt, models=claimed)
    outcome, what, entry, _ = judge(small, false, others={"large": other})
    assert (outcome, what in ("hidden state", "logprobs", "token"), entry is not None) == ("false", True, True)
    swapped = RunReceipt.make(
        replace(receipt.header, models=receipt.header.models[::-1]), receipt.entries, receipt.result
    )
    assert judge(large, swapped, others={"": small})[0] == "false"


def test_models_and_names_that_nothing_calls_are_no_part_of_a_receipt(small, large):
    """Else whoever adds one would have it called true."""
    receipt = solve({"main": small, "spare": large}, "self_consistency", n=2).receipt
    assert [one.name for one in receipt.header.models] == [""]
    assert judge(small, receipt)[0] == "true"
    (only,) = receipt.header.models
    spare = LockedModel.of("spare", large)
    for models in ((only, spare), (replace(only, name="main"),)):
        false = RunReceipt.make(replace(receipt.header, models=models), receipt.entries, receipt.result)
        assert judge(small, false, others={"spare": large}) == ("false", "extra", None, None)
    third = replace(receipt.header, models=(only, spare, replace(spare, name="large")))
    with pytest.raises(ReceiptError, match="in ascending order of names"):
        RunReceipt.parse(RunReceipt.make(third, receipt.entries, receipt.result).encode())
    named = solve({"main": small, "spare": large}, "best_of_n", n=2, scorer="p_true:main").receipt
    assert [one.name for one in named.header.models] == ["main"]
    assert judge(small, named)[0] == "true"
    renamed = replace(named.header, models=(replace(named.header.models[0], name=""),))
    assert judge(small, RunReceipt.make(renamed, named.entries, named.result))[0] == "false"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("nudging", {"nudger": "large", "gamma": 0.3, "tokens": 4, "rounds": 5, "max_tokens": 30}),
        ("glimp_router", {"tau": 0.8, "tokens": 5, "delimiter": "e", "max_tokens": 30}),
        ("arbitrage", {"scorer": "likelihood", "threshold": -3.0, "tokens": 5, "delimiter": "e", "steps": 5}),
    ],
)
def test_routes_between_two_models_are_verified(small, large, name, parameters):
    result = solve({"main": small, "large": large}, name, **parameters)
    texts = [entry for entry in result.receipt.entries if isinstance(entry, TextEntry)]
    assert len(texts) > 1
    assert judge(small, result.receipt, others={"large": large}) == ("true", None, None, None)
    unsure = [index for index, text in enumerate(texts) if text.output.finish == "uncertain"]
    assert bool(unsure) == (name == "nudging")
    if unsure:  # who says that the base was sure makes another text of it
        models = {"": small, "large": large}
        false = cover(models, result.receipt, swap(result.receipt, unsure[0], finish="length"))
        assert judge(small, false, others={"large": large})[0] == "false"


def test_the_text_of_the_second_model_is_held_against_that_one(small, large):
    models = {"main": small, "large": large}
    receipt = solve(
        models, "speculative_thinking", draft=4, takeover=4, patience=1, delimiter="e", max_tokens=60
    ).receipt
    assert judge(small, receipt, others={"large": large})[0] == "true"
    receipt = solve(models, "best_of_n", n=2, scorer="p_true:large").receipt
    index = next(i for i, e in enumerate(receipt.entries) if isinstance(e, TextEntry) and e.output.top is not None)
    logprob = receipt.entries[index].output.logprobs[0] - 1
    false = cover({"": small, "large": large}, receipt, swap(receipt, index, logprobs=(logprob,)))
    assert judge(small, false, others={"large": large}) == ("false", "logprobs", index, 0)


@pytest.fixture(scope="module")
def head(small, folder):
    """A value head of random weights."""
    program = small.program
    width = program.buffers["x"].width if hasattr(program, "buffers") else 72
    weights = np.random.default_rng(3).normal(size=-(-width // 32) * 32)
    file = folder / "head.json"
    ValueHead.of(NativeBackend(small).identity, weights.tolist(), 0.1, {}).write(file)
    return file


def test_a_value_head_is_part_of_the_receipt(small, head):
    receipt = solve(small, "best_of_n", n=3, scorer=f"value:{head}").receipt
    assert receipt.header.files == ((str(head), head.read_text("utf-8")),)
    content = head.read_text("utf-8")
    head.unlink()
    try:
        assert judge(small, receipt) == ("true", None, None, None)
        assert cover(small, receipt) == receipt
    finally:
        head.write_text(content, "utf-8")
    other = content.replace('"bias": ', '"bias": 1')
    false = replace(receipt.header, files=((str(head), other),))
    assert judge(small, RunReceipt.make(false, receipt.entries, receipt.result))[:2] == ("false", "score")
    stranger = replace(receipt.header, files=((str(head), content.replace('"model": "intact ', '"model": "intact 0')),))
    assert judge(small, RunReceipt.make(stranger, receipt.entries, receipt.result))[:2] == ("unverifiable", "model")
    for files in ((), (("another", "x"), (str(head), content))):
        wrong = RunReceipt.make(replace(receipt.header, files=tuple(sorted(files))), receipt.entries, receipt.result)
        assert judge(small, wrong)[:2] == ("false", "extra" if files else "missing")


def test_a_next_token_head_is_part_of_the_receipt(small, folder):
    """A search whose texts are of tokens that it appended, by a head of all next tokens."""
    rng = np.random.default_rng(5)
    words = ["", *[small.tokenizer.token_bytes(token).decode("utf-8", "replace") for token in range(200)]]
    tokens = {word: rng.normal(size=3).tolist() for word in words}
    width = -(-small.program.buffers["x"].width // 32) * 32 if hasattr(small.program, "buffers") else 96
    file = folder / "next.json"
    NextHead.of(NativeBackend(small).identity, rng.normal(size=(2, width)) / 100, tokens, {}).write(file)
    receipt = solve(small, "saffron", n=2, k=5, tokens=6, least=1, scorer=f"next_value:{file}").receipt
    content = file.read_text("utf-8")
    assert receipt.header.files == ((str(file), content),)
    file.unlink()
    assert judge(small, receipt) == ("true", None, None, None)
    assert cover(small, receipt) == receipt
    false = replace(receipt.header, files=((str(file), content.replace('"fraction": ', '"fraction": 1', 1)),))
    assert judge(small, RunReceipt.make(false, receipt.entries, receipt.result))[0] == "false"


def test_another_hidden_state(small, head):
    """The chain ends with the state that the head judged: another is found without the model."""
    receipt = solve(small, "best_of_n", n=2, scorer=f"value:{head}").receipt
    index = next(i for i, e in enumerate(receipt.entries) if getattr(e, "state", None))
    state = receipt.entries[index].state
    edited = bytes([state[0] ^ 1]) + state[1:]
    lies = [edited, None]
    for lie in lies:
        false = RunReceipt.make(receipt.header, tuple(swap(receipt, index, state=lie)), receipt.result)
        assert judge(small, false) == ("false", "hidden state", index, 0)


def test_a_table_of_methods_is_part_of_the_receipt(small, folder):
    file = folder / "table.json"
    arms = (Arm.of("best_of_n", {"n": 2}), Arm.of("first_finish", {"n": 2}), pilot_arm(2))
    Policy(2, (0.4, 0.9), arms).write(file)
    receipt = solve(small, "compute_optimal", table=str(file)).receipt
    assert receipt.header.files == ((str(file), file.read_text("utf-8")),)
    file.unlink()
    assert judge(small, receipt) == ("true", None, None, None)
    text = receipt.header.files[0][1]
    table = text.replace("best_of_n", "self_consistency").replace("first_finish", "self_consistency")
    false = replace(receipt.header, files=((str(file), table),))
    assert judge(small, RunReceipt.make(false, receipt.entries, receipt.result))[0] == "false"


@pytest.mark.parametrize(
    "table",
    [
        '{"pilot": 1000000000, "edges": [], "arms": [["best_of_n", {}]]}',
        '{"pilot": 0, "edges": [], "arms": [["best_of_n", {"n": 1000000000}]]}',
        '{"pilot": 0, "edges": [], "arms": [["/tmp/evil.py:evil", {}]]}',
        '{"pilot": 0, "edges": [], "arms": [["compute_optimal", {"table": "/dev/zero"}]]}',
        "[" * 100_000,
    ],
)
def test_hostile_tables_end_in_a_verdict(small, folder, table):
    """A verifier reads no file and runs no method but what the receipt may name."""
    file = folder / "hostile.json"
    Policy(0, (), (Arm.of("best_of_n", {"n": 2}),)).write(file)
    receipt = solve(small, "compute_optimal", table=str(file)).receipt
    hostile = replace(receipt.header, files=((str(file), table),))
    assert judge(small, RunReceipt.make(hostile, receipt.entries, receipt.result))[0] == "false"
