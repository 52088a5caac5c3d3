"""Best-first proof search: the model proposes tactics, and a proof assistant tries them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from intact._base.errors import ParameterError, SpentError
from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.limits import CommaList, Count, one_of
from intact.reason.parts.interpreting import FENCE
from intact.reason.parts.proving import SUGGEST, Attempts, Claim, ProofSettings, Tried, block_of

DEFAULTS: Final = ProofSettings(seconds=30.0)


@dataclass(frozen=True)
class _Node:
    """An open proof state.

    Attributes
    ----------
    logprob : float
        Natural log-probability of all tactics that lead to it.
    """

    steps: tuple[str, ...]
    tried: Tried
    logprob: float
    state: State | None = None


PERSPECTIVES: Final[Mapping[str, Callable[[_Node], float]]] = {
    "likely": lambda node: node.logprob,
    "short": lambda node: -float(len(node.tried.rest)),
    "few": lambda node: -float(node.tried.rest.count("\n\n")),
}
"""Measures of an open state, where larger is better: likeliest path, shortest goals, fewest goals."""


def read_perspectives(text: str) -> list[str]:
    """Parse a comma-separated list of measures.

    Raises
    ------
    ParameterError
        If a name is unknown, or the list is empty.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ParameterError(f"perspectives must name one of {', '.join(PERSPECTIVES)}")
    for name in names:
        one_of(PERSPECTIVES, perspectives=name)
    return names


def are_perspectives(**values: str) -> None:
    """Raise ParameterError if a string is not a valid list of perspectives (`read_perspectives`)."""
    for text in values.values():
        read_perspectives(text)


@method(
    "Yang et al. 2023, arXiv 2306.15626 (ReProver)",
    group="proofs, judged by a proof assistant",
    version=2,
    uses=("tool premises", "tool proof"),
    temperature=0.8,
)
def proof_search(
    problem: Problem,
    *,
    n: Count = 8,
    steps: Count = 32,
    tokens: Count = 64,
    perspectives: Annotated[str, are_perspectives, CommaList()] = "likely",
    claimed: ProofSettings = DEFAULTS,
    suggest: str = SUGGEST,
) -> Steps:
    """Expand the best open proof state with n tactics from the model, until one completes the proof.

    Parameters
    ----------
    n : int
        Number of tactics per state.
    steps : int
        Maximum number of states expanded.
    tokens : int
        Maximum number of tokens per tactic.
    perspectives : str
        Measures by which the best state is chosen, separated by commas and used in turn: likely (sum of the tactics'
        log-probabilities), short (fewest characters of goals), few (fewest goals).
    suggest : str
        Prompt template for a tactic, with {assistant}, {statement}, {premises}, {proof} and {goals}.
    """
    claim, measures = Claim.of(problem, claimed, suggest), read_perspectives(perspectives)
    attempts = Attempts(problem, claim)
    counts = {"expanded": 0, "tried": 0, "failed": 0, "known": 0}
    try:
        root = yield from claim.attempt(())
        if root.kind != "open":
            attempts.failures.append(root.failure)
            return attempts.none(**counts, message=root.rest)
        going = [_Node((), root, 0.0)]
        seen = {root.rest}
        while going and counts["expanded"] < steps:
            measure = PERSPECTIVES[measures[counts["expanded"] % len(measures)]]
            node = max(going, key=measure)
            going.remove(node)
            counts["expanded"] += 1
            goals = node.tried.rest
            known = yield from claim.recall(goals)
            begun = node.state or problem.start
            request = claim.ask(begun, problem, suggest, node.steps, goals=goals, premises=known)
            written = yield [Extend(claim.open_block(request), stop=("\n", FENCE), max_tokens=tokens)] * n
            for state in {block_of(one).strip(): one for one in reversed(written)}.values():
                step = block_of(state).strip()
                if not step or state.broken_off:
                    continue
                tried = yield from claim.attempt((*node.steps, step))
                counts["tried"] += 1
                if tried.kind == "proved":
                    return attempts.proved((*node.steps, step), state, **counts)
                if tried.kind != "open":
                    counts["failed"] += 1
                    attempts.failures.append(tried.failure)
                elif tried.rest in seen:
                    counts["known"] += 1
                else:
                    seen.add(tried.rest)
                    going.append(_Node((*node.steps, step), tried, node.logprob + state.logprob, state))
        if going:
            attempts.failures.append("budget")
    except SpentError:
        attempts.failures.append("budget")
    return attempts.none(**counts, message="")
