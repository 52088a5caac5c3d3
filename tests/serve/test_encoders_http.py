"""Encoders behind the server: vectors and scores are those of the library, and requests for text are refused."""

import asyncio

import httpx
import pytest
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from support.folders import write_encoder
from support.serving import running
from support.variants.encoders import ENCODERS

pytestmark = pytest.mark.native
TEXTS = ["The sky is blue", "a", "Bread is baked by hand"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoders")
    return {
        "embedder": write_encoder(root / "embedder", ENCODERS["bert"], "bert", "mean_tokens"),
        "reranker": write_encoder(root / "reranker", ENCODERS["xlm-roberta-reranker"], "xlm-roberta-reranker"),
    }


@pytest.fixture(scope="module")
def url(folders):
    with running(folders) as server:
        yield server.url


def test_vectors_are_those_of_the_library(url, folders):
    wanted = [one.vector.tolist() for one in intact.load(folders["embedder"]).embed(TEXTS)]
    answer = httpx.post(url + "/v1/embeddings", json={"model": "embedder", "input": TEXTS})
    assert answer.status_code == 200, answer.text
    assert [one["embedding"] for one in answer.json()["data"]] == wanted
    ollama = httpx.post(url + "/api/embed", json={"model": "embedder", "input": TEXTS}).json()
    assert ollama["embeddings"] == wanted


def test_scores_are_those_of_the_library(url, folders):
    ranked = intact.load(folders["reranker"]).rerank("sky", TEXTS)
    answer = httpx.post(url + "/v1/rerank", json={"model": "reranker", "query": "sky", "documents": TEXTS})
    assert answer.status_code == 200, answer.text
    found = answer.json()["results"]
    assert [(one["index"], one["relevance_score"]) for one in found] == [(one.index, one.score) for one in ranked]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/v1/completions", {"model": "embedder", "prompt": "The sky"}, "an encoder cannot generate text"),
        ("/v1/rerank", {"model": "embedder", "query": "sky", "documents": TEXTS}, "is not a reranker"),
        ("/v1/embeddings", {"model": "embedder", "input": "x" * 60}, "the encoder reads at most 48"),
        ("/v1/chat/completions", {"model": "embedder", "messages": [{"role": "user", "content": "Hi"}]}, ""),
    ],
    ids=str,
)
def test_what_an_encoder_cannot_do_is_refused(url, path, body, words):
    answer = httpx.post(url + path, json=body)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("dimensions", [0, 65])
def test_more_dimensions_than_there_are_are_refused_by_their_field(url, dimensions):
    body = {"model": "embedder", "input": TEXTS, "dimensions": dimensions}
    answer = httpx.post(url + "/v1/embeddings", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "dimensions"), answer.text


def test_a_model_without_a_pooling_is_refused_without_advice_that_no_request_can_take(url, folders):
    answer = httpx.post(url + "/v1/embeddings", json={"model": "reranker", "input": TEXTS})
    wanted = "this model does not support embeddings: its files do not name a pooling"
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, wanted)
    refused = CliRunner().invoke(app, ["embed", "-m", str(folders["reranker"]), *TEXTS])
    assert (refused.exit_code, "on the command line, --pooling" in " ".join(refused.output.split())) == (2, True)


def test_coroutines_and_the_command_line_give_the_same(folders):
    model = intact.load(folders["embedder"])
    wanted = [one.vector.tobytes() for one in model.embed(TEXTS)]

    async def together():
        return await asyncio.gather(*(model.aembed(text, priority=i) for i, text in enumerate(TEXTS)))

    assert [one[0].vector.tobytes() for one in asyncio.run(together())] == wanted
    reranker = intact.load(folders["reranker"])
    assert asyncio.run(reranker.arerank("sky", TEXTS)) == reranker.rerank("sky", TEXTS)
    found = CliRunner().invoke(app, ["embed", "-m", str(folders["embedder"]), *TEXTS])
    assert found.exit_code == 0, found.output
    assert "64 dimensions" in found.output
    ranked = CliRunner().invoke(app, ["rerank", "-m", str(folders["reranker"]), "sky", *TEXTS])
    assert ranked.exit_code == 0, ranked.output
    refused = CliRunner().invoke(app, ["run", "-m", str(folders["embedder"]), "Hello", "--raw"])
    assert refused.exit_code == 2
    assert "cannot generate text" in refused.output.replace("\n", " ")
