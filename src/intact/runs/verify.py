"""Verifying the receipt of a run: the method runs again on what the entries say, and the model on their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from intact.errors import IntactError, ParameterError
from intact.library import Model
from intact.reason.answer import Result
from intact.reason.backends.base import Generation, Written
from intact.reason.backends.native import NativeBackend
from intact.reason.budget import Budget
from intact.reason.driver import Task
from intact.reason.problem import Problem
from intact.reason.registry import all_methods
from intact.reason.trace import path
from intact.receipts import verify as answers
from intact.receipts.digests import new_hash
from intact.receipts.document import Header, Receipt, Request
from intact.receipts.weights import root_of
from intact.runs.document import RunHeader, RunReceipt, TextEntry
from intact.runs.sealed import (
    SealedDriver,
    check_generations,
    entries_of,
    on_path,
    outcome_of,
    sealed_scorer,
    source_of,
)
from intact.score.answers import read_answer

if TYPE_CHECKING:
    from intact.receipts.verify import Outcome


@dataclass(frozen=True)
class RunVerdict:
    """What verifying the receipt of a run found.

    Attributes
    ----------
    outcome : {'true', 'false', 'unverifiable'}
        As for the receipt of one answer.
    what : str or None
        What differs, or is missing: of a text what `intact.receipts.verify` says, else one of docs/receipts.md, Runs.
    entry : int or None
        The first entry that is false.
    position : int or None
        The first token of its output that is.
    detail : str
        The same in words.
    checked : int
        Tokens that the model has found true.
    """

    outcome: Outcome
    what: str | None = None
    entry: int | None = None
    position: int | None = None
    detail: str = ""
    checked: int = 0


class FalseRunError(Exception):
    """A replay that came upon a lie."""

    def __init__(self, what: str, entry: int | None, detail: str) -> None:
        super().__init__(detail)
        self.verdict = RunVerdict("false", what, entry, None, detail)


def verify_run(model: Model, run: RunReceipt, winner: bool = False, most: int | None = None) -> RunVerdict:
    """Verify the receipt of a run.

    Parameters
    ----------
    winner : bool
        Whether of all texts only the chosen one, and those that it goes on from, are held against the model.
    most : int, optional
        Tokens of each text that are held against it at most, from its beginning.
    """
    header = run.header
    try:
        new_hash(header.hash)
    except ParameterError as error:
        return RunVerdict("unverifiable", "hash", detail=str(error))
    stranger = answers.identity(model, header.model, header.numerics, header.hash)
    if stranger is not None:
        return RunVerdict(stranger.outcome, stranger.what, detail=stranger.detail)
    if root_of(header.hash, run.leaves) != run.root:
        return RunVerdict("false", "root", detail="its root is not that of its entries")
    try:
        if source_of(all_methods()[header.method]) != header.source:
            detail = f"it was made by another version of {header.method}; take that of the package then"
            return RunVerdict("unverifiable", "method", detail=detail)
    except KeyError:
        return RunVerdict("unverifiable", "method", detail=f"there is no method {header.method!r:.80} here")
    except ParameterError as error:
        return RunVerdict("unverifiable", "method", detail=str(error))
    backend = ReplayBackend(model, run)
    try:
        _compare(run, backend, replay(backend, header))
    except FalseRunError as error:
        return error.verdict
    except IntactError as error:
        return RunVerdict("false", "method", detail=f"no such run is possible: {error}")
    return _hold_against(model, run, backend.receipts, winner, most)


def replay(backend: ReplayBackend, header: RunHeader) -> Result:
    """Run a method once more on texts that are known.

    Raises
    ------
    FalseRunError
        If it asks for others.
    """
    problem = Problem(header.id, header.prompt, read_answer, seed=header.seed)
    sampling = {name: tuple(value) if isinstance(value, list) else value for name, value in header.sampling.items()}
    driver = SealedDriver({"main": backend}, budget=_budget(header), sampling=sampling, scorer=sealed_scorer)
    ((_, result),) = driver.solve([Task(all_methods()[header.method], problem, header.parameters)])
    return result


def _budget(header: RunHeader) -> Budget:
    try:
        caps = Budget(**header.budget)
    except TypeError as error:
        raise ParameterError(f"its budget is none: {error}") from None
    if caps.seconds is not None:
        raise ParameterError("its budget is in seconds, which nobody can repeat exactly")
    return caps


def _compare(run: RunReceipt, backend: ReplayBackend, result: Result) -> None:
    """Hold scores and result against those of the replay."""
    if result.why == "failed":
        raise FalseRunError("method", None, f"the method fails: {result.error}")
    if backend.unread:
        where, index = min(backend.unread.items(), key=itemgetter(1))
        raise FalseRunError("extra", index, f"the method never asks for the text {where:.80}")
    entries = entries_of(result.trace, backend.texts)
    for index, (claimed, own) in enumerate(zip(run.entries, entries, strict=False)):
        if claimed != own:
            if isinstance(claimed, TextEntry) or isinstance(own, TextEntry):
                raise FalseRunError("order", index, "the method has another entry here")
            raise FalseRunError("score", index, f"{own.scorer} gives these texts other scores")
    if len(run.entries) != len(entries):
        more = len(run.entries) > len(entries)
        what, detail = ("extra", "the method never asks for it") if more else ("missing", "the method asks for more")
        raise FalseRunError(what, min(len(run.entries), len(entries)), detail)
    outcome = outcome_of(result)
    for name in ("answer", "votes", "confidence", "chosen", "why"):
        if getattr(outcome, name) != getattr(run.result, name):
            said, found = getattr(run.result, name), getattr(outcome, name)
            raise FalseRunError(
                "vote", None, f"its {name} is {said!r:.80}; the method makes {found!r:.80} of the texts"
            )
    if outcome.cost != run.result.cost:
        raise FalseRunError("cost", None, "its texts cost something else")


class ReplayBackend(NativeBackend):
    """Answers from a receipt alone.

    Attributes
    ----------
    unread : dict of str to int
        Numbers of the entries that nobody has asked for, by their places.
    texts : dict of str to TextEntry
        The others.
    receipts : dict of int to Receipt
        What these say, in full.
    """

    def __init__(self, model: Model, run: RunReceipt) -> None:
        super().__init__(model)
        self._run = run
        self.unread = {path(e.branch): i for i, e in enumerate(run.entries) if isinstance(e, TextEntry)}
        self.texts: dict[str, TextEntry] = {}
        self.receipts: dict[int, Receipt] = {}

    def start(self, generations: Sequence[Generation]) -> None:
        """Answer at once."""
        check_generations(generations)
        for generation in generations:
            generation.written = self._find(generation)
            self._ended.append(generation)

    def _find(self, generation: Generation) -> Written:
        place, run = path(generation.branch), self._run
        index = self.unread.pop(place, None)
        if index is None:
            raise FalseRunError("missing", None, f"the method asks for the text {place:.80}, which is no entry")
        entry = run.entries[index]
        assert isinstance(entry, TextEntry)
        request = Request(tuple(self._texts.context(generation.state)), generation.parameters, generation.branch)
        header = Header(run.header.model, run.header.numerics, request, run.header.hash)
        if header.digest != entry.header:
            raise FalseRunError("request", index, f"the method asks for the text {place:.80} in another way")
        self.texts[place] = entry
        self.receipts[index] = Receipt(header, entry.output, entry.chain)
        output = entry.output
        return self._texts.told(generation.state, output.tokens, output.logprobs or (), output.finish)

    def step(self) -> list[Generation]:
        """What was answered."""
        ended, self._ended = self._ended, []
        return ended

    def cancel(self, generations: Sequence[Generation]) -> None:
        """Nothing is under way."""


def _hold_against(
    model: Model, run: RunReceipt, receipts: dict[int, Receipt], winner: bool, most: int | None
) -> RunVerdict:
    """Verify texts, many at once; the first entry that is false decides."""
    chosen = run.result.chosen
    wanted = [i for i in sorted(receipts) if not winner or on_path(receipts[i].header.request.branch, chosen)]
    checked, doubt = 0, None
    for index, verdict in zip(wanted, answers.verify(model, [receipts[i] for i in wanted], most), strict=True):
        checked += verdict.checked
        found = RunVerdict(verdict.outcome, verdict.what, index, verdict.position, verdict.detail, checked)
        if verdict.outcome == "false":
            return found
        if verdict.outcome == "unverifiable":
            doubt = doubt or found
    return doubt or RunVerdict("true", checked=checked)
