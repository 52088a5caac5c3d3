"""The field `think`: what it means to a model's chat template, and the thoughts apart from the answer."""

from __future__ import annotations

from dataclasses import dataclass

from intact.serve.chat import Chat
from intact.serve.errors import ApiError
from intact.serve.models import Served
from intact.serve.requests import ChatRequest
from intact.text.thinking import THINK_TAGS, ThoughtReader

SWITCH = "enable_thinking"
"""The variable by which templates know whether a model should think first."""
LEVELS = "reasoning_effort"
"""The variable by which templates know how much."""


def can_think(source: str) -> bool:
    """Return whether a chat template is that of a model that can think first."""
    return SWITCH in source or THINK_TAGS.opens in source


@dataclass(frozen=True)
class ThinkChoice:
    """The choice of a request: true, false, a level such as "low", or None for what the model does by default.

    By default thoughts are a part of the content, as on `/v1/chat/completions`.
    """

    think: bool | str | None

    def prepare(self, request: ChatRequest, served: Served) -> ChatRequest:
        """Return the request with the template's variables.

        Raises
        ------
        ApiError
            400, if the model cannot think, or not otherwise.
        """
        if self.think is None:
            return request
        template = served.loaded.tokenizer.chat_template
        source = "" if template is None else "".join(template.sources)
        if isinstance(self.think, str):
            if LEVELS not in source:
                raise _refusal(f"think value {self.think!r:.60} is not supported for this model; give true or false")
            return _with_variable(request, LEVELS, self.think)
        if self.think and not can_think(source):
            raise _refusal(f'"{served.name}" does not support thinking')
        if self.think and request.response_format is not None:
            raise _refusal("think cannot be combined with format: thoughts do not fit it")
        if SWITCH in source:
            return _with_variable(request, SWITCH, self.think)
        if can_think(source) and not self.think:
            raise _refusal(f'"{served.name}" always thinks: its template has no {SWITCH}')
        return request

    def reader(self, chat: Chat) -> ThoughtReader | None:
        """Return what tells thoughts from the answer, if the request wants them apart."""
        if not self.think:
            return None
        end = chat.served.loaded.tokenizer.decode(chat.job.prompt[-8:], skip_special=False)
        return ThoughtReader(THINK_TAGS, end.rstrip().endswith(THINK_TAGS.opens))


def _with_variable(request: ChatRequest, name: str, value: bool | str) -> ChatRequest:
    return request.model_copy(update={"chat_template_kwargs": {**(request.chat_template_kwargs or {}), name: value}})


def _refusal(message: str) -> ApiError:
    return ApiError(400, message, "think", "unsupported")
