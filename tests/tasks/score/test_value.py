"""The value head: hidden states as exact integers, what is learnt from them, its file, and the scorer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact._base.errors import FormatError, ParameterError
from intact.engine.hidden import HiddenState, read_hidden
from intact.evaluate.values import (
    TOKEN_PLACES,
    GradedTexts,
    examples_of,
    figures,
    learn_next_value,
    learn_value,
    next_examples_of,
    places_of,
    samples,
    spread_places,
)
from intact.library import Model
from intact.numerics.activations import quantize, to_bytes
from intact.reason import Extend, Problem, Result, State, Steps, find, method
from intact.reason.aggregate.votes import take
from intact.reason.backends.native import NativeBackend
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.journal import Journal
from intact.reason.driving.services import MethodJob, Services
from intact.reason.problem import Hidden
from intact.reason.testing.toy import MarkovBackend
from intact.stats.calibration import auroc
from intact.tasks import Item
from intact.tasks.score.scorers import find_scorer
from intact.tasks.score.value import Example, NextHead, ValueHead, learn, prefix_values
from intact.tasks.score.value.next_head import UNSEEN
from support.tiny import write_tiny

MODEL = "intact 1 int8 mixed 00"


def test_the_bytes_of_both_profiles_are_read() -> None:
    rows = np.random.default_rng(0).normal(size=(3, 80)) * 1000
    told = quantize(rows.astype(np.int64), 5)
    for row, data in enumerate(to_bytes(told)):
        state = read_hidden(data.tobytes(), "int8")
        expected = told.codes[row].astype(float) * np.repeat(told.scale[row], 32) * 2.0 ** told.exponent[row]
        assert state.floats.tolist() == expected.tolist()
    floats = np.array([1.5, -0.25, 1e9], "<f4")
    assert read_hidden(floats.tobytes(), "fp32").floats.tolist() == [1.5, -0.25, (2**31 - 1) / 2**16]
    for data, profile in (
        (b"", "fp32"),
        (b"abc", "fp32"),
        (b"\0\0\xc0\x7f", "fp32"),
        (b"x" * 37, "int8"),
        (b"", "int8"),
    ):
        with pytest.raises(ParameterError, match="a hidden state"):
            read_hidden(data, profile)


@given(
    st.lists(st.integers(-(2**31), 2**31), min_size=3, max_size=3),
    st.integers(-40, 8),
    st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3).filter(any),
    st.floats(-20, 20),
)
def test_a_value_is_the_logistic_function_of_the_exact_sum(
    values: list[int], exponent: int, weights: list[float], bias: float
) -> None:
    head = ValueHead.of(MODEL, weights, bias, {})
    state = HiddenState(np.array(values), exponent)
    scale = Fraction(2) ** (exponent - head.fraction)
    exact = sum(value * weight * scale for value, weight in zip(values, head.weights, strict=True))
    assert head.logit(state) == exact + Fraction(head.bias, 1 << 32)
    rounding = max(map(abs, weights)) * 2.0**-19
    assert all(abs(w * 2.0**-head.fraction - given) <= rounding for w, given in zip(head.weights, weights, strict=True))
    expected = 1 / (1 + math.exp(-max(-700, min(700, head.logit(state)))))
    assert head.value(state) == pytest.approx(expected, rel=1e-12)
    assert 0 <= head.value(state) <= 1


def test_a_file_gives_the_same_head_back(tmp_path: Path) -> None:
    head = ValueHead.of(MODEL, [0.5, -0.125, 3e-9], -0.75, {"task": "gsm8k"})
    head.write(tmp_path / "value.json")
    assert ValueHead.read(tmp_path / "value.json") == head
    assert replace(head, bias=1).digest != head.digest == replace(head, learnt={}).digest
    assert [file.name for file in tmp_path.iterdir()] == ["value.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "model"}, "of kind 'intact value head'"),
        ({"version": 2}, "version 2, but this program reads version 1"),
        ({"weights": [1.5]}, "must be integers"),
        ({"weights": [True]}, "must be integers"),
        ({"weights": [1 << 21]}, "must be integers"),
        ({"weights": []}, "1 to 4096"),
        ({"weights": [1] * 4097}, "1 to 4096"),
        ({"fraction": 10**6}, "must be integers"),
        ({"bias": None}, "must be integers"),
        ({"model": 3}, "model must be a string"),
        ({"learnt": []}, "model must be a string and learnt an object"),
        (None, "not a value head"),
    ],
)
def test_a_hostile_file_is_named(tmp_path: Path, change: dict[str, Any] | None, message: str) -> None:
    file = tmp_path / "value.json"
    ValueHead.of(MODEL, [0.5], 0.0, {}).write(file)
    value = json.loads(file.read_text())
    file.write_text("{" if change is None else json.dumps(value | change))
    with pytest.raises(FormatError, match=message):
        ValueHead.read(file)
    with pytest.raises(FormatError, match=r"none\.json cannot be read"):
        ValueHead.read(tmp_path / "none.json")


@given(
    st.lists(st.integers(-(2**31), 2**31), min_size=3, max_size=3),
    st.integers(-40, 8),
    st.lists(st.floats(-1e3, 1e3), min_size=6, max_size=6).filter(any),
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2).filter(any),
    st.floats(-20, 20),
)
def test_the_rewards_of_next_tokens_are_exact_sums(
    values: list[int], exponent: int, rows: list[float], factors: list[float], bias: float
) -> None:
    table = {"a": [*factors, bias], " b": [0.0, 0.0, -bias]}
    head = NextHead.of(MODEL, np.array(rows).reshape(2, 3), table, {})
    state = HiddenState(np.array(values), exponent)
    told, other, unseen = head.rewards(state, ["a", " b", "A"])
    exact = Fraction(head.tokens["a"][2], 1 << 32)
    for row, factor in zip(head.rows, head.tokens["a"], strict=False):
        product = sum(value * weight for value, weight in zip(values, row, strict=True))
        exact += product * factor * Fraction(2) ** (exponent - head.fraction - head.token_fraction)
    assert told == float(exact)
    assert other == float(Fraction(round(-bias * 2**32), 1 << 32))
    assert unseen == UNSEEN
    whole = sum(
        factors[j] * sum(values[i] * rows[3 * j + i] for i in range(3)) * 2.0**exponent for j in range(2)
    )  # as floats
    size = max(map(abs, rows)) * max(map(abs, factors)) * sum(map(abs, values)) * 2.0**exponent
    assert told == pytest.approx(whole + bias, abs=2.0**-17 * size + 2.0**-30)


def small_next_head() -> NextHead:
    return NextHead.of(MODEL, np.array([[0.5, -0.25], [3.0, 1e-9]]), {"a": [1, 2, 0.5], "": [0, 1, -1]}, {"task": "x"})


def test_a_file_gives_the_same_next_token_head_back(tmp_path: Path) -> None:
    head = small_next_head()
    head.write(tmp_path / "next.json")
    assert NextHead.read(tmp_path / "next.json") == head
    assert replace(head, fraction=1).digest != head.digest == replace(head, learnt={}).digest
    assert replace(head, tokens={**head.tokens, "b": (1, 2, 3)}).digest != head.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "intact value head"}, "of kind 'intact next-token head'"),
        ({"version": 2}, "version 2, but this program reads version 1"),
        ({"rows": []}, "rows must be a list of 1 to 16 lists"),
        ({"rows": [1, 2]}, "rows must be a list of 1 to 16 lists"),
        ({"rows": [[1], [1, 2]]}, "rows must have the same length"),
        ({"rows": [[1] * 4097] * 2}, "rows must have the same length, from 1 to 4096"),
        ({"rows": [[1 << 21, 1], [1, 1]]}, "must be integers, rows to"),
        ({"rows": [[1.5, 1], [1, 1]]}, "must be integers"),
        ({"tokens": {}}, "tokens must be an object of 1 to 8192 members"),
        ({"tokens": {"a": [1, 2]}}, "2 factors and a bias"),
        ({"tokens": {"a": [1, True, 2]}}, "must be integers"),
        ({"tokens": {"a": [1, 2, 1 << 53]}}, "must be integers"),
        ({"token_fraction": 10**6}, "must be integers"),
        ({"model": 3}, "model must be a string"),
        (None, "not a next-token head"),
    ],
)
def test_a_hostile_file_of_a_next_token_head_is_named(
    tmp_path: Path, change: dict[str, Any] | None, message: str
) -> None:
    file = tmp_path / "next.json"
    small_next_head().write(file)
    value = json.loads(file.read_text())
    file.write_text("{" if change is None else json.dumps(value | change))
    with pytest.raises(FormatError, match=message):
        NextHead.read(file)


@pytest.mark.parametrize(
    ("rows", "tokens", "message"),
    [
        (np.zeros((0, 3)), {"a": [1.0]}, "1 to 16 rows"),
        (np.ones((1, 3)), {}, "1 to 8192 tokens"),
        (np.ones((1, 3)), {"a": [1.0]}, "each with 1 factors and a bias"),
        (np.ones((1, 3)), {"a": [math.nan, 1.0]}, "finite"),
        (np.ones((1, 3)), {"a": [1.0, 2.0**20]}, "biases below"),
    ],
)
def test_numbers_that_make_no_next_token_head_are_named(rows: Any, tokens: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        NextHead.of(MODEL, rows, tokens, {})


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), max_size=4), st.booleans()), max_size=6))
def test_the_value_of_a_token_is_the_share_of_texts_that_begin_alike(found: list[tuple[list[int], bool]]) -> None:
    texts, right = [text for text, _ in found], [flag for _, flag in found]
    values = prefix_values(texts, right)
    assert [len(one) for one in values] == [len(text) for text in texts]
    for text, told in zip(texts, values, strict=True):
        for i, value in enumerate(told):
            alike = [flag for other, flag in found if other[: i + 1] == text[: i + 1]]
            assert value == Fraction(sum(alike), len(alike))


def test_values_of_tokens_are_the_enumerated_chances_where_each_text_is_drawn_as_often_as_it_is_likely() -> None:
    """Of 8^3 draws of the toy model, each text as often as its probability says, the labels are the exact chances."""
    backend, longest = MarkovBackend(), 3
    drawn = [(text + "$" * (why == "end"), int(chance * 8**longest)) for text, chance, why in backend.texts(longest)]
    texts = [text for text, times in drawn for _ in range(times)]
    assert len(texts) == 8**longest
    values = prefix_values([list(map(ord, text)) for text in texts], ["b" in text for text in texts])
    for text, told in zip(texts, values, strict=True):
        for i, value in enumerate(told):
            begun = text[: i + 1].rstrip("$")
            ended, left = "$" in text[: i + 1], longest - len(begun)
            rest = [("", Fraction(1), "")] if ended or not left else backend.texts(left, begun=begun)
            assert value == sum(chance for more, chance, _ in rest if "b" in begun + more)


def test_one_flag_belongs_to_each_text() -> None:
    with pytest.raises(ParameterError, match="got 2 texts and 1 flags"):
        prefix_values([[1], [2]], [True])


def test_shares_between_0_and_1_are_learnt_as_chances() -> None:
    """A place of value v counts v times as right: places of 3/4 and 1/4 that nothing else tells apart give 1/2."""
    rng = np.random.default_rng(2)
    found = []
    for i in range(40):
        state = HiddenState((rng.normal(size=2) * 1000).astype(np.int64), -10)
        found.append(Example(f"p{i}", i % 2 == 0, (state, state), (0.75, 0.25) if i % 2 else (0.25, 0.75)))
    ends = [value for one in learn(found).held_out for value in one]
    assert all(abs(value - 0.5) < 0.1 for value in ends)
    sides = [e._replace(labels=(0.9, 0.9) if e.states[0].values[0] > 0 else (0.1, 0.1)) for e in found]
    learnt = learn(sides)
    above = [e.states[0].values[0] > 0 for e in sides]
    assert min(v[0] for v, up in zip(learnt.held_out, above, strict=True) if up) > 0.4
    assert abs(np.mean([v[0] for v in learnt.held_out]) - np.mean([e.labels[0] for e in sides if e.labels])) < 0.1


def made_up(signal: float, problems: int = 24, texts: int = 4) -> list[Example]:
    """Texts of two places, of which one component leans to the right ones."""
    draw = np.random.default_rng(7)
    found = []
    for i in range(problems * texts):
        right = bool(draw.integers(2))
        rows = draw.normal(size=(2, 6)) * 1000
        rows[:, 2] += signal * 1000 * (1 if right else -1)
        states = tuple([HiddenState(row.astype(np.int64), -10) for row in rows])
        found.append(Example(f"p{i % problems}", right, states))
    return found


def ends_of(values: list[list[float]]) -> list[float]:
    return [one[-1] for one in values]


def test_what_can_be_known_is_learnt_and_what_cannot_is_not() -> None:
    examples = made_up(2.0)
    right = [example.right for example in examples]
    learnt = learn(examples)
    assert np.abs(learnt.weights).argmax() == 2
    assert auroc(ends_of(learnt.held_out), right) > 0.95  # type: ignore[operator]
    nothing = auroc(ends_of(learn(made_up(0.0)).held_out), right)
    assert nothing is not None
    assert abs(nothing - 0.5) < 0.2
    told = figures(examples, learnt)
    assert told.brier < 0.12 < told.base * (1 - told.base)
    assert told.chosen > told.anyone


def test_no_label_of_a_problem_decides_what_its_texts_are_given() -> None:
    examples = made_up(1.0)
    other = [e._replace(right=not e.right) if e.problem == "p3" else e for e in examples]
    mine = [i for i, e in enumerate(examples) if e.problem == "p3"]
    before, after = learn(examples).held_out, learn(other).held_out
    assert [before[i] for i in mine] == [after[i] for i in mine]
    assert before != after


def test_too_little_to_learn_from_is_named() -> None:
    with pytest.raises(ParameterError, match="5 folds need at least 10 problems, got 3"):
        learn(made_up(1.0, problems=3))
    with pytest.raises(ParameterError, match="these are all the same"):
        learn([example._replace(right=False) for example in made_up(1.0)])
    rare = [e._replace(right=i == 0) for i, e in enumerate(made_up(1.0))]
    assert all(0 < value < 0.2 for values in learn(rare).held_out for value in values)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with_model = intact.load(write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf"), threads=1)
    yield with_model
    with_model.close()


@pytest.fixture
def backend(model: Model) -> NativeBackend:
    return NativeBackend(model)


@pytest.fixture
def head(backend: NativeBackend, tmp_path: Path) -> Path:
    weights = np.random.default_rng(1).normal(size=96) / 100
    ValueHead.of(backend.identity, weights.tolist(), 0.1, {}).write(tmp_path / "value.json")
    return tmp_path / "value.json"


def problem(number: int = 0) -> Problem:
    return Problem(f"p{number}", f"What is {number} and 4?\n", lambda text: text[-2:] or None)


def run(
    backend: Any, name: str, parameters: dict[str, Any], count: int = 1, journal: Journal | None = None, **caps: int
) -> list[Result]:
    driver = Driver(
        {"tiny": backend}, services=Services(find_scorer), journal=journal, budget=Budget(**caps),
        sampling={"max_tokens": 9, "temperature": 1.0},
    )  # fmt: skip
    tasks = [MethodJob(find(name), problem(i), parameters) for i in range(count)]
    return [result for _, result in sorted(driver.solve(tasks))]


@method("none", temperature=1.0)
def telling(problem: Problem, *, n: int = 2) -> Steps:
    """Write texts that tell their hidden states."""
    states = yield [Extend(problem.start, hidden=True)] * n
    return take(problem, states[0], states=states)


def test_a_sample_and_a_pass_over_its_text_tell_the_same_hidden_state(backend: NativeBackend) -> None:
    driver = Driver({"tiny": backend}, sampling={"max_tokens": 9})
    ((_, result),) = driver.solve([MethodJob(telling, problem(), {})])
    states: list[State] = result.answer.details["states"]
    for state in states:
        hidden = state.pieces[-1].hidden
        assert hidden is not None
        assert hidden.model == backend.identity
        rows = backend.hidden(state, range(state.length))
        assert rows[-1].hex() == hidden.data, "the last token was drawn from what lies before it"
        assert len(set(rows)) == len(rows)
        assert backend.hidden(state, [2, 5]) == [rows[2], rows[5]]
    assert backend.hidden(states[0], []) == []


def test_a_value_is_the_heads_whatever_runs_beside_it(backend: NativeBackend, head: Path) -> None:
    parameters = {"n": 3, "scorer": f"value:{head}"}
    alone = run(backend, "best_of_n", parameters)[0]
    beside = run(backend, "best_of_n", parameters, count=4)[0]
    assert alone.why == "done", alone.error
    assert alone.answer.details["rewards"] == beside.answer.details["rewards"]
    states = run(backend, "self_consistency", {"n": 3})  # the same samples
    assert states[0].answer is not None
    texts = [node["text"] for node in alone.trace["nodes"] if node["kind"] == "extend"]
    assert len(texts) == 3
    chosen = alone.answer.chosen
    assert chosen is not None
    place = chosen.length - (chosen.why == "end")
    (row,) = backend.hidden(chosen, [place])
    expected = ValueHead.read(head).judge(Hidden(backend.identity, row.hex()))
    assert max(alone.answer.details["rewards"]) == expected
    assert 0 < expected < 1


def test_values_are_charged_kept_and_within_the_budget(backend: NativeBackend, head: Path, tmp_path: Path) -> None:
    parameters = {"n": 3, "scorer": f"value:{head}"}
    plain = run(backend, "self_consistency", {"n": 3})[0]
    with Journal(tmp_path / "journal.sqlite") as journal:
        first = run(backend, "best_of_n", parameters, journal=journal)[0]
    assert first.cost.tokens == plain.cost.tokens + 3
    assert first.cost.scores == 3
    with Journal(tmp_path / "journal.sqlite") as journal:
        again = run(MarkovLike(backend), "best_of_n", parameters, journal=journal)[0]
    assert again.answer == first.answer
    assert again.cost._replace(seconds=0) == first.cost._replace(seconds=0)
    for cap in range(first.cost.tokens):
        told = run(backend, "best_of_n", parameters, tokens=cap)[0]
        assert told.why == "spent", told.error
        assert told.cost.tokens <= cap


class MarkovLike:
    """A back end that must not be asked to write."""

    def __init__(self, backend: NativeBackend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def start(self, generations: Any) -> None:
        raise AssertionError("this was to come from the journal")


@pytest.mark.parametrize("name", ["particle_filter", "rebase", "weighted_best_of_n", "a_star", "puct_search"])
def test_methods_take_it_as_a_scorer(backend: NativeBackend, head: Path, name: str) -> None:
    own = {parameter.name for parameter in find(name).parameters}
    wanted = {"n": 3, "k": 2, "steps": 2, "delimiter": "e", "expansions": 3, "scorer": f"value:{head}"}
    wanted |= {"simulations": 5, "leaf": "value"}
    result = run(backend, name, {key: value for key, value in wanted.items() if key in own})[0]
    assert result.why == "done", result.error
    assert result.cost.scores


def test_what_does_not_fit_is_named(backend: NativeBackend, head: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    replace(ValueHead.read(head), model=MODEL).write(other)
    narrow = tmp_path / "narrow.json"
    ValueHead.of(backend.identity, [1.0], 0.0, {}).write(narrow)
    for scorer, on, message in (
        (f"value:{other}", backend, "was learnt on 'intact 1 int8 mixed 00', but the text is by"),
        (f"value:{narrow}", backend, "needs 1 components, but the state has 96"),
        (f"value:{head}", MarkovBackend(), "works only on intact's engine"),
    ):
        result = run(on, "best_of_n", {"n": 2, "scorer": scorer})[0]
        assert result.why == "failed"
        assert message in result.error
    for scorer, message in (("value", "needs the file of a value head"), (f"value:{tmp_path}/none", "cannot be read")):
        with pytest.raises((ParameterError, FormatError), match=message):
            run(backend, "best_of_n", {"n": 2, "scorer": scorer})


def graded(backend: NativeBackend, count: int = 12) -> list[GradedTexts]:
    """Texts of the engine, of which those with an even sum of tokens are right."""
    driver = Driver({"tiny": backend}, sampling={"max_tokens": 9, "temperature": 1.0})
    found = []
    for number, result in sorted(driver.solve([MethodJob(samples, problem(i), {"n": 3}) for i in range(count)])):
        states: list[State] = result.answer.details["states"]
        right = [sum(state.tokens) % 2 == 0 for state in states]
        found.append(GradedTexts(Item(f"p{number}", "", "", {}), states, right))
    return found


def test_heads_of_tokens_are_learnt_from_texts_of_the_engine(backend: NativeBackend) -> None:
    found = graded(backend)
    for one in found:
        shares = prefix_values([state.tokens for state in one.states], one.right)
        for example, told, state in zip(examples_of(backend, one, "tokens"), shares, one.states, strict=True):
            places = spread_places(state.length - (state.why == "end"), TOKEN_PLACES)
            assert example.labels == tuple([float(told[place - 1]) for place in places])
            rows = backend.hidden(state, places)
            assert [s.values.tolist() for s in example.states] == [read_hidden(r, "int8").values.tolist() for r in rows]
    head = learn_value(backend, found, {}, "tokens")
    assert head.learnt["labels"] == "tokens"
    after = learn_next_value(backend, found, {"task": "parity"})
    assert after.model == backend.identity
    assert set(after.learnt["held_out"]) == {"constant", "shared", "whole", "seen"}
    seen = [example for one in found for example in next_examples_of(backend, one)]
    assert {example.word for example in seen} == set(after.tokens)
    assert UNSEEN not in after.rewards(seen[0].state, list(after.tokens))
    with pytest.raises(ParameterError, match="labels must be one of outcome, tokens, search, got 'texts'"):
        examples_of(backend, found[0], "texts")


@given(st.integers(1, 60), st.integers(1, 20))
def test_places_are_spread_over_a_text_with_its_end(length: int, most: int) -> None:
    found = spread_places(length, most)
    assert found == sorted(set(found))
    assert len(found) == min(length, most)
    assert found[-1] == length
    assert found[0] >= 1


def test_a_next_token_head_judges_alike_whatever_runs_beside_it(backend: NativeBackend, tmp_path: Path) -> None:
    file = tmp_path / "next.json"
    learn_next_value(backend, graded(backend), {}).write(file)
    parameters = {"scorer": f"next_value:{file}", "n": 2, "k": 4, "tokens": 5, "least": 2}
    alone = run(backend, "saffron", parameters)[0]
    assert alone.why == "done", alone.error
    beside = run(backend, "saffron", parameters, count=4)[0]
    assert beside.answer == alone.answer
    with Journal(tmp_path / "journal.sqlite") as journal:
        first = run(backend, "saffron", parameters, journal=journal)[0]
    with Journal(tmp_path / "journal.sqlite") as journal:
        again = run(MarkovLike(backend), "saffron", parameters, journal=journal)[0]
    assert alone.answer == first.answer == again.answer
    for cap in (1, first.cost.tokens // 2, first.cost.tokens - 1):
        told = run(backend, "saffron", parameters, tokens=cap)[0]
        assert told.why == "spent", told.error
        assert told.cost.tokens <= cap


def test_a_head_is_learnt_from_texts_of_the_engine(backend: NativeBackend) -> None:
    found = graded(backend)
    for state in found[0].states:
        places = places_of(backend, state)
        assert places == sorted(set(places))
        assert places[-1] == state.length - (state.why == "end")
    head = learn_value(backend, found, {"task": "parity"})
    assert head.model == backend.identity
    assert len(head.weights) == 96
    assert head.learnt["texts"] == 36
    assert json.loads(json.dumps(dict(head.learnt)))["held_out"]["auroc"] is not None
    (example, *_) = examples_of(backend, found[0])
    assert head.value(example.states[-1]) == head.value(examples_of(backend, found[0])[0].states[-1])
