"""The JSON schema of receipts, which other programs can check documents against."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from intact.receipts.request import NUMBERS, form_of


def schema() -> dict[str, Any]:
    """Return the schema, as JSON Schema 2020-12 has it; with the parameters of sampling rules that are installed."""
    found: dict[str, Any] = json.loads(files("intact.receipts").joinpath("receipt.schema.json").read_bytes())
    properties = {name: form_of(definition).schema for name, definition in NUMBERS.items()}
    found["$defs"]["sampling"]["properties"] |= properties  # the file's own, and those of added rules
    return found
