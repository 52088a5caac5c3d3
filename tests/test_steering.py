"""Steering vectors: differences of hidden states, which agree with an independent forward pass."""

from pathlib import Path

import numpy as np
import pytest

import intact
from intact._base.errors import ParameterError
from intact.library.steering import TextPair, steering_vectors, write_vectors
from support.tiny import write_tiny
from test_fidelity import FloatModel

PAIRS = [TextPair("a b c", "c a"), TextPair("the cat", "the cat sat on the mat and the dog ran " * 12)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", context=512)


class Streams(FloatModel):
    """A float64 forward pass that keeps the residual stream behind each layer."""

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        if name.endswith("attn_norm") or name == "output_norm":
            self.seen[name] = x[-1].copy()
        return super().norm(x, name)

    def behind(self, tokens: list[int], layer: int) -> np.ndarray:
        self.seen: dict[str, np.ndarray] = {}
        self.logits(tokens)
        return self.seen.get(f"blk.{layer + 1}.attn_norm", self.seen["output_norm"])


def test_a_vector_is_the_mean_difference_behind_its_layer(tiny: Path) -> None:
    model, streams = intact.load(tiny), Streams(tiny)
    layers = range(model.program.layers)
    found = steering_vectors(tiny, PAIRS, layers)
    for layer in layers:
        each = [[streams.behind(model.tokenizer.encode(text), layer) for text in pair] for pair in PAIRS]
        wanted = np.mean([toward - away for toward, away in each], axis=0)
        assert np.abs(found[layer] - wanted).max() < 1e-4 * np.ptp(wanted)


def test_threads_and_layers_beside_it_change_no_bit(tiny: Path) -> None:
    alone = steering_vectors(tiny, PAIRS, [0], threads=1)[0]
    assert np.array_equal(steering_vectors(tiny, PAIRS, [1, 0], threads=3)[0], alone)


def test_vectors_of_no_layer_are_refused(tiny: Path) -> None:
    with pytest.raises(ParameterError, match="layers is empty"):
        steering_vectors(tiny, [TextPair("a", "b")], [])


def test_vectors_are_written_to_a_path_that_is_a_text(tiny: Path, tmp_path: Path) -> None:
    write_vectors(str(tmp_path / "a.gguf"), steering_vectors(tiny, [TextPair("a", "b")], [0]), "llama")
    assert (tmp_path / "a.gguf").stat().st_size > 0


def test_texts_beyond_the_context_are_refused(tiny: Path) -> None:
    with pytest.raises(ParameterError, match="does not fit in the context of 512 tokens"):
        steering_vectors(tiny, [TextPair("a " * 4000, "b")], [0])
