"""One server with a tiny model for all tests of a file, and official clients."""

import openai
import pytest

from support.serving import running
from support.tiny import write_tiny


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=1024)


@pytest.fixture(scope="module")
def server(tiny_path):
    with running({"tiny": tiny_path}) as there:
        yield there
        there.settle(there.idle)


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def endless_path(tmp_path_factory):
    """A model whose texts take minutes."""
    return write_tiny(tmp_path_factory.mktemp("endless") / "m.gguf", "qwen3", context=1 << 17)
