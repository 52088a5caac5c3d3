"""LlamaIndex: answers, receipts, vectors and ranks through its own classes, in this process and from a server."""

import asyncio
from typing import Literal

import pytest

pytest.importorskip("llama_index.core", reason="needs llama-index-core")
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, ConfigDict

import intact
from intact._base.errors import ParameterError
from intact.integrations.llama_index import IntactEmbedding, IntactLLM, IntactRerank, ReceiptHandler
from intact.receipts.document import read_receipts
from intact.receipts.verify import verify

TURNS = [ChatMessage("Be brief.", role="system"), ChatMessage("Why is the sky blue?")]
PLAIN = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why is the sky blue?"}]
SAMPLED = {"seed": 5, "temperature": 0.9, "max_tokens": 16}
TEXTS = ["The harbour wakes before the town does.", "a", "Boats, nets and ice; " * 12, "The harbour wakes"]


class Weather(BaseModel):
    """The weather of a city."""

    model_config = ConfigDict(extra="forbid")
    city: Literal["Rome", "Oslo"]


@pytest.fixture(scope="module", params=["here", "server"])
def llm(request, tiny_path):
    if request.param == "here":
        llm = IntactLLM(model=str(tiny_path), **SAMPLED)
    else:
        llm = IntactLLM(model="tiny", base_url=request.getfixturevalue("server").url, **SAMPLED)
    yield llm
    llm.close()


@pytest.fixture(scope="module")
def model(tiny_path):
    return intact.load(tiny_path)


@pytest.fixture
def kept(tmp_path):
    handler = ReceiptHandler(path=tmp_path / "index.receipts").start()
    yield handler
    handler.stop()


def test_an_answer_is_the_librarys_with_its_receipt(llm, model):
    wanted = model.chat(PLAIN, receipt=True, **SAMPLED)
    answer = llm.chat(TURNS)
    assert answer.message.content == wanted.text
    assert answer.additional_kwargs["receipt"]["output"] == wanted.receipt.to_document()["output"]
    assert answer.additional_kwargs["completion_tokens"] == len(wanted.tokens)
    assert llm.complete(PLAIN[1]["content"]).text == model.chat(PLAIN[1:], **SAMPLED).text
    assert llm.metadata.context_window == model.context


def test_company_changes_no_bit(llm):
    alone = llm.chat(TURNS).additional_kwargs["receipt"]

    async def together():
        strangers = [llm.achat([ChatMessage(f"Stranger {i}")]) for i in range(9)]
        return await asyncio.gather(llm.achat(TURNS), *strangers, llm.achat(TURNS))

    found = [one.additional_kwargs["receipt"] for one in asyncio.run(together())]
    assert found[0] == found[-1] == alone
    assert len({one["output"]["text"] for one in found}) > 5


def test_a_stream_adds_up_to_the_answer(llm):
    whole = llm.chat(TURNS)
    pieces = list(llm.stream_chat(TURNS))
    assert "".join(piece.delta for piece in pieces) == pieces[-1].message.content == whole.message.content
    assert pieces[-1].additional_kwargs == whole.additional_kwargs
    assert len(pieces) > 5

    async def collect():
        return [piece async for piece in await llm.astream_chat(TURNS)]

    assert [piece.delta for piece in asyncio.run(collect())] == [piece.delta for piece in pieces]


def test_tools_are_called_and_structures_imposed(llm):
    llm = IntactLLM(model=llm.model, base_url=llm.base_url, **SAMPLED | {"max_tokens": 100})
    assert llm.as_structured_llm(Weather).chat(TURNS).raw.city in ("Rome", "Oslo")
    asked = []

    def weather(city: Literal["Rome", "Oslo"]) -> str:
        """Return the weather of a city."""
        asked.append(city)
        return "mild"

    tool = FunctionTool.from_defaults(weather)
    called = llm.predict_and_call([tool], "Weather?", tool_required=True)
    assert called.response == "mild"
    assert asked[0] in ("Rome", "Oslo")
    answer = llm.chat_with_tools([tool], "Weather?", tool_required=True)
    (call,) = llm.get_tool_calls_from_response(answer)
    result = ChatMessage("mild", role=MessageRole.TOOL, additional_kwargs={"tool_call_id": call.tool_id})
    assert isinstance(llm.chat([*TURNS, answer.message, result]).message.blocks, list)
    llm.close()


def test_a_handler_keeps_the_receipts_of_an_index(llm, model, server, kept, tmp_path):
    vectors = IntactEmbedding(model_name="embedder", base_url=server.url)
    index = VectorStoreIndex.from_documents([Document(text=text) for text in TEXTS], embed_model=vectors)
    answer = index.as_query_engine(llm=llm, similarity_top_k=1).query(TEXTS[3])
    assert answer.source_nodes[0].text == TEXTS[3]
    streamed = "".join(piece.delta for piece in llm.stream_chat(TURNS))
    receipts = list(read_receipts(tmp_path / "index.receipts"))
    assert [one.output.text for one in receipts] == [str(answer), streamed]
    assert [one.outcome for one in verify(model, receipts)] == ["true", "true"]
    assert [digest for digests in kept.spans.values() for digest in digests] == [one.digest.hex() for one in receipts]
    assert kept.file.without == 0


@pytest.mark.parametrize("where", ["here", "server"])
def test_vectors_are_the_librarys_in_any_batch(where, server, embedder_path):
    place = (
        {"model_name": str(embedder_path)} if where == "here" else {"model_name": "embedder", "base_url": server.url}
    )
    wanted = [[float(x) for x in one.vector] for one in intact.load(embedder_path).embed(TEXTS)]
    for size in (1, 3, 100):
        assert IntactEmbedding(**place, embed_batch_size=size).get_text_embedding_batch(TEXTS) == wanted
    assert IntactEmbedding(**place, query_instruction="The ").get_query_embedding("harbour wakes") == wanted[3]


@pytest.mark.parametrize("where", ["here", "server"])
def test_a_reranker_keeps_the_best(where, server, reranker_path):
    place = {"model": str(reranker_path)} if where == "here" else {"model": "reranker", "base_url": server.url}
    wanted = intact.load(reranker_path).rerank("Which?", TEXTS)
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in TEXTS]
    found = IntactRerank(**place, top_n=3).postprocess_nodes(nodes, query_str="Which?")
    assert [(one.text, one.score) for one in found] == [(TEXTS[one.index], one.score) for one in wanted[:3]]


def test_mistakes_are_named(tiny_path):
    with pytest.raises(ParameterError, match="must be text for this model, got a ImageBlock"):
        IntactLLM(model=str(tiny_path)).chat([ChatMessage([ImageBlock(url="http://127.0.0.1/a.png")])])
    with pytest.raises(ValueError, match="threads cannot be set for a server"):
        IntactLLM(base_url="http://127.0.0.1:9", threads=2)
    assert "very secret" not in repr(IntactLLM(api_key="very secret")) + str(IntactLLM(api_key="very secret").to_dict())
