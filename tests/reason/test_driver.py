"""Methods under one driver, on a model whose every text can be enumerated."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from intact._base.errors import ParameterError, ScorerError, SpentError
from intact.reason import (
    Answer,
    CallMethod,
    Extend,
    Problem,
    Race,
    Result,
    RunProgram,
    Score,
    State,
    Steps,
    all_methods,
    find,
    method,
)
from intact.reason.backends.base import Generation, Written
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.journal import Journal
from intact.reason.driving.services import MethodJob, Services
from intact.reason.testing.toy import MarkovBackend
from intact.tools.sandbox import protection
from support.programs import SAMPLED, Asking, Length, comparable, problems, solve, tasks_of, tokens_of
from support.script import ScriptBackend


def test_timing_and_company_decide_nothing() -> None:
    alone = [comparable(solve(MarkovBackend(), [task])[0]) for task in tasks_of(problems())]
    for timing in range(4):
        tasks = tasks_of(problems())
        order = random.Random(timing).sample(range(len(tasks)), len(tasks) - timing)
        results = solve(MarkovBackend(timing=timing), [tasks[i] for i in order], parallel=1 + 3 * timing)
        assert [comparable(result) for result in results] == [alone[i] for i in order]


def test_tokens_charged_are_tokens_made() -> None:
    for timing in range(4):
        backend = MarkovBackend(timing=timing)
        results = solve(backend, tasks_of(problems()))
        assert {result.why for result in results} == {"done"}
        assert sum(result.cost.tokens for result in results) == backend.made
        for result in results:
            assert result.cost.tokens == tokens_of(result.trace["nodes"])


@method("none")
def reluctant(problem: Problem) -> Steps:
    """Go on when told to leave."""
    try:
        yield [Extend(problem.start, max_tokens=50)] * 3
    finally:
        yield Extend(problem.start)
    return Answer(None)


def test_what_cannot_be_left_keeps_nobody_from_leaving(caplog: pytest.LogCaptureFixture) -> None:
    backend = MarkovBackend(timing=1)
    tasks = [MethodJob(reluctant, problem, {}) for problem in problems(2)]
    results = Driver({"main": backend}, sampling=SAMPLED).solve([*tasks_of(problems(1)), *tasks])
    next(results)
    results.close()
    assert [record.message for record in caplog.records] == [
        f"{problem.id}: a method could not be closed" for problem in problems(2)
    ]
    assert not backend.live


@pytest.mark.parametrize("cap", [0, 1, 5, 17, 30, 60, 100])
@pytest.mark.parametrize("name", ["tokens", "prefill", "operations", "scores"])
def test_no_cap_is_exceeded_and_timing_does_not_matter_at_the_cap(cap: int, name: str) -> None:
    cap *= {"operations": 40, "scores": 1}.get(name, 1)
    told = []
    for timing in (None, 1, 2):
        backend = MarkovBackend(timing=timing)
        results = solve(backend, tasks_of(problems(3)), budget=Budget(**{name: cap}))
        told.append([comparable(result) for result in results])
        for result in results:
            assert getattr(result.cost, name) <= cap
            assert result.cost.tokens == tokens_of(result.trace["nodes"])
            assert result.why in ("done", "spent")
        assert sum(result.cost.tokens for result in results) == backend.made
        if cap == 0 and name == "tokens":
            assert {result.why for result in results} == {"spent"}
    assert told[0] == told[1] == told[2]


def test_a_batch_is_paid_as_if_one_came_after_the_other() -> None:
    def lengths(results: list[Result]) -> list[int]:
        return [node["tokens"] for node in results[0].trace["nodes"]]

    task = [MethodJob(find("self_consistency"), problems(1)[0], {"n": 8})]
    free = lengths(solve(MarkovBackend(), task))
    for cap in range(sum(free) + 1):
        expected, left = [], cap
        for length in free:
            if left:
                expected.append(min(length, left))
            left -= min(length, left)
        (result,) = solve(MarkovBackend(timing=cap), task, budget=Budget(tokens=cap))
        assert lengths([result]) == expected
        assert result.cost.tokens == min(cap, sum(free))


def test_a_race_is_decided_by_tokens_then_by_place() -> None:
    seen: list[tuple[list[State], list[State], list[int]]] = []

    @method("none", temperature=1.0)
    def racing(problem: Problem, *, m: int = 2) -> Steps:
        """Race."""
        free = yield [Extend(problem.start)] * 6
        raced = yield Race([Extend(problem.ask(problem.prompt))] * 6, m)
        seen.append((free, raced.states, raced.winners))
        return Answer(None)

    for m in (1, 2, 5, 6):
        told = []
        for timing in (None, 1, 2, 3):
            seen.clear()
            backend = MarkovBackend(timing=timing)
            results = solve(backend, [MethodJob(racing, p, {"m": m}) for p in problems()])
            assert sum(result.cost.tokens for result in results) == backend.made
            told.append(sorted((states[0].branch, states, winners) for _, states, winners in seen))
        assert told[0] == told[1] == told[2] == told[3]
        for branch, states, winners in told[0]:
            complete = sorted((s.length, i) for i, s in enumerate(states) if s.complete)
            assert winners == [i for _, i in complete[:m]]
            if len(winners) == m:
                limit = states[winners[-1]].length
                assert all(s.length == limit for s in states if s.why == "cancelled"), branch
                assert max(s.length for s in states) == limit


def test_a_race_gives_what_the_same_extensions_give() -> None:
    @method("none", temperature=1.0)
    def free(problem: Problem) -> Steps:
        """Extend."""
        states = yield [Extend(problem.start)] * 6
        return Answer(None, details={"texts": [s.text for s in states], "ends": [s.length for s in states]})

    @method("none", temperature=1.0)
    def raced(problem: Problem) -> Steps:
        """Race."""
        result = yield Race([Extend(problem.start)] * 6, 2)
        return Answer(None, details={"texts": [s.text for s in result.states], "winners": result.winners})

    for problem in problems():
        one, other = solve(MarkovBackend(timing=5), [MethodJob(free, problem, {}), MethodJob(raced, problem, {})])
        ends, texts = one.answer.details["ends"], one.answer.details["texts"]
        first = sorted(range(6), key=lambda i: (ends[i], i))[:2]
        assert other.answer.details["winners"] == first
        limit = ends[first[-1]]
        assert other.answer.details["texts"] == [text[:limit] for text in texts]


def test_children_of_a_state_draw_independently_and_more_samples_keep_the_first() -> None:
    few, many = (
        solve(MarkovBackend(), [MethodJob(find("self_consistency"), problems(1)[0], {"n": n})])[0] for n in (4, 16)
    )
    texts = [node["text"] for node in many.trace["nodes"]]
    assert [node["text"] for node in few.trace["nodes"]] == texts[:4]
    assert len(set(texts)) > 4


def failing(error: Callable[[], Any], asks: bool = False) -> Any:
    """A scorer that fails for one problem, after it has asked for nothing, if it asks."""

    class Failing:
        name, digest = "failing", ""

        def score(self, problem: Problem, states: list[State]) -> list[float]:
            if problem.id == "p1":
                return error()
            return [1.0] * len(states)

    class Asks(Failing):
        def score(self, problem: Problem, states: list[State]) -> Any:
            yield []
            return super().score(problem, states)

    return Asks() if asks else Failing()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (lambda: 1 / 0, "the scorer failing failed: ZeroDivisionError"),
        (lambda: [float("nan")] * 3, "returned nan for p1/0"),
        (lambda: [1.0], "returned 1 scores for 3 texts"),
        (lambda: None, "the scorer failing must return a list of numbers, got None"),
        (lambda: ["high"] * 3, "the scorer failing must return a list of numbers, got ['high', 'high', 'high']"),
        (lambda: [1j] * 3, "the scorer failing must return a list of numbers"),
    ],
)
@pytest.mark.parametrize("asks", [False, True])
def test_a_scorer_that_fails_is_named_and_others_go_on(error: Callable[[], Any], message: str, asks: bool) -> None:
    @method("none", temperature=1.0)
    def scored(problem: Problem) -> Steps:
        """Score."""
        states = yield [Extend(problem.start)] * 3
        yield Score(failing(error, asks), states)
        return Answer("scored")

    good, bad, other = solve(MarkovBackend(), [MethodJob(scored, p, {}) for p in problems(3)])
    assert (good.why, other.why, bad.why) == ("done", "done", "failed")
    assert bad.error.startswith("ScorerError")
    assert message in bad.error
    assert bad.cost.scores == 3
    assert bad.cost.tokens > 0


class Fair:
    """Gives every text the same."""

    name, digest = "fair", ""

    def score(self, problem: Problem, states: list[State]) -> list[float]:
        return [0.5] * len(states)


def test_a_scorer_is_made_once_for_all_who_name_it() -> None:
    """Making one may load a model."""
    made: list[str] = []

    def make(name: str) -> Any:
        made.append(name)
        if name == "none":
            raise ParameterError("there is no such scorer")
        return Length() if name == "length" else Asking()

    @method("none", temperature=1.0)
    def scored(problem: Problem) -> Steps:
        """Score again and again."""
        for _ in range(3):
            states = yield [Extend(problem.start)] * 2
            yield [Score("length", states), Score("asking", states)]
        yield Score("none", states)
        return Answer(None)

    results = solve(MarkovBackend(), [MethodJob(scored, p, {}) for p in problems(3)], services=Services(make))
    assert [result.error for result in results] == ["ParameterError: there is no such scorer"] * 3
    assert sorted(name for name in made if name != "none") == ["asking", "length"]


def test_a_method_may_catch_what_a_scorer_raises() -> None:
    @method("none", temperature=1.0)
    def careful(problem: Problem) -> Steps:
        """Score."""
        states = yield [Extend(problem.start)] * 3
        try:
            yield Score(failing(lambda: 1 / 0), states)
        except ScorerError:
            return Answer("caught")
        return Answer("scored")

    assert [r.answer.answer for r in solve(MarkovBackend(), [MethodJob(careful, p, {}) for p in problems(2)])] == [
        "scored",
        "caught",
    ]


@pytest.mark.parametrize(
    ("name", "parameters"), [("deepconf_online", {"n": 3, "warmup": 2, "stride": 4}), ("speculative_thinking", {})]
)
def test_the_users_wish_for_tokens_holds_for_texts_in_several_goes(name: str, parameters: dict[str, Any]) -> None:
    @method("none")
    def calling(problem: Problem) -> Steps:
        """Call."""
        return (yield CallMethod(find(name), problem, parameters))

    problem, endless = problems(1)[0], {"": {"a": 1, "b": 1}, "a": {"a": 1, "b": 1}, "b": {"a": 1, "b": 1}}
    given = MethodJob(find(name), problem, parameters | {"max_tokens": 14})
    texts = parameters.get("n", 1)
    for task, most in (
        (MethodJob(find(name), problem, parameters), 10),
        (MethodJob(calling, problem, {}), 10),
        (given, 14),
    ):
        backends = {model: MarkovBackend(endless) for model in ("toy", "large")}
        ((_, result),) = Driver(backends, sampling={"max_tokens": 10, "temperature": 1.0}).solve([task])
        assert (result.why, result.cost.tokens) == ("done", texts * most)


def test_a_spent_budget_ends_a_method_that_would_go_on_for_ever() -> None:
    @method("none", temperature=1.0)
    def endless(problem: Problem) -> Steps:
        """Never ends."""
        while True:
            yield [Extend(problem.start)] * 2

    @method("none", temperature=1.0)
    def catching(problem: Problem) -> Steps:
        """Never ends, but for a budget."""
        try:
            while True:
                yield [Extend(problem.start)] * 2
        except SpentError:
            return Answer("enough")

    one, other = solve(
        MarkovBackend(),
        [MethodJob(endless, problems(1)[0], {}), MethodJob(catching, problems(1)[0], {})],
        budget=Budget(tokens=50),
    )
    assert one.why == "spent"
    assert one.answer.answer is not None
    assert (other.answer.answer, other.why) == ("enough", "spent")
    assert one.cost.tokens == other.cost.tokens == 50


def test_what_a_method_does_wrong_is_named() -> None:
    @method("none")
    def wrong_request(problem: Problem) -> Steps:
        """Yield nonsense."""
        yield "nonsense"  # type: ignore[misc]
        return Answer(None)

    @method("none")
    def wrong_answer(problem: Problem) -> Steps:
        """Return nonsense."""
        yield []
        return "nonsense"  # type: ignore[return-value]

    @method("none")
    def wrong_model(problem: Problem) -> Steps:
        """Ask somebody who is not there."""
        yield Extend(problem.start, model="large")
        return Answer(None)

    wrong = [MethodJob(m, problems(1)[0], {}) for m in (wrong_request, wrong_answer, wrong_model)]
    for result, message in zip(
        solve(MarkovBackend(), wrong),
        ["must yield requests", "returned str", "no model named 'large'; available: toy"],
        strict=True,
    ):
        assert result.why == "failed"
        assert message in result.error


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mixture_of_agents", {"models": "toy, large"}),
        ("archon", {"models": "toy,large"}),
        ("mixture_of_agents", {"aggregator": "large"}),
    ],
)
def test_names_of_models_are_looked_up_before_a_token_is_spent(name: str, parameters: dict[str, Any]) -> None:
    backend = MarkovBackend()
    with pytest.raises(ParameterError, match="no model named 'large'"):
        list(Driver({"toy": backend}).solve([MethodJob(all_methods()[name], problems(1)[0], parameters)]))
    assert backend.started == 0


def test_a_request_that_cannot_be_served_is_told_to_its_method_alone(tmp_path: Path) -> None:
    class Plain(MarkovBackend):
        def count(self, part: Any) -> int:
            if isinstance(part, tuple):
                raise ParameterError("the model has no chat template")
            return super().count(part)

    @method("none")
    def conversing(problem: Problem) -> Steps:
        """Ask a model that takes no conversations, beside one that does."""
        yield [Extend(problem.start), Extend(problem.start, model="plain"), Extend(problem.start)]
        return Answer(None)

    @method("none")
    def careful(problem: Problem) -> Steps:
        """Go on with what there is."""
        try:
            yield RunProgram(b"print(1)")  # type: ignore[arg-type]
        except TypeError:
            state = yield Extend(problem.start)
        return Answer(state.text)

    @method("none")
    def judging(problem: Problem) -> Steps:
        """Judge what is no text."""
        yield Score(Known(), [None])  # type: ignore[list-item]
        return Answer(None)

    class Known(Length):
        digest = "known"

    chat = [replace(problem, prompt=(("user", "ask"),)) for problem in problems()]
    methods = (find("self_consistency"), conversing, careful, judging, find("self_consistency"))
    main, other = MarkovBackend(), Plain()
    with Journal(tmp_path / "journal.sqlite") as journal:
        driver = Driver({"main": main, "plain": other}, sampling=SAMPLED, journal=journal)
        results = dict(driver.solve([MethodJob(m, problem, {}) for m, problem in zip(methods, chat, strict=False)]))
    assert [results[i].why for i in range(5)] == ["done", "failed", "done", "failed", "done"]
    assert results[1].error == "ParameterError: the model has no chat template"
    assert "AttributeError" in results[3].error
    assert sum(result.cost.tokens for result in results.values()) == main.made
    assert other.made == 0


def test_a_method_that_breaks_is_told_with_the_place() -> None:
    @method("none")
    def broken(problem: Problem) -> Steps:
        """Break."""
        yield []
        return {}["nothing"]  # here

    (result,) = solve(MarkovBackend(), [MethodJob(broken, problems(1)[0], {})])
    line = 1 + next(i for i, text in enumerate(Path(__file__).read_text().splitlines()) if text.endswith("# here"))
    assert result.error == f"KeyError: 'nothing' (test_driver.py, line {line})"


def test_what_a_back_end_cannot_write_fails_alone() -> None:
    (result,) = solve(MarkovBackend(fail="ab"), [MethodJob(find("self_consistency"), problems(1)[0], {"n": 12})])
    whys = [node["why"] for node in result.trace["nodes"]]
    assert "error" in whys
    assert "end" in whys
    assert result.why == "done"


def test_what_broke_off_with_an_error_has_no_vote() -> None:
    (result,) = solve(MarkovBackend(fail="ab"), [MethodJob(find("self_consistency"), problems(1)[0], {"n": 12})])
    broken = [node["text"] for node in result.trace["nodes"] if node["why"] == "error"]
    assert broken
    assert not any(text in result.answer.votes for text in broken)
    assert sum(result.answer.votes.values()) <= 12 - len(broken)


class Breaking(ScriptBackend):
    """Every text breaks off in the middle of its answer, 42."""

    def _written(self, generation: Generation) -> Written:
        assert not generation.state.tokens, "nobody goes on from there"
        return Written("The answer is 4", (1, 2, 3), (-1, -1, -1), (), "error", "no connection")


@pytest.mark.parametrize("name", sorted(all_methods().keys() - {"compute_optimal"}))
def test_half_a_text_is_no_answer_and_nobody_goes_on_from_it(name: str) -> None:
    problem = Problem("p", "6 * 7?", lambda text: (re.findall(r"answer is (\d+)", text) or [None])[-1])
    backends = {model: Breaking(lambda prompt, text, place: "") for model in ("toy", "large", "nudger")}
    driver = Driver(backends, services=Services(lambda name: Fair()), sampling={"max_tokens": 5})
    values = {"statement": "Theorem t : 1 + 1 = 3."} if "tool proof" in find(name).uses else {}
    ((_, result),) = driver.solve([MethodJob(find(name), problem, values)])
    if values and "not installed" in (result.error or ""):
        pytest.skip(result.error)
    assert (result.why, result.answer.answer) == ("failed", None)
    assert "no connection" in result.error or "log-probabilities" in result.error, result.error


@pytest.mark.parametrize("fail", ["", "ab"])
def test_what_a_called_method_could_not_write_is_told(fail: str) -> None:
    """All of its texts, or some: the caller fails as the called one would, or says that something is missing."""

    @method("none")
    def calling(problem: Problem) -> Steps:
        """Call."""
        return (yield CallMethod(find("self_consistency"), problem, {"n": 12}))

    problem = problems(1)[0]
    tasks = [MethodJob(find("self_consistency"), problem, {"n": 12}), MethodJob(calling, problem, {})]
    direct, called = solve(MarkovBackend(fail=fail), tasks)
    assert direct.why == called.why == ("done" if fail else "failed")
    assert direct.error == called.error == f"{fail} cannot be continued"


def test_a_prompt_that_leaves_no_room_in_the_context_is_told() -> None:
    @method("none")
    def calling(problem: Problem) -> Steps:
        """Call."""
        return (yield CallMethod(find("self_consistency"), problem, {"n": 2}))

    problem = problems(3)[2]
    tasks = [MethodJob(one, problem, {}) for one in (find("chain_of_thought"), find("self_consistency"), calling)]
    for result in solve(MarkovBackend(context=5), tasks):
        assert (result.why, result.answer.answer, result.cost.tokens) == ("failed", None, 0)
        assert result.error.endswith(
            "the prompt has 5 tokens, which leaves no room for a token after it in the context of 5"
        )
    for result in solve(MarkovBackend(context=6), tasks):  # texts that the context cuts
        assert (result.why, result.error) == ("done", "")


def test_several_models_and_their_vocabularies() -> None:
    """Tokens go from model to model where they mean the same, else the text does; each reads what another wrote."""
    seen: list[State] = []

    class Noting(MarkovBackend):
        def start(self, generations: Any) -> None:
            seen.extend(generation.state for generation in generations)
            super().start(generations)

    class Foreign(Noting):
        vocabulary = "other letters"

    @method("none", temperature=1.0)
    def alternating(problem: Problem) -> Steps:
        """Take turns."""
        state = yield Extend(problem.start, max_tokens=3, stop=("a", "b", "c"))
        state = yield Extend(state, max_tokens=2, model="large", stop=(".", "a", "b", "c"))
        state = yield Extend(state.append("b"), max_tokens=2)
        return Answer(state.text, {}, None, state)

    problem = Problem("p1", "ask")
    for other, kept in ((Noting(), True), (Foreign(), False)):
        seen.clear()
        small = Noting()
        ((_, result),) = Driver({"small": small, "large": other}).solve([MethodJob(alternating, problem, {})])
        assert result.why == "done", result.error
        one, two, *_ = result.trace["nodes"]
        assert [len(state.pieces) for state in seen] == [0, 1, 3]
        assert bool(seen[1].pieces[0].tokens) == kept
        assert bool(seen[2].pieces[0].tokens)
        assert bool(seen[2].pieces[1].tokens) == kept
        assert seen[2].text == one["text"] + two["text"] + "b"
        assert result.cost.prefill == 3 + (3 + one["tokens"]) + two["tokens"] + 1
        assert result.cost.tokens == small.made + other.made


def test_a_race_whose_winners_have_ended_before_makes_nothing() -> None:
    @method("none", temperature=1.0)
    def late(problem: Problem) -> Steps:
        """Race again."""
        states = yield [Extend(problem.start)] * 12
        ended = [state for state in states if state.why == "end"][:2]
        assert len(ended) == 2
        raced = yield Race([Extend(ended[0]), Extend(problem.start), Extend(ended[1])], 2)
        return Answer(None, details={"winners": raced.winners, "whys": [state.why for state in raced.states]})

    (result,) = solve(MarkovBackend(), [MethodJob(late, problems(1)[0], {})])
    assert result.why == "done", result.error
    assert result.answer.details == {"winners": [0, 2], "whys": ["end", "cancelled", "end"]}
    assert len(result.trace["nodes"]) == 12


def test_what_replies_to_another_question_never_answers_for_a_method_that_fails() -> None:
    @method("none")
    def asking(problem: Problem) -> Steps:
        """Ask about texts, and fail."""
        states = yield [Extend(problem.start)] * 2
        yield [Extend(state.ask("which numbers are in this?")) for state in states for _ in range(3)]
        yield Score(failing(lambda: 1 / 0), states)
        return Answer(None)

    @method("none")
    def only_asking(problem: Problem) -> Steps:
        """Ask another question alone, and fail."""
        yield [Extend(problem.ask("write a program"))] * 3
        yield RunProgram("print(1)", seconds=-1)
        return Answer(None)

    backend = ScriptBackend(lambda prompt, text, place: "42" if prompt == "6 * 7?" else "99")
    problem = Problem("p1", "6 * 7?")
    one, other = solve(backend, [MethodJob(asking, problem, {}), MethodJob(only_asking, problem, {})])
    assert (one.why, dict(one.answer.votes)) == ("failed", {"42": 2.0})
    assert (other.why, other.answer) == ("failed", Answer(None))


def test_who_reads_answers_may_fail() -> None:
    def unreadable(text: str) -> str | None:
        raise RecursionError("too deep")

    problem = Problem("p1", "ask", unreadable)
    for budget in (None, Budget(tokens=1)):
        (result,) = solve(MarkovBackend(), [MethodJob(find("self_consistency"), problem, {"n": 3})], budget=budget)
        assert (result.why, result.answer.answer) == ("failed", None)
        assert "RecursionError: too deep" in result.error


def test_programs_run_in_the_sandbox_and_are_counted() -> None:
    @method("none")
    def running(problem: Problem) -> Steps:
        """Run."""
        good, bad = yield [RunProgram("print(6 * 7)"), RunProgram("1 / 0")]
        try:
            yield RunProgram("print(1)")
        except SpentError:
            return Answer(good.stdout.strip(), details={"ended": bad.ended})
        return Answer(None)

    (result,) = solve(MarkovBackend(), [MethodJob(running, problems(1)[0], {})], budget=Budget(runs=2))
    assert (result.answer.answer, result.answer.details["ended"], result.why) == ("42", "error", "spent")
    assert result.cost.runs == 2
    assert [node["kind"] for node in result.trace["nodes"]] == ["run", "run"]


@pytest.mark.skipif(protection().kind != "bubblewrap", reason="the filter alone hides a program's limits from it")
def test_a_program_may_compute_all_the_seconds_it_is_given() -> None:
    @method("none")
    def running(problem: Problem) -> Steps:
        """Ask for the processor time there is."""
        code = "import resource\nprint(resource.getrlimit(resource.RLIMIT_CPU)[0])"
        few, many = yield [RunProgram(code, seconds=2.5), RunProgram(code, seconds=40)]
        try:
            yield RunProgram(code, seconds=float("nan"))
        except ParameterError as error:
            return Answer(few.stdout + many.stdout, details={"error": str(error)})
        return Answer(None)

    (result,) = solve(MarkovBackend(), [MethodJob(running, problems(1)[0], {})])
    assert result.answer.answer == "3\n40\n"
    assert result.answer.details["error"] == "seconds must be positive and finite, got nan"


@method("none", temperature=1.0)
def four_steps(problem: Problem, *, n: int = 64) -> Steps:
    """Write texts in four steps, and have a scorer that writes judge them."""
    states = [problem.start] * n
    for _ in range(4):
        states = yield [Extend(state, max_tokens=3) for state in states]
    scores = yield Score(Asking(), states)
    return Answer(None, details={"states": states, "scores": scores})


def test_a_cap_of_each_text_holds_over_all_its_steps(tmp_path: Path) -> None:
    def states(text: int | None, journal: Journal | None = None) -> list[State]:
        budget = Budget(text=text)
        (result,) = solve(MarkovBackend(), [MethodJob(four_steps, problems(1)[0], {})], budget=budget, journal=journal)
        assert result.why == "done", "a text at its cap is ended; no budget is spent"
        assert all(isinstance(score, float) for score in result.answer.details["scores"]), "scorers write on"
        return list(result.answer.details["states"])

    free = states(None)
    assert max(state.length for state in free) == 12
    for cap in (0, 1, 3, 5, 7, 12):
        with Journal(tmp_path / f"{cap}.sqlite") as journal:
            states(None, journal)
            known = states(cap, journal)
        capped = states(cap)
        assert capped == known, "of texts that are known in full the cap leaves the same"
        for one, other in zip(free, capped, strict=True):
            assert other.tokens == one.tokens[:cap]
            assert other.ended or other.tokens == one.tokens
            assert other.why == ("context" if one.length > cap else other.why)
    assert Budget.parse("text=512,tokens=4k").divide(4) == Budget(text=512, tokens=1000)


def test_called_methods_share_what_is_left() -> None:
    @method("none")
    def calling(problem: Problem, *, k: int = 3) -> Steps:
        """Call."""
        answers = yield [CallMethod(find("self_consistency"), problem, {"n": 4})] * k
        return Answer(answers[0].answer)

    for cap in (0, 7, 30, 61, 1000):
        told = []
        for timing in (None, 1, 2):
            backend = MarkovBackend(timing=timing)
            (result,) = solve(backend, [MethodJob(calling, problems(1)[0], {})], budget=Budget(tokens=cap))
            told.append(comparable(result))
            calls = [tokens_of(node["nodes"]) for node in result.trace["nodes"]]
            assert len(calls) == 3
            assert max(calls) <= cap // 3
            assert sum(calls) == result.cost.tokens == backend.made
        assert told[0] == told[1] == told[2]
    assert len(set(calls)) > 1  # they draw apart


def test_problems_are_begun_as_long_as_there_is_little_to_do() -> None:
    for n, least, most in ((1, 64, 64), (16, 256, 271), (300, 300, 555)):
        backend = MarkovBackend()
        tasks = [MethodJob(find("self_consistency"), problem, {"n": n}) for problem in problems(80)]
        next(Driver({"toy": backend}, sampling=SAMPLED).solve(tasks))
        assert least <= backend.most <= most


def test_the_users_stops_end_texts_whatever_ends_a_request() -> None:
    @method("none", temperature=1.0)
    def stopping(problem: Problem) -> Steps:
        """Extend with stops of its own, and without."""
        states = yield [Extend(problem.start, stop=("a",)), Extend(problem.start)] * 8
        aside = yield [Extend(problem.ask("b"), stop=("a",))] * 8
        return Answer(None, details={"states": states, "aside": aside})

    (result,) = solve(
        MarkovBackend(),
        [MethodJob(stopping, problems(1)[0], {})],
        sampling={**SAMPLED, "max_tokens": 30, "stop": (".",)},
    )
    states, aside = result.answer.details["states"], result.answer.details["aside"]
    assert {state.why for state in states} >= {"stop", "closed"}
    for state in states:
        assert "." not in state.text, "what comes with the user's stop string is no part of the answer"
        assert state.ended == (state.why in ("closed", "end"))
        assert state.why != "stop" or state.text.count("a") == 1
    assert any("." in state.text for state in aside), "another question's text may hold what ends an answer"
    assert {state.why for state in aside} <= {"stop", "end"}


def test_a_stop_of_the_users_may_lie_across_steps() -> None:
    """Where a step ends in the middle of it, it ends the text all the same."""

    @method("none", temperature=1.0)
    def stepwise(problem: Problem, *, n: int = 30) -> Steps:
        """Write steps that end with a point."""
        states: list[State] = [problem.start] * n
        for _ in range(8):
            states = yield [Extend(state, stop=(".",)) for state in states]
        return Answer(None, details={"states": states})

    (result,) = solve(
        MarkovBackend(),
        [MethodJob(stepwise, problems(1)[0], {})],
        sampling={**SAMPLED, "max_tokens": 30, "stop": (".a", "cb")},
    )
    states = result.answer.details["states"]
    across = [state for state in states if state.why == "closed" and state.text.endswith(".")]
    within = [state for state in states if state.why == "closed" and not state.text.endswith(".")]
    assert across
    assert within
    assert not any(".a" in state.text or "cb" in state.text for state in states)
    for state in across:
        assert state.last == "", "nothing of the step that the stop string ends in is left"
        assert chr(state.pieces[-1].tokens[0]) == "a", "its tokens were written, and are charged"
    waiting = across[0].append("Wait")
    assert waiting.text.endswith(".Wait")
    assert not waiting.ended
    assert len(waiting.tokens) < len(across[0].tokens), "it goes on from its text, without what came with the stop"
