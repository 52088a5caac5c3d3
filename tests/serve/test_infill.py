"""Fill in the middle over both interfaces: the text is what the library writes after the prompt."""

import json

import httpx
import openai
import pytest

import intact
from intact.measure.bench.shapes import tokenizer_metadata
from support.models import real_model
from support.patience import PATIENCE
from support.serving import running
from support.tiny import write_tiny

PREFIX = "def area(width, height):\n    return "
SUFFIX = "\n\n\nprint(area(width=3, height=4))\n"
MARKS = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
SAMPLED = {"max_tokens": 12, "temperature": 0.7, "seed": 3}


@pytest.fixture(scope="module", params=["tiny", pytest.param("real", marks=pytest.mark.slow)])
def coder(request, tmp_path_factory):
    """A model of code, or a tiny one with its three tokens."""
    if request.param == "real":
        return real_model("qwen-coder-0.5b")
    own = tokenizer_metadata(301)
    own["tokenizer.ggml.tokens"][-3:] = MARKS
    own["tokenizer.ggml.token_type"][-3:] = [3] * 3
    own["tokenizer.ggml.merges"] = own["tokenizer.ggml.merges"][:-3]
    return write_tiny(tmp_path_factory.mktemp("coder") / "coder.gguf", "qwen3", metadata=own)


@pytest.fixture(scope="module")
def filling(coder):
    with running({"coder": coder}) as there:
        yield there


@pytest.fixture(scope="module")
def asking(filling):
    with openai.OpenAI(base_url=filling.url + "/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def prompt(filling, asking):
    asking.completions.create(model="coder", prompt="x", max_tokens=1)
    encode = filling.service.models.served["coder"].loaded.tokenizer.encode
    written = f"{MARKS[0]}{PREFIX}{MARKS[1]}{SUFFIX}{MARKS[2]}"
    return encode(written)


def test_the_middle_is_what_the_model_writes_after_both(coder, asking, prompt):
    model = intact.load(coder, threads=1)
    tokenizer = model.tokenizer
    ((wanted,),), ((greedy,),) = model.generate([prompt], **SAMPLED), model.generate([prompt], max_tokens=3)
    model.close()
    assert greedy.text == "width * height" or coder.name == "coder.gguf"
    whole = asking.completions.create(model="coder", prompt=PREFIX, suffix=SUFFIX, **SAMPLED)
    assert whole.choices[0].text == wanted.text
    assert whole.usage.prompt_tokens == len(prompt)
    chunks = asking.completions.create(model="coder", prompt=PREFIX, suffix=SUFFIX, stream=True, **SAMPLED)
    assert "".join(chunk.choices[0].text for chunk in chunks) == wanted.text
    tokens = prompt[1 : prompt.index(tokenizer.encode(MARKS[1])[-1])]
    given = asking.completions.create(model="coder", prompt=[tokens, tokens], suffix=SUFFIX, **SAMPLED)
    assert [choice.text for choice in given.choices] == [wanted.text] * 2


def test_the_receipt_states_the_prompt_s_tokens(filling, asking, prompt):
    own = {"intact": {"receipt": True}}
    answer = asking.completions.create(model="coder", prompt=PREFIX, suffix=SUFFIX, **SAMPLED, extra_body=own)
    (choice,) = answer.choices
    assert choice.receipt["request"]["prompt"] == prompt
    verdict = httpx.post(filling.url + "/v1/verify", json={"receipt": choice.receipt}, timeout=PATIENCE).json()
    assert verdict["outcome"] == "true"


def test_ollama_s_interface_fills_in_the_same(filling, asking):
    wanted = asking.completions.create(model="coder", prompt=PREFIX, suffix=SUFFIX, **SAMPLED)
    options = {"num_predict": 12, "temperature": 0.7, "seed": 3}
    body = {"model": "coder", "prompt": PREFIX, "suffix": SUFFIX, "options": options}
    with httpx.Client(base_url=filling.url, timeout=PATIENCE) as client:
        lines = [json.loads(line) for line in client.post("/api/generate", json=body).text.splitlines()]
        assert "".join(line["response"] for line in lines) == wanted.choices[0].text
        assert lines[-1]["prompt_eval_count"] == wanted.usage.prompt_tokens
        first = client.post("/api/generate", json=body | {"prompt": "", "stream": False}).json()
        assert first["done_reason"] in ("stop", "length")  # not "load": there is a text to write
        assert "insert" in client.post("/api/show", json={"model": "coder"}).json()["capabilities"]
        for more, words in (
            ({"system": "Be brief."}, "system has no effect with suffix"),
            ({"think": True}, "think has no effect with suffix"),
            ({"model": "coder:best-of-n-2"}, "suffix cannot be combined with a reasoning method"),
        ):
            answer = client.post("/api/generate", json=body | more | {"stream": False})
            assert answer.status_code == 400
            assert words in answer.json()["error"]


def test_what_cannot_be_is_refused(server, client, asking):
    with pytest.raises(openai.BadRequestError, match="tiny cannot fill in text before a suffix") as raised:
        client.completions.create(model="tiny", prompt="x", suffix="y")
    assert raised.value.param == "suffix"
    with pytest.raises(openai.BadRequestError, match="echo cannot be combined with suffix") as raised:
        asking.completions.create(model="coder", prompt="x", suffix="y", echo=True)
    assert raised.value.param == "echo"
    with pytest.raises(openai.BadRequestError) as raised:
        asking.completions.create(model="coder", prompt="x", suffix=["y"], max_tokens=1)
    assert raised.value.param == "suffix"
