"""Leaves of a tree of texts, and when a problem's samples count as independent draws."""

from intact.evaluate.samples import leaves, rewards_of


def node(branch, parent, text, tokens, why="end", **more):
    return {
        "kind": "extend", "branch": branch, "parent": parent, "text": text, "tokens": tokens,
        "logprob": -float(tokens), "why": why, **more,
    }  # fmt: skip


def test_leaves_hold_the_whole_path_wherever_inner_nodes_stand():
    """The inner text comes first, as it was asked for first."""
    nodes = [
        node("p/0", "p", "a", 1, why="step"),
        {"kind": "call"},
        node("p/1", "p", "whole", 2),
        node("p/0/0", "p/0", "b", 3, why="length", appended="+"),
    ]
    assert [tuple(leaf)[:5] for leaf in leaves(nodes)] == [
        ("p/1", "whole", 2, -2.0, "end"),
        ("p/0/0", "a+b", 4, -4.0, "length"),
    ]


def test_the_chosen_text_of_a_called_method_is_a_leaf_with_its_siblings():
    called = [node("p/c0/0", "p/c0", "right", 2), node("p/c0/1", "p/c0", "wrong", 2)]
    other = [node("p/c1/0", "p/c1", "of another call", 2)]
    scored = {"kind": "score", "scorer": "letters", "scores": [["p/c0/0", 0.5]]}
    nodes = [
        node("p/0", "p", "own", 1),
        {"kind": "call", "method": "best_of_n", "nodes": [*called, scored]},
        {"kind": "call", "method": "best_of_n", "nodes": other},
    ]
    assert [leaf.branch for leaf in leaves(nodes)] == ["p/0"]
    assert [leaf.branch for leaf in leaves(nodes, "p/0")] == ["p/0"]
    assert [leaf.branch for leaf in leaves(nodes, "p/c0/0")] == ["p/0", "p/c0/0", "p/c0/1"]
    assert rewards_of(nodes) == {"p/c0/0": {"letters": 0.5}}


def test_a_chosen_text_that_others_continue_is_a_leaf_too():
    nodes = [node("p/0", "p", "a", 1), node("p/0/0", "p/0", "b", 3)]
    assert [leaf.text for leaf in leaves(nodes, "p/0")] == ["a", "ab"]
