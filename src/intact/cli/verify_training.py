"""``intact verify train.receipt``: replay all or some steps of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.text import Text

from intact._base.errors import ReceiptError
from intact.cli import fetch
from intact.cli.output import bar, emit, note, one_line, out

if TYPE_CHECKING:
    from intact.train.replay import TrainingVerdict

BEGINNING: Final = b'{"header":{'
"""First bytes of a training receipt, whose JSON is canonical."""
ROWS: Final = "rows.jsonl"
STATES: Final = "states"
_NAMES: Final = {
    "true": ("true", "green"),
    "partial": ("true as far as checked", "yellow"),
    "false": ("FALSE", "bold red"),
    "unverifiable": ("cannot verify", "yellow"),
}


class StepSample(NamedTuple):
    """Number of steps to replay, and the text that chooses them."""

    steps: int
    nonce: str


def is_training(path: Path) -> bool:
    """Return true if a file begins like a training receipt."""
    try:
        with path.open("rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING
    except OSError:
        return False


def check_training(
    path: Path,
    model: str,
    others: Mapping[str, str],
    data: Path | None,
    *,
    sample: StepSample | None = None,
    threads: int | None = None,
) -> TrainingVerdict:
    """Verify a training receipt; data and states are looked for in its folder, and their digests decide.

    Parameters
    ----------
    others : mapping
        Models by name; "teacher" is the teacher's.
    data : Path, optional
        Rows after templating, as in the run's rows.jsonl.

    Raises
    ------
    IntactError
        If a file cannot be read.
    """
    from intact.receipts.canonical import MOST_BYTES
    from intact.train.base import Base
    from intact.train.receipt.document import TrainingReceipt
    from intact.train.replay import TrainingVerdict, verify_training
    from intact.train.run_folder import read_rows

    if path.stat().st_size > MOST_BYTES:
        raise ReceiptError(f"{path} has {path.stat().st_size:,} bytes; expected at most {MOST_BYTES:,}")
    try:
        receipt = TrainingReceipt.load(path)
    except ReceiptError as error:
        return TrainingVerdict("unverifiable", str(error))
    rows_file = data or path.parent / ROWS
    if not rows_file.is_file():
        return TrainingVerdict("unverifiable", f"{rows_file} is missing; name the rows of the run with --data")
    rows = read_rows(rows_file)
    teacher = None if receipt.header.teacher is None else others.get("teacher")
    if receipt.header.teacher is not None and teacher is None:
        return TrainingVerdict("unverifiable", "the run had a teacher; name it with --with teacher=MODEL")
    with Base.open(fetch.locate(model)) as base, bar() as progress:
        task = progress.add_task("replaying steps", total=len(receipt.links) if sample is None else sample.steps)
        other = None if teacher is None else Base.open(fetch.locate(teacher))
        try:
            return verify_training(
                receipt,
                base,
                rows,
                teacher=other,
                states=path.parent / STATES,
                sample=None if sample is None else sample.steps,
                nonce=None if sample is None else sample.nonce,
                threads=threads,
                on_step=lambda done, total: progress.update(task, completed=done, total=total),
            )
        finally:
            if other is not None:
                other.close()


def print_verdict(path: Path, verdict: TrainingVerdict, json: bool) -> None:
    """Print a verdict for people, or as JSON."""
    if json:
        emit({"file": str(path), "kind": "training", **verdict.to_dict()})
        return
    name, style = _NAMES[verdict.outcome]
    where = "" if verdict.step is None else f"  step {verdict.step}, {verdict.part}: "
    text = verdict.reason if verdict.reason else f"{len(verdict.checked)} steps replayed"
    out().print(Text.assemble(one_line(f"{path}  "), (name, style), one_line(f"{where or '  '}{text}")), soft_wrap=True)
    for steps, size in verdict.displacements.items():
        note(f"steps {steps}: the largest change of an element is {size:.3g} of what true steps can make")
