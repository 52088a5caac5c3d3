"""Proof repair: failing steps become holes, which are closed one by one with the error message in the prompt."""

from __future__ import annotations

from typing import Final

from intact._base.errors import SpentError
from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.limits import Count
from intact.reason.parts.holes import Closing, close, mend
from intact.reason.parts.interpreting import FENCE
from intact.reason.parts.proving import Attempts, Claim, ProofSettings, block_of

PROVE: Final = """\
Here is a theorem, as {assistant} has it.

{statement}
{premises}
Write the tactics of its proof, without the theorem, and nothing else."""

RETRY: Final = """\
Here is a theorem, as {assistant} has it.

{statement}
{premises}
This proof of it fails:
{proof}

{assistant} says:
{message}

Write the tactics of a proof that does not fail, without the theorem, and nothing else."""

CLOSING: Final = Closing(rounds=2)
DEFAULTS: Final = ProofSettings()


@method(
    "Ospanov et al. 2025, arXiv 2505.05758 (APOLLO)",
    group="proofs, judged by a proof assistant",
    version=2,
    uses=("tool premises", "tool proof"),
    temperature=0.8,
)
def proof_repair(
    problem: Problem,
    *,
    n: Count = 4,
    closing: Closing = CLOSING,
    claimed: ProofSettings = DEFAULTS,
    prove: str = PROVE,
    retry: str = RETRY,
) -> Steps:
    """Write n proofs; in each that fails, replace the failing steps with holes and close them, or rewrite the proof.

    Parameters
    ----------
    n : int
        Number of initial proofs.
    prove : str
        Prompt template for a proof, with {assistant}, {statement} and {premises}.
    retry : str
        Prompt template for a new proof if no step can be kept; it may also use {proof} and {message}.
    """
    claim = Claim.of(problem, claimed, closing.suggest, prove, retry)
    attempts, ends = Attempts(problem, claim), list[str]()
    try:
        root = yield from claim.attempt(())
        if root.kind != "open":
            attempts.failures.append(root.failure)
            return attempts.none(message=root.rest, ended=[root.kind])
        known = yield from claim.recall(root.rest)
        request = claim.open_block(claim.ask(problem.start, problem, prove, premises=known))
        written: list[State] = yield [Extend(request, stop=(FENCE,))] * n
        failed = list[tuple[State, tuple[str, ...], str]]()
        for state in written:  # proofs that hold as they are cost least
            steps = claim.assistant.split(block_of(state))
            if state.broken_off:
                attempts.failures += ["budget"] if state.why == "budget" else []
                continue
            tried = yield from claim.attempt(steps)
            if tried.kind == "proved":
                return attempts.proved(steps, state, ended=[*ends, tried.kind])
            attempts.failures.append(tried.failure)
            failed.append((state, steps, tried.rest))
        for state, steps, message in failed:
            mended, tried, _ = yield from mend(claim, steps, closing.mends)
            source = state
            if all(claim.assistant.is_hole(step) for step in mended):
                again = claim.ask(state, problem, retry, steps, message=message, premises=known)
                source = yield Extend(claim.open_block(again), stop=(FENCE,))
                mended, tried, failure = yield from mend(claim, claim.assistant.split(block_of(source)), closing.mends)
                attempts.failures.append(failure)
            if tried.stands:
                mended, tried = yield from close(problem, claim, mended, tried, how=closing)
            ends.append(tried.kind)
            if tried.kind == "proved":
                return attempts.proved(mended, source, ended=ends)
    except SpentError:
        attempts.failures.append("budget")
    return attempts.none(ended=ends)
