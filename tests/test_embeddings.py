"""Embeddings: the vectors of texts, the same whatever else runs, and the models that give none."""

import asyncio
import base64
import json
import math

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

import intact
from intact._base.errors import ParameterError
from intact.checkpoints.formats import Checkpoint, open_checkpoint
from intact.cli.app import app
from intact.engine.hidden import read_hidden
from intact.executors.native import available_tiers
from intact.models.pooling import read_pooling
from support.serving import running
from support.tiny import write_tiny

TEXTS = ["The harbour wakes before the town does.", "a", "Boats, nets and ice; " * 12, "The harbour wakes"]
LAST = {"qwen3.pooling_type": 3}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("embeddings") / "embedder.gguf", "qwen3", metadata=LAST)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("embeddings") / "writer.gguf", "qwen3")


@pytest.fixture(scope="module")
def model(path):
    return intact.load(path)


def reference(path, text):
    """The vector in the terms of the definition: one step over the whole text, no engine; exact until the last root."""
    model = intact.load(path, executor="reference")
    tokens = model.tokenizer.encode(text)
    with model.exclusive() as engine:
        for chunks, _ in engine.prefill(tokens):
            engine.executor.step(chunks, np.array([len(chunks[0].tokens) - 1]))
            data = engine.executor.head_inputs(np.array([0]))[0].tobytes()
    values = [int(value) for value in read_hidden(data, "int8").values]
    length = math.sqrt(sum(value * value for value in values))
    return [np.float32(value / length) for value in values]


def test_vectors_are_those_of_the_definition(path, model):
    for text, found in zip(TEXTS, model.embed(TEXTS), strict=True):
        assert found.vector.tolist() == reference(path, text)
        assert found.tokens == len(model.tokenizer.encode(text))
        assert float(np.square(found.vector.astype(np.float64)).sum()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"chunk": 1}, {"chunk": 7, "rows": 3}, {"threads": 1}, {"page_size": 16}, {"prefix_cache": False}],
    ids=str,
)
def test_what_must_not_matter_changes_no_bit(path, model, options):
    wanted = [one.vector.tobytes() for one in model.embed(TEXTS)]
    other = intact.load(path, **options)
    assert [one.vector.tobytes() for one in other.embed(TEXTS)] == wanted
    assert [other.embed(text)[0].vector.tobytes() for text in reversed(TEXTS)] == wanted[::-1]


@pytest.mark.parametrize("tier", available_tiers())
def test_every_tier_gives_the_same_bits(path, model, tier, monkeypatch):
    monkeypatch.setenv("INTACT_ISA", tier)
    other = intact.load(path)
    assert other.info()["tier"] == tier
    assert [one.vector.tobytes() for one in other.embed(TEXTS)] == [one.vector.tobytes() for one in model.embed(TEXTS)]


def test_texts_share_steps_with_others(model):
    async def both():
        answer = asyncio.create_task(model.agenerate(["Once"], max_tokens=40, ignore_eos=True, seed=1))
        vectors = await model.aembed(TEXTS)
        return vectors, await answer

    vectors, ((answer,),) = asyncio.run(both())
    assert [one.vector.tobytes() for one in vectors] == [one.vector.tobytes() for one in model.embed(TEXTS)]
    ((alone,),) = model.generate(["Once"], max_tokens=40, ignore_eos=True, seed=1)
    assert answer.tokens == alone.tokens


def test_fewer_dimensions_are_the_first_made_of_length_1(model):
    (whole,), (part,) = model.embed(TEXTS[0]), model.embed(TEXTS[0], dimensions=8)
    first = whole.vector[:8].astype(np.float64)
    assert part.vector == pytest.approx(first / np.linalg.norm(first), rel=1e-6)
    for wrong in (0, 97, "8", 1.5):
        with pytest.raises(ParameterError, match="dimensions"):
            model.embed(TEXTS[0], dimensions=wrong)


def test_the_fp32_profile_gives_nearly_the_same(path, model):
    exact = intact.load(path, profile="fp32").embed(TEXTS)
    for one, other in zip(model.embed(TEXTS), exact, strict=True):
        assert float(one.vector @ other.vector) > 0.99


def test_models_that_give_none(plain, path, tmp_path):
    writer = intact.load(plain)
    with pytest.raises(ParameterError, match=r"writer.gguf gives no embeddings: its files do not name a pooling"):
        writer.embed("x")
    with pytest.raises(ParameterError, match="pooling must be 'last'"):
        writer.embed("x", pooling="mean")
    assert writer.embed("x", pooling="last")[0].vector.tobytes() == intact.load(path).embed("x")[0].vector.tobytes()
    with pytest.raises(ParameterError, match="there is no prompt"):
        writer.embed([], pooling="last")
    with pytest.raises(ParameterError, match="text 1"):
        writer.embed(["x", "y " * 600], pooling="last")


@pytest.mark.parametrize(
    ("settings", "pooling"),
    [
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, "last"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode_lasttoken": True, "pooling_mode_max_tokens": True}, "lasttoken and max_tokens"),
        ({"pooling_mode": ["lasttoken", "mean"]}, "lasttoken and mean"),
        ({"pooling_mode": "weighted"}, "weighted"),
        ({}, "Pooling"),
        ([1], "Pooling"),
    ],
)
def test_folders_of_sentence_transformers_name_their_pooling(tmp_path, settings, pooling):
    modules = [{"type": "sentence_transformers.models.Transformer", "path": ""}]
    modules.append({"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"})
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    assert read_pooling(Checkpoint(tmp_path, "safetensors", {}, {})) == pooling


@pytest.mark.parametrize(("behind", "pooling"), [("Normalize", "last"), ("Dense", "Pooling and Dense")])
def test_a_module_that_changes_the_vector_is_named(tmp_path, behind, pooling):
    names = {"Pooling": "1_Pooling", behind: "2"}
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in names.items()]
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "lasttoken"}))
    assert read_pooling(Checkpoint(tmp_path, "safetensors", {}, {})) == pooling


@pytest.mark.parametrize("text", ["{}", "[1]", "[", "[" * 100_000])
def test_modules_that_are_none_name_no_pooling(tmp_path, text):
    (tmp_path / "modules.json").write_text(text)
    assert read_pooling(Checkpoint(tmp_path, "safetensors", {}, {})) is None


def test_a_path_out_of_the_folder_is_not_followed(tmp_path):
    inner = tmp_path / "model"
    inner.mkdir()
    (tmp_path / "config.json").write_text(json.dumps({"pooling_mode": "lasttoken"}))
    (inner / "modules.json").write_text(json.dumps([{"type": "x.Pooling", "path": ".."}]))
    assert read_pooling(Checkpoint(inner, "safetensors", {}, {})) == "Pooling"


def test_gguf_files_name_their_pooling(path, plain):
    with open_checkpoint(path) as one, open_checkpoint(plain) as other:
        assert (read_pooling(one), read_pooling(other)) == ("last", None)


class TestCommand:
    def run(self, *words, stdin=""):
        return CliRunner().invoke(app, ["embed", *map(str, words)], input=stdin)

    def test_texts_are_compared(self, path):
        found = self.run(path, "A sea.", "An ocean.")
        assert found.exit_code == 0, found.output
        assert "1.0000" in found.stdout
        assert "96 dimensions" in found.stdout

    def test_lines_become_json(self, path, model):
        found = self.run(path, "--json", "--dimensions", 8, stdin="A sea.\n\nAn ocean.\n")
        document = json.loads(found.stdout)
        wanted = model.embed(["A sea.", "An ocean."], dimensions=8)
        assert [one["vector"] for one in document["embeddings"]] == [one.vector.tolist() for one in wanted]
        assert [one["text"] for one in document["embeddings"]] == ["A sea.", "An ocean."]

    def test_errors(self, path, plain):
        for words, message in (
            ((path,), "no text given"),
            ((plain, "x"), "gives no embeddings"),
            ((path, "x", "--pooling", "mean"), "pooling must be 'last' or None, got 'mean'"),
            ((path, "x", "--pooling", "max"), "--pooling must be last or cls or mean, got 'max'"),
            ((path, "x", "--dimensions", "0"), "dimensions must be"),
        ):
            found = self.run(*words)
            assert (found.exit_code, message in found.output) == (2, True), found.output


@pytest.fixture(scope="module")
def url(path, plain):
    with running({"embedder": path, "writer": plain}) as server:
        yield server.url


class TestServer:
    def test_openai(self, url, model):
        openai = pytest.importorskip("openai")
        client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
        wanted = [one.vector for one in model.embed(TEXTS)]
        for form in ("float", "base64"):
            found = client.embeddings.create(model="embedder", input=TEXTS, encoding_format=form)
            vectors = [one.embedding for one in found.data]
            if form == "base64":
                vectors = [np.frombuffer(base64.b64decode(vector), "<f4").tolist() for vector in vectors]
            assert vectors == [vector.tolist() for vector in wanted]
        assert found.usage.total_tokens == sum(len(model.tokenizer.encode(text)) for text in TEXTS)
        tokens = model.tokenizer.encode(TEXTS[0])
        by_tokens = client.embeddings.create(model="embedder", input=tokens, dimensions=8)
        assert by_tokens.data[0].embedding == model.embed(TEXTS[0], dimensions=8)[0].vector.tolist()

    @pytest.mark.parametrize(
        ("body", "words", "param"),
        [
            ({"model": "writer", "input": "x"}, "does not support embeddings", "model"),
            ({"input": []}, "input is empty", "input"),
            ({"input": ["x"] * 129}, "129 texts exceed the limit of 128", "input"),
            ({"input": "x " * 800}, "context", "input"),
            ({"input": ["x", [1]]}, "input", None),
            ({"input": [10**6]}, "token 0 must lie in", "input"),
            ({"input": "x", "dimensions": 97}, "dimensions", "dimensions"),
            ({"input": "x", "encoding_format": "int8"}, "encoding_format", "encoding_format"),
            ({"input": "x", "intact": {"method": "best_of_n"}}, "has no effect on /v1/embeddings", None),
        ],
        ids=str,
    )
    def test_bad_requests(self, url, body, words, param):
        answer = httpx.post(url + "/v1/embeddings", json={"model": "embedder"} | body)
        assert answer.status_code == 400, answer.text
        assert words in answer.json()["error"]["message"]
        if param is not None:
            assert answer.json()["error"]["param"] == param

    def test_ollama(self, url, model):
        wanted = [one.vector.tolist() for one in model.embed(TEXTS)]
        found = httpx.post(url + "/api/embed", json={"model": "embedder", "input": TEXTS}).json()
        assert found["embeddings"] == wanted
        assert found["prompt_eval_count"] == sum(len(model.tokenizer.encode(text)) for text in TEXTS)
        older = httpx.post(url + "/api/embeddings", json={"model": "embedder", "prompt": TEXTS[0]}).json()
        assert older == {"embedding": wanted[0]}
        none = httpx.post(url + "/api/embed", json={"model": "writer", "input": "x"})
        assert (none.status_code, "does not support embeddings" in none.json()["error"]) == (400, True)
