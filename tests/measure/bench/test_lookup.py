"""Products by table look-up and by counting bits (benchmarks/lookup.cpp) are NumPy's integers."""

import shutil
import sys

import numpy as np
import pytest

from support.modules import ROOT, load

sys.path.append(str(ROOT / "benchmarks"))  # where lookup.py finds common.py
LOOKUP = load("benchmarks/lookup.py")
COMPILES = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on PATH to compile benchmarks/lookup.cpp")


@COMPILES
def test_scalar_forms_are_the_integer_product(tmp_path):
    """Three forms, 1 to 4 bits by 1 to 8 bits, five shapes."""
    library = LOOKUP.Library(tmp_path, ("-std=c++20", "-O1"), vectors=False)
    assert LOOKUP.check(library) == 3 * 4 * 8 * 5


@pytest.mark.slow
@COMPILES
def test_vectors_are_the_integer_product(tmp_path):
    library = LOOKUP.Library(tmp_path, ("-std=c++20", "-O1", "-march=native"))
    if not library.vectors:
        pytest.skip("this processor has no vectors that benchmarks/lookup.cpp knows")
    assert LOOKUP.check(library) == 6 * 4 * 8 * 5 + 3 * 4 * 5


@COMPILES
def test_a_wrong_product_is_noticed(tmp_path, monkeypatch):
    library = LOOKUP.Library(tmp_path, ("-std=c++20", "-O1"), vectors=False)
    right = LOOKUP.product
    monkeypatch.setattr(LOOKUP, "product", lambda *arguments: right(*arguments) + 1)
    with pytest.raises(AssertionError, match="scalar 0, 1 by 1 bits, 1 x 32 x 8: 8 of 8 results differ"):
        LOOKUP.check(library)


def test_repeated_patterns_are_counted():
    """Against sets of tuples of bits."""
    codes = np.random.default_rng(0).integers(-3, 3, (16, 8)).astype(np.int8)

    def patterns(row: int, group: int) -> list[tuple[int, ...]]:
        four = [int(code) for code in codes[row, 4 * group : 4 * group + 4]]
        return [tuple(code >> bit & 1 for code in four) for bit in range(8)]

    def share(rows: int) -> float:
        new = sum(
            len({p for row in range(first, first + rows) for p in patterns(row, group)})
            for first in range(0, 16, rows)
            for group in range(2)
        )
        return 1 - new / (16 * 2 * 8)

    zero = sum(patterns(row, group).count((0, 0, 0, 0)) for row in range(16) for group in range(2))
    assert LOOKUP.repeats(codes) == pytest.approx((zero / (16 * 2 * 8), share(1), share(4), share(16)))
