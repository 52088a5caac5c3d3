"""The contract of back ends, on each: the toy, our engine, an endpoint, Transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import intact
from intact.reason.backends.base import Backend
from intact.reason.backends.native import NativeBackend
from intact.reason.backends.openai import OpenAIBackend
from intact.reason.testing.toy import MarkovBackend
from support.backend_contract import BackendContract
from support.endpoint import Endpoint, serve
from support.float_model import save_tiny_llama
from support.tiny import write_tiny

CHAT = (("user", "ask?"),)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("float") / "llama")


class TestToy(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return MarkovBackend()


class TestToyInAnyOrder(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return MarkovBackend(timing=3)


class TestNative(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return NativeBackend(intact.load(write_tiny(tmp_path / "tiny.gguf"), threads=1))

    def test_it_promises_everything(self, backend: Backend) -> None:
        assert backend.caveats == ()


class TestNativeChat(TestNative):
    prompt = CHAT


class TestCompletions(BackendContract):
    @pytest.fixture
    def backend(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        with serve(Endpoint()) as endpoint, OpenAIBackend(endpoint.url, "toy", **self.options()) as backend:
            yield backend

    def options(self) -> dict[str, Any]:
        return {"seconds": 20.0, "pause": 0.001}


class TestChat(TestCompletions):
    prompt = CHAT

    def options(self) -> dict[str, Any]:
        return super().options() | {"continues": "prefill"}


class TestTransformers(BackendContract):
    @pytest.fixture
    def backend(self, llama: Path) -> Backend:
        from intact.reason.backends.transformers import TransformersBackend

        return TransformersBackend.load(llama)


class TestTransformersChat(TestTransformers):
    prompt = CHAT
