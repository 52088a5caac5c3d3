"""Special cases that pages of methods state as laws: with some parameters a method is another one."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from intact.reason import Problem, find
from intact.reason.registry import all_methods
from intact.reason.testing.checks import SAMPLING, LetterScorer, ToyTrial, problems
from intact.reason.testing.enumeration import Oracle, Player, law
from intact.reason.testing.toy import END, MarkovBackend

TEXT = ("chain_of_thought", dict[str, Any]())
VOTE = ("self_consistency", {"n": 4})
BEST = ("best_of_n", {"n": 4})
EVEN = {"right": 1.0, "uncertain": 1.0, "wrong": 1.0}
LOWEST = {"keep": 100, "measure": "lowest"}
DRAW_FOR_DRAW: list[tuple[str, dict[str, Any], tuple[str, dict[str, Any]]]] = [
    ("ab_mcts", {"n": 1}, TEXT),
    ("ab_mcts_m", {"n": 1}, TEXT),
    ("adaptive_consistency", {"n": 4, "batch": 4}, VOTE),
    ("adaptive_consistency", {"n": 5, "batch": 1, "rule": "certain"}, ("self_consistency", {"n": 5})),
    ("adaptive_sampling", {"n": 1, "anneal": False}, TEXT),
    ("adaptive_sampling", {"n": 4, "threshold": 9.0, "anneal": False}, BEST),
    ("best_of_majority", {"n": 4, "alpha": 0.0}, BEST),
    ("chain_of_thought", {}, ("self_consistency", {"n": 1})),
    ("code_verification", {"n": 4, "amendments": 0, "solve": "{question}", **EVEN}, VOTE),
    ("code_verified", {"n": 4, **EVEN}, VOTE),
    ("collaborative_verification", {"n": 4}, VOTE),
    ("critique_and_revise", {"n": 4, "rounds": 0}, VOTE),
    ("deepconf", {"n": 1}, TEXT),
    ("deepconf_online", {"n": 4, "warmup": 4, "keep": 100, "max_tokens": 12}, ("deepconf", {**LOWEST, "n": 4})),
    ("early_stopping_consistency", {"n": 4, "window": 4}, VOTE),
    ("first_finish", {"n": 1, "end": ""}, TEXT),
    ("first_finish", {"n": 4, "end": ""}, ("short_m_at_k", {"k": 4, "m": 1, "end": ""})),
    ("forward_backward", {"n": 4, "alpha": 1.0, "candidates": 4}, VOTE),
    ("generative_verifier", {"n": 1}, TEXT),
    ("interleaved_code", {"n": 4, "solve": "{question}"}, VOTE),
    ("judge_selection", {"n": 1}, TEXT),
    ("last_finish", {"n": 1, "k": 1}, TEXT),
    ("marker_vote", {"n": 4, "share": 1.0}, VOTE),
    ("no_thinking", {"n": 4, "prefill": ""}, VOTE),
    ("no_thinking_certain", {"n": 4, "prefill": ""}, ("self_certainty", {"n": 4})),
    ("pairwise_selection", {"n": 4, "most": 1}, VOTE),
    ("pattern_agent", {"steps": 0}, TEXT),
    (
        "plan_search",
        {"n": 4, "final": "majority", "scorer": "likelihood"},
        ("plan_search", {"n": 4, "final": "majority"}),
    ),
    ("resample_until_verified", {"n": 4, "threshold": 9.0}, BEST),
    ("resample_until_verified", {"n": 1, "threshold": 0.0}, TEXT),
    ("self_refine", {"rounds": 0}, TEXT),
]


@pytest.mark.parametrize(("name", "parameters", "other"), DRAW_FOR_DRAW, ids=lambda value: str(value)[:60])
def test_a_special_case_gives_the_same_answers_from_the_same_draws(name, parameters, other):
    def answers(method: str, given: dict[str, Any]) -> list[str | None]:
        results = sorted(ToyTrial.of(find(method), method, given).results(problems(12)), key=lambda one: one.id)
        return [one.answer.answer for one in results]

    found = answers(name, parameters)
    assert found == answers(*other)
    assert len(set(found)) > 2


@pytest.mark.parametrize(("name", "parameters"), [("cot_decoding", {"k": 1}), ("nudging", {"gamma": 0.0})])
def test_a_special_case_is_the_greedy_text(name, parameters, monkeypatch):
    monkeypatch.setitem(SAMPLING, "temperature", 0.0)
    greedy = ToyTrial.of(find("chain_of_thought"), "chain_of_thought").results(problems(1))
    found = ToyTrial.of(find(name), name, parameters).results(problems(1))
    assert found[0].answer.answer == greedy[0].answer.answer


def test_a_table_that_names_the_vote_of_the_pilot_for_all_questions_makes_that_vote(tmp_path):
    table = tmp_path / "methods.json"
    table.write_text(json.dumps({"pilot": 4, "edges": [0.5, 1.0], "arms": [["self_consistency", {"n": 4}]] * 3}))
    found = ToyTrial.of(find("compute_optimal"), "compute_optimal", {"table": str(table)}).results(problems(8))
    vote = ToyTrial.of(find("self_consistency"), "self_consistency", {"n": 4}).results(problems(8))
    assert {one.id: one.answer.answer for one in found} == {one.id: one.answer.answer for one in vote}


def test_the_page_of_every_method_has_a_law_or_the_composition_that_it_is():
    lacking = []
    for name in all_methods():
        page = (Path(__file__).parents[2] / "docs" / "methods" / f"{name}.md").read_text("utf-8")
        if not re.search(r"\*\*(Laws?|Composition)\.\*\*", page):
            lacking.append(name)
    assert lacking == []


FINITE = MarkovBackend(
    {
        "": {"a": 3, "b": 2},
        "a": {"b": 1, ".": 2, END: 1},
        "b": {".": 1, END: 3},
        ".": {"c": 1, END: 2},
        "c": {END: 1},
    }
)
"""A model whose texts have four letters at most, and one step or two."""
STEPS = {"steps": 4, "delimiter": "."}
IN_LAW: list[tuple[str, dict[str, Any]]] = [
    ("a_star", {"k": 1, "expansions": 9, **STEPS}),
    ("arbitrage", {"threshold": -1.0, **STEPS}),
    ("arbitrage", {"threshold": 2.0, **STEPS}),
    ("budget_forcing", {"waits": 0}),
    ("early_pruning", {"n": 1, "tokens": 1}),
    ("early_rejection", {"n": 1, "width": 1, "tokens": 1, **STEPS}),
    ("glimp_router", {"delimiter": "."}),
    ("puct_search", {"simulations": 1, "width": 1, **STEPS}),
    ("speculative_thinking", {"delimiter": "."}),
    ("tree_of_thoughts", {"k": 1, "width": 1, "checks": 1, **STEPS}),
    ("trimr", {"agree": 9, **STEPS}),
    ("uct_search", {"simulations": 1, "width": 1, **STEPS}),
]


@pytest.mark.parametrize(("name", "parameters"), IN_LAW, ids=lambda value: str(value)[:60])
def test_a_special_case_writes_each_text_with_the_chance_that_one_text_has(name, parameters):
    """Of methods of two models both are the same one here, so that who writes shows in no text."""
    problem = Problem("p", "", read=lambda text: text)

    def run(oracle: Oracle) -> str | None:
        player = Player(FINITE, oracle, 6, LetterScorer())
        return player.play(find(name)(problem, **parameters), problem).answer

    expected = {text: chance for text, chance, _ in FINITE.texts(6, "\0", "")}
    assert sum(expected.values()) == 1
    assert law(run) == expected
    assert len(expected) > 5
    assert all(isinstance(chance, Fraction) for chance in expected.values())
