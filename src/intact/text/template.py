"""Chat templates: convert conversations to prompts, with a fixed time for templates that include the date."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from intact._base.errors import FormatError, IntactError, ParameterError
from intact._base.process import LimitReached, WorkerFailure, WorkerProcess
from intact.text.thinking import SWITCHES
from intact.text.tool_calls.base import read_json

Message = Mapping[str, Any]
"""A turn of a conversation: `role`, `content`, and any other fields that the template uses."""

DEFAULT_NOW: Final = datetime(2024, 7, 26)
"""Default time for runs of methods: the date that Llama's own templates use if there is no clock."""
_LONGEST_SOURCE: Final = 1 << 17
"""Maximum length of a template in characters: the longest known have tens of thousands, at 14 us each to compile."""
_COMPILING: Final = 20.0
"""Processor time limit for compiling a template, in seconds."""
_GRACE: Final = 0.25
"""Seconds past the rendering limit after which the kernel kills a process that does not stop on its own."""
_MEMORY: Final = 512 << 20
"""Address space limit of the rendering process, in bytes."""
_ATTEMPTS: Final = 8
"""Maximum number of compilations per rendering, in case other templates end the process or evict this one."""
_END_MARK: Final = "intactEndOfUnfinishedMessage7c1f"
"""Appended to the content of a message to be continued, to find its end in the prompt."""

_renderer: Final = WorkerProcess(
    Path(__file__).with_name("template_worker.py"),
    "jinja2",
    seconds=_COMPILING,
    memory=_MEMORY,
    limits={"NOFILE": 0},
)


def prepare() -> None:
    """Start the rendering process in the background, so that the first rendering does not have to wait for it."""
    with suppress(IntactError):  # the first rendering raises it again
        _renderer.prepare()


class ChatTemplate:
    """A model's chat template, in the jinja2 dialect of Hugging Face models.

    It runs in jinja2's immutable sandbox with `raise_exception`, `strftime_now` and `tojson`, trimmed blocks, and
    `break` and `continue`, in a worker process whose time and memory the kernel limits (`intact._base.process`).

    Parameters
    ----------
    source_text : str
        Source of the template.
    tokens : mapping of str to str, optional
        Special tokens available to the template, by name, such as `bos_token`.
    tool_use : ChatTemplate, optional
        Template to use instead when tools are given, for models that have both.
    source : str
        File name for error messages.
    seconds : float
        Processor time limit per rendering, in seconds.
    max_output : int
        Maximum number of characters in a prompt.
    """

    def __init__(
        self,
        source_text: str,
        *,
        tokens: Mapping[str, str] | None = None,
        tool_use: ChatTemplate | None = None,
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

    def with_source(self, source_text: str) -> ChatTemplate:
        """Return a template with another source, and the same special tokens and limits."""
        return ChatTemplate(
            source_text,
            tokens=self._tokens,
            source=self._source,
            seconds=self._seconds,
            max_output=self._max_output,
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources of this template and of the template for tools, which comes last."""
        return (self.source_text,) if self.tool_use is None else (self.source_text, *self.tool_use.sources)

    @property
    def uses_time(self) -> bool:
        """True if the template may include the date or time."""
        return any("strftime_now" in text for text in self.sources)

    @property
    def knows_tools(self) -> bool:
        """True if the template may include `tools` in the prompt."""
        return "tools" in self.sources[-1]

    @cached_property
    def takes_system(self) -> bool:
        """True if the template supports a system message; false if it rejects or ignores one."""
        mark = "system message"
        turns = [{"role": "system", "content": mark}, {"role": "user", "content": "Hello"}]
        try:
            return mark in self.render(turns, now=DEFAULT_NOW)
        except ParameterError:
            return False

    @cached_property
    def thinking_switch(self) -> str | None:
        """Template variable that switches thinking on or off; None if there is none."""
        turns = [{"role": "user", "content": "Hello"}]
        for name in SWITCHES:
            if any(name in text for text in self.sources):
                with suppress(ParameterError):
                    prompts = {self.render(turns, now=DEFAULT_NOW, **{name: value}) for value in (True, False)}
                    if len(prompts) > 1:
                        return name
        return None

    def render(
        self,
        messages: Sequence[Message],
        /,
        add_generation_prompt: bool = True,
        *,
        continue_final_message: bool = False,
        now: datetime | None = None,
        **variables: Any,
    ) -> str:
        """Render a conversation as a prompt.

        Parameters
        ----------
        messages : sequence of mappings
            Turns, each with a `role` and usually a `content`.
        add_generation_prompt : bool
            If true, append the beginning of the assistant's answer.
        continue_final_message : bool
            If true, the last message is an unfinished message of the assistant: the prompt ends with its content, and
            `add_generation_prompt` has no effect. The name is the same as in Transformers and vLLM.
        now : datetime, optional
            Time for templates that include the date; by default the current time. Set it to get the same prompt on
            another day.
        **variables
            Further template variables, such as `tools` or `enable_thinking`: strings, numbers, booleans, None, and
            lists, tuples or mappings of these.

        Raises
        ------
        ParameterError
            If the messages are malformed, or the template rejects them or fails on them; if the last message cannot be
            continued.
        FormatError
            If the template is unreadable, exceeds its limits, or cannot be rendered on this machine.
        """
        if self.tool_use is not None and variables.get("tools") is not None:
            return self.tool_use.render(
                messages, add_generation_prompt, continue_final_message=continue_final_message, now=now, **variables
            )
        _check(messages)
        if not isinstance(continue_final_message, bool):
            raise ParameterError(f"continue_final_message must be True or False, got {continue_final_message!r:.60}")
        if continue_final_message:
            begun = self.render(_marked(messages), False, now=now, **variables)
            end = begun.rfind(_END_MARK)
            if end < 0:
                raise ParameterError(
                    f"the chat template of {self._source} leaves out the last message, so it cannot be continued"
                )
            return begun[:end]
        given = {
            "messages": list(messages),
            "tools": None,
            "documents": None,
            **self._tokens,
            **variables,
            "add_generation_prompt": add_generation_prompt,
        }
        values = {name: _plain(value, name) for name, value in given.items()}
        time = _parts_of(now or datetime.now())
        reply = self._render(values, time)
        if "failure" in reply and (texts := _with_arguments(values["messages"], _as_json)) != values["messages"]:
            other = self._render({**values, "messages": texts}, time)  # DeepSeek's templates join arguments and text
            reply = other if "text" in other else reply
        line = f", line {reply['line']}" if reply.get("line") else ""
        if "limit" in reply:
            raise FormatError(f"the chat template of {self._source} was stopped{line}: it {reply['limit']}")
        if "refusal" in reply:
            raise ParameterError(f"the chat template of {self._source} refuses these messages: {reply['refusal']}")
        if "failure" in reply:
            raise ParameterError(
                f"the chat template of {self._source} fails on these messages{line}: {reply['failure']}"
                f"{_no_text(messages)}"
            )
        text: str = reply["text"]
        return text

    def _render(self, values: dict[str, Any], now: tuple[str, float | None, str | None]) -> dict[str, Any]:
        """Return the worker's reply (`intact.text.template_worker.render`)."""
        request = (self._name, values, now, self._seconds, self._max_output)
        seconds, longest = self._seconds + _GRACE, _reply(self._max_output)
        for _ in range(_ATTEMPTS):
            try:
                reply: dict[str, Any] | None = _renderer.ask("render", *request, seconds=seconds, reply=longest)
            except LimitReached as error:
                return {"limit": str(error)}
            except WorkerFailure as error:
                return {"failure": str(error)}
            except ValueError as error:
                if isinstance(error, IntactError):
                    raise self._not_here(error) from error
                raise ParameterError(f"messages are nested too deeply: {error}") from error
            if reply is not None:
                return reply
            self._compile()
        return {"limit": "had to be compiled too often, because other templates kept ending its worker process"}

    def _compile(self) -> None:
        """Compile the template in the worker.

        Raises
        ------
        FormatError
            If it is unreadable.
        """
        if len(self.source_text) > _LONGEST_SOURCE:
            raise FormatError(
                f"the chat template of {self._source} has {len(self.source_text):,} characters; "
                f"expected at most {_LONGEST_SOURCE:,}"
            )
        try:
            problem = _renderer.ask("compile", self._name, self.source_text)
        except (LimitReached, WorkerFailure) as error:
            problem = f": compiling it {error}"
        except IntactError as error:
            raise self._not_here(error) from error
        if problem is not None:
            raise FormatError(f"the chat template of {self._source} is unreadable{problem}")

    def _not_here(self, error: IntactError) -> FormatError:
        return FormatError(f"the chat template of {self._source} cannot be rendered here: {error}")

    @cached_property
    def _name(self) -> str:
        """Name of the template in the worker."""
        return hashlib.sha256(self.source_text.encode("utf-8", "surrogatepass")).hexdigest()


def _reply(characters: int) -> int:
    """Return the maximum size in bytes of a reply with this many characters; JSON escapes take up to six bytes."""
    return 6 * characters + 4096


def _parts_of(now: datetime) -> tuple[str, float | None, str | None]:
    """Return a time without its zone, the zone's offset in seconds, and the zone's name."""
    offset = now.utcoffset()
    return now.replace(tzinfo=None).isoformat(), None if offset is None else offset.total_seconds(), now.tzname()


def _plain(value: Any, where: str) -> Any:
    """Convert a value to Python's own types.

    Raises
    ------
    ParameterError
        If it contains anything else, or is nested too deeply.
    """
    try:
        return _as_plain(value, where)
    except RecursionError:
        raise ParameterError(f"{where} is nested too deeply") from None


def _as_plain(value: Any, where: str) -> Any:
    if value is None or type(value) in (str, bool, int, float):
        return value
    if isinstance(value, Mapping):
        return {_as_plain(key, where): _as_plain(item, f"{where}[{key!r:.40}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_as_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise ParameterError(
        f"{where} must be text, numbers, booleans, None, or lists, tuples or mappings of these, "
        f"got {type(value).__name__}"
    )


def _check(messages: Sequence[Message]) -> None:
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise ParameterError(
            f"messages must be a list of turns like {{'role': 'user', 'content': 'Hello'}}, "
            f"got {type(messages).__name__}"
        )
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ParameterError(f"messages[{index}] must be a mapping with a 'role', got {message!r:.60}")


def _marked(messages: Sequence[Message]) -> list[Message]:
    """Return messages with a mark at the end of the last one, which must be an unfinished message of the assistant."""
    last = messages[-1] if messages else {}
    content = last.get("content")
    if last.get("role") != "assistant" or last.get("tool_calls") or not content or not isinstance(content, str):
        raise ParameterError(
            "the last message cannot be continued: it must be an assistant message with text and no tool calls"
        )
    return [*messages[:-1], {**last, "content": content + _END_MARK}]


def with_argument_values(messages: Sequence[Message]) -> Sequence[Message]:
    """Convert JSON arguments of tool calls to objects, as templates expect.

    OpenAI's format has JSON text, which templates would encode again. Text that is not a JSON object is left unchanged.
    """
    return _with_arguments(messages, _as_value)


def _as_value(arguments: Any) -> Any:
    """Return the object that arguments encode as JSON text, or the arguments unchanged."""
    try:
        value = read_json(arguments) if isinstance(arguments, str) else None
    except ValueError:
        return arguments
    return value if isinstance(value, dict) else arguments


def _as_json(arguments: Any) -> Any:
    """Return arguments that are an object as JSON text, and other arguments unchanged."""
    return json.dumps(arguments, ensure_ascii=False) if isinstance(arguments, dict) else arguments


def _with_arguments(messages: Sequence[Message], change: Callable[[Any], Any]) -> Sequence[Message]:
    """Return messages with the arguments of tool calls changed; the same object if there are no calls."""

    def changed(call: Any) -> Any:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or "arguments" not in function:
            return call
        return {**call, "function": {**function, "arguments": change(function["arguments"])}}

    def in_message(message: Message) -> Message:
        calls = message.get("tool_calls") if isinstance(message, Mapping) else None
        return {**message, "tool_calls": list(map(changed, calls))} if isinstance(calls, list | tuple) else message

    if not isinstance(messages, list | tuple) or not any(
        isinstance(one, Mapping) and one.get("tool_calls") for one in messages
    ):
        return messages
    return list(map(in_message, messages))


def _no_text(messages: Sequence[Message]) -> str:
    """Return the part of an error message that names the first message without text content, or ""."""
    for index, message in enumerate(messages):
        if not isinstance(content := message.get("content"), str):
            found = (
                "has no 'content'" if "content" not in message else f"has a 'content' of type {type(content).__name__}"
            )
            return f"; messages[{index}] {found}: this template may expect a string"
    return ""


def current() -> datetime:
    """Return the local time in whole seconds."""
    return datetime.now().replace(microsecond=0)


def read_time(value: datetime | str) -> datetime:
    """Parse an ISO 8601 time such as ``2026-11-20T17:45:00``; a date without a time means midnight.

    Raises
    ------
    ParameterError
        If the string is not such a time.
    """
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ParameterError(f"now must be a time such as 2026-11-20T17:45:00, got {value!r:.60}") from None


def exact_time(text: str) -> datetime | None:
    """Return the time whose `isoformat` is exactly this string, or None."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.isoformat() == text else None
