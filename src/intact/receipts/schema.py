"""The JSON schema of receipts, which other programs can check documents against."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def schema() -> dict[str, Any]:
    """The schema, as JSON Schema 2020-12 has it."""
    found: dict[str, Any] = json.loads(files("intact.receipts").joinpath("receipt.schema.json").read_bytes())
    return found
