"""Names of tests in files, and the fixtures whose requests belong to no test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def test_name(item: pytest.Item, folder: Path) -> str:
    """Return a test's name with its path relative to a folder; pytest's own name depends on its root folder."""
    file = os.path.relpath(item.path, folder)
    return f"{Path(file).as_posix()}::{item.nodeid.partition('::')[2]}"


test_name.__test__ = False  # type: ignore[attr-defined]


def is_shared(fixture: pytest.FixtureDef[object]) -> bool:
    """Return true if a fixture may be shared by several tests: which one sets it up depends on the selection."""
    return fixture.scope != "function"
