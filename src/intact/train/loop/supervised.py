"""A step of supervised training: the rows of a batch, their summed gradient, and the optimiser's move."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from intact.numerics.fp32 import Floats
from intact.train.arithmetic.integer_products import IntegerProducts
from intact.train.arithmetic.products import Products, tiers
from intact.train.arithmetic.sums import FRACTION, GradientSum, as_floats, clip_factor, norm
from intact.train.arithmetic.weights import FloatWeights
from intact.train.base import Base
from intact.train.draws import batch_rows
from intact.train.examples import Row, row_digest, sequences_of
from intact.train.loop.forward import EngineForward, tokens_of
from intact.train.loop.gradient import Backward
from intact.train.loop.scoring import LossScorer
from intact.train.pieces import LOGPROB_FRACTION, OptimiserSlot, total_size
from intact.train.rationals import rational, rounded
from intact.train.receipt.chain import batch_digest, state_root, tensors_root
from intact.train.settings import TrainSettings
from intact.train.state import StepLink, TrainState


class StepResult(NamedTuple):
    """The state after a step, its mean loss (nats), the norm of its gradient, its tokens, and its rate."""

    state: TrainState
    loss: float
    norm: float
    clipped: bool
    tokens: int
    rate: float


class BatchGradient(NamedTuple):
    """The summed gradient of some rows, their summed loss (Q24), and the tokens read."""

    total: GradientSum
    loss: int
    tokens: int


class Trainer:
    """Runs steps; equal states and settings give equal results, however the work is divided.

    Parameters
    ----------
    base : Base
    rows : sequence of Row
    teacher : Base, optional
        For the loss `distil`.
    threads, tier
        Of the executor. `gradient_tier` is the tier of the gradient's products (`intact.train.arithmetic.products`).
    parts : int
        Number of parts into which a batch is divided; each has its own sum.
    arrange : callable, optional
        Changes the order of the rows within a batch, for tests of invariance.
    """

    def __init__(
        self,
        base: Base,
        rows: Sequence[Row],
        settings: TrainSettings,
        *,
        teacher: Base | None = None,
        threads: int | None = None,
        tier: str | None = None,
        gradient_tier: str | None = None,
        parts: int = 1,
        arrange: Callable[[list[int]], list[int]] | None = None,
    ) -> None:
        self.base, self.rows, self.settings = base, rows, settings
        self._integer = IntegerProducts(gradient_tier, settings.bits) if settings.gradient == "int8" else None
        self.products = Products(None if self._integer and gradient_tier not in tiers() else gradient_tier)
        self._parts, self._arrange = parts, arrange or (lambda order: order)
        self._leaves = [row_digest(settings.hash, index, row) for index, row in enumerate(rows)]
        profile = settings.profile
        self._forward = EngineForward(base, profile, settings.bits, threads, tier=tier)
        if settings.parameters.keeps_base:
            self._forward.keep_packed()
        self._reference: EngineForward | None = None
        if settings.loss.needs_reference and settings.parameters.adapter < 0:
            self._reference = EngineForward(base, profile, settings.bits, threads, tier=tier)
            self._reference.open(base.program)
        self._teacher: EngineForward | None = None
        if teacher is not None and settings.loss.needs_teacher:
            self._teacher = EngineForward(teacher, profile, settings.bits, threads, tier=tier)
            self._teacher.keep_packed()
            self._teacher.open(teacher.program)
        self._weights: FloatWeights | None = None
        self._scorer = LossScorer(
            settings.loss,
            self.products,
            forward=self._forward,
            adapter=settings.parameters.adapter,
            reference=self._reference,
            teacher=self._teacher,
        )

    def start(self) -> TrainState:
        """Return the state before the first step."""
        tensors = self.settings.parameters.start(self.base.program, self.settings.seed)
        moments = {
            f"{name}.{suffix}": np.zeros_like(values)
            for name, values in tensors.items()
            for suffix in self.settings.optimiser.moments
        }
        return TrainState(0, tensors, moments)

    def close(self) -> None:
        """Free executors and weights."""
        for forward in (self._forward, self._reference, self._teacher):
            if forward is not None:
                forward.close()

    def batch(self, step: int) -> list[int]:
        """Return the numbers of a step's rows."""
        return batch_rows(self.settings.seed, step, self.settings.batch, len(self.rows))

    def gradient(self, state: TrainState, chosen: Sequence[int], total: int) -> BatchGradient:
        """Return the summed gradient of some rows at a state, of losses divided by `total`."""
        backward = self._place(state.tensors)
        whole, loss, tokens = GradientSum(), 0, 0
        bounds = [len(chosen) * part // self._parts for part in range(self._parts + 1)]
        for first, stop in pairwise(bounds):
            part = GradientSum()
            for number in chosen[first:stop]:
                result = self._scorer.score(self.rows[number], total)
                loss += result.loss
                sequences = sequences_of(self.rows[number])
                tokens += tokens_of(sequences)
                for sequence, run, slopes in zip(sequences, result.runs, result.slopes, strict=True):
                    backward.add(sequence, run, slopes, part)
            whole.merge(part)
        return BatchGradient(whole, loss, tokens)

    def step(self, state: TrainState) -> StepResult:
        """Return the result of the next step.

        Raises
        ------
        CapacityError
            If a gradient is not finite or too large; the message names the tensor.
        """
        settings, number = self.settings, state.step + 1
        chosen = self.batch(number)
        total = total_size(settings.loss, [self.rows[row] for row in chosen])
        found = self.gradient(state, self._arrange(chosen), total)
        sums = {name: found.total.tensors.get(name, np.zeros(w.shape, np.int64)) for name, w in state.tensors.items()}
        length = norm(sums)
        factor = clip_factor(length, settings.most)
        rate = rational("rate", settings.rate) * settings.schedule.factor(number, settings.steps)
        tensors, moments = self._move(state, sums, factor, rounded(rate))
        link = StepLink(
            batch_digest(settings.hash, number, chosen, self._leaves),
            tensors_root(settings.hash, number, sums),
            state_root(settings.hash, number, tensors, moments),
        )
        after = TrainState(number, tensors, moments, [*state.links, link])
        mean = found.loss / (total << LOGPROB_FRACTION)
        return StepResult(
            after,
            mean,
            norm=float(np.ldexp(float(length), -FRACTION)),
            clipped=bool(factor < 1),
            tokens=found.tokens,
            rate=float(rate),
        )

    def held_out(self, state: TrainState, rows: Sequence[Row]) -> tuple[int, int]:
        """Return the summed loss of other rows (nats, Q24), and the number by which to divide it."""
        self._place(state.tensors)
        total = total_size(self.settings.loss, rows)
        return sum(self._scorer.score(row, total, keep=False).loss for row in rows), total

    def _place(self, tensors: Mapping[str, Floats]) -> Backward:
        """Put tensors into the program, and return its derivative."""
        parameters = self.settings.parameters
        program = parameters.place(self.base.program, tensors)
        learned = parameters.learned(program, tensors)
        self._forward.open(program)
        if self._weights is None:
            self._weights = FloatWeights(program, self.products, frozenset(learned), self._integer)
        self._weights.update(program)
        return Backward(self._weights, learned, parameters.adapter)

    def _move(
        self, state: TrainState, sums: Mapping[str, np.ndarray], factor: np.float32, rate: np.float32
    ) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Return the tensors and moments after the optimiser's step."""
        optimiser, tensors, moments = self.settings.optimiser, {}, {}
        for name in sorted(state.tensors):
            own = tuple(state.moments[f"{name}.{suffix}"] for suffix in optimiser.moments)
            slot = OptimiserSlot(state.tensors[name], own, state.step + 1)
            moved = optimiser.move(slot, as_floats(sums[name], factor), rate, self.products)
            tensors[name] = moved.tensor
            for suffix, values in zip(optimiser.moments, moved.moments, strict=True):
                moments[f"{name}.{suffix}"] = values
        return tensors, moments
