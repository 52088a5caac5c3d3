"""LlamaIndex: a language model, embeddings, a reranker, and a handler that keeps receipts (docs/integrations.md)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from os import PathLike
from typing import Any

from intact._base.errors import NotInstalledError
from intact._base.packages import install, missing

if missing("llama-index-core"):
    raise NotInstalledError(f"the plug-in for LlamaIndex needs llama-index-core: {install('llama-index-core')}")

import anyio
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import Field, PrivateAttr, SecretStr
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMCompletionEndEvent
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.tools.types import BaseTool

from intact._base.errors import ParameterError
from intact.checkpoints.catalogue import DEFAULT
from intact.engine.reranking import INSTRUCTION
from intact.integrations.chat_text import ChatModel, ChatText, accumulate
from intact.integrations.receipt_file import ReceiptFile
from intact.integrations.vectors import VectorModel


class IntactLLM(FunctionCallingLLM):
    """A language model whose answers carry receipts, in ``response.additional_kwargs["receipt"]``.

    Attributes
    ----------
    model : str
        Model name or file; its name on the server, with `base_url`.
    base_url, api_key
        A server (``intact serve``) and its key, by default that in INTACT_API_KEY. Without a server, the model is
        loaded in this process by the first request.
    temperature, top_p, max_tokens, seed, stop
        Sampling parameters (docs/sampling.md); by default the server's.
    now : str, optional
        The time for chat templates that write the date, such as 2026-11-20T17:45:00; by default the clock's.
    context_window : int, optional
        Maximum number of tokens of a prompt and its answer; by default the model's.
    profile, threads
        For a model in this process, as in `intact.load`.
    additional_kwargs : dict
        Further fields of requests (docs/server.md).
    """

    model: str = Field(default=DEFAULT, description="Model name or file.")
    base_url: str | None = Field(default=None, description="Address of a server.")
    api_key: SecretStr | None = Field(default=None, description="The server's key.", exclude=True)
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: list[str] | None = None
    now: str | None = None
    context_window: int | None = None
    profile: str | None = None
    threads: int | None = None
    additional_kwargs: dict[str, Any] = Field(default_factory=dict)
    _opened: ChatModel = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Check the arguments; the model is opened by the first request."""
        super().model_post_init(context)
        names = ("temperature", "top_p", "max_tokens", "seed", "stop", "now")
        options = {name: getattr(self, name) for name in names} | self.additional_kwargs
        self._opened = ChatModel(
            self.model, self.base_url, _secret(self.api_key), options, profile=self.profile, threads=self.threads
        )

    @classmethod
    def class_name(cls) -> str:
        """Return the name in serialised settings."""
        return "IntactLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """The context's length and other facts that LlamaIndex fits prompts to."""
        if self.context_window is None:
            self.context_window = self._opened.context() or LLMMetadata().context_window
        output = {} if self.max_tokens is None else {"num_output": self.max_tokens}
        return LLMMetadata(
            context_window=self.context_window,
            is_chat_model=True,
            is_function_calling_model=True,
            model_name=self.model,
            **output,
        )

    def close(self) -> None:
        """Unload the model, or close connections; the next request opens it again."""
        self._opened.close()

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Return the answer to messages."""
        return _response(self._opened.ask(_plain(messages), **kwargs))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat` for coroutines; concurrent requests share the engine's steps."""
        return _response(await anyio.to_thread.run_sync(lambda: self._opened.ask(_plain(messages), **kwargs)))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Yield the answer so far, with each piece in `delta`; the last one has the receipt."""
        return self._responses(messages, kwargs)

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """`stream_chat` for coroutines."""
        return _in_thread(self._responses(messages, kwargs))

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Return the answer to a question: the only message of a conversation."""
        return _completion(_response(self._opened.ask(_question(prompt), **kwargs)))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """`complete` for coroutines."""
        answer = await anyio.to_thread.run_sync(lambda: self._opened.ask(_question(prompt), **kwargs))
        return _completion(_response(answer))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Yield the answer so far, with each piece in `delta`; the last one has the receipt."""
        return (_completion(one) for one in self._responses([ChatMessage(prompt)], kwargs))

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """`stream_complete` for coroutines."""
        return _in_thread(_completion(one) for one in self._responses([ChatMessage(prompt)], kwargs))

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Return the tool calls of an answer.

        Raises
        ------
        ParameterError
            If there are none, unless `error_on_no_tool_call` is false.
        """
        calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if not calls and error_on_no_tool_call:
            raise ParameterError(f"the answer has no tool call: {response.message.content!r:.100}")
        return [
            ToolSelection(
                tool_id=call.tool_call_id or "",
                tool_name=call.tool_name,
                tool_kwargs=_arguments(call.tool_kwargs),
            )
            for call in calls
        ]

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        question = ChatMessage(user_msg) if isinstance(user_msg, str) else user_msg
        given = {"messages": [*(chat_history or []), *([question] if question is not None else [])], **kwargs}
        if tools:
            given["tools"] = [_tool(tool) for tool in tools]
            given["tool_choice"] = "required" if tool_required else "auto"
            given["parallel_tool_calls"] = allow_parallel_tool_calls
        return given

    def _responses(self, messages: Sequence[ChatMessage], options: dict[str, Any]) -> Iterator[ChatResponse]:
        for piece, whole in accumulate(self._opened.stream(_plain(messages), **options)):
            yield _response(whole, piece.text)


class IntactEmbedding(BaseEmbedding):
    """Embeddings that have the same bits in any batch.

    Attributes
    ----------
    model_name : str
        Model name or file; its name on the server, with `base_url`.
    base_url, api_key, profile, threads
        As for `IntactLLM`.
    dimensions : int, optional
        Keep only this many leading components.
    pooling : {'last', 'cls', 'mean'}, optional
        Overrides the pooling that the model's files name; only for a model in this process.
    query_instruction, text_instruction : str
        Texts before questions and documents, for models that were trained with them.
    """

    base_url: str | None = None
    api_key: SecretStr | None = Field(default=None, exclude=True)
    dimensions: int | None = None
    pooling: str | None = None
    query_instruction: str = ""
    text_instruction: str = ""
    profile: str | None = None
    threads: int | None = None
    _opened: VectorModel = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Check the arguments; the model is opened by the first request."""
        super().model_post_init(context)
        loading: dict[str, Any] = {"pooling": self.pooling, "profile": self.profile, "threads": self.threads}
        self._opened = VectorModel(self.model_name, self.base_url, _secret(self.api_key), **loading)

    @classmethod
    def class_name(cls) -> str:
        """Return the name in serialised settings."""
        return "IntactEmbedding"

    def close(self) -> None:
        """Unload the model, or close connections; the next request opens it again."""
        self._opened.close()

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._opened.lists([self.text_instruction + text for text in texts], self.dimensions)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._opened.lists([self.query_instruction + query], self.dimensions)[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await anyio.to_thread.run_sync(self._get_query_embedding, query)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await anyio.to_thread.run_sync(self._get_text_embeddings, texts)


class IntactRerank(BaseNodePostprocessor):
    """A reranker: keeps the nodes that answer a question best.

    Attributes
    ----------
    model, base_url, api_key, profile, threads
        As for `IntactLLM`.
    top_n : int
        Number of nodes to keep.
    instruction : str
        Task instruction, for models that read one.
    """

    model: str
    base_url: str | None = None
    api_key: SecretStr | None = Field(default=None, exclude=True)
    top_n: int = Field(default=2, ge=1)
    instruction: str = INSTRUCTION
    profile: str | None = None
    threads: int | None = None
    _opened: VectorModel = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Check the arguments; the model is opened by the first request."""
        super().model_post_init(context)
        loading: dict[str, Any] = {"profile": self.profile, "threads": self.threads}
        self._opened = VectorModel(self.model, self.base_url, _secret(self.api_key), **loading)

    @classmethod
    def class_name(cls) -> str:
        """Return the name in serialised settings."""
        return "IntactRerank"

    def close(self) -> None:
        """Unload the model, or close connections; the next request opens it again."""
        self._opened.close()

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ParameterError("a reranker needs the question: give query_bundle or query_str")
        pairs = [(query_bundle.query_str, node.get_content()) for node in nodes]
        scores = self._opened.score(pairs, self.instruction)
        order = sorted(range(len(nodes)), key=lambda place: (-scores[place], place))[: self.top_n]
        return [NodeWithScore(node=nodes[place].node, score=float(scores[place])) for place in order]


class ReceiptHandler(BaseEventHandler):
    """An event handler that keeps the receipts of all answers of intact models.

    Attributes
    ----------
    path : path, optional
        File to which receipts are appended, one per line, for ``intact verify``.
    spans : dict
        Maps LlamaIndex's span ids to the digests of receipts, in hexadecimal.
    """

    path: str | PathLike[str] | None = None
    spans: dict[str, list[str]] = Field(default_factory=dict)
    _file: ReceiptFile = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Open the file."""
        self._file = ReceiptFile(self.path)

    @classmethod
    def class_name(cls) -> str:
        """Return the handler's name."""
        return "intact.ReceiptHandler"

    @property
    def file(self) -> ReceiptFile:
        """The receipts, and the number of answers without one."""
        return self._file

    def start(self) -> ReceiptHandler:
        """Receive the events of everything that LlamaIndex runs in this process."""
        get_dispatcher().add_event_handler(self)
        return self

    def stop(self) -> None:
        """Receive no further events."""
        root = get_dispatcher()
        root.event_handlers = [one for one in root.event_handlers if one is not self]

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        """Keep the receipt of a finished answer.

        Raises
        ------
        ReceiptError
            If a receipt is damaged, or of another answer.
        """
        if not isinstance(event, LLMChatEndEvent | LLMCompletionEndEvent) or event.response is None:
            return
        response = event.response
        text = response.text if isinstance(response, CompletionResponse) else response.message.content or ""
        document = response.additional_kwargs.get("receipt")
        kept = self._file.add(document, text if document else None)
        if kept is not None:
            self.spans.setdefault(str(event.span_id), []).append(kept.digest.hex())


def _secret(key: SecretStr | None) -> str | None:
    return None if key is None else key.get_secret_value()


def _question(prompt: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": prompt}]


def _tool(tool: BaseTool) -> dict[str, Any]:
    """Return a tool in OpenAI's format; LlamaIndex leaves out of schemas that there are no other parameters."""
    made = tool.metadata.to_openai_tool(skip_length_check=True)
    parameters = {"additionalProperties": False, **made["function"]["parameters"]}
    return {**made, "function": {**made["function"], "parameters": parameters}}


def _plain(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Return messages in OpenAI's format.

    Raises
    ------
    ParameterError
        If a message has content other than text and tool calls.
    """
    plain = []
    for message in messages:
        calls = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
        for block in message.blocks:
            if not isinstance(block, TextBlock | ThinkingBlock | ToolCallBlock):
                raise ParameterError(f"messages must be text for this model, got a {type(block).__name__}")
        role = "assistant" if message.role in (MessageRole.MODEL, MessageRole.CHATBOT) else message.role.value
        one: dict[str, Any] = {"role": role, "content": message.content or ("" if not calls else None)}
        if calls:
            one["tool_calls"] = [
                {
                    "id": call.tool_call_id,
                    "type": "function",
                    "function": {
                        "name": call.tool_name,
                        "arguments": (
                            call.tool_kwargs if isinstance(call.tool_kwargs, str) else json.dumps(call.tool_kwargs)
                        ),
                    },
                }
                for call in calls
            ]
        if message.role == MessageRole.TOOL:
            one["tool_call_id"] = message.additional_kwargs.get("tool_call_id", "")
        plain.append(one)
    return plain


def _response(answer: ChatText, delta: str | None = None) -> ChatResponse:
    """Return an answer as LlamaIndex's response."""
    blocks: list[Any] = [ThinkingBlock(content=answer.thoughts)] if answer.thoughts else []
    blocks += [TextBlock(text=answer.text)] if answer.text or not answer.calls else []
    for call in answer.calls:
        function = call["function"]
        blocks.append(
            ToolCallBlock(tool_call_id=call.get("id"), tool_name=function["name"], tool_kwargs=function["arguments"])
        )
    own = {"finish_reason": answer.finish, "system_fingerprint": answer.fingerprint, **answer.usage}
    return ChatResponse(
        message=ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks),
        delta=delta,
        raw=answer._asdict(),
        additional_kwargs={**own, "receipt": answer.receipt},
    )


def _completion(response: ChatResponse) -> CompletionResponse:
    return CompletionResponse(
        text=response.message.content or "",
        delta=response.delta,
        raw=response.raw,
        additional_kwargs=response.additional_kwargs,
    )


def _arguments(given: dict[str, Any] | str) -> dict[str, Any]:
    """Return a call's arguments; those of an unfinished call are empty."""
    if isinstance(given, dict):
        return given
    try:
        value = json.loads(given or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


async def _in_thread(values: Iterator[Any]) -> AsyncIterator[Any]:
    """Yield values whose iterator blocks."""
    ended = object()
    while (value := await anyio.to_thread.run_sync(next, values, ended)) is not ended:
        yield value
