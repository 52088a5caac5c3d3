"""``intact receipt show``: what matters is told, nothing of it steers the terminal, nobody takes it for true."""

import json
from dataclasses import replace

import pytest

import intact
from intact.cli.receipt import LONGEST, WARNING
from intact.receipts.document import write_receipts
from intact.receipts.signature import new_key
from intact.receipts.verify import verify
from support.forger import altered, forge
from support.tiny import write_tiny

STEERING = "red\x1b[31m [bold]x[/] :smile:\nline\r\u202eend"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return intact.load(write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", context=512), threads=1)


@pytest.fixture(scope="module")
def answer(model):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": STEERING}]
    return model.chat(turns, max_tokens=8, temperature=0.7, seed=3, receipt=True).receipt


@pytest.fixture(scope="module")
def run(model):
    asked = {"n": 4, "width": 2, "steps": 3, "delimiter": "e", "max_tokens": 16, "temperature": 1.0}
    return intact.solve(model, "beam_search", "What is 2 + 2?", receipt=True, **asked).receipt


def shown(intact_command, file, *receipts):
    write_receipts(file, receipts)
    return intact_command("receipt", "show", file, "--json").json["receipts"]


def test_an_answer_is_told_in_full(intact_command, answer, tmp_path):
    key = new_key(tmp_path / "key")
    signed = answer.signed(key.sign(answer.digest))
    (told,) = shown(intact_command, tmp_path / "one.receipt", signed)
    assert told["receipt_of"] == "an answer"
    assert told["model"]["weights"] == answer.header.model.weights.hex()
    assert told["model"]["numerics"] == answer.header.numerics.to_document()
    first, second = told["prompt"]["source"]["given"]["messages"]
    assert (first["content"], second["content"]) == ("Be brief.", STEERING)
    assert told["prompt"]["tokens"] == len(answer.header.request.prompt)
    assert (told["sampling"]["temperature"], told["sampling"]["seed"]) == ("0.7", "3")
    assert told["output"] == {"tokens": answer.count, "finish": answer.output.finish, "text": answer.output.text}
    assert (told["digest"], told["signature_by"]) == (answer.digest.hex(), key.public.hex())


def test_a_run_is_told_with_its_votes_and_cost(intact_command, run, tmp_path):
    (told,) = shown(intact_command, tmp_path / "run.receipt", run)
    assert told["method"]["name"] == "beam_search"
    assert told["method"]["parameters"]["steps"] == 3
    assert [model["called"] for model in told["models"]] == [None]
    assert told["models"][0]["weights"] == run.header.models[0].digests.weights.hex()
    assert told["problem"]["prompt"] == [{"role": "user", "content": "What is 2 + 2?"}]
    assert told["entries"]["tokens"] == run.count == told["result"]["cost"]["tokens"]
    assert told["entries"]["texts"] + told["entries"]["scores"] == len(run.entries)
    assert told["result"]["answer"] == run.result.answer
    assert told["result"]["text"]
    assert (told["digest"], told["signature_by"]) == (run.digest.hex(), None)


def test_people_are_told_that_nothing_is_verified_and_nothing_steers_their_terminal(
    intact_command, answer, run, tmp_path
):
    file = tmp_path / "two.receipts"
    write_receipts(file, [answer, run])
    told = intact_command("receipt", "show", file)
    assert told.code == 0
    assert WARNING in told.err
    assert told.out.count("  not verified\n") == 2
    assert "| red\ufffd[31m [bold]x[/] :smile:\n" in told.out
    assert "| line\ufffd\ufffdend\n" in told.out
    assert not set(told.out) & set("\x1b\r\u202e")
    assert intact_command("receipt", "show", file, "--json").json["verified"] is False


def test_what_nothing_checks_is_marked(intact_command, model, answer, run, tmp_path):
    file = tmp_path / "two.receipts"
    first, second = shown(intact_command, file, answer, run)
    assert (first["unchecked"], first["partly_checked"]) == (["model.name"], ["prompt.source.given"])
    assert second["unchecked"] == ["models.name", "method.source"]
    assert second["partly_checked"] == ["problem.prompt"]
    told = intact_command("receipt", "show", file).out.splitlines()
    assert "      given [checked as far as the chat template writes it]" in told
    assert any(row.startswith("    source [not checked]: ") for row in told)
    assert "    prompt [checked as far as the chat template writes it]" in told
    assert sum(row.startswith("    name [not checked]: ") for row in told) == 1
    assert sum(row.startswith("      name [not checked]: ") for row in told) == 1


def test_what_is_marked_in_an_answer_is_what_no_verdict_depends_on(intact_command, model, answer, tmp_path):
    """Each claim that is marked is changed, with the chain made anew: the receipt stays true."""
    pytest.importorskip("llguidance")
    bound = model.generate("Why?", regex="[a-z ]+", max_tokens=5, temperature=1.0, receipt=True)[0][0].receipt
    marked = {place for one in shown(intact_command, tmp_path / "x", answer, bound) for place in one["unchecked"]}
    source = answer.header.request.source
    text = source.text.replace('"content": "Be brief."', '"content": "Be brief.", "mood": "good"')
    assert text != source.text
    lies = {
        "model.name": replace(answer.header, model=replace(answer.header.model, name="gpt-9")),
        "prompt.source.given": altered(answer.header, source=replace(source, text=text)),
        "compiler": replace(bound.header, request=replace(bound.header.request, compiler="llguidance 0.0.1")),
    }
    assert marked <= {*lies, "model.name"}
    assert "compiler" in marked
    for place, header in lies.items():
        output = bound.output if place == "compiler" else answer.output
        (verdict,) = verify(model, [forge(model, header, output)])
        assert (place, verdict.outcome) == (place, "true")


def test_long_texts_are_cut_unless_they_are_wanted_whole(intact_command, tmp_path):
    file, text = tmp_path / "long.receipt", "a b" * LONGEST
    long = intact.load(write_tiny(tmp_path / "long.gguf", context=4 * LONGEST), threads=1)
    write_receipts(file, [long.generate(text, max_tokens=1, receipt=True)[0][0].receipt])

    def source(*more):
        (told,) = intact_command("receipt", "show", file, "--json", *more).json["receipts"]
        return told["prompt"]["source"]["given"]["text"]

    assert source() == f"{text[:LONGEST]}... ({2 * LONGEST:,} more characters)"
    assert source("--full") == text


def test_what_is_no_receipt_is_named_among_the_others(intact_command, answer, tmp_path):
    file = tmp_path / "three.receipts"
    lines = [answer.encode(), b"{}", answer.encode().replace(b'"now":null', b'"now":"\\u001b[2J"')]
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    told = intact_command("receipt", "show", file, "--json")
    assert told.code == 2
    first, second, third = told.json["receipts"]
    assert second == {
        "file": str(file),
        "line": 2,
        "error": "not a receipt: its member 'format' must be 'intact-receipt'",
    }
    assert third["prompt"]["source"]["now"] == "\x1b[2J"
    assert "\x1b" not in intact_command("receipt", "show", file, "--line", 3).out
    alone = intact_command("receipt", "show", file, "--json", "--line", 1)
    assert (alone.code, alone.json["receipts"]) == (0, [first])
    missing = intact_command("receipt", "show", file, "--line", 9)
    assert (missing.code, missing.err) == (2, "error: no file has a line 9\n")


def test_a_conversation_may_be_nested_deep(intact_command, answer, tmp_path):
    """A stranger chooses what the template was given."""
    source = answer.header.request.source
    for depth in (100, 900, 100_000):
        given = '{"messages":[7,{"role":"user","content":' + "[" * depth + "]" * depth + "}]}"
        request = answer.header.request.to_document()
        request["source"] = source.to_document() | {"text": given}
        document = answer.to_document() | {"request": request}
        file = tmp_path / "deep.receipt"
        file.write_text(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n")
        told = intact_command("receipt", "show", file)
        assert told.code == 0
        assert "[[[[" in told.out
