"""Searches over single tokens: what Saffron keeps, by hand and by enumeration, and what its judge is asked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.engine.hidden import HiddenState
from intact.reason import Extend, Piece, Problem, Result, State, Why, find
from intact.reason.backends.base import Generation
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.parts.next_tokens import nucleus
from intact.reason.problem import Hidden
from intact.reason.testing.enumeration import EnumeratedProblem, Oracle, Player, law
from intact.reason.testing.toy import END, MarkovBackend
from intact.tasks.score.scorers.next_value import NextValueScorer
from intact.tasks.score.value import NextExample, NextHead, learn_next
from intact.tasks.score.value.next_head import UNSEEN

PROBLEM = Problem("p", "ask", lambda text: text)
LETTERS = ("a", "b", "c", ".", "")
Reward = Callable[[str, str], float]


def forbidding(before: str, letter: str) -> float:
    """A reward of tokens: nothing may follow a letter that comes later in "abc."; what is allowed differs a little."""
    order = "abc."
    allowed = not letter or not before or order.index(letter) >= order.index(before)
    return (1.0 if allowed else -1.0) + LETTERS.index(letter) / 16 + LETTERS.index(before) / 64


class LastToken:
    """Judges each text by the reward of its last piece, one text after the other."""

    name, digest = "last_token", ""

    def __init__(self, reward: Reward) -> None:
        self.reward, self.asked = reward, 0

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        self.asked += len(states)
        return [self.reward("".join([p.text for p in s.pieces[:-1]])[-1:], s.last) for s in states]


class Telling(MarkovBackend):
    """Tells a hidden state: which letter was the last one, by one component each."""

    identity = "toy 1 fp32 markov"

    def step(self) -> list[Generation]:
        ended = super().step()
        for one in ended:
            if one.hidden and one.written is not None and one.written.tokens:
                text = one.state.text + one.written.text[: len(one.written.tokens) - 1]
                row = np.array([float(letter == text[-1:]) for letter in LETTERS], "<f4")
                one.written = one.written._replace(hidden=Hidden(self.identity, row.tobytes().hex()))
        return ended


def head_of(reward: Reward) -> NextHead:
    """The head whose rewards are those of a function of the last letter and the next one."""
    table = {letter: [*[reward(before, letter) for before in LETTERS], 0.0] for letter in LETTERS}
    return NextHead.of(Telling.identity, np.eye(len(LETTERS)), table, {})


def solve(scorer: Any, backend: MarkovBackend | None = None, problem: Problem = PROBLEM, **parameters: Any) -> Result:
    used = MarkovBackend() if backend is None else backend
    driver = Driver({"toy": used}, services=Services(lambda _: scorer), sampling={"max_tokens": 9})
    ((_, result),) = driver.solve([MethodJob(find("saffron"), problem, {"scorer": "it"} | parameters)])
    assert result.why == "done", result.error
    return result


def text_by_hand(reward: Reward, n: int, top_p: float, k: int, tokens: int, least: int) -> str:
    """The definition, on texts: of equals the earlier, of one text's tokens the likelier."""
    backend = MarkovBackend()
    going, ended = [("", 0.0)], list[tuple[str, float]]()
    for written in range(tokens):
        grown = []
        for text, _ in going:
            law = backend.distribution(text)
            best = sorted(law, key=lambda letter: (-law[letter], letter))[:k]
            best = [letter for letter in best if letter != END or written >= least]
            mass = 1 - (law.get(END, Fraction(0)) if written < least else 0)
            before = Fraction(0)
            for place, letter in enumerate(best):
                if place and before >= top_p:
                    break
                before += law[letter] / mass
                grown.append((text, letter, reward(text[-1:], letter.replace(END, ""))))
        if not grown:
            break
        grown = sorted(grown, key=lambda one: -one[2])[:n]
        ended = sorted([*ended, *[(text, r) for text, letter, r in grown if letter == END]], key=lambda one: -one[1])[
            :n
        ]
        going = [(text + letter, r) for text, letter, r in grown if letter != END][: n - len(ended)]
        if not going:
            break
    return max([*ended, *going], key=lambda one: one[1])[0]


# Saffron


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 16))
def test_the_nucleus_is_what_stands_before_less_than_its_share(masses: list[int], sixteenths: int) -> None:
    chances = [Fraction(mass, 64) for mass in sorted(masses, reverse=True)]
    found = nucleus([float(chance) for chance in chances], sixteenths / 16)
    expected = [i for i in range(len(chances)) if not i or sum(chances[:i]) < Fraction(sixteenths, 16)]
    assert found == len(expected)


@pytest.mark.parametrize(("n", "top_p", "k"), [(1, 0.6, 20), (2, 0.8, 20), (3, 1.0, 2), (4, 0.8, 3), (50, 1.0, 20)])
@pytest.mark.parametrize(("tokens", "least"), [(1, 0), (3, 0), (5, 2), (5, 9)])
def test_saffron_keeps_what_the_definition_keeps(n: int, top_p: float, k: int, tokens: int, least: int) -> None:
    for reward in (forbidding, lambda before, letter: -forbidding(before, letter)):
        found = solve(LastToken(reward), n=n, top_p=top_p, k=k, tokens=tokens, least=least)
        assert found.answer.chosen is not None
        assert found.answer.chosen.text == text_by_hand(reward, n, top_p, k, tokens, least)


def test_a_beam_as_wide_as_the_tree_finds_the_best_of_all_texts() -> None:
    """Every text of up to four letters is enumerated; an ended one is judged by its end."""
    backend = MarkovBackend()
    best = -math.inf
    for text, _, why in backend.texts(4):
        letters = [*text, ""] if why == "end" else list(text)
        best = max(best, forbidding("".join(letters[:-1])[-1:], letters[-1]))
    result = solve(LastToken(forbidding), n=500, top_p=1.0, tokens=4, least=0)
    chosen = result.answer.chosen
    assert chosen is not None
    last = "" if chosen.why == "end" else chosen.text[-1]
    before = chosen.text[-1:] if chosen.why == "end" else chosen.text[:-1][-1:]
    assert forbidding(before, last) == best


def test_no_text_goes_on_behind_its_end_and_none_ends_too_early() -> None:
    for least in (0, 1, 3):
        result = solve(LastToken(lambda before, letter: float(letter == "")), n=3, top_p=1.0, tokens=6, least=least)
        chosen = result.answer.chosen
        assert chosen is not None
        assert chosen.why == "end"
        assert END not in chosen.text
        assert len(chosen.text) == max(least, 1), "from the first letter on an end is best, where it may come"


def test_a_single_place_without_a_nucleus_is_the_greedy_text() -> None:
    chosen = solve(LastToken(forbidding), n=1, top_p=0.0, tokens=9, least=0).answer.chosen
    backend, greedy = MarkovBackend(), ""
    while (letter := backend.top(greedy, 1)[0][0]) != END:
        greedy += letter
    assert chosen is not None
    assert (chosen.text, chosen.why) == (greedy, "end")


def test_one_pass_judges_all_tokens_of_a_text_together() -> None:
    """A head gives what its table gives, and asks for as many hidden states as there are texts, not tokens."""
    parameters = {"n": 3, "top_p": 1.0, "tokens": 5, "least": 1}
    backend, each = Telling(), LastToken(forbidding)
    by_table = solve(each, Telling(), **parameters)
    by_head = solve(NextValueScorer("a file", head_of(forbidding)), backend, **parameters)
    assert by_head.answer.chosen is not None
    assert by_table.answer.chosen is not None
    assert by_head.answer.chosen.text == by_table.answer.chosen.text
    nodes = by_table.trace["nodes"]
    probes = by_table.cost.tokens - nodes[0]["tokens"]  # behind the greedy text a token for each text that is open
    assert by_head.cost.tokens - by_table.cost.tokens == probes, "one hidden state for each text"
    assert by_head.cost.scores == by_table.cost.scores == each.asked > 2 * probes


def test_a_head_learns_which_tokens_are_forbidden() -> None:
    """From tokens that were seen, each reward that of the table; tokens that never were have the lowest reward."""
    rng = np.random.default_rng(3)
    found = []
    for i in range(600):
        before, letter = rng.choice(["a", "b", "c"]), str(rng.choice(["a", "b", "c", ""]))
        row = np.array([int(one == before) for one in LETTERS], np.int64)
        found.append(NextExample(f"p{i % 20}", HiddenState(row, 0), letter, forbidding(before, letter)))
    learnt = learn_next(found)
    assert learnt.whole < learnt.shared < learnt.constant
    assert learnt.whole < 0.05 * learnt.constant
    assert learnt.seen == 1
    head = NextHead.of(Telling.identity, learnt.rows, learnt.tokens, {})
    for before, letter in itertools.product("abc", ["a", "b", "c", ""]):
        state = HiddenState(np.array([int(one == before) for one in LETTERS], np.int64), 0)
        told, unseen = head.rewards(state, [letter, "."])
        assert told == pytest.approx(forbidding(before, letter), abs=0.25)
        assert unseen == UNSEEN


def test_next_value_judges_single_tokens_alone() -> None:
    scorer = NextValueScorer("a file", head_of(forbidding))
    driver = Driver({"toy": Telling()}, services=Services(lambda _: scorer), sampling={"max_tokens": 9})
    ((_, result),) = driver.solve([MethodJob(find("best_of_n"), PROBLEM, {"n": 2, "scorer": "it"})])
    assert result.why == "failed"
    assert "must be a single token (saffron)" in result.error
    for backend, message in ((MarkovBackend(), "works only on intact's engine"), (Other(), "was learnt on")):
        driver = Driver({"toy": backend}, services=Services(lambda _: scorer))
        ((_, result),) = driver.solve([MethodJob(find("saffron"), PROBLEM, {"scorer": "it", "tokens": 2})])
        assert result.why == "failed"
        assert message in result.error
    with pytest.raises(ParameterError, match="needs the file of a next-token head"):
        NextValueScorer()


class Other(Telling):
    """Another model."""

    identity = "other 1 fp32 markov"


# Path-dependent top-p


class GreedyPlayer(Player):
    """Texts at temperature 0 are those of the likeliest letters; only a method's own draws are an oracle's."""

    def _extend(self, request: Extend) -> State:
        assert request.temperature == 0
        state, letters, tops = request.state, "", []
        while len(letters) < (request.max_tokens or 0) and not letters.endswith(END):
            tops.append(self.model.top(state.text + letters, request.top_logprobs))
            letters += tops[-1][0][0]
        why: Why = "end" if letters.endswith(END) else "length"
        logprobs = tuple([top[0][1] for top in tops])
        piece = Piece(letters.removesuffix(END), tuple(map(ord, letters)), logprobs, tuple(tops), model="")
        return State(state.prompt, (*state.branch, 0), (*state.pieces, piece), why)


def law_of_texts(**parameters: Any) -> dict[tuple[str, str], Fraction]:
    """The law of the chosen text, and of why it ended."""

    def run(oracle: Oracle) -> tuple[str, str]:
        problem = EnumeratedProblem.of(PROBLEM, oracle)
        answer = GreedyPlayer(MarkovBackend(), oracle).play(find("path_top_p")(problem, **parameters), problem)
        return answer.chosen.text, answer.chosen.why

    return law(run)


def filtered(text: str, top_p: float) -> dict[str, Fraction]:
    """The next letter's law under top-p."""
    chances = MarkovBackend().distribution(text)
    best = sorted(chances, key=lambda letter: (-chances[letter], letter))
    kept = [x for i, x in enumerate(best) if not i or sum(chances[y] for y in best[:i]) < Fraction(str(top_p))]
    whole = sum(chances[x] for x in kept)
    return {x: chances[x] / whole for x in kept}


def close(found: dict[Any, Fraction], expected: dict[Any, Fraction]) -> bool:
    """Log-probabilities have 24 bits of fraction."""
    return found.keys() == expected.keys() and all(abs(found[x] - expected[x]) < 1e-5 for x in found)


@pytest.mark.parametrize(("path_p", "top_p"), [(1.0, 1.0), (0.8, 1.0), (1.0, 0.7), (0.0, 1.0)])
def test_one_path_is_drawn_by_top_p(path_p: float, top_p: float) -> None:
    """The tokens of a single path are those of one text, so both shares filter the same distribution."""
    expected: dict[tuple[str, str], Fraction] = {}
    going = {("", ""): Fraction(1)}
    for place in range(3):
        after: dict[tuple[str, str], Fraction] = {}
        for (text, _), chance in going.items():
            for letter, more in filtered(text, min(path_p, top_p)).items():
                ended = letter == END
                target = expected if ended or place == 2 else after
                key = (text, "end") if ended else (text + letter, "")
                target[key] = target.get(key, Fraction(0)) + chance * more
        going = after
    found = law_of_texts(n=1, path_p=path_p, top_p=top_p, tokens=3)
    assert close({(text, "end" if why == "end" else ""): chance for (text, why), chance in found.items()}, expected)


@pytest.mark.parametrize("path_p", [1.0, 0.75, 0.3])
def test_two_paths_are_drawn_without_repetition_from_the_nucleus_of_all(path_p: float) -> None:
    """After two letters: the likelier of two paths, drawn one after the other, by hand."""

    def pairs(paths: dict[str, Fraction]) -> list[tuple[tuple[str, ...], Fraction]]:
        best = sorted(paths, key=lambda text: -paths[text])
        whole = sum(paths.values())
        kept = [x for i, x in enumerate(best) if not i or sum(paths[y] for y in best[:i]) / whole < path_p]
        mass = sum(paths[x] for x in kept)
        if len(kept) == 1:
            return [((kept[0],), Fraction(1))]
        return [((x, y), paths[x] / mass * paths[y] / (mass - paths[x])) for x in kept for y in kept if x != y]

    backend, expected = MarkovBackend(), dict[str, Fraction]()
    first = backend.distribution("")
    for texts, chance in pairs({x: first[x] for x in backend.letters if x in first}):
        grown: dict[str, Fraction] = {}
        for text in texts:
            law_here = backend.distribution(text)
            for letter in sorted(law_here, key=lambda one: (-law_here[one], one)):
                grown[text + letter] = first[text] * law_here[letter]
        for chosen, more in pairs(grown):
            best = max(chosen, key=lambda text: grown[text])
            expected[best] = expected.get(best, Fraction(0)) + chance * more
    found: dict[str, Fraction] = {}
    for (text, why), chance in law_of_texts(n=2, path_p=path_p, top_p=1.0, tokens=2).items():
        name = text + END * (why == "end")
        found[name] = found.get(name, Fraction(0)) + chance
    assert close(found, expected)


def test_as_many_paths_as_there_are_texts_find_the_likeliest_of_all() -> None:
    backend = MarkovBackend()
    chances = {text + END * (why == "end"): chance for text, chance, why in backend.texts(3)}
    driver = Driver({"toy": backend}, sampling={"max_tokens": 9})
    parameters = {"n": 500, "path_p": 1.0, "top_p": 1.0, "tokens": 3}
    ((_, result),) = driver.solve([MethodJob(find("path_top_p"), PROBLEM, parameters)])
    chosen = result.answer.chosen
    assert chosen is not None
    assert chances[chosen.text + END * (chosen.why == "end")] == max(chances.values())
