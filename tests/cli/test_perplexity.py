"""``intact perplexity`` and the computation behind it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.checkpoints.catalogue import DEFAULT
from intact.evaluate.perplexity import cut, perplexity
from intact.numerics.sampling import LOGPROB_SCALE
from support.speaker import SENTENCE, Tokenizer


class Recorder:
    """A scorer whose log-probabilities tell the place in the window; keeps the windows."""

    def __init__(self):
        self.windows = []

    def logprobs(self, tokens):
        self.windows.append(list(tokens))
        return -np.arange(1, len(tokens), dtype=np.int64) * LOGPROB_SCALE // 64


@given(st.integers(4, 40), st.integers(0, 200), st.booleans())
def test_windows_tile_the_text(context, count, with_bos):
    tokens = list(range(10, 10 + count))
    windows = list(cut(tokens, context, bos=1 if with_bos else None))
    assert len(windows) == count // context
    if with_bos:
        assert all(window[0] == 1 for window in windows)
    joined = [token for start, window in enumerate(windows) for token in [tokens[start * context], *window[1:]]]
    assert joined == tokens[: len(joined)]


def test_the_second_half_of_each_window_is_scored_as_llama_cpp_does():
    model = Recorder()
    result = perplexity(model, list(range(100, 130)), context=8, bos=1)
    assert model.windows == [
        [1, 101, 102, 103, 104, 105, 106, 107],
        *[[1, *range(start + 1, start + 8)] for start in (108, 116)],
    ]
    # positions 4, 5, 6 of each window predict tokens 5, 6, 7: n_ctx - n_ctx / 2 - 1 of them
    assert (result.windows, result.tokens) == (3, 9)
    assert result.total == -3 * (5 + 6 + 7) * LOGPROB_SCALE // 64
    assert result.nats == 6 / 64
    assert result.perplexity == math.exp(6 / 64)


def test_all_positions():
    result = perplexity(Recorder(), list(range(16)), context=8, all_positions=True)
    assert result.tokens == 14
    assert result.total == -2 * 28 * LOGPROB_SCALE // 64


@given(st.lists(st.integers(-(40 << 24), 0), min_size=4, max_size=30))
def test_the_error_is_that_of_the_mean(values):
    class Fixed:
        def logprobs(self, tokens):
            return np.array(values, np.int64)

    result = perplexity(Fixed(), [0] * (len(values) + 1), context=len(values) + 1, all_positions=True)
    nats = -np.array(values) / LOGPROB_SCALE
    assert result.nats == pytest.approx(nats.mean())
    expected = math.exp(nats.mean()) * nats.std(ddof=1) / math.sqrt(len(nats))
    assert result.error == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 3}, "context must be at least 4"),
        ({"windows": 0}, "windows must be at least 1"),
        ({"context": 512}, "has 100 tokens, fewer than a window of 512"),
    ],
)
def test_impossible_windows_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        perplexity(Recorder(), [0] * 100, **{"context": 8, **options})


def test_a_text_that_no_window_fits_is_refused():
    with pytest.raises(ParameterError, match="the text has 0 tokens, but a window needs at least 4"):
        perplexity(Recorder(), [])


def test_the_command_prints_both_forms(intact_command, speaker, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(SENTENCE * 4)
    result = intact_command("perplexity", "-m", DEFAULT, text, "--context", "16")
    assert result.out.startswith("perplexity 2.7183 +- 0.0000")
    assert "no first token added" in result.out
    speaker.tokenizer = Tokenizer(adds_bos=True)
    facts = intact_command("perplexity", "-m", DEFAULT, text, "--context", "16", "--windows", "2", "--json").json
    assert (facts["windows"], facts["tokens"], facts["bos"]) == (2, 14, 1)
    assert facts["logprob_total"] == -14 * facts["logprob_scale"]


def test_a_text_that_is_not_utf8_is_refused(intact_command, speaker, tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes(b"abc\xe9")
    result = intact_command("perplexity", "-m", DEFAULT, text)
    assert result.code == 2
    assert "text.txt is not valid UTF-8: byte 0xe9 at offset 3" in result.err
