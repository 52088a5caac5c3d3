"""Values of a search's steps as targets of a value head: they are the mean values Q of the tree's nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import pytest

import intact
from intact.evaluate.values import GradedTexts, examples_of, learn_value, search_texts, step_values
from intact.library import Model
from intact.reason import Answer, Piece, Problem, State, Steps, find, method
from intact.reason.backends.native import NativeBackend
from intact.reason.driving.driver import Driver
from intact.reason.driving.journal import Journal
from intact.reason.driving.services import MethodJob, Services
from intact.reason.methods.tree_search import SearchNode, TreeSettings, search_tree
from intact.reason.populations.tree import puct
from intact.tasks import Item
from intact.tasks.score.scorers import find_scorer
from support.tiny import write_tiny


class Outcome:
    """1 for a right text, 0 for a wrong one: the labels' own rewards."""

    name, digest = "outcome", ""

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        return [float(is_right(state)) for state in states]


def is_right(state: State) -> bool:
    return sum(state.tokens) % 2 == 0


@method("none", temperature=1.0)
def tree_of(problem: Problem, *, n: int = 4) -> Steps:
    """Search as `search_texts` does; keep the tree."""
    tree = yield from search_tree(problem, puct, TreeSettings(simulations=n, scorer="outcome", delimiter="e"))
    return Answer("searched", details={"tree": tree})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with intact.load(write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf"), threads=1) as loaded:
        yield loaded


def searched(backend: NativeBackend, count: int, n: int) -> list[tuple[GradedTexts, SearchNode]]:
    """Graded texts of searches, and the tree of each."""
    found = []
    for drawn, more in ((search_texts, {"scorer": "outcome", "delimiter": "e"}), (tree_of, {})):
        driver = Driver(
            {"tiny": backend}, services=Services(lambda _: Outcome()), sampling={"max_tokens": 9, "temperature": 1.0}
        )
        jobs = [MethodJob(drawn, Problem(f"p{i}", f"What is {i} and 4?\n"), {"n": n, **more}) for i in range(count)]
        found.append([result.answer.details for _, result in sorted(driver.solve(jobs))])
    texts = [
        GradedTexts(Item(f"p{i}", "", "", {}), one["states"], list(map(is_right, one["states"])))
        for i, one in enumerate(found[0])
    ]
    return list(zip(texts, [one["tree"].root for one in found[1]], strict=True))


def nodes(root: SearchNode) -> Iterator[SearchNode]:
    for child in root.children:
        yield child
        yield from nodes(child)


def test_the_labels_of_a_searchs_texts_are_the_values_of_its_nodes(model: Model) -> None:
    backend = NativeBackend(model)
    found = searched(backend, 12, 10)
    shared = 0
    for graded, root in found:
        value = {node.state.branch: node.known.mean for node in nodes(root)}
        states = dict.fromkeys(graded.states)
        assert len(graded.states) == 10
        examples = examples_of(backend, graded, "search")
        kept = [state for state in states if state.length > (state.why == "end")]
        for state, example in zip(kept, examples, strict=True):
            depth = len(state.branch) - len(state.pieces)
            on_path = [state.branch[: depth + i + 1] for i in range(len(state.pieces))]
            expected = dict[int, float]()
            for i, branch in enumerate(on_path):
                place = min(
                    sum(len(piece.tokens) for piece in state.pieces[: i + 1]), state.length - (state.why == "end")
                )
                expected.setdefault(place, value.get(branch, float(is_right(state))))
            assert example.right == is_right(state)
            assert example.labels == pytest.approx(tuple(expected.values()), abs=1e-12)
            assert len(example.states) == len(expected)
            shared += any(0 < label < 1 for label in example.labels or ())
    assert shared > 20, "there must be nodes that right and wrong texts share"
    head = learn_value(backend, [graded for graded, _ in found], {}, "search")
    assert head.learnt["labels"] == "search"


def test_texts_that_puct_search_has_written_are_not_written_again(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, problem = NativeBackend(model), Problem("p", "What is 3 and 4?\n")
    found = []
    for drawn, parameters in ((find("puct_search"), {"simulations": 6}), (search_texts, {"n": 6})):
        with Journal(tmp_path / "journal.sqlite") as journal:
            driver = Driver(
                {"tiny": backend}, services=Services(find_scorer), journal=journal, sampling={"max_tokens": 9}
            )
            found += [result for _, result in driver.solve([MethodJob(drawn, problem, parameters)])]
        monkeypatch.setattr(backend, "start", None)
    assert [result.why for result in found] == ["done", "done"]
    assert found[0].answer.chosen in found[1].answer.details["states"]


def test_a_step_that_ends_where_its_text_does_has_the_value_of_its_node() -> None:
    pieces = (Piece("a.", (1, 2)), Piece("b.", (3, 4)), Piece("", (9,)))
    values = [Fraction(1, place) for place in (1, 2, 3, 4)]
    assert step_values(State("", ("p", 0, 1, 2), pieces, "end"), values) == {2: 1 / 2, 4: 1 / 3}
    assert step_values(State("", ("p", 0, 1, 2), pieces, "length"), values) == {2: 1 / 2, 4: 1 / 3, 5: 1 / 4}
    assert step_values(State("", ("p", 0), (Piece("", (9,)),), "end"), values[:2]) == {}
    assert step_values(State("", ("p", 0), (), "context"), values[:1]) == {}
