"""The JSON schema of runs' receipts, against which other programs can validate documents."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from intact.receipts.decoding import MOST_STREAMS
from intact.receipts.schema import schema as answer_schema


def schema() -> dict[str, Any]:
    """Return the schema (JSON Schema 2020-12); it reuses the definitions in the schema of answers' receipts."""
    found: dict[str, Any] = json.loads(files("intact.solving.receipts").joinpath("run.schema.json").read_bytes())
    answer = answer_schema()
    parts = {name: answer["properties"][name] for name in ("model", "numerics", "chain", "signature")}
    output, decoding = answer["properties"]["output"], answer["properties"]["request"]["properties"]["decoding"]
    found["$defs"] |= answer["$defs"] | parts | {"text_output": _text_output(output), "mix": _mix(decoding)}
    return found


def _mix(decoding: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a model's mix, with a shadow text and partners instead of token streams."""
    named = {name: one for name, one in decoding["properties"].items() if name != "streams"}
    partners = {"type": "array", "maxItems": MOST_STREAMS, "items": {"$ref": "#/$defs/model"}}
    members = named | {"shadow": {"type": ["string", "null"]}, "partners": partners}
    return decoding | {"required": list(members), "properties": members}


def _text_output(output: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a completion: log-probabilities; optionally, likeliest tokens, spreads and a lost race."""
    members = output["properties"]
    logprobs = next(kind for kind in members["logprobs"]["oneOf"] if kind["type"] == "array")
    finishes = {"enum": [*members["finish"]["enum"], "cancelled"]}
    spread = {"$ref": "#/$defs/chain"}
    top = {"oneOf": [{"type": "null"}, spread]}
    return output | {
        "required": [*output["required"], "top"],
        "properties": members | {"logprobs": logprobs, "finish": finishes, "top": top, "spread": spread},
    }
