"""The Python API: load a model, then generate, stream, chat and score."""

from intact.library.loading import load
from intact.library.model import Chunk, Completion, Model, prompt_id
from intact.library.options import AdapterFields, GenerateOptions, MixFields, RequestFields, ServiceFields
from intact.library.vision import Classified, ImageClassifier, load_classifier

__all__ = [
    "AdapterFields",
    "Chunk",
    "Classified",
    "Completion",
    "GenerateOptions",
    "ImageClassifier",
    "MixFields",
    "Model",
    "RequestFields",
    "ServiceFields",
    "load",
    "load_classifier",
    "prompt_id",
]
