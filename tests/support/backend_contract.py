"""What every back end has to do, whatever it cannot promise."""

import json
import time
from collections.abc import Sequence
from typing import Any

import pytest

from intact.engine.sampling.parameters import SamplingParameters
from intact.reason import Answer, Extend, Method, Problem, Race, Result, Steps, all_methods, find, method
from intact.reason.backends.base import Backend, Generation, Spelling, Written
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.journal import Journal
from intact.reason.driving.services import MethodJob, Services
from intact.reason.testing.small import PROVABLE
from intact.tasks.score.scorers import find_scorer
from support.journals import finished, unfinished
from support.patience import PATIENCE

SMALL = {"n": 4, "k": 4, "m": 2, "steps": 3, "simulations": 4, "width": 2, "keep": 2, "warmup": 2, "rounds": 2}
SMALL |= {"thinking": 8, "answering": 8, "tokens": 4, "batch": 2, "window": 4, "max_tokens": 12}
OWN = {"linc": {"tokens": 40, "formalise": "{sentences}", "constrained": False}}
OWN |= {"hogwild": {"rules": "{question}", "finish": "So", "burst": 4}}
"""Of methods that would write nothing otherwise: a prompt longer than the context, a grammar of endpoints."""
OWN |= {"nudging": {"gamma": 0.0, "nudger": "large"}}  # endpoints know no `stop_below`
OWN |= {  # by the assistant that starts no process
    name: {"assistant": "metamath", "statement": PROVABLE}
    for name in ("draft_sketch_prove", "proof_repair", "proof_search")
}
EXCUSES = ("Parameter", "Sandbox", "Scorer", "Format", "NotInstalled")
MUST = ("chain_of_thought", "self_consistency", "best_of_n", "weighted_best_of_n", "best_of_majority", "rpc")
MUST += ("first_finish", "short_m_at_k", "particle_filter", "adaptive_consistency", "uct_search", "ab_mcts")


@method("none", temperature=1.0)
def stepwise(problem: Problem) -> Steps:
    """Go on from what was written, in pieces, with words of one's own between."""
    whole = yield Extend(problem.start, max_tokens=12)
    one = yield Extend(problem.start, max_tokens=3)
    two = yield Extend(one, max_tokens=3)
    three = yield Extend(two.append("b"), max_tokens=3)
    return Answer(None, details={"texts": [whole.text, one.text, two.text, three.text]})


@method("none", temperature=1.0)
def racing(problem: Problem, *, m: int = 2) -> Steps:
    """Race to the first full stop."""
    raced = yield Race([Extend(problem.start, stop=(".",), max_tokens=30)] * 5, m)
    return Answer(None, details={"winners": raced.winners, "states": [[s.length, s.why] for s in raced.states]})


class BackendContract:
    """Inherited by a class of tests for each back end, which gives it as a fixture `backend`.

    Attributes
    ----------
    prompt
        One that it can go on from.
    rivals
        Whether it tells the likeliest tokens.
    """

    prompt: Any = "ask?"
    rivals = True

    @pytest.fixture
    def backend(self) -> Backend:
        raise NotImplementedError

    def generation(self, place: int = 0, **parameters: Any) -> Generation:
        state = Problem("p", self.prompt).start
        return Generation(state, SamplingParameters(**{"max_tokens": 8, "temperature": 1.0} | parameters), ("p", place))

    def run(self, backend: Backend, generations: Sequence[Generation]) -> list[Written]:
        backend.start(generations)
        deadline = time.monotonic() + PATIENCE
        ended: list[Generation] = []
        while len(ended) < len(generations):
            assert time.monotonic() < deadline, "not all came back"
            ended += backend.step()
        assert {id(one) for one in ended} == {id(one) for one in generations}
        return [one.written for one in generations if one.written is not None]

    def solve(self, backend: Backend, *tasks: MethodJob, **options: Any) -> list[Result]:
        options.setdefault("sampling", {"max_tokens": 12, "temperature": 1.0})
        results = dict(
            Driver({"it": backend, "large": backend}, services=Services(find_scorer), **options).solve(tasks)
        )
        return [results[i] for i in range(len(tasks))]

    def problems(self, count: int) -> list[Problem]:
        return [Problem(f"p{i}", self.prompt) for i in range(count)]

    def test_it_says_what_it_is(self, backend: Backend) -> None:
        assert backend.identity
        assert backend.vocabulary
        assert backend.context > 64
        assert all(isinstance(caveat, str) and caveat for caveat in backend.caveats)
        assert backend.count(self.prompt) > 0
        assert backend.operations(3, 4) == backend.operations(3, 1) + backend.operations(4, 3)

    def test_what_it_writes_is_whole(self, backend: Backend) -> None:
        for written in self.run(backend, [self.generation(i, max_tokens=1 + i) for i in range(8)]):
            assert written.why in ("end", "length")
            assert len(written.tokens) == len(written.logprobs) > 0
            assert all(type(value) is int and value <= 0 for value in written.logprobs)
            assert not written.error
        lengths = [len(written.tokens) for written in self.run(backend, [self.generation(i) for i in range(8)])]
        assert max(lengths) <= 8

    def test_what_it_spells_is_the_text(self, backend: Backend) -> None:
        """The characters behind each token are those of the text that is cut there."""
        if not isinstance(backend, Spelling):
            pytest.skip("tells no tokens")
        request = self.generation(max_tokens=12)
        (written,) = self.run(backend, [request])
        lengths = backend.lengths(request.state, written.tokens)
        assert len(lengths) == len(written.tokens)
        assert lengths == sorted(lengths)
        for i, length in enumerate(lengths):
            (shorter,) = self.run(backend, [self.generation(max_tokens=i + 1)])
            assert written.text[:length] == shorter.text[:length]
            assert len(shorter.text) - length <= 1, "half a character at most"

    def test_branches_differ_and_repeat(self, backend: Backend) -> None:
        once = [written.text for written in self.run(backend, [self.generation(i) for i in range(8)])]
        again = [written.text for written in self.run(backend, [self.generation(i) for i in reversed(range(8))])]
        assert once == again[::-1]
        assert len(set(once)) > 1
        greedy = [
            written.text for written in self.run(backend, [self.generation(i, temperature=0.0) for i in range(3)])
        ]
        assert len(set(greedy)) == 1

    def test_a_stop_string_stays_in_the_text(self, backend: Backend) -> None:
        texts = [written.text for written in self.run(backend, [self.generation(i, max_tokens=12) for i in range(6)])]
        letters = [letter for letter in "".join(texts) if letter.isascii()]  # no half of a character
        letter = max(sorted(set(letters)), key=letters.count)
        for free, written in zip(
            texts,
            self.run(backend, [self.generation(i, max_tokens=12, stop=(letter,)) for i in range(6)]),
            strict=True,
        ):
            assert (written.why == "stop") == (letter in free)
            assert free.startswith(written.text)
            assert written.text.startswith(free[: free.index(letter) + 1] if letter in free else free)

    def test_rivals_are_told_where_they_are_asked_for(self, backend: Backend) -> None:
        (written,) = self.run(backend, [self.generation(top_logprobs=3)])
        if not self.rivals:
            assert written.top == ()
            return
        assert len(written.top) == len(written.tokens)
        for place in written.top:
            assert 0 < len(place) <= 3
            assert [value for _, value in place] == sorted([value for _, value in place], reverse=True)

    def test_what_is_cancelled_comes_back_from_the_next_step(self, backend: Backend) -> None:
        generations = [self.generation(i, max_tokens=400, stop=("never",)) for i in range(4)]
        backend.start(generations)
        ended = backend.step()
        left = [one for one in generations if one not in ended]
        backend.cancel(left)
        ended += backend.step()
        assert {id(one) for one in ended} == {id(one) for one in generations}
        assert all(one.written is not None for one in generations)
        assert backend.step() == []

    def test_texts_go_on_from_what_was_written(self, backend: Backend) -> None:
        for result in self.solve(backend, *[MethodJob(stepwise, problem, {}) for problem in self.problems(4)]):
            assert result.why == "done", result.error
            _, one, two, three = result.answer.details["texts"]
            assert two.startswith(one)
            assert three.startswith(two + "b")

    def test_races_are_decided_by_tokens_then_by_place(self, backend: Backend) -> None:
        for m in (1, 2):
            for result in self.solve(backend, *[MethodJob(racing, problem, {"m": m}) for problem in self.problems(2)]):
                assert result.why == "done", result.error
                winners, states = result.answer.details["winners"], result.answer.details["states"]
                complete = sorted((length, i) for i, (length, why) in enumerate(states) if why in ("end", "stop"))
                assert winners == [i for _, i in complete[:m]]
                assert len(complete) <= m or states[complete[m][1]][0] == states[complete[m - 1][1]][0]
                assert result.cost.tokens == sum(length for length, _ in states)

    @pytest.mark.parametrize("name", sorted(all_methods()))
    def test_methods_give_valid_results(self, backend: Backend, name: str) -> None:
        chosen = find(name)
        (result,) = self.solve(
            backend, MethodJob(chosen, self.problems(1)[0], small(chosen)), budget=Budget(tokens=400)
        )
        if result.why == "failed":
            assert name not in MUST, result.error
            assert result.error.partition("Error")[0] in EXCUSES, result.error
            return
        assert result.why in ("done", "spent")
        assert result.caveats == backend.caveats
        assert 0 < result.cost.tokens <= 400
        assert result.cost.tokens == tokens_of(result.trace["nodes"])
        assert 0 < result.cost.sequential <= result.cost.tokens
        assert result.answer.answer is None or isinstance(result.answer.answer, str)
        assert result.answer.chosen is None or result.answer.chosen.text is not None
        json.dumps(result.as_dict(trace=True))

    def test_a_journal_replays_without_it(self, backend: Backend, tmp_path: Any) -> None:
        told = []
        for _ in range(2):
            with Journal(tmp_path / "journal") as journal:
                tasks = [MethodJob(find(name), self.problems(1)[0], {"n": 4}) for name in ("self_consistency", "rpc")]
                results = self.solve(backend, *tasks, journal=journal)
                told.append([json.dumps([r.trace, r.answer.answer, dict(r.answer.votes)]) for r in results])
                counts = unfinished(journal), finished(journal)
        assert told[0] == told[1]
        assert counts == (0, 4)  # samples that two methods share are one


def small(chosen: Method) -> dict[str, Any]:
    """Parameters for a few tokens."""
    return {
        p.name: SMALL[p.name]
        for p in chosen.parameters
        if p.name in SMALL and p.default is not None and type(p.default) is type(SMALL[p.name])
    } | OWN.get(chosen.name, {})


def tokens_of(nodes: Sequence[dict[str, Any]]) -> int:
    return sum(node.get("tokens", 0) + tokens_of(node.get("nodes", [])) for node in nodes)
