"""Values of prefixes: their estimates and tables, the noise that sets the AUROC, and searches that they guide."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import intact
from intact._base.errors import FormatError, ParameterError
from intact.reason import Answer, Problem, State, find
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.problem import Piece
from intact.reason.testing.enumeration import EnumeratedProblem, Oracle, Player, outcomes
from intact.reason.testing.toy import MarkovBackend
from intact.serve.methods import find_served_scorer
from intact.stats.calibration import auroc
from intact.tasks.score.scorers import find_scorer
from intact.tasks.score.scorers.prefix_value import PrefixValue
from intact.tasks.score.value.noise import noisy_score, normal
from intact.tasks.score.value.prefixes import (
    PrefixCount,
    PrefixTable,
    ValuedProblem,
    digest_of,
    reached_auroc,
    score_of_prefix,
)
from support.tiny import write_tiny

MODEL = MarkovBackend()


def has_c(text: str) -> str | None:
    """Answer "c" if the text has one, else "none"."""
    return "c" if "c" in text else "none"


PROBLEM = Problem("p", "ask", read=has_c)


def table(counts: dict[str, PrefixCount], rate: float = 0.4, continuations: int = 2, problem: str = "p") -> PrefixTable:
    prefixes = {digest_of(text): count for text, count in counts.items()}
    return PrefixTable(continuations, rate, {problem: ValuedProblem("c", prefixes)})


def state_of(text: str, why: Any = "stop") -> State:
    return State("ask", ("p", 0), (Piece(text),), why)


def test_an_estimate_is_unbiased() -> None:
    """E[estimate] = P(right | prefix), over all pairs of continuations of up to three letters."""
    scorer = PrefixValue(table=table({}))
    for prefix in ("a.", "b", "."):
        exact = sum(chance for text, chance, _ in MODEL.texts(3, "\0", prefix) if "c" in prefix + text)

        def run(oracle: Oracle, prefix: str = prefix) -> Any:
            return tuple(Player(MODEL, oracle, 3).play(scorer.score(PROBLEM, [state_of(prefix)]), PROBLEM))

        found = list(outcomes(run))
        assert sum(chance for _, chance in found) == 1
        assert sum(Fraction(score) * chance for (score,), chance in found) == exact
        assert {score for (score,), _ in found} == {0.0, 0.5, 1.0}


def test_known_prefixes_and_finished_texts_ask_for_nothing() -> None:
    scorer = PrefixValue(table=table({"a.": PrefixCount(3, 4, 1)}))
    states = [state_of("a."), state_of("ab", "end"), state_of("abc", "end"), state_of("ac", "budget")]
    with pytest.raises(StopIteration) as end:
        next(scorer.score(PROBLEM, states))
    assert end.value.value == [0.75, 0.0, 1.0, 1.0]


def test_equal_texts_are_continued_once() -> None:
    steps = PrefixValue(table=table({}, continuations=3)).score(PROBLEM, [state_of(one) for one in ("a.", "b.", "a.")])
    requests = next(steps)
    assert [request.state.text for request in requests] == ["a."] * 3 + ["b."] * 3
    ends = [state_of(text, "end") for text in ("a.c", "a.c", "a.", "b.", "b.", "b.")]
    with pytest.raises(StopIteration) as end:
        steps.send(ends)
    assert end.value.value == [2 / 3, 0.0, 2 / 3]


@pytest.mark.parametrize(("quality", "least"), [(0.7, 0.9), (1.0, 0.0)])
def test_smc_by_these_scores_estimates_their_mean(quality: float, least: float) -> None:
    """E[evidence] = sum of p(text) score(text), whatever the scores of the texts before were; all outcomes."""
    letters = [*"abc.", ""]
    begun = {"".join(one) for size in (1, 2) for one in product(letters, repeat=size)} - {""}
    known = {text: PrefixCount(1 + len(text) * 7 % 5, 8, 1) for text in begun}
    scorer = PrefixValue(f"{quality}=", table(known))
    method = find("smc")

    def run(oracle: Oracle) -> Answer:
        problem = EnumeratedProblem.of(PROBLEM, oracle)
        steps = method(problem, n=2, steps=2, least=least, potential="ratio", scheme="multinomial")
        return Player(MODEL, oracle, 1, Played(scorer)).play(steps, problem)

    evidence = sum(
        float(chance) * math.exp(answer.details["log_evidence"])
        for answer, chance in outcomes(run)
        if answer.details["log_evidence"] > -math.inf
    )
    exact = 0.0
    for text, chance, why in two_letters():
        (score,) = played(scorer, [state_of(text, why)])
        exact += float(chance) * score
    assert evidence == pytest.approx(exact, rel=1e-9)


def two_letters() -> list[tuple[str, Fraction, str]]:
    """All texts of two steps of one letter each, with their probabilities and stop reasons."""
    found = []
    for first, chance in MODEL.distribution("").items():
        for second, further in MODEL.distribution(first).items():
            ended = second == "$"
            found.append((first + second.replace("$", ""), chance * further, "end" if ended else "length"))
    return found


def played(scorer: PrefixValue, states: Sequence[State]) -> list[float]:
    """Return scores of texts whose values are all known."""
    with pytest.raises(StopIteration) as end:
        next(scorer.score(PROBLEM, states))
    return list(end.value.value)


class Played:
    """A scorer without requests, for the enumeration."""

    name, digest = "played", ""

    def __init__(self, scorer: PrefixValue) -> None:
        self.scorer = scorer

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        return played(self.scorer, states)


SEARCHES = {
    "beam_search": {"n": 4, "width": 2},
    "dvts": {"n": 4, "width": 2},
    "rebase": {"n": 4},
    "smc": {"n": 4},
    "particle_filter": {"n": 4},
}


def right_of(name: str, quality: float, problems: int = 40) -> tuple[int, int]:
    """Return the number of problems that a search gets right, and of its scores."""
    known = {f"p{i}": ValuedProblem("c", {}) for i in range(problems)}
    scorer = PrefixValue(f"{quality}=", PrefixTable(4, 0.4, known))
    driver = Driver(
        {"toy": MarkovBackend()}, services=Services(lambda _: scorer), sampling={"max_tokens": 4, "temperature": 1.0}
    )
    jobs = [
        MethodJob(find(name), Problem(f"p{i}", "ask", read=has_c), SEARCHES[name] | {"steps": 4, "delimiter": "."})
        for i in range(problems)
    ]
    results = [result for _, result in driver.solve(jobs)]
    assert {result.why for result in results} == {"done"}
    return sum(result.answer.answer == "c" for result in results), sum(result.cost.scores for result in results)


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_are_right_more_often_by_better_values(name: str) -> None:
    (chance, scores), (half, _), (best, _) = (right_of(name, quality) for quality in (0.5, 0.75, 1.0))
    assert chance < half <= best
    assert best > 1.3 * chance
    assert scores > 40 * 4  # later steps are scored too


@pytest.mark.parametrize("quality", [0.5, 0.6, 0.75, 0.9])
def test_finished_texts_have_the_quality_that_is_set(quality: float) -> None:
    known = table({})
    scores = [score_of_prefix(known, quality, "p", 0, f"text {i}", float(i % 3 == 0)) for i in range(4000)]
    assert auroc(scores, [i % 3 == 0 for i in range(4000)]) == pytest.approx(quality, abs=0.02)


def test_noise_depends_on_problem_seed_and_text_alone() -> None:
    known = table({})
    score = partial(score_of_prefix, known, 0.75, value=0.5)
    assert score("p", 0, "a.") == score("p", 0, "a.")
    assert len({score("p", 0, "a."), score("p", 1, "a."), score("q", 0, "a."), score("p", 0, "b.")}) == 4


def test_the_reached_quality_is_that_of_outcomes_of_other_continuations() -> None:
    """By hand: prefixes of 2 of 2, 1 of 2 and 0 of 2; each continuation is predicted by the other one."""
    known = table({"a.": PrefixCount(2, 2, 1), "b.": PrefixCount(1, 2, 1), "b.a.": PrefixCount(0, 2, 2)})
    # right ones: a. by 1, a. by 1, b. by 0; wrong ones: b. by 1, b.a. by 0, b.a. by 0
    won = (0.5 + 1 + 1) * 2 + (0 + 0.5 + 0.5)
    assert reached_auroc(known, 1.0) == pytest.approx(won / 9)
    assert reached_auroc(known, 1.0, first=True) == pytest.approx((0.5 + 0.5 + 0) / 3)
    many = table({f"{i}": PrefixCount(4 if i % 2 else 0, 4, 1) for i in range(400)})
    for quality in (0.6, 0.9):
        assert reached_auroc(many, quality) == pytest.approx(quality, abs=0.03)
    assert math.isnan(reached_auroc(table({"a.": PrefixCount(1, 1, 1)}), 0.9))


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    known = table({"a.": PrefixCount(3, 4, 1)})
    known.write(tmp_path / "a=b.json")
    assert PrefixTable.read(tmp_path / "a=b.json") == known
    plain, noisy = (find_scorer(f"prefix_value:{quality}{tmp_path}/a=b.json") for quality in ("", "0.75="))
    assert (plain.quality, noisy.quality) == (1.0, 0.75)  # type: ignore[attr-defined]
    assert plain.digest != noisy.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "x"}, "expected an object of kind"),
        ({"version": 2}, "this program reads version 1"),
        ({"rate": 1.0}, "between 0 and 1"),
        ({"rate": True}, "rate must be a number"),
        ({"continuations": 0}, "between 1 and"),
        ({"continuations": 1.5}, "expected an integer"),
        ({"problems": []}, "no table"),
        ({"problems": {"p": {"answer": 3, "prefixes": {}}}}, "must be a text"),
        ({"problems": {"p": {"answer": "3", "prefixes": {"x": [3, 2, 1]}}}}, "3 right of 2"),
        ({"problems": {"p": {"answer": "3", "prefixes": {"x": [3]}}}}, "no table"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = tmp_path / "table.json"
    file.write_text(json.dumps(json.loads(table({}).to_json()) | change))
    with pytest.raises((FormatError, ParameterError), match=message):
        PrefixTable.read(file)


def test_what_cannot_be_scored_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="needs a table"):
        find_scorer("prefix_value")
    with pytest.raises(ParameterError, match=r"must lie in \[0.5, 1\], got 0.4"):
        find_scorer("prefix_value:0.4=x.json")
    with pytest.raises(FormatError, match="cannot be read"):
        find_scorer(f"prefix_value:{tmp_path}/none.json")
    with pytest.raises(ParameterError, match="has no problem q"):
        next(PrefixValue(table=table({})).score(Problem("q", "ask"), [state_of("a.")]))
    with pytest.raises(ParameterError, match="no scorer named 'prefix_value'"):
        find_served_scorer("prefix_value")


def test_a_perfect_scorer_gives_the_value_itself() -> None:
    assert noisy_score(0.25, 1.0, 3.0, 0.5) == 0.25
    assert noisy_score(0.25, 0.5, 3.0, 0.4) == pytest.approx(0.4)  # no information: the rate
    assert abs(normal("a")) < 10


def test_no_receipt_is_made_by_a_scorer_that_knows_the_answers(tmp_path: Path) -> None:
    table({}).write(tmp_path / "table.json")
    model = intact.load(write_tiny(tmp_path / "tiny.gguf"), threads=1)
    parameters = {"scorer": f"prefix_value:{tmp_path}/table.json", "n": 2, "max_tokens": 3}
    with pytest.raises(ParameterError, match="cannot use the scorer prefix_value: it knows the right answers"):
        intact.solve(model, "best_of_n", "0?", receipt=True, **parameters)
    model.close()
