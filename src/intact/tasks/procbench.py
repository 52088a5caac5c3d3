"""Long procedures, spelled out: they test whether a model carries out every step and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar, TypeAlias

from intact._base.errors import ParameterError
from intact.tasks.generated import Draws, Generated
from intact.tasks.score import answers
from intact.tasks.task import Item

Words: TypeAlias = tuple[str, ...]
"""A state: a row of symbols."""

_STEP = re.compile(r"^\W*Step\s+(\d+)\W*[:.]\W*(.*)$", re.MULTILINE | re.IGNORECASE)
_FINAL = re.compile(r"Final\W*:\W*(.*)", re.IGNORECASE)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_LEAST = 3


def _swap(state: Words, draws: Draws) -> tuple[str, Words]:
    i, j = sorted(draws.sample(range(len(state)), 2))
    changed = list(state)
    changed[i], changed[j] = changed[j], changed[i]
    return f"Swap the symbols at positions {i + 1} and {j + 1}.", tuple(changed)


def _reverse(state: Words, draws: Draws) -> tuple[str, Words]:
    return "Write the symbols in reverse order.", state[::-1]


def _rotate(state: Words, draws: Draws) -> tuple[str, Words]:
    count = draws.between(1, len(state) - 1)
    symbols = "symbol" if count == 1 else f"{count} symbols"
    return f"Move the first {symbols} to the end, keeping their order.", state[count:] + state[:count]


def _delete(state: Words, draws: Draws) -> tuple[str, Words]:
    if len(state) <= _LEAST:
        return _append(state, draws)
    place = draws.below(len(state))
    return f"Delete the symbol at position {place + 1}.", state[:place] + state[place + 1 :]


def _append(state: Words, draws: Draws) -> tuple[str, Words]:
    letter = draws.choice(_LETTERS)
    return f"Add {letter} at the end.", (*state, letter)


def _insert(state: Words, draws: Draws) -> tuple[str, Words]:
    letter, place = draws.choice(_LETTERS), draws.below(len(state))
    text = f"Insert {letter} so that it stands at position {place + 1}."
    return text, (*state[:place], letter, *state[place:])


def _substitute(state: Words, draws: Draws) -> tuple[str, Words]:
    old, new = draws.choice(state), draws.choice(_LETTERS)
    return f"Replace every {old} by {new}.", tuple(new if symbol == old else symbol for symbol in state)


def _sort(state: Words, draws: Draws) -> tuple[str, Words]:
    return "Put the symbols in alphabetical order.", tuple(sorted(state))


OPERATIONS: tuple[Callable[[Words, Draws], tuple[str, Words]], ...] = (
    _swap, _reverse, _rotate, _delete, _append, _insert, _substitute, _sort,
)  # fmt: skip


class ProcBench(Generated):
    """Our own procedures on a row of letters, in the manner of ProcBench (Fujisawa et al. 2024, arXiv 2410.03117)."""

    name = "procbench"
    line = "procedures of many steps (steps=5) on a row of letters, to be followed to the letter"
    instruction = (
        'Write a line "Step N: ..." with the symbols after each step, separated by spaces, '
        'and end with a line "Final: ..." with the last ones.'
    )
    shots = (
        (
            "Begin with: p q r s\n1. Swap the symbols at positions 1 and 4.\n2. Add t at the end.",
            "Step 1: s q r p\nStep 2: s q r p t\nFinal: s q r p t",
        ),
        (
            "Begin with: m a m b\n1. Replace every m by z.\n2. Write the symbols in reverse order.",
            "Step 1: z a z b\nStep 2: b z a z\nFinal: b z a z",
        ),
    )
    measures: ClassVar[dict[str, str]] = {
        "prefix_accuracy": "steps that are right up to the first wrong one, over the larger number of steps",
        "sequential_match": "every step right, and none too many",
    }

    def __init__(self, *, steps: int = 5, letters: int = 6, seed: int = 0, size: int = 100) -> None:
        super().__init__(seed=seed, size=size)
        if not 1 <= steps <= 100:
            raise ParameterError(f"{self.name}: steps must be from 1 to 100, got {steps}")
        if not _LEAST <= letters <= len(_LETTERS):
            raise ParameterError(f"{self.name}: letters must be from {_LEAST} to {len(_LETTERS)}, got {letters}")
        self.steps, self.letters = steps, letters

    def make(self, index: int) -> Item:
        """Make a procedure and the sequence of its states."""
        draws = Draws(self.seed, self.name, self.steps, self.letters, index)
        state: Words = tuple(draws.sample(_LETTERS, self.letters))
        lines, states = [f"Begin with: {' '.join(state)}"], []
        for number in range(1, self.steps + 1):
            step, state = draws.choice(OPERATIONS)(state, draws)
            lines.append(f"{number}. {step}")
            states.append(" ".join(state))
        name = f"{self.steps}-{self.letters}-{self.seed}-{index}"
        return Item(name, "\n".join(lines), states[-1], {"steps": self.steps}, secret={"states": states})

    def read(self, text: str) -> str | None:
        """Return the text after the last "Final:", else in a box, else the text of the last step."""
        found = _FINAL.findall(text)
        boxed = answers.boxed(text)
        steps = _STEP.findall(text)
        answer = found[-1] if found else boxed if boxed is not None else steps[-1][1] if steps else ""
        return _canonical(answer) or None

    def measure(self, item: Item, text: str) -> dict[str, float]:
        """Return the share of leading steps that are right, and 1 if the states match exactly, else 0."""
        states = [_canonical(state) for _, state in _STEP.findall(text)]
        right: list[str] = item.secret["states"]
        good = 0
        while good < min(len(states), len(right)) and states[good] == right[good]:
            good += 1
        return {"prefix_accuracy": good / max(len(states), len(right)), "sequential_match": float(states == right)}


def _canonical(state: str) -> str:
    """Return the symbols separated by single spaces."""
    return " ".join(re.findall(r"[a-z]", state.partition("\n")[0].lower()))
