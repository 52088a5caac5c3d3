"""Worker process for computer algebra, used by `symbolic.py` (see `intact._base.process`)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import math_verify.parser
import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig  # type: ignore[import-untyped]
from math_verify import LatexExtractionConfig, parse, verify
from sympy.logic.boolalg import Boolean, BooleanAtom

_read = math_verify.parser.latex2sympy


def _keep_capitals(latex: str, **settings: Any) -> Any:
    """Convert LaTeX as math-verify does, but keep R and r distinct, which no setting of it does."""
    return _read(latex, conversion_config=ConversionConfig(lowercase_symbols=False), **settings)


math_verify.parser.latex2sympy = _keep_capitals


def value(latex: str) -> Any:
    """Parse an expression; return None for an equation of numbers, since algebra only says whether it holds."""
    found = parse(f"${latex}$", extraction_config=[LatexExtractionConfig()], parsing_timeout=None)
    parsed = found[0] if found and not isinstance(found[0], str) else None
    holds = parsed.doit() if isinstance(parsed, Boolean) else None
    return None if isinstance(holds, BooleanAtom) else parsed


def canonical(latex: str) -> str | None:
    """Return the canonical form, or None."""
    parsed = value(latex)
    if parsed is None:
        return None
    if isinstance(parsed, sympy.Symbol) and str(parsed) != latex:
        return None  # a word
    done = parsed.doit()
    return str(sympy.latex(sympy.expand(done) if isinstance(done, sympy.Expr) else done))


def equal(right: str, given: str) -> bool:
    """Return true if the two are equivalent."""
    one, other = value(right), value(given)
    if one is None or other is None:
        return False
    for first, second in ((one, other), (other, one)):
        if isinstance(first, (sympy.Tuple, sympy.Interval)) and isinstance(second, sympy.FiniteSet):
            return False  # math-verify would call them equal
    return bool(verify(one, other, timeout_seconds=None))


def start() -> dict[str, Callable[..., Any]]:
    """Return the request handlers."""
    logging.disable()
    return {"canonical": canonical, "equal": equal}
