"""Quantise a checkpoint according to a spec, one matrix at a time, so that an interrupted run can resume."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

import intact
from intact._base.errors import IntactError, ParameterError
from intact._base.exact import total
from intact._base.files import read_text, sha256_of, write_whole
from intact.checkpoints.catalogue import resolve
from intact.checkpoints.formats import Checkpoint, Tensor, open_checkpoint
from intact.checkpoints.formats.safetensors import Stored
from intact.checkpoints.formats.stored_blocks import blocks_from_bytes
from intact.models import Program, StoredTogether, build_program, split_matrices, stored_apart, stored_together
from intact.models.input_limits import SUFFIX, limit_name
from intact.models.ops import Embed, Logits
from intact.numerics import VERSION
from intact.quantizing.calibration import Calibration, gather, passes, products, read_statistics
from intact.quantizing.importance import read_importance, takes_importance
from intact.quantizing.mixing import assign, check_budget
from intact.quantizing.output import (
    MODEL_FILE,
    check_gguf,
    is_gguf,
    storable,
    write_checkpoint,
    write_gguf_checkpoint,
)  # fmt: skip
from intact.quantizing.parts import (
    Matrix,
    check_experts,
    check_source,
    check_static,
    expert_matrices,
    quantize_matrix,
    stored_bits,
)
from intact.quantizing.quantizers import (
    COSTS,
    QUANTIZERS,
    TRANSFORMS,
    InputStatistics,
    Spec,
    SpecMixture,
    parse_spec,
    parse_target,
)
from intact.quantizing.quantizers.block_types import BLOCK_TYPES
from intact.quantizing.quantizers.spec import fitting
from intact.quantizing.slopes import measure_slopes
from intact.quantizing.structure import find_structure
from intact.quantizing.transforming import transform_model
from intact.receipts.identity import measure
from intact.text import Tokenizer

RECORD: Final = "quantization.json"
"""The name of the file that records how the model was made, stored next to it."""
FINAL: Final = "model"
"""The name of the finished model within the work folder, before it is moved to its target."""
FINISHED: Final = "finished"
"""The field in the work folder's record that contains the model's digest once the model is complete."""
KEEP: Final = "keep"
"""Used instead of a spec to leave matrices unchanged."""


@dataclass(frozen=True)
class QuantizedModel:
    """A model that `quantize` wrote.

    Attributes
    ----------
    path : Path
        The folder or the GGUF file.
    spec, embeddings : str
        The full specs; ``keep`` where matrices, or token embeddings and head, were left unchanged.
    digest : str
        SHA-256 over all quantised matrices, and the largest inputs if present: the same on every machine.
    matrices, weights : int
        Number of quantised matrices, and the total number of their elements.
    bits_per_weight : float
        Bits per weight of those matrices in memory, scales included.
    file_bytes : int
        Size of the file.
    proxy : float or None
        Sum of the products' mean squared errors on the calibration text, if the quantiser knows it.
    assignment : mapping or None
        The full spec of each matrix by its canonical name, for a mixture or if a type's fallback was used.
    """

    path: Path
    spec: str
    embeddings: str
    source: str
    text: str | None
    digest: str
    matrices: int
    weights: int
    bits_per_weight: float
    file_bytes: int
    proxy: float | None
    assignment: Mapping[str, str] | None = None
    static: bool = False
    """If true, the model includes the largest inputs of its products, which static activation scales need."""
    imatrix: str | None = None
    """SHA-256 of the importance matrix that replaced the calibration text."""


class _Chosen(NamedTuple):
    """A quantised matrix selected for the model: canonical name, spec, file, proxy error."""

    name: str
    spec: Spec
    part: Path
    proxy: float | None


def quantize(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    to: str,
    *,
    embeddings: str = KEEP,
    static: bool = False,
    calibrate: str | os.PathLike[str] | None = None,
    imatrix: str | os.PathLike[str] | None = None,
    context: int = 512,
    windows: int = 32,
    statistics: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> QuantizedModel:
    """Quantise a model.

    Parameters
    ----------
    model : str or path
        A name or path, as for `intact.load`.
    out : path
        A folder that does not exist yet or, if the name ends in ``.gguf``, a GGUF file; the source must then have GGUF
        metadata, and specs must be GGUF types. Work in progress is kept next to it in ``OUT.partial``; a call with the
        same arguments resumes an interrupted run.
    to : str
        A spec, such as ``int4-32``, ``gptq:int3-16`` or ``awq+gptq:int3-16``; a mixture,
        ``mix:BITS[@COST](SPEC|SPEC|...)`` (docs/quantizing.md); or ``keep`` to leave the matrices unchanged.
    embeddings : str
        The spec of token embeddings and head, or ``keep`` to leave them unchanged.
    static : bool
        If true, also store the largest input of each product on the calibration text, from which the profile
        ``int8_static`` takes its scales. Not supported for GGUF files.
    calibrate : path, optional
        A calibration text in UTF-8, for quantisers that need one, and for `static`.
    imatrix : path, optional
        llama.cpp's importance matrix of the model (``llama-imatrix``), used by the quantiser ``imatrix`` instead of a
        calibration text.
    context, windows : int
        Tokens per window of the calibration text, and number of windows read.
    statistics : path, optional
        A folder that caches calibration statistics, so that several runs can share them.
    progress : callable
        Called with a stage (``calibrate``, ``transform NAME``, ``quantize``, ``measure divergence``), the number of
        steps done and the total.

    Raises
    ------
    ParameterError, FormatError, ModelError
        Before any work starts, for every error that can be detected in advance.
    """
    for name, given in (("to", to), ("embeddings", embeddings)):
        if not isinstance(given, str):
            raise ParameterError(f"{name} must be a spec, such as 'int4-32', got {given!r:.40}")
    target, path = Path(out), Path(resolve(model))
    if target.exists():
        _remove_leftover(_work_of(target))
        raise ParameterError(f"{target} already exists; choose a new name")
    if is_gguf(target) and static:
        raise ParameterError(f"{target}: a GGUF file has no place for input scales; give a folder as output")
    if imatrix is not None and (static or calibrate is not None):
        raise ParameterError("imatrix replaces the calibration text, so it cannot be combined with calibrate or static")
    text = None if calibrate is None else read_text(Path(calibrate), ParameterError)
    stored = open_checkpoint(path)
    with split_matrices(stored) as checkpoint:
        program = build_program(checkpoint)
        spec, other = _checked(program, to, embeddings, text is not None or imatrix is not None, static=static)
        importance = None if imatrix is None else read_importance(Path(imatrix), program, spec)
        together = list[StoredTogether]()
        if is_gguf(target):
            if stored.path.suffix == ".safetensors" and (apart := stored_apart(stored)):
                raise ParameterError(
                    f"{path}: tensor {apart[0]} is part of another tensor in GGUF files; expected a GGUF file as source"
                )
            together = stored_together(stored)
            _check_gguf(checkpoint, program, _plan(program, spec, other), together, target=target)
        source = measure(program).root.hex()
        sample = None
        if text is not None and (static or (spec is not None and is_calibrated(spec))):
            if context > program.context:
                raise ParameterError(
                    f"windows of {context} tokens exceed the model's {program.context} positions; use a smaller context"
                )
            sample = Calibration(tuple(Tokenizer.from_checkpoint(checkpoint).encode(text)), context, windows)
        about = {
            "intact": "quantized",
            "version": "1",
            "source": source,
            "spec": str(spec or KEEP),
            "embeddings": str(other or KEEP),
            "text": "" if sample is None else sample.digest,
        }
        if static:
            about["activations"] = "static"
        if imatrix is not None:
            about["imatrix"] = sha256_of(Path(imatrix))
        work = _open_work(target, about)

    folder = work / "statistics" if statistics is None else Path(statistics)

    def learn(program: Program) -> Callable[[int], InputStatistics]:
        assert sample is not None
        total = windows * len(passes(program))
        count = iter(range(1, total + 1))
        progress("calibrate", 0, total)
        root = measure(program).root.hex()
        return read_statistics(
            gather(
                program,
                sample,
                folder,
                root,
                threads=threads,
                advance=lambda: progress("calibrate", next(count), total),
            )
        )

    if spec is not None and spec.transforms:
        path = transform_model(path, spec.transforms, _candidates(spec), learn, work=work, progress=progress)
    with split_matrices(open_checkpoint(path)) as checkpoint:
        program = build_program(checkpoint)
        matrices = _plan(program, spec, other)
        by_quantiser = spec is not None and _reads_statistics(spec)
        learned = learn(program) if sample is not None and (static or by_quantiser) else None
        read = importance or (learned if by_quantiser else None)
        limits = largest_inputs(program, learned) if static and learned is not None else {}
        chosen, losses = [], []
        cost = spec.cost if isinstance(spec, SpecMixture) else None
        for done, matrix in enumerate(matrices):
            progress("quantize", done, len(matrices))
            losses.append(quantize_matrix(program.tensors[matrix.name], matrix, read, work, cost=cost))
        progress("quantize", len(matrices), len(matrices))
        picks = [0] * len(matrices)
        if isinstance(spec, SpecMixture):
            names = [matrix.name for matrix in matrices if matrix.op is not None]
            slopes = dict.fromkeys(names, 1.0)
            if COSTS[spec.cost].measured and sample is not None:
                slopes = measure_slopes(
                    program,
                    sample,
                    names,
                    folder,
                    model=measure(program).root.hex(),
                    threads=threads,
                    progress=progress,
                )
            shapes = [program.tensors[name].shape for name in names]
            costs = [
                [slopes[name] * (one.cost or 0.0) for one in row] for name, row in zip(names, losses, strict=False)
            ]
            picks[: len(names)] = assign(spec, shapes, costs)
        for matrix, pick, row in zip(matrices, picks, losses, strict=True):
            chosen.append(_Chosen(matrix.name, matrix.specs[pick], matrix.part(work, pick), row[pick].proxy))
        fixed = isinstance(spec, Spec) and all(one.spec in (spec, other) for one in chosen)
        assignment = None if fixed else {one.name: str(one.spec) for one in chosen}
        return _finish(
            checkpoint,
            program,
            chosen,
            limits,
            about=about,
            assignment=assignment,
            together=together,
            work=work,
            target=target,
        )


def largest_inputs(program: Program, read: Callable[[int], InputStatistics]) -> dict[str, np.float32]:
    """Return the largest input of each matrix on a text, keyed by the name of the tensor that stores it."""
    found: dict[str, np.float32] = {}
    for op, names in products(program).items():
        statistics = read(op)
        largest = np.float32(np.ldexp(float(statistics.largest.max()), statistics.exponent))  # exact: 20 bits
        found |= {limit_name(program.tensors[name].name): largest for name in names}
    return found


def _candidates(spec: Spec | SpecMixture | None) -> tuple[Spec, ...]:
    if spec is None:
        return ()
    return spec.specs if isinstance(spec, SpecMixture) else (spec,)


def is_calibrated(spec: Spec | SpecMixture) -> bool:
    """Return true if a spec needs a calibration text."""
    return _reads_statistics(spec) or any(TRANSFORMS[name].calibrated for name in spec.transforms)


def _reads_statistics(spec: Spec | SpecMixture) -> bool:
    """Return true if the quantiser, or the choice among a mixture's candidates, needs statistics of inputs."""
    return isinstance(spec, SpecMixture) or QUANTIZERS[spec.quantizer].calibrated


def check_target(program: Program, to: str, embeddings: str = KEEP, *, calibrated: bool) -> None:
    """Raise ParameterError if `quantize` could not quantise a program by a spec.

    Parameters
    ----------
    calibrated : bool
        If true, a calibration text is available.
    """
    _checked(program, to, embeddings, calibrated)


def _checked(
    program: Program, to: str, embeddings: str, calibrated: bool, static: bool = False
) -> tuple[Spec | SpecMixture | None, Spec | None]:
    """Parse and check the specs of matrices and embeddings; raise ParameterError if they do not suit the program."""
    spec = None if to == KEEP else parse_target(to)
    other = None if embeddings == KEEP else parse_spec(embeddings)
    if spec is None and other is None and not static:
        raise ParameterError(f"{KEEP} leaves everything unchanged; give a spec, or embeddings, or `static` (--static)")
    for what, needs in ((spec, spec is not None and is_calibrated(spec)), ("static", static)):
        if needs and not calibrated:
            other_way = " or llama.cpp's importance matrix with `imatrix` (--imatrix)" if takes_importance(spec) else ""
            raise ParameterError(
                f"{what} needs a calibration text; give a file with `calibrate` (--calibrate){other_way}"
            )
    if static:
        check_static(program)
    if other is not None and other.transforms:
        raise ParameterError(f"embeddings: {other}: transforms belong in the spec of the matrices, --to")
    if other is not None and QUANTIZERS[other.quantizer].calibrated:
        raise ParameterError(f"embeddings: {other} needs calibration, which is not available for embeddings")
    if other is not None and other.levels.planes > 1:
        raise ParameterError(f"embeddings: {other} makes several planes, which embeddings do not support")
    if spec is not None:
        check_source(program)
        check_experts(program, spec, calibrated=_reads_statistics(spec))
        for name in spec.transforms[:-1]:
            if TRANSFORMS[name].last:
                raise ParameterError(f"{spec}: no transform can follow {name}")
        for name in spec.transforms:
            TRANSFORMS[name].check(find_structure(program), _candidates(spec))
    matrices = _plan(program, spec, other)
    for matrix in matrices:
        for one in matrix.specs:
            one.layout(program.tensors[matrix.name].shape[1])
    if isinstance(spec, SpecMixture):
        check_budget(spec, [program.tensors[matrix.name].shape for matrix in matrices if matrix.op is not None])
    return spec, other


def _plan(program: Program, spec: Spec | SpecMixture | None, embeddings: Spec | None) -> list[Matrix]:
    """Return the matrices to quantise: first those in products, grouped by input, then experts, embeddings and head."""

    def fit(name: str, specs: tuple[Spec, ...]) -> tuple[Spec, ...]:
        return fitting(specs, program.tensors[name].shape[1])

    found: list[Matrix] = []
    if spec is not None:
        named = [(op, name) for op, names in products(program).items() for name in names]
        found += [Matrix(name, op, fit(name, _candidates(spec))) for op, name in named]
        found += [Matrix(name, None, fit(name, _candidates(spec))) for name in expert_matrices(program)]
    if embeddings is not None:
        ends = {op.weight for op in program.ops if isinstance(op, Embed | Logits) and op.weight is not None}
        found += [Matrix(name, None, fit(name, (embeddings,))) for name in sorted(ends)]
    return found


def _check_gguf(
    checkpoint: Checkpoint,
    program: Program,
    matrices: list[Matrix],
    together: Sequence[StoredTogether],
    target: Path,
) -> None:
    """Raise ParameterError if any part of the model cannot be written to a GGUF file."""
    for matrix in matrices:
        for spec in matrix.specs:
            if spec.block_type is None:
                raise ParameterError(
                    f"{target}: no GGUF type holds {spec}; expected one of {', '.join(BLOCK_TYPES)}, such as "
                    "gptq:q4_0, or a folder as output"
                )
    names = {program.tensors[matrix.name].name for matrix in matrices}
    check_gguf(checkpoint, (tensor for tensor in checkpoint.tensors.values() if tensor.name not in names))
    candidates = {program.tensors[matrix.name].name: matrix.specs for matrix in matrices}
    for one in together:
        types = {candidates.get(name) for name in one.parts}
        if not one.parts or len(types) > 1 or any(specs is not None and len(specs) > 1 for specs in types):
            why = "could get several types" if one.parts else "are interleaved row by row"
            raise ParameterError(
                f"{target}: tensor {one.name} of a GGUF file holds several matrices, which {why}; expected "
                f"{'one spec for all, or ' if one.parts else ''}a folder as output"
            )


def _work_of(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


def _open_work(target: Path, about: dict[str, str]) -> Path:
    """Return the work folder: a new one, or the one of an unfinished run with the same arguments."""
    work, own = _work_of(target), {**about, "numerics": str(VERSION), "package": intact.__version__}
    _remove_leftover(work)
    if work.exists():
        known = _record_of(work)
        if {name: value for name, value in known.items() if name != FINISHED} != own:
            differs = [name for name in own if known.get(name) != own[name]]
            what = f", which differs in {', '.join(differs)}" if known else ""
            raise ParameterError(
                f"{work} contains the work of another run{what}; delete it, or choose a name other than {target}"
            )
        return work
    target.parent.mkdir(parents=True, exist_ok=True)
    work.mkdir()
    write_whole(work / RECORD, json.dumps(own, indent=1))
    return work


def _record_of(work: Path) -> dict[str, object]:
    """Return the recorded arguments of the run that owns a work folder; empty if none are recorded."""
    try:
        known = json.loads(read_text(work / RECORD))
    except (IntactError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remove_leftover(work: Path) -> None:
    """Remove the work folder of a run that stopped before writing any part or after moving its model into place."""
    if not work.is_dir():
        return
    names = [path.name for path in work.iterdir()]
    has_parts = any(not (name.startswith(RECORD) or name.endswith(".part")) for name in names)
    is_over = FINISHED in _record_of(work) and not any(Path(name).stem == FINAL for name in names)
    if is_over or not has_parts:
        _remove_work(work)


def _remove_work(work: Path) -> None:
    """Remove a work folder; its record is removed last, because it identifies the folder."""
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != RECORD:
            path.unlink(missing_ok=True)
    shutil.rmtree(work, ignore_errors=True)


def _finish(
    checkpoint: Checkpoint,
    program: Program,
    chosen: list[_Chosen],
    limits: Mapping[str, np.float32],
    about: dict[str, str],
    assignment: Mapping[str, str] | None,
    together: Sequence[StoredTogether],
    work: Path,
    target: Path,
) -> QuantizedModel:
    """Assemble the parts into a model, then move it to the target."""
    parts = {program.tensors[one.name].name: one.part for one in chosen}
    whole = sha256()
    for name in sorted(parts):
        whole.update(name.encode() + b"\0" + sha256(parts[name].read_bytes()).digest())
    for name in sorted(limits):
        whole.update(name.encode() + b"\0" + limits[name].astype("<f4").tobytes())
    about = {**about, "digest": whole.hexdigest()}
    weights = sum(rows * columns for rows, columns in (program.tensors[one.name].shape for one in chosen))
    bits = sum(stored_bits(one.part) for one in chosen) / max(1, weights)
    known = [one.proxy for one in chosen if one.proxy is not None]
    proxy = total(known) if known else None
    record: dict[str, object] = about | {"bits_per_weight": bits, "proxy": proxy}
    if assignment is not None:
        record["assignment"] = assignment
    final = work / f"{FINAL}{target.suffix if is_gguf(target) else ''}"
    file = final if is_gguf(target) else final / MODEL_FILE
    if is_gguf(target):
        write_gguf_checkpoint(checkpoint, _written(checkpoint, parts), final, json.dumps(record), together=together)
    else:
        _write_folder(checkpoint, parts, limits, final, about=about)
        write_whole(final / RECORD, json.dumps(record, indent=1))
    result = QuantizedModel(
        target,
        about["spec"],
        about["embeddings"],
        about["source"],
        text=about["text"] or None,
        digest=about["digest"],
        matrices=len(chosen),
        weights=weights,
        bits_per_weight=bits,
        file_bytes=file.stat().st_size,
        proxy=proxy,
        assignment=assignment,
        static=bool(limits),
        imatrix=about.get("imatrix"),
    )
    write_whole(work / RECORD, json.dumps({**_record_of(work), FINISHED: about["digest"]}, indent=1))
    final.replace(target)
    _remove_work(work)
    return result


def _written(checkpoint: Checkpoint, parts: Mapping[str, Path]) -> list[Tensor]:
    """Return the tensors of a checkpoint, with quantised ones replaced by their blocks."""
    return [
        blocks_from_bytes(name, np.memmap(parts[name], np.uint8, "r")) if name in parts else tensor
        for name, tensor in checkpoint.tensors.items()
    ]


def _write_folder(
    checkpoint: Checkpoint,
    parts: Mapping[str, Path],
    limits: Mapping[str, np.float32],
    folder: Path,
    about: Mapping[str, str],
) -> None:
    """Write a folder; largest inputs stored in the source describe the source's matrices, so they are dropped."""
    data: dict[str, Tensor] = {
        name: Tensor(name, "F32", (1,), np.frombuffer(value.astype("<f4").tobytes(), np.uint8))
        for name, value in limits.items()
    }
    stored = [Stored(name, "F32", (1,), 4) for name in data]
    for tensor in checkpoint.tensors.values():
        if tensor.name.endswith(SUFFIX):
            continue
        if tensor.name in parts:
            size = parts[tensor.name].stat().st_size
            stored.append(Stored(tensor.name, "U8", (size,), size))
        else:
            kept = data[tensor.name] = storable(tensor)
            stored.append(Stored(tensor.name, kept.kind, kept.shape, kept.data.nbytes))
    write_checkpoint(
        checkpoint,
        stored,
        lambda name: parts[name].read_bytes() if name in parts else data[name].data,
        folder,
        about=about,
    )
