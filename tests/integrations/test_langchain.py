"""LangChain: answers, receipts, vectors and ranks through its own classes, in this process and from a server."""

import asyncio
import json
from typing import Literal

import pytest

pytest.importorskip("langchain_core", reason="needs langchain-core (extra test)")
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import BaseModel, ConfigDict

import intact
from intact._base.errors import EndpointError, IntactError, ParameterError, ReceiptError
from intact.integrations.langchain import (
    ChatIntact,
    IntactEmbeddings,
    IntactReranker,
    ReceiptCallback,
)
from intact.receipts.document import read_receipts
from intact.receipts.verify import verify

TURNS = [SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello."), HumanMessage("Why is the sky blue?")]
PLAIN = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Why is the sky blue?"},
]
SAMPLED = {"seed": 5, "temperature": 0.9, "max_tokens": 16}
TEXTS = ["The harbour wakes before the town does.", "a", "Boats, nets and ice; " * 12, "The harbour wakes"]


class Weather(BaseModel):
    """The weather of a city."""

    model_config = ConfigDict(extra="forbid")
    city: Literal["Rome", "Oslo"]


@pytest.fixture(scope="module", params=["here", "server"])
def chat(request, tiny_path):
    if request.param == "here":
        model = ChatIntact(model=str(tiny_path), **SAMPLED)
    else:
        model = ChatIntact(model="tiny", base_url=request.getfixturevalue("server").url, **SAMPLED)
    yield model
    model.close()


@pytest.fixture(scope="module")
def model(tiny_path):
    return intact.load(tiny_path)


def test_an_answer_is_the_librarys_with_its_receipt(chat, model):
    wanted = model.chat(PLAIN, receipt=True, **SAMPLED)
    answer = chat.invoke(TURNS)
    assert answer.content == wanted.text
    assert answer.usage_metadata["output_tokens"] == len(wanted.tokens)
    assert answer.response_metadata["finish_reason"] == wanted.finish
    assert answer.response_metadata["receipt"]["output"] == wanted.receipt.to_document()["output"]


def test_company_changes_no_bit(chat):
    alone = chat.invoke(TURNS)
    many = chat.batch([TURNS, *([HumanMessage(f"Stranger {i}")] for i in range(9)), TURNS])
    for one in (many[0], many[-1]):
        assert one.response_metadata["receipt"] == alone.response_metadata["receipt"]
    assert len({one.content for one in many}) > 5

    async def together():
        return await asyncio.gather(*(chat.ainvoke(turns) for turns in (TURNS[:2], TURNS)))

    assert asyncio.run(together())[1].response_metadata["receipt"] == alone.response_metadata["receipt"]


def test_a_stream_adds_up_to_the_answer(chat):
    whole = chat.invoke(TURNS)
    pieces = list(chat.stream(TURNS))
    assert len(pieces) > 5
    total = pieces[0]
    for piece in pieces[1:]:
        total += piece
    assert total.content == whole.content
    assert total.response_metadata == {k: v for k, v in whole.response_metadata.items() if k in total.response_metadata}
    assert total.response_metadata["receipt"] == whole.response_metadata["receipt"]
    assert total.usage_metadata["output_tokens"] == whole.usage_metadata["output_tokens"]


def test_structured_output_is_imposed(chat):
    chat = ChatIntact(model=chat.model, base_url=chat.base_url, **SAMPLED | {"max_tokens": 100})
    assert chat.with_structured_output(Weather).invoke("Weather?").city in ("Rome", "Oslo")
    answer = chat.bind_tools([Weather], tool_choice="any").invoke("Weather?")
    (call,) = answer.tool_calls
    assert call["name"] == "Weather"
    turns = [HumanMessage("Weather?"), answer, ToolMessage("mild", tool_call_id=call["id"])]
    assert isinstance(chat.invoke(turns).content, str)
    chat.close()


def test_stop_strings_and_options_of_a_call(chat):
    whole = chat.invoke(TURNS).content
    stop = whole[4:6]
    assert chat.invoke(TURNS, stop=[stop]).content == whole[: whole.index(stop)]
    assert chat.invoke(TURNS, seed=6).content != whole
    with pytest.raises(IntactError, match="temperature"):
        chat.invoke(TURNS, temperature=-1)


def test_a_callback_keeps_the_receipts_of_a_chain(chat, model, tmp_path):
    kept = ReceiptCallback(tmp_path / "chain.receipts")
    chain = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{question}")]) | chat
    config = {"callbacks": [kept]}
    texts = [chain.invoke({"question": "Why?"}, config=config).content]
    texts.append("".join(piece.content for piece in chain.stream({"question": "When?"}, config=config)))
    receipts = list(read_receipts(tmp_path / "chain.receipts"))
    assert [one.output.text for one in receipts] == texts
    assert all(one.outcome == "true" for one in verify(model, receipts))
    assert [digest for digests in kept.runs.values() for digest in digests] == [one.digest.hex() for one in receipts]
    assert kept.file.without == 0


def test_a_forged_receipt_is_refused(chat, model, tmp_path):
    kept = ReceiptCallback(tmp_path / "forged.receipts")
    answer = chat.invoke(TURNS, config={"callbacks": [kept]})
    document = json.loads(json.dumps(answer.response_metadata["receipt"]))
    document["output"]["text"] = "another answer"
    with pytest.raises(ReceiptError, match="of another answer"):
        kept.file.add(document, answer.text)
    forged = kept.file.add(document)
    assert [one.outcome for one in verify(model, [kept.file.receipts[0], forged])] == ["true", "false"]
    with pytest.raises(ReceiptError):
        kept.file.add({"format": "intact-receipt"})
    assert len((tmp_path / "forged.receipts").read_bytes().splitlines()) == 2


def test_receipts_of_langchains_own_client_are_fetched(server, model, tmp_path):
    openai = pytest.importorskip("langchain_openai", reason="needs langchain-openai (extra test)")
    own = {"extra_body": {"intact": {"receipt": True}}, "max_retries": 0}
    client = openai.ChatOpenAI(base_url=server.url + "/v1", api_key="none", model="tiny", **own, **SAMPLED)
    kept = ReceiptCallback(tmp_path / "fetched.receipts", base_url=server.url)
    answer = client.invoke(TURNS, config={"callbacks": [kept]})
    (receipt,) = kept.file.receipts
    assert receipt.output.text == answer.content
    assert [one.outcome for one in verify(model, [receipt])] == ["true"]
    unkept = ReceiptCallback()
    client.invoke(TURNS, config={"callbacks": [unkept]})
    assert (unkept.file.receipts, unkept.file.without) == ([], 1)


def embeddings(where, server, path, **options):
    if where == "here":
        return IntactEmbeddings(model=str(path), **options)
    return IntactEmbeddings(model="embedder", base_url=server.url, **options)


@pytest.mark.parametrize("where", ["here", "server"])
def test_vectors_are_the_librarys_in_any_batch(where, server, embedder_path):
    wanted = [[float(x) for x in one.vector] for one in intact.load(embedder_path).embed(TEXTS)]
    own = embeddings(where, server, embedder_path)
    assert own.embed_documents(TEXTS) == wanted
    assert [own.embed_query(text) for text in TEXTS] == wanted
    assert own.embed_documents([]) == []
    assert embeddings(where, server, embedder_path, query_instruction="The ").embed_query("harbour wakes") == wanted[3]
    assert len(embeddings(where, server, embedder_path, dimensions=7).embed_query("a")) == 7
    store = InMemoryVectorStore.from_texts(TEXTS, own)
    assert store.similarity_search(TEXTS[3], k=1)[0].page_content == TEXTS[3]


@pytest.mark.parametrize("where", ["here", "server"])
def test_a_reranker_keeps_the_best(where, server, reranker_path):
    place = {"model": str(reranker_path)} if where == "here" else {"model": "reranker", "base_url": server.url}
    wanted = intact.load(reranker_path).rerank("Which?", TEXTS)
    documents = [Document(text, metadata={"place": place}) for place, text in enumerate(TEXTS)]
    found = IntactReranker(**place, top_n=2).compress_documents(documents, "Which?")
    assert [(one.metadata["place"], one.metadata["relevance_score"]) for one in found] == [
        (one.index, one.score) for one in wanted[:2]
    ]


def test_mistakes_are_named_before_work(tiny_path, embedder_path):
    with pytest.raises(ValueError, match="threads cannot be set for a server"):
        ChatIntact(base_url="http://127.0.0.1:9", threads=2)
    with pytest.raises(ValueError, match="address must be"):
        ChatIntact(base_url="127.0.0.1:8000")
    with pytest.raises(EndpointError, match="cannot be reached"):
        ChatIntact(base_url="http://127.0.0.1:9").invoke("Hi")
    with pytest.raises(ValueError, match="pooling cannot be set for a server"):
        IntactEmbeddings(model="tiny", base_url="http://127.0.0.1:9", pooling="cls")
    with pytest.raises(ParameterError, match="gives no embeddings"):
        IntactEmbeddings(model=str(tiny_path)).embed_query("Hi")
    with pytest.raises(FileNotFoundError):
        ReceiptCallback(tiny_path.parent / "no folder" / "a.receipts")


def test_the_key_is_in_no_representation():
    assert "very secret" not in repr(ChatIntact(api_key="very secret")) + str(
        ChatIntact(api_key="very secret").asdict()
    )
