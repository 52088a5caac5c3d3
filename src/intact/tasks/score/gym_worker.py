"""Worker process for Reasoning Gym, which generates items and runs their judges (see `intact._base.process`)."""

from __future__ import annotations

import base64
import inspect
import logging
import pickle
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import reasoning_gym
from reasoning_gym.factory import DATASETS

FUNCTIONS = "sin cos tan sec csc cot asin acos atan sinh cosh tanh asinh acosh atanh exp log ln sqrt Abs Rational"
"""Functions that an answer may call if its judge evaluates it."""

EVALUATING = re.compile(r"\b(eval|exec|parse_expr|sympify)\(")
CALLEE = re.compile(r"(?:^|[-+*/%^(,=\[<>]|(?<!\w)(?:" + "|".join(FUNCTIONS.split()) + r"))\s*\Z")


def harmless(answer: str) -> bool:
    """Return true if an answer only calculates when Python or SymPy evaluates it.

    It must not contain attributes, strings (SymPy evaluates strings passed to a function), or anything that hides
    characters, and it may call only `FUNCTIONS`.
    """
    if re.search(r"[\\#'\"]|\.\s*[^\W\d]", answer):
        return False
    return all(CALLEE.search(answer[: place.start()]) for place in re.finditer(r"\(", answer))


@lru_cache(maxsize=16)
def data_set(name: str, seed: int, size: int) -> Any:
    """Create a dataset, or return the cached one."""
    return reasoning_gym.create_dataset(name, seed=seed, size=size)


def make(settings: tuple[str, int, int], index: int) -> dict[str, str]:
    """Return an item's question, answer and complete entry, pickled and base64-encoded."""
    entry = data_set(*settings)[index]
    whole = base64.b64encode(pickle.dumps(entry)).decode()
    return {"question": str(entry["question"]), "answer": str(entry["answer"]), "entry": whole}


def full_marks(settings: tuple[str, int, int], entry: str, answer: str) -> bool:
    """Return true if the dataset's judge gives an answer full marks; `entry` is as returned by `make`."""
    judge = data_set(*settings).score_answer
    if EVALUATING.search(inspect.getsource(judge)) and not harmless(answer):
        return False
    return bool(judge(answer, pickle.loads(base64.b64decode(entry))) >= 1)


def start() -> dict[str, Callable[..., Any]]:
    """Return the request handlers."""
    logging.disable()
    return {"make": make, "full_marks": full_marks, "data_sets": lambda: sorted(DATASETS)}
