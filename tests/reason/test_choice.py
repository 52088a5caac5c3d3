"""The choice of a method by agreement: learnt on one half of a log, judged on the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from intact.errors import FormatError, ParameterError
from intact.reason import Problem, Result, find
from intact.reason.aggregate.votes import vote
from intact.reason.budget import Budget
from intact.reason.choice import (
    EDGES,
    Arm,
    Log,
    Outcome,
    Policy,
    Trial,
    agreement,
    applied,
    common,
    fixed,
    judge,
    learn,
    outcome,
    pilot_arm,
    read_logs,
    split,
)
from intact.reason.driver import Driver, Task
from support.markov import MarkovBackend

FOUR, MANY, TREE = pilot_arm(4), pilot_arm(16), Arm.of("uct_search", {})


def written_out() -> Log:
    """Two easy problems that four samples solve, two medium ones for sixteen, two hard ones for a search."""
    votes = {"e": {"1": 4.0}, "m": {"1": 2.0, "2": 2.0}, "h": {"1": 1.0, "2": 1.0}}
    names = [kind + place for kind in "emh" for place in "12"]

    def trials(right: str, tokens: int) -> dict[str, Trial]:
        return {name: Trial(name in right.split(), tokens, votes[name[0]]) for name in names}

    return {FOUR: trials("e1 e2", 40), MANY: trials("e1 m1 m2", 160), TREE: trials("e2 h1 h2", 400)}


def test_a_policy_by_hand() -> None:
    log = written_out()
    problems = common(log)
    policy = learn(log, problems)
    assert policy == Policy(4, EDGES, (TREE, MANY, FOUR))
    assert outcome(policy, log, problems) == Outcome(1.0, (2 * 40 + 2 * 200 + 2 * 440) / 6)
    report = judge(policy, log, problems)
    # of arms that are right three times in six the cheaper one; it misses e2, h1, h2
    assert (report.arm, report.fixed, report.regret) == (MANY, Outcome(0.5, 160.0), -0.5)
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
    with pytest.raises(ParameterError, match="takes 39 tokens or fewer"):
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
    results = dict(driver.solve([Task(find(name), problem, parameters) for problem in problems]))
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
    assert Policy.read(tmp_path / "table.json") == table
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
    assert "x.json is no table of methods" in missing.error
    file.write_text('{"pilot": 1, "edges": [0.5], "arms": [["self_consistency", {}]]}', "utf-8")
    with pytest.raises(FormatError, match="1 methods for 2 classes"):
        Policy.read(file)
    line = {"id": "p", "method": "m", "correct": True, "cost": {"tokens": 1}, "votes": {}, "trace": {"parameters": {}}}
    file.write_text(json.dumps(line) + "\n" + json.dumps(line) + "\n", "utf-8")
    with pytest.raises(FormatError, match=r"line 2 tries p by m \{\} once more"):
        read_logs([file])
    file.write_text("{}\n", "utf-8")
    with pytest.raises(FormatError, match="line 1 is no graded result"):
        read_logs([file])


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
    assert outcome(policy, log, problems) == Outcome(0.94, 4.96)  # best-of-8's accuracy for five samples
    known, held_out = split(problems)
    report = judge(learn(log, known, edges=(1.0,)), log, held_out)
    assert (len(known), report.arm) == (56, best)
    assert report.regret == pytest.approx(2 / 44)  # what is learnt from so few problems does not hold
    assert report.error == pytest.approx(0.0318, abs=1e-4)
