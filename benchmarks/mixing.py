#!/usr/bin/env python3
"""Measure a mix on HumanEval: USCD against plain sampling, one text per problem, with the same keys.

    benchmarks/mixing.py MODEL [--problems 60] [--deviation 0.0023]

The shadow prompt is the function's head with the first paragraph of its docstring, without examples. Prints the share
of right programs for each, McNemar's test and its interval, and the time.
"""

from __future__ import annotations

import argparse
import re
import time

import intact
from intact._base.errors import UndecidedError
from intact.stats.paired import mcnemar
from intact.tasks.programs import HumanEval
from intact.tasks.task import Item

SAMPLING = {"temperature": 0.8, "top_p": 0.95, "max_tokens": 256, "stop": HumanEval.stops}
_EXAMPLE = re.compile(r"^\s*(?:>>>|For example|Examples?\b|e\.g\.|.*(?:==|=>|->|➞|returns?:?\s*$))", re.IGNORECASE)


def lame(prompt: str, entry: str) -> str:
    """Return a function's head with its docstring up to the first example."""
    head, quotes, rest = re.split(r'("""|\'\'\')', prompt[prompt.index(f"def {entry}") :], maxsplit=1)
    lines = rest.partition(quotes)[0].splitlines()
    count = next((i for i, line in enumerate(lines) if _EXAMPLE.match(line) or f"{entry}(" in line), len(lines))
    text = "\n".join(lines[:count]).rstrip()
    return f"{prompt[: prompt.index(f'def {entry}')]}{head}{quotes}{text}\n    {quotes}\n"


def is_right(task: HumanEval, item: Item, text: str) -> bool:
    """Return true if the program passes the hidden tests."""
    try:
        return task.correct(item, task.read_for(item, text))
    except UndecidedError:
        return False


def main() -> None:
    """Generate, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--problems", type=int, default=60)
    parser.add_argument("--deviation", type=float, default=0.0023)
    given = parser.parse_args()
    task = HumanEval()
    items = task.load(limit=given.problems)
    prompts = [item.question for item in items]
    shadows = [lame(item.question, item.data["entry"]) for item in items]
    shorter = sum(shadow != prompt for shadow, prompt in zip(shadows, prompts, strict=True))
    print(f"{len(items)} problems, {shorter} with a shorter shadow; {SAMPLING}")
    model = intact.load(given.model)
    right = {}
    for name, mixed in (
        ("plain", {}),
        ("uscd", {"mix": {"name": "uscd", "deviation": given.deviation}, "shadow": shadows}),
    ):
        began = time.perf_counter()
        answers = model.generate(prompts, ids=[f"humaneval/{item.id}" for item in items], **SAMPLING, **mixed)
        seconds = time.perf_counter() - began
        right[name] = [is_right(task, item, answer.text) for item, (answer,) in zip(items, answers, strict=True)]
        tokens = sum(len(answer.tokens) for (answer,) in answers)
        print(f"{name}: {sum(right[name])} of {len(items)} right, {tokens} tokens, {seconds:.0f} s", flush=True)
    found = mcnemar(right["uscd"], right["plain"])
    print(
        f"uscd minus plain: {found.difference:+z.3f}, 95% interval {found.low:+z.3f} to {found.high:+z.3f}; "
        f"right by uscd alone {found.only_first}, by plain alone {found.only_second}, p = {found.exact:.3f}"
    )


if __name__ == "__main__":
    main()
