"""The program of the worker process for Reasoning Gym, which makes items and judges (see `intact._base.process`)."""

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
"""What an answer may call where its judge evaluates it."""

EVALUATING = re.compile(r"\b(eval|exec|parse_expr|sympify)\(")
CALLEE = re.compile(r"(?:^|[-+*/%^(,=\[<>]|(?<!\w)(?:" + "|".join(FUNCTIONS.split()) + r"))\s*\Z")


def harmless(answer: str) -> bool:
    """Return whether an answer does no more than calculate when Python or SymPy evaluates it.

    There must be no attribute, no string (SymPy evaluates those that a function is given), nothing that hides
    characters, and before every bracket nothing that can be called but `FUNCTIONS`.
    """
    if re.search(r"[\\#'\"]|\.\s*[^\W\d]", answer):
        return False
    return all(CALLEE.search(answer[: place.start()]) for place in re.finditer(r"\(", answer))


@lru_cache(maxsize=16)
def data_set(name: str, seed: int, size: int) -> Any:
    """Create a data set, or return the one that was created before."""
    return reasoning_gym.create_dataset(name, seed=seed, size=size)


def make(settings: tuple[str, int, int], index: int) -> dict[str, str]:
    """Return an item's question, answer, and whole entry, pickled and in base64."""
    entry = data_set(*settings)[index]
    whole = base64.b64encode(pickle.dumps(entry)).decode()
    return {"question": str(entry["question"]), "answer": str(entry["answer"]), "entry": whole}


def full_marks(settings: tuple[str, int, int], entry: str, answer: str) -> bool:
    """Return whether the data set's judge gives an answer all points; the entry is as `make` gives it."""
    judge = data_set(*settings).score_answer
    if EVALUATING.search(inspect.getsource(judge)) and not harmless(answer):
        return False
    return bool(judge(answer, pickle.loads(base64.b64decode(entry))) >= 1)


def start() -> dict[str, Callable[..., Any]]:
    """Return what may be asked."""
    logging.disable()
    return {"make": make, "full_marks": full_marks, "data_sets": lambda: sorted(DATASETS)}
