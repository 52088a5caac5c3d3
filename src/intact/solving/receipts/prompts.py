"""The part of a run's prompt that something in the run was computed from: a receipt states no other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Final

from intact._base.errors import IntactError
from intact.library import Model
from intact.reason.backends.base import Generation
from intact.reason.problem import Prompt, State
from intact.solving.receipts.claims import Claims
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.entries import TextEntry
from intact.solving.receipts.replay import ReplayBackend, driver_of, replay, run_again
from intact.solving.receipts.verdict import DecidedError, RunVerdict

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
        As of `intact.solving.receipts.replay.replay`.
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
    name = sha256(repr(run.header.prompt).encode(errors="surrogatepass")).hexdigest()[:16]
    marked = {place: f"{content} {name}x{place}x" for place, content in enumerate(contents) if content}
    if not marked:
        return []
    run = replace(run, header=replace(run.header, budget={}))  # which pays for the marks
    claims = _MarkedClaims(_with_prompt(run, _changed(run.header.prompt, marked)), between)
    claims.mark, claims.unseen = re.compile(rf"{name}x(\d+)x"), set(marked)
    with suppress(DecidedError, IntactError):  # every mark is seen, or the method went another way because of the marks
        run_again(driver_of(models, claims, _MarkedBackend)[0], claims)
    return sorted(claims.unseen)


class _MarkedClaims(Claims):
    """The claims of a run with marks in its prompt.

    Attributes
    ----------
    mark : re.Pattern
        A mark, with the place of its content.
    unseen : set of int
        The places whose marks no prompt of a text has had yet.
    """

    mark: re.Pattern[str]
    unseen: set[int]

    def look(self, text: str) -> None:
        """Look for marks in the prompt of a text; raise DecidedError once all are found."""
        self.unseen -= set(map(int, self.mark.findall(text)))
        if not self.unseen:
            raise self.end(DecidedError(RunVerdict("true")))


class _MarkedBackend(ReplayBackend):
    """A back end that answers a run's texts whatever their prompts are, and looks for marks in these."""

    _claims: _MarkedClaims

    def __init__(self, model: Model, name: str, claims: _MarkedClaims) -> None:
        super().__init__(model, name, claims)
        self.context = LONGEST  # the marks must not leave less room
        self._searched = set[Prompt]()

    def tokens_of(self, state: State) -> list[int]:
        """Return the tokens of a text that workers are about to write together, if the run has such a text."""
        if self._claims.together:
            self._search(state.prompt)
        return super().tokens_of(state)

    def _check_header(self, generation: Generation, entry: TextEntry, index: int) -> None:
        self._search(generation.state.prompt)

    def _search(self, prompt: Prompt) -> None:
        if prompt not in self._searched:
            self._searched.add(prompt)
            self._claims.look(self.render(prompt))


def _contents(prompt: Prompt) -> Sequence[str]:
    return [prompt] if isinstance(prompt, str) else [content for _, content in prompt]


def _changed(prompt: Prompt, contents: Mapping[int, str]) -> Prompt:
    """Return a prompt with other contents at some places."""
    if isinstance(prompt, str):
        return contents.get(0, prompt)
    return tuple([(role, contents.get(place, content)) for place, (role, content) in enumerate(prompt)])


def _with_prompt(run: RunReceipt, prompt: Prompt) -> RunReceipt:
    return replace(run, header=replace(run.header, prompt=prompt))
