"""Build the lab's table: the size of each spec and its divergence from the source."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact._base.exact import exp, mean
from intact._base.files import read_text, write_whole
from intact.checkpoints.catalogue import resolve
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor
from intact.models import Program, build_program
from intact.numerics.profiles import Profile, parse_profile
from intact.quantizing import Calibration, check_target, is_calibrated, quantize
from intact.quantizing.divergence import compare
from intact.quantizing.lab.accuracy import ChoiceAccuracy, choose_tasks, right_items
from intact.quantizing.lab.result import LabResult
from intact.quantizing.lab.rows import LabRow, short_name, standings
from intact.quantizing.lab.sources import write_source
from intact.quantizing.lab.speed import measure_speed
from intact.quantizing.logits import scored, window_logits
from intact.quantizing.output import MODEL_FILE
from intact.quantizing.pipeline import RECORD
from intact.quantizing.quantizers import parse_target
from intact.receipts.identity import measure
from intact.tasks.choose import Chosen
from intact.text import Tokenizer

Progress = Callable[[str, int, int], None]
SourceKind = Literal["file", "permuted", "rotated"]
FORMAT: Final = 2
"""Format version of the rows stored in the work folder."""


@dataclass(frozen=True)
class LabPlan:
    """The specs, texts and source of a lab.

    Attributes
    ----------
    model : str or path
    specs : sequence of str
        Specs or mixtures (docs/quantizing.md).
    text, calibrate : path
        The text to score, and the calibration text for quantisers; they should differ.
    work : path
        A folder for logits, statistics and finished rows; an interrupted run resumes from it.
    context, windows : int
        Tokens per window of the text, and number of scored windows: at least 2, because of the intervals.
    calibration_windows : int
        Number of 512-token windows of the calibration text.
    embeddings : str
        The spec for token embeddings and head, or ``keep``.
    source : {'file', 'permuted', 'rotated'}
        The float model to quantise and compare with: the file's own weights, or others that compute the same function
        (`intact.quantizing.lab.sources`).
    profile : str
        The arithmetic in which quantised models are measured; the source always runs in ``fp32``. With the default
        ``fp32``, rows show the cost of the weights only.
    """

    model: str | os.PathLike[str]
    specs: Sequence[str]
    text: str | os.PathLike[str]
    work: str | os.PathLike[str]
    calibrate: str | os.PathLike[str] | None = None
    context: int = 512
    windows: int = 16
    calibration_windows: int = 32
    embeddings: str = "keep"
    source: SourceKind = "file"
    profile: Profile = "fp32"

    def __post_init__(self) -> None:
        if not self.specs:
            raise ParameterError("specs is empty; name at least one to measure, such as int4-32")
        if self.windows < 2:
            raise ParameterError(f"windows must be at least 2 for an interval, got {self.windows}")
        parse_profile(self.profile)

    @property
    def folder(self) -> Path:
        """The work folder."""
        return Path(self.work)

    @property
    def full(self) -> list[str]:
        """The full specs, without duplicates."""
        return list(dict.fromkeys(str(parse_target(spec)) for spec in self.specs))

    def pair(self, text: str) -> tuple[str, str]:
        """Parse two specs written as ``A,B``, and return them in full.

        Raises
        ------
        ParameterError
            If they are not two different specs of the plan.
        """
        specs = [str(parse_target(spec.strip())) for spec in text.split(",")]
        if len(set(specs)) != 2 or len(specs) != 2 or not set(specs) <= set(self.full):
            raise ParameterError(f"{text!r:.80} is not a pair A,B of two measured specs")
        return specs[0], specs[1]


@dataclass
class Lab:
    """A running lab, which has read its source and text and makes models on demand.

    Use it as a context manager, or call `close`: both delete the quantised models.

    Raises
    ------
    ParameterError
        Before any work, if a spec or a text cannot be used.
    """

    plan: LabPlan
    threads: int | None = None
    progress: Progress = lambda stage, done, whole: None
    made: dict[str, Path] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        plan = self.plan
        words, path = read_text(Path(plan.text), ParameterError), Path(resolve(plan.model))
        learnt = None if plan.calibrate is None else read_text(Path(plan.calibrate), ParameterError)
        with open_checkpoint(path) as checkpoint:
            program = build_program(checkpoint)
            for spec in plan.full:
                check_target(program, spec, plan.embeddings, calibrated=learnt is not None)
            tokens = tuple(Tokenizer.from_checkpoint(checkpoint).encode(words))
            self.sample = Calibration(tokens, plan.context, plan.windows)
        plan.folder.mkdir(parents=True, exist_ok=True)
        self.source = path if plan.source == "file" else _changed_source(path, plan.source, plan.folder)
        with open_checkpoint(self.source) as checkpoint:
            self.weights = measure(build_program(checkpoint)).root.hex()
        self._learnt = None if learnt is None else sha256(learnt.encode()).hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the quantised models."""
        for folder in self.made.values():
            shutil.rmtree(folder, ignore_errors=True)
        self.made.clear()

    def model(self, spec: str) -> Path:
        """Return the folder of the source quantised by a full spec, making the model if it does not exist."""
        folder = self.plan.folder / f"model-{self.name(spec, '')}"
        if not folder.exists():
            quantize(
                self.source, folder, spec, embeddings=self.plan.embeddings, calibrate=self.plan.calibrate,
                windows=self.plan.calibration_windows, statistics=self.plan.folder / "statistics",
                threads=self.threads, progress=self.progress,
            )  # fmt: skip
        self.made[spec] = folder
        return folder

    def drop(self, spec: str) -> None:
        """Delete the model of a spec, if it exists."""
        if spec in self.made:
            shutil.rmtree(self.made.pop(spec))

    def name(self, spec: str, of: str) -> str:
        """Return a name for data that depends on a spec's model and on `of`, such as the digest of a text."""
        plan = self.plan
        learnt = f"{self._learnt} {plan.calibration_windows}" if is_calibrated(parse_target(spec)) else ""
        key = f"{FORMAT} {self.weights} {spec} {plan.embeddings} {learnt} {of}"
        return sha256(key.encode()).hexdigest()[:32]

    def kept(self, part: str, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the data stored in the work folder under a name; compute and store it if missing."""
        file = self.plan.folder / part / f"{name}.json"
        if not file.is_file():
            found = compute()
            file.parent.mkdir(exist_ok=True)
            write_whole(file, json.dumps(found))
        return json.loads(read_text(file))  # type: ignore[no-any-return]

    def rows(self, keep_models: bool = False) -> list[LabRow]:
        """Measure all specs in the plan's profile; FP32 arithmetic isolates the cost of the formats.

        Parameters
        ----------
        keep_models : bool
            If true, keep the models until the lab is closed.
        """
        found = []
        for spec in self.plan.full:
            found.append(self.row(spec))
            if not keep_models:
                self.drop(spec)
        return found

    def row(self, spec: str) -> LabRow:
        """Measure a full spec, or return the row stored in the work folder; do not delete a model made for it."""
        return LabRow.from_dict(self.kept("rows", self.name(spec, self._scored_in), partial(self._row, spec)))

    @property
    def _scored_in(self) -> str:
        """The digest of the scored text, followed by the profile unless it is ``fp32``."""
        return self.sample.digest + ("" if self.plan.profile == "fp32" else f" {self.plan.profile}")

    def source_perplexity(self) -> float:
        """Return the perplexity of the source on the scored positions."""
        name = sha256(f"{FORMAT} {self.weights} {self.sample.digest}".encode()).hexdigest()[:32]
        found = self.kept("rows", name, self._source_loss)
        return exp(mean(found["loss_windows"]))

    def accuracies(self, chosen: Chosen, specs: Sequence[str], limit: int | None = None) -> list[ChoiceAccuracy]:
        """Measure the source and some specs on a multiple-choice task, in FP32 arithmetic.

        Parameters
        ----------
        limit : int, optional
            Maximum number of items, from the first.
        """
        items = chosen.load(limit)
        contents = [[item.id, item.question, item.answer, item.data["choices"]] for item in items]
        items_digest = sha256(json.dumps([chosen.label, chosen.task.version, contents]).encode())
        found = []
        for spec in ("source", *specs):
            stage = f"{chosen.label} {short_name(spec)}"
            own = f"{FORMAT} {self.weights} source" if spec == "source" else self.name(spec, "")
            name = sha256(f"{own} {items_digest.hexdigest()}".encode()).hexdigest()[:32]

            def compute(spec: str = spec, stage: str = stage) -> dict[str, Any]:
                folder = self.source if spec == "source" else self.model(spec)
                report = partial(self.progress, stage)
                return {"right": right_items(folder, chosen, items, self.threads, progress=report)}

            found.append(ChoiceAccuracy(chosen.label, spec, tuple(self.kept("accuracy", name, compute)["right"])))
        return found

    def _logits(self) -> NDArray[np.int32]:
        """Return the source's logits, int32 (windows, rows, vocabulary), cached in a file."""
        file = self.plan.folder / f"logits-{self.weights[:16]}-{self.sample.digest[:16]}.npy"
        if not file.is_file():
            with open_checkpoint(self.source) as checkpoint:
                program = build_program(checkpoint)
                shape = (self.sample.windows, len(scored(self.sample)), program.vocabulary)
                part = file.with_suffix(".part")
                kept = np.lib.format.open_memmap(part, "w+", np.int32, shape)
                for i, logits in enumerate(window_logits(program, self.sample, "fp32", self.threads)):
                    self.progress("source", i, self.sample.windows)
                    kept[i] = logits
                kept.flush()
            part.replace(file)
        return np.load(file, mmap_mode="r")  # type: ignore[no-any-return]

    def _following(self) -> list[NDArray[np.int64]]:
        """Return the token that follows each scored position, window by window."""
        return [tokens[scored(self.sample) + 1].astype(np.int64) for tokens in self.sample.chunks()]

    def _source_loss(self) -> dict[str, Any]:
        pairs = zip(self._logits(), self._following(), strict=True)
        return {"loss_windows": [mean(compare(z, z, following).loss.tolist()) for z, following in pairs]}

    def _row(self, spec: str) -> dict[str, Any]:
        logits, folder = self._logits(), self.model(spec)
        divergences, losses, same, whole = [], [], 0, self.sample.windows
        with open_checkpoint(folder) as checkpoint:
            program = build_program(checkpoint)
            after = window_logits(program, self.sample, self.plan.profile, self.threads)
            for i, (before, other, following) in enumerate(zip(logits, after, self._following(), strict=True)):
                self.progress(f"measure {short_name(spec)}", i, whole)
                found = compare(before, other, following)
                divergences.append(mean(found.kl.tolist()))
                losses.append(mean(found.loss.tolist()))
                same += int(found.same.sum())
            resident = _resident_bytes(program)
        done, positions = json.loads(read_text(folder / RECORD)), len(scored(self.sample)) * whole
        row = LabRow(
            spec,
            done["bits_per_weight"],
            (folder / MODEL_FILE).stat().st_size,
            resident,
            kl_windows=tuple(divergences),
            loss_windows=tuple(losses),
            same_top=same / positions,
            positions=positions,
            digest=done["digest"],
        )
        return asdict(row)


def run_lab(
    plan: LabPlan,
    *,
    tasks: Sequence[str] = (),
    items: int | None = None,
    speed: bool = False,
    threads: int | None = None,
    progress: Progress = lambda stage, done, whole: None,
) -> LabResult:
    """Measure specs of a model side by side.

    Parameters
    ----------
    tasks : sequence of str
        Multiple-choice tasks, as named for `intact eval`, on which to measure the source, the specs of the Pareto front
        and the specs that tie with them.
    items : int, optional
        Maximum number of items per task, from the first.
    speed : bool
        If true, measure tokens per second as well. All models are then on disk and in memory at the same time.

    Raises
    ------
    ParameterError
        If a spec, a text or a task cannot be used.
    """
    chosen = choose_tasks(tasks)
    with Lab(plan, threads, progress) as lab:
        rows = lab.rows(keep_models=speed)
        standing = standings(rows)
        best = [spec for spec in plan.full if standing[spec] != "dominated"]
        accuracies = [one for task in chosen for one in lab.accuracies(task, best, items)]
        measured = {}
        if speed:
            models = {"source": lab.source} | {spec: lab.model(spec) for spec in plan.full}
            measured = measure_speed(models, threads=threads, progress=progress)
        return LabResult(
            str(plan.model),
            plan.source,
            lab.weights,
            lab.sample.digest,
            context=plan.context,
            windows=plan.windows,
            embeddings=plan.embeddings,
            source_perplexity=lab.source_perplexity(),
            rows=rows,
            accuracies=accuracies,
            speed=measured,
            profile=plan.profile,
        )


def _resident_bytes(program: Program) -> int:
    """Return the bytes of all weights in memory in the int8 profile, the default for running models."""
    found = NativeExecutor(program, "int8").description["weight_bytes"]
    assert isinstance(found, int)
    return found


def _changed_source(path: Path, source: Literal["permuted", "rotated"], folder: Path) -> Path:
    """Return the folder of a model that computes the same function with different weights; write it on first use."""
    with open_checkpoint(path) as checkpoint:
        weights = measure(build_program(checkpoint)).root.hex()
    place = folder / f"source-{source}-{weights[:16]}"
    if not place.exists():
        part = place.with_suffix(".partial")
        write_source(path, source, part)
        part.replace(place)
    return place
