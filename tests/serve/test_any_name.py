"""`--any-name`: the only model answers under whatever name a client sends, and its replies keep that name."""

import json

import anthropic
import httpx
import ollama
import openai
import pytest
from typer.testing import CliRunner

import intact
from intact._base.errors import ParameterError
from intact.cli.app import app
from intact.receipts import canonical
from intact.receipts.document import Receipt
from intact.receipts.verify import verify_together
from intact.serve.models import NAME_CHARACTERS, Loading, Models
from intact.serve.settings import ServerSettings
from support.adapters import write_adapter
from support.folders import write_encoder
from support.serving import running
from support.variants.encoders import ENCODERS

NAME = "gpt-4o"
QUESTION = [{"role": "user", "content": "Why?"}]
ASKED = {"messages": QUESTION, "max_tokens": 6, "seed": 3}


@pytest.fixture(scope="module")
def server(tiny_path):
    with running({"tiny": tiny_path}, any_name=True) as there:
        yield there


@pytest.fixture(scope="module")
def claude(server):
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as made:
        yield made


def test_the_text_is_that_of_the_models_own_name_and_the_reply_keeps_the_asked_one(client):
    own = client.chat.completions.create(model="tiny", **ASKED)
    other = client.chat.completions.create(model=NAME, **ASKED)
    assert other.choices[0].message == own.choices[0].message
    assert other.system_fingerprint == own.system_fingerprint
    assert [own.model, other.model] == ["tiny", NAME]


def test_every_reply_of_openais_interface_keeps_the_asked_name(client):
    chunks = list(client.chat.completions.create(model=NAME, stream=True, **ASKED))
    assert {chunk.model for chunk in chunks} == {NAME}
    texts = list(client.completions.create(model=NAME, prompt="a", max_tokens=4, stream=True))
    assert {chunk.model for chunk in texts} == {NAME}
    assert client.completions.create(model=NAME, prompt="a", max_tokens=4).model == NAME
    assert client.responses.create(model=NAME, input="Why?", max_output_tokens=16).model == NAME
    with client.responses.stream(model=NAME, input="Why?", max_output_tokens=16) as events:
        named = [event.response.model for event in events if hasattr(event, "response")]
    assert len(named) >= 2
    assert set(named) == {NAME}
    assert client.models.retrieve(NAME).id == NAME
    assert client.models.retrieve(NAME).model_extra["parent"] == "tiny"
    assert [one.id for one in client.models.list()] == ["tiny"]


def test_every_reply_of_anthropics_interface_keeps_the_asked_name(claude):
    asked = {"model": "claude-next", "messages": QUESTION, "max_tokens": 6}
    assert claude.messages.create(**asked).model == asked["model"]
    with claude.messages.stream(**asked) as stream:
        assert stream.get_final_message().model == asked["model"]
    assert claude.messages.count_tokens(model=asked["model"], messages=QUESTION).input_tokens > 0


@pytest.mark.parametrize("name", ["llama3.2:3b", "llama3:latest"])
def test_every_reply_of_ollamas_interface_keeps_the_asked_name(server, name):
    client = ollama.Client(host=server.url)
    assert client.chat(model=name, messages=QUESTION, options={"num_predict": 4}).model == name
    parts = list(client.generate(model=name, prompt="Why?", stream=True, options={"num_predict": 4}))
    assert {part.model for part in parts} == {name}
    assert client.show(name).modelinfo
    assert client.pull(name).status == "success"  # it is served already
    assert [one.model for one in client.list().models] == ["tiny"]


@pytest.mark.parametrize("name", ["tiny:self-consistency-3", f"{NAME}:self-consistency-3"])
def test_a_name_that_spells_a_method_goes_to_the_method(client, server, name):
    reply = client.chat.completions.create(model=name, **ASKED)
    assert reply.model == name
    assert reply.intact["method"] == "self_consistency"
    assert reply.intact["parameters"]["n"] == 3
    chunks = list(client.chat.completions.create(model=name, stream=True, **ASKED))
    assert {chunk.model for chunk in chunks} == {name}
    body = {"model": f"{name}:latest", "messages": QUESTION, "stream": False, "options": {"num_predict": 6}}
    spelled = httpx.post(f"{server.url}/api/chat", json=body, timeout=60).json()
    assert spelled["model"] == f"{name}:latest"
    assert spelled["intact"]["method"] == "self_consistency"


def test_a_receipt_states_the_true_model(client, tiny_path):
    reply = client.chat.completions.create(model=NAME, **ASKED, extra_body={"intact": {"receipt": True}})
    document = reply.choices[0].receipt
    assert NAME not in json.dumps(document)
    with intact.load(tiny_path) as model:
        (verdict,) = verify_together(model, [Receipt.parse(canonical.encode(document))])
    assert verdict.outcome == "true"
    answer = httpx.post(f"{client.base_url}verify", json={"receipt": document, "model": NAME}).json()
    assert (answer["model"], answer["outcome"]) == ("tiny", "true")


def test_metrics_state_the_true_model(client, server):
    client.chat.completions.create(model=NAME, **ASKED)
    metrics = httpx.get(f"{server.url}/metrics").text
    assert 'intact_model_loaded{model="tiny"} 1.0' in metrics
    assert NAME not in metrics


def test_vectors_and_orders_keep_the_asked_name(tmp_path):
    kinds = {"bert": "mean_tokens", "xlm-roberta-reranker": None}
    places = {
        kind: write_encoder(tmp_path / kind, ENCODERS[kind], kind, *[how] * bool(how)) for kind, how in kinds.items()
    }
    with running({"embedder": places["bert"]}, any_name=True) as there:
        with openai.OpenAI(base_url=there.url + "/v1", api_key="none", max_retries=0) as made:
            found = made.embeddings.create(model="text-embedding-3-small", input="The sky")
        assert found.model == "text-embedding-3-small"
        assert (
            ollama.Client(host=there.url).embed(model="nomic-embed-text", input="The sky").model == "nomic-embed-text"
        )
    with running({"reranker": places["xlm-roberta-reranker"]}, any_name=True) as there:
        body = {"model": "rerank-v3", "query": "a", "documents": ["b"]}
        assert httpx.post(f"{there.url}/v1/rerank", json=body, timeout=60).json()["model"] == "rerank-v3"


def test_a_name_that_would_swell_every_chunk_is_refused(client):
    client.completions.create(model="m" * NAME_CHARACTERS, prompt="a", max_tokens=1)
    with pytest.raises(openai.NotFoundError, match="no model named"):
        client.completions.create(model="m" * (NAME_CHARACTERS + 1), prompt="a", max_tokens=1)


def test_several_models_or_an_adapter_beside_one_are_refused_at_the_start(tiny_path, tmp_path):
    settings = ServerSettings(any_name=True)
    with pytest.raises(ParameterError, match=r"--any-name needs a single model, .* has 2: tiny, other"):
        Models({"tiny": tiny_path, "other": tiny_path}, Loading(), settings)
    adapter = write_adapter(tmp_path / "one.gguf", tiny_path, 0)
    with pytest.raises(ParameterError, match=r"has 2: tiny, one"):
        Models({"tiny": tiny_path}, Loading(adapters={"one": adapter}), settings)
    ran = CliRunner().invoke(app, ["serve", str(tiny_path), "other=absent.gguf", "--any-name"])
    assert ran.exit_code == 2
    assert "has 2: tiny, other; serve one of them" in ran.stderr
