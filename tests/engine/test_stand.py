"""STAND: its store averages what it sees, and its guesses are drawn as the engine will draw."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.engine.draft.base import DrawContext, Observed
from intact.engine.draft.drafters.stand import Stand, rank
from intact.engine.draft.ngrams import ABSENT, MEMORY, NgramStore
from intact.numerics.sampling import draw, make_sampling, uniform64
from support.drafting import observed

KEY = 12345


def rows(text, logits, context=2):
    """Observations of every place of a text at which the model has these logits."""
    order = np.argsort(-logits, kind="stable").astype(np.int32)[:10]
    padded = [-1] * context + text
    before = [padded[i : i + context] for i in range(len(text))]
    gaps = (logits[order[0]] - logits[order]).astype(np.int64)
    return Observed(
        np.array(text, np.int32),
        np.array(before, np.int32),
        np.tile(order, (len(text), 1)),
        np.tile(gaps, (len(text), 1)),
    )


# The store


def test_the_longest_known_end_of_a_text_is_found():
    store = NgramStore(width=3)
    store.learn(observed([4], [[1, 2, 3]], [[6, 5]]))
    store.learn(observed([4], [[7, 8, 9]], [[0, 5]]))
    store.learn(observed([4], [[2, 3, 1]], [[0, 0]]))
    assert store.find((6, 5, 4))[::2] == ([1, 2, 3], 3)
    assert store.find((0, 5, 4))[::2] == ([7, 8, 9], 3)
    assert store.find((9, 5, 4))[2] == 2
    assert store.find((9, 9, 4))[2] == 1
    assert store.find((4, 9)) is None


def test_nothing_that_reaches_before_the_text_s_beginning_is_stored():
    store = NgramStore(width=3)
    store.learn(observed([4], [[1, 2, 3]], [[-1, 5]]))
    assert len(store) == 2
    assert store.find((0, 5, 4))[2] == 2


def test_gaps_are_averages_over_observations():
    store = NgramStore(width=2)
    for gap in (1, 2, 6):
        store.learn(
            Observed(np.int32([4]), np.full((1, 2), -1, np.int32), np.int32([[1, 2]]), np.int64([[0, gap << 16]]))
        )
    tokens, gaps, _ = store.find((4,))
    assert tokens == [1, 2]
    assert gaps == pytest.approx([0, 3])


def test_a_candidate_that_one_side_lacks_counts_as_below_its_last():
    store = NgramStore(width=2)
    store.learn(observed([4], [[1, 2]]))
    store.learn(observed([4], [[1, 3]]))
    tokens, gaps, _ = store.find((4,))
    assert tokens == [1, 2]
    assert gaps == pytest.approx([0, (1 + 1 + ABSENT) / 2])


def test_an_average_follows_what_has_changed():
    store = NgramStore(width=2)
    for _ in range(100):
        store.learn(observed([4], [[1, 2]]))
    for _ in range(2 * MEMORY):
        store.learn(observed([4], [[3, 1]]))
    assert store.find((4,))[0][0] == 3


def test_a_full_store_forgets_the_oldest():
    store = NgramStore(width=2, slots=6)
    for token in range(20):
        store.learn(observed([token], [[1, 2]]))
        assert len(store) <= 6
    assert store.find((19,)) is not None
    assert store.find((3,)) is None


# Draws


@given(
    logits=st.lists(st.integers(-(12 << 16), 12 << 16), min_size=2, max_size=10, unique=True),
    temperature=st.sampled_from([0.0, 0.3, 0.8, 1.0, 1.7]),
    top_k=st.sampled_from([0, 1, 3]),
    top_p=st.sampled_from([1.0, 0.9, 0.5]),
    min_p=st.sampled_from([0.0, 0.05]),
    position=st.integers(0, 1000),
)
def test_the_first_candidate_is_what_the_engine_draws_where_the_store_has_the_model_s_logits(
    logits, temperature, top_k, top_p, min_p, position
):
    sampling, row = make_sampling(temperature, top_k, top_p, min_p), np.array(logits)
    order = np.argsort(-row, kind="stable")
    gaps = (row[order[0]] - row[order]) / 65536
    found, share = rank(order.tolist(), gaps.tolist(), sampling, uniform64(KEY, position) / 2**64)
    assert found[0] == draw(row, sampling, KEY, position)
    assert sorted(found) == sorted(order.tolist())
    assert 0 < share <= 1


def test_sampled_texts_are_guessed_whole_once_their_n_grams_are_known():
    """A model whose logits depend on the last token alone: another sample of the same prompt has no surprises."""
    rng, sampling = np.random.default_rng(0), make_sampling(1.0)
    model = (rng.normal(0, 2, (10, 10)) * 65536).astype(np.int64)
    drafter = Stand(10)
    for token in range(10):
        drafter.learn(rows([token], model[token]))
    text = [3]
    for position in range(1, 25):
        text.append(draw(model[text[-1]], sampling, KEY, position))
    likely = [3]
    while len(likely) < 25:
        likely.append(int(model[likely[-1]].argmax()))
    assert text != likely, "the text is no greedy one"
    draft = drafter.open([3], DrawContext(sampling, KEY, lambda: None))
    for token in text[1:]:
        assert draft.propose(1).tokens.tolist() == [token]
        draft.extend([token])


def test_chances_follow_what_comes_true():
    drafter = Stand(10)
    drafter.learn(observed(range(10), [[(t + 1 + r) % 10 for r in range(10)] for t in range(10)]))
    before = drafter.open([0]).propose(1).chances[0]
    text = [0]
    for _ in range(200):
        draft = drafter.open(text)
        draft.propose(0)
        text.append((text[-1] + 1) % 10)
        draft.extend(text[-1:])
    assert drafter.open([0]).propose(1).chances[0] > max(before, 0.9)
