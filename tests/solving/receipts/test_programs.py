"""Receipts of runs with programs: what they printed is computed again, or it is said that it could not be."""

import importlib
from dataclasses import replace

import pytest

import intact
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.entries import RunEntry
from intact.solving.receipts.programs import here, verify_programs
from intact.solving.receipts.replay import replay
from intact.solving.receipts.verify import verify_run
from intact.tools.sandbox import protection
from support.bombs import BOMBS, contained
from support.run_forger import cover, judge, swap
from support.tiny import write_tiny

pytestmark = pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")
METHODS = {
    "program_aided": {"n": 4, "seconds": 60.0, "regex": r"print\([0-9]{1,2}\)\n```"},
    "code_verified": {"n": 3, "seconds": 60.0},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return intact.load(write_tiny(tmp_path_factory.mktemp("models") / "m.gguf", context=2048), threads=1)


def solve(model, name, **more):
    asked = {"max_tokens": 24, "temperature": 1.0, **METHODS[name], **more}
    return intact.solve(model, name, "What is 2 + 2?", receipt=True, **asked)


@pytest.fixture(scope="module")
def receipt(model):
    return solve(model, "program_aided").receipt


def programs(receipt):
    return [i for i, entry in enumerate(receipt.entries) if isinstance(entry, RunEntry)]


def test_the_truth_is_found_true(model, receipt):
    assert len(programs(receipt)) == 4
    assert receipt.header.sandbox == here()
    assert receipt.header.compiler.startswith("llguidance ")
    assert receipt.result.answer is not None
    verdict = verify_run(model, receipt)
    different = {receipt.entries[i].program for i in programs(receipt)}
    assert (verdict.outcome, verdict.programs, verdict.checked) == ("true", len(different), receipt.count)
    assert cover(model, receipt) == receipt
    other = solve(model, "code_verified").receipt
    assert judge(model, other)[0] == "true"


class StoppedError(Exception):
    pass


def test_whoever_verifies_may_stop_before_each_program(model, receipt):
    claims, calls = replay({receipt.header.models[0].name: model}, receipt), []
    assert verify_programs(claims, lambda: calls.append(None)).outcome == "true"
    assert len(calls) == len({receipt.entries[i].program for i in programs(receipt)})

    def stop():
        raise StoppedError

    with pytest.raises(StoppedError):
        verify_programs(claims, stop)


def test_a_prompt_that_several_texts_have_is_given_to_the_model_once(model, receipt):
    claims = replay({receipt.header.models[0].name: model}, receipt)
    texts = [asked.receipt() for asked in claims.requested.values()]
    prompts = {tuple(text.header.request.prompt) for text in texts}
    assert len(prompts) < len(texts)
    given = sum(map(len, prompts)) + sum(len(text.output.tokens) for text in texts)
    assert verify_run(model, receipt).given == given


def lie(model, receipt, **changes):
    """Say that a program ended in another way, wherever it ran; the vote follows."""
    (first, *_) = programs(receipt)
    program = receipt.entries[first].program
    entries = [replace(e, **changes) if getattr(e, "program", None) == program else e for e in receipt.entries]
    return cover(model, receipt, entries), first


def test_another_output(model, receipt):
    false, first = lie(model, receipt, stdout="4\n")
    assert false.result != receipt.result
    assert judge(model, false) == ("false", "run", first, None)
    assert judge(model, false, winner=True) == ("false", "run", first, None)


def test_another_end(model, receipt):
    for changes in ({"status": 1, "ended": "error"}, {"ended": "memory"}):
        false, first = lie(model, receipt, **changes)
        assert judge(model, false) == ("false", "run", first, None)


def test_who_claims_that_time_was_over_is_not_believed(model, receipt):
    """Nor called a liar: how long a program takes depends on the machine."""
    false, first = lie(model, receipt, ended="time", status=-9)
    assert judge(model, false) == ("unverifiable", "run", first, None)


def test_another_python_may_print_something_else(model, receipt):
    false, first = lie(model, replace(receipt, header=replace(receipt.header, sandbox=replace(here(), python="2.7"))))
    assert judge(model, false)[0] == "true"
    false, first = lie(model, false, stdout="4\n")
    assert judge(model, false) == ("unverifiable", "run", first, None)


def test_without_a_sandbox_it_is_said_what_was_not_checked(model, receipt, monkeypatch):
    monkeypatch.setenv("INTACT_SANDBOX", "none")
    running = importlib.import_module("intact.tools.sandbox.run")  # the package's own name for it is the function
    monkeypatch.setattr(running, "execute", lambda *_: pytest.fail("ran a stranger's program"))
    verdict = verify_run(model, receipt)
    found = verdict.outcome, verdict.what, verdict.entry, verdict.programs, verdict.checked
    assert found == ("unverifiable", "sandbox", programs(receipt)[0], 0, receipt.count)
    logprobs = receipt.entries[0].output.logprobs
    false = cover(model, receipt, swap(receipt, 0, logprobs=(*logprobs[:-1], logprobs[-1] - 1)))
    assert judge(model, false) == ("false", "logprobs", 0, len(logprobs) - 1)


def test_programs_that_end_differently_each_time_are_no_proof_of_a_lie(model, receipt, monkeypatch):
    from intact.tools import sandbox

    count = iter(range(1000))
    run = sandbox.run

    def differing(*given, **more):
        return replace(run(*given, **more), stdout=f"{next(count)} and so on\n")

    monkeypatch.setattr("intact.tools.sandbox.run", differing)
    verdict = verify_run(model, receipt)
    assert (verdict.outcome, verdict.what) == ("unverifiable", "run")
    assert "differently from run to run" in verdict.detail


def test_programs_that_are_hidden_or_invented(model, receipt):
    first, *_, last = programs(receipt)
    entries = receipt.entries[:first] + receipt.entries[first + 1 :]
    assert judge(model, RunReceipt.make(receipt.header, entries, receipt.result))[:2] in (
        ("false", "missing"),
        ("false", "order"),
    )
    more = (*receipt.entries, replace(receipt.entries[last], program=bytes(32)))
    false = RunReceipt.make(receipt.header, more, receipt.result)
    assert judge(model, false) == ("false", "extra", len(receipt.entries), None)
    twice = (*receipt.entries, replace(receipt.entries[last], stdout="4\n"))
    false = RunReceipt.make(receipt.header, twice, receipt.result)
    assert judge(model, false) == ("false", "run", len(receipt.entries), None)
    bare = RunReceipt.make(replace(receipt.header, sandbox=None), receipt.entries, receipt.result)
    assert judge(model, bare) == ("false", "extra", None, None)


def test_constraints(model, receipt):
    """Another compiler may allow other tokens; another expression is another request."""
    digit = receipt.entries[0].output.text[len("print(")]
    allowed = "".join(sorted(set("0123456789") - {digit}))
    header = replace(
        receipt.header, sampling={**receipt.header.sampling, "regex": rf"print\([{allowed}]{{1,2}}\)\n```"}
    )
    assert judge(model, RunReceipt.make(header, receipt.entries, receipt.result))[:2] == ("false", "request")
    false = cover(model, receipt, sampling=header.sampling)
    outcome, what, *_ = judge(model, false)
    assert (outcome, what in ("token", "hidden state")) == ("false", True)
    other = verify_run(model, cover(model, receipt, sampling=header.sampling, compiler="llguidance 0.0.1"))
    assert (other.outcome, other.what) == ("unverifiable", "constraint")
    assert other.programs == 0  # nobody knows whether the model wrote them
    bare = RunReceipt.make(replace(receipt.header, compiler=None), receipt.entries, receipt.result)
    assert judge(model, bare)[:2] == ("false", "request")
    assert judge(model, cover(model, receipt, compiler=None)) == ("false", "extra", None, None)


@pytest.mark.parametrize("name", ["conjunctions", "a chain of rules"])
def test_a_constraint_that_explodes_cannot_be_verified(model, receipt, name):
    given = {field: value for field, value in receipt.header.sampling.items() if field != "regex"}
    false = cover(model, receipt, sampling={**given, **BOMBS[name]})
    with contained():
        verdict = verify_run(model, false)
    assert (verdict.outcome, verdict.what) == ("unverifiable", "constraint")
    assert "cannot be used: compiling it " in verdict.detail
