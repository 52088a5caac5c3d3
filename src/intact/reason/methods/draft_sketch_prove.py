"""Draft, sketch, prove: an informal proof, a formal sketch of its steps, and a prover that fills the gaps."""

from __future__ import annotations

from typing import Final

from intact._base.errors import SpentError
from intact.reason import Extend, Problem, Steps, method
from intact.reason.limits import Count
from intact.reason.parts.holes import Closing, close, mend
from intact.reason.parts.interpreting import FENCE
from intact.reason.parts.proving import Attempts, Claim, ProofSettings, block_of

DRAFT: Final = """\
Here is a theorem, as {assistant} has it.

{statement}

Prove it in words: number the steps, and let each state one equation, inequality or fact that follows from those before.
Write no code."""

SKETCH: Final = """\
Here is a theorem, as {assistant} has it.

{statement}
{premises}
This is a proof in words:

{draft}

Write the tactics of its proof in {assistant}, without the theorem. State each step of the proof in words by
assert (h : ...). and leave what is hard as admit. Do not state anything as an axiom."""

CLOSING: Final = Closing(rounds=1)
DEFAULTS: Final = ProofSettings()


@method(
    "Jiang et al. 2022, arXiv 2210.12283; Cao et al. 2025, arXiv 2506.11487 (DSP+)",
    group="proofs, judged by a proof assistant",
    version=2,
    uses=("tool premises", "tool proof"),
    temperature=0.8,
)
def draft_sketch_prove(
    problem: Problem,
    *,
    n: Count = 4,
    closing: Closing = CLOSING,
    claimed: ProofSettings = DEFAULTS,
    informal: str = DRAFT,
    sketch: str = SKETCH,
) -> Steps:
    """Draft n informal proofs, write each as a formal sketch, mask the steps that fail, and close the gaps.

    Parameters
    ----------
    n : int
        Number of drafts; each gets one sketch.
    informal : str
        Prompt template for an informal proof, with {assistant} and {statement}.
    sketch : str
        Prompt template for the sketch; it may also use {draft} and {premises}.
    """
    claim = Claim.of(problem, claimed, closing.suggest, sketch)
    attempts, ends = Attempts(problem, claim), list[str]()
    try:
        root = yield from claim.attempt(())
        if root.kind != "open":
            attempts.failures.append(root.failure)
            return attempts.none(message=root.rest, ended=[root.kind])
        known = yield from claim.recall(root.rest)
        drafts = yield [Extend(claim.ask(problem.start, problem, informal))] * n
        for one in drafts:
            if one.broken_off:
                attempts.failures += ["budget"] if one.why == "budget" else []
                continue
            request = claim.ask(one, problem, sketch, draft=one.text.strip(), premises=known)
            state = yield Extend(claim.open_block(request), stop=(FENCE,))
            steps, tried, failure = yield from mend(claim, claim.assistant.split(block_of(state)), closing.mends)
            attempts.failures.append(failure)
            if tried.stands:
                steps, tried = yield from close(problem, claim, steps, tried, how=closing)
            ends.append(tried.kind)
            if tried.kind == "proved":
                return attempts.proved(steps, state, ended=ends)
    except SpentError:
        attempts.failures.append("budget")
    return attempts.none(ended=ends)
