"""Receipts over HTTP: made, kept for who asked, true when checked, false when changed."""

import asyncio
import json
from dataclasses import replace

import httpx
import pytest

import intact
from intact.receipts import canonical
from intact.serve.apis.receipts import _expected
from intact.serve.errors import ApiError
from intact.serve.service import VERIFICATIONS, ReceiptStore
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.entries import TextEntry
from support.patience import PATIENCE

MESSAGES = [{"role": "user", "content": "Why?"}]
ASKED = {"model": "tiny", "messages": MESSAGES, "max_tokens": 8, "seed": 2, "n": 2}


@pytest.fixture(scope="module")
def answer(client):
    return client.chat.completions.create(**ASKED, extra_body={"intact": {"receipt": True}})


def verify(server, **body):
    return httpx.post(server.url + "/v1/verify", json=body, timeout=PATIENCE)


def test_a_receipt_is_true(server, client, answer):
    for choice in answer.choices:
        verdict = verify(server, model="tiny", receipt=choice.receipt).json()
        assert verdict["outcome"] == "true"
        assert verdict["checked"] == len(choice.receipt["output"]["tokens"])
    assert answer.choices[0].receipt["model"]["weights"].startswith(answer.system_fingerprint.rpartition("-")[2])


def test_a_changed_one_is_not(server, answer):
    receipt = answer.choices[1].receipt
    tokens = list(receipt["output"]["tokens"])
    tokens[3] = (tokens[3] + 1) % 300
    verdict = verify(server, receipt=receipt | {"output": receipt["output"] | {"tokens": tokens}}).json()
    assert (verdict["outcome"], verdict["what"], verdict["position"]) == ("false", "token", 3)


def test_what_cannot_be_verified_has_a_verdict(server, answer):
    receipt = answer.choices[0].receipt
    long = receipt["request"] | {"prompt": [5] * 100_000, "source": None}
    for value, what in (
        (receipt | {"version": 99}, "version"),
        (receipt | {"version": "none"}, "format"),
        (receipt | {"request": long}, "context"),
        ({}, "format"),
        ({"format": 1.5}, "format"),
        ({"format": "\ud800"}, "format"),
    ):
        content, kind = json.dumps({"receipt": value}), {"content-type": "application/json"}
        verdict = httpx.post(server.url + "/v1/verify", content=content, headers=kind, timeout=PATIENCE).json()
        assert (verdict["object"], verdict["outcome"], verdict["what"]) == ("verdict", "unverifiable", what)
    assert verify(server, receipt="none").status_code == 400


def test_streams_bring_the_same(server, client, answer):
    chunks = list(client.chat.completions.create(**ASKED, stream=True, extra_body={"intact": {"receipt": True}}))
    told = {c.index: c.receipt for chunk in chunks for c in chunk.choices if hasattr(c, "receipt")}
    assert [told[0], told[1]] == [choice.receipt for choice in answer.choices]
    kept = httpx.get(f"{server.url}/v1/receipts/{chunks[0].id}").json()["data"]
    assert kept == [told[0], told[1]]
    assert httpx.get(f"{server.url}/v1/receipts/none").status_code == 404


def test_texts_have_receipts_that_can_be_fetched(server, client):
    asked = {"model": "tiny", "prompt": ["x", "Once upon"], "n": 2, "max_tokens": 4}
    whole = client.completions.create(**asked, extra_body={"intact": {"receipt": True}})
    receipts = [choice.receipt for choice in whole.choices]
    assert verify(server, receipt=receipts[3]).json()["outcome"] == "true"
    assert httpx.get(f"{server.url}/v1/receipts/{whole.id}").json()["data"] == receipts
    chunks = list(client.completions.create(**asked, stream=True, extra_body={"intact": {"receipt": True}}))
    told = {c.index: c.receipt for chunk in chunks for c in chunk.choices if hasattr(c, "receipt")}
    assert [told[index] for index in range(4)] == receipts
    assert httpx.get(f"{server.url}/v1/receipts/{chunks[0].id}").json()["data"] == receipts


@pytest.mark.parametrize("model", ["tiny", "tiny:best-of-n-2"])
def test_responses_have_receipts_that_can_be_fetched(server, client, model):
    asked = {"model": model, "input": "Why?", "max_output_tokens": 8}
    whole = client.responses.create(**asked, extra_body={"intact": {"receipt": True}})
    assert verify(server, model="tiny", receipt=whole.receipt).json()["outcome"] == "true"
    *_, last = client.responses.create(**asked, stream=True, extra_body={"intact": {"receipt": True}})
    assert last.response.receipt == whole.receipt
    for response in (whole, last.response):
        assert httpx.get(f"{server.url}/v1/receipts/{response.id}").json()["data"] == [whole.receipt]
    assert not hasattr(client.responses.create(**asked), "receipt")


@pytest.mark.parametrize("model", ["tiny:short-m-at-k", "tiny:best-of-n-3", "tiny:self-certainty-2"])
def test_methods_have_receipts_too(server, client, tiny_path, model):
    asked = {"model": model, "messages": MESSAGES, "max_tokens": 12, "seed": 2}
    whole = client.chat.completions.create(**asked, extra_body={"intact": {"receipt": True}})
    receipt = whole.choices[0].receipt
    assert httpx.get(f"{server.url}/v1/receipts/{whole.id}").json()["data"] == [receipt]
    verdict = verify(server, model="tiny", receipt=receipt).json()
    assert (verdict["outcome"], verdict["checked"]) == ("true", whole.usage.completion_tokens)
    changed = receipt | {"result": receipt["result"] | {"why": "spent"}}
    assert verify(server, receipt=changed).json()["what"] == "root"
    chunks = list(client.chat.completions.create(**asked, stream=True, extra_body={"intact": {"receipt": True}}))
    told = [c.receipt for chunk in chunks for c in chunk.choices if hasattr(c, "receipt")]
    assert told == [receipt]
    assert httpx.get(f"{server.url}/v1/receipts/{chunks[0].id}").json()["data"] == told
    alone = intact.load(tiny_path, threads=1)
    name = receipt["method"]["name"]
    given = json.loads(receipt["method"]["parameters"])
    same = intact.solve(alone, name, "Why?", seed=2, receipt=True, max_tokens=12, **given)
    assert same.receipt.to_document()["entries"] == receipt["entries"]


@pytest.mark.parametrize("name", ["best_of_n", "beam_search"])
def test_a_run_is_charged_for_all_that_the_model_is_given_to_verify_it(server, client, name):
    """Its prompts too; texts that go on from others read these again."""
    accounts = server.service.models.served["tiny"].admission.accounts

    def charged(receipt):
        server.settle(server.idle)
        before = sum(accounts.values())
        verdict = verify(server, model="tiny", receipt=receipt).json()
        server.settle(server.idle)
        return verdict, sum(accounts.values()) - before

    parameters = {"n": 4} if name == "best_of_n" else {"n": 4, "width": 2, "steps": 3, "delimiter": "e"}
    own = {"method": name, "parameters": parameters, "receipt": True}
    whole = client.chat.completions.create(**ASKED | {"n": 1}, extra_body={"intact": own})
    document = whole.choices[0].receipt
    run = RunReceipt.parse(canonical.encode(document))
    cost, texts = run.result.cost, sum(isinstance(entry, TextEntry) for entry in run.entries)
    assert _expected(run, 1 << 30) == (run.count + cost.prefill, texts)
    assert _expected(run, 1) == (run.count + 1, texts)
    verdict, tokens = charged(document)
    assert (verdict["outcome"], verdict["given"]) == ("true", tokens)
    assert tokens == cost.prefill + run.count if name == "best_of_n" else tokens > cost.prefill + run.count
    costly = replace(run.result, cost=cost._replace(prefill=1 << 52))
    verdict, tokens = charged(RunReceipt.make(run.header, run.entries, costly).to_document())
    assert (verdict["what"], tokens) == ("cost", run.count)  # found out before the model reads anything


def test_a_method_without_a_receipt_has_none(client):
    asked = {"model": "tiny:best-of-n-2", "messages": MESSAGES, "max_tokens": 8}
    assert not hasattr(client.chat.completions.create(**asked).choices[0], "receipt")


def test_methods_are_listed(server):
    listed = httpx.get(server.url + "/v1/methods").json()["data"]
    by_name = {method["name"]: method for method in listed}
    assert by_name["self_consistency"]["parameters"] == [
        {"name": "n", "type": "int", "default": 16, "help": "Number of samples.", "maximum": 1024}
    ]
    assert "compute_optimal" not in by_name


def test_a_verification_ends_with_its_client(server, answer):
    """Nobody else goes without a thread meanwhile, and the model is not let go before it has ended."""
    served, many = server.service.models.served["tiny"], 20
    steps = served.loaded.engine.counters.steps

    async def scene():
        async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as client:
            body = {"receipt": answer.choices[0].receipt}
            with served.loaded.exclusive():  # no verification comes to its first step
                asked = [asyncio.create_task(client.post("/v1/verify", json=body)) for _ in range(many)]
                while served.admission.running < many:
                    await asyncio.sleep(0.005)
                assert (await client.post("/tokenize", json={"prompt": "Hi"})).status_code == 200
                for task in asked:
                    task.cancel()
                await asyncio.gather(*asked, return_exceptions=True)
                while not served.admission.running == served.users == VERIFICATIONS:  # others still waited for a thread
                    await asyncio.sleep(0.005)

    asyncio.run(scene())
    server.settle(server.idle)
    assert served.loaded.engine.counters.steps == steps


def test_what_is_kept_is_bounded_by_its_size(tiny_path):
    model = intact.load(tiny_path, threads=1)
    answers = [model.generate("Why?", max_tokens=8, seed=seed, receipt=True)[0] for seed in range(4)]
    size = max(len(json.dumps([answer.receipt.to_document()])) for (answer,) in answers)
    kept = ReceiptStore(2 * size)
    for number, answer in enumerate(answers[:3]):
        kept.add("a", str(number), answer)
    kept.add("a", "large", [one for (one,) in answers])  # too much by itself: for it nobody has to go
    for name in ("0", "large"):
        with pytest.raises(ApiError):
            kept.find("a", name)
    for number, (answer,) in list(enumerate(answers))[1:3]:
        assert json.loads(kept.find("a", str(number))) == [answer.receipt.to_document()]
    with pytest.raises(ApiError):
        kept.find("b", "2")
