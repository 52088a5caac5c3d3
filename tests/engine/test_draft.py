"""Drafters: trees are valid, indices find what a plain search finds, forks do not disturb one another."""

import os
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.engine.draft.base import CEILING, GREEDY, Acceptance, DrawContext, RelativeAcceptance, make_tree
from intact.engine.draft.drafters.lookup import EFFORT, LONGEST, Lookup
from intact.engine.draft.drafters.recycling import CANDIDATES, Recycling
from intact.engine.drafting import DRAFTERS, check_drafter
from support.drafting import observed

VOCABULARY = 12
texts = st.lists(st.integers(0, 3), min_size=1, max_size=60)


def teach(drafter, seed):
    rng = np.random.default_rng(seed)
    if drafter.candidates:
        rows = [rng.permutation(VOCABULARY)[: drafter.candidates] for _ in range(VOCABULARY)]
        drafter.learn(observed(range(VOCABULARY), rows))


def check(tree, limit, floor, trees):
    """What holds for every tree."""
    tokens, parents = tree.tokens.tolist(), tree.parents.tolist()
    assert 0 < len(tokens) <= limit
    assert len(tokens) == len(parents) == len(tree.chances) == len(tree.origins)
    assert all(0 <= token < VOCABULARY for token in tokens)
    assert all(-1 <= parent < node for node, parent in enumerate(parents))
    assert len(set(zip(parents, tokens, strict=True))) == len(tokens), "siblings differ"
    assert all(floor <= chance <= 1 for chance in tree.chances)
    assert all(a >= b for a, b in zip(tree.chances, tree.chances[1:], strict=False)), "likeliest first"
    assert tree.tokens.dtype == tree.parents.dtype == np.int32
    if not trees:
        assert parents == list(range(-1, len(tokens) - 1))


@pytest.mark.parametrize("name", DRAFTERS)
@given(
    prompt=texts,
    steps=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), max_size=12),
    limit=st.integers(0, 20),
    floor=st.sampled_from([0.0, 0.05, 0.5]),
    trees=st.booleans(),
    seed=st.integers(0, 9),
)
def test_every_tree_is_valid_and_its_beginning_is_the_smaller_tree(name, prompt, steps, limit, floor, trees, seed):
    drafter = DRAFTERS[name](VOCABULARY, trees)
    teach(drafter, seed)
    draft = drafter.open(prompt)
    for step in steps:
        tree = draft.propose(limit, floor)
        if tree is not None:
            check(tree, limit, floor, trees)
            for count in range(len(tree.tokens) + 2):
                part, smaller = tree.cut(count), draft.propose(min(count, limit), floor)
                assert (part is None) == (smaller is None)
                if part is not None and smaller is not None:
                    assert part.tokens.tolist() == smaller.tokens.tolist()
                    assert part.parents.tolist() == smaller.parents.tolist()
        draft.extend(step)


@pytest.mark.parametrize("name", DRAFTERS)
def test_nothing_is_proposed_beyond_a_limit_of_nothing(name):
    drafter = DRAFTERS[name](VOCABULARY, True)
    teach(drafter, 0)
    draft = drafter.open([1, 2, 3, 1, 2])
    assert draft.propose(3) is not None
    assert draft.propose(0) is None
    assert draft.propose(3, floor=0.999) is None


def test_an_unknown_drafter_is_refused_by_name():
    with pytest.raises(
        ParameterError, match="no drafter named 'medusa'; available: auto, lookup, recycling, stand, model, heads, off"
    ):
        check_drafter("medusa")


@pytest.mark.parametrize("name", DRAFTERS)
def test_what_nobody_asks_for_does_not_pile_up(name):
    """As of `auto`, of whose drafters one may be asked for nothing."""
    import tracemalloc

    drafter = DRAFTERS[name](VOCABULARY, True)
    rows = observed(range(VOCABULARY), [range(VOCABULARY)] * VOCABULARY)
    tracemalloc.start()
    for i in range(2000):
        drafter.learn(rows._replace(candidates=rows.candidates.copy()))
        if i == 500:
            before = tracemalloc.get_traced_memory()[0]
    assert tracemalloc.get_traced_memory()[0] - before < 400_000
    tracemalloc.stop()


def test_auto_takes_stand_for_prompts_of_several_samples_and_for_those_that_come_again():
    drafter = DRAFTERS["auto"](VOCABULARY, True)
    several = DrawContext(GREEDY.sampling, 0, samples=4)
    teach(drafter, 0)
    assert set(drafter.open([1, 2]).propose(4).origins) == {"recycling"}
    again, new = drafter.open([1, 2]), drafter.open([5, 6], several)
    teach(drafter, 0)
    assert set(again.propose(4).origins) == set(new.propose(4).origins) == {"stand"}


@given(st.data())
def test_a_tree_knows_its_nodes_by_parent_and_token(data):
    count = data.draw(st.integers(1, 10))
    parents = [data.draw(st.integers(-1, node - 1)) for node in range(count)]
    used: dict[int, set[int]] = {}
    tokens = []
    for parent in parents:
        token = data.draw(st.integers(0, 20).filter(lambda t, p=parent: t not in used.get(p, set())))
        used.setdefault(parent, set()).add(token)
        tokens.append(token)
    tree = make_tree(tokens, parents, [0.5] * count, ["x"] * count)
    known = {(parent, token): node for node, (parent, token) in enumerate(zip(parents, tokens, strict=True))}
    for parent, token in product(range(-1, count), range(22)):
        assert tree.child(parent, token) == known.get((parent, token))
    assert tree.is_chain == (parents == list(range(-1, count - 1)))


# Look-up


def longest_match(text):
    """Place after the longest earlier occurrence of the text's last tokens (at least two, the latest of equals)."""
    ends = [e for e in range(1, len(text) - 1) if text[e - 1 : e + 1] == text[-2:]][::-1][:EFFORT]
    best = None
    for e in ends:
        n = 2
        while n < LONGEST and n <= e and text[e - n] == text[len(text) - 1 - n]:
            n += 1
        if best is None or n > best[1]:
            best = e + 1, n
    return best


@given(prompt=texts, steps=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), max_size=12))
def test_the_incremental_index_finds_what_a_plain_search_finds(prompt, steps):
    draft = Lookup(100).open(prompt)
    text = list(prompt)
    assert draft.search() == longest_match(text)
    for step in steps:
        draft.extend(step)
        text += step
        match = longest_match(text)
        assert draft.search() == match
        tree = draft.propose(7)
        if match:
            goes_on = list(text)
            for place in range(match[0], match[0] + 7):
                goes_on.append(goes_on[place])
            assert tree.tokens.tolist() == goes_on[len(text) :]
        else:
            assert tree is None


def test_the_longest_match_wins_and_then_the_latest():
    text = [1, 2, 3, 10, 9, 2, 3, 11, 1, 2, 3, 12, 8, 2, 3, 13, 1, 2, 3]
    assert Lookup(100).open(text).propose(1).tokens.tolist() == [12]
    assert Lookup(100).open([5, *text[5:8], *text[12:16], 2, 3]).propose(1).tokens.tolist() == [13]


@given(prompt=texts, runs=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=60))
def test_forks_of_a_prompt_share_its_index_and_do_not_disturb_one_another(prompt, runs):
    drafter = Lookup(100)
    forks = [drafter.open(prompt) for _ in range(3)]
    own = [list(prompt) for _ in range(3)]
    for fork, token in runs:
        forks[fork].extend([token])
        own[fork].append(token)
    for fork, text in zip(forks, own, strict=True):
        assert fork.search() == longest_match(text)
        assert fork._prompt is forks[0]._prompt


def test_a_fork_costs_less_than_a_kilobyte():
    import tracemalloc

    drafter = Lookup(100)
    prompt = list(range(4000))
    kept = [drafter.open(prompt)]
    tracemalloc.start()
    kept += [drafter.open(prompt) for _ in range(1000)]
    assert tracemalloc.get_traced_memory()[0] < 1000 * 1000
    tracemalloc.stop()


def test_only_a_few_prompts_are_kept():
    drafter = Lookup(100)
    for i in range(100):
        drafter.open([i, i + 1, i + 2])
    assert len(drafter._prompts) < 10


def test_a_text_that_repeats_is_expected_to_go_on():
    draft = Lookup(100).open(list(range(10)) * 3)
    first = sum(draft.propose(10).chances)
    for i in range(100):
        draft.propose(0)
        draft.extend([i % 10])
    assert sum(draft.propose(10).chances) > first
    assert draft.propose(1).chances[0] > 0.95


# Token Recycling


def taught(trees=True):
    """Rows of a matrix as in the paper's figure: each token and the best candidates after it."""
    drafter = Recycling(VOCABULARY, trees)
    rows = {1: [2, 3, 4], 2: [5, 6, 7], 3: [8, 9, 1], 5: [10, 11, 1]}
    candidates = np.array([[*row, 0, 0, 0, 0, 0] for row in rows.values()], np.int32)
    drafter.learn(observed(list(rows), candidates))
    return drafter


def paths(tree):
    tokens, parents = tree.tokens.tolist(), tree.parents.tolist()
    out = []
    for node in range(len(tokens)):
        path = []
        while node >= 0:
            path.insert(0, tokens[node])
            node = parents[node]
        out.append(tuple(path))
    return out


def test_a_tree_follows_the_matrix_from_the_last_token():
    found = paths(taught().open([7, 1]).propose(8))
    assert found[0] == (2,)
    assert {(2,), (3,), (2, 5), (2, 5, 10)} <= set(found)
    for path in found:
        for a, b in zip((1, *path), path, strict=False):
            assert b in {1: [2, 3, 4, 0], 2: [5, 6, 7, 0], 3: [8, 9, 1, 0], 5: [10, 11, 1, 0]}[a]


def test_without_trees_the_best_candidates_form_a_chain():
    assert taught(trees=False).open([7, 1]).propose(8).tokens.tolist() == [2, 5, 10]


def test_a_token_that_was_never_run_has_no_candidates():
    assert taught().open([7]).propose(8) is None


def test_a_step_is_compared_with_what_was_known_before_it():
    """Else a token that is learnt with its own successor would look as if it had been foreseen."""
    drafter = taught()
    before = sum(drafter.acceptance[0].chances)
    for i in range(20):
        draft = drafter.open([1])
        draft.propose(0)
        successor = 2 + (i + 1) % 2
        candidates = np.array([[successor, 0, 0, 0, 0, 0, 0, 0]])
        if i % 2:
            drafter.learn(observed([1], candidates))
            draft.extend([successor])
        else:
            draft.extend([successor])
            drafter.learn(observed([1], candidates))
    assert sum(drafter.acceptance[0].chances) < before


def test_learning_replaces_candidates_and_the_later_row_stays():
    drafter = taught(trees=False)
    first, second = np.arange(3, 11), np.arange(4, 12)
    drafter.learn(observed([1, 1], [first, second]))
    assert drafter.open([1]).propose(1).tokens.tolist() == [4]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_learns_for_itself():
    drafter = Recycling(50)
    child = os.fork()
    if not child:
        try:
            drafter.learn(observed([3], [range(CANDIDATES)]))
            drafter.settle()
        finally:  # an error must not go on with the tests in the child
            os._exit(0 if drafter.matrix[3].any() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not drafter.matrix.any()


def test_trees_grow_deep_where_first_candidates_come_true_and_broad_where_others_do():
    def grown(rank):
        drafter = Recycling(VOCABULARY)
        around = np.array([[(token + 1 + r) % VOCABULARY for r in range(CANDIDATES)] for token in range(VOCABULARY)])
        drafter.learn(observed(range(VOCABULARY), around))
        text = [0]
        for _ in range(300):
            draft = drafter.open(text)
            draft.propose(0)
            for _ in range(4):
                text.append((text[-1] + 1 + rank) % VOCABULARY)
            draft.extend(text[-4:])
        return drafter.open([0]).propose(6)

    assert paths(grown(0)) == [tuple(range(1, n + 1)) for n in range(1, 7)]
    assert (2,) in paths(grown(1))


def test_a_chain_from_elsewhere_keeps_its_chances_and_the_candidates_share_the_rest():
    draft = taught().open([7, 1])
    alone = dict(zip(paths(draft.propose(12)), draft.propose(12).chances, strict=True))
    tree = draft.grow(12, 0.0, [3, 8], [0.75, 0.5])
    chances = dict(zip(paths(tree), tree.chances, strict=True))
    assert chances[(3,)] == 0.75
    assert chances[(3, 8)] == 0.375
    assert chances[(2,)] == pytest.approx(0.25 * alone[(2,)])
    assert [tree.origins[paths(tree).index(path)] for path in ((3,), (3, 8), (2,))] == ["lookup", "lookup", "recycling"]


# Estimates


@given(st.lists(st.booleans(), max_size=300), st.floats(0.01, 0.98))
def test_a_frequency_lies_between_its_prior_and_what_was_seen(hits, prior):
    acceptance = Acceptance([0.5, prior])
    for hit in hits:
        acceptance.observe(1, hit)
    low, high = min([prior, *hits]), max([prior, *hits])
    assert low <= acceptance.chances[1] <= high
    assert acceptance.chances[0] == 0.5


def test_a_frequency_comes_near_the_truth_and_follows_it():
    acceptance, rng = Acceptance([0.9]), np.random.default_rng(0)
    for truth in (0.2, 0.7):
        for hit in rng.random(2000) < truth:
            acceptance.observe(0, hit)
        assert abs(acceptance.chances[0] - truth) < 0.1


def test_luck_tells_a_sequence_from_the_average():
    good, bad = RelativeAcceptance(), RelativeAcceptance()
    for _ in range(60):
        good.observe(0.5, True)
        bad.observe(0.5, False)
    assert good.factor > 1.5
    assert bad.factor < 0.3
    assert CEILING < 1
