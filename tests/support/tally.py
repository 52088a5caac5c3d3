"""An executor that remembers texts instead of computing: what follows depends on every token that the pages hold.

A wrong page, position, parent or copy changes all that is drawn afterwards; so what a scheduler does with pages can be
checked against `continued`, which knows no cache.
"""

import math

import numpy as np

from intact.engine.draft.base import GREEDY, Drafter, Terms, Tree
from intact.engine.mixes import ChosenMix, Mix
from intact.engine.request import GenerateRequest, Mixing, StreamPrompt

VOCABULARY = 7
PAGE = 16
CHAOS = 0x9E3779B97F4A7C15


def digest(tokens):
    """A number that depends on all tokens and their order."""
    state = 17
    for token in tokens:
        state = ((state ^ int(token)) * CHAOS + 1) % (1 << 61)
    return state


def following(tokens, key, others=()):
    """The token that a branch with this key draws after these, and what other streams have."""
    state = digest(tokens)
    for other in others:
        state ^= digest(other)
    mixed = (state ^ key * CHAOS) % (1 << 61)
    return (mixed >> 30) % VOCABULARY


def continued(prompt, key, count, others=()):
    """What a branch must draw, from the mix of several streams if there are other prompts."""
    text = []
    for _ in range(count):
        text.append(following([*prompt, *text], key, [[*other, *text] for other in others]))
    return text


MIX = Mix(
    name="tally",
    version=1,
    streams=(),
    parameters={},
    rule=lambda *given: np.bitwise_xor.reduce(given[:-1]),
    source="",
)


def mixing(streams):
    """A mix of streams, given as pairs of a model's number and a prompt."""
    return Mixing(ChosenMix(MIX, {}), tuple(StreamPrompt(model, np.array(text, np.int32)) for model, text in streams))


def mark(state, token):
    """What stands for the log-probability of a token after a text of this digest."""
    return (state ^ token * CHAOS) % (1 << 61)


def marks(tokens):
    """What scoring a text must give."""
    return [mark(digest(tokens[:i]), tokens[i]) for i in range(1, len(tokens))]


class Tally:
    """Pages hold tokens; logits are the digest of what a row sees, cut in three."""

    page_size, page_bytes, trees = PAGE, 1000, True
    profile, description, layout = "int8", {}, "tally 1"
    saturated = 0

    def __init__(self, limit=None):
        self.pages: list[np.ndarray] = []
        self.limit = limit
        self.steps: list[list[int]] = []
        self.copied = self.moved = 0

    def reserve_pages(self, count):
        if self.limit is not None and count > self.limit:
            raise MemoryError(f"no more than {self.limit} pages")
        self.pages += [np.full(PAGE, -1) for _ in range(count - len(self.pages))]

    def copy_page(self, source, target):
        self.copied += 1
        self.pages[target] = self.pages[source].copy()

    def read_page(self, page):
        data = np.zeros(self.page_bytes, np.uint8)
        data[: PAGE * 8] = self.pages[page].view(np.uint8)
        return data

    def write_page(self, page, data):
        self.pages[page] = data[: PAGE * 8].view(np.int64).copy()

    def move(self, pages, sources, targets):
        for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
            assert target < source
            self.moved += 1
            self.pages[pages[target // PAGE]][target % PAGE] = self.pages[pages[source // PAGE]][source % PAGE]

    def step(self, chunks, wanted):
        self.steps.append([len(chunk.tokens) for chunk in chunks])
        for chunk in chunks:
            for i, token in enumerate(chunk.tokens.tolist(), chunk.position):
                self.pages[chunk.pages[i // PAGE]][i % PAGE] = token
        rows = []
        for chunk in chunks:
            before = [self.pages[chunk.pages[k // PAGE]][k % PAGE] for k in range(chunk.position)]
            seen: list[list[int]] = []
            for i in range(len(chunk.tokens)):
                parent = i - 1 if chunk.parents is None else int(chunk.parents[i])
                place = chunk.position + i
                own = self.pages[chunk.pages[place // PAGE]][place % PAGE]
                seen.append((seen[parent] if parent >= 0 else before) + [own])
                assert -1 not in seen[i]
                rows.append(digest(seen[i]))
        kept = [rows[row] for row in wanted]
        return np.array([[x % (1 << 20), (x >> 20) % (1 << 20), x >> 40] for x in kept], np.int32).reshape(-1, 3)

    def draw(self, logits, draws):
        tokens = []
        for draw in draws:
            low, middle, high = (int(x) for x in logits[draw.row])
            mixed = ((low | middle << 20 | high << 40) ^ draw.key * CHAOS) % (1 << 61)
            tokens.append((mixed >> 30) % VOCABULARY)
        return np.array(tokens, np.int64), np.array([-draw.position for draw in draws], np.int64)

    def log_probabilities(self, logits, tokens):
        return np.array(
            [
                mark(low | middle << 20 | high << 40, t)
                for (low, middle, high), t in zip(logits.tolist(), tokens.tolist(), strict=True)
            ]
        )

    def likeliest(self, logits, rows, k):
        return np.tile(np.arange(k, dtype=np.int32), (len(rows), 1))

    def top(self, logits, rows, k):
        return self.likeliest(logits, rows, k), np.zeros((len(rows), k), np.int64)


class Oracle(Drafter):
    """A drafter that guesses at random, sometimes well: trees of any shape, some of whose nodes come true."""

    name, candidates, context, trees = "oracle", 2, 3, True

    def __init__(self, rng, keys):
        self.rng, self.keys = rng, keys

    def open(self, tokens, draws=GREEDY):
        return _Guess(self, list(tokens))

    def learn(self, observed):
        rows = len(observed.tokens)
        assert observed.candidates.shape == observed.gaps.shape == (rows, self.candidates)
        assert observed.before.shape == (rows, self.context)


class _Guess:
    def __init__(self, oracle, text):
        self.oracle, self.text = oracle, text

    def extend(self, tokens):
        self.text += tokens

    def propose(self, limit, floor=0.0):
        rng, tokens, parents = self.oracle.rng, [], []
        texts = [self.text]
        for _ in range(rng.randint(0, limit)):
            parent = rng.randrange(len(texts))
            token = (
                following(texts[parent], rng.choice(self.oracle.keys))
                if rng.random() < 0.8
                else rng.randrange(VOCABULARY)
            )
            if (parent - 1, token) in zip(parents, tokens, strict=True):
                continue
            tokens.append(token)
            parents.append(parent - 1)
            texts.append([*texts[parent], token])
        if not tokens:
            return None
        count = len(tokens)
        return Tree(np.array(tokens, np.int32), np.array(parents, np.int32), (0.5,) * count, ("oracle",) * count)


FREE = Terms(0.0, math.inf)
"""Costs under which everything pays: a step of the model takes for ever, rows nothing."""


class Eager:
    """Drafts as much as it may, and sees that what is reported makes sense."""

    learning = True

    def interested(self, sequences, others=0):
        return True

    def propose(self, drafts, limits, others=0, prepare=None):
        if prepare is not None:
            open_ones = [(draft, max(0, min(6, limit))) for draft, limit in zip(drafts, limits, strict=True) if draft]
            prepare([draft for draft, _ in open_ones], [limit for _, limit in open_ones], FREE)
        trees = [draft and draft.propose(max(0, min(6, limit))) for draft, limit in zip(drafts, limits, strict=True)]
        self.count = len(trees)
        return trees

    def report(self, trees, paths):
        assert len(trees) == len(paths) == self.count
        for tree, path in zip(trees, paths, strict=True):
            parents = [-1, *path][: len(path)]
            assert [int(tree.parents[node]) for node in path] == parents


def request(prompt, keys, limit, events, **fields):
    """A request whose tokens are collected in `events`: sample to tokens, and to its end under ("end", sample)."""

    def sink(event):
        assert event.logprob == -event.position
        events.setdefault(event.sample, []).append(event.token)

    def ended(sample, finish, error):
        assert ("end", sample) not in events
        events["end", sample] = (finish, error)

    fields = {"sampling": None} | fields
    return GenerateRequest(
        prompt=np.array(prompt, np.int32),
        keys=list(keys),
        limit=limit,
        sink=fields.pop("sink", sink),
        ended=ended,
        **fields,
    )
