"""The draft controller: chooses, over all sequences of a step, the nodes that are worth the time of their rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intact.engine.draft.base import CEILING, Draft, Terms, Tree

MOST_NODES = 24
"""Maximum number of nodes per sequence and step."""
MOST_ROWS = 64
"""Maximum number of nodes per step, over all sequences."""
MARGIN = 1.02
"""Minimum expected speed-up for drafting."""
LEAST = 0.02
"""Minimum assumed cost of a second row, relative to a step, regardless of measurements."""
STALE = 0.2
"""Freshness (see `Costs`) below which a step runs without drafts, to measure its cost again."""
ALLOWANCE = 0.015
"""Share of the time that may be lost to drafting."""
LEARNING = 16
"""Maximum number of sequences in a step that the drafter learns from."""
KEPT = 16
"""Number of steps for which prices are cached."""
PROPOSING, IDLE, LONGEST_PAUSE = 2.0, 0.01, 32
"""Drafting work as a multiple of the proposing time; share of time allowed without gain; longest pause in steps."""
Prepare = Callable[[Sequence[Draft], Sequence[int], Terms], None]
"""Same signature as `Drafter.prepare`."""
CREDIT, WINNINGS = 2.0, 12.0
"""Initial and maximum balance of the time account, in steps."""
EXACT, LARGEST = 64, 1024
SLOPE = 0.06
"""Initial estimate of the cost of a second row, low enough that drafting is soon tried."""
REACH = 0.1
"""Logarithmic distance in rows over which a measurement also counts for other numbers of rows."""
MEMORY = 40.0
"""Number of steps after which a measurement has decayed to 1 / e."""


@dataclass(frozen=True)
class Statistics:
    """Counts of drafting so far.

    Attributes
    ----------
    steps, drafted : int
        Number of decoding steps, counted per sequence, and number of them that had a draft.
    proposed, accepted : mapping of str to int
        Nodes that were run, and nodes that were accepted, by drafter.
    """

    steps: int
    drafted: int
    proposed: Mapping[str, int]
    accepted: Mapping[str, int]

    @property
    def rejected(self) -> dict[str, int]:
        """Nodes that were run but not accepted, by drafter."""
        return {name: count - self.accepted.get(name, 0) for name, count in self.proposed.items()}

    @property
    def acceptance(self) -> float:
        """Share of nodes that were accepted; 0 if none were run."""
        return sum(self.accepted.values()) / max(1, sum(self.proposed.values()))

    @property
    def mean_accepted(self) -> float:
        """Mean number of accepted nodes per step with a draft."""
        return sum(self.accepted.values()) / max(1, self.drafted)

    @property
    def tokens_per_step(self) -> float:
        """Mean number of tokens per decoding step of a sequence."""
        return 1 + sum(self.accepted.values()) / max(1, self.steps)


class Controller:
    """Chooses trees to maximise the expected tokens per second, and none if drafting would be slower.

    Since estimates may be wrong, it keeps an account of time in units of a step: each step deposits ALLOWANCE, drafts
    pay for their rows and earn their accepted tokens, and nothing is drafted while the balance is negative.

    Parameters
    ----------
    most : int
        Maximum number of nodes per sequence and step.
    clock : callable
        Returns the time in seconds, from any origin.

    Attributes
    ----------
    learning : bool
        If true, the drafter should learn from the step of the last `propose`.
    """

    def __init__(self, most: int = MOST_NODES, clock: Callable[[], float] = time.perf_counter) -> None:
        self._most, self._clock = most, clock
        self.costs = Costs()
        self.learning = False
        self._balance = CREDIT
        self._ramp = 2  # nodes that may be tried: twice the largest number so far
        self._pause, self._wait = 1, 0  # steps between proposals, and steps left until the next
        self._proposing, self._gain = 0.0, 0.3  # seconds per proposal, and its gain in steps
        self._prices: tuple[int, int, list[float]] = (0, 0, [])  # number of sequences, last step of validity, prices
        self._plain = 1.0  # seconds of a step without drafts
        self._step = 0
        self._now = (0, 0)  # the current step's sequences and prompt rows
        self._start = 0.0
        self._prepared = 0.0  # seconds of shared draft work in this step
        self._steps = self._drafted = 0
        self._proposed: dict[str, int] = {}
        self._accepted: dict[str, int] = {}

    @property
    def statistics(self) -> Statistics:
        """Counts of proposed and accepted nodes so far."""
        return Statistics(self._steps, self._drafted, dict(self._proposed), dict(self._accepted))

    def prices(self, sequences: int, others: int = 0) -> list[float]:
        """Return the time of 0, 1, 2, ... more rows, in units of a step without drafts; noise never makes rows free.

        Parameters
        ----------
        sequences : int
            Number of decoding sequences.
        others : int
            Number of prompt rows in the same step.
        """
        count, until, prices = self._prices
        if count == sequences and self._step < until and not others:
            return prices
        now = sequences + others
        rows = now + np.arange(min(MOST_ROWS, self._most * sequences) + 1)
        seconds = self.costs.seconds(np.append(rows, sequences))
        least = seconds[0] * (1 + LEAST * (rows - 1)) / (1 + LEAST * (now - 1))
        more = (np.maximum(seconds[:-1], least) - seconds[0]) / seconds[-1]
        self._plain, prices = float(seconds[-1]), [float(price) for price in more]
        if not others:
            self._prices = sequences, self._step + KEPT, prices
        return prices

    def interested(self, sequences: int, others: int = 0) -> bool:
        """Return true if the next step should have drafts: a likely guess could pay off, and drafting is not paused.

        Otherwise drafts need not be opened or extended. Parameters as for `prices`.
        """
        return sequences > 0 and self._wait <= 1 and self.prices(sequences, others)[1] * sequences < CEILING

    def propose(
        self,
        drafts: Sequence[Draft | None],
        limits: Sequence[int],
        others: int = 0,
        prepare: Prepare = lambda drafts, limits, terms: None,
    ) -> list[Tree | None]:
        """Return trees for a step. The caller must then call `report`; the time in between is measured.

        Parameters
        ----------
        drafts : one for each sequence that decodes
            The sequence's draft, or None if it is not open.
        limits : sequence of int
            Maximum number of nodes for each sequence: the number of tokens it may still draw, minus one.
        others : int
            Number of prompt rows in the same step.
        prepare : callable
            Does the work shared by the drafts; a drafter whose shared work is slow keeps its own account of its gain.
        """
        self._start = self._clock()
        self._prepared = 0.0
        self._step += 1
        count = len(drafts)
        self._now = (count, others)
        self.learning = False
        nothing: list[Tree | None] = [None] * count
        self._wait -= 1
        if self._wait > 0 or not any(drafts) or not self.interested(count, others):
            return nothing
        prices = self.prices(count, others)
        floor = prices[1] * count
        self.learning = count <= LEARNING
        plain = self._balance < 0 or self.costs.freshness(count) < STALE
        most = [0 if plain else min(limit, self._most) for limit in limits]
        known = [(draft, limit) for draft, limit in zip(drafts, most, strict=True) if draft]
        before = self._clock()
        prepare([draft for draft, _ in known], [limit for _, limit in known], Terms(floor, self._plain))
        self._prepared = self._clock() - before
        trees = [draft.propose(limit, floor) if draft else None for draft, limit in zip(drafts, most, strict=True)]
        nodes, least, gain = self._best(trees, prices, count)
        if not plain:
            self._rest(gain)
        if not nodes:
            return nothing
        if count == 1:
            return [tree and tree.cut(nodes) for tree in trees]
        for i, tree in enumerate(trees):
            if tree:
                keep = min(nodes, sum(chance >= least for chance in tree.chances))
                nodes -= keep
                trees[i] = tree.cut(keep)
        return trees

    def _best(self, trees: Sequence[Tree | None], prices: Sequence[float], count: int) -> tuple[int, float, float]:
        """Return the node count that maximises expected tokens per time, the last node's chance, and the gain."""
        chances = sorted((chance for tree in trees if tree for chance in tree.chances), reverse=True)
        spent = 1 + self._prepared / self._plain  # the time spent on guesses is lost even if none are run
        tokens, best, nodes = float(count), MARGIN * count / spent, 0
        for i, chance in enumerate(chances[: min(self._ramp, len(prices) - 1)], 1):
            tokens += chance
            if tokens > best * (spent + prices[i]):
                best, nodes = tokens / (spent + prices[i]), i
        return (nodes, chances[nodes - 1], best / count - 1) if nodes else (0, 0.0, 0.0)

    def _rest(self, gain: float) -> None:
        """Pause if proposing has lately taken more time than it saved; `gain` is the expected gain of this step."""
        self._proposing += (self._clock() - self._start - self._prepared - self._proposing) / 8
        self._gain += (gain - self._gain) / 16
        share = PROPOSING * self._proposing / self._plain
        self._pause = 1 if gain or self._gain > share else int(min(2 * self._pause, 1 + share / IDLE, LONGEST_PAUSE))
        self._wait = self._pause

    def report(self, trees: Sequence[Tree | None], paths: Sequence[Sequence[int]]) -> None:
        """Record the result of a step and its time.

        Parameters
        ----------
        trees : as they were run
        paths : the nodes of each that were accepted
        """
        seconds = self._clock() - self._start - self._prepared
        count, others = self._now
        nodes = won = 0
        self._steps += count
        for tree, path in zip(trees, paths, strict=True):
            if tree is None:
                continue
            nodes += len(tree.tokens)
            won += len(path)
            self._drafted += 1
            for origin in tree.origins:
                self._proposed[origin] = self._proposed.get(origin, 0) + 1
            for node in path:
                self._accepted[tree.origins[node]] = self._accepted.get(tree.origins[node], 0) + 1
        if count and not others and (nodes or self._wait <= 1):
            self.costs.observe(count + nodes, seconds)
        if nodes:
            self._ramp = max(self._ramp, 2 * nodes)
            self._prices = (0, 0, [])
            self._balance = min(WINNINGS, self._balance + won / count - self.prices(count, others)[nodes])
        if self._balance < CREDIT:
            self._balance += ALLOWANCE


class Costs:
    """Time of a step as a function of its rows: a smooth correction of `1 + SLOPE * (rows - 1)`, in logarithms.

    The correction at a number of rows is the mean of the measurements, weighted by 1 / (1 + (distance / REACH)^4) and
    exp(-age / MEMORY): an old measurement gives way to fresh neighbours, and thereby to the optimistic SLOPE.
    """

    def __init__(self) -> None:
        steps = int(np.log(LARGEST / EXACT) / (REACH / 2)) + 1
        grid = np.unique([*range(1, EXACT), *np.geomspace(EXACT, LARGEST, steps).round().astype(int)])
        self._index = np.searchsorted((grid[1:] + grid[:-1]) / 2, np.arange(LARGEST + 1))  # nearest grid point
        logs = np.log(grid)
        self._nearness = 1 / (1 + (np.abs(logs[:, None] - logs) / REACH) ** 4)
        self._steps = 0
        self._seen: dict[int, tuple[float, int, int]] = {}  # by grid index: correction, count, last step

    def observe(self, rows: int, seconds: float) -> None:
        """Record a measured step. After the first, one over twice as slow as expected counts as twice as slow."""
        place = int(self._index[min(rows, LARGEST)])
        value = math.log(max(seconds, 1e-9) / (1 + SLOPE * (rows - 1)))
        self._steps += 1
        before, count, _ = self._seen.get(place, (value, 0, 0))
        change = min(value - before, math.log(2))
        self._seen[place] = before + change / min(count + 1, 4), count + 1, self._steps

    def freshness(self, rows: int) -> float:
        """Return 1 for a number of rows that was just measured, decaying to 0 with age."""
        seen = self._seen.get(int(self._index[min(rows, LARGEST)]))
        return math.exp((seen[2] - self._steps) / MEMORY) if seen else 0.0

    def seconds(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the time of steps in seconds, or in relative units before the first measurement."""
        hope = 1 + SLOPE * (rows.astype(np.float64) - 1)
        if not self._seen:
            return hope
        value, _, when = np.array(list(self._seen.values())).T
        near = self._nearness[self._index[np.minimum(rows, LARGEST)]][:, list(self._seen)]
        weights = near * np.exp(np.maximum((when - self._steps) / MEMORY, -600))
        seconds: NDArray[np.float64] = hope * np.exp((weights @ value) / weights.sum(axis=1))
        return seconds
