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
from intact.integrations.chat_text import ChatModel, ChatText
from intact.integrations.receipt_file import ReceiptFile
from intact.integrations.vectors import VectorModel
