"""Where the problems lie."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """Return the folder of problems: ``$INTACT_DATA``, by default ``../shared/data``."""
    return Path(os.environ.get("INTACT_DATA") or "../shared/data").expanduser()
