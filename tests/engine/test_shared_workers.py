"""Workers of a shared cache whose tokens are given: when a step is over, who is through, who doubts, what is listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

import intact
from intact._base.errors import ParameterError
from intact.engine.shared_cache.cache import SharedCache
from intact.engine.shared_cache.request import SharedRequest, SharedText
from intact.engine.shared_cache.rules import DOUBT, NAMES, PAST, heading, introduction
from intact.engine.shared_cache.workers import write_together
from intact.library import Model
from intact.numerics.sampling import Draw, make_sampling
from support.tiny import write_tiny

PROMPT = tuple(range(20, 28))
END = "$"
"""Stands for the model's end token in what workers draw."""
CONTEXT = 150
"""Of the model that comes to its edge."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    path = write_tiny(tmp_path_factory.mktemp("models") / "tiny.gguf", context=300)
    with intact.load(path, drafter="off", threads=1) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    path = write_tiny(tmp_path_factory.mktemp("models") / "short.gguf", context=CONTEXT)
    with intact.load(path, drafter="off", threads=1) as loaded:
        yield loaded


def tokens_of(model: Model, text: str) -> list[int]:
    return model.tokenizer.encode(text, special=False, bos=False)


def drawn(model: Model, text: str) -> tuple[int, ...]:
    """The tokens of a text, a character each."""
    end = min(model.tokenizer.eos_ids)
    return tuple(end if letter == END else tokens_of(model, letter)[-1] for letter in text)


def write(
    model: Model, monkeypatch: pytest.MonkeyPatch, texts: Sequence[str], conclusion: str = "", **changes: Any
) -> SharedText:
    """Have workers draw these texts, one each, and the conclusion behind them."""
    request = SharedRequest(
        PROMPT, len(texts), max(map(len, texts)), "interleaved", 0, len(conclusion), "#", "|", "", "So:",
        make_sampling(0.8), 3, ("p", 0),
    )  # fmt: skip
    request = replace(request, **changes)
    left: Mapping[int, Iterator[int]] = {
        request.key(number): iter(drawn(model, text)) for number, text in enumerate(texts)
    } | {0: iter(drawn(model, conclusion))}

    def draw(_: SharedCache, __: Any, draws: Sequence[Draw]) -> list[int]:
        return [next(left[one.key]) for one in draws]

    monkeypatch.setattr(SharedCache, "draw", draw)
    with SharedCache(model) as cache:
        return write_together(cache, request)


def steps(model: Model, text: SharedText) -> list[tuple[int, int, int, str]]:
    """Worker, number and round of each step, and what was drawn."""
    end, letters = (
        min(model.tokenizer.eos_ids),
        {token: chr(i) for i in range(32, 127) for token in drawn(model, chr(i))},
    )
    return [(w, n, r, "".join(END if t == end else letters[t] for t in tokens)) for w, n, r, tokens in text.steps]


@pytest.mark.parametrize(
    ("text", "found", "rounds"),
    [
        ("ab|cd", [(0, 1, 3, "ab|"), (0, 2, 0, "cd")], 5),
        (f"ab{END}cd", [(0, 1, 3, f"ab{END}"), (0, 2, 0, "cd")], 5),
        (f"ab{END}{END}cd", [(0, 1, 3, f"ab{END}"), (0, 2, 0, END)], 4),
        (f"ab{END}  {END}cd", [(0, 1, 3, f"ab{END}"), (0, 2, 0, f"  {END}")], 6),
        (f"{END}ab", [(0, 1, 0, END)], 1),
        (f" {END}ab", [(0, 1, 0, f" {END}")], 2),
        (f" a{END}b", [(0, 1, 3, f" a{END}"), (0, 2, 0, "b")], 4),
        ("ab|", [(0, 1, 3, "ab|")], 3),
    ],
)
def test_an_end_token_ends_a_step_or_a_worker_whose_step_holds_nothing_yet(
    model: Model, monkeypatch: pytest.MonkeyPatch, text: str, found: Any, rounds: int
) -> None:
    result = write(model, monkeypatch, [text])
    assert steps(model, result) == found
    assert (result.rounds, result.ended, result.by) == (rounds, "finish", None)


@pytest.mark.parametrize(
    ("doubt", "doubting"),
    [(0, []), (1, [2, 3, 4]), (2, [2, 3, 4]), (3, [3]), (4, [3]), (5, [3]), (6, [4]), (8, [4]), (9, []), (20, [])],
)
def test_a_worker_doubts_once_more_than_so_many_tokens_were_written_since(
    model: Model, monkeypatch: pytest.MonkeyPatch, doubt: int, doubting: list[int]
) -> None:
    """Three tokens a step. Behind a doubt the count begins anew; without one it goes on."""
    result = write(model, monkeypatch, ["ab|cd|ef|g"], doubt=doubt)
    assert [n for n in (1, 2, 3, 4) if heading(NAMES[0], n) + DOUBT in result.text] == doubting


def test_the_tokens_of_all_workers_count_towards_a_doubt(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["ab|c", "defg"]
    assert DOUBT not in write(model, monkeypatch, texts, doubt=5).text  # the second's third is drawn after the step
    assert DOUBT in write(model, monkeypatch, texts, doubt=4).text


@pytest.mark.parametrize("layout", ["interleaved", "combined", "contiguous"])
def test_each_step_is_listed_once_finished_ones_first(
    model: Model, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    result = write(model, monkeypatch, ["a|bc#|de", "fgh|ijk"], layout=layout)
    assert steps(model, result) == [(0, 1, 2, "a|"), (1, 1, 4, "fgh|"), (0, 2, 6, "bc#|"), (1, 2, 0, "ij")]
    assert (result.ended, result.by, result.rounds, result.conclusion) == ("answer", 0, 6, ())
    assert result.text.endswith(f"{heading(NAMES[0], 2)}bc#|")
    assert result.text.count("a|") == result.text.count("fgh|") == 1


def test_the_first_of_two_workers_who_end_the_work_at_once_is_the_one(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = write(model, monkeypatch, ["ab|", "c#|", "d#|"])
    assert steps(model, result) == [(0, 1, 3, "ab|"), (1, 1, 3, "c#|"), (2, 1, 3, "d#|")]
    assert result.by == 1


def test_a_worker_writes_up_to_the_edge_of_the_context(short: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last position is the token's that is drawn last: nothing is read there."""
    begun = heading(NAMES[0], 1) + introduction(NAMES[0], leads=True)
    before = len(PROMPT) + len(tokens_of(short, PAST)) + len(tokens_of(short, begun))
    result = write(short, monkeypatch, ["a" * CONTEXT])
    assert result.rounds == len(result.steps[0].tokens) == CONTEXT - before
    exact = write(short, monkeypatch, ["a" * (CONTEXT - before)])
    assert exact.steps == result.steps


def test_a_conclusion_ends_at_the_edge_of_the_context(short: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write(short, monkeypatch, ["ab"], conclusion="x" * CONTEXT)
    longer = write(short, monkeypatch, ["abc"], conclusion="x" * CONTEXT)
    assert 0 < len(longer.conclusion) == len(whole.conclusion) - 1
    first = write(short, monkeypatch, ["ab"], conclusion="x" * len(whole.conclusion))
    assert first.conclusion == whole.conclusion
    assert write(short, monkeypatch, ["ab"], conclusion=f"xy{END}z").conclusion == drawn(short, f"xy{END}")


def test_a_prompt_leaves_room_for_a_token_or_is_refused(short: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match=f"leaves no room for a token after it in the context of {CONTEXT}"):
        write(short, monkeypatch, ["a"], prompt=tuple([5] * CONTEXT))
    found = write(short, monkeypatch, ["a"], prompt=tuple([5] * (CONTEXT - 1)))
    assert (found.rounds, found.drawn) == (0, 0)
