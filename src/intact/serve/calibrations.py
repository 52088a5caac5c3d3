"""Graded runs that a server uses to calibrate the answers of methods (`intact serve --calibration`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from intact._base.errors import ParameterError
from intact.checkpoints.catalogue.measured import measured_digests
from intact.checkpoints.formats import open_checkpoint
from intact.evaluate.calibrated import CalibrationRun, open_calibration
from intact.models import build_program
from intact.models.adapters import read_adapter, with_adapters
from intact.receipts.identity import identify, version_of
from intact.serve.methods import served_methods
from intact.serve.models import Loading, Models
from intact.text import Tokenizer

_DIGESTS = ("weights", "tokenizer", "template")


def open_calibrations(paths: Sequence[Path], models: Models, loading: Loading) -> tuple[CalibrationRun, ...]:
    """Read a server's calibration runs, and check that requests can match them.

    Raises
    ------
    ParameterError, FormatError
        As for `open_calibration`; also if clients cannot choose a run's method, its model is not served or runs in a
        different arithmetic, or two runs have the same settings.
    """
    runs: dict[str, Path] = {}
    found = []
    served = dict(_served(models))
    for path in paths:
        run = open_calibration(path)
        _check(path, run, served, loading)
        settings = json.dumps([run.manifest[name] for name in ("models", "method", "budget", "now")], sort_keys=True)
        if settings in runs:
            raise ParameterError(
                f"{path} and {runs[settings]} have the same settings: give only one of them as --calibration"
            )
        runs[settings] = path
        found.append(run)
    return tuple(found)


def _check(path: Path, run: CalibrationRun, served: dict[str, dict[str, Any]], loading: Loading) -> None:
    method, entries = run.manifest["method"]["name"], run.manifest["models"]
    if method not in served_methods():
        raise ParameterError(f"{path}: clients of a server cannot choose the method {method} of this run")
    if len(entries) != 1 or "weights" not in entries[0]:
        raise ParameterError(
            f"{path}: its method used several models, or an endpoint, but requests here have one model"
        )
    (own,) = entries
    if not any(all(own[name] == digests[name] for name in _DIGESTS) for digests in served.values()):
        there = ", ".join(f"{name} {digests['weights'][:16]}" for name, digests in served.items())
        raise ParameterError(
            f"{path}: the model {own['name']} of this run, with weights {own['weights'][:16]}, is not served with this "
            f"tokenizer and chat template; served: {there}"
        )
    if (own["profile"], own["numerics"]) != (loading.profile, version_of(loading.profile)):
        raise ParameterError(
            f"{path}: it was made with the profile {own['profile']}, numerics {own['numerics']}, but the server has "
            f"{loading.profile}, {version_of(loading.profile)}"
        )


def _served(models: Models) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the digests of all models and adapters, with their names; new files are read in full."""
    for name, served in models.served.items():
        yield name, measured_digests(served.path, partial(_digests, served.path))
    for name, adapter in models.adapters.items():
        yield name, _digests(models.served[models.first].path, adapter)


def _digests(path: Path, adapter: Path | None = None) -> dict[str, Any]:
    """Return the digests of a model's files, optionally with an adapter."""
    with open_checkpoint(path) as checkpoint:
        program = build_program(checkpoint)
        if adapter is not None:
            program = with_adapters(program, {"adapter": read_adapter(adapter, checkpoint, program)})
        return identify(checkpoint, program, Tokenizer.from_checkpoint(checkpoint))[1].to_document()
