"""EAGLE-3 heads as drafters: what they guess is what one pass says, and no bit changes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import ParameterError
from intact.engine.draft.eagle3 import Eagle
from intact.engine.draft.prediction_head import HeadDraft
from intact.engine.drafting import Drafting
from intact.library import Model
from support.asks import Ask, preempting, together
from support.eagle import (
    certain_values,
    drafted_tokens,
    drafting_model,
    eagle_of,
    eagle_values,
    features,
    write_eagle,
    write_model,
)
from support.heads import run_whole
from support.tally import Eager

PROMPT = tuple((53 * i * i + 7 * i + 40) % 256 + 3 for i in range(50))
LONG_TEXT = {"max_tokens": 30, "ignore_eos": True}
ASKS = {
    "greedy": Ask(PROMPT, LONG_TEXT),
    "sampled": Ask(PROMPT, LONG_TEXT | {"temperature": 0.9, "top_p": 0.95, "seed": 3}),
    "penalised": Ask(PROMPT, LONG_TEXT | {"temperature": 1.0, "repetition_penalty": 1.4, "frequency_penalty": 0.7}),
    "regex": Ask(PROMPT, {"max_tokens": 30, "temperature": 1.0, "regex": "[a-z ]{20}(0|[1-9][0-9]){4}"}),
}
INFLUENCE = {"random": 1.0, "certain": 0.0, "uncertain": 0.02}
"""Factors of what each model's layers add. The head of the first is random, the others' is right as
far as the layers change nothing."""
pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """The folders of models and of their heads."""
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for name, influence in INFLUENCE.items():
        model = write_model(folder / name, influence)
        values = eagle_values() if name == "random" else certain_values(model)
        found[name] = model, write_eagle(folder / f"{name}-head", values)
    return found


def load(paths: tuple[Path, Path], **options: Any) -> Model:
    path, head = paths
    return drafting_model(intact.load(path, threads=1, page_size=16, drafter="model", draft_model=head, **options))


def plain(paths: tuple[Path, Path], asks: Sequence[Ask], **options: Any) -> list[Any]:
    return together(intact.load(paths[0], threads=1, drafter="off", **options), asks)


@pytest.mark.parametrize("kind", ASKS)
@pytest.mark.parametrize("name", INFLUENCE)
def test_a_head_changes_no_bit(paths: dict[str, tuple[Path, Path]], name: str, kind: str) -> None:
    pytest.importorskip("llguidance")
    model = load(paths[name])
    assert together(model, [ASKS[kind]]) == plain(paths[name], [ASKS[kind]])
    counters = model.engine.counters
    assert counters.drafted > 0
    if name == "certain" and kind != "regex":
        texts = plain(paths[name], [ASKS[kind]])
        known = np.isin([token for sample in texts[0] for token in sample.tokens], drafted_tokens()).mean()
        assert counters.accepted > 0.3 * known * (counters.decoded + counters.accepted)
    if name == "uncertain":
        assert 0 < counters.accepted < counters.drafted


@pytest.mark.parametrize(
    "options",
    [{"profile": "fp32"}, {"executor": "reference"}, {"kv": "int4"}, {"weights_memory": "1MB"}],
    ids=["fp32", "reference", "codec", "paged weights"],
)
def test_a_head_changes_no_bit_on_other_executors(paths: dict[str, tuple[Path, Path]], options: dict[str, Any]) -> None:
    ask = Ask(PROMPT[:20], {"max_tokens": 10, "ignore_eos": True, "temperature": 0.8})
    model = load(paths["certain"], **options)
    assert together(model, [ask]) == plain(paths["certain"], [ask], **options)
    assert model.engine.counters.accepted > 0


@pytest.mark.parametrize("count", [1, 8, 64])
def test_batches_preemption_and_forks_of_a_prompt_change_no_bit(
    paths: dict[str, tuple[Path, Path]], count: int
) -> None:
    ask = Ask(PROMPT, {"max_tokens": 12, "ignore_eos": True, "temperature": 0.8, "seed": 1}, n=count)
    expected = plain(paths["uncertain"], [ask])
    model = load(paths["uncertain"])
    assert together(model, [ask]) == expected
    with preempting(model, 3) as taken:
        assert together(model, [ask]) == expected
    assert sum(taken) > 0
    assert model.engine.counters.drafted > count


@pytest.mark.parametrize(
    ("length", "chunk", "most"), [(50, 256, 0), (50, 7, 0), (110, 256, 0), (110, 33, 0), (50, 256, 2)]
)
def test_each_guess_is_made_of_what_one_pass_over_the_text_says(
    paths: dict[str, tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch, length: int, chunk: int, most: int
) -> None:
    """However the prompt is cut, what was rejected before, and what was preempted: of the model's own rows."""
    prompt = [(31 * i * i + 3 * i) % 256 + 3 for i in range(length)]
    model, guesses = load(paths["uncertain"], chunk=chunk), []
    head = eagle_of(model)
    run = head.run

    def recording(chunks, guessing, wanted):  # type: ignore[no-untyped-def]
        logits = run(chunks, guessing, wanted)
        for draft, row in zip(guessing, logits, strict=True):
            assert isinstance(draft, HeadDraft)
            if chunks[draft].position < len(draft.text):
                guesses.append((draft._first, list(draft._whole), row[drafted_tokens()]))
        return logits

    monkeypatch.setattr(head, "run", recording)
    with preempting(model, most):
        together(model, [Ask(prompt, {"max_tokens": 12, "ignore_eos": True, "temperature": 0.7}, n=2)])
    assert len(guesses) >= 6
    judge = load(paths["uncertain"])
    for first, text, logits in guesses:
        assert np.array_equal(logits_of(judge, text, first) * 65536, logits)


def logits_of(model: Model, text: Sequence[int], first: int) -> np.ndarray:
    """The logits of a head behind a text, of the model's rows from the first one that it has on."""
    head = eagle_of(model)
    head.given.rows = [row.tobytes() for row in features(model, text)[first:-1]]
    logits: np.ndarray = run_whole(head.executor, text[first + 1 :])[0][-1]
    return logits


def test_tokens_that_a_head_does_not_have_are_never_guessed(paths: dict[str, tuple[Path, Path]]) -> None:
    model = load(paths["random"])
    drafted = []
    guess = model.engine.drafting.guess  # type: ignore[union-attr]

    def recording(*given: Any) -> Any:
        trees = guess(*given)
        drafted.extend(token for tree in trees.values() for token in tree.tokens.tolist())
        return trees

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.engine.drafting, "guess", recording)
        together(model, [Ask(PROMPT, LONG_TEXT | {"temperature": 2.0}, n=4)])
    assert len(drafted) > 50
    assert set(drafted) <= set(drafted_tokens().tolist())


def test_it_drafts_beside_others_and_leaves_no_trace_in_a_receipt(paths: dict[str, tuple[Path, Path]]) -> None:
    path, head = paths["certain"]
    options: dict[str, Any] = {"max_tokens": 30, "temperature": 0.7, "receipt": True}
    found = []
    for choice in ({"drafter": "off"}, {"draft_model": head}):
        with intact.load(path, threads=1, **choice) as model:
            if "draft_model" in choice:
                drafter = model.engine.drafting.drafter  # type: ignore[union-attr]
                model.engine.drafting = Drafting(drafter, Eager())  # type: ignore[arg-type]
                assert [one.name for one in drafter.members] == ["auto", Eagle.name]  # type: ignore[attr-defined]
                executor = eagle_of(model).executor
            found.append(model.generate("a b c", **options)[0][0].receipt)
            if "draft_model" in choice:
                assert model.engine.counters.accepted > 0
    assert found[0] == found[1]
    with pytest.raises(AttributeError):
        executor.page_bytes  # noqa: B018


@pytest.mark.parametrize("way", ["tensor_parallel", "pipeline_parallel"])
def test_a_head_in_several_processes_is_refused(paths: dict[str, tuple[Path, Path]], way: str) -> None:
    path, head = paths["random"]
    ways: dict[str, Any] = {way: 2}
    with pytest.raises(ParameterError, match=f"prediction heads and {way} cannot be combined"):
        intact.load(path, draft_model=head, **ways)


def test_layers_of_a_watched_model_are_committed_to_and_checked(paths: dict[str, tuple[Path, Path]]) -> None:
    """Receipts of layers cut the model's own program."""
    from intact.receipts.layers import trace

    path, head = paths["random"]
    commitments = []
    for choice in ({}, {"draft_model": head}):
        with intact.load(path, threads=1, **choice) as model:
            receipt = model.generate("a b c", max_tokens=5, receipt=True)[0][0].receipt
            commitments.append(trace(model, receipt, None).commitment)
    assert commitments[0] == commitments[1]
