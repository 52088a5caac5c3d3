"""Leaves of a tree of texts, and when a problem's samples count as independent draws."""

from intact.evaluate.samples import leaves


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
