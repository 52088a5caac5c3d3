"""Verification of training receipts: replay every step, or those that a nonce chooses, and compare all digests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from intact._base.errors import ParameterError, ReceiptError
from intact.receipts.identity import root_of
from intact.train.base import Base
from intact.train.examples import Row, row_digest
from intact.train.loop.supervised import Trainer
from intact.train.rationals import rational
from intact.train.receipt.chain import state_root
from intact.train.receipt.document import TrainingReceipt
from intact.train.running import check_rows, make_header
from intact.train.settings import TrainSettings
from intact.train.state import StepLink, TrainState, read_tensors

TAG: Final = b"intact-step-check-1\n"
MEANINGS: Final = {
    "batch": "the step read other rows than the header's order gives",
    "gradient": "the sum of the step's gradients differs",
    "state": "the state after the step differs",
}


@dataclass(frozen=True)
class TrainingVerdict:
    """The result of a verification.

    Attributes
    ----------
    outcome : str
        "true", "false", "partial" (true as far as checked) or "unverifiable".
    reason : str
        For other outcomes than "true": what differs, or what was not checked.
    step : int or None
        First step that differs.
    part : str or None
        Part of its link that differs: "batch", "gradient" or "state".
    checked : tuple of int
        Steps that were replayed.
    missed : Fraction
        Chance that one false step is not among the steps chosen; 0 after a whole replay.
    displacements : mapping
        Between neighbouring kept states, the largest change of an element, in units of the bound on true steps.
    """

    outcome: str
    reason: str = ""
    step: int | None = None
    part: str | None = None
    checked: tuple[int, ...] = ()
    missed: Fraction = Fraction(0)
    displacements: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            "step": self.step,
            "part": self.part,
            "checked": len(self.checked),
            "missed": float(self.missed),
            "displacements": dict(self.displacements),
        }


def choose_steps(receipt: TrainingReceipt, nonce: str, count: int, among: Sequence[int]) -> list[int]:
    """Return the steps to replay, ascending: those with the smallest SHA-256 of nonce, chain and step.

    Parameters
    ----------
    among : sequence of int
        Steps whose previous state is known.
    """
    text = TAG + nonce.encode() + b"\n" + receipt.chain

    def rank(step: int) -> bytes:
        return hashlib.sha256(text + step.to_bytes(8, "little")).digest()

    return sorted(sorted(among, key=rank)[:count])


def verify_training(
    receipt: TrainingReceipt,
    base: Base,
    rows: Sequence[Row],
    *,
    teacher: Base | None = None,
    states: Path | None = None,
    sample: int | None = None,
    nonce: str | None = None,
    threads: int | None = None,
    tier: str | None = None,
    gradient_tier: str | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> TrainingVerdict:
    """Verify a receipt against a model and data.

    Parameters
    ----------
    rows : sequence of Row
        Training data after templating; the receipt's digest decides whether they are the right ones.
    states : path, optional
        Folder of kept states, for single steps.
    sample, nonce
        Number of steps to replay, and the text that chooses them; all by default.
    on_step : callable, optional
        Called with the number of steps replayed and to replay.

    Raises
    ------
    ParameterError
        If a sample is wanted without a nonce or states.
    """
    settings = TrainSettings.from_dict(receipt.header.settings)
    if problem := _other_inputs(receipt, base, rows, teacher):
        return TrainingVerdict("unverifiable", problem)
    try:
        check_rows(base, rows, settings, teacher)
    except ParameterError as error:
        return TrainingVerdict("false", str(error))
    trainer = Trainer(base, rows, settings, teacher=teacher, threads=threads, tier=tier, gradient_tier=gradient_tier)
    try:
        start = trainer.start()
        made = make_header(trainer, start, (), teacher).to_document()
        stored = receipt.header.to_document()
        made["data"]["sources"] = stored["data"]["sources"]
        if made != stored:
            wrong = ", ".join(name for name in made if made[name] != stored[name])
            return TrainingVerdict("false", f"the header's {wrong} cannot result from these settings, model and data")
        if sample is None:
            return _replay(receipt, trainer, start, on_step)
        if nonce is None or states is None:
            raise ParameterError("a sample of steps needs a nonce, and the states that the maker kept")
        return _replay_some(
            receipt, trainer, start=start, kept=_Kept(receipt, states), chosen=(sample, nonce), on_step=on_step
        )
    finally:
        trainer.close()


def _other_inputs(receipt: TrainingReceipt, base: Base, rows: Sequence[Row], teacher: Base | None) -> str | None:
    """Say which input is not the receipt's."""
    header, name = receipt.header, receipt.header.settings["hash"]
    for model, want, what in ((base, header.base, "model"), (teacher, header.teacher, "teacher")):
        if (model is None) != (want is None):
            return f"the run used {'no' if want is None else 'a'} {what}"
        if (
            model is not None
            and want is not None
            and _plain(model.digests(name).to_document()) != _plain(want.to_document())
        ):
            return f"{model.path} is not the receipt's {what}: their digests differ"
    if not rows:
        return "there are no rows of data"
    root = root_of(name, [row_digest(name, index, row) for index, row in enumerate(rows)])
    if len(rows) != header.data["rows"] or root.hex() != header.data["root"]:
        return "the data are not the receipt's: their root differs"
    return None


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "name"}


def _difference(found: StepLink, claimed: StepLink) -> str | None:
    return next((name for name in StepLink._fields if getattr(found, name) != getattr(claimed, name)), None)


def _replay(
    receipt: TrainingReceipt,
    trainer: Trainer,
    state: TrainState,
    on_step: Callable[[int, int], None] | None,
) -> TrainingVerdict:
    """Run all steps from the base."""
    for number, claimed in enumerate(receipt.links, 1):
        state = trainer.step(state).state
        if part := _difference(state.links[-1], claimed):
            return TrainingVerdict("false", MEANINGS[part], number, part, checked=tuple(range(1, number + 1)))
        if on_step is not None:
            on_step(number, len(receipt.links))
    checked = tuple(range(1, len(receipt.links) + 1))
    if len(checked) < trainer.settings.steps:
        reason = f"the run stopped after {len(checked)} of {trainer.settings.steps} steps; those are true"
        return TrainingVerdict("partial", reason, checked=checked)
    return TrainingVerdict("true", checked=checked)


class _Kept:
    """The states that the maker of a receipt kept, by step; the receipt's digests decide whether they are its own."""

    def __init__(self, receipt: TrainingReceipt, folder: Path) -> None:
        self._receipt, self._folder = receipt, folder
        self.steps = [step for step in range(1, len(receipt.links) + 1) if self._file(step).is_file()]

    def _file(self, step: int) -> Path:
        return self._folder / f"state-{step}.safetensors"

    def load(self, step: int) -> TrainState:
        """Read a state.

        Raises
        ------
        ReceiptError
            If it is not the receipt's.
        """
        tensors = read_tensors(self._file(step))
        own = {name.removeprefix("tensor."): x for name, x in tensors.items() if name.startswith("tensor.")}
        moments = {name.removeprefix("moment."): x for name, x in tensors.items() if name.startswith("moment.")}
        root = state_root(self._receipt.header.settings["hash"], step, own, moments)
        if root != self._receipt.links[step - 1].state:
            raise ReceiptError(f"{self._file(step)} does not have the digest of step {step}")
        return TrainState(step, own, moments, list(self._receipt.links[:step]))


def _replay_some(
    receipt: TrainingReceipt,
    trainer: Trainer,
    start: TrainState,
    kept: _Kept,
    chosen: tuple[int, str],
    on_step: Callable[[int, int], None] | None,
) -> TrainingVerdict:
    """Replay the chosen steps, each from the kept state before it, and compare neighbouring kept states."""
    known = [0, *kept.steps]
    among = [step + 1 for step in known if step < len(receipt.links)]
    steps = choose_steps(receipt, chosen[1], chosen[0], among)
    for done, number in enumerate(steps, 1):
        before = start if number == 1 else kept.load(number - 1)
        after = trainer.step(before).state
        if part := _difference(after.links[-1], receipt.links[number - 1]):
            return TrainingVerdict("false", MEANINGS[part], number, part, checked=tuple(steps[:done]))
        if on_step is not None:
            on_step(done, len(steps))
    gaps = displacements(trainer.settings, start, kept)
    for place, size in gaps.items():
        if size > 1:
            return TrainingVerdict(
                "false", f"steps {place} moved an element {size:.3g} times as far as true steps can", displacements=gaps
            )
    missed = 1 - Fraction(len(steps), max(1, len(receipt.links)))
    reason = (
        f"{len(steps)} of {len(receipt.links)} steps were replayed; one false step would be missed with a chance of "
        f"{float(missed):.3f}, and one false step can replace all weights unless states are kept densely"
    )
    return TrainingVerdict("partial", reason, checked=tuple(steps), missed=missed, displacements=gaps)


def displacements(settings: TrainSettings, start: TrainState, kept: _Kept) -> dict[str, float]:
    """Return the largest change of an element between neighbouring kept states, in units of the bound on true steps.

    Empty if the optimiser has no such bound. Rounding may exceed the bound by 1 part in 1,000, which is allowed for.
    """
    found: dict[str, float] = {}
    if settings.optimiser.bound(1) is None:
        return found
    rate, before = rational("rate", settings.rate), start
    for step in kept.steps:
        after = kept.load(step)
        most = 0.0
        for number in range(before.step + 1, step + 1):
            factor = settings.optimiser.bound(number)
            assert factor is not None
            most += float(rate * settings.schedule.factor(number, settings.steps)) * factor
        sizes = [
            float(np.abs(after.tensors[name].astype(np.float64) - before.tensors[name]).max()) for name in after.tensors
        ]
        found[f"{before.step + 1}-{step}"] = max(sizes) / (most * 1.001 + 1e-12)
        before = after
    return found
