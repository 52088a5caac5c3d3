"""LangChain: answers, receipts and vectors through LangChain's own classes, in this process and from a server."""

import json

import pytest

pytest.importorskip("langchain_core", reason="needs langchain-core (extra test)")
from langchain_core.messages import HumanMessage, SystemMessage  # noqa: E402

import intact  # noqa: E402
from intact.integrations.langchain import ChatIntact, ReceiptCallback  # noqa: E402
from support.serving import running  # noqa: E402
from support.tiny import write_tiny  # noqa: E402

TURNS = [SystemMessage("Be brief."), HumanMessage("Why is the sky blue?")]
PLAIN = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why is the sky blue?"}]
SAMPLED = {"seed": 5, "temperature": 0.9, "max_tokens": 16}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("langchain") / "tiny.gguf", metadata={"tokenizer.chat_template": TEMPLATE})


@pytest.fixture(scope="module")
def server(path):
    with running({"tiny": path}) as server:
        yield server


@pytest.fixture(scope="module")
def here(path):
    chat = ChatIntact(model=str(path), **SAMPLED)
    yield chat
    chat.close()


def test_an_answer(here, path):
    print(here.invoke(TURNS))
