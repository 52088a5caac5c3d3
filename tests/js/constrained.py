"""Receipts of texts that were drawn under constraints, true and forged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import intact
from intact.receipts.document import Receipt
from support.forger import altered

Constrained = tuple[Path, intact.Model, list[Receipt]]
"""A model's file, the model, and a receipt of each request of `ASKED`."""

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["a", "é", "\U0001f600", 'x"y']}, "maxItems": 3},
        "next": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
    },
    "required": ["name", "tags"],
}
SUM = 'start: e\ne: t | e "+" t | e "-" t\nt: f | t "*" f\nf: N | "(" e ")"\nN: /[0-9]+/\n%ignore / /'
ITEMS = (
    '?start: item ("," " "? item)*\nitem: WORD | "[" [start] "]" -> nested\nWORD: L+ D~1..3\nL: "a".."z"\nD: /\\d/\n'
)
ASKED: dict[str, dict[str, Any]] = {
    "greedy regex": {"regex": r"[a-z ]{12,20}[0-9]{2}"},
    "drawn regex": {"regex": r"[a-z ]{12,20}[0-9]{2}", "temperature": 1, "seed": 7},
    "greedy schema": {"json_schema": PERSON},
    "drawn schema": {"json_schema": PERSON, "temperature": 1, "top_p": 0.9, "seed": 3, "repetition_penalty": 1.2},
    "greedy grammar": {"grammar": SUM},
    "drawn grammar": {"grammar": ITEMS, "temperature": 1.3, "min_p": 0.01, "seed": 5},
}


def receipts_of(path: Path) -> Constrained:
    """Make the receipts of a model in a file."""
    model = intact.load(path)
    asked = {"max_tokens": 60, "receipt": True, "logprobs": True}
    made = [model.generate("Who?", **asked, **given)[0][0].receipt for given in ASKED.values()]
    return path, model, [receipt for receipt in made if receipt is not None]


def other_token(receipt: Receipt) -> Receipt:
    """Change the third token."""
    tokens = receipt.output.tokens
    return replace(receipt, output=replace(receipt.output, tokens=(*tokens[:2], tokens[2] ^ 1, *tokens[3:])))


def other_constraint(receipt: Receipt) -> Receipt:
    """Claim another constraint, with the chain of the true one."""
    return replace(receipt, header=altered(receipt.header, regex=".*", json_schema=None, grammar=None))
