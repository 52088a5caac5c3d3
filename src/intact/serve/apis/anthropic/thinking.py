"""Thinking before the answer, of the models whose chat templates have a switch for it."""

from __future__ import annotations

from intact.serve.apis.anthropic.forms import TokensRequest
from intact.serve.chat import Chat
from intact.serve.errors import ApiError
from intact.serve.models import Served
from intact.text.thinking import THINK_TAGS, ThoughtReader

SWITCH = "enable_thinking"
"""The variable of chat templates that says whether the model shall think."""
_TAIL = 8
"""Tokens at the end of a prompt in which an opening mark is looked for."""


def is_enabled(request: TokensRequest) -> bool:
    """Return whether a request enables thinking."""
    return request.thinking is not None and request.thinking.type != "disabled"


def check(request: TokensRequest, served: Served) -> None:
    """Refuse to enable thinking where it would have no effect, or could not be told from the text.

    Raises
    ------
    ApiError
        400, naming the field.
    """
    if not is_enabled(request):
        return
    template, choice, output = served.loaded.tokenizer.chat_template, request.tool_choice, request.output_config
    if template is None or not any(SWITCH in source for source in template.sources):
        message = f"thinking cannot be enabled: the chat template of {served.name} has no {SWITCH}"
        raise ApiError(400, message, "thinking", "unsupported")
    if (choice is not None and choice.type in ("any", "tool")) or (output is not None and output.format is not None):
        message = (
            "thinking cannot be enabled where calls are required or the output has a format, as neither has thoughts"
        )
        raise ApiError(400, message, "thinking", "unsupported")


def reader(chat: Chat) -> ThoughtReader:
    """Return a reader of the thoughts at the beginning of an answer; some prompts end with their opening mark."""
    end = chat.served.loaded.tokenizer.decode(chat.job.prompt[-_TAIL:], skip_special=False)
    return ThoughtReader(THINK_TAGS, end.rstrip().endswith(THINK_TAGS.opens))
