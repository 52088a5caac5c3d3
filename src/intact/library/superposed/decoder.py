"""Superposed decoding: several drafts from one forward pass per token, with a mixture of their tokens as input."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import CapacityError, ParameterError
from intact.executors.settings import make_alike
from intact.library.model import Model
from intact.library.superposed.ngrams import NGrams
from intact.library.superposed.request import SuperposedDraft, SuperposedRequest, check_fits
from intact.models.aspects.step import SequenceChunk
from intact.models.layers import outer_program, stream_program
from intact.models.ops import AllGather
from intact.numerics.fixed import rshift
from intact.numerics.functions import LN2, LOG2E, exp2_neg, log2_each, log2_fixed
from intact.numerics.sampling import DECIMALS, Sampling, make_sampling, millionths, top, weights
from intact.receipts.source import PromptSource

VERSION: Final = 1
"""Version of the definition (docs/spec/superposed.md); increased whenever the resulting drafts change."""
UNKNOWN: Final = 200 << 24
"""Penalty (nats, Q24) on all continuations of a draft if none of them occurs in the n-grams."""
_CHUNK: Final = 64
_LARGEST: Final = 1 << 47


class _Partial(NamedTuple):
    tokens: tuple[int, ...]
    score: int


class SuperposedDecoder:
    """Generates drafts with a model by superposed decoding (Shen et al. 2024, arXiv 2405.18400; docs/superposed.md).

    The weights are loaded a second time, so the model itself remains available. The decoder is a context manager;
    `close` frees its weights.

    Parameters
    ----------
    model : Model
        A model in one process, in an integer profile.
    ngrams : NGrams, optional
        N-grams of texts that drafts should resemble; the attribute may be replaced between drafts.

    Raises
    ------
    ParameterError
        If the model runs in several processes or in floating point, or cannot be split between embedding and layers.
    """

    def __init__(self, model: Model, ngrams: NGrams | None = None) -> None:
        program = getattr(model.executor, "program", None)
        if program is None:
            raise ParameterError("superposed decoding needs a model in a single process: load it without parallelism")
        if model.executor.profile == "fp32":
            raise ParameterError("superposed decoding is defined only for integers: load the model in the profile int8")
        self.model, self.ngrams = model, ngrams
        self._rows: dict[int, NDArray[np.int64]] = {}
        self._read: list[int] = []
        self._mixed: NDArray[np.int64] | None = None
        with ExitStack() as stack:
            self._embedding = make_alike(model.executor, outer_program(program), self._note)
            stack.callback(self._embedding.close)
            self._embedding.reserve_pages(1)
            self._layers = make_alike(model.executor, stream_program(program), self._superpose)
            stack.callback(self._layers.close)
            self._close = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the weights and pages."""
        self._close.close()

    def write(
        self,
        prompt: str | Sequence[int],
        n: int = 3,
        max_tokens: int = 10,
        *,
        temperature: float = 0.06,
        alpha: float = 0.54,
        candidates: int | None = None,
    ) -> list[SuperposedDraft]:
        """Generate drafts that continue a prompt; each token position takes one row of a step for all drafts together.

        Parameters
        ----------
        prompt : str or sequence of int
            A string or token ids.
        n : int
            Number of open drafts kept, at most 64; up to `n` ended drafts are kept as well.
        max_tokens : int
            Maximum number of tokens per draft.
        temperature : float
            Temperature of the distribution that tokens are taken from; above 0, with at most 6 decimals.
        alpha : float
            Weight of the n-grams, from 0 to 1; ignored without n-grams.
        candidates : int, optional
            Number of likeliest tokens considered as continuations, at most 1,024; by default three per draft.

        Returns
        -------
        list of SuperposedDraft
            At most `n` drafts, best score first; on ties ended drafts come first, then earlier ones.

        Raises
        ------
        ParameterError
            If a parameter is invalid, or prompt and drafts exceed the context.
        CapacityError
            If there is not enough memory for the KV cache.
        """
        request = self.request(prompt, n, max_tokens, temperature=temperature, alpha=alpha, candidates=candidates)
        return self.run(request)

    def request(
        self,
        prompt: str | Sequence[int],
        n: int = 3,
        max_tokens: int = 10,
        *,
        temperature: float = 0.06,
        alpha: float = 0.54,
        candidates: int | None = None,
    ) -> SuperposedRequest:
        """Return the request that `write` runs; parameters and errors are the same as in `write`."""
        request = SuperposedRequest(
            prompt=tuple(self.model.tokenizer.encode(prompt) if isinstance(prompt, str) else map(int, prompt)),
            n=n,
            max_tokens=max_tokens,
            temperature=temperature,
            alpha=alpha,
            candidates=3 * n if candidates is None else candidates,
            source=PromptSource.of_text(prompt) if isinstance(prompt, str) else None,
        )
        return request if self.ngrams is not None else replace(request, alpha=0)

    def run(self, request: SuperposedRequest) -> list[SuperposedDraft]:
        """Generate the drafts of a request; result and errors are the same as in `write`."""
        check_fits(self.model, request)
        tokens, n, max_tokens = list(request.prompt), request.n, request.max_tokens
        self._reserve(len(tokens) + max_tokens)
        heat = make_sampling(request.temperature)
        share = millionths(request.alpha) if self.ngrams is not None else 0
        open_drafts, ended = [_Partial((), 0)], list[_Partial]()
        logits = self._prefill(tokens)
        for step in range(max_tokens):
            found = _likeliest(logits, heat, request.candidates)
            grown = [
                _Partial((*draft.tokens, token), draft.score + score)
                for draft in open_drafts
                for token, score in self._scored([*tokens, *draft.tokens], found, share)
            ]
            best = sorted(grown, key=lambda draft: -draft.score)[: 2 * n]
            ends = self.model.tokenizer.eos_ids
            ended = sorted([*ended, *[one for one in best if one.tokens[-1] in ends]], key=lambda one: -one.score)[:n]
            open_drafts = [one for one in best if one.tokens[-1] not in ends][:n]
            if not open_drafts or step + 1 == max_tokens:
                break
            logits = self._step(len(tokens) + step, open_drafts)
        both = [(draft, True) for draft in ended] + [(draft, False) for draft in open_drafts]
        both.sort(key=lambda one: -one[0].score)
        return [SuperposedDraft(one.tokens, self._text(one.tokens), one.score, over) for one, over in both[:n]]

    def _text(self, tokens: Sequence[int]) -> str:
        stream = self.model.tokenizer.stream()
        return "".join([*map(stream.push, tokens), stream.flush()])

    def _scored(self, text: list[int], found: list[tuple[int, int]], share: int) -> list[tuple[int, int]]:
        """Return the possible next tokens of a draft with their scores, likeliest first."""
        if self.ngrams is None:
            return found
        known = {token: self.ngrams.share(text, token) for token, _ in found} if share else {}
        own = [(token, (DECIMALS - share) * score // DECIMALS) for token, score in found]
        if share and not any(known.values()):
            return [(token, score - UNKNOWN) for token, score in own]
        if not share:
            return own
        return [(token, score + share * _ln(known[token]) // DECIMALS) for token, score in own if known[token]]

    def _prefill(self, tokens: list[int]) -> NDArray[np.int32]:
        self._mixed = None
        self._rows.clear()  # a text needs few rows; all tokens' rows would be as large as the embedding
        logits = np.zeros((0, 0), np.int32)
        for start in range(0, len(tokens), _CHUNK):
            part = tokens[start : start + _CHUNK]
            last = start + len(part) == len(tokens)
            logits = self._run(start, part, np.array([len(part) - 1] if last else [], np.int64))
        return np.array(logits[0], np.int32)

    def _step(self, position: int, drafts: Sequence[_Partial]) -> NDArray[np.int32]:
        """Run one row whose input mixes the drafts' last tokens, weighted by the drafts' probabilities."""
        self._mixed = self._mixture(drafts)
        return np.array(self._run(position, [drafts[0].tokens[-1]], np.zeros(1, np.int64))[0], np.int32)

    def _run(self, position: int, tokens: Sequence[int], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        pages = np.arange(-(-(position + len(tokens)) // self._layers.page_size), dtype=np.int32)
        chunk = SequenceChunk(position, np.array(tokens, np.int32), pages, adapter=self.model.adapter_number())
        return self._layers.step([chunk], wanted)

    def _mixture(self, drafts: Sequence[_Partial]) -> NDArray[np.int64]:
        """Return the mixture of the embedding rows of the drafts' last tokens: rshift(sum of a * row, 15)."""
        parts = mixing_weights([draft.score for draft in drafts])
        missing = sorted({draft.tokens[-1] for draft in drafts} - self._rows.keys())
        for start in range(0, len(missing), self._embedding.page_size):
            self._read = missing[start : start + self._embedding.page_size]
            chunk = SequenceChunk(0, np.array(self._read, np.int32), np.zeros(1, np.int32))
            self._embedding.step([chunk], np.zeros(0, np.int64))
        rows = np.array([self._rows[draft.tokens[-1]] for draft in drafts])
        return np.asarray(rshift((rows * np.array(parts, np.int64)[:, None]).sum(axis=0), 15), np.int64)

    def _note(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Store the embedding's rows."""
        if int(np.abs(whole).max(initial=0)) >= _LARGEST:
            raise ParameterError("a row of the embedding is too large to be mixed")
        self._rows.update({token: row.copy() for token, row in zip(self._read, whole, strict=True)})

    def _superpose(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Replace the embedding's row with the mixture."""
        if self._mixed is not None:
            whole[0] = self._mixed

    def _reserve(self, positions: int) -> None:
        try:
            self._layers.reserve_pages(-(-positions // self._layers.page_size))
        except MemoryError:
            raise CapacityError(f"not enough memory for the KV cache of {positions} tokens") from None


def mixing_weights(scores: Sequence[int]) -> list[int]:
    """Return the weight of each draft in the next input; the weights sum to 2^15.

    They are the softmax of the scores (nats, Q24), rounded down; the remainder goes to the first draft with the best
    score.
    """
    best = max(scores)
    gaps = np.array([min(best - score, 32 << 24) for score in scores], np.int64)
    weight = [int(one) for one in exp2_neg(rshift(rshift(gaps, 8) * LOG2E, 30))]
    parts = [(one << 15) // sum(weight) for one in weight]
    parts[list(scores).index(best)] += (1 << 15) - sum(parts)
    return parts


def _likeliest(logits: NDArray[np.int32], heat: Sampling, count: int) -> list[tuple[int, int]]:
    """Return up to `count` tokens, likeliest first, with log-probabilities (Q24) normalised over them."""
    count = min(count, len(logits))
    large = np.flatnonzero(logits >= np.partition(logits, -count)[-count])  # few; with ties, slightly more than count
    kept = large[top(logits[large], count)]
    weight = weights(logits[kept], heat)
    kept, weight = kept[weight > 0], weight[weight > 0]
    logs = log2_each(weight) - log2_fixed(int(weight.sum()))
    return [(int(token), _nats(int(log))) for token, log in zip(kept, logs, strict=True)]


def _nats(log2: int) -> int:
    """Convert a base-2 logarithm in Q28 to a natural logarithm in Q24."""
    return (log2 * LN2 + (1 << 33)) >> 34


def _ln(share: int) -> int:
    """Return the natural logarithm (Q24) of a number in Q30."""
    return _nats(log2_fixed(share) - (30 << 28))
