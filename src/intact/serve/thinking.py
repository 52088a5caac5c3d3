"""Thinking before the answer: whether a chat template knows it, its variables, and the thoughts apart from the text."""

from __future__ import annotations

from intact.serve.chat import Chat
from intact.serve.models import Served
from intact.serve.requests import ChatRequest
from intact.serve.tools import PROMPT_TAIL
from intact.text.thinking import THINK_TAGS, ThoughtReader, find_thinking

SWITCH = "enable_thinking"
"""The variable by which chat templates know whether a model should think first."""
LEVELS = "reasoning_effort"
"""The variable by which templates know how much."""


def can_think(source: str) -> bool:
    """Return whether a chat template is that of a model that can think first."""
    return SWITCH in source or find_thinking(source) is not None


def template_source(served: Served) -> str:
    """Return the texts of a model's chat templates; empty if it has none."""
    template = served.loaded.tokenizer.chat_template
    return "" if template is None else "".join(template.sources)


def with_variable(request: ChatRequest, name: str, value: bool | str) -> ChatRequest:
    """Return a request with a variable of the template, `SWITCH` or `LEVELS`."""
    return request.model_copy(update={"chat_template_kwargs": {**(request.chat_template_kwargs or {}), name: value}})


def thought_reader(chat: Chat) -> ThoughtReader:
    """Return a reader of the thoughts at the beginning of an answer; some prompts end with their opening mark."""
    form = find_thinking(template_source(chat.served)) or THINK_TAGS
    return form.reader(chat.served.loaded.tokenizer.decode(chat.job.prompt[-PROMPT_TAIL:], skip_special=False))
