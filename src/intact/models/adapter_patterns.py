"""The program of the worker process that matches the patterns of an adapter's configuration, which a stranger wrote."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence


def find_patterns(patterns: Sequence[str], modules: Sequence[str]) -> list[str | None]:
    """Return for each module the first pattern that matches its name, by PEFT's rule (`get_pattern_key`)."""
    return [next((one for one in patterns if re.match(rf"(.*\.)?({one})$", name)), None) for name in modules]


def start() -> dict[str, Callable[..., list[str | None]]]:
    """Return the function that the parent may call."""
    return {"find": find_patterns}
