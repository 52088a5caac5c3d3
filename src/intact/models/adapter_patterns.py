"""Worker process program that matches the patterns in an adapter's configuration, which is untrusted input."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence


def find_patterns(patterns: Sequence[str], modules: Sequence[str]) -> list[str | None]:
    """Return for each module the first pattern that matches its name, following PEFT (`get_pattern_key`)."""
    return [next((one for one in patterns if re.match(rf"(.*\.)?({one})$", name)), None) for name in modules]


def start() -> dict[str, Callable[..., list[str | None]]]:
    """Return the function that the parent may call."""
    return {"find": find_patterns}
