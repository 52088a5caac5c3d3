"""What a run with a receipt may do, for who makes it and who verifies it: nothing but write texts and judge them."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from intact.errors import ParameterError
from intact.reason.answer import Result
from intact.reason.backends.base import Generation
from intact.reason.driver import Driver
from intact.reason.execution import Execution
from intact.reason.registry import Method, all_methods
from intact.reason.requests import Run
from intact.reason.scorer import Scorer
from intact.reason.state import Branch
from intact.runs.document import Entry, Outcome, ScoreEntry, TextEntry
from intact.score.scorers import find_scorer

SCORERS: Final = ("likelihood", "mean_logprob", "perplexity")
"""Those that need a text and its log-probabilities alone."""
READERS: Final = ("compute_optimal",)
"""Methods that read files of the user's."""


class SealedDriver(Driver):
    """A driver that runs no program: who verifies a receipt must not have to run what a stranger's says."""

    def run_code(self, execution: Execution, request: Run, done: Callable[[Future[Any]], None]) -> None:  # noqa: D102
        raise ParameterError("a run with a receipt cannot run programs")


def sealed_scorer(name: str) -> Scorer:
    """Find a scorer by its name, of those that a receipt's verifier can ask."""
    if name not in SCORERS:
        raise ParameterError(f"a run with a receipt cannot use the scorer {name!r:.80}; it can {', '.join(SCORERS)}")
    return find_scorer(name)


def check_generations(generations: Sequence[Generation]) -> None:
    """Raise ParameterError where texts are asked for in a way that no receipt holds."""
    for generation in generations:
        asked = {
            "a race": generation.heat is not None,
            "hidden states": generation.hidden,
            "the likeliest tokens (top_logprobs)": generation.parameters.top_logprobs > 0,
            "a constraint": generation.parameters.constraint is not None,
        }
        for what, wanted in asked.items():
            if wanted:
                raise ParameterError(f"a run with a receipt cannot ask for {what}, as this method does")


def source_of(method: Method) -> bytes:
    """SHA-256 of the file that defines a method.

    Raises
    ------
    ParameterError
        If it is none of this package's, which a verifier has too, or needs a file.
    """
    if all_methods().get(method.name) is not method:
        raise ParameterError(f"{method.name} is no method of this package; a receipt can only name one that is")
    if method.name in READERS:
        raise ParameterError(f"{method.name} reads a file, which a verifier does not have; name the method it chooses")
    file = inspect.getsourcefile(method.function)
    assert file is not None
    return hashlib.sha256(Path(file).read_bytes()).digest()


def entries_of(trace: Mapping[str, Any], texts: Mapping[str, TextEntry]) -> tuple[Entry, ...]:
    """The entries of a run: its trace's nodes in their order, those of sub-methods where these were called.

    Parameters
    ----------
    texts : mapping of str to TextEntry
        What was written, by its place.
    """
    return tuple(_flat(trace["nodes"], texts))


def _flat(nodes: Sequence[Mapping[str, Any]], texts: Mapping[str, TextEntry]) -> Generator[Entry, None, None]:
    for node in nodes:
        if node["kind"] == "extend":
            yield texts[node["branch"]]
        elif node["kind"] == "score":
            yield ScoreEntry(
                node["scorer"],
                tuple([place for place, _ in node["scores"]]),
                tuple([float(score) for _, score in node["scores"]]),
            )
        else:
            yield from _flat(node["nodes"], texts)


def outcome_of(result: Result) -> Outcome:
    """What a result says, as a receipt holds it."""
    answer = result.answer
    chosen: Branch | None = None if answer.chosen is None else answer.chosen.branch
    votes = tuple([(name, float(weight)) for name, weight in answer.votes.items()])
    confidence = None if answer.confidence is None else float(answer.confidence)
    return Outcome(answer.answer, votes, confidence, chosen, result.why, result.cost._replace(seconds=0.0))


def on_path(branch: Branch, chosen: Branch | None) -> bool:
    """Whether a text is the chosen one, or one that it goes on from."""
    return chosen is not None and chosen[: len(branch)] == branch
