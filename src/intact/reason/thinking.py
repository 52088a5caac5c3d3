"""Thinking before the answer: the switch of chat templates, and a cap on thinking tokens."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from intact._base.errors import ParameterError
from intact.reason.problem import State
from intact.reason.requests import Extend, Race, WriteTogether
from intact.text import Tokenizer
from intact.text.thinking import BUDGET, ThinkingTags, find_thinking

MOST: Final = 1 << 24
"""Maximum thinking budget, in tokens."""


class ThoughtCap(NamedTuple):
    """Maximum number of thinking tokens per completion, and the marker that ends the thinking."""

    tokens: int
    closes: str


@dataclass(frozen=True)
class ThinkingMode:
    """The value of ``--thinking``: ``on``, ``off``, or the maximum number of thinking tokens per completion.

    Attributes
    ----------
    enabled : bool
        If true, models think first; if false, they do not.
    budget : int or None
        Number of tokens from the beginning of each completion after which its thinking is closed; None for no cap.
    """

    enabled: bool
    budget: int | None = None

    @classmethod
    def parse(cls, text: str) -> ThinkingMode:
        """Parse ``on``, ``off`` or a number of tokens.

        Raises
        ------
        ParameterError
            If the value is anything else.
        """
        if text in ("on", "off"):
            return cls(text == "on")
        if isinstance(text, str) and text.isascii() and text.isdecimal() and 0 < int(text) <= MOST and text[0] != "0":
            return cls(True, int(text))
        raise ParameterError(f"thinking must be on, off, or a number of tokens from 1 to {MOST:,}, got {text!r:.60}")

    def __str__(self) -> str:
        return str(self.budget) if self.budget is not None else "on" if self.enabled else "off"

    def variables(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """Return the variables for a model's chat template.

        Raises
        ------
        ParameterError
            If the model does not support the setting, or the marker that ends its thinking is unknown.
        """
        template, source = tokenizer.chat_template, tokenizer.template_source
        if template is None:
            raise ParameterError(f"thinking={self} needs a model with a chat template, but this model has none")
        form, switch = find_thinking(source), template.thinking_switch
        if switch is None and not self.enabled:
            found = "has no switch for it, such as enable_thinking" if form else "has no thinking"
            raise ParameterError(f"thinking=off has no effect: the model's chat template {found}; leave it out")
        if switch is None and form is None:
            raise ParameterError(
                f"thinking={self} has no effect: the model's chat template has no thinking; leave it out"
            )
        if self.budget is not None and not isinstance(form, ThinkingTags):
            raise ParameterError(
                f"thinking={self} needs a model whose chat template shows the tag that ends thoughts, such as "
                "</think>; give thinking=on, or cap whole texts (budget text=N)"
            )
        found_variables: dict[str, Any] = {} if switch is None else {switch: self.enabled}
        return found_variables | ({BUDGET: self.budget} if self.budget is not None and BUDGET in source else {})

    def cap(self, tokenizer: Tokenizer) -> ThoughtCap | None:
        """Return the cap on thinking for a model that `variables` accepts."""
        form = find_thinking(tokenizer.template_source)
        return (
            None if self.budget is None or not isinstance(form, ThinkingTags) else ThoughtCap(self.budget, form.closes)
        )


def common_thinking(backends: Iterable[Any]) -> ThinkingMode | None:
    """Return the thinking mode shared by the back ends; None if none is set.

    Raises
    ------
    ParameterError
        If the back ends have different modes.
    """
    found = {one.thinking for one in backends if getattr(one, "thinking", None) is not None}
    if len(found) > 1:
        raise ParameterError(
            "all models of a run must have the same thinking mode, got "
            f"thinking={' and '.join(sorted(map(str, found)))}"
        )
    return found.pop() if found else None


CapOf = Callable[[str], ThoughtCap | None]
"""Returns the cap on thinking of a model, by its name in requests."""


def with_capped_thoughts(steps: Generator[Any, Any, Any], cap_of: CapOf, default: int) -> Generator[Any, Any, Any]:
    """Serve a method's requests so that no completion has more thinking tokens than its model's cap allows.

    A completion is generated up to the end of its thinking, or up to the cap, where the closing marker is appended;
    then generation continues with the rest of its `max_tokens`. This is budget forcing without waits (arXiv
    2501.19393), for any method.

    Parameters
    ----------
    default : int
        The `max_tokens` of extensions that do not set it.

    Raises
    ------
    ParameterError
        Raised in the method if it requests a race or a completion by several workers, which cannot be split into two
        rounds.
    """
    value, error = None, None
    try:
        while True:
            try:
                request = steps.send(value) if error is None else steps.throw(error)
            except StopIteration as stop:
                return stop.value
            value, error = None, None
            try:
                value = yield from _serve(request, cap_of, default)
            except Exception as raised:
                error = raised
    finally:
        steps.close()


def _serve(request: Any, cap_of: CapOf, default: int) -> Generator[Any, Any, Any]:
    """Serve one request or a list in two rounds: up to the end of the thinking, and after it."""
    several = isinstance(request, list | tuple)
    requests = list(request) if several else [request]
    begun = [_Begun.of(one, cap_of, default) for one in requests]
    found = yield [own.request for own in begun] if several else begun[0].request
    results = list(found) if several else [found]
    further = {place: more for place, own in enumerate(begun) if (more := own.further(results[place])) is not None}
    if further:
        ends = yield list(further.values())
        for place, end in zip(further, ends, strict=True):
            results[place] = end
    return results if several else results[0]


class _Begun(NamedTuple):
    """The first round of a request.

    Attributes
    ----------
    whole : Extend or None
        The original request, if its completion may still be in the thinking part.
    cap : ThoughtCap or None
        The cap on its thinking.
    tokens : int
        Maximum number of tokens of the whole extension.
    """

    request: Any
    whole: Extend | None = None
    cap: ThoughtCap | None = None
    tokens: int = 0

    @classmethod
    def of(cls, request: Any, cap_of: CapOf, default: int) -> _Begun:
        runners = request.runners if isinstance(request, Race) else [request]
        caps = [cap_of(one.model) for one in runners if isinstance(one, Extend | WriteTogether)]
        if isinstance(request, Race | WriteTogether) and any(caps):
            raise ParameterError("a thinking budget cannot be combined with a race or a shared cache; give thinking=on")
        cap = caps[0] if caps else None
        if cap is None or request.regex is not None or request.grammar is not None or cap.closes in request.stop:
            return cls(request)
        state, tokens = request.state, request.max_tokens or default
        within = state.answer_part is None
        if not within and (state.length or cap.closes in state.text):
            return cls(request)  # the thinking is over
        left = cap.tokens - state.length
        if left <= 0:
            return cls(replace(request, state=_closed(state, cap)) if within else request)
        first = replace(request, stop=(cap.closes, *request.stop), max_tokens=min(left, tokens))
        return cls(first, request, cap, tokens)

    def further(self, state: State) -> Extend | None:
        """Return the extension after the end of the thinking, or None if nothing follows."""
        if self.whole is None or self.cap is None:
            return None
        left = self.tokens - (state.length - self.whole.state.length)
        ended = state.why == "stop" and self.cap.closes in state.last
        if left < 1 or not (ended or state.why == "length"):
            return None
        state = _closed(state, self.cap) if state.answer_part is None else state
        return replace(self.whole, state=state, max_tokens=left)


def _closed(state: State, cap: ThoughtCap) -> State:
    return state.append(f"\n{cap.closes}\n\n")
