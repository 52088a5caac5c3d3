"""A run's chat templates are told a fixed time, which its receipt states: it is as true tomorrow as it was today."""

from dataclasses import replace
from datetime import datetime, timedelta

import jsonschema
import pytest

import intact
from intact._base.errors import ParameterError, ReceiptError
from intact.reason import Problem
from intact.reason.backends.native import NativeBackend
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.schema import schema
from intact.solving.receipts.verify import verify_run
from intact.solving.run import opened
from intact.tasks.score.answers import read_answer
from intact.text.template import DEFAULT_NOW
from support.clock import set_clock, write_dated
from support.run_forger import cover, judge
from support.tiny import write_tiny

TODAY, TOMORROW = datetime(2026, 11, 20, 17, 45), datetime(2026, 11, 21, 9)
THEN = "1999-12-31T23:59:59"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    paths = {"dated": write_dated(folder / "dated.gguf"), "plain": write_tiny(folder / "plain.gguf", context=512)}
    return {name: intact.load(path, drafter="off", threads=1) for name, path in paths.items()}


def run(model, question="What is 2 + 2?", **more):
    asked = {"n": 2, "max_tokens": 4, "temperature": 1.0} | more
    return intact.solve(model, "self_consistency", question, receipt=True, **asked)


def prompt_of(model, now=None):
    with opened(model, now=now) as backends:
        return backends["main"].render((("user", "What is 2 + 2?"),))


def test_a_receipt_of_today_is_true_tomorrow(models, monkeypatch):
    set_clock(monkeypatch, TODAY)
    result = run(models["dated"])
    assert judge(models["dated"], result.receipt)[0] == "true"
    assert (result.receipt.header.now, result.trace["now"]) == (DEFAULT_NOW, "2024-07-26T00:00:00")
    set_clock(monkeypatch, TOMORROW)
    verdict = verify_run(models["dated"], RunReceipt.parse(result.receipt.encode()))
    assert (verdict.outcome, verdict.checked) == ("true", 8)
    assert run(models["dated"]).receipt.encode() == result.receipt.encode()


def test_another_time_is_another_prompt_and_stands_in_the_receipt(models):
    assert prompt_of(models["dated"]).startswith("26 July 2024 ")
    assert prompt_of(models["dated"], THEN).startswith("31 December 1999 ")
    receipts = [run(models["dated"], now=now).receipt for now in (None, THEN, datetime.fromisoformat(THEN))]
    assert receipts[1].encode() == receipts[2].encode()
    assert receipts[0].entries[0].header != receipts[1].entries[0].header
    assert receipts[1].header.now == datetime.fromisoformat(THEN)
    assert judge(models["dated"], receipts[1])[0] == "true"
    jsonschema.Draft202012Validator(schema()).validate(receipts[1].to_document())


def test_a_forged_time_is_found(models):
    receipt = run(models["dated"]).receipt
    another = receipt.header.now + timedelta(days=1)
    forged = RunReceipt.make(replace(receipt.header, now=another), receipt.entries, receipt.result)
    assert judge(models["dated"], forged)[:2] == ("false", "request")
    assert judge(models["dated"], cover(models["dated"], receipt, now=another))[0] == "false"
    assert judge(models["dated"], cover(models["dated"], receipt, now=None)) == ("false", "time", None, None)
    for now in ("2024-07-26", "2024-07-26 00:00:00", "noon"):
        document = receipt.encode().replace(b'"now":"2024-07-26T00:00:00"', b'"now":"%b"' % now.encode())
        with pytest.raises(ReceiptError, match="now must be"):
            RunReceipt.parse(document)


@pytest.mark.parametrize(
    ("model", "question"),
    [("plain", "What is 2 + 2?"), ("dated", Problem("text", "2 + 2 =", read_answer))],
    ids=["no such template", "no conversation"],
)
def test_where_nothing_asks_for_the_time_none_is_claimed(models, model, question):
    receipts = [run(models[model], question, now=now).receipt for now in (None, THEN)]
    assert receipts[0].encode() == receipts[1].encode()
    assert receipts[0].header.now is None
    claimed = cover(models[model], receipts[0], now=DEFAULT_NOW)
    assert judge(models[model], claimed) == ("false", "time", None, None)


def test_one_of_two_models_asks_for_the_time(models):
    both = {"main": models["plain"], "large": models["dated"]}
    alone, judged = (
        intact.solve(both, "best_of_n", "Why?", receipt=True, n=2, max_tokens=4, scorer=scorer, now=THEN).receipt
        for scorer in ("p_true", "p_true:large")
    )
    assert (alone.header.now, judged.header.now) == (None, datetime.fromisoformat(THEN))
    others = {"large": models["dated"]}
    assert [judge(models["plain"], one, others=others)[0] for one in (alone, judged)] == ["true", "true"]


def test_times_that_cannot_be(models):
    earlier = NativeBackend(models["dated"], datetime.fromisoformat(THEN))
    with pytest.raises(ParameterError, match="the same time, got 1999-12-31T23:59:59 and 2024-07-26T00:00:00"):
        run({"main": models["dated"], "large": earlier})
    with pytest.raises(ParameterError, match=r"made with 1999-12-31T23:59:59"):
        run(earlier, now=TODAY)
    with pytest.raises(ParameterError, match=r"now must be a time such as .*, got 'noon'"):
        run(models["plain"], now="noon")
    with pytest.raises(ParameterError, match="endpoints apply their own chat templates"):
        intact.solve("http://127.0.0.1:1/v1#m", "chain_of_thought", "Why?", now=THEN)
    assert run(earlier).receipt.header.now == datetime.fromisoformat(THEN)
