"""Methods that sample and vote: their exact laws on a model whose every text can be enumerated."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import pytest

from intact._base.errors import ParameterError
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason import Answer, Problem, State, find
from intact.reason.aggregate.confidence import bottom_confidence, tail_confidence, token_confidences
from intact.reason.aggregate.deepconf import stopping_place
from intact.reason.backends.base import Generation, Written
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.testing.enumeration import Oracle, Player, law, outcomes
from intact.reason.testing.toy import MarkovBackend
from intact.tasks.score.scorers.certainty import LikelihoodScorer
from support.script import Reply, ScriptBackend

PROBLEM = Problem("p", "ask", read=lambda text: text[:1] if text[:1] != "c" else None)
FIRST = {"a": Fraction(4, 8), "b": Fraction(3, 8), None: Fraction(1, 8)}


class Reward:
    """Likes b best; c has no answer."""

    name, digest = "reward", ""

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        return [{"a": 0.25, "b": 0.5, "c": 0.75}[state.text[0]] + len(state.text) / 64 for state in states]


def played(name: str, oracle: Oracle, longest: int, **parameters: Any) -> Answer:
    player = Player(MarkovBackend(), oracle, longest, Reward())
    return player.play(find(name)(PROBLEM, **parameters), PROBLEM)


def law_of_answers(name: str, longest: int = 1, **parameters: Any) -> dict[str | None, Fraction]:
    return law(lambda oracle: played(name, oracle, longest, **parameters).answer)


def law_of_votes(n: int, choose: Callable[[list[str | None]], Any]) -> dict[Any, Fraction]:
    """What n independent answers lead to."""
    result: Counter[Any] = Counter()
    for answers in itertools.product(FIRST, repeat=n):
        result[choose(list(answers))] += math.prod((FIRST[a] for a in answers), start=Fraction(1))
    return dict(result)


def majority(answers: list[str | None]) -> str | None:
    known = [answer for answer in answers if answer is not None]
    return max(known, key=lambda a: (known.count(a), -known.index(a)), default=None)


def test_adaptive_consistency_stops_when_the_posterior_says_so() -> None:
    def lead(a: int, b: int) -> float:
        """The integral of the Beta density above one half, by the trapezoid rule."""
        steps, beta = 4000, math.gamma(a + b + 2) / math.gamma(a + 1) / math.gamma(b + 1)
        xs = [0.5 + 0.5 * i / steps for i in range(steps + 1)]
        ys = [beta * x**a * (1 - x) ** b for x in xs]
        return (sum(ys) - (ys[0] + ys[-1]) / 2) * 0.5 / steps

    def stopped(answers: list[str | None]) -> tuple[str | None, int]:
        for i in range(1, 6):
            a, b = sorted((answers[:i].count("a"), answers[:i].count("b")), reverse=True)
            if a and lead(a, b) >= 0.85:
                break
        return majority(answers[:i]), i

    def outcome(oracle: Oracle) -> tuple[str | None, int]:
        answer = played("adaptive_consistency", oracle, 1, n=5, threshold=0.85)
        return answer.answer, answer.details["samples"]

    assert law(outcome) == law_of_votes(5, stopped)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_certain_stop_never_changes_the_majority(batch: int) -> None:
    found = law_of_answers("adaptive_consistency", n=5, rule="certain", batch=batch)
    assert found == law_of_votes(5, majority)


def test_adaptive_consistency_by_survival_looks_at_what_is_left() -> None:
    def samples(oracle: Oracle) -> int:
        return played("adaptive_consistency", oracle, 1, n=4, rule="survival", threshold=0.69).details["samples"]

    # After a first answer, the chance that (1, 0) still leads after 3 more is that of two more at least: 42 / 60.
    assert law(samples)[1] == Fraction(7, 8)
    with pytest.raises(ParameterError, match="beta, survival, certain"):
        played("adaptive_consistency", Oracle(), 1, rule="no")


def test_early_stopping_consistency_stops_at_the_first_window_of_one_mind() -> None:
    def stopped(answers: list[str | None]) -> tuple[str | None, int]:
        for end in (2, 4, 5):
            window = answers[end - 2 : end] if end != 5 else []
            if end == 5 or (window[0] is not None and window[0] == window[1]):
                return majority(answers[:end]), end
        raise AssertionError

    def outcome(oracle: Oracle) -> tuple[str | None, int]:
        answer = played("early_stopping_consistency", oracle, 1, n=5, window=2)
        return answer.answer, answer.details["samples"]

    assert law(outcome) == law_of_votes(5, stopped)


def test_self_certainty_is_between_the_vote_and_the_most_certain() -> None:
    assert law_of_answers("self_certainty", n=3, p=0.0, vocabulary=26) == law_of_votes(3, majority)
    for answer, _ in outcomes(lambda oracle: played("self_certainty", oracle, 2, n=2, p=9.0, vocabulary=26)):
        certainties, votes = answer.details["certainties"], answer.votes
        if len(votes) == 2:
            assert votes == {answer.answer: 2**9, next(a for a in votes if a != answer.answer): 1}
            assert answer.chosen is not None
            assert max(certainties) == certainties[answer.chosen.branch[1]]


def test_deepconf_keeps_and_weighs_by_its_measure() -> None:
    def values(state: State) -> list[float]:
        return token_confidences([[logprob / 2**24 for _, logprob in place] for place in state.top])

    measures = {"tail": lambda v: tail_confidence(v, 2), "lowest": lambda v: bottom_confidence(v, 2, 0.0)}
    for name, measure in measures.items():
        seen = 0
        for keep in (100, 50):
            for oracle_path in ([], [3, 5, 1], [7, 2, 2], [1, 4, 6]):
                oracle = Oracle(oracle_path)
                player = Player(MarkovBackend(), oracle, 3)
                steps = find("deepconf")(PROBLEM, n=3, keep=keep, measure=name, window=2, top=3)
                answer = player.play(steps, PROBLEM)
                confident = [measure(values(state)) for state in player.written]
                assert answer.details["confidences"] == confident
                answers = PROBLEM.answers(player.written)
                known = sorted(c for c, a in zip(confident, answers, strict=True) if a is not None)
                least = known[0] if keep == 100 else (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2
                votes = Counter[str]()
                for a, c in zip(answers, confident, strict=True):
                    if a is not None and c >= least:
                        votes[a] += c  # type: ignore[assignment]
                assert answer.votes == pytest.approx(dict(votes))
                seen += len(known) > 1
        assert seen
    with pytest.raises(ParameterError, match="mean, tail, bottom, lowest"):
        played("deepconf", Oracle(), 1, measure="best")


def test_deepconf_online_stops_texts_below_the_bar_and_sampling_at_consensus() -> None:
    stopped = saved = 0
    for seed in range(12):
        problem = Problem("p", "ask", read=lambda text: text[:1] or None, seed=seed)
        parameters = {
            "n": 20,
            "warmup": 5,
            "keep": 60,
            "window": 3,
            "batch": 5,
            "stride": 1,
            "max_tokens": 30,
            "top": 3,
        }
        parameters["consensus"] = 0.75
        backend = MarkovBackend()
        method = find("deepconf_online")
        (_, result), *_ = Driver({"toy": backend}, sampling={"temperature": 1.0}).solve(
            [MethodJob(method, problem, parameters)]
        )
        assert result.why == "done", result.error
        assert result.cost.tokens == backend.made
        details = result.answer.details
        least = details["bar"]
        assert details["samples"] in (5, 10, 15, 20)
        votes = result.answer.votes
        if details["samples"] < 20:
            assert max(votes.values()) >= 0.75 * sum(votes.values())
            saved += 1
        longest = longest_texts(result.trace["nodes"])
        assert len(longest) == details["samples"]
        for node in longest[5:]:
            place = stopping_place(node, 3, least)
            assert place is None or place == len(node), "a text below the bar is not written any further"
            stopped += place is not None
    assert stopped > 5
    assert saved > 2


def confidence_of(name: str, reply: Reply, cap: int | None = None, **parameters: Any) -> float | None:
    problem = Problem("p", "A or B?", lambda text: text if text in ("A", "B") else None)
    driver = Driver(
        {"toy": ScriptBackend(reply)},
        services=Services(lambda _: LikelihoodScorer()),
        sampling={"max_tokens": 4},
        budget=Budget(cap),
    )
    ((_, result),) = driver.solve([MethodJob(find(name), problem, parameters)])
    assert result.answer.answer == "A", result.error
    return result.answer.confidence


@pytest.mark.parametrize(
    "name", ["self_consistency", "adaptive_consistency", "weighted_best_of_n", "majority_of_bests", "smc"]
)
def test_texts_without_an_answer_count_against_the_confidence(name: str) -> None:
    """Of 16 texts one has an answer, the others run out of tokens or say nothing, all of them as likely."""
    silent = lambda place: "....…" if place % 2 else "."  # noqa: E731
    batch = {"batch": 16} if name == "adaptive_consistency" else {}
    sure = confidence_of(name, lambda prompt, text, place: silent(place) if place else "A", n=16, **batch)
    assert sure == 1 / 16


def test_texts_that_a_budget_cut_say_nothing_of_confidence() -> None:
    """Of eight texts of four tokens at most three are written whole: A, A and one without an answer."""
    reply = lambda prompt, text, place: "..." if place == 2 else "A"  # noqa: E731
    assert confidence_of("self_consistency", reply, 2 + 2 + 4, n=8) == 2 / 3
    assert confidence_of("self_consistency", reply, n=8) == 7 / 8


class Confident(ScriptBackend):
    """Two texts are sure of B and one of C, all others are of A, and not."""

    def _written(self, generation: Generation) -> Written:
        letter, sure = {0: ("B", 3), 1: ("B", 3), 2: ("C", 3)}.get(int(generation.branch[1]), ("A", 1))
        self.made += 2
        top = ((("x", -sure * LOGPROB_SCALE),),) * 2
        return Written(letter, (ord(letter), ord("$")), (-LOGPROB_SCALE,) * 2, top, "end")


@pytest.mark.parametrize("cap", [32, 34, 40, 46])
def test_deepconf_online_out_of_budget_votes_as_it_would_have(cap: int) -> None:
    problem = Problem("p", "A or B?")
    parameters = {"n": 40, "keep": 15, "window": 1, "batch": 4, "consensus": 1.0, "max_tokens": 8, "stride": 8}
    driver = Driver({"toy": Confident(lambda prompt, text, place: "")}, budget=Budget(tokens=cap))
    ((_, result),) = driver.solve([MethodJob(find("deepconf_online"), problem, parameters)])
    assert (result.why, result.answer.answer, result.cost.tokens) == ("spent", "B", cap)
    assert result.answer.votes == {"B": 6.0, "C": 3.0, "A": 0.0}


def longest_texts(nodes: list[dict[str, Any]]) -> list[list[float]]:
    """The confidences of all samples, recomputed from the trace's texts."""
    model = MarkovBackend()
    ends: dict[str, str] = {}
    for node in flat(nodes):
        sample = node["branch"].split("/")[1]
        ends[sample] = ends.get(sample, "") + node["text"] + ("$" if node["why"] == "end" else "")
    values = []
    for text in ends.values():
        tops = [model.top(text[:i], 3) for i in range(len(text))]
        values.append(token_confidences([[logprob / 2**24 for _, logprob in place] for place in tops]))
    return values


def flat(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [inner for node in nodes for inner in [node, *flat(node.get("nodes", []))]]


def test_rpc_adds_up_distinct_texts() -> None:
    model = MarkovBackend()
    player = Player(model, Oracle([0, 0, 4]), 3)
    answer = player.play(find("rpc")(PROBLEM, n=3, normalised=False), PROBLEM)
    first, second, third = player.written
    assert first.tokens == second.tokens != third.tokens
    p = [math.exp(state.logprob) for state in player.written]
    kept = [x >= sum(p) / 3 for x in p]
    if kept == [True, True, False]:
        assert answer.votes == {first.text[0]: 1.0}
    else:
        assert sum(answer.votes.values()) == pytest.approx((kept[0] * p[0] + kept[2] * p[2]) / max(p))


@pytest.mark.parametrize("alpha", [0.0, 0.4, 0.6, 1.0])
def test_the_law_of_best_of_majority(alpha: float) -> None:
    def choose(answers: list[str | None]) -> str | None:
        kept = {a for a in answers if a is not None and answers.count(a) >= alpha * len(answers)}
        return "b" if "b" in kept else "a" if "a" in kept else majority(answers)

    assert law_of_answers("best_of_majority", n=3, alpha=alpha) == law_of_votes(3, choose)


def test_the_law_of_majority_of_the_bests() -> None:
    def choose(answers: list[str | None]) -> str | None:
        """Best of 2 draws with replacement from 3, by all nine pairs; None ranks highest and wins for nobody."""
        ranked = sorted(range(3), key=lambda i: ({None: 0, "b": 1, "a": 2}[answers[i]], i))
        wins = Counter(answers[min(pair, key=ranked.index)] for pair in itertools.product(range(3), repeat=2))
        wins.pop(None, None)
        return max(wins, key=lambda a: (wins[a], -answers.index(a)), default=None)

    assert law_of_answers("majority_of_bests", n=3, m=2) == law_of_votes(3, choose)


def test_no_thinking_goes_on_from_what_was_thought_for_it() -> None:
    read = Problem("p", "ask", read=lambda text: text.removeprefix("(thought)b")[:1] or None)
    chances = {letter: Fraction(w, 8) for letter, w in {"a": 1, "c": 4, ".": 2, None: 1}.items()}

    def run(oracle: Oracle) -> str | None:
        steps = find("no_thinking")(read, n=2, prefill="(thought)b")
        return Player(MarkovBackend(), oracle, 1).play(steps, read).answer

    found = law(run)
    for letter in ("a", "c", "."):
        p, none = chances[letter], chances[None]
        assert found[letter] == p * p + 2 * p * none + p * (1 - p - none), "both, one alone, or first of two"


def test_budget_forcing_waits_and_cuts() -> None:
    """Thinking ends with a full stop, which "a" replaces once; what is not over after four letters gets ".b"."""
    parameters = {"thinking": 4, "waits": 1, "answering": 2, "end": ".", "wait": "a", "final": "b"}
    shapes = Counter[str]()
    for (answer, texts), chance in outcomes(lambda oracle: forced(oracle, parameters)):
        written = sum(len(state.pieces[-1].tokens) for state in texts)
        assert written <= 4 + 2
        assert answer.chosen is not None
        text = answer.chosen.text
        waits = answer.details["waits"]
        assert waits <= 1
        if answer.details.get("thought") is None:
            shapes["ended"] += 1
            assert waits == 1 or written == 4
            assert texts[-1].why == "end"
        else:
            assert answer.details["thought"] <= 4
            shapes["cut" if ".b" in text and answer.chosen.pieces[-2].text == ".b" else "stopped"] += 1
        if waits:
            piece = texts[0].pieces[-1].text
            assert text.startswith(piece.removesuffix(".") + "a")
        assert chance > 0
    assert set(shapes) == {"ended", "cut", "stopped"}


def forced(oracle: Oracle, parameters: dict[str, Any]) -> tuple[Answer, list[State]]:
    player = Player(MarkovBackend(), oracle, 4)
    return player.play(find("budget_forcing")(PROBLEM, **parameters), PROBLEM), player.written


@pytest.mark.parametrize(("name", "parameters"), [("self_certainty", {"p": 50}), ("majority_of_bests", {"m": 1024})])
def test_the_largest_exact_weights_fit_a_float(name: str, parameters: dict[str, Any]) -> None:
    driver = Driver(
        {"toy": MarkovBackend()}, sampling={"max_tokens": 2}, services=Services(lambda _: LikelihoodScorer())
    )
    ((_, result),) = driver.solve([MethodJob(find(name), PROBLEM, {"n": 1024, **parameters})])
    assert (result.why, result.answer.answer in ("a", "b")) == ("done", True), result.error
    assert all(math.isfinite(votes) for votes in result.answer.votes.values())


@pytest.mark.parametrize(("m", "answer"), [(1, None), (2, "c"), (3, "c"), (4, "c"), (5, "b")])
def test_the_shortest_break_ties_of_a_race(m: int, answer: str | None) -> None:
    texts = ["a" * 30, "b" * 20, "c" * 10, "b" * 40, "-" * 5]
    problem = Problem("p", "q", lambda text: text[0] if text[:1].isalpha() else None)
    driver = Driver({"toy": ScriptBackend(lambda prompt, text, place: texts[place])}, sampling={"max_tokens": 50})
    ((_, result),) = driver.solve([MethodJob(find("short_m_at_k"), problem, {"k": 5, "m": m})])
    assert result.answer.answer == answer
