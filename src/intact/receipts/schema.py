"""The JSON schema of receipts, against which other programs can validate them."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from intact.receipts.request import NUMBERS, form_of


def schema() -> dict[str, Any]:
    """Return the schema (JSON Schema 2020-12), including the parameters of installed sampling rules."""
    found: dict[str, Any] = json.loads(files("intact.receipts").joinpath("receipt.schema.json").read_bytes())
    properties = {name: form_of(definition).schema for name, definition in NUMBERS.items()}
    found["$defs"]["sampling"]["properties"] |= properties  # parameters in the file, and those of added rules
    return found
