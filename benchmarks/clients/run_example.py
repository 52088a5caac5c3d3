"""Run an example as a test, for `cassettes.py`: pytest then has the cassette's options."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
from pathlib import Path

import pytest


def test_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the script of EXAMPLE, and write its output to EXAMPLE_OUTPUT."""
    words = json.loads(os.environ["EXAMPLE"])
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.syspath_prepend(str(Path(words[0]).parent))
    with Path(os.environ["EXAMPLE_OUTPUT"]).open("w") as output, contextlib.redirect_stdout(output):
        runpy.run_path(words[0], run_name="__main__")
