"""The part of a run's prompt that something in the run was computed from: a receipt states no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Final

from intact.errors import IntactError
from intact.library import Model
from intact.reason.backends.base import Generation
from intact.reason.problem import Prompt, State
from intact.run_receipts.claims import Claims
from intact.run_receipts.document import RunReceipt
from intact.run_receipts.entries import TextEntry
from intact.run_receipts.replay import ReplayBackend, driver_of, replay, run_again
from intact.run_receipts.verdict import DecidedError, RunVerdict

LONGEST: Final = 1 << 30
"""Tokens that a prompt with marks may have."""


def needed_prompt(models: Mapping[str, Model], run: RunReceipt, between: Callable[[], None] | None = None) -> Prompt:
    """Return the prompt of a run, with nothing in the place of each content from which nothing was computed.

    A content counts as read where it is part of what a text goes on from, as the chat template renders it; else where
    the replay of the run differs without it. A text is a prompt with one content.

    Parameters
    ----------
    run : RunReceipt
        A run whose replay finds nothing false.
    between : callable, optional
        As of `intact.run_receipts.replay.replay`.
    """
    unseen = _unrendered(models, run, between)
    left = [unseen] if unseen else []
    while left:
        places = left.pop()
        shorter = _with_prompt(run, _changed(run.header.prompt, dict.fromkeys(places, "")))
        try:
            replay(models, shorter, between)
        except (DecidedError, IntactError):
            half = len(places) // 2
            left += [places[half:], places[:half]] if half else []
        else:
            run = shorter
    return run.header.prompt


def _unrendered(models: Mapping[str, Model], run: RunReceipt, between: Callable[[], None] | None) -> list[int]:
    """Return the places of contents, not empty, whose ends are in no prompt of the run's texts.

    The method runs once more, on the same texts, with a mark behind each content. The marks depend on all contents, so
    that none can hold another's.
    """
    contents = _contents(run.header.prompt)
    if not any(contents):
        return []
    name = sha256(repr(run.header.prompt).encode(errors="surrogatepass")).hexdigest()[:16]
    marks = {place: f"{name}x{place}x" for place, content in enumerate(contents) if content}
    marked = {place: f"{contents[place]} {mark}" for place, mark in marks.items()}
    run = replace(run, header=replace(run.header, budget={}))  # which pays for the marks
    claims = _MarkedClaims(_with_prompt(run, _changed(run.header.prompt, marked)), between)
    claims.unseen = marks
    with suppress(DecidedError, IntactError):  # every mark is seen, or the method went another way because of the marks
        run_again(driver_of(models, claims, _MarkedBackend)[0], claims)
    return sorted(claims.unseen)


class _MarkedClaims(Claims):
    """The claims of a run with marks in its prompt.

    Attributes
    ----------
    unseen : dict of int to str
        The marks that no prompt of a text has had yet, by the places of their contents.
    """

    unseen: dict[int, str]

    def look(self, text: str) -> None:
        """Look for marks in the prompt of a text; raise DecidedError once all are found."""
        self.unseen = {place: mark for place, mark in self.unseen.items() if mark not in text}
        if not self.unseen:
            raise self.end(DecidedError(RunVerdict("true")))


class _MarkedBackend(ReplayBackend):
    """A back end that answers a run's texts whatever their prompts are, and looks for marks in these."""

    _claims: _MarkedClaims

    def __init__(self, model: Model, name: str, claims: _MarkedClaims) -> None:
        super().__init__(model, name, claims)
        self.context = LONGEST  # the marks must not leave less room

    def tokens_of(self, state: State) -> list[int]:
        """Return the tokens of a text that is about to be extended, in whose prompt marks are looked for."""
        self._claims.look(self.render(state.prompt))
        return super().tokens_of(state)

    def _check_header(self, generation: Generation, entry: TextEntry, index: int) -> None:
        self.tokens_of(generation.state)


def _contents(prompt: Prompt) -> Sequence[str]:
    return [prompt] if isinstance(prompt, str) else [content for _, content in prompt]


def _changed(prompt: Prompt, contents: Mapping[int, str]) -> Prompt:
    """Return a prompt with other contents at some places."""
    if isinstance(prompt, str):
        return contents.get(0, prompt)
    return tuple([(role, contents.get(place, content)) for place, (role, content) in enumerate(prompt)])


def _with_prompt(run: RunReceipt, prompt: Prompt) -> RunReceipt:
    return replace(run, header=replace(run.header, prompt=prompt))
