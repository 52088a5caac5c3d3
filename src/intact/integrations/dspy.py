"""DSPy: a language model whose answers carry receipts (docs/integrations.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from typing import Any

from intact._base.errors import IntactError, NotInstalledError, ParameterError
from intact._base.packages import install, missing

if missing("dspy"):
    raise NotInstalledError(f"the plug-in for DSPy needs dspy: {install('dspy')}")

import anyio
import dspy
from dspy import lm15

from intact.checkpoints.catalogue import DEFAULT
from intact.integrations.chat_text import ChatModel, ChatText
from intact.integrations.receipt_file import ReceiptFile

_CONFIG = ("max_tokens", "temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty")
_FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_call"}


class DspyEngine:
    """An engine of DSPy: completes requests with a model in this process, or on a server.

    Parameters
    ----------
    model, base_url, api_key, receipts, options
        As for `lm`.
    **loading
        For a model in this process: profile, threads.

    Attributes
    ----------
    file : ReceiptFile
        The receipts of all answers. DSPy's cache gives answers without asking again; those have none.
    """

    supports_function_calling = True
    supports_response_schema = True
    supported_params = frozenset({*_CONFIG, "stop", "response_format", "tools"})

    def __init__(
        self,
        model: str = DEFAULT,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        receipts: str | PathLike[str] | None = None,
        options: Mapping[str, Any] | None = None,
        **loading: Any,
    ) -> None:
        self._chat = ChatModel(model, base_url, api_key, options, **loading)
        self.file = ReceiptFile(receipts)

    def complete(self, request: Any) -> Any:
        """Return the response to a request.

        Raises
        ------
        lm15.InvalidRequestError
            If the model cannot take the request.
        lm15.ProviderError
            If the model is not here, or the server cannot be reached or answers with an error.
        """
        try:
            answer = self._chat.ask(_messages(request), **_options(request))
            self.file.add(answer.receipt, answer.text if answer.receipt else None)
        except ParameterError as error:
            raise lm15.InvalidRequestError(str(error)) from error
        except IntactError as error:
            raise lm15.ProviderError(str(error)) from error
        return _response(answer)

    def close(self) -> None:
        """Unload the model, or close connections; the next request opens it again."""
        self._chat.close()


class AsyncDspyEngine:
    """A `DspyEngine` for coroutines; concurrent requests share the model's steps."""

    def __init__(self, engine: DspyEngine) -> None:
        self._engine = engine

    async def complete(self, request: Any) -> Any:
        """Return the response to a request; errors as in `DspyEngine.complete`."""
        return await anyio.to_thread.run_sync(self._engine.complete, request)

    async def aclose(self) -> None:
        """Unload the model, or close connections."""
        await anyio.to_thread.run_sync(self._engine.close)


def lm(
    model: str = DEFAULT,
    base_url: str | None = None,
    api_key: str | None = None,
    *,
    receipts: str | PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    profile: str | None = None,
    threads: int | None = None,
    **settings: Any,
) -> Any:
    """Return a language model for `dspy.configure(lm=...)`.

    Parameters
    ----------
    model : str
        Model name or file; its name on the server, with `base_url`.
    base_url, api_key : str, optional
        An ``intact serve``, and its key, by default that in INTACT_API_KEY.
    receipts : path, optional
        File to which receipts are appended, for ``intact verify``.
    options : mapping, optional
        Further options of requests, such as now and mix (docs/server.md).
    profile, threads
        For a model in this process, as in `intact.load`.
    **settings
        Settings of `dspy.LM`, such as temperature, max_tokens, cache and callbacks.

    Raises
    ------
    ParameterError
        If an argument is invalid.
    """
    loading = {"profile": profile, "threads": threads}
    engine = DspyEngine(model, base_url, api_key, receipts=receipts, options=options, **loading)
    return dspy.LM(f"intact/{model}", engine=engine, async_engine=AsyncDspyEngine(engine), **settings)


def _messages(request: Any) -> list[dict[str, Any]]:
    """Return the messages of a request in OpenAI's format."""
    found: list[dict[str, Any]] = []
    system = request.system
    if system is not None:
        text = system if isinstance(system, str) else "\n".join(_text(part) for part in system)
        found.append({"role": "system", "content": text})
    for message in request.messages:
        if message.role == "tool":
            found += [
                {"role": "tool", "tool_call_id": part.id, "content": "\n".join(map(_text, part.content))}
                for part in message.parts
            ]
            continue
        calls = [part for part in message.parts if isinstance(part, lm15.ToolCallPart)]
        texts = [_text(part) for part in message.parts if part not in calls and not isinstance(part, lm15.ThinkingPart)]
        one: dict[str, Any] = {"role": message.role, "content": "\n".join(texts) if texts or not calls else None}
        if calls:
            one["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(dict(call.input))},
                }
                for call in calls
            ]
        found.append(one)
    return found


def _text(part: Any) -> str:
    if not isinstance(part, lm15.TextPart):
        raise ParameterError(f"messages must be text for this model, got a {type(part).__name__}")
    return str(part.text)


def _options(request: Any) -> dict[str, Any]:
    """Return the options of a request in OpenAI's format."""
    config = request.config
    options: dict[str, Any] = {name: getattr(config, name) for name in _CONFIG}
    options["stop"] = list(config.stop) or None
    options["response_format"] = _form(config.response_format)
    if request.tools:
        options["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
            }
            for tool in request.tools
        ]
    return options | dict(config.extensions or {})


def _form(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the form of an answer in OpenAI's format, which has a schema one level below."""
    if given is None or "schema" not in given:
        return None if given is None else dict(given)
    schema = {name: given[name] for name in ("name", "description", "schema", "strict") if given.get(name) is not None}
    return {"type": "json_schema", "json_schema": {"name": "answer", **schema}}


def _response(answer: ChatText) -> Any:
    """Return an answer as DSPy's response; its receipt is in `provider_data`."""
    parts: list[Any] = [lm15.ThinkingPart(answer.thoughts)] if answer.thoughts else []
    parts += [lm15.TextPart(answer.text)] if answer.text or not answer.calls else []
    for call in answer.calls:
        function = call["function"]
        parts.append(lm15.ToolCallPart(id=call["id"], name=function["name"], input=json.loads(function["arguments"])))
    used = answer.usage
    return lm15.Response(
        id=None,
        model=answer.model,
        message=lm15.Message(role="assistant", parts=tuple(parts)),
        finish_reason=_FINISH.get(answer.finish, "stop"),
        usage=lm15.Usage(
            input_tokens=used.get("prompt_tokens"),
            output_tokens=used.get("completion_tokens"),
            total_tokens=used.get("total_tokens"),
        ),
        provider_data={"receipt": answer.receipt, "system_fingerprint": answer.fingerprint},
    )
