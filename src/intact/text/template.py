"""Chat templates: conversations to prompts."""

import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from intact.errors import FormatError, ParameterError

if TYPE_CHECKING:
    import jinja2

    from intact.text.meter import MeteredEnvironment

Message = Mapping[str, Any]
"""A turn of a conversation: `role`, `content`, and whatever else the template knows."""

_LONGEST_SOURCE: Final = 1 << 17
"""Characters of a template: the longest known have tens of thousands, and each takes 14 microseconds to compile."""
_BUDGET_PER_OUTPUT: Final = 8
_FILE: Final = "<template>"
"""The name that jinja2 gives in tracebacks."""


class ChatTemplate:
    """A model's template for conversations, in the dialect of jinja2 that Hugging Face's models use.

    It runs in jinja2's immutable sandbox with `raise_exception`, `strftime_now` and `tojson`, blocks trimmed, `break`
    and `continue`; under limits on time and on output that no template can go beyond by much (see `intact.text.meter`).

    Parameters
    ----------
    source_text : str
        The template.
    tokens : mapping of str to str, optional
        Special tokens that the template may write, by the names that it knows them by, such as `bos_token`.
    tool_use : ChatTemplate, optional
        What is rendered instead when tools are given, for the models that have two templates.
    source : str
        The file it is from, for messages.
    seconds : float
        How long a rendering may take, of the processor's time.
    max_output : int
        How many characters a prompt may have. Eight times as many may be made on the way.
    """

    def __init__(
        self,
        source_text: str,
        *,
        tokens: Mapping[str, str] | None = None,
        tool_use: "ChatTemplate | None" = None,
        source: str = "the model",
        seconds: float = 2.0,
        max_output: int = 16_000_000,
    ) -> None:
        if not isinstance(source_text, str):
            raise FormatError(f"the chat template of {source} must be text, got {type(source_text).__name__}")
        self.source_text: Final = source_text
        self.tool_use: Final = tool_use
        self._tokens = {"bos_token": "", "eos_token": "", **(tokens or {})}
        self._source = source
        self._seconds = seconds
        self._max_output = max_output

    @property
    def sources(self) -> tuple[str, ...]:
        """The texts of all that may be rendered: this template, and last the one for tools."""
        return (self.source_text,) if self.tool_use is None else (self.source_text, *self.tool_use.sources)

    @property
    def dated(self) -> bool:
        """Whether the time is asked for."""
        return any("strftime_now" in text for text in self.sources)

    def render(
        self,
        messages: Sequence[Message],
        /,
        add_generation_prompt: bool = True,
        *,
        now: datetime | None = None,
        **variables: Any,
    ) -> str:
        """Write a conversation as a prompt.

        Parameters
        ----------
        messages : sequence of mappings
            The turns, each with a `role` and, as a rule, a `content`.
        add_generation_prompt : bool
            Whether the beginning of the assistant's answer follows.
        now : datetime, optional
            What a template that writes the date takes it from: by default the clock. Fix it to have the same prompt
            tomorrow.
        **variables
            Further variables of the template, such as `tools` or `enable_thinking`.

        Raises
        ------
        ParameterError
            If the messages are misshapen, or the template refuses them or fails on them.
        FormatError
            If the template is unreadable, or goes beyond its limits.
        """
        from intact.text.meter import LimitError, Meter

        if self.tool_use is not None and variables.get("tools") is not None:
            return self.tool_use.render(messages, add_generation_prompt, now=now, **variables)
        _check(messages)
        template = self._template
        given = {
            "messages": list(messages),
            "tools": None,
            "documents": None,
            **self._tokens,
            **variables,
            "add_generation_prompt": add_generation_prompt,
            "raise_exception": _raise_exception,
            "strftime_now": lambda format: (now or datetime.now()).strftime(format),  # noqa: A006
        }
        meter = Meter(self._seconds, _BUDGET_PER_OUTPUT * self._max_output)
        try:
            with closing(self._environment.run(meter, lambda: template.generate(given))) as pieces:
                return self._joined(pieces)
        except LimitError as error:
            raise FormatError(f"the chat template of {self._source} was stopped{_line(error)}: it {error}") from error
        except _Refusal as error:
            raise ParameterError(f"the chat template of {self._source} refuses these messages: {error}") from error
        except Exception as error:
            raise ParameterError(
                f"the chat template of {self._source} fails on these messages{_line(error)}: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _joined(self, pieces: Iterable[str]) -> str:
        from intact.text.meter import LimitError

        written: list[str] = []
        length = 0
        for piece in pieces:
            length += len(piece)
            if length > self._max_output:
                raise LimitError(f"wrote more than {self._max_output:,} characters")
            written.append(piece)
        return "".join(written)

    @cached_property
    def _environment(self) -> "MeteredEnvironment":
        from intact.text.meter import MeteredEnvironment

        return MeteredEnvironment()

    @cached_property
    def _template(self) -> "jinja2.Template":
        import jinja2

        if len(self.source_text) > _LONGEST_SOURCE:
            raise FormatError(
                f"the chat template of {self._source} has {len(self.source_text):,} characters; "
                f"expected at most {_LONGEST_SOURCE:,}"
            )
        try:
            return self._environment.from_string(self.source_text)
        except jinja2.TemplateSyntaxError as error:
            raise FormatError(
                f"the chat template of {self._source} is unreadable, line {error.lineno}: {error.message}"
            ) from error
        except Exception as error:  # what Python says of the code that jinja2 makes: nesting too deep, and the like
            raise FormatError(
                f"the chat template of {self._source} is unreadable: {type(error).__name__}: {error}"
            ) from error


class _Refusal(Exception):  # noqa: N818
    """What a template raises on purpose."""


def _raise_exception(message: object) -> None:
    raise _Refusal(message)


def _check(messages: Sequence[Message]) -> None:
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise ParameterError(
            f"messages must be a list of turns like {{'role': 'user', 'content': 'Hello'}}, "
            f"got {type(messages).__name__}"
        )
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ParameterError(f"messages[{index}] must be a mapping with a 'role', got {message!r:.60}")


def _line(error: BaseException) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _FILE]
    return f", line {lines[-1]}" if lines else ""
