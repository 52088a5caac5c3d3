"""The tree of outputs that led to an answer, laid out for drawing: parents and positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MOST: Final = 300
"""Maximum number of outputs drawn; the rest are only counted."""
LONGEST: Final = 4000
"""Maximum number of characters shown per output."""
_ROW, _COLUMN, _WIDTH, _EDGE = 16, 44, 860, 12
_KINDS: Final = {"end": "whole", "closed": "whole", "stop": "whole", "error": "wrong"}


@dataclass
class TreeNode:
    """A node of the tree: an output, or a call to another method or scorer.

    Attributes
    ----------
    line : str
        One-line description.
    text : str
        The generated text.
    kind : {'whole', 'cut', 'wrong', 'call', 'question'}
        A complete output, a truncated one, or one that ended with an error; a call; the root.
    winning : bool
        If true, the answer is taken from this node or from one of its descendants.
    above : TreeNode or None
        The parent.
    depth, row : int, float
        Position: the number of ancestors, and the row in which the node is drawn.
    """

    line: str
    text: str = ""
    kind: str = "call"
    winning: bool = False
    above: TreeNode | None = None
    depth: int = 0
    row: float = -1.0
    below: list[TreeNode] = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class TreeDrawing:
    """A tree with the points at which its nodes are drawn.

    Attributes
    ----------
    nodes : list of (TreeNode, x, y)
        The nodes with positions in pixels, the root first and parents before children; empty if there are no outputs.
    more : int
        Number of outputs omitted.
    """

    nodes: list[tuple[TreeNode, float, float]]
    width: float
    height: float
    more: int

    @property
    def lines(self) -> Iterator[tuple[bool, str]]:
        """Yield the path of each line from parent to child, and a flag that is true if it leads to the answer."""
        place = {id(node): (x, y) for node, x, y in self.nodes}
        for node, x, y in self.nodes:
            if node.above is not None:
                left, top = place[id(node.above)]
                middle = (left + x) / 2
                yield node.winning, f"M{left:.1f} {top:.1f}C{middle:.1f} {top:.1f} {middle:.1f} {y:.1f} {x:.1f} {y:.1f}"


def draw_tree(trace: Mapping[str, Any]) -> TreeDrawing:
    """Lay out the trace of a result (docs/reasoning.md)."""
    root = TreeNode("the question", kind="question")
    nodes = list(_nodes(trace.get("nodes", ()), root, str(trace.get("chosen") or "")))
    if not nodes:
        return TreeDrawing([], 0, 0, 0)
    kept = {id(node) for node in nodes[:MOST]}  # in a trace, children come after their parents
    for node in (root, *nodes):
        node.below = [below for below in node.below if id(below) in kept]
    root.winning = any(node.winning for node in root.below)
    drawn, row = list(_from_top(root)), 0
    for node in drawn:
        node.depth = 0 if node.above is None else node.above.depth + 1
        if not node.below:
            node.row, row = float(row), row + 1
    for node in reversed(drawn):
        if node.below:
            node.row = sum(below.row for below in node.below) / len(node.below)
    deepest = max(node.depth for node in drawn)
    step = min(_COLUMN, _WIDTH / deepest)
    points = [(node, _EDGE + node.depth * step, _EDGE + node.row * _ROW) for node in drawn]
    return TreeDrawing(points, 2 * _EDGE + deepest * step, 2 * _EDGE + (row - 1) * _ROW, len(nodes) - len(kept))


def _from_top(root: TreeNode) -> Iterator[TreeNode]:
    """Yield nodes at any depth, parents before children."""
    stack = [root]
    while stack:
        node = stack.pop()
        stack += reversed(node.below)
        yield node


def _nodes(nodes: Sequence[Mapping[str, Any]], above: TreeNode, chosen: str) -> Iterator[TreeNode]:
    """Yield the outputs of a trace, parents before children; then the calls to other methods, with their outputs."""
    texts, scores = texts_of(nodes), scores_of(nodes)
    winning = set(way_to(texts, chosen))
    found: dict[str, TreeNode] = {}
    for branch, node in texts.items():
        made = TreeNode(
            _line(node, scores.get(branch, [])),
            _shorten(node.get("appended", "") + node["text"]),
            _KINDS.get(node["why"], "cut"),
            branch in winning,
            above=found.get(node["parent"], above),
        )
        found[branch] = made
        found.get(node["parent"], above).below.append(made)
        yield made
    for node in nodes:
        if node["kind"] == "call" and node["nodes"]:
            name = str(node.get("method") or node.get("scorer") or "a scorer").replace("_", " ")
            call = TreeNode(f"{name}: {node.get('answer') or node['ended']}", above=above)
            above.below.append(call)
            yield call
            yield from _nodes(node["nodes"], call, chosen)


def texts_of(nodes: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the outputs among a trace's nodes, by branch."""
    return {node["branch"]: node for node in nodes if node["kind"] == "extend"}


def scores_of(nodes: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the scores among a trace's nodes, as pairs of scorer and number, by the branch of the scored output."""
    scores: dict[str, list[str]] = {}
    for node in nodes:
        for branch, score in node.get("scores", ()):
            scores.setdefault(branch, []).append(f"{node['scorer']} {score:.4g}")
    return scores


def way_to(texts: Mapping[str, Mapping[str, Any]], branch: str) -> Iterator[str]:
    """Yield the branches of an output and its ancestors, from the output to the root."""
    for _ in texts:  # bounded: a forged trace may contain a cycle
        if branch not in texts:
            return
        yield branch
        branch = texts[branch]["parent"]


def _line(node: Mapping[str, Any], scores: Sequence[str]) -> str:
    nats = node["logprob"] / max(1, node["tokens"])
    parts = [f"{node['branch'].rpartition('/')[2]}", node["why"], f"{node['tokens']:,} tokens", f"{nats:.3f} nats each"]
    return " · ".join([*parts, *scores])


def _shorten(text: str) -> str:
    more = len(text) - LONGEST
    return text if more <= 0 else f"{text[:LONGEST]} … ({more:,} characters more)"
