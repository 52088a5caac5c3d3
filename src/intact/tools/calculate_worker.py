"""Worker program for exact calculation, called by `calculate.py` (see `intact._base.process`).

An expression is parsed into a Python syntax tree and built only from the numbers, names and functions below; no part of
it is evaluated as Python.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import sympy

LARGEST = 1 << 16
"""Maximum size, in bits, of a power of integers that is computed."""
FACTORIAL = 3000
"""Largest argument of a factorial."""
CONSTANTS: dict[str, Any] = {"pi": sympy.pi, "E": sympy.E, "I": sympy.I, "oo": sympy.oo}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": sympy.Abs,
    "acos": sympy.acos,
    "apart": sympy.apart,
    "asin": sympy.asin,
    "atan": sympy.atan,
    "binomial": sympy.binomial,
    "cancel": sympy.cancel,
    "ceiling": sympy.ceiling,
    "cos": sympy.cos,
    "diff": sympy.diff,
    "divisors": sympy.divisors,
    "exp": sympy.exp,
    "expand": sympy.expand,
    "factor": sympy.factor,
    "factorint": sympy.factorint,
    "floor": sympy.floor,
    "gcd": sympy.gcd,
    "integrate": sympy.integrate,
    "isprime": sympy.isprime,
    "lcm": sympy.lcm,
    "limit": sympy.limit,
    "log": sympy.log,
    "max": sympy.Max,
    "min": sympy.Min,
    "mod": sympy.Mod,
    "nextprime": sympy.nextprime,
    "nsimplify": sympy.nsimplify,
    "simplify": sympy.simplify,
    "sin": sympy.sin,
    "solve": sympy.solve,
    "sqrt": sympy.sqrt,
    "tan": sympy.tan,
    "together": sympy.together,
}
"""Functions that take their arguments unchanged; `factorial`, `N`, `sum` and `product` are defined below."""
RELATIONS: dict[type[ast.cmpop], Callable[..., Any]] = {
    ast.Eq: sympy.Eq,
    ast.NotEq: sympy.Ne,
    ast.Lt: sympy.Lt,
    ast.LtE: sympy.Le,
    ast.Gt: sympy.Gt,
    ast.GtE: sympy.Ge,
}


def power(base: Any, exponent: Any) -> Any:
    """Return a power, unless it is too large to compute."""
    if base.is_Rational and exponent.is_Integer and abs(base) != 1:
        bits = max(int(base.p).bit_length(), int(base.q).bit_length()) * abs(int(exponent))
        if bits > LARGEST:
            raise ValueError(f"a power of {bits:,} bits is too large; at most {LARGEST:,} are written out")
    return base**exponent


def factorial(number: Any) -> Any:
    """Return a factorial, unless it is too large."""
    if number.is_Integer and int(number) > FACTORIAL:
        raise ValueError(f"the factorial of {number} is too large; at most that of {FACTORIAL:,} is written out")
    return sympy.factorial(number)


def decimal(value: Any, digits: Any = 15) -> Any:
    """Return a value as a decimal number with the given number of digits, at most 1,000."""
    if not 1 <= int(digits) <= 1000:
        raise ValueError(f"N gives 1 to 1,000 digits, got {digits}")
    return sympy.N(value, int(digits))


FUNCTIONS |= {
    "N": decimal,
    "factorial": factorial,
    "product": lambda term, *bounds: sympy.product(term, bounds),
    "sum": lambda term, *bounds: sympy.summation(term, bounds),
}


def build(node: ast.AST, text: str) -> Any:
    """Return the value of a syntax tree node."""
    match node:
        case ast.Constant(value=bool() | str() | bytes() | complex() | None):
            pass
        case ast.Constant():
            return sympy.Rational((ast.get_source_segment(text, node) or "").replace("_", ""))
        case ast.Name(id=name):
            return CONSTANTS[name] if name in CONSTANTS else sympy.Symbol(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -build(operand, text)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return build(operand, text)
        case ast.BinOp(left=left, op=operator, right=right):
            return calculate(operator, build(left, text), build(right, text))
        case ast.Compare(left=left, ops=[relation], comparators=[right]) if type(relation) in RELATIONS:
            return RELATIONS[type(relation)](build(left, text), build(right, text))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](*[build(argument, text) for argument in arguments])
        case ast.Call(func=ast.Name(id=name)):
            raise ValueError(f"there is no function {name}; there are {', '.join(sorted(FUNCTIONS))}")
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [build(part, text) for part in parts]
    raise ValueError(f"{ast.get_source_segment(text, node)!r:.80} is no part of an expression")


def calculate(operator: ast.operator, left: Any, right: Any) -> Any:
    """Return the value of an operation."""
    match operator:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            if right == 0:
                raise ZeroDivisionError("division by zero")
            return left / right
        case ast.FloorDiv():
            return sympy.floor(left / right)
        case ast.Mod():
            return sympy.Mod(left, right)
        case ast.Pow():
            return power(left, right)
    raise ValueError("operators are + - * / // % ** and ^, which is a power too")


def evaluate(text: str) -> str:
    """Return the value of an expression as SymPy prints it."""
    text = text.strip().replace("^", "**")  # safe, as expressions contain no strings
    value = build(ast.parse(text, mode="eval").body, text)
    return str(value.doit() if isinstance(value, sympy.Basic) else value)


def start() -> dict[str, Callable[..., Any]]:
    """Return the functions that the parent may call."""
    return {"evaluate": evaluate}
