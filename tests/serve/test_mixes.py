"""Mixes behind the server: the library's answers, whole and streamed, and receipts; what cannot be mixed is refused."""

import json

import httpx
import openai
import pytest
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.reason.problem import Problem
from intact.receipts import canonical
from intact.receipts.document import Receipt
from intact.receipts.verify import verify_together
from intact.serve.models import Loading
from intact.serve.settings import ServerSettings
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.verify import verify_run
from intact.text import ChatPrompt
from intact.text.template import read_time
from support.adapters import write_adapter
from support.patience import PATIENCE
from support.serving import running
from support.tiny import write_tiny

NOW = "2026-11-20T17:45:00"
SYSTEM = {"role": "system", "content": "Be brief."}
CHAT = [SYSTEM, {"role": "user", "content": "Why?"}]
SHADOW = [SYSTEM, {"role": "user", "content": "Say it."}]
BRIEF = {"max_tokens": 8, "seed": 3, "temperature": 0.9}
GUIDED = {"mix": {"name": "guidance", "scale": 2.5}, "shadow": "Say it."}


@pytest.fixture(scope="module")
def partner(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("partner") / "small.gguf", "llama", seed=1, context=1024)


@pytest.fixture(scope="module")
def adapter(tiny_path, tmp_path_factory):
    return write_adapter(tmp_path_factory.mktemp("adapter") / "one.gguf", tiny_path, 1)


@pytest.fixture(scope="module")
def server(tiny_path, partner, adapter):
    loading = Loading(threads=1, adapters={"one": adapter}, partners={"amateur": partner})
    with running({"tiny": tiny_path, "other": partner}, loading) as there:
        yield there
        there.settle(there.idle)


@pytest.fixture(scope="module")
def model(tiny_path, partner):
    with intact.load(tiny_path, partners=[partner], threads=1, drafter="off") as loaded:
        yield loaded


def chat(client, own, messages=CHAT, **fields):
    fields = {"model": "tiny", "messages": messages, **BRIEF, **fields}
    return client.chat.completions.create(**fields, extra_body={"intact": {"now": NOW, **own}})


def beside(messages):
    return ChatPrompt(messages, now=read_time(NOW))


@pytest.mark.parametrize("shadow", ["Say it.", SHADOW], ids=["text", "messages"])
def test_chats_are_the_librarys(client, model, shadow):
    asked = {"mix": GUIDED["mix"], "shadow": shadow}
    (wanted,) = model.generate(beside(CHAT), n=2, mix=GUIDED["mix"], shadow=beside(SHADOW), **BRIEF)
    (plain,) = model.generate(beside(CHAT), n=2, **BRIEF)
    assert [one.tokens for one in wanted] != [one.tokens for one in plain]
    answer = chat(client, asked, n=2)
    assert [choice.message.content for choice in answer.choices] == [one.text for one in wanted]
    texts = ["", ""]
    for chunk in chat(client, asked, n=2, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [one.text for one in wanted]
    assert answer.system_fingerprint == chat(client, {}).system_fingerprint


def test_a_shadow_is_counted_among_the_tokens_that_are_read(client, model):
    plain, guided = chat(client, {}).usage, chat(client, GUIDED).usage
    shadow = model.generate(beside(SHADOW), max_tokens=1)[0][0].prompt_tokens
    assert guided.prompt_tokens == plain.prompt_tokens + shadow
    assert guided.total_tokens == guided.prompt_tokens + guided.completion_tokens


def test_partners_are_mixed_in_and_verified(client, server, model, tiny_path, partner):
    answer = chat(client, {"mix": "contrastive", "receipt": True})
    ((wanted,),) = model.generate(beside(CHAT), mix="contrastive", **BRIEF)
    assert answer.choices[0].message.content == wanted.text
    plain = chat(client, {}).system_fingerprint
    assert answer.system_fingerprint.startswith(plain + "+")
    receipt = Receipt.parse(canonical.encode(answer.choices[0].receipt))
    assert [one.outcome for one in verify_together(model, [receipt])] == ["true"]
    with intact.load(tiny_path, threads=1) as alone:
        assert [one.outcome for one in verify_together(alone, [receipt])] == ["unverifiable"]
    verdict = httpx.post(
        server.url + "/v1/verify", json={"receipt": answer.choices[0].receipt}, timeout=PATIENCE
    ).json()
    assert (verdict["outcome"], verdict["checked"]) == ("true", len(wanted.tokens))
    listed = {one.id: one.model_extra or {} for one in client.models.list().data}
    assert listed["tiny"]["partners"] == ["amateur"]
    assert "partners" not in listed["other"]


def test_completions_have_a_shadow_for_each_prompt(client, model):
    prompts, shadows = ["a b c", [5, 6, 7, 8]], ["a", [6, 7]]
    for prompt, shadow in zip(prompts, shadows, strict=True):
        own = {"mix": "guidance", "shadow": shadow, "receipt": True}
        answer = client.completions.create(model="tiny", prompt=prompt, **BRIEF, extra_body={"intact": own})
        ((wanted,),) = model.generate(prompt, mix="guidance", shadow=shadow, **BRIEF)
        assert answer.choices[0].text == wanted.text
        receipt = Receipt.parse(canonical.encode(answer.choices[0].receipt))
        assert [one.outcome for one in verify_together(model, [receipt])] == ["true"]
    many = {"mix": "guidance", "shadow": ["a", "b"]}
    stream = client.completions.create(
        model="tiny", prompt=["x y", "z"], **BRIEF, stream=True, extra_body={"intact": many}
    )
    texts = ["", ""]
    for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    wanted = model.generate(["x y", "z"], mix="guidance", shadow=["a", "b"], **BRIEF)
    assert texts == [one.text for (one,) in wanted]


def test_other_interfaces_take_the_same_fields(client, server, model):
    ((wanted,),) = model.generate(beside(CHAT), mix=GUIDED["mix"], shadow=beside(SHADOW), **BRIEF)
    own = {"now": NOW, **GUIDED}
    fields = {"input": CHAT, "max_output_tokens": 8, "seed": 3, "temperature": 0.9}
    for shadow in ("Say it.", SHADOW):
        body = {"model": "tiny", **fields, "intact": own | {"shadow": shadow}}
        answer = httpx.post(server.url + "/v1/responses", json=body, timeout=PATIENCE).json()
        assert answer["output"][0]["content"][0]["text"] == wanted.text
    body = {"model": "tiny", "system": "Be brief.", "messages": CHAT[1:], **BRIEF, "intact": own}
    answer = httpx.post(server.url + "/v1/messages", json=body, timeout=PATIENCE).json()
    assert answer["content"][0]["text"] == wanted.text
    lines = httpx.post(server.url + "/v1/messages", json=body | {"stream": True}, timeout=PATIENCE).text.splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    begun, ended = (next(one for one in events if one["type"] == kind) for kind in ("message_start", "message_delta"))
    read = answer["usage"]["input_tokens"]
    assert begun["message"]["usage"]["input_tokens"] == ended["usage"]["input_tokens"] == read
    body = {"model": "tiny", "messages": CHAT, "stream": False, "intact": own}
    body["options"] = {"num_predict": 8, "seed": 3, "temperature": 0.9, "top_k": 0, "top_p": 1, "min_p": 0}
    answer = httpx.post(server.url + "/api/chat", json=body, timeout=PATIENCE).json()
    assert answer["message"]["content"] == wanted.text


@pytest.mark.parametrize("asked", [GUIDED, {"mix": "contrastive"}], ids=["shadow", "partner"])
def test_methods_draw_from_mixes(client, server, model, tiny_path, asked):
    own = {"method": "self_consistency", "n": 3, "id": "p", "trace": True, **asked}
    answer = chat(client, own)
    messages = tuple((turn["role"], turn["content"]) for turn in CHAT)
    sampled = {"max_tokens": 8, "temperature": 0.9}
    wanted = intact.solve(model, "self_consistency", Problem("p", messages, seed=3), n=3, now=NOW, **sampled, **asked)
    texts = [node["text"] for node in wanted.trace["nodes"]]
    assert [node["text"] for node in answer.intact["trace"]["nodes"]] == texts
    plain = chat(client, {"method": "self_consistency", "n": 3, "id": "p", "trace": True})
    assert [node["text"] for node in plain.intact["trace"]["nodes"]] != texts
    recorded = chat(client, own | {"receipt": True})
    assert [node["text"] for node in recorded.intact["trace"]["nodes"]] == texts
    receipt = recorded.choices[0].receipt
    assert receipt["models"][0]["mix"]["shadow"] == asked.get("shadow")
    verdict = httpx.post(server.url + "/v1/verify", json={"receipt": receipt}, timeout=PATIENCE).json()
    assert (verdict["outcome"], verdict["what"]) == ("true", None)
    with intact.load(tiny_path, threads=1) as alone:
        lacking = verify_run(alone, RunReceipt.parse(canonical.encode(receipt)))
    assert (lacking.outcome, lacking.what) == (("true", None) if "shadow" in asked else ("unverifiable", "decoding"))


def test_a_shadow_is_rendered_with_the_tools_of_its_request(client, server, model):
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    plain = chat(client, {}, tools=[tool]).usage.prompt_tokens
    guided = chat(client, GUIDED, tools=[tool]).usage.prompt_tokens
    shadow = chat(client, {}, messages=SHADOW, tools=[tool]).usage.prompt_tokens
    assert guided == plain + shadow


@pytest.mark.parametrize(
    ("own", "fields", "param", "message"),
    [
        ({"mix": "guidances"}, {}, "intact.mix", "no mix named 'guidances'"),
        ({"mix": {"name": "guidance", "beta": 1}, "shadow": "x"}, {}, "intact.mix", "has no parameter 'beta'"),
        ({"mix": {"name": "guidance", "scale": -1}, "shadow": "x"}, {}, "intact.mix", "must lie in"),
        ({"mix": {"scale": 1}}, {}, "intact.mix", "a mapping with the key 'name'"),
        ({"mix": "guidance"}, {}, "intact.shadow", "the mix guidance needs a shadow prompt"),
        ({"shadow": "x"}, {}, "intact.shadow", "a shadow prompt needs a mix"),
        ({"mix": "contrastive", "shadow": "x"}, {}, "intact.shadow", "the mix contrastive takes no shadow prompt"),
        ({"mix": "proxy"}, {}, "intact.mix", "takes 2 partners, got 1"),
        ({"mix": "contrastive"}, {"model": "other"}, "intact.mix", "takes 1 partner, got 0"),
        ({"mix": "contrastive"}, {"model": "one"}, "intact.mix", "mixes do not support adapters"),
        ({"mix": "guidance", "shadow": [5, 6]}, {}, "intact.shadow", "a string or a list of messages"),
        ({"mix": "guidance", "shadow": []}, {}, "intact.shadow", "a string or a list of messages"),
        ({"mix": "guidance", "shadow": [{"role": "user"}]}, {}, "intact.shadow[0].content", "is missing"),
        ({"mix": "guidance", "shadow": "x " * 2000}, {}, "intact.shadow", "context"),
        ({"mix": "guidance", "shadow": "x"}, {"messages": [SYSTEM]}, "intact.shadow", "which must be the user's"),
        ({"mix": "proxy"}, {"model": "tiny:best-of-n-2"}, "intact.mix", "takes 2 partners, got 1"),
        ({"mix": "guidance", "shadow": SHADOW}, {"model": "tiny:best-of-n-2"}, "intact.shadow", "must be a string"),
        ({"mix": "guidance", "shadow": "x " * 2000}, {"model": "tiny:best-of-n-2"}, "intact.shadow", "context"),
    ],
)
def test_what_cannot_be_mixed_is_refused_by_its_field(client, own, fields, param, message):
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        chat(client, own, **fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("own", "fields", "param", "message"),
    [
        ({"mix": "guidance", "shadow": "a"}, {"prompt": ["a", "b"]}, "intact.shadow", "for each of the 2, got 1"),
        ({"mix": "guidance", "shadow": CHAT}, {}, "intact.shadow", "not messages"),
        ({"mix": "guidance", "shadow": [[]]}, {}, "intact.shadow", "empty"),
        ({"mix": "guidance", "shadow": [1, 10**6]}, {}, "intact.shadow", "must lie in"),
        ({"mix": "contrastive"}, {"echo": True}, "intact.mix", "cannot be combined with echo"),
    ],
)
def test_completions_that_cannot_be_mixed_are_refused(client, own, fields, param, message):
    fields = {"model": "tiny", "prompt": "a", **BRIEF, **fields}
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        client.completions.create(**fields, extra_body={"intact": own})
    assert caught.value.param == param


def test_memory_for_partners_is_counted(tiny_path, partner):
    from intact.serve.models import Models

    def needed(**more):
        models = Models({"tiny": tiny_path, "other": partner}, Loading(cache_bytes=1000, **more), ServerSettings())
        return [models._need(served) for served in models.served.values()]

    alone, beside_it = needed(), needed(partners={"amateur": partner})
    assert beside_it == [alone[0] + alone[1] - 1000, alone[1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--with", "a=x.gguf", "--ray", "local"], "--with cannot be combined with --ray"),
        (["--with", "a=x.gguf", "--prefill", "local"], "leave out one of them"),
        (["--with", "a={path}", "--with", "a={path}"], "--with names 'a' twice"),
        (["--with", "a"], "--with must be NAME=MODEL"),
        (["--with", "a=nowhere.gguf"], "nowhere.gguf"),
    ],
)
def test_partners_that_cannot_be_served_are_refused_before_the_server_starts(tiny_path, options, message):
    options = [option.format(path=tiny_path) for option in options]
    result = CliRunner().invoke(app, ["serve", str(tiny_path), *options], prog_name="intact")
    assert (result.exit_code, message in result.stderr) == (2, True)
