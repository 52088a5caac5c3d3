"""Repair of proofs: what fails becomes a hole, holes are closed one by one, the error's message at hand."""

from __future__ import annotations

from typing import Final

from intact.errors import SpentError
from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.interpreting import FENCE
from intact.reason.limits import Count, Natural, Positive
from intact.reason.proving import AUTOMATION, CONTINUE, AssistantName, Attempts, Claim, Closing, block_of, close, mend

PROVE: Final = """\
Here is a theorem, as {assistant} has it.

{statement}

Write the tactics of its proof, without the theorem, and nothing else."""

RETRY: Final = """\
Here is a theorem, as {assistant} has it.

{statement}

This proof of it fails:
{proof}

{assistant} says:
{message}

Write the tactics of a proof that does not fail, without the theorem, and nothing else."""


@method(
    "Ospanov et al. 2025, arXiv 2505.05758 (APOLLO)",
    group="proofs, judged by a proof assistant",
    version=2,
    uses=("tool proof",),
    temperature=0.8,
)
def proof_repair(
    problem: Problem,
    *,
    n: Count = 4,
    rounds: Natural = 2,
    tries: Count = 2,
    mends: Count = 24,
    automation: str = AUTOMATION,
    assistant: AssistantName = "rocq",
    seconds: Positive = 60.0,
    statement: str = "",
    prove: str = PROVE,
    retry: str = RETRY,
    suggest: str = CONTINUE,
) -> Steps:
    """Write n proofs; of each that fails put holes in place of what does, close them, and else write it again.

    Parameters
    ----------
    n : int
        Proofs that are written at first.
    rounds : int
        How often the model is asked for holes that the automation leaves; in the second round for those in what it
        wrote.
    tries : int
        Texts for each such hole.
    mends : int
        The most tries to put holes in place of what fails.
    automation : str
        The step that closes a hole, or fails.
    assistant : str
        The proof assistant: rocq, metamath or lean.
    seconds : float
        What a try may take, wall time.
    statement : str
        The statement to prove; by default a block of code in the question, else all of it.
    prove : str
        How a proof is asked for, with {assistant} and {statement}.
    retry : str
        How it is asked for again where no hole can be put, with {proof} and {message} besides.
    suggest : str
        How the proof of a hole is asked for, with {assistant}, {statement}, {proof} and {goals}.
    """
    claim = Claim.of(problem, assistant, statement, seconds)
    closing = Closing(rounds, tries, mends, automation, suggest)
    attempts, ends = Attempts(problem, claim), list[str]()
    try:
        root = yield from claim.attempt(())
        if root.kind != "open":
            attempts.failures.append(root.failure)
            return attempts.none(message=root.rest, ended=[root.kind])
        request = claim.open_block(claim.ask(problem.start, problem, prove))
        written: list[State] = yield [Extend(request, stop=(FENCE,))] * n
        failed = list[tuple[State, tuple[str, ...], str]]()
        for state in written:  # what holds as it is costs least
            steps = claim.assistant.split(block_of(state))
            if state.why in ("budget", "error"):
                attempts.failures += ["budget"] if state.why == "budget" else []
                continue
            tried = yield from claim.attempt(steps)
            if tried.kind == "proved":
                return attempts.proved(steps, state, ended=[*ends, tried.kind])
            attempts.failures.append(tried.failure)
            failed.append((state, steps, tried.rest))
        for state, steps, message in failed:
            mended, tried, _ = yield from mend(claim, steps, mends)
            source = state
            if all(claim.assistant.is_hole(step) for step in mended):
                again = claim.ask(state, problem, retry, steps, message=message)
                source = yield Extend(claim.open_block(again), stop=(FENCE,))
                mended, tried, failure = yield from mend(claim, claim.assistant.split(block_of(source)), mends)
                attempts.failures.append(failure)
            if tried.stands:
                mended, tried = yield from close(problem, claim, mended, tried, closing)
            ends.append(tried.kind)
            if tried.kind == "proved":
                return attempts.proved(mended, source, ended=ends)
    except SpentError:
        attempts.failures.append("budget")
    return attempts.none(ended=ends)
