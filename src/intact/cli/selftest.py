"""``intact selftest``: the digests by which two machines know that they compute the same."""

from __future__ import annotations

from collections.abc import Mapping

from intact.cli.options import JsonOption
from intact.cli.output import emit, out

EXAMPLES = """\
The digests stand in the documentation; yours must equal them
  intact selftest
The same digests from the plainest instructions
  INTACT_ISA=scalar intact selftest
"""


def command(json: JsonOption = False) -> None:
    """Compute the digests over all operations and over the default model's tokens."""
    from intact.conformance import selftest

    digests: Mapping[str, str] = selftest()
    if json:
        emit(dict(digests))
        return
    width = max(len(name) for name in digests)
    for name, digest in digests.items():
        out().print(f"{name:{width}}  {digest}", soft_wrap=True, markup=False)
