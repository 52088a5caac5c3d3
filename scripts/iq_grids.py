#!/usr/bin/env python3
"""Write native/formats/iq_grids.inl from src/intact/numerics/weight_formats/iq_grids.py: the codebooks of the IQ types.

    scripts/iq_grids.py [--check]

With --check nothing is written; the exit status is 1 if the file would change.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from intact.numerics.weight_formats.iq_grids import GRIDS

FILE = Path(__file__).parent.parent / "native/formats/iq_grids.inl"
HEAD = """\
// The codebooks of the IQ types, and the conversion of their entries to codes. Written by scripts/iq_grids.py from its
// namesake in numerics/weight_formats, which documents the entries and their source.
namespace formats {

// Spreads four fields of 2 or 4 bits to four bytes.
inline uint32_t spread_pairs(uint32_t x) {
    x &= 255;
    return (x | x << 6 | x << 12 | x << 18) & kPairs;
}
inline uint32_t spread_nibbles(uint32_t x) {
    return (x & 15) | (x & 0xf0) << 4 | (x & 0xf00) << 8 | (x & 0xf000) << 12;
}

// Extends seven sign bits by an eighth that makes the number of negative values even.
inline uint32_t even_signs(uint32_t x) {
    x &= 127;
    return x | static_cast<uint32_t>(__builtin_parity(x)) << 7;
}

// Reads a 4-bit scale, which represents an odd number.
inline int odd_scale(const uint8_t* nibbles, int b) { return 2 * (nibbles[b / 2] >> b % 2 * 4 & 15) + 1; }

// clang-format off
"""
TAIL = """\
// clang-format on

}  // namespace formats
"""


def text() -> str:
    """Return the contents that the file should have."""
    tables = []
    for name, grid in GRIDS.items():
        lines = [", ".join(f"0x{entry:04x}" for entry in grid[at : at + 14]) for at in range(0, len(grid), 14)]
        rows = ",\n    ".join(lines)
        tables.append(f"constexpr uint16_t kGrid{name}[{len(grid)}] = {{\n    {rows}}};\n")
    return HEAD + "\n".join(tables) + TAIL


def main() -> int:
    """Write or check the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is stale")
    check = parser.parse_args().check
    stale = text() != (FILE.read_text() if FILE.exists() else "")
    if stale and not check:
        FILE.write_text(text())
    return int(check and stale)


if __name__ == "__main__":
    raise SystemExit(main())
