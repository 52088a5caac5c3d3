"""Requests for chat answers from values of other tools, and the answers: a text, its tool calls and its receipt."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import quote

from intact._base.errors import EndpointError, ParameterError
from intact.checkpoints.catalogue import DEFAULT, resolve
from intact.checkpoints.formats import open_checkpoint
from intact.integrations.chat_source import ChatSource, ServerSource, check_address, open_source
from intact.integrations.opening import OpenedLater
from intact.models import build_program
from intact.reason.backends.openai_key import KEY

_CALL = ("name", "arguments")
_OWN = ("now", "id", "regex", "grammar", "mix", "shadow", "priority", "deadline", "method", "parameters", "budget")
"""Options that are fields of `intact` in requests."""


class ChatText(NamedTuple):
    """An answer.

    Attributes
    ----------
    text, thoughts
        The answer, and the reasoning before it.
    calls
        Tool calls in OpenAI's format.
    finish
        The finish reason: stop, length or tool_calls.
    receipt
        The receipt as a JSON object, unless the server gave none.
    usage, model, fingerprint
        Token counts, the model's name, and the server's `system_fingerprint`.
    """

    text: str
    thoughts: str
    calls: list[dict[str, Any]]
    finish: str
    receipt: dict[str, Any] | None
    usage: dict[str, int]
    model: str
    fingerprint: str


class ChatModel:
    """A model in this process, or on a server, that answers messages; it is opened by the first request.

    Parameters
    ----------
    model : str
        Model name or file; its name on the server, with `base_url`.
    base_url : str, optional
        Address of an ``intact serve``, with or without ``/v1``. Without one, the model is loaded in this process.
    api_key : str, optional
        The server's key; by default that in the environment variable INTACT_API_KEY.
    options : mapping, optional
        Options of all requests: max_tokens, temperature, top_p, seed, stop, and others of the chat API; now, regex,
        grammar, mix, method and other fields of `intact` (docs/server.md).
    **loading
        Arguments of `intact.load` for a model in this process: profile, threads.

    Raises
    ------
    IntactError
        If an argument is invalid.
    """

    def __init__(
        self,
        model: str = DEFAULT,
        base_url: str | None = None,
        api_key: str | None = None,
        options: Mapping[str, Any] | None = None,
        **loading: Any,
    ) -> None:
        if not isinstance(model, str) or not model:
            raise ParameterError(f"model must be a model's name or file, got {model!r:.60}")
        self.model = model
        self._options = dict(options or {})
        given = {name: value for name, value in loading.items() if value is not None}
        key = api_key or os.environ.get(KEY)
        if base_url is not None:
            if given:
                raise ParameterError(f"{min(given)} cannot be set for a server: start it with these options")
            check_address(base_url)
        self._source: OpenedLater[ChatSource] = OpenedLater(lambda: open_source(model, base_url, key, **given))

    def ask(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> ChatText:
        """Return the answer to messages in OpenAI's format; options override the model's.

        Raises
        ------
        IntactError
            If the request is invalid, the model is not here, or the server cannot be reached or answers with an error.
        """
        return read_answer(self._source.get().complete(self._body(messages, options)))

    def stream(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> Iterator[ChatText]:
        """Yield the answer that `ask` would return in pieces; the last ones have finish reason, receipt and usage.

        Tool calls are given in parts as in OpenAI's streams. Leaving the iterator early ends the answer.
        """
        wanted = {"stream_options": {"include_usage": True}}
        body = self._body(messages, options) | wanted
        with closing(self._source.get().stream(body)) as chunks:
            for chunk in chunks:
                yield read_piece(chunk)

    def _body(self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in options.items() if value is not None}
        return request_body(self.model, messages, self._options | given)

    def context(self) -> int | None:
        """Return the maximum number of tokens of a prompt and its answer; None where a server does not know it yet."""
        source = self._source.get()
        if isinstance(source, ServerSource):
            length = source.get(f"models/{quote(self.model)}").get("max_model_len")
            return length if isinstance(length, int) else None
        with open_checkpoint(resolve(self.model)) as checkpoint:
            return build_program(checkpoint).context

    def close(self) -> None:
        """Unload the model, or close connections; the next request opens it again."""
        self._source.close()


def request_body(model: str, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request for one answer with a receipt; options that are None are left out."""
    given = {name: value for name, value in options.items() if value is not None}
    own = {name: given.pop(name) for name in _OWN if name in given}
    own = {"receipt": True} | own | dict(given.pop("intact", {}))
    return {"model": model, "messages": [dict(one) for one in messages], **given, "intact": own}


def read_answer(reply: Mapping[str, Any]) -> ChatText:
    """Return the first choice of a response.

    Raises
    ------
    EndpointError
        If a member is missing or has the wrong type.
    """
    answer = _read(reply, "message")
    for call in answer.calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not all(isinstance(function.get(one), str) for one in _CALL):
            raise _malformed(reply)
    return answer


def read_piece(chunk: Mapping[str, Any]) -> ChatText:
    """Return a chunk of a stream as the part of the answer that it has; errors as in `read_answer`."""
    return _read(chunk if chunk.get("choices") else {**chunk, "choices": [{"delta": {}}]}, "delta")


def accumulate(pieces: Iterable[ChatText]) -> Iterator[tuple[ChatText, ChatText]]:
    """Yield each piece of a stream with the answer up to it."""
    whole = ChatText("", "", [], finish="", receipt=None, usage={}, model="", fingerprint="")
    calls: dict[int, dict[str, Any]] = {}
    for piece in pieces:
        for call in piece.calls:
            _extend(calls, call)
        whole = ChatText(
            whole.text + piece.text,
            whole.thoughts + piece.thoughts,
            [calls[index] for index in sorted(calls)],
            finish=piece.finish or whole.finish,
            receipt=piece.receipt or whole.receipt,
            usage=piece.usage or whole.usage,
            model=piece.model or whole.model,
            fingerprint=piece.fingerprint or whole.fingerprint,
        )
        yield piece, whole


def _extend(calls: dict[int, dict[str, Any]], part: Mapping[str, Any]) -> None:
    """Add a part of a tool call from a stream."""
    index, function = part.get("index"), part.get("function") or {}
    known = calls.get(index if isinstance(index, int) else 0, {"function": {"name": "", "arguments": ""}})
    joined = {name: known["function"][name] + str(function.get(name) or "") for name in _CALL}
    name = part.get("id") or known.get("id")
    calls[index if isinstance(index, int) else 0] = {"id": name, "type": "function", "function": joined}


def _read(reply: Mapping[str, Any], member: str) -> ChatText:
    try:
        choice = reply["choices"][0]
        message = choice[member]
        text, thoughts = message.get("content") or "", message.get("reasoning_content") or ""
        calls, receipt = message.get("tool_calls") or [], choice.get("receipt")
        usage = reply.get("usage") or {}
        counts = {name: value for name, value in usage.items() if isinstance(value, int)}
        names = [str(value or "") for value in (reply.get("model"), reply.get("system_fingerprint"))]
        finish = str(choice.get("finish_reason") or "")
    except (AttributeError, IndexError, KeyError, TypeError):
        raise _malformed(reply) from None
    if not all(isinstance(one, str) for one in (text, thoughts)) or not isinstance(calls, list):
        raise _malformed(reply)
    if not isinstance(receipt, dict | None):
        raise _malformed(reply)
    return ChatText(
        text, thoughts, calls, finish=finish, receipt=receipt, usage=counts, model=names[0], fingerprint=names[1]
    )


def _malformed(reply: Mapping[str, Any]) -> EndpointError:
    return EndpointError(f"the server's reply is not a chat completion: {json.dumps(reply)[:200]}")
