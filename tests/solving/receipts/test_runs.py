"""Receipts of runs: the truth is found true, and each lie by what it is about, though the liar covers all of it up."""

import random
import re
import sys
import tracemalloc
from dataclasses import replace

import jsonschema
import pytest

import intact
from intact._base.errors import NewerReceiptError, ParameterError, ReceiptError
from intact.reason import Answer, Extend, Problem, method
from intact.reason.problem import whole_text
from intact.receipts.identity import check_proof
from intact.solving.receipts.document import RunReceipt, leaf_of
from intact.solving.receipts.entries import ScoreEntry, TextEntry
from intact.solving.receipts.replay import replay
from intact.solving.receipts.schema import schema
from intact.solving.receipts.sealed import source
from intact.solving.receipts.verify import verify_run
from intact.tasks.score import symbolic
from intact.tasks.score.judging import noting
from support.run_forger import cover, judge, loser, swap
from support.tiny import write_tiny

QUESTION = "What is 2 + 2?"
STEPS = {"n": 4, "steps": 3, "delimiter": "e"}
ASKED = {
    "self_consistency": {"n": 6, "max_tokens": 24},
    "best_of_n": {"n": 5},
    "beam_search": {"width": 2, **STEPS},
    "particle_filter": STEPS,
    "generative_verifier": {"n": 2},
    "short_m_at_k": {"k": 6, "m": 2, "stop": ("e",), "max_tokens": 100},
    "deepconf": {"n": 3, "top": 4, "keep": 50},
    "self_certainty": {"n": 3, "vocabulary": 301},
    "program_aided": {"n": 3, "seconds": 60.0, "regex": r"print\([0-9]{1,3}\)\n```"},
    "best_of_majority": {"n": 2, "scorer": "p_true"},
    "ancestor_gibbs": {"n": 2, "sweeps": 2, "steps": 2, "delimiter": "e"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def model(folder):
    return intact.load(write_tiny(folder / "true.gguf", context=512), drafter="off", threads=1)


def run(model, name, **more):
    asked = {"max_tokens": 16, "temperature": 1.0, **(ASKED.get(name, {}) if isinstance(name, str) else {}), **more}
    return intact.solve(model, name, QUESTION, receipt=True, **asked)


@pytest.fixture(scope="module")
def honest(model):
    return {name: run(model, name).receipt for name in ASKED}


@pytest.mark.parametrize("name", ASKED)
def test_the_schema_describes_what_is_written(honest, name):
    jsonschema.Draft202012Validator.check_schema(schema())
    validator, document = jsonschema.Draft202012Validator(schema()), honest[name].to_document()
    validator.validate(document)
    for member in document:
        assert not validator.is_valid({key: value for key, value in document.items() if key != member})
    assert not validator.is_valid(document | {"entries": [{"kind": "secret"}]})
    assert not validator.is_valid(document | {"more": 1})


@pytest.mark.parametrize("name", ASKED)
def test_the_truth_is_found_true(model, honest, name):
    receipt = honest[name]
    assert RunReceipt.parse(receipt.encode()) == receipt
    verdict = verify_run(model, receipt)
    assert (verdict.outcome, verdict.what, verdict.checked) == ("true", None, receipt.count)
    assert cover(model, receipt) == receipt
    winner = verify_run(model, receipt, winner=True)
    assert winner.outcome == ("true" if receipt.result.chosen is None else "partial")
    assert (winner.checked < receipt.count) == (receipt.result.chosen is not None)


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["beam_search", "best_of_n", "short_m_at_k", "deepconf", "program_aided"])
def test_whatever_must_not_matter_does_not(honest, folder, name, threads):
    other = intact.load(folder / "true.gguf", threads=threads, rows=3)  # with a drafter
    assert run(other, name).receipt.encode() == honest[name].encode()


def test_a_spent_budget_is_part_of_the_run(model):
    result = run(model, "beam_search", budget="tokens=70")
    assert result.why == "spent"
    assert judge(model, result.receipt)[0] == "true"
    header = replace(result.receipt.header, budget={"tokens": 75})
    richer = RunReceipt.make(header, result.receipt.entries, result.receipt.result)
    assert judge(model, richer)[0] == "false"


def test_another_vote(model, honest):
    receipt = honest["self_consistency"]
    votes = receipt.result.votes
    assert len(votes) > 1
    for lie in ({"answer": votes[-1][0]}, {"votes": votes[::-1]}, {"confidence": 1.0}, {"chosen": None}):
        false = RunReceipt.make(receipt.header, receipt.entries, replace(receipt.result, **lie))
        assert judge(model, false) == ("false", "vote", None, None)
        assert judge(model, false, winner=True) == ("false", "vote", None, None)
    cheaper = replace(receipt.result, cost=receipt.result.cost._replace(tokens=1))
    assert judge(model, RunReceipt.make(receipt.header, receipt.entries, cheaper))[:2] == ("false", "cost")


@pytest.mark.parametrize("name", ["self_consistency", "best_of_n", "beam_search", "particle_filter"])
def test_a_hidden_candidate(model, honest, name):
    receipt, index = honest[name], loser(honest[name])
    entries = receipt.entries[:index] + receipt.entries[index + 1 :]
    assert judge(model, RunReceipt.make(receipt.header, entries, receipt.result)) == ("false", "missing", None, None)


def test_a_candidate_too_many(model, honest):
    receipt = honest["best_of_n"]
    entry = receipt.entries[0]
    more = replace(entry, branch=(*entry.branch[:-1], 99))
    false = RunReceipt.make(receipt.header, (*receipt.entries, more), receipt.result)
    assert judge(model, false) == ("false", "extra", len(receipt.entries), None)
    fewer = replace(receipt.header, parameters={"n": 4})
    assert judge(model, RunReceipt.make(fewer, receipt.entries, receipt.result)) == ("false", "extra", 4, None)


@pytest.mark.parametrize("name", ["best_of_n", "beam_search", "particle_filter"])
def test_another_score(model, honest, name):
    receipt = honest[name]
    index = next(i for i, entry in enumerate(receipt.entries) if isinstance(entry, ScoreEntry))
    scores = receipt.entries[index].scores
    lie = (scores[0] * (1 + 2**-52), *scores[1:])
    false = RunReceipt.make(receipt.header, tuple(swap(receipt, index, scores=lie)), receipt.result)
    assert judge(model, false) == ("false", "score", index, None)


def test_scores_of_other_log_probabilities(model, honest):
    receipt, index = honest["best_of_n"], loser(honest["best_of_n"])
    logprobs = list(receipt.entries[index].output.logprobs)
    logprobs[5] -= 1
    false = cover(model, receipt, swap(receipt, index, logprobs=tuple(logprobs)))
    assert judge(model, false) == ("false", "logprobs", index, 5)


@pytest.mark.parametrize("name", ["self_consistency", "best_of_n", "beam_search"])
def test_a_token_of_a_loser(model, honest, name):
    """Only the model can tell; who asks for the winner alone does not ask it about this one."""
    receipt, index = honest[name], loser(honest[name])
    tokens = list(receipt.entries[index].output.tokens)
    tokens[-2] = 100 if tokens[-2] != 100 else 101
    false = cover(model, receipt, swap(receipt, index, tokens=tuple(tokens)))
    at = next(i for i, e in enumerate(false.entries) if e.branch == receipt.entries[index].branch)
    assert judge(model, false) == ("false", "token", at, len(tokens) - 2)
    if false.result.chosen == receipt.result.chosen:
        assert judge(model, false, winner=True)[0] == "partial"


def test_where_nothing_is_chosen_all_texts_are_behind_the_answer(model):
    receipt = run(model, "self_consistency", n=2).receipt
    assert receipt.result.chosen is None
    tokens = list(receipt.entries[1].output.tokens)
    tokens[3] = 100 if tokens[3] != 100 else 101
    false = cover(model, receipt, swap(receipt, 1, tokens=tuple(tokens)))
    assert false.result.chosen is None
    assert judge(model, false, winner=True)[:3] == ("false", "token", 1)
    whole = verify_run(model, receipt, winner=True)
    assert (whole.outcome, whole.checked) == ("true", receipt.count)


def test_a_token_of_the_winner(model, honest):
    receipt = honest["self_consistency"]
    index = next(i for i, e in enumerate(receipt.entries) if e.branch == receipt.result.chosen)
    tokens = list(receipt.entries[index].output.tokens)
    tokens[3] = 100 if tokens[3] != 100 else 101
    false = cover(model, receipt, swap(receipt, index, tokens=tuple(tokens)))
    assert judge(model, false)[:2] == ("false", "token")


@pytest.mark.parametrize(
    ("name", "lie", "whats"),
    [
        ("self_consistency", {"sampling": {"max_tokens": 24, "temperature": 0.9}}, {"token"}),
        ("self_consistency", {"seed": 1}, {"token"}),
        ("self_consistency", {"sampling": {"max_tokens": 25, "temperature": 1.0}}, {"finish"}),
        ("beam_search", {"parameters": {**STEPS, "width": 2, "delimiter": "a"}}, {"finish", "token"}),
    ],
)
def test_other_parameters_with_everything_covered_up(model, honest, name, lie, whats):
    outcome, what, entry, _ = judge(model, cover(model, honest[name], **lie))
    assert (outcome, what in whats, entry is not None) == ("false", True, True)


@pytest.mark.parametrize("lie", [{"softness": 0.01}, {"scheme": "systematic"}])
def test_other_parameters_of_a_method(model, honest, lie):
    receipt = honest["particle_filter"]
    header = replace(receipt.header, parameters={**STEPS, **lie})
    what = judge(model, RunReceipt.make(header, receipt.entries, receipt.result))[1]
    assert what in {"missing", "extra", "request"}


def test_texts_in_another_order_and_another_root(model, honest):
    receipt = honest["self_consistency"]
    first, second, *rest = receipt.entries
    assert judge(model, RunReceipt.make(receipt.header, (second, first, *rest), receipt.result))[1:3] == ("order", 0)
    assert judge(model, replace(receipt, root=bytes(32))) == ("false", "root", None, None)


def test_a_place_is_written_in_one_way(model, honest):
    for name, written in (("self_consistency", str), ("short_m_at_k", str), ("self_consistency", None)):
        receipt, index = honest[name], 1
        branch = receipt.entries[index].branch
        other = tuple(map(written, branch)) if written else ("/".join(map(str, branch)),)
        false = RunReceipt.make(receipt.header, tuple(swap(receipt, index, branch=other)), receipt.result)
        assert judge(model, false) == ("false", "request", index, None)


def test_numbers_are_compared_as_they_are_written(model):
    """-0.0 is another document than 0.0, with another root."""
    receipt = run(model, "best_of_n", n=2, scorer="equations:0").receipt
    index = next(i for i, entry in enumerate(receipt.entries) if isinstance(entry, ScoreEntry))
    assert 0.0 in receipt.entries[index].scores
    lie = tuple([score or -score for score in receipt.entries[index].scores])
    false = RunReceipt.make(receipt.header, tuple(swap(receipt, index, scores=lie)), receipt.result)
    assert judge(model, false) == ("false", "score", index, None)


def test_whoever_waits_is_asked_before_each_answer_that_is_read(model, honest, monkeypatch):
    """And may end it there, though methods catch what is raised within them."""
    receipt, calls = honest["best_of_majority"], []
    texts = sum(isinstance(entry, TextEntry) for entry in receipt.entries)
    replay({receipt.header.models[0].name: model}, receipt, lambda: calls.append(0))
    assert len(calls) > 2 * texts

    class GoneError(Exception):
        pass

    def leave():
        calls.append(0)
        if len(calls) == number:
            raise GoneError

    def read():
        return noting() if len(calls) < number else pytest.fail("an answer is read")

    monkeypatch.setattr("intact.solving.receipts.claims.noting", read)
    for number in range(1, len(calls) + 1):
        calls.clear()
        with pytest.raises(GoneError):
            replay({receipt.header.models[0].name: model}, receipt, leave)
        assert len(calls) == number


def test_answers_that_take_too_long_to_read_make_nobody_a_liar(model, honest, monkeypatch):
    monkeypatch.setattr("intact.solving.receipts.claims.READING", 0.0)
    assert judge(model, honest["self_consistency"])[:2] == ("unverifiable", "reading")


def test_algebra_that_is_given_up_makes_nobody_a_liar(model, monkeypatch):
    """Whoever writes the receipt gives up, or whoever verifies it, on a slower machine."""
    pytest.importorskip("math_verify")
    result = run(model, "self_consistency", n=2, max_tokens=12, regex=r"\\boxed\{x\+[1-9]\}")
    assert all(answer.startswith("x + ") for answer in result.answer.votes)
    assert judge(model, result.receipt)[0] == "true"
    false = replace(result.receipt.result, votes=(("x", 2.0),))
    assert judge(model, RunReceipt.make(result.receipt.header, result.receipt.entries, false))[:2] == ("false", "vote")
    monkeypatch.setattr(symbolic, "_once", lambda *asked: symbolic.LIMIT_REACHED)
    assert judge(model, result.receipt)[:2] == ("unverifiable", "reading")
    slow = run(model, "self_consistency", n=2, max_tokens=12, regex=r"\\boxed\{x\+[1-9]\}")
    assert all(answer.startswith("x+") for answer in slow.answer.votes)
    assert slow.receipt is None
    assert slow.caveats[-1].startswith("no receipt can be made of this run: algebra reached a limit on 'x+")


def test_a_template_that_takes_too_long_makes_nobody_a_liar(model, honest, monkeypatch):
    monkeypatch.setattr(model.tokenizer.chat_template, "_seconds", -1.0)
    assert judge(model, honest["self_consistency"])[:2] == ("unverifiable", "template")


def test_prompts_are_made_when_they_are_held_against_the_model(folder):
    """All at once each sample would take the memory of its prompt."""
    long = intact.load(write_tiny(folder / "long.gguf", context=4096), drafter="off", threads=1)
    question = "".join(random.Random(1).choices("bcdfghjkmpqvwxyz", k=3000))
    receipt = intact.solve(long, "self_consistency", question, n=64, max_tokens=1, receipt=True).receipt
    tracemalloc.start()
    claims = replay({receipt.header.models[0].name: long}, receipt)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    prompt = claims.requested[0].receipt().header.request.prompt
    assert len(prompt) > 3000
    assert len(claims.requested) == 64
    assert held < 16 * sys.getsizeof(prompt)


def test_each_entry_is_proved_by_itself(honest):
    receipt = honest["beam_search"]
    leaves = [leaf_of("sha256", entry) for entry in receipt.entries]
    for index, leaf in enumerate(leaves):
        assert check_proof("sha256", receipt.root, leaf, receipt.prove(index))
        assert not check_proof("sha256", receipt.root, leaves[index - 1], receipt.prove(index))


def test_what_cannot_be_verified(model, honest, folder):
    receipt = honest["best_of_n"]
    other = intact.load(write_tiny(folder / "other.gguf", seed=1, context=512), threads=1)
    assert judge(other, receipt)[:2] == ("unverifiable", "weights")
    false = RunReceipt.make(replace(receipt.header, method="no_such"), receipt.entries, receipt.result)
    assert judge(model, false)[:2] == ("unverifiable", "method")


def test_what_other_code_makes_of_the_texts_is_no_lie(model, honest):
    """Where its replay agrees here, the receipt is true; a lie about a text is one whoever judges texts."""
    receipt = honest["self_consistency"]
    header = replace(receipt.header, source=bytes(32))
    assert judge(model, RunReceipt.make(header, receipt.entries, receipt.result))[0] == "true"
    votes = replace(receipt.result, votes=receipt.result.votes[::-1])
    assert judge(model, RunReceipt.make(header, receipt.entries, votes))[:2] == ("unverifiable", "method")
    assert judge(model, RunReceipt.make(receipt.header, receipt.entries, votes))[:2] == ("false", "vote")
    assert judge(model, cover(model, receipt, source=bytes(32), seed=1))[:2] == ("false", "token")


def test_the_source_is_that_of_the_versions_here(honest):
    assert {receipt.header.source for receipt in honest.values()} == {source()}


@pytest.mark.parametrize(
    "lie",
    [
        {"parameters": {"n": "many"}},
        {"parameters": {"m": 5}},
        {"parameters": {"n": 1 << 16}},
        {"parameters": {"n": 0}},
        {"parameters": {"n": 5, "scorer": "reward:/etc/passwd"}},
        {"sampling": {"top_q": 1}},
        {"sampling": {"regex": "a*"}},
        {"sampling": {"stop": ["a", "a"]}},
        {"budget": {"tokens": "many"}},
        {"budget": {"time": 1}},
        {"budget": {"seconds": 1}},
        {"prompt": ()},
    ],
)
def test_impossible_runs_are_false(model, honest, lie):
    receipt = honest["best_of_n"]
    false = RunReceipt.make(replace(receipt.header, **lie), receipt.entries, receipt.result)
    assert judge(model, false)[0] == "false"


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (b'"version":3}', b'"version":4}', "version 4"),
        (
            b'"version":3}',
            b'"version":2}',
            "version 2, but this program reads version 3; the last version of intact that reads it is 0.1",
        ),
        (b'"version":3}', b'"version":0}', "version must be a positive integer"),
        (b'{\\"n\\": 5}', b'{\\"n\\": 1000000000}', "at most 65536"),
        (b'{\\"n\\": 5}', b'{\\"n\\": 1000000000.0}', "at most 65536"),
        (b'{\\"n\\": 5}', b'{\\"n\\": NaN}', "NaN"),
        (b'{\\"n\\": 5}', b'{\\"n\\": 1e999}', "contains the number 1e999"),
        (b'{\\"n\\": 5}', b'{\\"n\\":5}', "plain values"),
        (b'{\\"n\\": 5}', b'{\\"n\\": \\"' + b"x" * 65_537 + b'\\"}', "plain values"),
        (b'"prompt":[["user","What', b'"prompt":[["user","' + b"What" * 65_536, "at most 262,144 characters"),
        (b'"kind":"score"', b'"kind":"secret"', "kind text, score, shared, run or tool"),
        (b'"entries":[', b'"entries":' + b"[" * 100_000, "nested too deep"),
        (b'"chosen":', b'"chose":', "chose"),
        (b'"scores":["', b'"scores":["7ff0000000000000","', "a number for each"),
        (b'"seed":"0"', b'"seed":"00"', "seed"),
        (b'"logprobs":[', b'"logprobs":[1,', "logprobs"),
    ],
)
def test_hostile_documents_are_refused(honest, old, new, error):
    data = honest["best_of_n"].encode()
    assert old in data
    with pytest.raises(ReceiptError, match=re.escape(error)) as caught:
        RunReceipt.parse(data.replace(old, new, 1))
    assert isinstance(caught.value, NewerReceiptError) == (new in (b'"version":2}', b'"version":4}'))


@pytest.mark.parametrize(
    ("name", "old", "new", "error"),
    [
        ("deepconf", b'"top":"', b'"top":"AAAA', "bytes for each of 1 to 20 tokens"),
        ("deepconf", b'"top":"', b'"top":"!', "base64url"),
        (
            "deepconf",
            b'"finish":"length"',
            b'"finish":"never"',
            "one of stop, uncertain, unlikely, length, context, cancelled",
        ),
        ("program_aided", b'"ended":"ok"', b'"ended":"fine"', "one of ok, error"),
        ("program_aided", b'"status":0', b'"status":1e9', "1e9"),
        ("program_aided", b'"sandbox":{', b'"sandbox":{"more":1,', "unknown member"),
        ("program_aided", b'"compiler":"', b'"compiler":7,"x":"', "unknown member"),
        ("best_of_n", b'"state":null', b'"state":7', "a string"),
        ("best_of_n", b'"files":[]', b'"files":[{"name":"b","text":""},{"name":"a","text":""}]', "ascending"),
        ("best_of_n", b'"files":[]', b'"files":[{"name":"a","text":""},{"name":"a","text":""}]', "ascending"),
        ("best_of_n", b'"models":[', b'"models":[7,', "models[0] must be an object"),
        ("best_of_n", b'"files":[]', b'"files":{}', "a list"),
        ("best_of_n", b'"data":"{}"', b'"data":"[]"', "plain values"),
    ],
)
def test_hostile_parts_are_refused(honest, name, old, new, error):
    data = honest[name].encode()
    assert old in data
    with pytest.raises(ReceiptError, match=re.escape(error)):
        RunReceipt.parse(data.replace(old, new, 1))


def test_models_have_different_names(honest):
    receipt = honest["best_of_n"]
    twice = RunReceipt.make(replace(receipt.header, models=receipt.header.models * 2), receipt.entries, receipt.result)
    with pytest.raises(ReceiptError, match="a list of models with distinct names"):
        RunReceipt.parse(twice.encode())


@pytest.mark.parametrize("name", ["best_of_n", "short_m_at_k", "deepconf", "program_aided"])
def test_no_edit_of_a_byte_verifies(model, honest, name):
    """Except for what the model calls itself, which is informative in any receipt: the root covers that, too."""
    data, draw = honest[name].encode(), random.Random(5)
    for _ in range(200):
        at = draw.randrange(len(data))
        edited = data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
        try:
            verdict = verify_run(model, RunReceipt.parse(edited))
        except ReceiptError:
            continue
        assert verdict.outcome != "true"


@method("nobody")
def mine(problem: Problem):
    """One text."""
    state = yield Extend(problem.start)
    return Answer(problem.read(state.text), chosen=state)


@pytest.mark.parametrize(
    ("name", "more", "error"),
    [
        (mine, {}, "no installed package"),
        ("best_of_n", {"budget": "seconds=5"}, "seconds"),
        ("best_of_n", {"n": 1 << 17}, "parameter n = 131072"),
    ],
)
def test_runs_that_no_receipt_can_hold(model, name, more, error):
    with pytest.raises(ParameterError, match=error):
        run(model, name, **more)


def test_a_run_that_fails_has_no_receipt(model):
    with pytest.raises(ParameterError, match="the scorer reward"):
        run(model, "best_of_n", scorer="reward")
    patient = run(model, "program_aided", seconds=61.0)
    assert (patient.why, patient.receipt) == ("failed", None)
    assert "at most 60 seconds" in patient.error


def test_who_reads_answers_must_have_a_name(model):
    with pytest.raises(ParameterError, match="a question as a string"):
        intact.solve(model, "chain_of_thought", Problem("own", "Why?", lambda text: text), receipt=True)
    cut = Problem("own", "Why?", read_cut=whole_text)
    with pytest.raises(ParameterError, match="reading truncated texts differently"):
        intact.solve(model, "chain_of_thought", cut, max_tokens=9, receipt=True)
    for data in ({"x": object()}, {"x": [["nested"]]}, {"x": "y" * 65_537}):
        with pytest.raises(ParameterError, match="a receipt cannot represent x of the problem's data"):
            intact.solve(model, "chain_of_thought", Problem("own", "Why?", data=data), receipt=True)
    result = intact.solve(model, "chain_of_thought", Problem("own", "Why?"), max_tokens=9, receipt=True)
    assert result.receipt.header.reader == "text"
    assert judge(model, result.receipt)[0] == "true"
    other = replace(result.receipt.header, reader="number")
    assert judge(model, RunReceipt.make(other, result.receipt.entries, result.receipt.result))[:2] == ("false", "vote")
    unknown = replace(other, reader="task:none")
    assert judge(model, RunReceipt.make(unknown, result.receipt.entries, result.receipt.result))[0] == "false"
