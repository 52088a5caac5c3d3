"""Drafters together: equal paths become one, chances add up as those of independent guesses, records weigh them."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.engine.draft.base import Terms, make_chain, make_tree
from intact.engine.draft.drafters.lookup import Lookup
from intact.engine.draft.drafters.recycling import Recycling
from intact.engine.draft.union import Union, by_depth, likeliest_chain, merge
from support.drafting import observed


def paths(tree):
    tokens, parents = tree.tokens.tolist(), tree.parents.tolist()
    found = []
    for token, parent in zip(tokens, parents, strict=True):
        found.append((*found[parent], token) if parent >= 0 else (token,))
    return dict(zip(found, tree.chances, strict=True))


@st.composite
def trees(draw):
    """A tree with falling chances."""
    count = draw(st.integers(1, 6))
    tokens, parents, chances, used = [], [], [], set()
    for node in range(count):
        parent = draw(st.integers(-1, node - 1))
        token = draw(st.integers(0, 9).filter(lambda t, p=parent: (p, t) not in used))
        used.add((parent, token))
        most = min(chances[parent] if parent >= 0 else 1.0, chances[-1] if chances else 1.0)
        tokens.append(token)
        parents.append(parent)
        chances.append(most * draw(st.sampled_from([1.0, 0.9, 0.5])) * 0.97)
    return make_tree(tokens, parents, chances, ["x"] * count)


@given(st.lists(trees(), min_size=1, max_size=3))
def test_the_union_has_every_path_once_with_the_chance_that_one_guess_is_right(several):
    known = [paths(tree) for tree in several]
    found = paths(merge(several, [1.0] * len(several)))
    assert found.keys() == set().union(*known)
    for path, chance in found.items():
        assert chance == pytest.approx(1 - prod(1 - own.get(path, 0.0) for own in known))
    chances = list(found.values())
    assert chances == sorted(chances, reverse=True)


@given(st.lists(trees(), min_size=1, max_size=3))
def test_the_likeliest_chain_goes_on_to_the_likeliest_child_to_the_end(several):
    tree = merge(several, [1.0] * len(several))
    chain = likeliest_chain(tree)
    assert chain.is_chain
    known, at = paths(tree), ()
    for path, chance in paths(chain).items():
        children = [own for other, own in known.items() if other[:-1] == at]
        assert known[path] == chance == max(children)
        at = path
    assert not any(other[:-1] == at for other in known)


def test_a_union_of_drafters_of_chains_guesses_chains():
    union = Union([Lookup(20, False), Recycling(20, False)])
    union.learn(observed([2], [[9, *range(10, 17)]]))
    union.members[1].settle()
    draft = union.open([1, 2, 3, 1, 2])
    tree = draft.propose(30)
    assert {trees.tokens[0] for trees in draft.trees} == {3, 9}, "they disagree"
    assert tree.is_chain
    assert tree.tokens[0] == 3


def test_a_member_s_record_weighs_its_chances():
    good, bad = make_chain([1, 2], [0.8, 0.6], "good"), make_chain([3], [0.7], "bad")
    found = paths(merge([good, bad], [1.0, 0.1]))
    assert list(found) == [(1,), (1, 2), (3,)]
    assert found[(3,)] == pytest.approx(0.07)


def test_what_trees_cover_is_known_by_depth():
    assert by_depth([make_chain([1, 2], [0.5, 0.25], "a"), None]) == [0.5, 0.25]
    assert by_depth([make_chain([1], [0.5], "a"), make_chain([2, 3], [0.5, 0.1], "b")]) == [0.75, pytest.approx(0.1)]
    assert by_depth([]) == []


def test_a_drafter_that_is_often_wrong_loses_its_say():
    """Look-up always guesses that the text repeats itself; it never does, but recycling knows."""
    union = Union([Lookup(20), Recycling(20)])
    union.learn(observed([2], [[9, *range(10, 17)]]))
    union.members[1].settle()
    draft = union.open([1, 2, 3, 1, 2])
    first = paths(draft.propose(30))
    assert first[(3,)] > first[(9,)]
    for _ in range(40):
        draft.propose(30)
        draft.extend([9, 4, 1, 2])
        union.learn(observed([2], [[9, *range(10, 17)]]))
        draft.drafts[0].extend([3, 1, 2])  # what it repeats is wrong again
        draft.drafts[1].extend([3, 1, 2])
    last = paths(draft.propose(30))
    assert last[(9,)] > last.get((3,), 0.0)


def test_members_that_come_later_know_what_others_cover():
    seen = []

    class Curious(Lookup):
        name = "curious"

        def prepare(self, drafts, limits, terms, covered=()):
            seen.append((len(drafts), [list(one) for one in covered]))

    union = Union([Lookup(20), Curious(20)])
    drafts = [union.open([1, 2, 3, 1, 2]), union.open([5, 6, 7])]
    union.prepare(drafts, [4, 4], Terms(0.2, 1.0))
    ((count, covered),) = seen
    assert count == 2
    assert covered[0][0] > covered[0][1] > 0.2
    assert covered[1] == []
