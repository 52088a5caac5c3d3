"""Receipts from several machines: who would state something else in them is refused, and told what."""

import pytest

from intact._base.errors import ParameterError
from intact.evaluate.cluster.receipts import receipts_refusal, stated
from intact.evaluate.on_cluster import spread
from intact.evaluate.plan import plan
from intact.evaluate.work import How
from intact.reason.registry import find
from intact.tasks.choose import choose


def test_a_machine_that_states_the_same_makes_receipts_and_one_that_states_another_compiler_does_not():
    method = find("self_consistency")
    own = stated(method, {})
    assert receipts_refusal(None, method, {}) == receipts_refusal(own, method, {}) == ""
    why = receipts_refusal(own | {"compiler": "0.0.1"}, method, {})
    assert why == f"its receipts would state compiler {own['compiler']}; expected 0.0.1"


def test_where_programs_run_is_stated_of_methods_that_run_some():
    assert stated(find("self_consistency"), {})["sandbox"] is None
    assert set(stated(find("program_aided"), {})["sandbox"]) == {"python", "protection"}


def test_receipts_of_likelihoods_are_refused_before_the_work(tmp_path, monkeypatch):
    folder = tmp_path / "arc_easy"
    folder.mkdir()
    row = '{"id": "1", "question": "?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"}\n'
    (folder / "validation.jsonl").write_text(row)
    monkeypatch.setenv("INTACT_DATA", str(tmp_path))
    planned = plan([choose("arc_easy_likelihood")], "chain_of_thought", {})
    work = spread(None, lambda _: {})
    with pytest.raises(ParameterError, match="arc_easy_likelihood compares likelihoods, which have no receipts"):
        next(work(planned, list(planned.units()), How(receipt=True)))
