"""What `intact.score.child` runs, passed as text: algebra, or the items and judges of Reasoning Gym.

One request a line, one reply a line; none, and the process ends, where a request takes too much memory or processor
time: for the latter the kernel ends it.
"""

import base64
import json
import os
import pickle
import random
import re
import resource
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

FUNCTIONS = "sin cos tan sec csc cot asin acos atan sinh cosh tanh asinh acosh atanh exp log ln sqrt Abs Rational"
"""What an answer may call where its judge evaluates it."""

EVALUATING = re.compile(r"\b(eval|exec|parse_expr|sympify)\(")
CALLEE = re.compile(r"(?:^|[-+*/%^(,=\[<>]|(?<!\w)(?:" + "|".join(FUNCTIONS.split()) + r"))\s*\Z")


def value(latex: str) -> Any:
    """Parse an expression."""
    found = parse(f"${latex}$", extraction_config=[LatexExtractionConfig()], parsing_timeout=None)
    return found[0] if found and not isinstance(found[0], str) else None


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
    """Return whether the two mean the same."""
    one, other = value(right), value(given)
    if one is None or other is None:
        return False
    for first, second in ((one, other), (other, one)):
        if isinstance(first, (sympy.Tuple, sympy.Interval)) and isinstance(second, sympy.FiniteSet):
            return False  # which math-verify allows
    return bool(verify(one, other, timeout_seconds=None))


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
    """Return an item's question, answer, and whole entry, pickled and in base64; or what kept it from being made."""
    try:
        entry = data_set(*settings)[index]
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    whole = base64.b64encode(pickle.dumps(entry)).decode()
    return {"question": str(entry["question"]), "answer": str(entry["answer"]), "entry": whole}


def full_marks(settings: tuple[str, int, int], entry: str, answer: str) -> bool:
    """Return whether the data set's judge gives an answer all points; the entry is as `make` gives it."""
    judge = data_set(*settings).score_answer
    if EVALUATING.search(inspect.getsource(judge)) and not harmless(answer):
        return False
    return bool(judge(answer, pickle.loads(base64.b64decode(entry))) >= 1)


def sow() -> None:
    """Seed the generators that libraries share, which some data sets draw from: a request depends on none before it."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)


def serve(work: dict[str, Callable[..., Any]]) -> None:
    """Answer requests until there are none."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a library that prints is no reply
    memory = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        name, arguments, seconds = json.loads(line)
        used = resource.getrusage(resource.RUSAGE_SELF)
        end = int(used.ru_utime + used.ru_stime) + seconds + 1
        resource.setrlimit(resource.RLIMIT_CPU, (end, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        sow()
        try:
            reply = work[name](*arguments)
        except MemoryError:
            return  # elsewhere there may be more of it: who asked gives up
        except Exception:
            reply = None
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    import logging

    sys.path += [path for path in sys.argv[1].split(os.pathsep) if path not in sys.path]
    logging.disable()
    if sys.argv[3] == "algebra":
        import sympy
        from math_verify import LatexExtractionConfig, parse, verify

        serve({"canonical": canonical, "equal": equal})
    else:
        import inspect

        import reasoning_gym
        from reasoning_gym.factory import DATASETS

        serve({"make": make, "full_marks": full_marks, "data_sets": lambda: sorted(DATASETS)})
