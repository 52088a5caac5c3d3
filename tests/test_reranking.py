"""Reranking: scores are those of the model's own logits, and of nothing else that runs."""

import asyncio
import json
import math

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

import intact
from intact._base.errors import ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.cli.app import app
from intact.engine.reranking import AnswerHead, answer_tokens, rerank_prompt, rerank_template
from support.gguf_writer import write_gguf
from support.models import real_model
from support.patience import PATIENCE
from support.serving import running
from support.tiny import write_tiny

QUERY = "What is the capital of China?"
DOCUMENTS = ["Beijing is the capital.", "Gravity attracts bodies.", "Parks " * 30, "", "no<|im_end|>"]


def with_answers(path, architecture, **metadata):
    """A random model whose tokenizer has yes and no, and whose head is in a type of blocks or of floats."""
    with open_checkpoint(write_tiny(path.with_suffix(".plain"), architecture, ["Q4_0", "F16"])) as checkpoint:
        own = dict(checkpoint.metadata)
        own["tokenizer.ggml.tokens"] = [*own["tokenizer.ggml.tokens"][:-3], "ye", "yes", "no"]
        own["tokenizer.ggml.merges"] = ["y e", "ye s", "n o", *own["tokenizer.ggml.merges"][:-3]]
        tensors = {name: (t.kind, t.shape, t.data.tobytes()) for name, t in checkpoint.tensors.items()}
        return write_gguf(path, own | metadata, tensors)


@pytest.fixture(scope="module", params=["qwen3", "gemma2"])
def path(request, tmp_path_factory):
    return with_answers(tmp_path_factory.mktemp("rerank") / f"{request.param}.gguf", request.param)


def expected(model, profile):
    """Scores by whole logits and a sigmoid in float64."""
    yes, no = answer_tokens(model.tokenizer)
    template = rerank_template(model.checkpoint.metadata)
    found = []
    for document in DOCUMENTS:
        texts = {"instruction": intact.engine.reranking.INSTRUCTION, "query": QUERY, "document": document}
        logits = model.logits(rerank_prompt(model.tokenizer, template, texts, model.context))[-1].astype(np.float64)
        found.append(1 / (1 + math.exp(logits[no] - logits[yes])))
    return found


@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_scores_are_those_of_the_logits(path, profile):
    model = intact.load(path, profile=profile)
    ranked = model.rerank(QUERY, DOCUMENTS)
    wanted = expected(model, profile)
    assert [one.score for one in ranked] == pytest.approx([wanted[one.index] for one in ranked], abs=4e-6)
    assert [one.index for one in ranked] == sorted(range(len(wanted)), key=lambda i: (-ranked_score(ranked, i), i))


def ranked_score(ranked, index):
    return next(one.score for one in ranked if one.index == index)


@pytest.mark.parametrize(
    "options", [{"chunk": 1}, {"chunk": 7, "rows": 3}, {"threads": 1}, {"executor": "reference"}], ids=str
)
def test_what_must_not_matter_changes_no_bit(path, options):
    wanted = {one.index: one.score for one in intact.load(path).rerank(QUERY, DOCUMENTS[:2])}
    other = intact.load(path, **options)
    for i in wanted:
        assert other.rerank(QUERY, [DOCUMENTS[i]])[0].score == wanted[i]
    assert {one.index: one.score for one in asyncio.run(other.arerank(QUERY, DOCUMENTS[:2]))} == wanted


@pytest.mark.parametrize("bits", [8, 4])
def test_rows_of_a_head_of_floats_are_those_of_the_whole(tmp_path, bits):
    model = intact.load(with_answers(tmp_path / "tiny.gguf", "llama"), bits=bits)
    scores = [one.score for one in sorted(model.rerank(QUERY, DOCUMENTS), key=lambda one: one.index)]
    assert scores == pytest.approx(expected(model, "int8"), abs=4e-6)


def test_control_tokens_in_a_document_are_text(path):
    tokenizer = intact.load(path).tokenizer
    template = "<|im_start|>{query}: {document}<|im_end|>"
    ids = rerank_prompt(tokenizer, template, {"query": "{document}", "document": "<|im_end|>"}, 100)
    assert [tokenizer.is_special(i) for i in ids].count(True) == 2
    assert tokenizer.decode(ids) == "{document}: <|im_end|>"


def test_a_file_of_a_reranker_has_its_own_template(tmp_path):
    with open_checkpoint(with_answers(tmp_path / "plain.gguf", "qwen3")) as checkpoint:
        metadata = dict(checkpoint.metadata) | {
            "tokenizer.chat_template.rerank": "{query}|{document}",
            "qwen3.pooling_type": 4,
        }
        tensors = {name: (t.kind, t.shape, t.data.tobytes()) for name, t in checkpoint.tensors.items()}
    tensors["cls.output.weight"] = ("F32", (2, 96), bytes(2 * 96 * 4))
    model = intact.load(write_gguf(tmp_path / "ranker.gguf", metadata, tensors))
    head, prompts = model.rerank_prompts("a", ["b"])
    assert isinstance(head, AnswerHead)
    assert model.tokenizer.decode(prompts[0]) == "a|b"
    broken = write_gguf(tmp_path / "broken.gguf", metadata | {"tokenizer.chat_template.rerank": "{query}"}, tensors)
    with pytest.raises(ParameterError, match=r"chat_template\.rerank must be a string with {query} and {document}"):
        intact.load(broken).rerank("a", ["b"])


@pytest.mark.parametrize(
    ("documents", "problem"),
    [
        ([], "documents is empty"),
        ("text", "documents must be a list of strings, got 'text'"),
        (5, "documents must be a list of strings, got 5"),
        (["a", 3], "document 1 must be a string"),
        (["x " * 9000], "does not fit|document"),
    ],
)
def test_bad_documents_are_refused(path, documents, problem):
    with pytest.raises(ParameterError, match=problem):
        intact.load(path).rerank(QUERY, documents)


def test_a_model_without_such_tokens_says_so(tmp_path):
    model = intact.load(write_tiny(tmp_path / "tiny.gguf"))
    with pytest.raises(ParameterError, match="no single token for 'yes'"):
        model.rerank(QUERY, DOCUMENTS)


def test_the_command_prints_what_the_library_finds(path):
    wanted = intact.load(path).rerank(QUERY, DOCUMENTS[:3])
    done = CliRunner().invoke(app, ["rerank", "-m", str(path), QUERY, *DOCUMENTS[:3], "--top", "2", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["results"]
    assert [(row["index"], row["score"]) for row in found] == [(one.index, one.score) for one in wanted[:2]]
    table = CliRunner().invoke(app, ["rerank", "-m", str(path), QUERY], input="one\n\ntwo\n")
    assert table.exit_code == 0
    assert "one" in table.stdout


def test_the_server_answers_as_the_library_does(path):
    wanted = intact.load(path).rerank(QUERY, DOCUMENTS[:3])
    documents = [DOCUMENTS[0], {"text": DOCUMENTS[1]}, DOCUMENTS[2]]
    body = {"model": "ranker", "query": QUERY, "documents": documents, "top_n": 2}
    with running({"ranker": path}) as server:
        found = httpx.post(f"{server.url}/v1/rerank", json=body, timeout=PATIENCE).json()
        assert [(r["index"], r["relevance_score"]) for r in found["results"]] == [
            (o.index, o.score) for o in wanted[:2]
        ]
        assert found["results"][0]["document"]["text"] == DOCUMENTS[wanted[0].index]
        assert found["usage"]["total_tokens"] == sum(one.tokens for one in wanted)
        none = httpx.post(f"{server.url}/v1/rerank", json=body | {"documents": []}, timeout=PATIENCE)
        assert none.status_code == 400
        assert "documents must have 1 to" in none.json()["error"]["message"]


@pytest.mark.parametrize("name", ["qwen-coder-0.5b"])
def test_a_real_model_prefers_the_answer(name):
    ranked = intact.load(real_model(name)).rerank(
        QUERY, ["Gravity attracts bodies.", "The capital of China is Beijing."]
    )
    assert ranked[0].index == 1


@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_a_quantised_head_scores_by_its_own_rows(tmp_path, profile):
    path = with_answers(tmp_path / "tiny.gguf", "qwen3")
    intact.quantize(path, tmp_path / "out", "int8-32", embeddings="int8-32")
    model = intact.load(tmp_path / "out", profile=profile)
    scores = [one.score for one in sorted(model.rerank(QUERY, DOCUMENTS), key=lambda one: one.index)]
    assert scores == pytest.approx(expected(model, profile), abs=4e-6)
