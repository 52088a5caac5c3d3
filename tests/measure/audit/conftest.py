"""A model that logs claim, and another that may have written them."""

import pytest

import intact
from support.tiny import write_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    for seed, name in enumerate(("claimed", "other")):
        write_tiny(folder / f"{name}.gguf", "llama", seed=seed)
    return folder


@pytest.fixture(scope="module")
def models(folder):
    return {name: intact.load(folder / f"{name}.gguf", threads=1) for name in ("claimed", "other")}
