"""The shared cache: blocks in any order give the bits of the definition, and workers write what they see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import intact
from intact._base.errors import ParameterError
from intact.engine.shared_cache.attention import Attention, KeptHeads, SeenHeads
from intact.engine.shared_cache.cache import Reading, Seen, SharedCache, TokenBlock
from intact.engine.shared_cache.request import SharedRequest, SharedText
from intact.engine.shared_cache.rules import DOUBT, GOES_ON, LAYOUTS, NAMES, OTHERS, OWN, PAST
from intact.engine.shared_cache.workers import write_together
from intact.executors.native import available_tiers
from intact.library import Model
from intact.models.ops import Attend, Rope
from intact.numerics.attention import (
    Heads,
    attend,
    quantize_keys,
    quantize_query,
    quantize_values,
    score_scale,
    scores,
)
from intact.numerics.rope import rotate, rotation, sine_cosine
from intact.numerics.sampling import branch_key, draw, make_sampling
from intact.numerics.soft_cap import score_cap
from support.tiny import write_tiny

PROMPT = [5, 9, 17, 40, 8, 3, 77, 12]
ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "gpt-oss")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def tiny(folder: Path, architecture: str = "llama", **options: Any) -> Model:
    path = folder / f"{architecture}.gguf"
    if not path.exists():
        write_tiny(path, architecture, context=256)
    return intact.load(path, drafter="off", **{"threads": 1} | options)


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[Model]:
    with tiny(folder) as loaded:
        yield loaded


def request(**changes: Any) -> SharedRequest:
    first = SharedRequest(
        tuple(PROMPT), 2, 12, "combined", 0, 4, "#", "\n\n", "", "So:", make_sampling(0.8), 3, ("p", 0)
    )  # fmt: skip
    return replace(first, **changes)


def written(model: Model, **changes: Any) -> SharedText:
    with SharedCache(model) as cache:
        return write_together(cache, request(**changes))


def last_logits(model: Model, tokens: Sequence[int]) -> NDArray[np.int32]:
    rows, _ = model.logits(list(tokens), raw=True)
    return np.asarray(rows[-1])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_block_has_the_bits_of_an_ordinary_text(folder: Path, architecture: str) -> None:
    tokens = [*PROMPT, *range(20, 60)]
    with tiny(folder, architecture) as model, SharedCache(model) as cache:
        block = cache.block()
        cache.read(Reading(block, tokens[:5], []))
        one_by_one = [cache.step([Reading(block, [token], [])])[0].copy() for token in tokens[5:]]
        assert np.array_equal(one_by_one[-1], last_logits(model, tokens))
        assert np.array_equal(one_by_one[3], last_logits(model, tokens[:9]))
        assert block.tokens == tokens


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_text_in_two_blocks_means_the_same(folder: Path, architecture: str) -> None:
    """Positions add up: behind a first block a second one is nearly what follows it, and nothing else is."""
    first, second = PROMPT, [60, 33, 21, 90, 14]
    with tiny(folder, architecture) as model, SharedCache(model) as cache:
        before, after = cache.block(), cache.block()
        cache.read(Reading(before, first, []))
        whole = Reading(after, second, [Seen(before, len(first))])
        found = cache.step([whole])[0].astype(np.int64)
        alone = cache.step([whole._replace(block=cache.block(), before=[])])[0].astype(np.int64)
        wanted = last_logits(model, [*first, *second]).astype(np.int64)
    scale = wanted.std()
    assert np.abs(found - wanted).max() < 0.1 * scale
    assert np.abs(alone - wanted).max() > 0.5 * scale


def test_rows_do_not_depend_on_each_other_nor_on_how_they_are_computed(folder: Path) -> None:
    def logits(page_size: int = 32, together: bool = True, **options: Any) -> NDArray[np.int32]:
        with tiny(folder, page_size=page_size, **options) as model, SharedCache(model) as cache:
            prompt, one, two = cache.block(), cache.block(), cache.block()
            cache.read(Reading(prompt, PROMPT, []))
            seen = Seen(prompt, len(prompt))
            first = [Reading(one, [4, 7, 90], [seen]), Reading(two, [14, 15], [seen])]
            for readings in [first] if together else [[first[1]], [first[0]]]:
                cache.step(readings)
            counts = [len(one), len(two)]
            second = [
                Reading(one, [33], [seen, Seen(two, counts[1])]),
                Reading(two, [8], [seen, Seen(one, counts[0])]),
            ]
            if together:
                return cache.step(second).copy()
            return np.concatenate([cache.step([reading]).copy() for reading in reversed(second)])[::-1]

    wanted = logits()
    others: list[dict[str, Any]] = [
        {"threads": 2}, {"page_size": 16}, {"together": False}, {"executor": "reference"}
    ]  # fmt: skip
    for options in others:
        assert np.array_equal(logits(**options), wanted), options


def test_every_tier_gives_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for tier in available_tiers():
        monkeypatch.setenv("INTACT_ISA", tier)
        with tiny(folder) as model:
            found.append(written(model, tokens=6))
    assert len(set(found)) == 1


def test_what_others_read_in_this_very_step_is_seen_where_a_reading_says_so(model: Model) -> None:
    with SharedCache(model) as cache:
        old, new = cache.block(), cache.block()
        both = cache.step([Reading(old, [5, 6], []), Reading(new, [7], [Seen(old, 2)])])[1].copy()
        again, last = cache.block(), cache.block()
        cache.step([Reading(again, [5, 6], [])])
        assert np.array_equal(cache.step([Reading(last, [7], [Seen(again, 2)])])[0], both)


@pytest.mark.parametrize("window", [0, 5])
@pytest.mark.parametrize("cap", [None, Fraction(30)])
@pytest.mark.parametrize("sink", [False, True])
def test_attention_takes_one_maximum_and_one_mass_over_all_blocks(
    window: int, cap: Fraction | None, sink: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Head by head: scores of a query that is turned for each block, then section 7 over them all."""
    random = np.random.default_rng(window + 7 * sink)
    heads, group, width, counts, rows = 4, 2, 16, (3, 7, 4), 2
    op = Attend("q", "k", "v", "t", 0, heads, group, width, Fraction(1, 4), window=window, cap=cap or Fraction(0))
    rope, turns = Rope("q", 0, heads, width, False), rotation(10000.0, width, {})
    sinks = random.integers(-(1 << 16), 1 << 18, heads) if sink else None
    attention = Attention(op, rope, score_scale(op.scale), score_cap(cap) if cap else None, sinks)
    queries = random.integers(-(1 << 18), 1 << 18, (rows, heads, width))
    seen, kept, before = list[SeenHeads](), list[tuple[Heads, Heads]](), sum(counts[:-1])
    own = counts[-1] - rows + np.arange(rows)
    for count in counts:
        raw = random.integers(-(1 << 18), 1 << 18, (2, count, group, width))
        keys, values = quantize_keys(raw[0]), quantize_values(raw[1])
        both = KeptHeads(), KeptHeads()
        for one, new in zip(both, (keys, values), strict=True):
            one.append(Heads(new.codes[:2], new.scale[:2]))
            one.append(Heads(new.codes[2:], new.scale[2:]))
        seen.append(SeenHeads(both[0].first(count), both[1].first(count), before + own))
        kept.append((keys, values))
        before = max(0, before - count)
    angles = sine_cosine(np.concatenate([one.distance for one in seen]), turns)
    found = attention.attend(queries, seen, angles)
    for row, head in product(range(rows), range(heads)):
        score, codes, scales = [], [], []
        for one, (keys, values) in zip(seen, kept, strict=True):
            distance = int(one.distance[row])
            turned = rotate(queries[row, head][None, None], *sine_cosine(np.array([distance]), turns), False)[0, 0]
            first = max(0, distance - window + 1) if window else 0
            here = slice(first, distance + 1)
            part = Heads(keys.codes[here, head // 2], keys.scale[here, head // 2])
            score.append(scores(quantize_query(turned, attention.scale), part))
            codes.append(values.codes[here, head // 2])
            scales.append(values.scale[here, head // 2])
        whole = np.concatenate(score)
        monkeypatch.setattr("intact.numerics.attention.scores", lambda query, keys, whole=whole: whole)
        query = quantize_query(queries[row, head], attention.scale)
        wanted = attend(
            query,
            keys,
            Heads(np.concatenate(codes), np.concatenate(scales)),
            attention.cap,
            None if sinks is None else int(sinks[head]),
        )
        assert np.array_equal(found[row, head], wanted)


def refused(path: Path, **options: Any) -> str:
    with intact.load(path, drafter="off", **options) as model, pytest.raises(ParameterError) as caught:
        SharedCache(model)
    return str(caught.value)


def test_what_cannot_share_is_refused_before_the_work(folder: Path) -> None:
    assert "profile int8" in refused(write_tiny(folder / "a.gguf"), profile="fp32")
    assert "codec" in refused(write_tiny(folder / "a.gguf"), kv="int4")
    for architecture, reason in [("mamba2", "state"), ("deepseek2", "projections")]:
        assert reason in refused(write_tiny(folder / f"{architecture}.gguf", architecture))


class ByDefinition:
    """Rounds from docs/spec/shared_cache.md alone: token by token, the last worker first."""

    def __init__(self, cache: SharedCache, asked: SharedRequest) -> None:
        self.cache, self.asked, self.tokenizer = cache, asked, cache.model.tokenizer
        self.prompt = self.label(asked.prompt, [])
        self.past = self.label(self.encode(PAST), [self.prompt])
        self.others = self.label(self.encode(OTHERS), [self.prompt, self.past])
        self.goes_on = self.label(self.encode(GOES_ON), [self.prompt, self.past, self.others])
        self.own = self.label(self.encode(OWN), [self.prompt, self.past, self.others, self.goes_on])
        self.history: list[TokenBlock] = []
        self.blocks: list[list[TokenBlock]] = [[cache.block()] for _ in range(asked.n)]
        self.unread: list[list[tuple[TokenBlock, list[int]]]] = []
        for i in range(asked.n):
            more = f"**{NAMES[i]} [1]:** I'm {NAMES[i]}." + ("" if i else " I suggest that we")
            self.unread.append([(self.blocks[i][0], self.encode(more))])
        self.seen = dict.fromkeys((self.past, self.others, self.goes_on, self.own, self.prompt), 0)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, special=False, bos=False)

    def label(self, tokens: Sequence[int], before: Sequence[TokenBlock]) -> TokenBlock:
        block = self.cache.block()
        for token in tokens:
            self.cache.step([Reading(block, [token], [Seen(one, len(one)) for one in before])])
        return block

    def view(self, i: int, block: TokenBlock) -> list[TokenBlock]:
        history = [one for one in self.history if one is not block]
        rest = [j for j in range(self.asked.n) if j != i]
        if self.asked.layout == "combined":
            current = [one for j in rest for one in (self.blocks[j][-1], self.goes_on)]
            return [self.prompt, self.past, *history, self.others, *current, self.own]
        if self.asked.layout == "interleaved":
            return [self.prompt, self.past, *history]
        whole = [one for j in rest for one in (*self.blocks[j], self.goes_on)]
        return [self.prompt, self.others, *whole, self.own, *[one for one in self.blocks[i][:-1] if one is not block]]

    def texts(self) -> list[list[int]]:
        """Return what each worker drew."""
        asked = self.asked
        drawn: list[list[int]] = [[] for _ in range(asked.n)]
        written = [""] * asked.n
        live = list(range(asked.n))
        for round_ in range(asked.tokens):
            before = {id(one): len(one) for each in self.blocks for one in each}
            chosen = {}
            for i in reversed(live):
                for block, tokens in self.unread[i]:
                    for token in tokens:
                        mine = {id(one) for one in self.blocks[i]}
                        seen = [
                            Seen(one, len(one) if id(one) in mine else before.get(id(one), len(one)))
                            for one in self.view(i, block)
                        ]
                        logits = self.cache.step([Reading(block, [token], seen)])[0].copy()
                place = len(asked.prompt) + round_
                chosen[i] = draw(logits, asked.sampling, branch_key(asked.seed, (*asked.branch, i)), place)
            for i in list(live):
                token, block = chosen[i], self.blocks[i][-1]
                drawn[i].append(token)
                ends = token in self.tokenizer.eos_ids
                if ends and not written[i].strip():
                    live.remove(i)
                    continue
                written[i] += asked.delimiter if ends else self.tokenizer.decode([token])
                self.unread[i] = [(block, self.encode(asked.delimiter) if ends else [token])]
                if asked.delimiter in written[i]:
                    self.history.append(block)
                    written[i] = ""
                    self.blocks[i].append(self.cache.block())
                    heading = f"**{NAMES[i]} [{len(self.blocks[i])}]:** "
                    self.unread[i].append((self.blocks[i][-1], self.encode(heading)))
        return drawn


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_workers_write_what_the_definition_says(model: Model, layout: Any, n: int) -> None:
    free = written(model, n=n, layout=layout, tokens=10, delimiter="never")
    (letter, _), *_ = Counter(character for character in free.text if character.isascii()).most_common()[20:]
    asked = request(n=n, layout=layout, tokens=14, delimiter=letter)
    found = written(model, n=n, layout=layout, tokens=14, delimiter=letter)
    with SharedCache(model) as cache:
        wanted = ByDefinition(cache, asked).texts()
    for i in range(n):
        assert drawn_by(found, i) == wanted[i]
    assert found.rounds == 14


def test_a_step_with_the_mark_ends_the_work_and_doubts_begin_steps(model: Model) -> None:
    free = written(model, tokens=20, delimiter="never")
    letter = next(c for c in model.tokenizer.decode(drawn_by(free, 0))[3:] if c.isascii() and c.strip())
    ended = written(model, tokens=20, delimiter=letter, mark=letter)
    assert ended.ended == "answer"
    assert ended.by is not None
    assert ended.conclusion == ()
    last = max(ended.steps, key=lambda step: step.round)
    assert last.round == ended.rounds
    assert ended.by == min(step.worker for step in ended.steps if step.round == ended.rounds)
    assert ended.text.endswith(letter)
    doubting = written(model, tokens=20, delimiter=letter, doubt=1)
    assert DOUBT in doubting.text
    assert DOUBT not in written(model, tokens=20, delimiter=letter).text


def drawn_by(text: SharedText, worker: int) -> list[int]:
    return [token for step in text.steps if step.worker == worker for token in step.tokens]


@pytest.mark.parametrize("calls", [0, 3, 12, 14])
def test_who_is_stopped_leaves_what_there_is(model: Model, calls: int) -> None:
    left = iter(range(calls))
    with SharedCache(model) as cache:
        found = write_together(cache, request(delimiter="never"), stopped=lambda: next(left, None) is None)
        whole = write_together(cache, request(delimiter="never"))
    assert found.ended == "time"
    assert (found.rounds, len(found.conclusion)) == (min(calls, 12), max(0, calls - 12))
    for worker in range(2):
        cut, full = drawn_by(found, worker), drawn_by(whole, worker)
        assert cut == full[: min(calls, len(full))]


def test_workers_end_where_the_context_does(folder: Path) -> None:
    path = write_tiny(folder / "short.gguf", context=230)
    with intact.load(path, drafter="off", threads=1) as model:
        found = written(model, tokens=500, delimiter="never")
        assert found.ended == "finish"
        assert found.rounds < 230
        assert len(PROMPT) + len(model.tokenizer.encode(found.text, special=False, bos=False)) < 2 * 230
        with pytest.raises(ParameterError, match="leaves no room for a token after it in the context of 230"):
            written(model, prompt=tuple([5] * 230))
