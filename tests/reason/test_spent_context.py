"""A context without room for a method's own prompts: the drafts decide, as where a budget is spent."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from intact.reason import Extend, Problem, Steps, find, method
from intact.reason.aggregate.votes import elect
from intact.reason.problem import Result
from intact.reason.testing.checks import CheckError, IdleServices, ToyTrial, problems
from intact.reason.testing.toy import MarkovBackend

DRAFTS = 40
"""Letters of a context that has room for the toy's question and a draft, and not for a question about a draft."""
ASKING = (
    "ab_mcts", "archon", "critique_and_revise", "forward_backward", "generative_verifier", "judge_selection",
    "mixture_of_agents", "pairwise_selection", "plangen", "self_refine", "solve_or_verify", "tree_of_thoughts",
)  # fmt: skip


class ShortBackend(MarkovBackend):
    """The toy model with a context for drafts only."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, context=DRAFTS)


def results(name: str, parameters: Mapping[str, Any], kind: type[MarkovBackend], **caps: int) -> dict[str, Result]:
    trial = replace(ToyTrial.of(find(name), name, parameters), kind=kind, services=IdleServices)
    return {one.id: one for one in trial.results(problems(2), **caps)}


@pytest.mark.parametrize("name", ASKING)
def test_drafts_decide_as_where_the_budget_is_spent(name: str) -> None:
    for short in results(name, {}, ShortBackend).values():
        long = results(name, {}, MarkovBackend, tokens=short.cost.tokens)[short.id]
        assert short.answer.answer is not None
        assert (short.answer.answer, short.cost.tokens) == (long.answer.answer, long.cost.tokens)


def test_a_ranking_that_finds_no_room_drops_no_draft() -> None:
    layers = {"layers": "generate 5, rank 1"}
    for one in results("archon", layers, ShortBackend).values():
        drafts = [node["text"] for node in one.trace["nodes"] if not node.get("other_prompt")]
        assert len(drafts) == 5
        assert sum(one.answer.votes.values()) == sum(bool(text) for text in drafts) > 1
        assert one.why == "spent"


@method("none")
def asking(problem: Problem, *, drafts: int = 1) -> Steps:
    """Ask something of its own after some drafts."""
    texts = (yield [Extend(problem.start)] * drafts) if drafts else []
    yield Extend(problem.ask("x" * DRAFTS))
    return elect(problem, texts)


def test_a_method_that_does_not_expect_it_is_spent_and_its_drafts_vote() -> None:
    (found,) = replace(ToyTrial.of(asking, "asking"), kind=ShortBackend).results(problems(1))
    assert found.why == "spent"
    assert found.error.startswith("NoRoomError: the context has no room for the requests")
    assert found.answer.answer is not None


def test_a_prompt_without_room_before_any_draft_is_an_error() -> None:
    trial = replace(ToyTrial.of(asking, "asking", {"drafts": 0}), kind=ShortBackend)
    with pytest.raises(
        CheckError,
        match="'failed': ParameterError: the prompt has 40 tokens, which leaves no room for a token after it",
    ):
        trial.results(problems(1))
