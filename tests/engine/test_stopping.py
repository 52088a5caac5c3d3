"""The rule that ends hopeless texts: the exact mean, the place where it ends a text, what else may end it there."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact.engine.completion import Completion
from intact.engine.sampling.stopping import is_unlikely
from intact.library import Model
from support.tiny import write_tiny

PROMPT = [5, 60, 7, 80]
DRAWN = 40
PLAIN: dict[str, Any] = {"temperature": 1.2, "max_tokens": DRAWN, "ignore_eos": True, "logprobs": True}


@given(
    st.lists(st.integers(-(1 << 31), 0), max_size=20), st.integers(-(10**8), 0), st.integers(1, 12), st.integers(-1, 1)
)
def test_the_mean_is_compared_exactly(logprobs: list[int], bound: int, window: int, nudge: int) -> None:
    last = logprobs[-window:]
    wanted = len(last) == window and Fraction(sum(last), window << 24) < Fraction(bound, 10**6)
    assert is_unlikely(logprobs, bound, window) == (wanted and bound < 0)
    equal = [(bound << 24) // 10**6] * window  # as near to the bound as a mean can be
    equal[0] += nudge
    mean = Fraction(sum(equal), window << 24)
    assert is_unlikely(equal, bound, window) == (bound < 0 and mean < Fraction(bound, 10**6))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return intact.load(write_tiny(tmp_path_factory.mktemp("tiny") / "llama.gguf", "llama", context=64), threads=1)


def texts(model: Model, **asked: Any) -> list[Completion]:
    return model.generate([PROMPT], 12, **(PLAIN | asked))[0]


def place(logprobs: tuple[int, ...], bound: float, window: int) -> int | None:
    """Return after how many tokens the mean of the last ones is first below the bound."""
    means = {n: Fraction(sum(logprobs[n - window : n]), window << 24) for n in range(window, len(logprobs) + 1)}
    return next((n for n, mean in means.items() if mean < Fraction(str(bound))), None)


@pytest.mark.parametrize("window", [1, 5, 16])
def test_a_text_ends_with_the_first_token_at_which_the_mean_is_below(model: Model, window: int) -> None:
    whole = texts(model)
    lengths = set()
    for bound in (-3.5, -4.25, -5.125):
        for full, cut in zip(whole, texts(model, stop_mean_below=bound, stop_window=window), strict=True):
            assert full.logprobs is not None
            n = place(full.logprobs, bound, window)
            assert cut.finish == ("length" if n is None else "unlikely")
            assert (cut.tokens, cut.logprobs) == (full.tokens[:n], full.logprobs[:n])
            assert cut.text == model.tokenizer.decode(list(cut.tokens), continuation=True)  # with that token
            lengths.add(len(cut.tokens))
    assert min(lengths) >= window
    assert len(lengths) > 3


def test_an_end_of_its_own_comes_first_and_a_limit_last(model: Model) -> None:
    bound = {"stop_mean_below": -0.000001, "stop_window": 6}
    short = texts(model, **bound)
    assert {(one.finish, len(one.tokens)) for one in short} == {("unlikely", 6)}
    assert {one.finish for one in texts(model, **bound, max_tokens=6)} == {"unlikely"}
    assert {one.finish for one in texts(model, **bound, max_tokens=5)} == {"length"}
    stopped = texts(model, **bound, stop=short[3].text)
    assert (stopped[3].finish, stopped[3].tokens) == ("stop", short[3].tokens)
    ended = texts(model, **bound, ignore_eos=False, logit_bias={2: 30.0}, min_tokens=5)
    assert {(one.finish, len(one.tokens)) for one in ended} == {("stop", 6)}


def test_a_mix_is_judged_by_the_row_that_is_drawn_from(model: Model) -> None:
    mixed: dict[str, Any] = {"mix": {"name": "guidance", "scale": 1.5}, "shadow": [[9, 9, 40]]}
    whole, cut = texts(model, **mixed), texts(model, **mixed, stop_mean_below=-4.25, stop_window=5)
    places = [place(one.logprobs or (), -4.25, 5) for one in whole]
    assert [one.tokens for one in cut] == [one.tokens[:n] for one, n in zip(whole, places, strict=True)]
    assert any(places)
