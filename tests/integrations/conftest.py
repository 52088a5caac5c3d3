"""A tiny model with a chat template, and entry points as an installation has them."""

import sys

import pytest

from support.distribution import write_distribution
from support.tiny import write_tiny


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=2048)


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Put the distribution's metadata on the path; returns the folder."""
    folder = write_distribution(tmp_path_factory.mktemp("site"), "inspect_ai", "llm")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
