"""A smaller model as a drafter: it generates a few tokens ahead, drawn with the random numbers of their positions."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from weakref import WeakSet, finalize

import numpy as np
from numpy.typing import NDArray

from intact.engine.cache import Block, OutOfPagesError, PageTable, PrefixIndex
from intact.engine.draft.base import (
    CEILING,
    GREEDY,
    Acceptance,
    Drafter,
    DrawContext,
    RelativeAcceptance,
    Terms,
    Tree,
    make_tree,
)
from intact.engine.draft.controller import ALLOWANCE, CREDIT, WINNINGS, Costs
from intact.engine.sampling.state import Rules
from intact.executors.base import Executor
from intact.models.aspects.step import SequenceChunk
from intact.numerics.sampling import LOGPROB_SCALE, Draw

_LOG = logging.getLogger("intact")
DEEPEST: Final = 12
"""Maximum number of tokens in a chain."""
RANKS: Final = 4
"""Candidates per position: the drawn token and the most likely alternatives."""
SHARES: Final = 8
"""Number of classes for the probability of a drawn token."""
CATCHING_UP: Final = 256
"""Maximum number of new tokens of sequences that one step of the draft model computes."""
LONG: Final = 32
"""A sequence with more missing tokens than this is caught up only when due; the time is not charged to its guesses."""
BELOW: Final = (0.3, 0.12, 0.06)
"""Initial estimate of the acceptance rates of the alternatives when the drawn token is rejected."""


def _first_frequencies() -> list[float]:
    """Return the initial acceptance rates by class and rank."""
    found: list[float] = []
    for kind in range(SHARES):
        hit = 0.3 + 0.65 * (kind + 0.5) / SHARES
        found += [hit, *((1 - hit) * share for share in BELOW)]
    return found


class ModelDraft:
    """The draft of one sequence: its tokens, its pages in the draft model's cache, and the last chain guessed.

    Attributes
    ----------
    table : PageTable
        Filled up to the cached tokens of the sequence; the positions after them may hold guesses.
    """

    __slots__ = (
        "__weakref__",
        "_ahead",
        "_brought",
        "_drafter",
        "_guesses",
        "_relative",
        "covered",
        "draws",
        "missed",
        "ready",
        "table",
        "text",
        "tree",
    )

    def __init__(self, drafter: DraftModel, tokens: Sequence[int], draws: DrawContext) -> None:
        self._drafter, self.draws, self._relative = drafter, draws, RelativeAcceptance()
        self.text = list(tokens)
        self.table = PageTable(drafter.index)
        self.tree: Tree | None = None
        self.missed = 0.0  # steps that guesses would have saved before the sequence was caught up
        self.ready = False  # prepared since the sequence last grew
        self._ahead: list[int] = []  # guesses already computed
        self._brought = 0.0  # tokens that the chain is expected to gain over other drafters
        self._guesses: list[tuple[list[int], int]] = []  # at each depth: candidates, the drawn one first; their class
        self.covered: Sequence[float] = ()
        finalize(self, self.table.drop).atexit = False

    @property
    def position(self) -> int:
        """Position of the next token to guess."""
        return len(self.text)

    @property
    def missing(self) -> int:
        """Number of tokens that the cache lacks; 0 after a guess at this position."""
        return len(self.text) - self.table.length

    def part(self, start: int, end: int) -> bytes:
        """Return part of the sequence as keys of the prefix index."""
        return np.array(self.text[start:end], np.int32).tobytes()

    def forget(self) -> None:
        """Release the pages; the sequence is recomputed when it is needed again."""
        self.table.drop()
        self.begin()

    def extend(self, tokens: Sequence[int]) -> None:
        """Compare the chain with the tokens generated, and keep its cached positions as far as they agree."""
        agree = self.compare(tokens)
        self.text += tokens
        kept = min(agree, len(self._ahead), self.missing - 1)
        self.begin()
        self.ready = False
        if kept > 0:
            self.table.advance(kept, self.part)

    def compare(self, tokens: Sequence[int]) -> int:
        """Record the chain's result; return how many of its drawn tokens were correct."""
        agree, won = 0, 0.0
        for depth, ((order, kind), token) in enumerate(zip(self._guesses, tokens, strict=False)):
            self._drafter.observe(self, order, kind, token, relative=self._relative)
            if token not in order:
                break
            if depth < len(tokens) - 1:
                won += 1 - self._cover(depth)
            if token != order[0]:
                break
            agree += 1
        if self._guesses:
            self._drafter.earn(won)
        return agree

    def begin(self, covered: Sequence[float] = ()) -> None:
        """Discard the last chain."""
        self._ahead, self._guesses, self._brought = [], [], 0.0
        self.tree, self.covered = None, covered
        self.ready = True

    def chance(self, kind: int) -> list[float]:
        """Return the acceptance probabilities of a class's candidates."""
        chances = self._drafter.acceptance(self.draws).chances[kind * RANKS : (kind + 1) * RANKS]
        return [min(CEILING, self._relative.factor * chance) for chance in chances]

    def pays(self, reach: float, cost: float, spent: float, floor: float) -> bool:
        """Return true if one more guess raises the expected number of tokens per unit of time.

        Parameters
        ----------
        reach : float
            Probability that the chain so far is accepted.
        cost, spent : float
            Time of one more guess, and of the guesses before it, in steps of the main model.
        floor : float
            Time of a row.
        """
        depth = len(self._guesses)
        chance = reach * min(CEILING, self._relative.factor * self._drafter.mean(self.draws))
        time = 1 + spent + floor * max(depth, len(self.covered))
        return chance * (1 - self._cover(depth)) * time >= cost * (1 + sum(self.covered) + self._brought)

    def gain(self, cost: float, floor: float) -> float:
        """Return the time, in main-model steps, that guesses now are expected to save; parameters as for `pays`."""
        chance = min(CEILING, self._relative.factor * self._drafter.mean(self.draws))
        tokens, time = 1 + sum(self.covered), 1 + floor * len(self.covered)
        best, brought = 0.0, 0.0
        for depth in range(DEEPEST):
            brought += chance ** (depth + 1) * (1 - self._cover(depth))
            best = max(best, time * (tokens + brought) / tokens - time - (depth + 1) * cost)
        return best

    def _cover(self, depth: int) -> float:
        """Return the probability that another drafter's guess is accepted at a depth."""
        return self.covered[depth] if depth < len(self.covered) else 0.0

    def add(self, order: list[int], kind: int, reach: float) -> float:
        """Append candidates to the chain, the drawn one first; return the probability that the chain is accepted."""
        reach *= self.chance(kind)[0]
        self._brought += reach * (1 - self._cover(len(self._guesses)))
        self._guesses.append((order, kind))
        return reach

    def run_ahead(self, token: int) -> SequenceChunk:
        """Return the chunk that computes the chain's last token."""
        position = len(self.text) + len(self._ahead)
        self._ahead.append(token)
        return SequenceChunk(position, np.array([token], np.int32), self.table.pages)

    def finish(self, trees: bool) -> None:
        """Build a tree from the chain, adding the alternatives if the executor supports trees."""
        nodes: list[tuple[float, int, int, int]] = []  # chance, depth, rank, token
        reach = 1.0
        for depth, (order, kind) in enumerate(self._guesses):
            chances = self.chance(kind)
            for place, token in enumerate(order if trees else order[:1]):
                nodes.append((-min(reach, reach * chances[place]), depth, place, token))
            reach *= chances[0]
        nodes.sort()
        chain = {-1: -1}  # the node of each depth
        tokens: list[int] = []
        parents: list[int] = []
        found: list[float] = []
        for negative, depth, place, token in nodes:
            if place == 0:
                chain[depth] = len(tokens)
            tokens.append(token)
            parents.append(chain[depth - 1])
            found.append(-negative)
        self.tree = make_tree(tokens, parents, found, [self._drafter.name] * len(tokens))

    def propose(self, limit: int, floor: float = 0.0) -> Tree | None:
        """Return the best part of the tree that the draft model has prepared."""
        if limit <= 0:
            return None
        if not self.ready:
            self._drafter.prepare([self], [limit], Terms(floor, math.inf))
        if self.tree is None:
            return None
        return self.tree.cut(min(limit, sum(chance >= floor for chance in self.tree.chances)))


class DraftModel(Drafter):
    """A draft model with the same vocabulary, which writes chains for all sequences of a step at once.

    It draws tokens with the requests' own random keys, so wherever its distribution equals the main model's, it draws
    the same tokens, greedy or not. A chain grows while the next token is likely enough to be worth the measured time of
    a draft step; alternatives to each token are added to the tree. It keeps an account of the time it takes and the
    tokens it gains, and pauses while the balance is negative.

    Parameters
    ----------
    executor, index, context
        Executor, prefix index and context length of the draft model.
    vocabulary : int
        Vocabulary size of the main model.
    clock : callable
        Returns the time in seconds.
    """

    name = "model"

    def __init__(
        self,
        executor: Executor,
        index: PrefixIndex,
        *,
        context: int,
        vocabulary: int,
        trees: bool = True,
        clock: Callable[[], float] = time.perf_counter,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.executor, self.index, self.trees = executor, index, trees
        self._context, self._vocabulary, self.clock, self._close = context, vocabulary, clock, close
        self._frequencies = [Acceptance(_first_frequencies()) for _ in range(2)]  # greedy, sampled
        self._means = Acceptance([0.7, 0.6])
        self._open: WeakSet[ModelDraft] = WeakSet()
        self._costs = Costs()
        self._measured = self._failed = False
        self._balance = CREDIT  # in steps of the main model
        self._count = 1  # sequences in the step
        self._row = 0.0  # seconds per token when catching up
        self._spent = 0.0  # time of this step's guesses so far
        self.steps = self.rows = 0

    def open(self, tokens: Sequence[int], draws: DrawContext = GREEDY) -> ModelDraft:
        """Return a draft; its sequence is computed when a guess is first requested."""
        draft = ModelDraft(self, tokens, draws)
        self._open.add(draft)
        return draft

    def acceptance(self, draws: DrawContext) -> Acceptance:
        """Return the acceptance rates by class and rank, for greedy or sampled sequences."""
        return self._frequencies[bool(draws.sampling.slope)]

    def mean(self, draws: DrawContext) -> float:
        """Return the acceptance rate of the drawn token, for greedy or sampled sequences."""
        return self._means.chances[bool(draws.sampling.slope)]

    def observe(self, draft: ModelDraft, order: list[int], kind: int, token: int, relative: RelativeAcceptance) -> None:
        """Record a guess: its candidates, their class, and the token that was generated."""
        acceptance = self.acceptance(draft.draws)
        relative.observe(acceptance.chances[kind * RANKS], token == order[0])
        self._means.observe(bool(draft.draws.sampling.slope), token == order[0])
        for place, candidate in enumerate(order):
            acceptance.observe(kind * RANKS + place, candidate == token)

    def earn(self, tokens: float) -> None:
        """Record tokens gained that only this model guessed."""
        self._balance = min(WINNINGS, self._balance + tokens / self._count)

    def prepare(
        self,
        drafts: Sequence[ModelDraft],
        limits: Sequence[int],
        terms: Terms,
        covered: Sequence[Sequence[float]] = (),
    ) -> None:
        """Write a chain for each draft with a nonzero limit.

        Parameters
        ----------
        covered : for each draft a sequence of float
            Probability, per depth, that a guess of another drafter is accepted there: this model has to improve on it.
        """
        self._count = max(1, len(drafts))
        requested = []
        for i, (draft, limit) in enumerate(zip(drafts, limits, strict=True)):
            if not draft.ready or draft.tree is None:  # otherwise it has already guessed here
                draft.begin(covered[i] if covered else ())
                requested += [(draft, limit)] * (limit > 0)
        if self._failed or not requested:
            return
        if self._balance < CREDIT:
            self._balance = min(CREDIT, self._balance + ALLOWANCE)
        wanted = self._wanted([draft for draft, _ in requested], terms)
        if not wanted:
            return
        most = {
            draft: min(limit, DEEPEST, self._context - len(draft.text)) for draft, limit in requested if draft in wanted
        }
        try:
            self._write(most, terms)
        except Exception:  # only guesses are lost, no tokens
            _LOG.exception("the draft model failed and is disabled")
            self._failed = True
            for draft in list(self._open):
                draft.forget()

    def _price(self, rows: int, terms: Terms) -> float:
        """Return the time of a draft-model step in steps of the main model; 0 before the first measurement."""
        if not self._measured or not math.isfinite(terms.seconds):
            return 0.0
        return float(self._costs.seconds(np.array([rows]))[0]) / terms.seconds

    def _wanted(self, drafts: list[ModelDraft], terms: Terms) -> set[ModelDraft]:
        """Return the drafts whose first guess is worth a step; all of them while on trial, none while in debt."""
        if self._balance < 0:
            return set()
        known = [draft for draft in drafts if draft.missing <= LONG or self._is_due(draft, len(drafts), terms)]
        if self._balance >= CREDIT:
            return set(known)
        wanted = known
        while wanted:
            cost = self._cost(len(wanted), terms)
            staying = [draft for draft in wanted if draft.pays(1.0, cost, 0.0, terms.floor)]
            if len(staying) == len(wanted):
                break
            wanted = staying
        return set(wanted)

    def _is_due(self, draft: ModelDraft, alive: int, terms: Terms) -> bool:
        """Return true if a sequence with many missing tokens should be caught up now.

        That is when the gain missed so far equals the cost of catching up (rent or buy).
        """
        if not self._measured or not math.isfinite(terms.seconds):
            return True
        draft.missed += draft.gain(self._cost(alive, terms), terms.floor)
        return draft.missed >= draft.missing * self._row / terms.seconds

    def _cost(self, alive: int, terms: Terms) -> float:
        """Return the time of a guess: its share of a draft-model step plus its row in the main model's step."""
        return terms.floor + self._count * self._price(alive, terms) / alive

    def _write(self, most: dict[ModelDraft, int], terms: Terms) -> None:
        """Generate the chains of the drafts."""
        self._spent = 0.0
        logits, rows = self._take_in(most, terms)
        reach = dict.fromkeys(rows, 1.0)
        rules = {draft: draft.draws.rules() for draft in rows}
        depth = 0
        while rows:
            tokens = self._guess(logits, rows, depth, rules)
            going: dict[ModelDraft, int] = {}
            for draft, token in tokens.items():
                order, kind = token
                reach[draft] = draft.add(order, kind, reach[draft])
                if depth + 1 < most[draft] and self._goes_on(rules[draft], order[0]):
                    going[draft] = order[0]
            depth += 1
            cost = self._cost(max(1, len(going)), terms)
            chunks = {
                draft: draft.run_ahead(token)
                for draft, token in going.items()
                if draft.pays(reach[draft], cost, self._spent, terms.floor)
            }
            rows = {draft: row for row, draft in enumerate(chunks)}
            if rows:
                logits = self._step(chunks, list(chunks), range(len(chunks)), terms)
        for draft in reach:
            draft.finish(self.trees)

    def _goes_on(self, rules: Rules | None, token: int) -> bool:
        """Append a guess to the rules; return true if another token may follow."""
        if rules is None:
            return True
        rules.add(token)
        return rules.allow()

    def _guess(
        self, logits: NDArray[np.int32], rows: dict[ModelDraft, int], depth: int, rules: dict[ModelDraft, Rules | None]
    ) -> dict[ModelDraft, tuple[list[int], int]]:
        """Return the candidates at each draft's row, the drawn one first, and their class."""
        draws = []
        same = logits.shape[1] == self._vocabulary
        for draft, row in rows.items():
            own = rules[draft]
            edits, mask = own.next() if own is not None and same else (None, None)
            sampling, key = draft.draws[:2]
            draws.append(Draw(row, sampling, key, draft.position + depth, edits=edits, mask=mask))
        tokens, logprobs = self.executor.draw(logits, draws)
        count = min(RANKS, logits.shape[1])
        likeliest = self.executor.likeliest(logits, np.array(list(rows.values()), np.int64), count).tolist()
        found: dict[ModelDraft, tuple[list[int], int]] = {}
        for draft, token, logprob, others in zip(rows, tokens.tolist(), logprobs.tolist(), likeliest, strict=True):
            if 0 <= token < self._vocabulary:
                order = [token, *(other for other in others if other != token and other < self._vocabulary)][:RANKS]
                share = math.exp(min(0.0, logprob / LOGPROB_SCALE))
                found[draft] = order, min(SHARES - 1, int(share * SHARES))
        return found

    def _take_in(self, most: dict[ModelDraft, int], terms: Terms) -> tuple[NDArray[np.int32], dict[ModelDraft, int]]:
        """Compute missing tokens within the row limit of a step; return the logits of the sequences that caught up."""
        chunks: dict[ModelDraft, SequenceChunk] = {}
        claimed: set[tuple[Block, bytes]] = set()
        left, size = CATCHING_UP, self.index.pool.page_size
        for draft, depth in most.items():
            table = draft.table
            if draft.missing > size:
                table.match(draft.part, len(draft.text) - 1)
            count = min(draft.missing, left)
            claim = table.block, draft.part(table.length, table.length + size)
            if depth < 1 or count < 1 or (draft.missing > size and claim in claimed):  # another computes the same page
                continue
            if not self._reserve(table, draft.missing + depth, most):
                continue
            claimed.add(claim)
            left -= count
            tokens = np.array(draft.text[table.length : table.length + count], np.int32)
            chunks[draft] = SequenceChunk(table.length, tokens, table.pages)
        wanted: list[int] = []
        rows: dict[ModelDraft, int] = {}
        end = 0
        for draft, chunk in chunks.items():
            end += len(chunk.tokens)
            if len(chunk.tokens) == draft.missing:
                rows[draft] = len(wanted)
                wanted.append(end - 1)
        if not chunks:
            return np.zeros((0, 1), np.int32), {}
        logits = self._step(chunks, list(rows), wanted, terms)
        for draft, chunk in chunks.items():
            draft.table.advance(len(chunk.tokens), draft.part)
        return logits, rows

    def _reserve(self, table: PageTable, positions: int, used: Iterable[ModelDraft]) -> bool:
        """Reserve positions; if pages run out, evict idle ones, then those of drafts outside this step."""
        pool = self.index.pool
        pool.retry()
        others = [draft for draft in self._open if draft not in set(used)]
        while True:
            try:
                table.reserve(positions)
                return True
            except OutOfPagesError:
                if self.index.evict(max(1, table.missing(positions))):
                    continue
                if not others:
                    return False
                others.pop().forget()

    def run(
        self, chunks: Mapping[ModelDraft, SequenceChunk], guessing: Sequence[ModelDraft], wanted: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Run a step; return the wanted rows of logits, one for each guessing draft."""
        return self.executor.step(list(chunks.values()), wanted)

    def _step(
        self,
        chunks: Mapping[ModelDraft, SequenceChunk],
        guessing: Sequence[ModelDraft],
        wanted: Iterable[int],
        terms: Terms,
    ) -> NDArray[np.int32]:
        """Run a step and account for its time."""
        rows = sum(len(chunk.tokens) for chunk in chunks.values())
        start = self.clock()
        logits = self.run(chunks, guessing, np.array(list(wanted), np.int64))
        seconds = self.clock() - start
        self.steps += 1
        self.rows += rows
        if rows > len(chunks) * LONG:
            self._row = seconds / rows if not self._row else self._row + (seconds / rows - self._row) / 4
        else:
            self._costs.observe(rows, seconds)
            self._measured = True
            self._balance -= seconds / terms.seconds
            self._spent += seconds / terms.seconds
        return logits

    def close(self) -> None:
        """Free the draft model."""
        self._failed = True
        for draft in list(self._open):
            draft.forget()
        self._close()
