"""How much to draft: the nodes whose chance is worth the time of their rows, over all sequences of a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from intact.engine.draft.acceptance import CEILING
from intact.engine.draft.base import Draft, Tree
from intact.engine.draft.costs import Costs

MOST_NODES = 24
"""Of one sequence in one step."""
MOST_ROWS = 64
"""Of drafts in one step, over all sequences."""
MARGIN = 1.02
"""The speed-up that has to be expected before anything is drafted."""
LEAST = 0.02
"""The least that a second row may add to a step, whatever was measured."""
STALE = 0.2
"""What is left of a measurement (see `Costs`) when a step is run without drafts, to know anew what that costs."""
ALLOWANCE = 0.015
"""The share of time that drafts may lose."""
LEARNING = 16
"""The most sequences of a step that the drafter learns from."""
KEPT = 16
"""Steps without drafts for which prices are kept."""
ASKING, IDLE, LONGEST_PAUSE = 2.0, 0.01, 32
"""All work for a draft in times of proposing it; the share of time that it may take where it brings nothing."""
CREDIT, WINNINGS = 2.0, 12.0
"""Steps' worth of time that they may lose at first, and after they have won it."""


@dataclass(frozen=True)
class Statistics:
    """What drafting did so far.

    Attributes
    ----------
    steps, drafted : int
        Decoding steps of sequences, and those of them that had a draft.
    proposed, accepted : mapping of str to int
        Nodes that were run and those that came true, by drafter.
    """

    steps: int
    drafted: int
    proposed: Mapping[str, int]
    accepted: Mapping[str, int]

    @property
    def rejected(self) -> dict[str, int]:
        """Nodes that were run in vain, by drafter."""
        return {name: count - self.accepted.get(name, 0) for name, count in self.proposed.items()}

    @property
    def acceptance(self) -> float:
        """The share of nodes that came true; 0 if none was run."""
        return sum(self.accepted.values()) / max(1, sum(self.proposed.values()))

    @property
    def mean_accepted(self) -> float:
        """Nodes that came true in a step with a draft."""
        return sum(self.accepted.values()) / max(1, self.drafted)

    @property
    def tokens_per_step(self) -> float:
        """Tokens of a decoding step of one sequence."""
        return 1 + sum(self.accepted.values()) / max(1, self.steps)


class Controller:
    """Chooses trees so that the expected tokens a second are most, and none where that would lose.

    Expectations may be wrong, so there is an account of time in units of a step: each step pays in ALLOWANCE, drafts
    pay for their rows and earn their accepted tokens, and while the balance is below 0 nothing is drafted.

    Parameters
    ----------
    most : int
        The most nodes of one sequence in a step.
    clock : callable
        Seconds, from any start.

    Attributes
    ----------
    learning : bool
        Whether the drafter should learn from the step that `propose` was last called for.
    """

    def __init__(self, most: int = MOST_NODES, clock: Callable[[], float] = time.perf_counter) -> None:
        self._most, self._clock = most, clock
        self.costs = Costs()
        self.learning = False
        self._balance = CREDIT
        self._ramp = 2  # nodes that may be tried: twice as many as were
        self._pause, self._wait = 1, 0  # steps from one asking to the next, and those still to go
        self._asking, self._gain = 0.0, 0.3  # seconds that asking takes, and what it brings in steps
        self._prices: tuple[int, int, list[float]] = (0, 0, [])  # of how many sequences, until which step
        self._plain = 1.0  # seconds of a step without drafts
        self._step = 0
        self._now = (0, 0)  # the step that runs: its sequences, its rows of prompts
        self._start = 0.0
        self._steps = self._drafted = 0
        self._proposed: dict[str, int] = {}
        self._accepted: dict[str, int] = {}

    @property
    def statistics(self) -> Statistics:
        """What was proposed and accepted so far."""
        return Statistics(self._steps, self._drafted, dict(self._proposed), dict(self._accepted))

    def prices(self, sequences: int, others: int = 0) -> list[float]:
        """The time of 0, 1, 2, ... more rows, in steps without drafts; noise never makes rows free.

        Parameters
        ----------
        sequences : int
            How many decode.
        others : int
            Rows of prompts in the same step.
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
        """Whether drafts are to be asked in the next step: a likely guess could pay, and they have not just been.

        If not, they need not be opened, nor told of the text. Parameters as of `prices`.
        """
        return sequences > 0 and self._wait <= 1 and self.prices(sequences, others)[1] * sequences < CEILING

    def propose(self, drafts: Sequence[Draft | None], limits: Sequence[int], others: int = 0) -> list[Tree | None]:
        """Trees for a step; `report` must follow it. The clock runs in between.

        Parameters
        ----------
        drafts : one for each sequence that decodes
            None for one that is not open.
        limits : sequence of int
            The most nodes that each may have: as many tokens as it may still draw, less one.
        others : int
            Rows of prompts in the same step.
        """
        self._start = self._clock()
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
        trees = [
            draft.propose(0 if plain else min(limit, self._most), floor) if draft else None
            for draft, limit in zip(drafts, limits, strict=True)
        ]
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
        """How many of the likeliest nodes make the expected tokens a unit of time most; the last's chance; the gain."""
        chances = sorted((chance for tree in trees if tree for chance in tree.chances), reverse=True)
        tokens, best, nodes = float(count), MARGIN * count, 0
        for i, chance in enumerate(chances[: min(self._ramp, len(prices) - 1)], 1):
            tokens += chance
            if tokens > best * (1 + prices[i]):
                best, nodes = tokens / (1 + prices[i]), i
        return (nodes, chances[nodes - 1], best / count - 1) if nodes else (0, 0.0, 0.0)

    def _rest(self, gain: float) -> None:
        """Ask less often where asking takes more time than it has lately brought; `gain` is expected of this step."""
        self._asking += (self._clock() - self._start - self._asking) / 8
        self._gain += (gain - self._gain) / 16
        share = ASKING * self._asking / self._plain
        self._pause = 1 if gain or self._gain > share else int(min(2 * self._pause, 1 + share / IDLE, LONGEST_PAUSE))
        self._wait = self._pause

    def report(self, trees: Sequence[Tree | None], paths: Sequence[Sequence[int]]) -> None:
        """The step is over.

        Parameters
        ----------
        trees : as they were run
        paths : the nodes of each that were accepted
        """
        seconds = self._clock() - self._start
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
