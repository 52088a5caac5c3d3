"""The JSON schema of runs' receipts, which other programs can check documents against."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from intact.receipts.schema import schema as answer_schema


def schema() -> dict[str, Any]:
    """The schema, as JSON Schema 2020-12 has it; what answers' receipts have too is as in theirs."""
    found: dict[str, Any] = json.loads(files("intact.runs").joinpath("run.schema.json").read_bytes())
    answer = answer_schema()
    parts = {name: answer["properties"][name] for name in ("model", "numerics", "output", "chain")}
    found["$defs"] |= answer["$defs"] | parts
    return found
