"""Parameters that make every method run quickly."""

from typing import Any, Final

PROVABLE: Final = """\
$c |- p q $.
aa $a |- q $.
ab $a |- q $.
${ b.1 $e |- q $. bc $a |- p $. $}
a. $a |- p $.
goal $p |- p $= ? $.
"""
"""A Metamath statement that the toy model's letters may prove in one or two steps."""

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
