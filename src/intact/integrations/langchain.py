"""LangChain: a chat model, embeddings, a reranker, and a callback that keeps receipts (docs/integrations.md)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, cast
from uuid import UUID

from intact._base.errors import NotInstalledError
from intact._base.packages import install, missing

if missing("langchain-core"):
    raise NotInstalledError(f"the plug-in for LangChain needs langchain-core: {install('langchain-core')}")

from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForLLMRun, Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    InvalidToolCall,
    ToolCall,
    convert_to_openai_messages,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr

from intact.checkpoints.catalogue import DEFAULT
from intact.engine.reranking import INSTRUCTION
from intact.integrations.chat_source import ServerSource
from intact.integrations.chat_text import ChatModel, ChatText
from intact.integrations.receipt_file import ReceiptFile
from intact.integrations.vectors import VectorModel
from intact.reason.backends.openai_key import KEY

_ANSWER_ID = re.compile(r"chatcmpl-[A-Za-z0-9]{1,64}")
"""Pattern of the ids of a server's answers."""


class ChatIntact(BaseChatModel):
    """A chat model whose answers carry receipts, in ``message.response_metadata["receipt"]``.

    Equal requests get equal answers, whatever else runs: `batch` and concurrent chains change no bit.

    Attributes
    ----------
    model : str
        Model name or file; its name on the server, with `base_url`.
    base_url, api_key
        A server (``intact serve``) and its key, by default that in INTACT_API_KEY. Without a server, the model is
        loaded in this process by the first request.
    temperature, top_p, top_k, max_tokens, seed, stop
        Sampling parameters (docs/sampling.md); by default the server's.
    now : str, optional
        The time for chat templates that write the date, such as 2026-11-20T17:45:00; by default the clock's.
    profile, threads
        For a model in this process, as in `intact.load`.
    model_kwargs : dict
        Further fields of requests (docs/server.md), such as ``{"intact": {"method": "self_consistency"}}``.

    Examples
    --------
    Ask a model in this process, then one on a server::

        ChatIntact(model="smollm2-135m-instruct", temperature=0).invoke("Why is the sky blue?").content
        ChatIntact(model="smollm2-135m-instruct", base_url="http://127.0.0.1:8000").invoke("Why is the sky blue?")
    """

    model: str = DEFAULT
    base_url: str | None = None
    api_key: SecretStr | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: list[str] | None = None
    now: str | None = None
    profile: str | None = None
    threads: int | None = None
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    _opened: ChatModel = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Check the arguments; the model is opened by the first request."""
        super().model_post_init(context)
        key = None if self.api_key is None else self.api_key.get_secret_value()
        names = ("temperature", "top_p", "top_k", "max_tokens", "seed", "stop", "now")
        options = {name: getattr(self, name) for name in names} | self.model_kwargs
        self._opened = ChatModel(
            self.model, self.base_url, key, options=options, profile=self.profile, threads=self.threads
        )

    @property
    def _llm_type(self) -> str:
        return "intact"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """Parameters that tell cached answers of one setting from those of another."""
        others = {"api_key", "threads", "cache", "callbacks", "rate_limiter", "custom_get_token_ids"}
        return cast("dict[str, Any]", self.model_dump(exclude=others))

    def close(self) -> None:
        """Unload the model, or close connections; the next request opens it again."""
        self._opened.close()

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model with tools that it may call.

        Parameters
        ----------
        tool_choice : 'auto', 'none', 'any', a tool's name, bool or dict, optional
            Which tools must be called; 'any', 'required' or true: some tool.
        """
        known = [convert_to_openai_tool(tool) for tool in tools]
        choice: Any = tool_choice
        if tool_choice in ("any", True):
            choice = "required"
        elif tool_choice is False:
            choice = None
        elif isinstance(tool_choice, str) and tool_choice not in ("auto", "none", "required"):
            choice = {"type": "function", "function": {"name": tool_choice}}
        if kwargs.pop("ls_structured_output_format", None) is not None:  # from with_structured_output: one value
            kwargs["parallel_tool_calls"] = False
        return self.bind(tools=known, tool_choice=choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = self._opened.ask(_plain(messages), stop=stop or self.stop, **kwargs)
        message = _message(answer)
        info = {"finish_reason": answer.finish}
        return ChatResult(
            generations=[ChatGeneration(message=message, generation_info=info)],
            llm_output={"model_name": answer.model, "token_usage": answer.usage},
        )

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for piece in self._opened.stream(_plain(messages), stop=stop or self.stop, **kwargs):
            chunk = ChatGenerationChunk(message=_chunk(piece))
            if run_manager is not None and piece.text:
                run_manager.on_llm_new_token(piece.text, chunk=chunk)
            yield chunk


class IntactEmbeddings(BaseModel, Embeddings):
    """Embeddings that have the same bits in any batch.

    Attributes
    ----------
    model, base_url, api_key, profile, threads
        As for `ChatIntact`.
    dimensions : int, optional
        Keep only this many leading components.
    pooling : {'last', 'cls', 'mean'}, optional
        Overrides the pooling that the model's files name; only for a model in this process.
    query_instruction, document_instruction : str
        Texts before questions and documents, for models that were trained with them.
    """

    model_config = ConfigDict(extra="forbid")
    model: str
    base_url: str | None = None
    api_key: SecretStr | None = None
    dimensions: int | None = None
    pooling: str | None = None
    query_instruction: str = ""
    document_instruction: str = ""
    profile: str | None = None
    threads: int | None = None
    _opened: VectorModel = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Check the arguments; the model is opened by the first request."""
        self._opened = _vectors(self, pooling=self.pooling)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of documents."""
        return self._opened.lists([self.document_instruction + text for text in texts], self.dimensions)

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""
        return self._opened.lists([self.query_instruction + text], self.dimensions)[0]

    def close(self) -> None:
        """Unload the model, or close connections; the next request opens it again."""
        self._opened.close()


class IntactReranker(BaseDocumentCompressor):
    """A reranker: keeps the documents that answer a question best, with scores in ``metadata["relevance_score"]``.

    Attributes
    ----------
    model, base_url, api_key, profile, threads
        As for `ChatIntact`.
    top_n : int, optional
        Number of documents to keep; by default all.
    instruction : str
        Task instruction, for models that read one.
    """

    model_config = ConfigDict(extra="forbid")
    model: str
    base_url: str | None = None
    api_key: SecretStr | None = None
    top_n: int | None = Field(default=3, ge=1)
    instruction: str = INSTRUCTION
    profile: str | None = None
    threads: int | None = None
    _opened: VectorModel = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Check the arguments; the model is opened by the first request."""
        self._opened = _vectors(self)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the best documents, best first; ties keep the given order."""
        scores = self._opened.score([(query, one.page_content) for one in documents], self.instruction)
        order = sorted(range(len(documents)), key=lambda place: (-scores[place], place))[: self.top_n]
        return [
            Document(
                page_content=documents[place].page_content,
                metadata={**documents[place].metadata, "relevance_score": float(scores[place])},
                id=documents[place].id,
            )
            for place in order
        ]

    def close(self) -> None:
        """Unload the model, or close connections; the next request opens it again."""
        self._opened.close()


def _vectors(own: IntactEmbeddings | IntactReranker, **options: Any) -> VectorModel:
    key = None if own.api_key is None else own.api_key.get_secret_value()
    return VectorModel(own.model, own.base_url, key, profile=own.profile, threads=own.threads, **options)


class ReceiptCallback(BaseCallbackHandler):
    """A callback that keeps the receipts of all answers of intact models in a chain, an agent or a graph.

    It also sees answers that came through other classes from an ``intact serve``, such as `ChatOpenAI` with
    ``extra_body={"intact": {"receipt": True}}``, which drop receipts: with `base_url`, it fetches these by their ids.
    Where such a class streams, it drops the ids too, and the answer is counted in `file.without`.

    Parameters
    ----------
    path : path, optional
        File to which receipts are appended, one per line, for ``intact verify``.
    base_url, api_key : str, optional
        The server that keeps receipts of recent answers, and its key, by default that in INTACT_API_KEY.

    Attributes
    ----------
    file : ReceiptFile
        The receipts, and the number of answers without one.
    runs : dict
        Maps LangChain's run ids to the digests of receipts, in hexadecimal.
    """

    raise_error = True

    def __init__(
        self, path: str | PathLike[str] | None = None, base_url: str | None = None, api_key: str | None = None
    ) -> None:
        self.file = ReceiptFile(path)
        self.runs: dict[UUID, list[str]] = {}
        self._server = None if base_url is None else ServerSource(base_url, api_key or os.environ.get(KEY))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Keep the receipts of a run's answers.

        Raises
        ------
        ReceiptError
            If a receipt is damaged, or of another answer.
        EndpointError
            If the server does not have a receipt.
        """
        for generation in (one for several in response.generations for one in several):
            metadata = getattr(getattr(generation, "message", None), "response_metadata", {})
            document = metadata.get("receipt") or self._fetched({**metadata, **(response.llm_output or {})})
            kept = self.file.add(document, generation.text if document else None)
            if kept is not None:
                self.runs.setdefault(run_id, []).append(kept.digest.hex())

    def _fetched(self, metadata: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the receipt of an answer from the server, by the answer's id."""
        made_there = str(metadata.get("system_fingerprint") or "").startswith("intact-")
        name = str(metadata.get("id"))
        if self._server is None or not made_there or not _ANSWER_ID.fullmatch(name):
            return None
        found = self._server.get(f"receipts/{name}").get("data")
        return found[0] if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict) else None


def _plain(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return messages in OpenAI's format."""
    plain = cast("list[dict[str, Any]]", convert_to_openai_messages(messages))
    for one in plain:
        if (
            isinstance(one, dict)
            and one.get("role") == "assistant"
            and one.get("content") == ""
            and one.get("tool_calls")
        ):
            one["content"] = None
    return plain


def _message(answer: ChatText) -> AIMessage:
    """Return an answer as LangChain's message."""
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for call in answer.calls:
        try:
            if (parsed := parse_tool_call(call, return_id=True)) is not None:
                calls.append(cast(ToolCall, parsed))
        except Exception as error:
            invalid.append(make_invalid_tool_call(call, str(error)))
    thoughts = {"reasoning_content": answer.thoughts} if answer.thoughts else {}
    return AIMessage(
        content=answer.text,
        additional_kwargs=thoughts,
        tool_calls=calls,
        invalid_tool_calls=invalid,
        response_metadata=_metadata(answer),
        usage_metadata=_usage(answer),
    )


def _chunk(piece: ChatText) -> AIMessageChunk:
    """Return a piece of an answer as LangChain's chunk of a message."""
    calls = [
        tool_call_chunk(
            name=(call.get("function") or {}).get("name"),
            args=(call.get("function") or {}).get("arguments"),
            id=call.get("id"),
            index=call.get("index"),
        )
        for call in piece.calls
    ]
    return AIMessageChunk(
        content=piece.text,
        additional_kwargs={"reasoning_content": piece.thoughts} if piece.thoughts else {},
        tool_call_chunks=calls,
        response_metadata=_metadata(piece) if piece.finish else {},
        usage_metadata=_usage(piece) if piece.usage else None,
    )


def _metadata(answer: ChatText) -> dict[str, Any]:
    return {
        "model_name": answer.model,
        "model_provider": "intact",
        "finish_reason": answer.finish,
        "system_fingerprint": answer.fingerprint,
        "receipt": answer.receipt,
    }


def _usage(answer: ChatText) -> UsageMetadata:
    names = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens", "total_tokens": "total_tokens"}
    return cast("UsageMetadata", {own: answer.usage.get(name, 0) for own, name in names.items()})
