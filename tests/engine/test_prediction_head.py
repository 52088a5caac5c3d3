"""A model's own prediction head as a drafter: what it guesses is what one pass says, and no bit changes."""

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import ParameterError
from intact.engine.draft.prediction_head import WINDOW, HeadDraft, PredictionHead
from intact.engine.drafting import HEADS, Drafting
from intact.engine.hidden import KeptRows
from intact.library import Model
from support.asks import Ask, preempting, together
from support.heads import predicted, write_certain_folder, write_headed_folder, write_headed_tiny
from support.tally import Eager
from support.tiny import write_tiny

PROMPT = tuple((53 * i * i + 7 * i + 40) % 256 + 3 for i in range(50))
LONG_TEXT = {"max_tokens": 30, "ignore_eos": True}
ASKS = {
    "greedy": Ask(PROMPT, LONG_TEXT),
    "sampled": Ask(PROMPT, LONG_TEXT | {"temperature": 0.9, "top_p": 0.95, "seed": 3}),
    "penalised": Ask(PROMPT, LONG_TEXT | {"temperature": 1.0, "repetition_penalty": 1.4, "frequency_penalty": 0.7}),
    "regex": Ask(PROMPT, {"max_tokens": 30, "temperature": 1.0, "regex": "[a-z ]{20}(0|[1-9][0-9]){4}"}),
}
MODELS = ("qwen35", "qwen35moe", "qwen3next", "certain", "uncertain")
"""Random ones, whose heads are never right, and two whose heads often are."""
pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    found = {name: write_headed_tiny(folder / f"{name}.gguf", name) for name in MODELS[:3]}
    found["certain"] = write_certain_folder(folder / "certain", "qwen3.5", 0.0)
    found["uncertain"] = write_certain_folder(folder / "uncertain", "qwen3-next", 0.15)
    return found


def drafting_model(path: Path, **options: Any) -> Model:
    """A model that drafts as much as it may by its own head."""
    model = intact.load(path, threads=1, page_size=16, drafter=HEADS, **options)
    model.engine.drafting = Drafting(head_of(model), Eager())  # type: ignore[arg-type]
    return model


def head_of(model: Model) -> PredictionHead:
    assert model.engine.drafting is not None
    head = model.engine.drafting.drafter
    assert isinstance(head, PredictionHead)
    return head


def plain(path: Path, asks: Sequence[Ask], **options: Any) -> list[Any]:
    return together(intact.load(path, threads=1, drafter="off", **options), asks)


@pytest.mark.parametrize("kind", ASKS)
@pytest.mark.parametrize("name", MODELS)
def test_a_head_changes_no_bit(paths: dict[str, Path], name: str, kind: str) -> None:
    pytest.importorskip("llguidance")
    model = drafting_model(paths[name])
    assert together(model, [ASKS[kind]]) == plain(paths[name], [ASKS[kind]])
    counters = model.engine.counters
    assert counters.drafted > 0
    if name == "certain":
        drawn = counters.decoded + counters.accepted
        assert counters.accepted > 0.7 * drawn, "its guesses are drawn with the text's own numbers, under its rules"
    if name == "uncertain":
        assert 0 < counters.accepted < counters.drafted, "a state is rolled back, and goes on from accepted guesses"


@pytest.mark.parametrize("options", [{"profile": "fp32"}, {"executor": "reference"}], ids=["fp32", "reference"])
def test_a_head_changes_no_bit_on_other_executors(paths: dict[str, Path], options: dict[str, Any]) -> None:
    ask = Ask(PROMPT[:20], {"max_tokens": 10, "ignore_eos": True, "temperature": 0.8})
    model = drafting_model(paths["uncertain"], **options)
    assert together(model, [ask]) == plain(paths["uncertain"], [ask], **options)
    assert model.engine.counters.accepted > 0


@pytest.mark.parametrize("name", ["qwen3next", "uncertain"])
@pytest.mark.parametrize("count", [1, 8, 64])
def test_batches_preemption_and_forks_of_a_prompt_change_no_bit(paths: dict[str, Path], name: str, count: int) -> None:
    ask = Ask(PROMPT, {"max_tokens": 12, "ignore_eos": True, "temperature": 0.8, "seed": 1}, n=count)
    expected = plain(paths[name], [ask])
    model = drafting_model(paths[name])
    assert together(model, [ask]) == expected
    with preempting(model, 3) as taken:
        assert together(model, [ask]) == expected
    assert sum(taken) > 0
    assert model.engine.counters.drafted > count


def guesses_of(model: Model, asks: Sequence[Ask]) -> list[tuple[int, list[int], np.ndarray]]:
    """The texts from which the head guessed, from which position on it knew them, and its logits behind each."""
    head, found = head_of(model), []
    run = head.run

    def recording(chunks, guessing, wanted):  # type: ignore[no-untyped-def]
        logits = run(chunks, guessing, wanted)
        for draft, row in zip(guessing, logits, strict=True):
            assert isinstance(draft, HeadDraft)
            if chunks[draft].position < len(draft.text):
                found.append((draft._first, list(draft._whole), row.copy()))
        return logits

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "run", recording)
        together(model, asks)
    return found


@pytest.mark.parametrize(
    ("length", "chunk", "most"), [(50, 256, 0), (50, 7, 0), (110, 256, 0), (110, 33, 0), (50, 256, 2)]
)
@pytest.mark.parametrize("name", ["qwen35", "uncertain"])
def test_each_guess_is_made_of_what_one_pass_over_the_text_says(
    paths: dict[str, Path], name: str, length: int, chunk: int, most: int
) -> None:
    """However the prompt is cut, what was rejected before, and what was preempted: of the model's own hidden states."""
    prompt = [(31 * i * i + 3 * i) % 256 + 3 for i in range(length)]
    model = drafting_model(paths[name], chunk=chunk)
    asks = [Ask(prompt, {"max_tokens": 12, "ignore_eos": True, "temperature": 0.7}, n=2)]
    with preempting(model, most):
        guesses = guesses_of(model, asks)
    assert len(guesses) >= 6
    judge = drafting_model(paths[name])
    for first, text, logits in guesses:
        assert max(0, length - WINDOW) <= first <= max(0, len(text) - WINDOW) or most
        assert np.array_equal(predicted(judge, text, first)[-1] * 65536, logits)


def test_texts_that_share_a_cached_prompt_draft_from_what_was_computed(paths: dict[str, Path]) -> None:
    model = drafting_model(paths["uncertain"])
    ask = Ask(PROMPT * 2, {"max_tokens": 8, "ignore_eos": True, "temperature": 0.7})
    first = together(model, [ask])
    guesses = guesses_of(model, [ask])
    assert together(model, [ask]) == first
    judge = drafting_model(paths["uncertain"])
    assert min(start for start, _, _ in guesses) > len(ask.prompt) - 20, "the prefix cache had the rest"
    for start, text, logits in guesses:
        assert np.array_equal(predicted(judge, text, start)[-1] * 65536, logits)


@pytest.mark.parametrize("pages", [1, 4, 7])
def test_a_full_cache_of_the_head_costs_guesses_alone(paths: dict[str, Path], pages: int) -> None:
    ask = Ask(PROMPT, {"max_tokens": 12, "ignore_eos": True, "temperature": 0.8}, n=5)
    model = drafting_model(paths["uncertain"])
    head = head_of(model)
    head.index.pool.most = head.index.pool.capacity = pages
    assert together(model, [ask]) == plain(paths["uncertain"], [ask])
    assert (head.steps > 0) == (pages > 3)
    gc.collect()
    head.index.evict(head.index.idle)
    assert head.index.pool.used == 0, "ended sequences hold no pages"


def test_a_head_that_fails_drafts_no_more_and_ends_nobody(
    paths: dict[str, Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = drafting_model(paths["certain"])
    head = head_of(model)
    step, count = head.executor.step, iter(range(100))

    def failing(chunks, wanted):  # type: ignore[no-untyped-def]
        if next(count) > 5:
            raise MemoryError("no room")
        return step(chunks, wanted)

    monkeypatch.setattr(head.executor, "step", failing)
    assert together(model, [ASKS["greedy"]]) == plain(paths["certain"], [ASKS["greedy"]])
    assert next(count) == 7, "it is not asked again"
    assert "is disabled" in caplog.text


def test_a_head_is_loaded_with_the_model_closed_with_it_and_leaves_no_trace_in_a_receipt(
    paths: dict[str, Path],
) -> None:
    options: dict[str, Any] = {"max_tokens": 30, "temperature": 0.7, "receipt": True}
    found = []
    for drafter in ("off", HEADS):
        with intact.load(paths["certain"], threads=1, drafter=drafter) as model:
            found.append(model.generate("a b c", **options)[0][0].receipt)
            executor = None if drafter == "off" else head_of(model).executor
    assert found[0] == found[1]
    assert executor is not None
    with pytest.raises(AttributeError):
        executor.page_bytes  # noqa: B018


def test_a_draft_model_may_stand_beside_a_head(paths: dict[str, Path], tmp_path: Path) -> None:
    small = write_tiny(tmp_path / "small.gguf", context=256)
    model = intact.load(paths["uncertain"], threads=1, page_size=16, drafter=HEADS, draft_model=small)
    assert model.engine.drafting is not None
    model.engine.drafting = Drafting(model.engine.drafting.drafter, Eager())  # type: ignore[arg-type]
    ask = Ask(PROMPT, {"max_tokens": 20, "ignore_eos": True, "temperature": 0.8}, n=2)
    assert together(model, [ask]) == plain(paths["uncertain"], [ask])
    members = model.engine.drafting.drafter.members  # type: ignore[attr-defined]
    assert [one.name for one in members] == [HEADS, "model"]
    assert all(one.steps > 0 for one in members)


def test_a_head_in_several_processes_is_refused(tmp_path: Path) -> None:
    folder = write_headed_folder(tmp_path, "qwen3.5")
    with pytest.raises(ParameterError, match="prediction heads and tensor_parallel cannot be combined"):
        intact.load(folder, drafter=HEADS, tensor_parallel=2)


def test_kept_rows_have_no_gap_and_no_more_than_they_may() -> None:
    kept = KeptRows(4)
    kept.add(10, [b"a", b"b"])
    kept.add(12, [b"c"])
    assert (kept.first, kept.rows) == (10, [b"a", b"b", b"c"])
    copy = kept.copy()
    kept.add(11, [b"B", b"C", b"D", b"E"])
    assert (kept.first, kept.rows) == (11, [b"B", b"C", b"D", b"E"])
    kept.add(16, [b"f"])
    assert (kept.first, kept.rows) == (16, [b"f"]), "what stands before a gap is of no use"
    assert (copy.first, copy.rows) == (10, [b"a", b"b", b"c"])
