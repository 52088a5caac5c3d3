"""A judge that never moves: its null control, pairs in both orders, rubrics, and files of items."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact._base.errors import FormatError, ParameterError
from intact.evaluate.judged_items import is_pair_file, read_items
from intact.evaluate.model_judge import (
    FIRST,
    PAIR,
    SECOND,
    SINGLE,
    TIE,
    JudgedItem,
    ModelJudge,
    Rubric,
    fit_cut,
    null_control,
)
from intact.executors.native import available_tiers
from intact.numerics.sampling import LOGPROB_SCALE
from intact.receipts.verify import verify
from support.tiny import write_tiny

SHORT = Rubric("Q: {question} A: {answer} Grade ({labels}):", ("good", "fair", "bad"))
SHORT_PAIR = Rubric("Q: {question} 1: {first} 2: {second} Better:", ("1", "2"))
SHORTEST = Rubric("{question} {answer}: {labels}?", ("yes", "no"))
COUNT = 100
ONE_BY_ONE = """
import json, sys
import intact
from intact.evaluate.judged_items import read_items
from intact.evaluate.model_judge import ModelJudge, Rubric
from pathlib import Path
rubric = Rubric(*json.loads(sys.argv[3]))
judge = ModelJudge(intact.load(sys.argv[1], drafter="off"), rubric)
found = judge.judge(read_items(Path(sys.argv[2]), rubric))
print(json.dumps([one.scores for one in found]))
"""


def items_of(count):
    """Return items of different lengths whose answers have something to say."""
    return [
        JudgedItem(
            str(i), {"question": f"{i} + {i * 7 % 13}?", "answer": " ".join(str(i * k) for k in range(i % 9 + 1))}
        )
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", layers=1, context=1024)


@pytest.fixture(scope="module")
def model(tiny_path):
    return intact.load(tiny_path, drafter="off")


def check_null_control(path, rubric, items, tmp_path, tiers):
    """Judge items alone, among strangers, in reverse order, and after restarts on tiers."""
    judge = ModelJudge(intact.load(path, drafter="off"), rubric)
    found = judge.judge(items)
    scores = [[list(row) for row in one.scores] for one in found]
    assert len({one.scores for one in found}) > len(items) // 2, "a judge that always says the same shows nothing"
    assert null_control(judge, items, found) == {"alone": 0, "in reverse order": 0, "among strangers": 0}
    file = tmp_path / "items.jsonl"
    file.write_text("".join(json.dumps({"id": item.id, **item.fields}) + "\n" for item in items))
    source = str(Path(intact.__file__).parents[1])
    for tier in tiers:  # each in a process of its own, which is a restart
        environment = os.environ | {"INTACT_ISA": tier, "PYTHONPATH": source}
        words = [sys.executable, "-c", ONE_BY_ONE, str(path), str(file), json.dumps([rubric.template, rubric.labels])]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == scores, tier


def test_no_verdict_on_100_answers_changes(tiny_path, tmp_path):
    check_null_control(tiny_path, SHORT, items_of(COUNT), tmp_path, ("scalar", available_tiers()[0]))


@pytest.mark.nightly
def test_no_verdict_of_a_real_model_on_100_answers_changes(model_path, tmp_path):
    """The questions are short, so that it takes a minute of processor time; the scalar tier would take half an hour."""
    items = [
        JudgedItem(str(i), {"question": f"{i % 10} + {i // 10} =", "answer": str(i % 10 + i // 10 + i % 2)})
        for i in range(COUNT)
    ]
    best, *_, second = [tier for tier in available_tiers() if tier != "scalar"] * 2
    check_null_control(model_path("smollm2-135m"), SHORTEST, items, tmp_path, (best, second))


def test_the_null_control_counts_verdicts_that_change(model):
    class Moody(ModelJudge):
        def _ask(self, prompts, ids, label):
            found = super()._ask(prompts, ids, label)
            if len(prompts) == 1:  # as an engine would whose results depend on the batch
                return [replace(found[0], logprobs=(found[0].logprobs[0] - 1, *found[0].logprobs[1:]))]
            return found

    judge, items = Moody(model, SHORT), items_of(5)
    assert null_control(judge, items, judge.judge(items)) == {"alone": 5, "in reverse order": 0, "among strangers": 0}


def test_pairs_are_judged_in_both_orders(model):
    items = [JudgedItem(str(i), {"question": "?", "first": f"{i} a", "second": f"b {i * i}"}) for i in range(12)]
    turned = [{**one.fields, "first": one.fields["second"], "second": one.fields["first"]} for one in items]
    exchanged = [one._replace(fields=fields) for one, fields in zip(items, turned, strict=True)]
    judge = ModelJudge(model, SHORT_PAIR)
    found, other = judge.judge(items), judge.judge(exchanged)
    mirrored = {FIRST: SECOND, SECOND: FIRST, TIE: TIE}
    assert {one.verdict for one in found} == {FIRST, SECOND}
    assert [one.verdict for one in other] == [mirrored[one.verdict] for one in found]
    assert [one.scores for one in other] == [one.scores[::-1] for one in found]
    assert [one.margin for one in other] == [-one.margin for one in found]
    (same,) = judge.judge([JudgedItem("same", {"question": "?", "first": "a", "second": "a"})])
    assert (same.verdict, same.margin) == (TIE, 0)


def test_a_score_is_the_log_probability_of_a_label_and_its_receipt_is_true(model):
    (found,) = ModelJudge(model, SHORT, receipt=True).judge(items_of(1))
    for receipt, label, score in zip(found.receipts, SHORT.labels, found.scores[0], strict=True):
        request = receipt.header.request
        assert receipt.output.text == label
        assert sum(receipt.output.logprobs) == score
        tokens = [*request.prompt, *receipt.output.tokens]
        assert model.logprobs(tokens)[len(request.prompt) - 1 :].sum() == score
    assert found.verdict == SHORT.labels[found.scores[0].index(max(found.scores[0]))]
    (message,) = found.receipts[0].header.request.source.conversation()["messages"]
    assert "Grade (good or fair or bad)" in message["content"]
    assert [one.outcome for one in verify(model, found.receipts)] == ["true"] * 3


def test_a_cut_moves_the_border_between_two_labels(model):
    rubric = Rubric("{question} {answer} {labels}", ("yes", "no"))
    margins = [one.margin for one in ModelJudge(model, rubric).judge(items_of(9))]
    middle = sorted(margins)[4]
    found = ModelJudge(model, rubric, cut=middle / LOGPROB_SCALE).judge(items_of(9))
    assert [one.verdict for one in found] == ["yes" if margin > middle else "no" for margin in margins]
    assert [one.margin for one in found] == margins
    for other in (SHORT, SHORT_PAIR):
        with pytest.raises(ParameterError, match="a cut needs a rubric of single answers with two labels"):
            ModelJudge(model, other, cut=1.0)
    with pytest.raises(ParameterError, match="must lie between -1000 and 1000 nats, got nan"):
        ModelJudge(model, rubric, cut=float("nan"))


@given(st.lists(st.tuples(st.integers(-9, 9), st.booleans()), min_size=2, max_size=9))
def test_a_fitted_cut_is_the_best_of_all(pairs):
    def right(cut, pairs):
        return sum((margin > cut) == gold for margin, gold in pairs)

    found = fit_cut([margin for margin, _ in pairs], [gold for _, gold in pairs])
    assert right(found.cut * LOGPROB_SCALE, pairs) == max(right(cut, pairs) for cut in range(-11, 11))
    assert 0 <= found.right <= len(pairs)


def test_a_fitted_cut_counts_items_that_it_was_not_fitted_to():
    assert fit_cut([0, 10, 50, 60], [False, False, True, True]) == (30.0 / LOGPROB_SCALE, 4)
    assert fit_cut([0, 10], [True, False]).right == 0
    with pytest.raises(ParameterError, match="at least two items"):
        fit_cut([0], [True])


def test_an_item_that_is_too_long_is_named(model):
    items = [*items_of(2), JudgedItem("long", {"question": "?", "answer": "x" * 2000})]
    with pytest.raises(ParameterError, match="'long' cannot be judged: prompt 2: "):
        ModelJudge(model, SHORT).judge(items)
    (asked,) = ModelJudge(model, SHORT, receipt=True).judge([JudgedItem("whole", {"question": "?", "answer": ""})])
    room = model.context - len(asked.receipts[0].header.request.prompt)
    with pytest.raises(ParameterError, match=r"'nearly' cannot be judged: no room for a label \(context\)"):
        ModelJudge(model, SHORT).judge([JudgedItem("nearly", {"question": "?", "answer": "é" * ((room - 1) // 2)})])


def test_rubrics_fill_only_their_own_braces():
    rubric = Rubric("{x} {question}{{answer}} {labels}", ("a.b", "c"))
    assert rubric.fill({"question": "{answer}", "answer": "\\frac{1}{2}"}) == "{x} {answer}{\\frac{1}{2}} a.b or c"
    assert rubric.regex == "a\\.b|c"
    assert SHORT.values == {"good": 1.0, "fair": 0.5, "bad": 0.0}
    assert PAIR.is_pair
    assert not SINGLE.is_pair


@pytest.mark.parametrize(
    ("template", "labels", "text"),
    [
        ("{question}", ("a", "b"), "a place for {answer}"),
        ("{answer} {first} {second}", ("a", "b"), "or for both"),
        ("{answer}", ("a",), "at least two different labels"),
        ("{answer}", ("a", "a"), "at least two different labels"),
        ("{answer}", ("a", ""), "at least two different labels"),
        ("{first} {second}", ("a", "b", "c"), "pairs needs two labels"),
    ],
)
def test_rubrics_that_cannot_work_are_refused(template, labels, text):
    with pytest.raises(ParameterError, match=text):
        Rubric(template, labels)


def test_items_are_read_from_lines(tmp_path):
    file = tmp_path / "items.jsonl"
    file.write_text(
        '{"question": "q", "answer": "a", "gold": "correct"}\n\n{"id": 7, "question": "q", "answer": "b"}\n'
    )
    assert read_items(file, SINGLE) == [
        JudgedItem("1", {"question": "q", "answer": "a"}, "correct"),
        JudgedItem("7", {"question": "q", "answer": "b"}),
    ]
    assert not is_pair_file(file)
    file.write_text('{"question": "q", "first": "a", "second": "b", "gold": "tie"}')
    assert is_pair_file(file)
    assert read_items(file, PAIR)[0].gold == TIE


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "0 lines"),
        ("[1]", "line 1 must be a JSON object"),
        ('{"question": "q"}', "line 1: answer must be a text, got None"),
        ('{"question": 1, "answer": "a"}', "question must be a text, got 1"),
        ('{"question": "q", "answer": "a", "gold": "maybe"}', "gold must be one of correct, incorrect, got 'maybe'"),
        ('{"question": "q", "answer": "a", "id": []}', "id must be a text or a number"),
        (
            '{"question": "q", "answer": "a", "id": 2}\n{"question": "q", "answer": "a"}',
            "an earlier line has the id '2'",
        ),
        ('{"question": "q", "question": "r"}', "duplicate member"),
        ('{"question": "' + "x" * (1 << 20) + '"}', "at most 1,048,576 are read"),
    ],
)
def test_lines_that_are_no_items_are_refused_by_number(tmp_path, content, text):
    file = tmp_path / "items.jsonl"
    file.write_text(content)
    with pytest.raises(FormatError, match=text):
        read_items(file, SINGLE)
