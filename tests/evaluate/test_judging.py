"""Verdicts are asked for once, kept, and thrown away when the judge changes."""

from typing import ClassVar

import pytest

from intact._base.errors import SandboxError, UndecidedError
from intact.evaluate.judging import Judge
from intact.tasks.numeric import Numeric
from intact.tasks.score import symbolic
from intact.tasks.task import Item


class Counting(Numeric):
    name, line, source, licence = "counting", "counts how often it judges", "here", "none"
    files: ClassVar[dict[str, str]] = {"test": ""}
    version = 1
    error: Exception | None = None

    def __init__(self):
        self.asked = []

    @property
    def settings(self):
        return {"version": self.version}

    def parse(self, row, index):
        raise NotImplementedError

    def correct(self, item, answer):
        self.asked.append(answer)
        if self.error is not None:
            raise self.error
        return super().correct(item, answer)


ITEM = Item("counting/test/0", "2 + 2?", "4")


def test_an_answer_is_judged_once_and_never_again(tmp_path):
    task = Counting()
    with Judge(tmp_path) as judge:
        verdicts = [judge.ask(task, ITEM, answer) for answer in ("4", "5", "4", None, "4.0")]
        assert [verdict.result() for verdict in verdicts] == [True, False, True, False, True]
    assert sorted(task.asked) == ["4", "4.0", "5"]
    with Judge(tmp_path) as judge:
        assert judge.ask(task, ITEM, "4").result()
        assert not judge.ask(task, ITEM, "5").result()
    assert len(task.asked) == 3


def test_another_judge_or_item_is_asked_anew(tmp_path):
    task = Counting()
    for version, item in ((1, ITEM), (2, ITEM), (2, Item(ITEM.id, ITEM.question, "5"))):
        task.version = version
        with Judge(tmp_path) as judge:
            judge.ask(task, item, "4").result()
    assert len(task.asked) == 3


def test_an_error_is_passed_on_and_not_kept(tmp_path):
    task = Counting()
    task.error = SandboxError("nothing keeps it in")
    with Judge(tmp_path) as judge, pytest.raises(SandboxError):
        judge.ask(task, ITEM, "4").result()
    task.error = None
    with Judge(tmp_path) as judge:
        assert judge.ask(task, ITEM, "4").result()


class Algebraic(Counting):
    def correct(self, item, answer):
        self.asked.append(answer)
        return symbolic.equal(item.answer, answer)


def test_a_verdict_that_a_safety_net_ended_is_undecided_and_asked_for_again(tmp_path):
    task = Counting()
    task.error = UndecidedError("its tests took more than 60 s")
    for _ in range(2):
        with Judge(tmp_path) as judge:
            assert judge.ask(task, ITEM, "4").result() is None
    assert task.asked == ["4"] * 2
    task.error = None
    with Judge(tmp_path) as judge:
        assert judge.ask(task, ITEM, "4").result() is True


def test_what_algebra_gave_up_is_undecided_told_and_not_kept(tmp_path, monkeypatch, caplog):
    task = Algebraic()
    with monkeypatch.context() as slow, Judge(tmp_path) as judge:
        slow.setattr(symbolic, "_once", lambda *asked: symbolic.LIMIT_REACHED)
        assert judge.ask(task, ITEM, "2^2").result() is None
    told = "counting/test/0: the verdict on '2^2' is undecided: 4"
    assert [record.getMessage() for record in caplog.records] == [told]
    for _ in range(2):
        with monkeypatch.context() as fast, Judge(tmp_path) as judge:
            fast.setattr(symbolic, "_once", lambda *asked: True)
            assert judge.ask(task, ITEM, "2^2").result()
    assert task.asked == ["2^2"] * 2
    assert len(caplog.records) == 1
