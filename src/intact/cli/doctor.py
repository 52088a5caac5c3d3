"""``intact doctor``: report what works on this machine, what does not, and how to fix it."""

from __future__ import annotations

import os
import re
from typing import Any

from rich.text import Text

from intact.cli.info import installation
from intact.cli.options import JsonOption
from intact.cli.output import emit, show_rows, size

EXAMPLES = """\
Report what works here, what does not, and how to fix it
  intact doctor
For a bug report, or a program
  intact doctor --json
"""

FOR_PROGRAMMERS = ("test", "dev", "docs", "bench")
"""Extras for development only, which users never need."""


def command(json: JsonOption = False) -> None:
    """Report what works here: instruction sets, memory, folders, extras, and the sandbox for code that models write."""
    facts = examine()
    if json:
        emit(facts)
        return
    show_rows((Text(name, "dim"), value) for name, value in _lines(facts))


def examine() -> dict[str, Any]:
    """Return all facts that the command prints."""
    from intact.checkpoints.catalogue import store
    from intact.tasks.data import data_folder
    from intact.tools.sandbox import protection

    guard = protection()
    models, data = store(), data_folder()
    return {
        **installation(),
        "libraries": _libraries(),
        "sandbox": {"protection": guard.kind, "filtered": guard.filtered, "missing": guard.missing},
        "models": {"folder": str(models), "files": sum(1 for _ in models.glob("*.gguf")) if models.is_dir() else 0},
        "data": {"folder": str(data), "present": data.is_dir()},
        "missing_extras": _missing_extras(),
        "gpus": _gpus(),
    }


def _gpus() -> dict[str, Any]:
    """Return the adapters, the one that would be used first, or why there are none."""
    from intact.executors.gpu.device import NoDeviceError, adapters

    try:
        return {"adapters": [one._asdict() | {"software": one.is_software} for one in adapters()], "missing": None}
    except NoDeviceError as error:
        return {"adapters": [], "missing": str(error)}


def _requirements() -> list[str]:
    from importlib import metadata

    from intact._base.packages import DISTRIBUTION

    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # running from a checkout
        return []


def installed(requirement: str) -> str | None:
    """Return the installed version of the package that a requirement names, or None."""
    from intact._base.plugins import installed

    name = re.match(r"[\w.-]+", requirement)
    return installed(name[0]) if name else None


def _libraries() -> dict[str, str | None]:
    plain = [requirement for requirement in _requirements() if "extra ==" not in requirement]
    return {re.split(r"[^\w.-]", requirement)[0]: installed(requirement) for requirement in sorted(plain)}


def _missing_extras() -> dict[str, list[str]]:
    """Map each incomplete extra to the packages that it lacks."""
    missing: dict[str, list[str]] = {}
    for requirement in _requirements():
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if extra and extra[1] not in FOR_PROGRAMMERS and installed(requirement) is None:
            missing.setdefault(extra[1], []).append(re.split(r"[^\w.-]", requirement)[0])
    return missing


def _describe_gpus(gpus: dict[str, Any]) -> str:
    """Format the adapters."""
    described = [
        f"{one['name']} ({one['driver'] or 'unknown driver'}, {one['backend']}, {one['kind']}, "
        f"binds {size(one['binding'])})"
        for one in gpus["adapters"]
    ]
    return "; ".join(described) or gpus["missing"] or "none: install a Vulkan driver"


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Format the facts for people."""
    guard = facts["sandbox"]
    code = f"refused: {guard['missing']}"
    if guard["protection"] != "none":
        filtered = " and a filter on system calls" if guard["protection"] == "bubblewrap" and guard["filtered"] else ""
        better = f" ({guard['missing']})" if guard["missing"] else ""
        code = f"by {guard['protection']}{filtered}{better}"
    models, data = facts["models"], facts["data"]
    extras = "; ".join(f"{extra} (needs {', '.join(names)})" for extra, names in facts["missing_extras"].items())
    isa = os.environ.get("INTACT_ISA")
    return [
        (
            "intact",
            f"{facts['version']}, numerics {facts['numerics_version']}, Python {facts['python']} on {facts['machine']}",
        ),
        (
            "instructions",
            f"{facts['tier']}{' (INTACT_ISA)' if isa else ''}, of {' '.join(facts['tiers'])}"
            + (f". {facts['faster_tier']}" if facts["faster_tier"] else ""),
        ),
        ("threads", f"{facts['threads']} on {facts['cores']} cores"),
        ("GPUs", _describe_gpus(facts["gpus"])),
        ("memory", size(facts["memory"]) if facts["memory"] else "unknown"),
        ("models", f"{models['files']} in {models['folder']}"),
        (
            "data",
            data["folder"]
            if data["present"]
            else f"{data['folder']} is absent (INTACT_DATA names it); intact tasks lists what is here without",
        ),
        ("models' code", code),
        ("libraries", ", ".join(f"{name} {version or 'missing'}" for name, version in facts["libraries"].items())),
        ("missing extras", extras or "none"),
    ]
