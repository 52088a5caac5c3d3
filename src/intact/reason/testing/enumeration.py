"""Exact laws of methods: all outcomes of every random choice, with their probabilities."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from itertools import accumulate, pairwise
from typing import Any, TypeVar

from intact._base.exact import Number
from intact.reason import CallMethod, Extend, Piece, Problem, Race, Raced, Score, Scorer, State, find
from intact.reason.testing.toy import END, Chain, MarkovBackend, forced_letter

T = TypeVar("T")
LONGEST = 4


class Oracle:
    """An oracle that makes choices: first those of a given path, then always the first option.

    Attributes
    ----------
    chance : Fraction
        The probability of all choices made.
    """

    def __init__(self, path: Sequence[int] = ()) -> None:
        self.path = list(path)
        self.taken: list[int] = []
        self.widths: list[int] = []
        self.chance = Fraction(1)

    def choose(self, options: Sequence[tuple[T, Fraction]]) -> T:
        """Choose one of the options, each given with its probability."""
        place = len(self.taken)
        number = self.path[place] if place < len(self.path) else 0
        self.taken.append(number)
        self.widths.append(len(options))
        value, chance = options[number]
        self.chance *= chance
        return value

    def ancestors(self, scheme: str, weights: Sequence[Number], n: int) -> list[int]:
        """Return an outcome of a resampling scheme (`intact.reason.populations.resampling.DrawSource`)."""
        return [place for options in ancestries(scheme, weights, n) for place in self.choose(options)]

    def flips(self, chances: Sequence[Fraction]) -> list[bool]:
        """Return one outcome for each probability."""
        return [
            self.choose([(True, chance), (False, 1 - chance)] if chance < 1 else [(True, chance)]) for chance in chances
        ]


def outcomes(run: Callable[[Oracle], T]) -> Iterator[tuple[T, Fraction]]:
    """Yield the value of a program for every sequence of choices, with its probability."""
    paths: list[list[int]] = [[]]
    while paths:
        path = paths.pop()
        oracle = Oracle(path)
        value = run(oracle)
        yield value, oracle.chance
        for place in range(len(path), len(oracle.taken)):
            paths += [[*oracle.taken[:place], other] for other in range(1, oracle.widths[place])]


def law(run: Callable[[Oracle], T]) -> dict[T, Fraction]:
    """Return the distribution of a program's value."""
    result: dict[T, Fraction] = {}
    for value, chance in outcomes(run):
        result[value] = result.get(value, Fraction(0)) + chance
    if sum(result.values()) != 1:
        raise AssertionError(f"the probabilities sum to {sum(result.values())}")
    return result


Options = list[tuple[tuple[int, ...], Fraction]]


def ancestries(scheme: str, weights: Sequence[Number], n: int) -> list[Options]:
    """Return the exact law of a resampling scheme: independent choices whose outcomes are concatenated.

    Written from the definitions, for continuous uniforms: multinomial, n draws by weight; stratified, one draw at a
    uniform point of each n-th of the distribution; systematic, the same with one uniform for all draws; residual, the
    integer parts of ``n w / sum(w)``, and multinomial draws weighted by the remainders.
    """
    masses = [Fraction(one) for one in weights]
    total = sum(masses)
    edges = [n * edge / total for edge in accumulate(masses)]  # child i looks at a point of [i, i + 1)
    by_weight: Options = [((j,), mass / total) for j, mass in enumerate(masses) if mass]
    if scheme == "multinomial":
        return [by_weight] * n
    if scheme == "stratified":
        rows = [[min(max(edge - i, Fraction(0)), Fraction(1)) for edge in (Fraction(0), *edges)] for i in range(n)]
        return [[((j,), high - low) for j, (low, high) in enumerate(pairwise(row)) if high > low] for row in rows]
    if scheme == "systematic":
        cuts = sorted({edge % 1 for edge in edges} | {Fraction(0), Fraction(1)})
        return [[(tuple(bisect_right(edges, i + low) for i in range(n)), high - low) for low, high in pairwise(cuts)]]
    copies = [int(n * mass / total) for mass in masses]
    whole = tuple(j for j, count in enumerate(copies) for _ in range(count))
    left, rest = n - len(whole), [n * mass / total - count for mass, count in zip(masses, copies, strict=True)]
    drawn: Options = [((j,), part / left) for j, part in enumerate(rest) if part]
    return [[(whole, Fraction(1))], *[drawn] * left]


@dataclass(frozen=True, repr=False)
class EnumeratedProblem(Problem):
    """A problem whose methods take their own draws from an oracle instead of from keys."""

    oracle: Oracle = field(default_factory=Oracle)

    @classmethod
    def of(cls, problem: Problem, oracle: Oracle) -> EnumeratedProblem:
        """Return a problem with draws from an oracle."""
        return cls(**vars(problem), oracle=oracle)

    def key(self, *path: str | int) -> Any:
        """Return the oracle, which transformers accept in place of a key."""
        return self.oracle


class Player:
    """Serve a method's requests as the driver does, with an oracle instead of keys.

    Completions have at most `longest` letters unless a request sets a limit.

    Attributes
    ----------
    written : list of State
        All generated sequences, in the order of requests.
    rounds : list of list of str
        The sequences extended by each yield.
    """

    def __init__(
        self, model: MarkovBackend, oracle: Oracle, longest: int = LONGEST, scorer: Scorer | None = None
    ) -> None:
        self.model, self.oracle, self.longest, self.scorer = model, oracle, longest, scorer
        self.written: list[State] = []
        self.rounds: list[list[str]] = []
        self._children: Counter[Any] = Counter()

    def play(self, steps: Any, problem: Problem) -> Any:
        """Run a method and return its answer."""
        result: Any = None
        try:
            while True:
                request = steps.send(result)
                several = isinstance(request, list | tuple)
                requests = list(request) if several else [request]
                if any(isinstance(one, Extend) for one in requests):
                    self.rounds.append([one.state.text for one in requests])
                results = [self._serve(one, problem) for one in requests]
                result = results if several else results[0]
        except StopIteration as stop:
            return stop.value

    def _serve(self, request: Any, problem: Problem) -> Any:
        match request:
            case Extend():
                return self._extend(request)
            case Score():
                scorer: Any = self.scorer
                return list(scorer.score(problem, request.states))
            case CallMethod():
                called: Any = find(request.method) if isinstance(request.method, str) else request.method
                return self.play(called(request.problem, **request.parameters), request.problem)
            case Race():
                states = [self._extend(runner) for runner in request.runners]
                arrivals = sorted((s.length, i) for i, s in enumerate(states) if s.complete)[: request.winners]
                limit = arrivals[-1][0] if len(arrivals) == request.winners else self.longest
                return Raced([cut(state, limit) for state in states], [i for _, i in arrivals])
        raise TypeError(request)

    def _extend(self, request: Extend) -> State:
        state = request.state
        if state.ended:
            return state
        longest = self.longest if request.max_tokens is None else request.max_tokens
        letters = {*self.model.letters, END}
        (stop,) = [one for one in request.stop if letters.issuperset(one)] or ["\0"]  # no other is ever written
        if request.regex is None:
            options = pieces(
                self.model.chain, longest, stop, state.text, top_logprobs=request.top_logprobs, spread=request.spread
            )
            piece, why = self.oracle.choose(options)
        else:
            piece, why = forced(self.model, longest, request.regex, state.text)
        number = self._children[state.branch]
        self._children[state.branch] += 1
        self.written.append(State(state.prompt, (*state.branch, number), (*state.pieces, piece), why))
        return self.written[-1]


@cache
def pieces(
    chain: Chain, longest: int, stop: str, begun: str, top_logprobs: int, spread: bool = False
) -> list[tuple[tuple[Piece, Any], Fraction]]:
    """Return each possible next piece of text under these weights, with its stop reason and probability."""
    model = MarkovBackend({last: dict(row) for last, row in chain})
    options = []
    for text, chance, why in model.texts(longest, stop, begun):
        letters = text + (END if why == "end" else "")
        tops = [model.top(begun + letters[:i], 26) for i in range(len(letters))]
        piece = Piece(
            text,
            tuple(map(ord, letters)),
            tuple(dict(top)[letter] for top, letter in zip(tops, letters, strict=True)),
            tuple(top[:top_logprobs] for top in tops) if top_logprobs else (),
            model="",
            spread=tuple(model.spread(begun + letters[:i]) for i in range(len(letters))) if spread else (),
        )
        options.append(((piece, why), chance))
    return options


def forced(model: MarkovBackend, longest: int, regex: str, begun: str) -> tuple[Piece, Any]:
    """Return the only text that an expression matches, or as much of it as is possible, with the stop reason."""
    letters = ""
    while len(letters) < longest and not letters.endswith(END):
        letter = forced_letter(regex, letters)
        if letter not in model.distribution(begun + letters):
            break
        letters += letter
    tops = [dict(model.top(begun + letters[:i], 26)) for i in range(len(letters))]
    logprobs = tuple([top[letter] for top, letter in zip(tops, letters, strict=True)])
    ended = letters.endswith(END)
    return Piece(letters.removesuffix(END), tuple(map(ord, letters)), logprobs, model=""), "end" if ended else "length"


def cut(state: State, limit: int) -> State:
    """Cut a losing runner at the last winner's token count."""
    last = state.pieces[-1]
    if len(last.tokens) <= limit:
        return state
    kept = replace(last, text=last.text[:limit], tokens=last.tokens[:limit], logprobs=last.logprobs[:limit])
    return replace(state, pieces=(*state.pieces[:-1], kept), why="cancelled")
