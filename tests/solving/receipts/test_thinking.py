"""How a run's models think stands in its receipt, and is part of its prompts."""

from dataclasses import replace

import jsonschema
import pytest

import intact
from intact._base.errors import ParameterError, ReceiptError
from intact.reason import Problem
from intact.reason.backends.native import NativeBackend
from intact.reason.thinking import ThinkingMode
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.schema import schema
from intact.tasks.score.answers import read_answer
from support.run_forger import cover, judge
from support.tiny import TEMPLATE, write_tiny

SWITCHED = (
    TEMPLATE + "{% if enable_thinking %}<think>\n{% elif enable_thinking is defined %}<think>\n\n</think>{% endif %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "thinker.gguf"
    return intact.load(write_tiny(path, metadata={"tokenizer.chat_template": SWITCHED}), drafter="off", threads=1)


def run(model, thinking=None, question="What is 2 + 2?", system=None):
    more = {"thinking": thinking, "system": system, "n": 2, "max_tokens": 6, "temperature": 1.0}
    return intact.solve(model, "self_consistency", question, receipt=True, **more)


def test_what_the_template_is_told_stands_in_the_receipt(model):
    results = {text: run(model, text) for text in (None, "on", "off", "3")}
    headers = {text: result.receipt.header for text, result in results.items()}
    assert {text: header.thinking and str(header.thinking) for text, header in headers.items()} == {
        text: text for text in headers
    }
    assert len({result.receipt.entries[0].header for result in results.values()}) == 4
    for text, result in results.items():
        assert judge(model, RunReceipt.parse(result.receipt.encode()))[0] == "true", text
        jsonschema.Draft202012Validator(schema()).validate(result.receipt.to_document())
    assert b'"thinking"' not in results[None].receipt.encode()  # as receipts were before
    assert [node["thinking"] for node in results["on"].trace["nodes"]] == ["<think>"] * 2
    assert results["on"].answer.answer is None  # every text was cut within its thoughts
    assert results["3"].answer.chosen is None or "</think>" in results["3"].answer.chosen.text


def test_forged_ways_to_think_are_found(model):
    receipt = run(model, "on").receipt
    forged = RunReceipt.make(replace(receipt.header, thinking=ThinkingMode(False)), receipt.entries, receipt.result)
    assert judge(model, forged)[0] == "false"
    text = run(model, None, Problem("text", "2 + 2 =", read_answer)).receipt
    assert judge(model, cover(model, text, thinking=ThinkingMode(True)))[:2] == ("false", "extra")
    with pytest.raises(ReceiptError, match="thinking must be on, off, or a number of tokens"):
        RunReceipt.parse(receipt.encode().replace(b'"thinking":"on"', b'"thinking":"of"'))


def test_a_system_message_is_part_of_the_prompt(model):
    receipt = run(model, system="Be brief.").receipt
    assert receipt.header.prompt == (("system", "Be brief."), ("user", "What is 2 + 2?"))
    assert judge(model, receipt)[0] == "true"


def test_what_cannot_be_is_refused_before_the_work(model):
    with pytest.raises(ParameterError, match="thinking is on, but the back end was made with None"):
        run(NativeBackend(model), "on")
    with pytest.raises(ParameterError, match="a Problem has it in its prompt"):
        run(model, None, Problem("text", "2 + 2 =", read_answer), system="Be brief.")
    with pytest.raises(ParameterError, match="the system message is empty"):
        run(model, system=" ")
    with pytest.raises(ParameterError, match="endpoints apply their own chat templates"):
        intact.solve("http://127.0.0.1:1/v1#m", "chain_of_thought", "Why?", thinking="on")
