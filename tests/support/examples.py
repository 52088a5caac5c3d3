"""How many examples Hypothesis tries: INTACT_EXAMPLES multiplies them (say 20 for a night)."""

from __future__ import annotations

import os

from hypothesis import settings


def examples(count: int) -> settings:
    """So many examples in the default profile, in proportion in others."""
    share = settings.default.max_examples / 100 * float(os.environ.get("INTACT_EXAMPLES", "1"))
    return settings(max_examples=max(2, round(count * share)))
