"""Superposed decoding: the drafts are those of the definition, computed anew without a cache, by NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact._base.errors import ParameterError
from intact.executors.native import available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.library import Model
from intact.library.superposed import NGrams, SuperposedDecoder, SuperposedDraft
from intact.library.superposed.decoder import mixing_weights
from intact.library.superposed.ngrams import ORDERS
from intact.models.aspects.step import ReferenceStep, SequenceChunk
from intact.models.ops import Embed
from intact.models.ops.embed import embed_multiplier, embedded_rows
from support.adapters import write_adapter
from support.tiny import write_tiny

PROMPT = [5, 9, 17, 40, 8]
TEXTS = [[5, 9, 17, 40, 8, 3, 17, 40, 8, 3, 4], list(range(3, 60)), [7]]
D = 10**6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def tiny(folder: Path, architecture: str = "llama", **options: Any) -> Model:
    return intact.load(
        write_tiny(folder / f"{architecture}.gguf", architecture, context=256),
        drafter="off",
        **{"threads": 1} | options,
    )


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[Model]:
    with tiny(folder) as loaded:
        yield loaded


def write(
    model: Model, ngrams: NGrams | None = None, prompt: str | Sequence[int] = PROMPT, **more: Any
) -> list[SuperposedDraft]:
    with SuperposedDecoder(model, ngrams) as decoder:
        return decoder.write(prompt, **more)


# The definition of docs/spec/superposed.md, plainly


class Mixed(Embed):
    """Embeds mixtures of tokens: for each position tokens and their shares of 2^15."""

    inputs: ClassVar[list[list[tuple[int, int]]]] = []

    def step(self, s: ReferenceStep) -> None:
        rows = []
        for parts in self.inputs:
            tokens = np.array([token for token, _ in parts], np.int32)
            own = embedded_rows(s.memory.weight(self.weight), tokens, embed_multiplier(self.scale)).astype(object)
            whole = sum(share * row for (_, share), row in zip(parts, own, strict=True))
            rows.append([(int(one) + (1 << 14)) >> 15 for one in whole])
        s.set(self.target, np.array(rows, np.int64))


def by_definition(
    model: Model, n: int, count: int, temperature: float, alpha: float, texts: list[list[int]] | None, ends: set[int]
) -> list[tuple[tuple[int, ...], float, bool]]:
    """Drafts with scores in nats, by exponentials in floating point over logits that are exact."""
    ops = tuple(Mixed(**vars(op)) if isinstance(op, Embed) else op for op in model.program.ops)
    executor = ReferenceExecutor(replace(model.program, ops=ops), model.executor.bits, 64, model.executor.profile)
    executor.reserve_pages(4)
    inputs = [[(token, 1 << 15)] for token in PROMPT]
    drafts: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    over: list[tuple[tuple[int, ...], float]] = []
    for _ in range(count):
        Mixed.inputs = inputs
        tokens = np.zeros(len(inputs), np.int32)
        (row,) = executor.step([SequenceChunk(0, tokens, np.arange(4, dtype=np.int32))], np.array([len(inputs) - 1]))
        z = np.asarray(row, np.float64) / 65536
        order = sorted(range(len(z)), key=lambda token: (-z[token], token))[: 3 * n]
        weight = {token: math.exp((z[token] - z[order[0]]) / temperature) for token in order}
        whole = sum(weight.values())
        grown = []
        for tokens_, score in drafts:
            text = PROMPT + list(tokens_)
            chances = {t: smoothed(texts, text, t) if texts else Fraction(1) for t in order}
            for token in order:
                own = math.log(weight[token] / whole) if weight[token] else -math.inf
                if texts and alpha:
                    own *= 1 - alpha
                    if not any(chances.values()):
                        own -= 200
                    elif chances[token]:
                        own += alpha * math.log(chances[token])
                    else:
                        continue
                grown.append(((*tokens_, token), score + own))
        best = sorted(grown, key=lambda one: -one[1])[: 2 * n]
        over = sorted([*over, *[one for one in best if one[0][-1] in ends]], key=lambda one: -one[1])[:n]
        drafts = [one for one in best if one[0][-1] not in ends][:n]
        if not drafts:
            break
        mass = [math.exp(score - drafts[0][1]) for _, score in drafts]
        parts = mixing_weights([round(score * 2**24) for _, score in drafts])
        assert all(abs(part - 2**15 * m / sum(mass)) < n + 1 for part, m in zip(parts, mass, strict=True))
        inputs = [*inputs, [(tokens[-1], part) for (tokens, _), part in zip(drafts, parts, strict=True)]]
    both = [(*one, True) for one in over] + [(*one, False) for one in drafts]
    return sorted(both, key=lambda one: -one[1])[:n]


def smoothed(texts: list[list[int]], text: list[int], token: int) -> Fraction:
    found = Fraction(0)
    for length, share in ORDERS.items():
        before = text[len(text) - length + 1 :] if len(text) >= length - 1 else []
        if len(before) < length - 1:
            continue
        places = [
            one[i + length - 1]
            for one in texts
            for i in range(len(one) - length + 1)
            if one[i : i + length - 1] == before
        ]
        if places:
            found += Fraction(share, D) * Fraction(places.count(token), len(places))
    return found


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "qwen3"])
@pytest.mark.parametrize("texts", [None, TEXTS], ids=["plain", "ngrams"])
def test_drafts_are_those_of_the_definition(folder: Path, architecture: str, texts: list[list[int]] | None) -> None:
    with tiny(folder, architecture) as model:
        for n, temperature in ((1, 0.06), (3, 0.5), (4, 1.0)):
            made = write(
                model, None if texts is None else NGrams(texts), n=n, max_tokens=5, temperature=temperature, alpha=0.54
            )
            wanted = by_definition(model, n, 5, temperature, 0.54, texts, set(model.tokenizer.eos_ids))
            assert [draft.tokens for draft in made] == [tokens for tokens, _, _ in wanted]
            for draft, (_, score, _) in zip(made, wanted, strict=True):
                assert draft.score / 2**24 == pytest.approx(score, abs=2e-3)


def test_an_end_token_sets_a_draft_aside(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    free = write(model, n=3, max_tokens=6, temperature=1.0)
    end = free[0].tokens[2]
    monkeypatch.setattr(type(model.tokenizer), "eos_ids", frozenset({end}), raising=False)
    made = write(model, n=3, max_tokens=6, temperature=1.0)
    wanted = by_definition(model, 3, 6, 1.0, 0.0, None, {end})
    assert [(draft.tokens, draft.ended) for draft in made] == [(tokens, over) for tokens, _, over in wanted]
    assert any(draft.ended for draft in made)
    assert all(end not in draft.tokens[:-1] for draft in made)


def test_one_draft_is_greedy_text(model: Model) -> None:
    for prompt in (PROMPT, list(range(3, 150))):  # more than a chunk of the prompt
        (draft,) = write(model, prompt=prompt, n=1, max_tokens=12)
        ((greedy,),) = model.generate(prompt, max_tokens=12, temperature=0, ignore_eos=True)
        assert draft.tokens == greedy.tokens
        assert (draft.text, draft.ended) == (greedy.text, False)


def test_executors_tiers_threads_and_company_change_no_bit(folder: Path, model: Model) -> None:
    asked: dict[str, Any] = {"n": 4, "max_tokens": 8, "temperature": 0.8, "prompt": "Why is it blue?"}
    table = NGrams([model.tokenizer.encode("Why is it blue? Why is it not?")])
    wanted = write(model, table, **asked)
    with SuperposedDecoder(model, table) as decoder:
        for _ in range(2):  # pages and rows that another text has left behind
            decoder.write(list(range(3, 90)), n=2, max_tokens=3)
            assert decoder.write(asked["prompt"], n=4, max_tokens=8, temperature=0.8) == wanted
    for more in ({"threads": 2}, {"page_size": 16}, {"executor": "reference"}):
        with tiny(folder, **more) as other:
            assert write(other, table, **asked) == wanted
    for tier in available_tiers():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("INTACT_ISA", tier)
            with tiny(folder) as other:
                assert write(other, table, **asked) == wanted
    assert model.generate("abc", max_tokens=4) is not None, "the model is free meanwhile"


@pytest.mark.parametrize("architecture", ["lfm2", "mamba", "mamba2", "mamba3"])
def test_states_of_the_text_before_are_gone(folder: Path, architecture: str) -> None:
    with tiny(folder, architecture) as model, SuperposedDecoder(model) as decoder:
        wanted = decoder.write(PROMPT, n=3, max_tokens=4)
        decoder.write(list(range(3, 80)), n=2, max_tokens=2)
        assert decoder.write(PROMPT, n=3, max_tokens=4) == wanted


def test_an_adapter_of_the_model_changes_drafts(folder: Path, model: Model) -> None:
    adapter = write_adapter(folder / "one.gguf", model.path, 1)
    with tiny(folder, adapters={"one": adapter}, adapter="one") as changed:
        (draft,) = write(changed, n=1, max_tokens=12)
        ((greedy,),) = changed.generate(PROMPT, max_tokens=12, temperature=0, ignore_eos=True)
    assert draft.tokens == greedy.tokens
    assert draft.tokens != write(model, n=1, max_tokens=12)[0].tokens


def test_n_grams_move_drafts_to_their_texts(model: Model) -> None:
    plain = write(model, n=3, max_tokens=4, temperature=1.0)
    last = write(model, n=3, max_tokens=1, temperature=1.0)[-1].tokens[0]
    table = NGrams([[*PROMPT, last, *PROMPT]])
    moved = write(model, table, n=3, max_tokens=1, temperature=1.0, alpha=0.9)
    assert [draft.tokens for draft in moved] == [(last,)]
    assert write(model, table, n=3, max_tokens=4, temperature=1.0, alpha=0) == plain
    far = write(model, NGrams([[250, 251]]), n=3, max_tokens=1, temperature=1.0)
    assert [draft.tokens for draft in far] == [
        draft.tokens for draft in write(model, n=3, max_tokens=1, temperature=1.0)
    ]
    assert all(draft.score <= -200 << 24 for draft in far)


@given(st.lists(st.integers(-(1 << 34), 0), min_size=1, max_size=64))
def test_shares_of_the_input_are_whole(scores: list[int]) -> None:
    parts = mixing_weights(scores)
    assert sum(parts) == 1 << 15
    assert min(parts) >= 0
    assert parts[scores.index(max(scores))] == max(parts)
    chances = [math.exp((score - max(scores)) / 2**24) for score in scores]
    assert all(
        abs(part - 2**15 * chance / sum(chances)) <= len(scores) + 1
        for part, chance in zip(parts, chances, strict=True)
    )


@given(st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=4), st.lists(st.integers(0, 3), max_size=8))
def test_shares_of_n_grams_are_counts(texts: list[list[int]], text: list[int]) -> None:
    table = NGrams(texts)
    for token in range(4):
        exact = smoothed(texts, text, token) * 2**30
        assert 0 <= exact - table.share(text, token) < 7
        assert table.share(text, token) <= 1 << 29


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"n": 0}, "n must lie in"),
        ({"n": 65}, "n must lie in"),
        ({"max_tokens": 0}, "max_tokens must lie in"),
        ({"max_tokens": 255}, "exceed the context of 256"),
        ({"candidates": 0}, "candidates must lie in"),
        ({"temperature": 0}, r"temperature must lie in \(0, 100\]"),
        ({"temperature": 0.1234567}, "temperature: at most 6 decimals"),
        ({"alpha": 1.5}, "alpha must lie in"),
        ({"prompt": []}, "the prompt is empty"),
        ({"prompt": [10**6]}, "token 1000000 of the prompt must lie in"),
    ],
)
def test_bad_input_is_named(model: Model, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        write(model, **more)


def test_models_that_it_is_not_defined_for_are_refused(folder: Path) -> None:
    with tiny(folder, profile="fp32") as model, pytest.raises(ParameterError, match="defined only for integers"):
        SuperposedDecoder(model)
