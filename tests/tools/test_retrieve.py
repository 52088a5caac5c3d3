"""BM25 over passages: the definition, and what it must not depend on."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.tools.retrieve import Index, passages, words

WORDS = st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta"]), max_size=8)
TEXTS = st.lists(WORDS.map(" ".join), min_size=1, max_size=6)


def definition(texts: list[str], query: str, k1: float, b: float) -> list[float]:
    """The score of each passage, as the formula has it."""
    split = [re.findall(r"\w+", text.lower()) for text in texts]
    mean = sum(map(len, split)) / len(split)
    result = []
    for found in split:
        score = 0.0
        for word in set(re.findall(r"\w+", query.lower())):
            having = sum(word in other for other in split)
            frequency = found.count(word)
            if frequency:
                idf = math.log(1 + (len(split) - having + 0.5) / (having + 0.5))
                score += idf * frequency * (k1 + 1) / (frequency + k1 * (1 - b + b * len(found) / mean))
        result.append(score)
    return result


@given(TEXTS, WORDS, st.sampled_from([0.0, 1.2, 2.0]), st.sampled_from([0.0, 0.75, 1.0]))
def test_scores_follow_the_definition(texts: list[str], query: list[str], k1: float, b: float) -> None:
    expected = definition(texts, " ".join(query), k1, b)
    hits = Index(texts, k1, b).search(" ".join(query), 99)
    assert {hit.place for hit in hits} == {i for i, score in enumerate(expected) if score > 0}
    for hit in hits:
        assert hit.score == pytest.approx(expected[hit.place], rel=1e-12)


@given(TEXTS, WORDS, st.randoms())
def test_the_best_come_first_and_the_order_of_words_is_of_no_matter(texts: list[str], query: list[str], random) -> None:
    hits = Index(texts).search(" ".join(query), 99)
    assert [(-hit.score, hit.place) for hit in hits] == sorted((-hit.score, hit.place) for hit in hits)
    random.shuffle(query)
    assert Index(texts).search(" ".join(query).upper(), 99) == hits
    assert Index(texts).search(" ".join(query), 2) == hits[:2]


def test_words_and_passages() -> None:
    assert words("Zürich's 3.5 km, STRASSE") == ["zürich", "s", "3", "5", "km", "strasse"]
    assert passages("one\ntwo\n \n\n three \n\n") == ["one\ntwo", "three"]
    assert passages("") == []
    assert Index([]).search("word", 3) == []
    assert Index(["", ""]).search("word", 3) == []
