"""Settings found by `intact tune` for each model on this machine; they affect only speed, never the results.

They are stored in ``$XDG_CONFIG_HOME/intact/tuned.json``, by default ``~/.config/intact/tuned.json``. Settings found on
another machine, or for a file that has since been modified, moved or replaced (`state_of`), are not used.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from intact._base.errors import ParameterError
from intact._base.files import write_whole
from intact._base.strict_json import parse
from intact._base.system import processors
from intact.checkpoints.catalogue.aliases import aliases_file
from intact.checkpoints.catalogue.measured import state_of

VERSION: Final = 2
OFF: Final = "INTACT_TUNED"
"""The environment variable that disables these settings if it is `off`."""
_LONGEST: Final = 1 << 20
_CPU_INFO: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Settings:
    """The tuned settings.

    Attributes
    ----------
    threads : int
        Threads per step.
    rows, chunk : int
        Maximum number of rows per step, and of rows per step for one prompt.
    drafter : str
        Name of the drafter, or `off`.
    """

    threads: int
    rows: int
    chunk: int
    drafter: str


def tuned_file() -> Path:
    """Return the path of the file, which may not exist."""
    return aliases_file().with_name("tuned.json")


def machine() -> dict[str, Any]:
    """Return the machine's properties that settings depend on: processor name, and number of usable processors."""
    return {"processor": _processor(), "processors": processors()}


def _processor() -> str:
    try:
        lines = _CPU_INFO.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU part")))
    return next(named, "") or platform.processor() or platform.machine()


def _state(path: Path) -> str | None:
    # accept a recently changed file too, since unsuitable settings only cost time
    return state_of(path.resolve(), settled=False)


def find_settings(path: Path) -> Settings | None:
    """Return the settings found for a model on this machine, or None if there are none or they are disabled.

    Raises
    ------
    ParameterError
        If the file cannot be read.
    """
    if os.environ.get(OFF) == "off":
        return None
    found = _read(tuned_file())
    if not found or found.get("machine") != machine():
        return None
    try:
        entry = found["models"][str(path.resolve())]
        if entry["state"] is None or entry["state"] != _state(path):
            return None
        own = entry["settings"]
        return Settings(int(own["threads"]), int(own["rows"]), int(own["chunk"]), str(own["drafter"]))
    except (KeyError, TypeError, ValueError):
        return None


def load_arguments(
    path: Path, *, threads: int | None = None, drafter: str | None = None, draft_model: Path | None = None
) -> dict[str, Any]:
    """Return arguments of `intact.load`: the given ones, completed by the settings found for the model.

    A draft model counts as a drafter too, and INTACT_THREADS as `threads`.
    """
    given = {"threads": threads, "drafter": drafter, "draft_model": draft_model}
    given = {name: value for name, value in given.items() if value is not None}
    found = find_settings(path)
    if found is None:
        return given
    settings = asdict(found)
    if "INTACT_THREADS" in os.environ:
        del settings["threads"]
    if draft_model is not None:
        del settings["drafter"]
    return settings | given


def save_settings(path: Path, settings: Settings, record: Mapping[str, Any]) -> Path:
    """Save settings for a model, with a record of how they were found; return the file's path.

    Settings for other machines are dropped from the file.
    """
    file = tuned_file()
    found = _read(file)
    models = found.get("models") if found.get("machine") == machine() else None
    models = dict(models) if isinstance(models, dict) else {}
    models[str(path.resolve())] = {"state": _state(path), "settings": asdict(settings), **record}
    file.parent.mkdir(parents=True, exist_ok=True)
    document = {"version": VERSION, "machine": machine(), "models": models}
    write_whole(file, (json.dumps(document, indent=1, sort_keys=True) + "\n").encode())
    return file


def forget_settings(path: Path) -> bool:
    """Delete the settings of a model; return true if any existed."""
    file = tuned_file()
    found = _read(file)
    models = found.get("models")
    if not isinstance(models, dict) or models.pop(str(path.resolve()), None) is None:
        return False
    write_whole(file, (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())
    return True


def _read(file: Path) -> dict[str, Any]:
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ParameterError(f"{file} cannot be read: {error}") from error
    if len(data) > _LONGEST:
        raise ParameterError(f"{file} is longer than {_LONGEST} bytes")
    document = parse(data, f"{file} (delete it, or run intact tune again)", error=ParameterError)
    return document if isinstance(document, dict) and document.get("version") == VERSION else {}
