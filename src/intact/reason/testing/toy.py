"""A back end small enough to enumerate every output: a Markov chain over a few letters, with exact probabilities.

It samples by key and position as the engine does, and can work in any order, to show that timing has no effect. It
supports only regular expressions that match a single text; if that text cannot continue, it ends as if it were long
enough.
"""

import hashlib
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from intact.engine.sampling.spread import Spread
from intact.engine.sampling.stopping import is_unlikely
from intact.numerics.sampling import LOGPROB_SCALE, branch_key, millionths, uniform64
from intact.reason.backends.base import Generation, Written
from intact.reason.problem import Piece, Prompt, State, Top, Why

END = "$"
WEIGHTS: Mapping[str, Mapping[str, int]] = {
    "": {"a": 4, "b": 3, "c": 1},
    "a": {"a": 2, "b": 2, ".": 3, END: 1},
    "b": {"a": 1, "c": 4, ".": 2, END: 1},
    "c": {"b": 3, ".": 1, END: 4},
    ".": {"a": 2, "b": 1, "c": 1, END: 4},
}


def forced_letter(regex: str, written: str) -> str:
    """Return the next letter of the only text that an expression matches, or the end letter."""
    text = re.sub(r"\\(.)", r"\1", regex, flags=re.DOTALL) if regex != "()" else ""
    return text[len(written) : len(written) + 1] or END


class LetterLaw(NamedTuple):
    """The law of the next letter: weights, probabilities, log-probabilities, letters by likelihood, and the spread."""

    row: Mapping[str, int | Fraction]
    chances: dict[str, Fraction]
    logprobs: dict[str, int]
    best: Top
    spread: Spread

    @classmethod
    def of(cls, row: Mapping[str, int] | Mapping[str, Fraction]) -> "LetterLaw":
        """Return the law of letters drawn with these weights."""
        total = Fraction(sum(row.values()))
        chances = {letter: row[letter] / total for letter in sorted(row)}
        logprobs = {letter: round(math.log(chance) * LOGPROB_SCALE) for letter, chance in chances.items()}
        best = sorted(row, key=lambda letter: (-row[letter], letter))
        mean = Fraction(sum(logprobs.values()), len(row))
        entropy = -sum(chance * logprobs[letter] for letter, chance in chances.items())
        spread = Spread(round(entropy), max(0, round(-mean) - round(math.log(len(row)) * LOGPROB_SCALE)))
        return cls(row, chances, logprobs, tuple((letter, logprobs[letter]) for letter in best), spread=spread)


Chain = tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
"""Weights as a hashable value for caches."""


@cache
def laws_of(chain: Chain) -> dict[str, LetterLaw]:
    """Return the law that follows each last letter."""
    return {last: LetterLaw.of(dict(row)) for last, row in chain if row}


class MarkovBackend:
    """A model with letters as tokens; the next letter depends only on the last one.

    Parameters
    ----------
    timing : int, optional
        Seed of the order in which generations advance; by default all advance by one letter per step.
    fail : str, optional
        Text that cannot be continued and causes an error.

    Attributes
    ----------
    made : int
        Number of letters sampled.
    """

    caveats: tuple[str, ...] = ()
    vocabulary = "letters"
    spreads = True

    def __init__(
        self,
        weights: Mapping[str, Mapping[str, int]] = WEIGHTS,
        timing: int | None = None,
        context: int = 1000,
        fail: str | None = None,
    ) -> None:
        self.weights, self.context, self.fail = weights, context, fail
        self.letters = sorted({letter for row in weights.values() for letter in row})
        self.made = self.started = self.most = 0
        self.live: dict[Generation, tuple[list[str], list[int]]] = {}
        self._tops: dict[Generation, list[Top]] = {}
        self._spreads: dict[Generation, list[Spread]] = {}
        self._ended: list[Generation] = []
        self.chain: Chain = tuple((last, tuple(row.items())) for last, row in weights.items())
        self._laws = laws_of(self.chain)
        self._random = None if timing is None else random.Random(timing)

    @property
    def identity(self) -> str:
        """The digest of the weights."""
        return "markov " + hashlib.sha256(repr(self.weights).encode()).hexdigest()

    def count(self, part: Prompt | Piece) -> int:
        """Return the number of letters in a part."""
        if isinstance(part, Piece):
            return len(part.tokens) or len(part.text)
        return len(part) if isinstance(part, str) else sum(len(content) for _, content in part)

    def operations(self, start: int, count: int) -> int:
        """Return the cost of a number of letters starting at a position."""
        return sum(10 + position for position in range(start, start + count))

    def start(self, generations: Sequence[Generation]) -> None:
        """Begin generations."""
        for generation in generations:
            self.started += 1
            self.live[generation] = ([], [])
            self._tops[generation], self._spreads[generation] = [], []
        self.most = max(self.most, len(self.live))

    def step(self) -> list[Generation]:
        """Advance each text by one letter; return those that have ended."""
        moving = list(self.live)
        if self._random is not None:
            self._random.shuffle(moving)
            moving = moving[: self._random.randint(1, len(moving))] if moving else []
        for generation in moving:
            heat = generation.heat
            if generation in self.live and (heat is None or heat.may_move(generation.runner)):
                self._move(generation)
        for generation in list(self.live):
            heat = generation.heat
            if heat is not None and heat.over(generation.runner):
                self._end(generation, "cancelled")
        ended, self._ended = self._ended, []
        return ended

    def lengths(self, state: State, tokens: Sequence[int]) -> list[int]:
        """Return the number of characters after each letter; an end letter has none."""
        return list(accumulate(chr(token) != END for token in tokens))

    def cancel(self, generations: Sequence[Generation]) -> None:
        """End generations in progress."""
        for generation in generations:
            if generation in self.live:
                self._end(generation, "cancelled")

    def distribution(self, text: str, temperature: float = 1.0) -> dict[str, Fraction]:
        """Return the exact law of the next letter."""
        law = self.law(text)
        return {max(law.row, key=lambda letter: law.row[letter]): Fraction(1)} if temperature == 0 else law.chances

    def law(self, text: str) -> LetterLaw:
        """Return the law of the next letter."""
        return self._laws.get(text[-1:]) or self._laws[""]  # appended text: use the initial weights

    def texts(self, longest: int, stop: str = "\0", begun: str = "") -> Iterator[tuple[str, Fraction, str]]:
        """Yield every continuation with its probability and stop reason: 'end', 'stop' or 'length'."""
        for letter, chance in self.distribution(begun).items():
            if letter == END:
                yield "", chance, "end"
            elif letter == stop:
                yield letter, chance, "stop"
            elif longest == 1:
                yield letter, chance, "length"
            else:
                for rest, further, why in self.texts(longest - 1, stop, begun + letter):
                    yield letter + rest, chance * further, why

    def top(self, text: str, count: int) -> Top:
        """Return the likeliest next letters, with ties in alphabetical order."""
        return self.law(text).best[:count]

    def spread(self, text: str) -> Spread:
        """Return the spread of the law of the next letter, over the possible letters."""
        return self.law(text).spread

    def _move(self, generation: Generation) -> None:
        state, parameters = generation.state, generation.parameters
        written, logprobs = self.live[generation]
        text = state.text + "".join(written)
        if self.fail is not None and text.endswith(self.fail):
            self._end(generation, "error", f"{self.fail} cannot be continued")
            return
        position = self.count(state.prompt) + sum(map(self.count, state.pieces)) + len(written)
        here, law = self.law(text), self.distribution(text, parameters.temperature)
        if parameters.regex is not None:
            letter = forced_letter(str(parameters.regex), "".join(written))
            if letter not in here.chances:
                self._end(generation, "length")
                return
            law = {letter: Fraction(1)}
        u = uniform64(branch_key(parameters.seed, generation.branch), position)
        for letter, chance in law.items():  # noqa: B007
            u -= math.ceil(chance * 2**64)
            if u < 0:
                break
        self.made += 1
        written.append(letter)
        logprobs.append(here.logprobs[letter])
        self._tops[generation].append(self.top(text, parameters.top_logprobs))
        if generation.spread:
            self._spreads[generation].append(self.spread(text))
        late = generation.heat is not None and generation.heat.advance(generation.runner)
        if parameters.stop_below and max(here.chances.values()) < Fraction(str(parameters.stop_below)):
            self._end(generation, "uncertain")
        elif letter == END:
            self._end(generation, "end")
        elif any("".join(written).endswith(stop) for stop in parameters.stop):
            self._end(generation, "stop")
        elif is_unlikely(logprobs, millionths(parameters.stop_mean_below), parameters.stop_window):
            self._end(generation, "unlikely")
        elif len(written) == parameters.max_tokens:
            self._end(generation, "length")
        elif late:
            self._end(generation, "cancelled")

    def _end(self, generation: Generation, why: Why, error: str = "") -> None:
        written, logprobs = self.live.pop(generation)
        text = "".join(written[:-1] if why == "uncertain" else written).replace(END, "")
        tokens = tuple(ord(letter) for letter in written)
        top = tuple(self._tops.pop(generation)) if generation.parameters.top_logprobs else ()
        spread = tuple(self._spreads.pop(generation))
        generation.written = Written(text, tokens, tuple(logprobs), top, why=why, error=error, spread=spread)
        self._ended.append(generation)
        if generation.heat is not None:
            generation.heat.leave(generation.runner, why in ("end", "stop"))


class ListeningBackend(MarkovBackend):
    """A toy model whose law also depends on the whole prompt: any change in the prompt gives different texts."""

    _prompt = b""

    @property
    def identity(self) -> str:
        """The digest of the weights, and a marker that the model depends on the whole prompt."""
        return f"{super().identity}, listening"

    def law(self, text: str) -> LetterLaw:
        """Return the law of the next letter, given the prompt of the text in progress."""
        weights = self.weights.get(text[-1:]) or self.weights[""]
        begun = self._prompt + text[-1:].encode()
        return LetterLaw.of({letter: hashlib.sha256(begun + letter.encode()).digest()[0] + 1 for letter in weights})

    def _move(self, generation: Generation) -> None:
        self._prompt = repr(generation.state.prompt).encode()
        super()._move(generation)
