"""The Python API: a model is loaded, and generates, streams, chats, scores."""

from intact.library.loading import load
from intact.library.model import Chunk, Completion, Model, prompt_id
from intact.library.options import AdapterFields, GenerateOptions, MixFields, RequestFields, ServiceFields

__all__ = [
    "AdapterFields",
    "Chunk",
    "Completion",
    "GenerateOptions",
    "MixFields",
    "Model",
    "RequestFields",
    "ServiceFields",
    "load",
    "prompt_id",
]
