"""The table of the lab: for each spec what it costs against the source, and what it takes."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from intact.catalogue import resolve
from intact.errors import ParameterError
from intact.exact import exp, mean, total
from intact.files import read_text, write_whole
from intact.formats import open_checkpoint
from intact.lab.sources import write_source
from intact.models import Program, build_program
from intact.quantizers import parse_target
from intact.quantizing import Calibration, quantize
from intact.quantizing.divergence import compare
from intact.quantizing.logits import scored, window_logits
from intact.quantizing.output import MODEL_FILE
from intact.quantizing.pipeline import RECORD
from intact.receipts.identity import measure
from intact.text import Tokenizer

Progress = Callable[[str, int, int], None]
FORMAT: Final = 1
"""Of the rows that the work folder keeps."""


@dataclass(frozen=True)
class Row:
    """The figures of one spec.

    Attributes
    ----------
    bits_per_weight : float
        In memory, scales included.
    kl, kl_error : float
        Mean of KL(source || quantised) over the scored positions in nats, and its standard error, windows being the
        units: positions of one window are not independent.
    same_top : float
        Share of positions where both have the same likeliest token.
    perplexity, source_perplexity : float
    digest : str
        Of the quantised matrices.
    """

    spec: str
    bits_per_weight: float
    file_bytes: int
    kl: float
    kl_error: float
    same_top: float
    perplexity: float
    source_perplexity: float
    positions: int
    digest: str


def run_lab(
    model: str | os.PathLike[str],
    specs: Sequence[str],
    text: str | os.PathLike[str],
    work: str | os.PathLike[str],
    *,
    calibrate: str | os.PathLike[str] | None = None,
    context: int = 512,
    windows: int = 16,
    calibration_windows: int = 32,
    embeddings: str = "keep",
    source: Literal["file", "permuted", "rotated"] = "file",
    threads: int | None = None,
    progress: Progress = lambda stage, done, whole: None,
) -> list[Row]:
    """Measure specs of a model on a text, in FP32 arithmetic: the formats' cost alone.

    Parameters
    ----------
    model : str or path
    specs : list of str
    text, calibrate : path
        What is scored, and what quantisers are calibrated on; they should not be the same.
    source : {'file', 'permuted', 'rotated'}
        The float model that is quantised and compared with: the file's own weights, or others that compute the same
        function (`intact.lab.sources`).
    work : path
        A folder for logits, statistics and rows that are done; a run that stopped goes on from there.

    Raises
    ------
    ParameterError
        If a spec or a text cannot be used.
    """
    full = [str(parse_target(spec)) for spec in specs]
    folder, sentences = Path(work), read_text(Path(text), ParameterError)
    path = Path(resolve(model))
    folder.mkdir(parents=True, exist_ok=True)
    if source != "file":
        path = _changed_source(path, source, folder)
    with open_checkpoint(path) as checkpoint:
        program = build_program(checkpoint)
        sample = Calibration(tuple(Tokenizer.from_checkpoint(checkpoint).encode(sentences)), context, windows)
        weights = measure(program).root.hex()
        logits = _source_logits(program, sample, folder, weights, threads, progress)
    learnt = None if calibrate is None else sha256(read_text(Path(calibrate), ParameterError).encode()).hexdigest()
    rows = []
    for spec in full:
        key = f"{FORMAT} {weights} {sample.digest} {spec} {embeddings} {calibration_windows} {learnt}"
        name = sha256(key.encode()).hexdigest()[:32]
        kept, quantised = folder / "rows" / f"{name}.json", folder / f"model-{name}"
        if not kept.is_file():
            if not quantised.exists():
                quantize(
                    path, quantised, spec, embeddings=embeddings, calibrate=calibrate, windows=calibration_windows,
                    statistics=folder / "statistics", threads=threads, progress=progress,
                )  # fmt: skip
            row = _measure(quantised, spec, sample, logits, threads, progress)
            kept.parent.mkdir(exist_ok=True)
            write_whole(kept, json.dumps(asdict(row)))
            shutil.rmtree(quantised)
        rows.append(Row(**json.loads(read_text(kept))))
    return rows


def _changed_source(path: Path, source: Literal["permuted", "rotated"], folder: Path) -> Path:
    """Return the folder of a model of the same function with other weights, made once."""
    with open_checkpoint(path) as checkpoint:
        weights = measure(build_program(checkpoint)).root.hex()
    place = folder / f"source-{source}-{weights[:16]}"
    if not place.exists():
        part = place.with_suffix(".partial")
        write_source(path, source, part)
        part.replace(place)
    return place


def _source_logits(
    program: Program, text: Calibration, folder: Path, source: str, threads: int | None, progress: Progress
) -> NDArray[np.int32]:
    """Return the source's logits, int32 (windows, rows, vocabulary), kept in a file."""
    file = folder / f"logits-{source[:16]}-{text.digest[:16]}.npy"
    if not file.is_file():
        shape = (text.windows, len(scored(text)), program.vocabulary)
        part = file.with_suffix(".part")
        kept = np.lib.format.open_memmap(part, "w+", np.int32, shape)
        for i, logits in enumerate(window_logits(program, text, "fp32", threads)):
            progress("source", i, text.windows)
            kept[i] = logits
        kept.flush()
        part.replace(file)
    return np.load(file, mmap_mode="r")  # type: ignore[no-any-return]


def _measure(
    folder: Path, spec: str, text: Calibration, logits: NDArray[np.int32],
    threads: int | None, progress: Progress,
) -> Row:  # fmt: skip
    done = json.loads(read_text(folder / RECORD))
    divergences, losses, source_losses, same = [], [], [], 0
    with open_checkpoint(folder) as checkpoint:
        program = build_program(checkpoint)
        chunks = zip(text.chunks(), logits, window_logits(program, text, "fp32", threads), strict=True)
        for i, (tokens, before, after) in enumerate(chunks):
            progress(f"measure {spec}", i, text.windows)
            following = tokens[scored(text) + 1].astype(np.int64)
            found = compare(before, after, following)
            divergences.append(mean(found.kl.tolist()))
            losses.append(mean(found.loss.tolist()))
            source_losses.append(mean(found.source_loss.tolist()))
            same += int(found.same.sum())
    positions = len(scored(text)) * text.windows
    kl = mean(divergences)
    spread = total((d - kl) ** 2 for d in divergences)
    error = math.sqrt(spread / (text.windows * max(1, text.windows - 1)))
    return Row(
        spec, done["bits_per_weight"], (folder / MODEL_FILE).stat().st_size, kl, error, same / positions,
        exp(mean(losses)), exp(mean(source_losses)), positions, done["digest"],
    )  # fmt: skip
