"""``intact audit`` on logs that a tiny model's rules wrote, honest ones and altered ones; exit code 2 is no verdict."""

import dataclasses
import json
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from intact.measure.audit.log import SamplerSettings
from intact.measure.audit.recompute import output_logits
from support.drawing import draw, record

SAMPLED, GREEDY = SamplerSettings(0.8, top_p=0.95, top_k=20), SamplerSettings(0.0)
COUNT = 40
NOISE = 0.03  # of an engine's logits, where the tiny model's are about 1


def log(path, model, settings, start=0, count=6, **claims):
    """Write a log of responses that `model` drew under `settings`, whatever is claimed."""
    lines = []
    for i in range(start, start + count):
        prompt = [1, 30 + i, 60 + 2 * i, 90]
        seeded = dataclasses.replace(settings, seed=100 + i if settings.temperature else None)
        lines.append(record(prompt, draw(model, prompt, COUNT, seeded, NOISE, seed=i), seeded, **claims))
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture(scope="module")
def honest(folder, models):
    """A log known to be honest, for each kind."""
    return {
        "inverse": log(folder / "known.jsonl", models["claimed"], SAMPLED, start=50, count=12),
        "greedy": log(folder / "known0.jsonl", models["claimed"], GREEDY, start=50, count=12),
    }


def audit(folder, *arguments, model="claimed"):
    from intact.cli.app import app

    words = ["audit", *map(str, arguments), "--model", str(folder / f"{model}.gguf"), "--threads", "1"]
    return CliRunner().invoke(app, words, prog_name="intact")


def test_the_logits_of_the_output_are_those_of_the_whole_text(models):
    model = models["claimed"]
    prompt, output = list(range(3, 80)), list(range(100, 190))
    rows = np.concatenate([part.copy() for part in output_logits(model, prompt, output)])
    np.testing.assert_array_equal(rows, model.logits(prompt + output)[len(prompt) - 1 : -1])


@pytest.mark.parametrize("settings", [SAMPLED, GREEDY], ids=["inverse", "greedy"])
@pytest.mark.parametrize("who", ["claimed", "other"])
def test_another_model_is_suspicious_and_the_claimed_one_is_not(folder, models, honest, settings, who, request):
    kind = "inverse" if settings.temperature else "greedy"
    path = log(folder / f"{kind}_{who}.jsonl", models[who], settings)
    result = audit(folder, path, "--honest", honest[kind], "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["verdict"]) == ((0, "consistent") if who == "claimed" else (1, "suspicious"))
    assert [finding["kind"] for finding in report["findings"]] == [kind, "likelihood"][: 1 + (kind != "greedy")]
    assert report["findings"][0]["tokens"] == 6 * COUNT
    assert all(len(response["scores"]) == COUNT for response in report["responses"])


@pytest.mark.parametrize(("claims", "code"), [({}, 0), ({"temperature": 1.3}, 1), ({"seed": 7}, 1), ({"top_k": 3}, 1)])
def test_other_settings_than_claimed_are_suspicious(folder, models, honest, claims, code):
    path = log(folder / "claims.jsonl", models["claimed"], SAMPLED, **claims)
    assert audit(folder, path, "--honest", honest["inverse"]).exit_code == code


def test_without_the_seed_the_likelihood_tells_another_temperature(folder, models):
    path = log(folder / "unseeded.jsonl", models["claimed"], SAMPLED, count=8, seed=None)
    result = audit(folder, path, "--json")
    assert (result.exit_code, json.loads(result.stdout)["findings"][0]["kind"]) == (0, "likelihood")
    path = log(folder / "hot.jsonl", models["claimed"], SAMPLED, count=8, seed=None, temperature=0.4)
    assert audit(folder, path).exit_code == 1
    assert audit(folder, log(folder / "s.jsonl", models["claimed"], SAMPLED), "--ignore-seed").exit_code == 0


def test_the_engine_s_own_log_probabilities_are_evidence_too(folder, models):
    def with_logprobs(path, model, start, count=8):
        log(path, models["claimed"], GREEDY, start=start, count=count)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            told = models[model].logprobs(line["prompt_tokens"] + line["output_tokens"]) / (1 << 24)
            line["logprobs"] = [float(value) for value in told[-COUNT:]]
        path.write_text("\n".join(map(json.dumps, lines)))
        return path

    known = with_logprobs(folder / "k.jsonl", "claimed", 20, 20)
    for model, code in (("claimed", 0), ("other", 1)):
        result = audit(folder, with_logprobs(folder / "l.jsonl", model, 0), "--honest", known, "--json")
        assert result.exit_code == code
        suspicious = {one["kind"]: one["suspicious"] for one in json.loads(result.stdout)["findings"]}
        assert suspicious == {"greedy": False, "logprobs": bool(code)}


def test_people_see_what_machines_see(folder, models, honest):
    path = log(folder / "seen.jsonl", models["other"], SAMPLED)
    result = audit(folder, path, "--honest", honest["inverse"])
    assert result.exit_code == 1
    assert "suspicious at 0.01 false alarms" in result.stdout
    assert "is due" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output_tokens": [3, 99999] * 10}, "outside this model's vocabulary"),
        ({"prompt_tokens": [-1]}, "outside this model's vocabulary"),
        ({"text": "something else"}, "it is from another tokenizer, was changed"),
        ({"output_tokens": []}, "the output is empty"),
        ({"output_tokens": [3] * 4000}, "the model's context is"),
        ({"output_tokens": [3] * 15}, "too little to judge"),
        ({"temperature": None}, "temperature is missing"),
    ],
)
def test_what_cannot_be_audited_is_no_verdict(folder, change, message):
    path = folder / "bad.jsonl"
    path.write_text(json.dumps({**record([1, 2], [3, 4] * 10, GREEDY), **change}))
    result = audit(folder, path)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not result.stdout


@pytest.mark.parametrize(
    ("text", "stop", "code"),
    [
        ("whole", None, 0),
        ("", None, 2),
        ("cut", None, 2),
        ("cut", "here", 0),
        ("cut", ["elsewhere"], 2),
        ("kept", "here", 0),
        ("longer", None, 2),
    ],
)
@pytest.mark.parametrize("form", ["tokens", "pieces"])
def test_tokens_are_held_against_the_text_beside_them(folder, models, text, stop, code, form):
    model = models["claimed"]
    prompt = model.tokenizer.encode("Hello")
    tokens = [token for token in draw(model, prompt, COUNT, GREEDY) if token < model.tokenizer.size]
    whole = model.tokenizer.decode(tokens, continuation=True)
    place = next(
        i for i in range(8, len(whole)) if whole[i - 1].strip() and whole[i : i + 2].strip() == whole[i : i + 2]
    )
    here = whole[place : place + 2]
    texts = {"whole": whole, "cut": whole[:place], "kept": whole[: place + 2], "longer": whole + "x", "": ""}
    stop = here if stop == "here" else stop
    line = record(prompt, tokens, GREEDY, text=texts[text], stop=stop)
    if form == "pieces":
        content = [{"token": "", "bytes": list(model.tokenizer.token_bytes(token)), "logprob": -1} for token in tokens]
        del line["output_tokens"]
        line = {**line, "choices": [{"text": texts[text], "logprobs": {"content": content}}]}
    path = folder / "beside.jsonl"
    path.write_text(json.dumps(line))
    result = audit(folder, path, "--json")
    assert result.exit_code == code, result.stderr
    if code:
        assert "it is from another tokenizer, was changed" in " ".join(result.stderr.split())


def test_what_was_not_judged_or_read_is_told(folder, models):
    tokens = draw(models["claimed"], [1, 2], COUNT, GREEDY)
    path = folder / "told.jsonl"
    path.write_text(json.dumps(record([1, 2], tokens, GREEDY, logprobs=[-50.0] * COUNT, warp=1)))
    report = json.loads(audit(folder, path, "--json").stdout)
    assert (report["verdict"], report["unread"]) == ("consistent", ["warp"])
    assert [(one["kind"], one["tokens"]) for one in report["unjudged"]] == [("logprobs", COUNT)]
    shown = " ".join(audit(folder, path).stdout.split())
    assert "logprobs: 40 tokens are not judged: no honest log" in shown
    assert "may affect sampling: warp" in shown


def test_what_it_needs_is_looked_for_before_any_work(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    result = audit(folder, folder / "absent.jsonl", model="absent")
    assert (result.exit_code, "SciPy" in result.stderr) == (2, True)


def test_bytes_of_an_endpoint_become_tokens(folder, models):
    model = models["claimed"]
    tokens = draw(model, model.tokenizer.encode("Hello"), COUNT, GREEDY)
    tokens = [token for token in tokens if token < model.tokenizer.size]
    content = [{"token": "", "bytes": list(model.tokenizer.token_bytes(token)), "logprob": -1} for token in tokens]
    exchange = {"prompt": "Hello", "temperature": 0, "choices": [{"text": None, "logprobs": {"content": content}}]}
    path = folder / "endpoint.jsonl"
    path.write_text(json.dumps(exchange))
    report = json.loads(audit(folder, path, "--json").stdout)
    assert report["responses"][0]["tokens"] == tokens
    content[3]["bytes"] = [255, 254, 253]
    path.write_text(json.dumps(exchange))
    result = audit(folder, path)
    assert result.exit_code == 2
    assert "is not a token of this model" in " ".join(result.stderr.split())
