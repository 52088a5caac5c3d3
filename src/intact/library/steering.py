"""Steering vectors: the mean difference of hidden states between two kinds of texts (docs/adapters.md).

Activation steering (Azizi et al., arXiv 2507.04742) takes pairs of texts, such as a concise and a verbose solution of
one problem, and averages the difference of the residual stream after a layer at the last token. Added during
generation, the vector steers the output towards the first kind. It is computed in the fp32 profile, whose bits are the
same on every machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.checkpoints.catalogue import resolve
from intact.checkpoints.formats import open_checkpoint
from intact.checkpoints.formats.gguf_writer import pair, write_gguf
from intact.checkpoints.formats.safetensors import Stored
from intact.models import build_program
from intact.models.adapters import STREAM, layer_ends
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import Logits
from intact.models.program import Program
from intact.text import Tokenizer

CHUNK = 256


class TextPair(NamedTuple):
    """Two texts: steering moves generation from the kind of `away` to the kind of `toward`."""

    toward: str
    away: str


def steering_vectors(
    name_or_path: str | os.PathLike[str],
    pairs: Sequence[TextPair],
    layers: Sequence[int],
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> dict[int, NDArray[np.float32]]:
    """Compute a model's steering vectors for the outputs of some layers.

    Parameters
    ----------
    name_or_path
        As for `intact.load`.
    pairs
        Texts exactly as the model reads them, including the chat template; special tokens written in them are
        recognised.
    layers
        Layer numbers, from 0.
    progress
        Called with the number of texts read so far and the total; every text is read once per layer.

    Returns
    -------
    dict
        For each layer the mean of `toward` minus `away`, float32 (width,); differences and mean are computed in
        float64, in order.

    Raises
    ------
    ParameterError
        If there are no pairs or no layers, a text is empty or too long, or the model has no such layer.
    """
    if not pairs:
        raise ParameterError("pairs is empty: give at least one pair of texts")
    if not layers:
        raise ParameterError("layers is empty: give layer numbers, such as [15]")
    with open_checkpoint(Path(resolve(name_or_path))) as checkpoint:
        program, tokenizer = build_program(checkpoint), Tokenizer.from_checkpoint(checkpoint)
        count = len(layer_ends(program))
        for layer in layers:
            if not 0 <= layer < count:
                raise ParameterError(f"layers must lie in [0, {count - 1}], got {layer}")
        read = [[_tokens(tokenizer, text, i, program.context) for text in both] for i, both in enumerate(pairs)]
        found, whole = {}, 2 * len(pairs) * len(layers)
        for number, layer in enumerate(layers):
            states = _States(program, layer, max(len(tokens) for both in read for tokens in both), threads)
            total = np.zeros(program.buffers[STREAM].width)
            for i, (toward, away) in enumerate(read):
                total += states.last(toward).astype(np.float64) - states.last(away)
                progress(2 * (number * len(pairs) + i + 1), whole)
            states.close()
            found[layer] = (total / len(pairs)).astype(np.float32)
        return found


def _tokens(tokenizer: Tokenizer, text: str, i: int, context: int) -> NDArray[np.int32]:
    tokens = np.array(tokenizer.encode(text, most=context), np.int32)
    if not 0 < len(tokens) <= context:
        raise ParameterError(f"pair {i} has a text of {len(tokens)} tokens; expected 1 to {context}")
    return tokens


class _States:
    """Computes the residual stream after a layer: the program up to there, with a head that reads the stream itself."""

    def __init__(self, program: Program, layer: int, longest: int, threads: int | None) -> None:
        from intact.executors.native import NativeExecutor

        head = next(op for op in program.ops if isinstance(op, Logits))
        ops = program.ops[: layer_ends(program)[layer] + 1]
        self._executor = NativeExecutor(replace(program, ops=(*ops, replace(head, source=STREAM))), "fp32", threads)
        self._pages = np.arange(-(-longest // self._executor.page_size), dtype=np.int32)
        self._executor.reserve_pages(len(self._pages))

    def last(self, tokens: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the residual stream at the last token, float32 (width,)."""
        for start in range(0, len(tokens), CHUNK):
            part = tokens[start : start + CHUNK]
            self._executor.step_float([SequenceChunk(start, part, self._pages)], np.array([len(part) - 1]))
        row: NDArray[np.float32] = self._executor.head_inputs(np.zeros(1, np.int64)).view(np.float32)[0].copy()
        return row

    def close(self) -> None:
        """Free the executor's memory."""
        self._executor.close()


def write_vectors(path: str | os.PathLike[str], vectors: Mapping[int, NDArray[np.float32]], model_hint: str) -> None:
    """Write steering vectors as a GGUF control-vector file, which llama.cpp can also read.

    Parameters
    ----------
    model_hint : str
        Architecture of the vectors' model.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    metadata = {
        "general.architecture": "controlvector",
        "controlvector.model_hint": model_hint,
        "controlvector.layer_count": len(vectors),
    }
    names = {f"direction.{layer}": vectors[layer] for layer in sorted(vectors)}
    tensors = [Stored(name, "F32", v.shape, 4 * len(v)) for name, v in names.items()]
    pairs = {key: pair(key, value) for key, value in metadata.items()}
    write_gguf(Path(path), pairs, tensors, lambda name: np.ascontiguousarray(names[name], "<f4").tobytes())
