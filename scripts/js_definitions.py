#!/usr/bin/env python3
"""Write the definitions that the JavaScript package takes from this one: js/src/definitions.js.

    scripts/js_definitions.py [--check]

Tensor formats, the patterns that split text into words, names of tokens that end a turn, digests of the contract, kinds
of constraints, and rejected GGUF keys are each defined in the Python package. `--check` fails if the file is out of
date.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from intact.engine.sampling.grammars import SPACE
from intact.engine.sampling.parameters import CONSTRAINTS
from intact.measure.conformance import EXPECTED
from intact.models.config import _GGUF_REFUSED, MOST_CONTEXT
from intact.numerics import VERSION
from intact.numerics.activations import SCHEMES
from intact.numerics.gate import GATES
from intact.numerics.kv_codecs import CODECS
from intact.numerics.profiles import PROFILES
from intact.numerics.sparsity import RULES
from intact.numerics.weight_formats import BLOCK_FORMATS, FLOAT_FORMATS
from intact.text.pretokenizers import KINDS
from intact.text.vocabulary import TURN_ENDS

FILE = Path(__file__).resolve().parent.parent / "js" / "src" / "definitions.js"
CONTRACT = ("operations", "layouts", "profiles")
"""Digests of docs/spec/contract.md that a browser can compute on its own from a conformance set."""
HEAD = "// Written by scripts/js_definitions.py from the Python package; do not edit.\n\n"


def definitions() -> dict[str, Any]:
    """Return all definitions as JSON values."""
    floats = [{"name": f.name, "gguf": f.gguf, "values": 1, "bytes": f.size} for f in FLOAT_FORMATS.values()]
    blocks = [{"name": f.name, "gguf": f.gguf, "values": f.values, "bytes": f.size} for f in BLOCK_FORMATS.values()]
    return {
        "numerics": VERSION,
        "gates": list(GATES),
        "most_context": MOST_CONTEXT,
        "formats": sorted(floats + blocks, key=lambda one: one["gguf"]),
        "float_formats": sorted(FLOAT_FORMATS),
        "pretokenizers": {name: kind._asdict() for name, kind in KINDS.items()},
        "profiles": {
            "plain": list(PROFILES),
            "sparse": [name for name, scheme in SCHEMES.items() if scheme.takes_sparsity],
            "rules": list(RULES),
            "codecs": list(CODECS),
        },
        "turn_ends": sorted(TURN_ENDS),
        "constraints": list(CONSTRAINTS),
        "json_space": SPACE,
        "contract": {name: EXPECTED[name] for name in CONTRACT},
        "refused": {key: list(values) for key, values in _GGUF_REFUSED.items()},
    }


def text() -> str:
    """Return the file's text."""
    return f"{HEAD}export default {json.dumps(definitions(), indent=2, ensure_ascii=True)};\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is out of date")
    if parser.parse_args().check:
        if FILE.read_text("utf-8") != text():
            sys.exit(f"js_definitions: {FILE} is out of date: run scripts/js_definitions.py")
        return
    FILE.write_text(text(), "utf-8")


if __name__ == "__main__":
    main()
