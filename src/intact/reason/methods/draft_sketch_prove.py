"""Draft, sketch, prove: a proof in words, its steps as a formal sketch, and a prover for the gaps."""

from __future__ import annotations

from typing import Final

from intact.errors import SpentError
from intact.reason import Extend, Problem, Steps, method
from intact.reason.interpreting import FENCE
from intact.reason.limits import Count, Natural, Positive
from intact.reason.proving import AUTOMATION, CONTINUE, AssistantName, Attempts, Claim, Closing, block_of, close, mend

DRAFT: Final = """\
Here is a theorem, as {assistant} has it.

{statement}

Prove it in words: number the steps, and let each state one equation, inequality or fact that follows from those before.
Write no code."""

SKETCH: Final = """\
Here is a theorem, as {assistant} has it.

{statement}

This is a proof in words:

{draft}

Write the tactics of its proof in {assistant}, without the theorem. State each step of the proof in words by
assert (h : ...). and leave what is hard as admit. Do not state anything as an axiom."""


@method(
    "Jiang et al. 2022, arXiv 2210.12283; Cao et al. 2025, arXiv 2506.11487 (DSP+)",
    group="proofs, judged by a proof assistant",
    version=2,
    uses=("tool proof",),
    temperature=0.8,
)
def draft_sketch_prove(
    problem: Problem,
    *,
    n: Count = 4,
    rounds: Natural = 1,
    tries: Count = 2,
    mends: Count = 24,
    automation: str = AUTOMATION,
    assistant: AssistantName = "rocq",
    seconds: Positive = 60.0,
    statement: str = "",
    informal: str = DRAFT,
    sketch: str = SKETCH,
    suggest: str = CONTINUE,
) -> Steps:
    """Draft n proofs in words, write each as a formal sketch, mask what fails, and close the gaps.

    Parameters
    ----------
    n : int
        Drafts, each with one sketch.
    rounds : int
        How often the model is asked for gaps that the automation leaves; in the second round for those in what it
        wrote.
    tries : int
        Texts for each such gap.
    mends : int
        The most tries to mask what fails in a sketch.
    automation : str
        The step that closes a gap, or fails.
    assistant : str
        The proof assistant: rocq, metamath or lean.
    seconds : float
        What a try may take, wall time.
    statement : str
        The statement to prove; by default a block of code in the question, else all of it.
    informal : str
        How a proof in words is asked for, with {assistant} and {statement}.
    sketch : str
        How the sketch is asked for, with {draft} besides.
    suggest : str
        How the proof of a gap is asked for, with {assistant}, {statement}, {proof} and {goals}.
    """
    claim = Claim.of(problem, assistant, statement, seconds)
    closing = Closing(rounds, tries, mends, automation, suggest)
    attempts, ends = Attempts(problem, claim), list[str]()
    try:
        root = yield from claim.attempt(())
        if root.kind != "open":
            attempts.failures.append(root.failure)
            return attempts.none(message=root.rest, ended=[root.kind])
        drafts = yield [Extend(claim.ask(problem.start, problem, informal))] * n
        for one in drafts:
            if one.why in ("budget", "error"):
                attempts.failures += ["budget"] if one.why == "budget" else []
                continue
            request = claim.ask(one, problem, sketch, draft=one.text.strip())
            state = yield Extend(claim.open_block(request), stop=(FENCE,))
            steps, tried, failure = yield from mend(claim, claim.assistant.split(block_of(state)), mends)
            attempts.failures.append(failure)
            if tried.stands:
                steps, tried = yield from close(problem, claim, steps, tried, closing)
            ends.append(tried.kind)
            if tried.kind == "proved":
                return attempts.proved(steps, state, ended=ends)
    except SpentError:
        attempts.failures.append("budget")
    return attempts.none(ended=ends)
