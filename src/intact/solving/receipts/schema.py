"""The JSON schema of runs' receipts, which other programs can check documents against."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from intact.receipts.decoding import MOST_STREAMS
from intact.receipts.schema import schema as answer_schema


def schema() -> dict[str, Any]:
    """Return the schema, as JSON Schema 2020-12 has it; what answers' receipts have too is as in theirs."""
    found: dict[str, Any] = json.loads(files("intact.solving.receipts").joinpath("run.schema.json").read_bytes())
    answer = answer_schema()
    parts = {name: answer["properties"][name] for name in ("model", "numerics", "chain", "signature")}
    output, decoding = answer["properties"]["output"], answer["properties"]["request"]["properties"]["decoding"]
    found["$defs"] |= answer["$defs"] | parts | {"text_output": _text_output(output), "mix": _mix(decoding)}
    return found


def _mix(decoding: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a model's mix: a shadow's text and the partners in the place of streams of tokens."""
    named = {name: one for name, one in decoding["properties"].items() if name != "streams"}
    partners = {"type": "array", "maxItems": MOST_STREAMS, "items": {"$ref": "#/$defs/model"}}
    members = named | {"shadow": {"type": ["string", "null"]}, "partners": partners}
    return decoding | {"required": list(members), "properties": members}


def _text_output(output: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a text: log-probabilities always; perhaps likeliest tokens, spreads, that another won."""
    members = output["properties"]
    logprobs = next(kind for kind in members["logprobs"]["oneOf"] if kind["type"] == "array")
    finishes = {"enum": [*members["finish"]["enum"], "cancelled"]}
    spread = {"$ref": "#/$defs/chain"}
    top = {"oneOf": [{"type": "null"}, spread]}
    return output | {
        "required": [*output["required"], "top"],
        "properties": members | {"logprobs": logprobs, "finish": finishes, "top": top, "spread": spread},
    }
