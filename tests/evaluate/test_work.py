"""From results of methods to records: what is graded, and what a record holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from intact._base.errors import FormatError, ParameterError
from intact.evaluate import files
from intact.evaluate.plan import Plan
from intact.evaluate.report.arms import arms_of
from intact.evaluate.results import AnswerTurn, EvaluationRun, ItemRecord, ItemSample, SampleStep, SingleVerdict
from intact.evaluate.samples import direct
from intact.evaluate.scores import scores
from intact.evaluate.work import How, work
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason import Extend, Method, Problem, Steps, find, method
from intact.reason.aggregate.votes import take
from intact.reason.backends.base import Generation, Written
from intact.reason.problem import CUT, Piece, State
from intact.solving.run import solve_items
from intact.tasks.choose import Chosen, choose
from intact.tasks.score.answers import number, stated_number
from support.script import Reply, ScriptBackend

CHOSEN = choose("gsm_ranges:size=2")
ITEMS = tuple(CHOSEN.load(2))
RIGHT = {item.question: item.answer for item in ITEMS}


def right_answer(prompt: str, text: str, place: int) -> str:
    """Answer every problem right."""
    return "The answer is " + next(answer for question, answer in RIGHT.items() if question in prompt)


class Sure(ScriptBackend):
    """Holds "True" and "Yes" for thrice as likely as "False" and "No"."""

    def _written(self, generation: Generation) -> Written:
        written = super()._written(generation)
        words = [("True", 3), ("Yes", 3), ("False", 1), ("No", 1)]
        top = tuple([(word, round(math.log(weight / 8) * LOGPROB_SCALE)) for word, weight in words])
        return written._replace(top=(top,) * len(written.tokens)) if generation.parameters.top_logprobs else written


def records(
    chosen: Method,
    parameters: Mapping[str, Any] | None = None,
    reply: Reply = right_answer,
    kind: type[ScriptBackend] = ScriptBackend,
    chosen_task: Chosen = CHOSEN,
) -> list[ItemRecord]:
    """Evaluate two problems by a method, with a model that follows a script."""
    plan = Plan((chosen_task,), (ITEMS,), chosen, parameters or {}, {"max_tokens": 400})
    done = list(work({"toy": kind(reply)}, plan, list(plan.units()), How()))
    return [one.record for one in sorted(done, key=lambda one: one.unit)]


@method("none")
def raising(problem: Problem) -> Steps:
    """Write a text, and raise."""
    yield Extend(problem.start)
    raise ValueError("a bug in the method")


def test_a_method_that_raised_is_never_graded_right() -> None:
    for record in records(raising):
        assert (record.why, record.answer, record.correct) == ("failed", None, False)
        assert (record.chosen, record.confidence) == (None, None)
        assert "a bug in the method" in record.error
        assert [sample.correct for sample in record.samples] == [True]
    graded = list(solve_items({"toy": ScriptBackend(right_answer)}, raising, CHOSEN.task, ITEMS, {}))
    assert [one.correct for one in graded] == [False, False]
    assert all(record.correct for record in records(find("chain_of_thought"))), "the same texts by one that ends"


def test_rewards_of_texts_that_were_not_chosen_are_kept() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        return ["2 + 2 = 5. The answer is 5", "2 + 2 = 4. The answer is 4", "The answer is 6…"][place]

    for record in records(find("best_of_n"), {"n": 3, "scorer": "equations"}, reply):
        assert [sample.rewards for sample in record.samples] == [{"equations": x} for x in (0.0, 1.0, 0.5)]
        assert record.chosen == 1
        assert [sample.cut for sample in record.samples] == [False, False, True]
        assert [sample.steps for sample in record.samples] == [(), (), ()]
        assert record.independent


def test_single_verdicts_and_their_tokens_are_kept() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        if "proposed solution" not in prompt:
            return f"The answer is {place}"
        return ["Verdict: Yes", "Hm.\nVerdict: No"][place % 2] if "Verdict:" not in text else " maybe"

    for record in records(find("generative_verifier"), {"n": 2, "checks": 2}, reply):
        own = [sample for sample in record.samples if not sample.other_prompt]
        assert [sample.answer for sample in own] == ["0", "1"], "verifications are texts of their own"
        assert len(record.samples) == 6
        by = "generative_verifier"
        verdicts = SingleVerdict(by, 1.0, len("Verdict: Yes$")), SingleVerdict(by, 0.0, len("Hm.\nVerdict: No$"))
        assert [sample.verdicts for sample in own] == [verdicts, verdicts]
        assert record.chosen == 0


def test_verdicts_of_a_scorer_that_asks_are_kept_with_their_tokens() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        return "True" if "True or False" in prompt else "The answer is 3"

    for record in records(find("best_of_n"), {"n": 2, "scorer": "p_true"}, reply, kind=Sure):
        for sample in record.samples:
            assert sample.rewards == {"p_true": pytest.approx(0.75)}
            assert sample.verdicts == (SingleVerdict("p_true", sample.rewards["p_true"], 1),)
    parts = {"n": 2, "scorer": "verification", "reduction": "min"}

    def long(prompt: str, text: str, place: int) -> str:
        if "Check the solution" in prompt:
            return "Hm." if "correct (Yes" not in text else " Yes"
        return "2 + 2 = 4.\n\nThe answer is 3"

    for record in records(find("best_of_n"), parts, long, kind=Sure):
        for sample in record.samples:
            assert [verdict.tokens for verdict in sample.verdicts] == [len("Hm.$") + 1] * 2, "one of each prefix"


def test_steps_have_their_tokens_answers_and_rewards() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        return "1 + 1 = 3.\n\nSo" if not text else "The answer is 7"

    for record in records(find("beam_search"), {"n": 2, "width": 2, "scorer": "equations"}, reply):
        pruned, *kept = record.samples
        assert (pruned.why, pruned.cut, pruned.steps) == ("stop", True, ()), "it was left at the end of a step"
        for sample in kept:
            first, last = sample.steps
            assert first == SampleStep(len("1 + 1 = 3.\n\n"), "3", {"equations": 0.0})
            assert last == SampleStep(sample.tokens, sample.answer, sample.rewards)
            assert (sample.answer, sample.cut) == ("7", False)
        assert not record.independent


def test_texts_written_in_one_go_have_paragraphs_as_steps() -> None:
    """Their tokens are counted as the back end spells them, and what is read in the text up to there is kept."""
    text = "First think.\n\n\n2 + 2 = 4, perhaps.\n\nThe answer is 5.\n\n"
    for record in records(find("self_consistency"), {"n": 2}, lambda *_: text):
        for sample in record.samples:
            assert sample.steps == (
                SampleStep(len("First think.\n\n\n"), None, {}),
                SampleStep(text.index("The answer"), "4", {}),
                SampleStep(len(text) + 1, "5", {}),
            )


def test_verdicts_of_programs_are_kept() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        if "claimed to be" not in prompt:
            return ["The answer is 1", "The answer is 2", "no number"][place]
        return "print(True)\n```" if "to be: 1" in prompt else "print(1 / 0)\n```"

    for record in records(find("code_verified"), {"n": 3}, reply):
        own = [sample.verdicts for sample in record.samples if not sample.other_prompt]
        by = "code_verified"
        sizes = len("print(True)\n```"), len("print(1 / 0)\n```")
        assert own == [(SingleVerdict(by, 1.0, sizes[0]),), (SingleVerdict(by, None, sizes[1]),), ()]


@method("none")
def noting(problem: Problem, *, turns: int = 3) -> Steps:
    """Give details of the names that records read, in forms of its own."""
    state = yield Extend(problem.start)
    return take(problem, state, turns=turns, verdicts=["yes"])


def test_details_of_other_forms_are_no_verdicts_and_no_turns() -> None:
    for record in records(noting):
        assert record.correct
        assert record.turns == ()
        assert record.samples[0].verdicts == ()


def test_answers_of_each_turn_are_kept_and_judged() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        if "step by step. If there is nothing" in prompt:
            return "It is wrong."
        return right_answer(prompt, text, place) if "improved answer" in prompt else "The answer is -1"

    for record in records(find("self_refine"), {"rounds": 1}, reply):
        assert record.turns == ((AnswerTurn("-1", False), AnswerTurn(record.right, True)),)
        assert record.correct
        assert [sample.other_prompt for sample in record.samples] == [False, True, True]
    for record in records(find("critique_and_revise"), {"n": 2, "rounds": 1}, right_answer):
        assert record.turns == ((AnswerTurn(record.right, True), AnswerTurn(record.right, True)),) * 2


def test_cut_texts_are_flagged() -> None:
    for record in records(find("chain_of_thought"), reply=lambda prompt, text, place: "17 + 2…"):
        assert [(sample.why, sample.cut) for sample in record.samples] == [("length", True)]


def test_no_curve_follows_optional_stopping_even_where_all_problems_stop_at_the_same_number() -> None:
    """Both problems stop after three samples, as their answers agree: that number was chosen by looking."""
    adaptive = records(find("adaptive_consistency"), {"n": 8, "rule": "certain"})
    assert len({len(record.samples) for record in adaptive}) == 1
    assert direct(adaptive) == 0
    assert not [score for score in scores((CHOSEN,), adaptive) if "@" in score.metric]
    fixed = records(find("self_consistency"), {"n": 4})
    assert direct(fixed) == 4
    assert "pass@4" in {score.metric for score in scores((CHOSEN,), fixed)}
    verified = records(find("generative_verifier"), {"n": 4, "checks": 1}, lambda *_: "The answer is 3. Verdict: Yes")
    assert direct(verified) == 4, "verifications are no samples"


def run_of(chosen: str, parameters: Mapping[str, Any], version: int) -> EvaluationRun:
    kept = tuple(records(find(chosen), parameters))
    if version < 3:  # as files of that version hold them
        kept = tuple(ItemRecord.of(json.loads(json.dumps(record.as_dict(version))), version) for record in kept)
    digests = {"items": "", "prompts": "", "grader": ""}
    task = {"name": "gsm_ranges", "label": "gsm_ranges", "digests": digests}
    manifest = {
        "models": [{"name": "toy"}], "method": {"name": chosen, "parameters": dict(parameters)}, "budget": {},
        "seeds": [0], "tasks": [task], "records": len(kept), "caveats": [], "command": "intact eval",
    }  # fmt: skip
    return EvaluationRun(manifest, kept, scores((CHOSEN,), kept), version=version)


@pytest.mark.parametrize("version", [2, 3])
def test_files_of_each_version_are_read_and_say_what_they_lack(version: int, tmp_path: Path) -> None:
    made = run_of("best_of_n", {"n": 3, "scorer": "equations"}, version)
    (tmp_path / "run.jsonl").write_bytes(made.data())
    (tmp_path / "run.traces.jsonl").write_bytes(made.trees())
    found = files.read(tmp_path / "run.jsonl")
    assert found.data() == made.data()
    assert found.version == version
    assert found.records == made.records
    assert ("samples.rewards" in found.missing) == (version == 2)
    assert found.records[0].independent is (None if version == 2 else True)


def test_curves_of_older_files_go_by_the_methods_name() -> None:
    for chosen, curves in (("self_consistency", True), ("adaptive_consistency", False)):
        run = run_of(chosen, {"n": 8}, 2)
        assert [record.independent for record in run.records] == [None, None]
        (arm,) = arms_of({Path("run.jsonl"): run})
        assert bool(arm.curve("pass@")) == bool(arm.samples) == curves


def test_a_file_whose_fields_are_damaged_is_refused(tmp_path: Path) -> None:
    made = run_of("best_of_n", {"n": 3, "scorer": "equations"}, 3)
    for old, new in (
        (b'"cut":false', b'"cut":true'),
        (b'"rewards":{"equations":0.5}', b'"rewards":{"equations":"0.5"}'),
        (b'"steps":[]', b'"steps":[{"tokens":1}]'),
        (b'"independent":true', b'"independent":1'),
        (b',"turns":[]}', b"}"),
        (b'"turns":[]', b'"turns":[[{"answer":1,"correct":true}]]'),
    ):
        data = made.data()
        assert old in data, old
        (tmp_path / "run.jsonl").write_bytes(data.replace(old, new))
        with pytest.raises(FormatError, match="is damaged"):
            files.read(tmp_path / "run.jsonl")
    assert replace(made, version=2).data() != made.data()


@pytest.mark.parametrize("kind", [ItemRecord, ItemSample, SampleStep, SingleVerdict, AnswerTurn])
def test_the_page_states_every_field(kind: Any, root: Path) -> None:
    page = (root / "docs" / "spec" / "results.md").read_text("utf-8")
    rows = page.partition("## Records")[2].partition("\n## ")[0]
    assert [name for name in kind._fields if f"`{name}`" not in rows] == []


@pytest.mark.parametrize("cut", ["any", "stated"])
def test_cut_texts_vote_only_by_a_stated_answer_on_request(cut: str) -> None:
    """Two texts end in the midst of the same calculation; one of four says its answer before it is cut."""

    def reply(prompt: str, text: str, place: int) -> str:
        whole = right_answer(prompt, text, place)
        return ["First 3 + 4 = 7 and then…", whole + ". So…", "First 3 + 4 = 7 and then…", "no idea"][place]

    chosen = choose(f"gsm_ranges:size=2,cut={cut}")
    for record in records(find("self_consistency"), {"n": 4}, reply, chosen_task=chosen):
        unfinished = "7" if cut == "any" else None
        assert [one.answer for one in record.samples] == [unfinished, record.right, unfinished, None]
        assert record.answer == ("7" if cut == "any" else record.right)
        assert record.correct == (cut == "stated")
    assert chosen.label == ("gsm_ranges:size=2" if cut == "any" else "gsm_ranges:size=2,cut=stated")


def test_a_budget_cuts_texts_too() -> None:
    problem = Problem("p", "ask", number, read_cut=stated_number)
    for text, found in (
        ("1 + 2 = 3 and", None),
        ("The answer is 3, so", "3"),
        ("#### 3\nthat", "3"),
        ("\\boxed{3", None),
    ):
        state = State("ask", ("p", 0), (Piece(text, model=""),))
        assert [problem.answer(replace(state, why=why)) for why in CUT] == [found] * len(CUT)
        assert problem.answer(replace(state, why="end")) == number(text)


def test_tasks_that_cannot_tell_stated_answers_refuse() -> None:
    with pytest.raises(ParameterError, match="humaneval cannot distinguish stated answers"):
        choose("humaneval:cut=stated")
    with pytest.raises(ParameterError, match="cut must be any or stated, got 'no'"):
        choose("gsm8k:cut=no")
    assert choose("arc_easy:cut=stated").read(ITEMS[0], "I think of C and so", True) is None
    assert choose("arc_easy:cut=stated").read(ITEMS[0], "The answer is C, as", True) == "C"
    assert choose("math500:cut=stated").cut == "stated"
