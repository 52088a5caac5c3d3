"""Prompts to measure, and other requests that the endpoint processes concurrently."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from intact._base.errors import ParameterError
from intact._base.files import read_text
from intact.measure.meter.apis.base import Question, Setting

MOST_BYTES = 1 << 22
"""Maximum size of a prompt file."""
LONG_WORDS = 1200
"""Number of words of the long prompt."""
_COMPANY_WORDS = (10, 250)
"""Minimum and maximum number of words in other prompts."""


def read_prompts(file: Path) -> list[str]:
    """Read the prompts of a UTF-8 file, one per line.

    Raises
    ------
    ParameterError
        If the file is too large, cannot be read, or contains no prompt.
    """
    if file.exists() and file.stat().st_size > MOST_BYTES:
        raise ParameterError(f"{file} has {file.stat().st_size:,} bytes; at most {MOST_BYTES:,} are read")
    prompts = [line.strip() for line in read_text(file, ParameterError).split("\n") if line.strip()]
    if not prompts:
        raise ParameterError(f"{file} has no prompts: write one per line")
    return prompts


def sample_prompts() -> list[str]:
    """Return the questions in this package's GSM8K sample."""
    from intact.tasks.data import SAMPLES
    from intact.tasks.gsm8k import GSM8K

    return [item.question for item in GSM8K().load(folder=SAMPLES)]


class Questions:
    """The requests of a run.

    Every request begins with a system message that names the run, so that its prompt cannot be in the endpoint's cache
    from an earlier run.

    Parameters
    ----------
    run : str
        Identifier of the run and session, new for each.
    prompts : sequence of str
        Prompts to draw from.
    tokens : int
        Maximum number of tokens per answer.
    seed : int
        Seed for choosing them.
    """

    def __init__(self, run: str, prompts: Sequence[str], tokens: int, seed: int = 0) -> None:
        self._run, self._prompts, self._tokens = run, prompts, tokens
        self._order = random.Random(f"probes {seed}").sample(range(len(prompts)), len(prompts))
        self._random, self._made = random.Random(f"company {seed} {run}"), 0

    def probes(self, part: int, count: int, setting: Setting) -> list[Question]:
        """Return the prompts of a round to measure; rounds use different ones while any are left."""
        places = [self._order[(part * count + index) % len(self._order)] for index in range(count)]
        return [
            Question(f"Session {self._run}, round {part + 1}.", self._prompts[place], setting, self._tokens)
            for place in places
        ]

    def company(self, count: int, setting: Setting) -> list[Question]:
        """Return requests of various lengths that occur nowhere else."""
        return [self._other(self._random.randint(*_COMPANY_WORDS), setting) for _ in range(count)]

    def long(self, setting: Setting) -> Question:
        """Return a request whose prompt takes long to process."""
        return self._other(LONG_WORDS, setting)

    def _other(self, words: int, setting: Setting) -> Question:
        text: list[str] = []
        while len(text) < words:
            text += self._random.choice(self._prompts).split()
        self._made += 1
        name = f"Session {self._run}, other request {self._made}."
        return Question(name, " ".join(text[:words]) + " Discuss.", setting, self._tokens)
