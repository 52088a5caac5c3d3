"""Thinking before the answer: support in chat templates, their variables, and separation of thinking from answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

from intact.serve.models import Served
from intact.serve.requests import ChatRequest
from intact.text import Tokenizer
from intact.text.thinking import PROMPT_TAIL, SWITCH, THINK_TAGS, ThinkingTags, ThoughtReader, find_thinking

LEVELS = "reasoning_effort"
"""The template variable for the amount of thinking."""
MakeReader: TypeAlias = Callable[[], ThoughtReader]


def can_think(source: str) -> bool:
    """Return true if a chat template belongs to a model that can think before it answers."""
    return SWITCH in source or find_thinking(source) is not None


def template_source(served: Served) -> str:
    """Return the source of a model's chat templates; empty if it has none."""
    return served.loaded.tokenizer.template_source


def with_variable(request: ChatRequest, name: str, value: bool | str) -> ChatRequest:
    """Return a request with a template variable set, `SWITCH` or `LEVELS`."""
    return request.model_copy(update={"chat_template_kwargs": {**(request.chat_template_kwargs or {}), name: value}})


def thought_readers(served: Served, request: ChatRequest, prompt: list[int]) -> MakeReader:
    """Return a function that creates parsers of the thinking at the beginning of an answer.

    Some prompts end with the opening marker of the thinking, and so may a message that the answer continues.
    """
    form = find_thinking(template_source(served)) or THINK_TAGS
    before = served.loaded.tokenizer.decode(prompt[-PROMPT_TAIL:], skip_special=False)
    if request.continue_final_message and isinstance(form, ThinkingTags):
        begun = request.messages[-1].as_turn("messages")["content"].lstrip()
        if begun.startswith(form.opens) and form.closes not in begun:
            before = form.opens
    return partial(form.reader, before)


def thought_tokens(tokenizer: Tokenizer, reader: ThoughtReader, tokens: Iterable[int]) -> int:
    """Return the number of tokens before the answer, including markers; 0 if there is no thinking."""
    decoder, count, has_thoughts = tokenizer.stream(), 0, False
    for token in tokens:
        for is_thought, _ in reader.push(decoder.push(token) if token < tokenizer.size else ""):
            if not is_thought:
                return count if has_thoughts else 0
            has_thoughts = True
        count += 1
    held = reader.push(decoder.flush()) + reader.flush()
    return count if has_thoughts or any(is_thought for is_thought, _ in held) else 0
