"""Parameters with which every method has little to do."""

from typing import Any, Final

PROVABLE: Final = """\
$c |- p q $.
aa $a |- q $.
ab $a |- q $.
${ b.1 $e |- q $. bc $a |- p $. $}
a. $a |- p $.
goal $p |- p $= ? $.
"""
"""A statement for Metamath that the toy model's letters prove, in one step or two, or do not."""

SMALL: dict[str, Any] = {
    "n": 4,
    "k": 4,
    "m": 2,
    "simulations": 5,
    "width": 2,
    "steps": 3,
    "iterations": 2,
    "warmup": 2,
    "batch": 2,
    "rounds": 2,
    "checks": 2,
    "thinking": 9,
    "answering": 4,
    "patience": 2,
    "draft": 3,
    "stride": 3,
    "window": 2,
    "max_tokens": 20,
    "tokens": 2,
    "top": 5,
    "tries": 2,
    "mends": 3,
    "assistant": "metamath",
    "statement": PROVABLE,
}
