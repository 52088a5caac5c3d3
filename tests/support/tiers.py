"""Tiers that the extension holds, with threads, as parameters; tiers that this processor could run."""

import platform
import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from intact.executors.native import available_tiers

LIST = Path(__file__).parents[2] / "cmake/Tiers.cmake"
PROCESSOR = Path("/proc/cpuinfo")


def tiers_with(*threads: int) -> list[Any]:
    """Return parameters ``tier, threads``: the first number with every tier held, the others with the best one.

    The rest of the product is marked slow: how work is shared among threads is written once for all tiers.
    """
    held = available_tiers()
    return [
        pytest.param(tier, number, marks=[] if number == threads[0] or tier == held[0] else [pytest.mark.slow])
        for tier, number in product(held, threads)
    ]


def possible_tiers() -> set[str]:
    """Return the tiers of cmake/Tiers.cmake that this processor could run if the extension held them."""
    text = re.sub(r"#.*", "", LIST.read_text(encoding="utf-8"))
    sets = dict(re.findall(r"^set\((\w+) ([^)]*)\)", text, re.MULTILINE))
    while any("${" in value for value in sets.values()):
        sets = {name: _expand(value, sets) for name, value in sets.items()}
    features = _processor_features()
    family = {"AMD64": "x86_64", "amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    found = set()
    for name, options in re.findall(r"^intact_tier\((\w+)([^)]*)\)", text, re.MULTILINE):
        words = dict(re.findall(r"(FAMILY|SETS|DETECT|FP32) ([^A-Z]*)", _expand(options, sets)))
        needed = {_plain(word) for key in ("SETS", "DETECT") for word in words.get(key, "").split()}
        if words.get("FAMILY", family).strip() == family and needed <= features:
            found.add(name)
    return found


def require_tiers(required: str) -> None:
    """Raise if the extension lacks a tier that this processor could run; `required` must be ``all``.

    Tests over tiers take those that the extension holds; this is how a run makes sure that none is left out.
    """
    if required != "all":
        raise ValueError(f"INTACT_REQUIRE_TIERS must be 'all' or unset, got {required!r}")
    held = available_tiers()
    if missing := sorted(possible_tiers() - set(held)):
        raise ValueError(
            f"INTACT_REQUIRE_TIERS=all: this processor could run {', '.join(missing)}, but the extension holds only "
            f"{', '.join(held)}: build it with INTACT_TIERS=all"
        )


def _expand(value: str, sets: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda match: sets[match[1]], value)


def _plain(feature: str) -> str:
    return re.sub(r"[-_]", "", feature)  # avx512_vnni is avx512vnni to compilers


def _processor_features() -> set[str]:
    text = PROCESSOR.read_text(encoding="utf-8") if PROCESSOR.exists() else ""
    found = {_plain(word) for line in re.findall(r"^flags\s*:(.*)", text, re.MULTILINE)[:1] for word in line.split()}
    return found | ({"amd"} if "AuthenticAMD" in text else set())
