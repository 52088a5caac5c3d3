"""Methods whose texts are drawn from a mix: the bits of `Model.generate`, journals of their own, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import intact
from intact._base.errors import ParameterError
from intact.engine.mixes import read_mix
from intact.evaluate.likelihood import Likelihoods
from intact.library import Model
from intact.reason import Answer, Extend, Problem, Steps, method
from intact.reason.backends.native import NativeBackend
from intact.reason.backends.text_mix import TextMix
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.registry import find
from intact.tasks.score.scorers import find_scorer
from intact.text import ChatPrompt
from intact.text.template import DEFAULT_NOW
from support.tiny import write_tiny

PROBLEM = Problem("p", (("system", "Be brief."), ("user", "Why?")), seed=4)
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
SHADOW = [CHAT[0], {"role": "user", "content": "Say it."}]
GUIDED: dict[str, Any] = {"mix": {"name": "guidance", "scale": 2.5}, "shadow": "Say it."}
COUNT = 12


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [write_tiny(folder / f"{seed}.gguf", seed=seed, context=512) for seed in range(2)]


@pytest.fixture(scope="module")
def model(paths: list[Path]) -> Iterator[Model]:
    with intact.load(paths[0], partners=paths[1:], threads=1) as loaded:
        yield loaded


@method("mixes.pieces", temperature=0.8)
def pieces(problem: Problem, *, n: int = 2, parts: int = 1) -> Steps:
    """Continue n texts in equal parts.

    Parameters
    ----------
    n, parts : int
        The number of texts; of parts of each.
    """
    states = [problem.start] * n
    for _ in range(parts):
        states = yield [Extend(state, max_tokens=COUNT // parts) for state in states]
    return Answer(answer=json.dumps([list(state.tokens) for state in states]))


def tokens(model: Model, mix: TextMix | None, journal: Path | None = None, **parameters: Any) -> list[list[int]]:
    sampling = parameters.pop("sampling", {})
    answer = intact.solve(
        NativeBackend(model, mix=mix), pieces, PROBLEM, journal=journal, **sampling, **parameters
    ).answer.answer
    return json.loads(answer or "null")


def generated(model: Model, n: int, temperature: float, **mixed: Any) -> list[list[int]]:
    asked = {"max_tokens": COUNT, "temperature": temperature, "seed": PROBLEM.seed, "ids": [PROBLEM.id]}
    (texts,) = model.generate(ChatPrompt(CHAT, now=DEFAULT_NOW), n, **asked, **mixed)
    return [list(text.tokens) for text in texts]


@pytest.mark.parametrize(
    ("asked", "mixed"),
    [
        (GUIDED, {"mix": GUIDED["mix"], "shadow": ChatPrompt(SHADOW, now=DEFAULT_NOW)}),
        ({"mix": "contrastive"}, {"mix": "contrastive"}),
    ],
    ids=["shadow", "partner"],
)
def test_texts_of_a_mix_are_those_of_generate(model: Model, asked: dict[str, Any], mixed: dict[str, Any]) -> None:
    mix = TextMix.of(**asked)
    wanted = generated(model, 3, 0.8, **mixed)
    assert tokens(model, mix, n=3) == wanted != tokens(model, None, n=3)
    assert model.engine.held == 0
    greedy = generated(model, 1, 0.0, **mixed)
    for parts in (1, 2, 3):  # what was written stands behind the shadow too
        assert tokens(model, mix, n=1, parts=parts, sampling={"temperature": 0}) == greedy


def test_a_question_is_solved_with_a_mix(model: Model) -> None:
    asked = {"n": 4, "max_tokens": COUNT}
    mixed = intact.solve(model, "self_consistency", PROBLEM, **asked, **GUIDED)
    plain = intact.solve(model, "self_consistency", PROBLEM, **asked)
    shadow = ChatPrompt(SHADOW, now=DEFAULT_NOW)
    texts = model.generate(
        ChatPrompt(CHAT, now=DEFAULT_NOW), 4, ids=["p"], temperature=0.7, seed=4, max_tokens=COUNT,
        mix=GUIDED["mix"], shadow=shadow,
    )[0]  # fmt: skip
    assert [node["text"] for node in mixed.trace["nodes"]] == [text.text for text in texts]
    assert mixed.trace["nodes"] != plain.trace["nodes"]


def test_company_and_order_decide_nothing(model: Model) -> None:
    problems = [PROBLEM, Problem("q", (("user", "How?"),))]
    particles = {"n": 3, "delimiter": ".", "steps": 3, "scorer": "p_true"}
    jobs = [MethodJob(find(name), one, given) for one in problems for name, given in (
        ("self_consistency", {"n": 3}), ("short_m_at_k", {"k": 3, "m": 2}), ("particle_filter", particles),
    )]  # fmt: skip

    def solve(some: list[MethodJob], given: Model) -> list[Any]:
        backend = NativeBackend(given, mix=TextMix.of(**GUIDED))
        driver = Driver({"main": backend}, services=Services(find_scorer), sampling={"max_tokens": COUNT})
        results = dict(driver.solve(some))
        found = [results[i].as_dict(trace=True) for i in range(len(some))]
        for one in found:
            one["cost"].pop("seconds")
        return found

    together = solve(jobs, model)
    assert {one["why"] for one in together} == {"done"}
    with intact.load(model.path, threads=2, chunk=5, page_size=16, prefix_cache=False) as other:
        assert [solve([job], other)[0] for job in reversed(jobs)][::-1] == together


def test_a_journal_keeps_mixes_apart(model: Model, tmp_path: Path) -> None:
    mixes = [None, TextMix.of(**GUIDED), TextMix.of("guidance", "Say it."), TextMix.of("guidance", "Say."),
             TextMix.of("contrastive")]  # fmt: skip
    alone = [tokens(model, mix) for mix in mixes]
    assert len({json.dumps(one) for one in alone}) == len(mixes)
    for _ in range(2):
        assert [tokens(model, mix, tmp_path / "journal") for mix in mixes] == alone
    identities = [NativeBackend(model, mix=mix).identity for mix in mixes]
    assert len(set(identities)) == len(mixes)
    assert all(one.startswith(identities[0]) for one in identities)


def test_the_multiply_adds_of_all_streams_are_counted(model: Model) -> None:
    plain = NativeBackend(model)
    guided = NativeBackend(model, mix=TextMix.of(**GUIDED))
    assert guided.operations(3, 9) == 2 * plain.operations(3, 9)


def test_a_mix_is_written_as_it_is_read() -> None:
    for mix in ("guidance:scale=2.5", "m3id:decay=0.000001,cap=100,alpha=0,certain=1", "uscd"):
        given = TextMix.of(read_mix(mix), "x")
        assert given is not None
        again = TextMix.of(read_mix(given.words), "x")
        assert given == again


def test_what_cannot_be_mixed_is_refused_before_it_runs(model: Model, paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="the mix guidance needs a shadow prompt"):
        intact.solve(model, "self_consistency", "Why?", mix="guidance")
    with pytest.raises(ParameterError, match="a shadow prompt needs a mix"):
        intact.solve(model, "self_consistency", "Why?", shadow="x")
    with pytest.raises(ParameterError, match="takes 2 partners, got 1"):
        intact.solve(model, "self_consistency", "Why?", mix="proxy")
    with pytest.raises(ParameterError, match="a mix needs a local model"):
        intact.solve("http://127.0.0.1:1/v1#m", "self_consistency", "Why?", **GUIDED)
    with pytest.raises(ParameterError, match="a mix needs a local model"):
        intact.solve(NativeBackend(model), "self_consistency", "Why?", **GUIDED)
    with pytest.raises(ParameterError, match="do not support a mix"):
        Likelihoods(NativeBackend(model, mix=TextMix.of(**GUIDED)), tmp_path)
    steps = model.engine.counters.steps
    odd = Problem("odd", (("user", "Why?"), ("assistant", "So.")))
    result = intact.solve(model, "self_consistency", odd, n=2, **GUIDED)
    assert "which must be the user's" in result.error
    assert model.engine.counters.steps == steps
