"""What is to be solved, as a method sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from intact.numerics.sampling import branch_key
from intact.reason.state import Branch, Prompt, State, as_prompt


def whole_text(text: str) -> str | None:
    """Take a text itself as its answer, without the white space around it; none, if it is empty."""
    return text.strip() or None


@dataclass(frozen=True)
class Problem:
    """A question, and how an answer is read.

    Attributes
    ----------
    id : str
        Its name; draws depend on it, never on the problem's place among others.
    prompt : Prompt
        A text, or a conversation.
    read : callable
        The canonical answer in a text, or None where there is none. Answers are the same if these texts are.
    data : mapping
        What else a method may know, such as tests that are public. Never the solution.
    seed : int
        With the place in the tree the key of all draws.
    branch : tuple
        The root of the tree; by default the id. The driver gives sub-methods roots of their own.
    """

    id: str
    prompt: Prompt
    read: Callable[[str], str | None] = whole_text
    data: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    branch: Branch = ()

    @property
    def root(self) -> Branch:
        """The root of the tree of texts."""
        return self.branch or (self.id,)

    @property
    def start(self) -> State:
        """The prompt, with nothing written yet."""
        return State(self.prompt, self.root)

    def ask(self, prompt: str | Sequence[Mapping[str, str]] | Prompt) -> State:
        """Begin with another prompt than the problem's own."""
        return State(as_prompt(prompt), self.root)

    def key(self, *path: str | int) -> int:
        """A 64-bit key for a method's own randomness, such as ``key("resample", step)``; begin with a word."""
        return branch_key(self.seed, (*self.root, *path))

    def answer(self, state: State) -> str | None:
        """The answer in a state's text; a text that broke off with an error has none."""
        return None if state.why == "error" else self.read(state.text)

    def answers(self, states: Sequence[State]) -> list[str | None]:
        """The answer in each state's text."""
        return [self.answer(state) for state in states]
