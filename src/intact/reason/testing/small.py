"""Parameters with which every method has little to do."""

from typing import Any

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
}
