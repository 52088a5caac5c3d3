"""LlamaIndex: a language model, embeddings, a reranker, and a handler that keeps receipts (docs/integrations.md)."""

from __future__ import annotations

from intact._base.errors import NotInstalledError
from intact._base.packages import install, missing

if missing("llama-index-core"):
    raise NotInstalledError(f"the plug-in for LlamaIndex needs llama-index-core: {install('llama-index-core')}")
