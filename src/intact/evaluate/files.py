"""Result files on disk: written atomically, and fully validated when they are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from intact._base import strict_json
from intact._base.errors import FormatError, ParameterError
from intact._base.files import read_text, write_whole
from intact.evaluate.results import FORMAT, READABLE, VERSION, EvaluationRun, ItemRecord, TaskScore, line, typed
from intact.evaluate.scores import check

_SCORE = {
    "task": (int,),
    "metric": (str,),
    "value": (int, float),
    "low": (int, float, type(None)),
    "high": (int, float, type(None)),
    "problems": (int,),
    "interval": (str,),
}
_MANIFEST = {
    "models": (list,),
    "method": (dict,),
    "budget": (dict,),
    "seeds": (list,),
    "tasks": (list,),
    "records": (int,),
    "caveats": (list,),
    "command": (str,),
}


TRACES = ".traces.jsonl"


def traces_of(path: Path) -> Path:
    """Return the path of the trace file of a result file."""
    return path.with_suffix(TRACES)


def host_of(path: Path) -> Path:
    """Return the path of a result file's timings and versions."""
    return path.with_suffix(".host.json")


def partial_of(path: Path) -> Path:
    """Return the path of the partial result while a run is in progress."""
    return path.with_suffix(".part.jsonl")


@contextmanager
def damaged(path: Path, *passed: type[Exception]) -> Iterator[None]:
    """Raise FormatError if code in the block fails on a file's contents; let errors of types in `passed` propagate."""
    try:
        yield
    except passed:
        raise
    except (TypeError, KeyError, IndexError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        raise FormatError(f"{path} is damaged: {error!r:.200}") from error


def read_document(path: Path, form: str, version: int, what: str) -> dict[str, Any]:
    """Read a JSON file in one of this package's formats.

    Parameters
    ----------
    form, version
        The expected values of the members `format` and `version`.
    what : str
        The kind of file, for the message.

    Raises
    ------
    ParameterError
        If the file is missing.
    FormatError
        If it is not JSON, or of another format or version.
    """
    value = strict_json.parse(read_text(path, ParameterError), str(path), error=FormatError)
    if not isinstance(value, dict) or value.get("format") != form:
        raise FormatError(f"{path} is not {what}")
    if value.get("version") != version:
        raise FormatError(f"{path} has version {value.get('version')!r}, but this program reads version {version}")
    return value


def write(run: EvaluationRun, path: Path, host: Mapping[str, Any]) -> None:
    """Write a run's three files atomically, the result last: if the result exists, so do the others.

    Raises
    ------
    ParameterError
        If the path contains another file, or the result of another run.
    """
    check_place(path, run.manifest)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(traces_of(path), run.trees())
    write_whole(host_of(path), (json.dumps(host, indent=1) + "\n").encode())
    write_whole(path, run.data())


def check_place(path: Path, manifest: Mapping[str, Any]) -> None:
    """Raise if writing a run would overwrite something else.

    Raises
    ------
    ParameterError
        If the path contains a file other than the result of the same run, or is not a valid name of a result file.
    """
    if path.suffix != ".jsonl":
        raise ParameterError(f"the name of a result file must end in .jsonl, got {path}")
    if path.name.endswith(TRACES):
        raise ParameterError(f"{path}: the ending {TRACES} is reserved for traces; choose another name")
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as stream:
            first = stream.readline()
        if first != line({"format": FORMAT, "version": VERSION} | dict(manifest)) + "\n":
            raise ParameterError(
                f"{path} already exists and contains the result of another run: choose another file with --out"
            )


def read(path: Path) -> EvaluationRun:
    """Read a result file, with its traces if they exist.

    Raises
    ------
    ParameterError
        If the file is missing, or contains undecided verdicts.
    FormatError
        If the file is not a result file, has an unknown version, is truncated or damaged, or its scores do not follow
        from its records; or if the traces belong to another run.
    """
    if not path.is_file():
        raise ParameterError(f"{path}: no such file")
    values = _lines(path)
    first = values[0] if values else None
    if not isinstance(first, dict) or first.get("format") != FORMAT:
        raise FormatError(f"{path} is not a result file of `intact eval`")
    if first.get("version") not in READABLE:
        known = ", ".join(map(str, READABLE))
        raise FormatError(f"{path} has version {first.get('version')!r}, but this program reads {known}")
    if len(values) < 2 or not isinstance(values[-1], dict) or "scores" not in values[-1]:
        raise FormatError(f"{path} is truncated: its last line has no scores")
    manifest = {name: value for name, value in first.items() if name not in ("format", "version")}
    with damaged(path):
        typed(manifest, _MANIFEST)
        if not [typed(model, {"name": (str,)}) for model in manifest["models"]]:
            raise TypeError("the list of models is empty")
        for task in manifest["tasks"]:
            typed(task, {"name": (str,), "label": (str,)})
            typed(task["digests"], dict.fromkeys(("items", "prompts", "grader"), (str,)))
        typed(manifest["method"], {"name": (str,), "parameters": (dict,)})
        records = tuple(ItemRecord.of(value, first["version"]) for value in values[1:-1])
        if len(records) != manifest["records"]:
            raise FormatError(f"{path} should have {manifest['records']} records, but has {len(records)}")
        scores = tuple(TaskScore(**typed(score, _SCORE)) for score in values[-1]["scores"])
        digest, tasks = str(values[-1]["traces"]), range(len(manifest["tasks"]))
        for place in [*(record.task for record in records), *(score.task for score in scores)]:
            if place not in tasks:
                raise TypeError(f"task number {place} does not exist")
        check(scores, records, nearly=first["version"] == 1)
    run = EvaluationRun(manifest, records, scores, _traces(traces_of(path), digest), version=first["version"])
    if run.undecided:
        raise ParameterError(
            f"{path} contains undecided verdicts on {len(run.undecided)} of {len(records)} records, the first is "
            f"{run.undecided[0].id}; run it again: {manifest['command']}"
        )
    return run


def _traces(path: Path, digest: str) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise FormatError(f"{path} does not belong to its result file; remove it to continue without traces")
    return tuple(data.decode("utf-8").split("\n")[:-1])


def _lines(path: Path) -> Sequence[Any]:
    lines = enumerate(read_text(path).split("\n"), 1)
    return [strict_json.parse(text, f"{path}, line {number}", error=FormatError) for number, text in lines if text]
