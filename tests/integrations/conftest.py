"""Tiny models for plug-ins: one that chats and calls tools, one that embeds, and one that ranks."""

import sys
from importlib.metadata import entry_points

import pytest

from intact.checkpoints.formats import open_checkpoint
from support.distribution import write_distribution
from support.gguf_writer import write_gguf
from support.serving import running
from support.tiny import write_tiny

LAST = {"qwen3.pooling_type": 3}


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=2048)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Put the distribution's metadata on the path, unless it is installed; returns the folder.

    Afterwards it is gone: it would hide the entry points of an installed distribution from other tests.
    """
    folder = tmp_path_factory.mktemp("site")
    if any(one.value == "intact.integrations.llm" for one in entry_points(group="llm")):
        yield folder
        return
    write_distribution(folder, "inspect_ai", "llm")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def embedder_path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "embedder.gguf", "qwen3", metadata=LAST)


@pytest.fixture(scope="session")
def reranker_path(tmp_path_factory):
    """A random model whose tokenizer has tokens for yes and no."""
    path = tmp_path_factory.mktemp("model") / "reranker.gguf"
    with open_checkpoint(write_tiny(path.with_suffix(".plain"), "qwen3")) as checkpoint:
        own = dict(checkpoint.metadata)
        own["tokenizer.ggml.tokens"] = [*own["tokenizer.ggml.tokens"][:-3], "ye", "yes", "no"]
        own["tokenizer.ggml.merges"] = ["y e", "ye s", "n o", *own["tokenizer.ggml.merges"][:-3]]
        tensors = {name: (t.kind, t.shape, t.data.tobytes()) for name, t in checkpoint.tensors.items()}
        return write_gguf(path, own, tensors)


@pytest.fixture(scope="session")
def server(tiny_path, embedder_path, reranker_path):
    """A server with the three models."""
    with running({"tiny": tiny_path, "embedder": embedder_path, "reranker": reranker_path}) as server:
        yield server
