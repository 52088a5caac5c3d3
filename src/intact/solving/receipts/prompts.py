"""Finding the part of a run's prompt from which the run was computed; a receipt states only this part."""

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
"""Maximum number of tokens in a prompt that contains marks."""


def needed_prompt(models: Mapping[str, Model], run: RunReceipt, between: Callable[[], None] | None = None) -> Prompt:
    """Return the prompt of a run, with every message content emptied from which nothing was computed.

    A message's content counts as read if the chat template renders it into the context of a completion, or else if the
    replay of the run differs without it. A plain-text prompt counts as one content.

    Parameters
    ----------
    run : RunReceipt
        A run whose replay finds no false claim.
    between : callable, optional
        As for `intact.solving.receipts.replay.replay`.
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
    """Return the indices of non-empty message contents whose ends do not appear in any prompt of the run's completions.

    The method is rerun on the same completions, with a mark appended to each content. The marks depend on all contents,
    so no content can include the mark of another one.
    """
    contents = _contents(run.header.prompt)
    name = sha256(repr(run.header.prompt).encode(errors="surrogatepass")).hexdigest()[:16]
    marked = {place: f"{content} {name}x{place}x" for place, content in enumerate(contents) if content}
    if not marked:
        return []
    run = replace(run, header=replace(run.header, budget={}))  # marks take extra tokens
    claims = _MarkedClaims(_with_prompt(run, _changed(run.header.prompt, marked)), between)
    claims.mark, claims.unseen = re.compile(rf"{name}x(\d+)x"), set(marked)
    with suppress(DecidedError, IntactError):  # all marks were seen, or they changed the course of the method
        run_again(driver_of(models, claims, _MarkedBackend)[0], claims)
    return sorted(claims.unseen)


class _MarkedClaims(Claims):
    """The claims of a run with marks in its prompt.

    Attributes
    ----------
    mark : re.Pattern
        The pattern of a mark, which captures the index of its content.
    unseen : set of int
        The indices of contents whose marks have not appeared in the prompt of any completion.
    """

    mark: re.Pattern[str]
    unseen: set[int]

    def look(self, text: str) -> None:
        """Look for marks in the prompt of a completion; raise DecidedError once all have been found."""
        self.unseen -= set(map(int, self.mark.findall(text)))
        if not self.unseen:
            raise self.end(DecidedError(RunVerdict("true")))


class _MarkedBackend(ReplayBackend):
    """A back end that answers with a run's completions regardless of the prompts, and looks for marks in them."""

    _claims: _MarkedClaims

    def __init__(self, model: Model, name: str, claims: _MarkedClaims) -> None:
        super().__init__(model, name, claims)
        self.context = LONGEST  # marks must not reduce the available context
        self._searched = set[Prompt]()

    def tokens_of(self, state: State) -> list[int]:
        """Return the tokens of a state, after searching its prompt for marks if the run has completions by workers."""
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
    """Return a prompt with its message contents replaced at the given indices."""
    if isinstance(prompt, str):
        return contents.get(0, prompt)
    return tuple([(role, contents.get(place, content)) for place, (role, content) in enumerate(prompt)])


def _with_prompt(run: RunReceipt, prompt: Prompt) -> RunReceipt:
    return replace(run, header=replace(run.header, prompt=prompt))
