"""The choice of a method by agreement: learnt on one half of a log, judged on the other."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from intact._base.errors import FormatError, ParameterError
from intact.evaluate.difficulty import SampledAnswers, by_difficulty, ladder
from intact.numerics.sampling import branch_key
from intact.reason import Problem, Result, find
from intact.reason.aggregate.votes import vote
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob
from intact.reason.parts.choice import (
    EDGES,
    Arm,
    Log,
    Policy,
    PolicyOutcome,
    Trial,
    agreement,
    applied,
    common,
    cross_validate,
    fixed,
    judge,
    learn,
    outcome,
    pilot_arm,
    read_logs,
    split,
)
from intact.reason.testing.toy import MarkovBackend

FOUR, MANY, TREE = pilot_arm(4), pilot_arm(16), Arm.of("uct_search", {})


def written_out() -> Log:
    """Two easy problems that four samples solve, two medium ones for sixteen, two hard ones for a search."""
    votes = {"e": {"1": 4.0}, "m": {"1": 2.0, "2": 2.0}, "h": {"1": 1.0, "2": 1.0}}
    names = [kind + place for kind in "emh" for place in "12"]

    def trials(right: str, tokens: int) -> dict[str, Trial]:
        return {name: Trial(name in right.split(), tokens, votes[name[0]]) for name in names}

    return {FOUR: trials("e1 e2", 40), MANY: trials("e1 m1 m2", 160), TREE: trials("e2 h1 h2", 400)}


def test_logs_may_hold_any_character_that_ends_lines_elsewhere(tmp_path: Path) -> None:
    trace = {"parameters": {"n": 4}}
    row = {"id": "p\u2028", "method": "self_consistency", "correct": True, "cost": {"tokens": 9}, "trace": trace}
    rows = [row | {"id": name, "votes": {"one\u2029two\u0085": 4.0}} for name in ("p\u2028", "q")]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    assert list(read_logs([file])[FOUR]) == ["p\u2028", "q"]


def test_a_policy_by_hand() -> None:
    log = written_out()
    problems = common(log)
    policy = learn(log, problems)
    assert policy == Policy(4, EDGES, (TREE, MANY, FOUR))
    assert outcome(policy, log, problems) == PolicyOutcome(1.0, (2 * 40 + 2 * 200 + 2 * 440) / 6)
    report = judge(policy, log, problems)
    # of arms that are right three times in six the cheaper one; it misses e2, h1, h2
    assert (report.arm, report.fixed, report.regret) == (MANY, PolicyOutcome(0.5, 160.0), -0.5)
    assert report.error == pytest.approx((0.3 / 6) ** 0.5)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (40, fixed(FOUR)),
        (93, fixed(FOUR)),
        (94, Policy(4, EDGES, (FOUR, MANY, FOUR))),  # 2 * 40 + 2 * 200 + 2 * 40 for six
        (226, Policy(4, EDGES, (FOUR, MANY, FOUR))),
        (227, Policy(4, EDGES, (TREE, MANY, FOUR))),  # 2 * 440 + 2 * 200 + 2 * 40
    ],
)
def test_a_policy_keeps_to_the_tokens_that_are_allowed(tokens: int, expected: Policy) -> None:
    log = written_out()
    problems = common(log)
    assert learn(log, problems, tokens=tokens) == expected
    with pytest.raises(ParameterError, match="used at most 39 tokens"):
        learn(log, problems, tokens=39)


def test_no_pilot_is_paid_for_where_one_method_is_best_for_all() -> None:
    log = {FOUR: {"a": Trial(False, 4, {})}, TREE: {"a": Trial(True, 9, {}), "b": Trial(True, 9, {})}}
    assert learn(log, common(log)) == fixed(TREE)
    assert applied(fixed(TREE), log, "a") == (True, 9)
    with pytest.raises(ParameterError, match="n=2"):
        learn(log, ["a"], pilot=2)


def test_samples_without_an_answer_do_not_agree() -> None:
    assert agreement({"1": 2.0}, 4) == 0.5
    assert agreement({}, 4) == 0.0
    policy = Policy(4, EDGES, (TREE, MANY, FOUR))
    assert [policy.choose(share) for share in (0, 0.25, 0.5, 0.75, 1.0)] == [TREE, TREE, MANY, MANY, FOUR]


def test_halves_depend_on_names_alone() -> None:
    names = [f"p{i}" for i in range(400)]
    one, other = split(names)
    assert sorted(one + other) == sorted(names)
    assert 150 < len(one) < 250
    assert set(split(reversed(names))[0]) == set(one)
    assert set(split(names, seed=1)[0]) != set(one)


PARAMETERS: list[tuple[str, dict[str, Any]]] = [
    ("self_consistency", {"n": 3}),
    ("self_consistency", {"n": 9}),
    ("first_finish", {"n": 4}),
]


def solve(problems: list[Problem], name: str, budget: Budget | None = None, **parameters: Any) -> list[Result]:
    driver = Driver({"toy": MarkovBackend()}, sampling={"max_tokens": 6, "temperature": 1.0}, budget=budget)
    results = dict(driver.solve([MethodJob(find(name), problem, parameters) for problem in problems]))
    return [results[i] for i in range(len(problems))]


def test_from_logs_to_the_method(tmp_path: Path) -> None:
    """Logs of three methods, read from files; what the method does is what the table says."""
    problems = [Problem(f"p{i}", "ask", lambda text: text[:1] or None) for i in range(60)]
    files = []
    for number, (name, parameters) in enumerate(PARAMETERS):
        files.append(tmp_path / f"{number}.jsonl")
        lines = [
            r.as_dict(trace=True) | {"correct": r.answer.answer == "a"} for r in solve(problems, name, **parameters)
        ]
        files[-1].write_text("".join([json.dumps(line) + "\n" for line in lines]), "utf-8")
    log = read_logs(files)
    assert list(log) == [Arm.of(name, parameters) for name, parameters in PARAMETERS]
    known, held_out = split(common(log))
    policy = learn(log, known, pilot=3)
    report = judge(policy, log, held_out)
    assert report.regret == pytest.approx(report.fixed.accuracy - report.policy.accuracy)
    assert report.fixed.accuracy == max(outcome(fixed(arm), log, held_out).accuracy for arm in log)

    table = Policy(3, EDGES, (Arm.of("first_finish", {"n": 4}), Arm.of("self_consistency", {"n": 9}), pilot_arm(3)))
    table.write(tmp_path / "table.json")
    assert Policy.parse((tmp_path / "table.json").read_text("utf-8"), "table.json") == table
    chosen = set()
    for result in solve(problems, "compute_optimal", table=str(tmp_path / "table.json")):
        first = log[pilot_arm(3)][result.id]
        assert result.answer.details["agreement"] == agreement(first.votes, 3)
        arm = table.choose(agreement(first.votes, 3))
        assert (result.answer.details["method"], result.answer.details["parameters"]) == (arm.method, arm.settings)
        assert (result.cost.tokens == first.tokens) == (arm == pilot_arm(3))
        chosen.add(arm)
    assert len(chosen) == 3
    (spent,) = solve(problems[:1], "compute_optimal", Budget(tokens=0), table=str(tmp_path / "table.json"))
    assert spent.why == "spent"


def test_bad_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    (missing,) = solve([Problem("p", "ask")], "compute_optimal", table=str(file))
    assert "x.json cannot be read" in missing.error
    file.write_text('{"pilot": 1, "edges": [0.5], "arms": [["self_consistency", {}]]}', "utf-8")
    with pytest.raises(FormatError, match="1 methods for 2 classes"):
        Policy.parse(file.read_text("utf-8"), str(file))
    line = {"id": "p", "method": "m", "correct": True, "cost": {"tokens": 1}, "votes": {}, "trace": {"parameters": {}}}
    file.write_text(json.dumps(line) + "\n" + json.dumps(line) + "\n", "utf-8")
    with pytest.raises(FormatError, match=r"line 2 repeats p with m \{\}"):
        read_logs([file])
    for wrong in ({}, line | {"correct": None}, line | {"correct": 1}):
        file.write_text(json.dumps(wrong) + "\n", "utf-8")
        with pytest.raises(FormatError, match="line 1 is not a graded result"):
            read_logs([file])


@pytest.mark.parametrize("told", [{"model": "other"}, {"trace": {"parameters": {}, "sampling": {"temperature": 0.2}}}])
def test_logs_of_other_models_or_sampling_are_not_one_log(tmp_path: Path, told: dict[str, Any]) -> None:
    trace = {"parameters": {}, "sampling": {"temperature": 0.7}}
    line = {
        "id": "p",
        "method": "m",
        "correct": True,
        "cost": {"tokens": 1},
        "votes": {},
        "model": "one",
        "trace": trace,
    }
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    one.write_text(json.dumps(line) + "\n", "utf-8")
    other.write_text(json.dumps(line | {"id": "q"} | told) + "\n", "utf-8")
    with pytest.raises(
        FormatError, match=r"other.jsonl: line 1 has the (model 'other'|sampling .*), but an earlier line has"
    ):
        read_logs([one, other])
    other.write_text(json.dumps(line | {"method": "n"}) + "\n", "utf-8")
    assert len(read_logs([one, other])) == 2


def test_a_ladder_is_the_log_of_each_number_of_samples() -> None:
    samples = {
        "p": SampledAnswers(["2", "1", "1", None], [False, True, True, False], [3, 4, 5, 6]),
        "q": SampledAnswers([None, None, "7", "7"], [False, False, True, True], [1, 1, 1, 1]),
    }
    log = ladder(samples, (1, 2, 3))
    assert list(log) == [pilot_arm(1), pilot_arm(2), pilot_arm(3)]
    assert [log[pilot_arm(n)]["p"] for n in (1, 2, 3)] == [
        Trial(False, 3, {"2": 1.0}),
        Trial(False, 7, {"2": 1.0, "1": 1.0}),  # a tie goes to the first
        Trial(True, 12, {"2": 1.0, "1": 2.0}),
    ]
    assert log[pilot_arm(2)]["q"] == Trial(False, 2, {})
    with pytest.raises(ParameterError, match="p has 4 samples, but 5 are needed"):
        ladder(samples, (4, 5))
    with pytest.raises(ParameterError, match="1 answers, 0 correct, 1 tokens"):
        ladder({"p": SampledAnswers(["1"], [], [2])}, (1,))


def test_a_ladder_is_what_the_methods_give() -> None:
    problems = [Problem(f"p{i}", "ask", lambda text: text[:1] or None) for i in range(12)]
    results = {n: solve(problems, "self_consistency", n=n) for n in (3, 9)}
    samples = {}
    for result in results[9]:
        nodes = [node for node in result.trace["nodes"] if node["kind"] == "extend"]
        answers = [node["text"][:1] or None for node in nodes]
        samples[result.id] = SampledAnswers(
            answers, [answer == "a" for answer in answers], [node["tokens"] for node in nodes]
        )
    log = ladder(samples, results)
    for n, told in results.items():
        for result in told:
            votes = {answer: float(count) for answer, count in result.answer.votes.items()}
            right = result.answer.answer == "a"
            assert log[pilot_arm(n)][result.id] == Trial(right, result.cost.tokens, votes)


def test_classes_of_difficulty_tell_which_arm_suits_them() -> None:
    log = written_out()
    difficulty = {name: agreement(trial.votes, 4) for name, trial in log[FOUR].items()}
    hard, medium, easy = by_difficulty(log, difficulty)
    assert [(one.low, one.high, one.problems) for one in (medium, easy)] == [(0.5, 1.0, 2), (1.0, math.inf, 2)]
    assert {arm: one.accuracy for arm, one in hard.outcomes.items()} == {FOUR: 0, MANY: 0, TREE: 1}
    assert {arm: one.accuracy for arm, one in medium.outcomes.items()} == {FOUR: 0, MANY: 1, TREE: 0}
    assert easy.outcomes[FOUR] == PolicyOutcome(1.0, 40.0)
    assert by_difficulty(log, difficulty, (2.0,))[1] == (2.0, math.inf, 0, {})
    with pytest.raises(ParameterError, match="the difficulty of e1 is unknown"):
        by_difficulty(log, {})
    with pytest.raises(ParameterError, match="edges must increase"):
        by_difficulty(log, difficulty, (1.0, 0.5))


def test_cross_validation_holds_every_problem_out_once() -> None:
    """Where difficulty tells the arm, what is learnt without a problem serves it; where it is noise, it costs."""
    votes = {"e": {"1": 4.0}, "m": {"1": 2.0, "2": 2.0}, "h": {"1": 1.0, "2": 1.0}}
    names = [kind + str(i) for kind in "emh" for i in range(20)]
    serves = {FOUR: "e", MANY: "em", TREE: "h"}
    tokens = {FOUR: 40, MANY: 160, TREE: 400}
    log = {
        arm: {name: Trial(name[0] in kinds, tokens[arm], votes[name[0]]) for name in names}
        for arm, kinds in serves.items()
    }
    report = cross_validate(log, names)
    assert report.policy == PolicyOutcome(1.0, (40 + 200 + 440) / 3)
    assert (report.arm, report.regret) == (MANY, pytest.approx(-1 / 3))
    assert cross_validate(log, names, tokens=100).policy.tokens <= 100
    # the arm that is right is drawn by lot: nothing can be learnt, and hindsight is better
    lot = {
        arm: {n: t._replace(correct=branch_key(3, (str(arm), n)) % 2 == 0) for n, t in log[arm].items()} for arm in log
    }
    assert cross_validate(lot, names).regret > 0
    with pytest.raises(ParameterError, match="folds must be at least 2"):
        cross_validate(log, names, folds=1)
    with pytest.raises(ParameterError, match="n=2"):
        cross_validate(log, names, pilot=2)


def test_on_a_published_log(data_dir: Path) -> None:
    """100 MATH problems with a reward model: where four samples agree they are enough; but half the log is too few."""
    path = data_dir / "logs" / "math_qwen25_rm" / "math_cot_100.jsonl"
    if not path.exists():
        pytest.skip(f"needs {path}")
    log: dict[Arm, dict[str, Trial]] = {FOUR: {}, pilot_arm(8): {}, Arm.of("best_of_n", {"n": 8}): {}}
    for place, line in enumerate(path.read_text("utf-8").splitlines()):
        item = json.loads(line)
        answers = [str(answer) or None for answer in item["pred"]]
        rewards = [score[0] for score in item["pred_score"]]
        for arm, trials in log.items():
            n = arm.settings["n"]
            tally = vote(answers[:n])
            sample = answers.index(tally.answer) if arm.method == "self_consistency" else rewards.index(max(rewards))
            votes = {str(answer): float(count) for answer, count in tally.weights.items()}
            trials[str(place)] = Trial(bool(item["score"][sample]), n, votes)
    problems = common(log)
    assert [sum(trial.correct for trial in trials.values()) for trials in log.values()] == [93, 93, 94]
    best = Arm.of("best_of_n", {"n": 8})
    policy = learn(log, problems, edges=(1.0,))
    assert policy == Policy(4, (1.0,), (best, FOUR))
    assert outcome(policy, log, problems) == PolicyOutcome(0.94, 4.96)  # best-of-8's accuracy for five samples
    known, held_out = split(problems)
    report = judge(learn(log, known, edges=(1.0,)), log, held_out)
    assert (len(known), report.arm) == (56, best)
    assert report.regret == pytest.approx(2 / 44)  # what is learnt from so few problems does not hold
    assert report.error == pytest.approx(0.0318, abs=1e-4)
    whole = cross_validate(log, problems, edges=(1.0,))
    assert (whole.policy.accuracy, whole.arm, whole.regret) == (0.92, best, 0.02)
