"""``intact selftest``: print digests that show whether two machines compute the same results."""

from __future__ import annotations

from collections.abc import Mapping

import typer

from intact.cli.options import JsonOption
from intact.cli.output import emit, show

EXAMPLES = """\
Compare your digests with those in the documentation
  intact selftest
The same digests from scalar instructions
  INTACT_ISA=scalar intact selftest
"""


def command(json: JsonOption = False) -> None:
    """Compute digests over all operations and the default model's tokens; exit code 1 if one is wrong."""
    from intact.measure.conformance import EXPECTED, selftest

    digests: Mapping[str, str] = selftest()
    right = all(EXPECTED[name] == digest for name, digest in digests.items())
    if json:
        emit({**digests, "as_documented": right})
    else:
        width = max(len(name) for name in EXPECTED)
        for name, digest in digests.items():
            verdict = "as documented" if digest == EXPECTED[name] else f"WRONG: should be {EXPECTED[name]}"
            show(f"{name:{width}}  {digest}  {verdict}")
        if "tokens" not in digests:
            show(f"{'tokens':{width}}  needs the default model: intact pull")
    if not right:
        raise typer.Exit(1)
