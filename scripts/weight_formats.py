#!/usr/bin/env python3
"""Write the table of weight formats into docs/spec/numerics.md, from the definitions in numerics/weight_formats.

    scripts/weight_formats.py [--check]

With --check nothing is written; the exit status is 1 if the page would change.
tests/numerics/weight_formats/test_definitions.py checks the same.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from intact.numerics.weight_formats import BLOCK_FORMATS

PAGE = Path(__file__).parent.parent / "docs/spec/numerics.md"
HEADER = "| source | bits | B | zero | r | minimum | table |\n|---|---|---|---|---|---|---|\n"
FLOATS = {8: (128, 4), 4: (8, 0)}
"""zero and r for floats that are converted to codes, by number of bits."""


def table() -> str:
    """Return the table in Markdown."""
    rows = [
        (name, form.bits, form.block, form.zero, form.shift, "yes" if form.minimum_at is not None else "",
         " ".join(map(str, form.table or ())))
        for name, form in BLOCK_FORMATS.items()
    ]  # fmt: skip
    rows += [(f"floats converted to {bits} bits", bits, 32, zero, r, "", "") for bits, (zero, r) in FLOATS.items()]
    return HEADER + "".join(re.sub(" +", " ", f"| {' | '.join(map(str, row))} |\n") for row in rows)


def page() -> str:
    """Return the page with the current table."""
    begin, end = "<!-- weight formats -->\n", "<!-- end of weight formats -->"
    return re.sub(f"{begin}.*?{end}", lambda _: begin + table() + end, PAGE.read_text(), flags=re.DOTALL)


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is stale")
    check = parser.parse_args().check
    stale = page() != PAGE.read_text()
    if stale and not check:
        PAGE.write_text(page())
    return int(check and stale)


if __name__ == "__main__":
    raise SystemExit(main())
