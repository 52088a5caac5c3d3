"""The texts of a trace that nothing followed: what a method had to choose from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from intact.evaluate.results import ItemRecord


class Leaf(NamedTuple):
    """A text as a whole, from the root on."""

    branch: str
    text: str
    tokens: int
    logprob: float
    why: str


def leaves(nodes: Sequence[Mapping[str, Any]]) -> Iterator[Leaf]:
    """The leaves of a tree, in the order in which they were asked for; what other methods wrote is theirs."""
    texts = {node["branch"]: node for node in nodes if node["kind"] == "extend"}
    inner = {node["parent"] for node in texts.values()}
    for branch, node in texts.items():
        if branch in inner:
            continue
        path = [node]
        while (parent := texts.get(path[-1]["parent"])) is not None:
            path.append(parent)
        whole = "".join(part.get("appended", "") + part["text"] for part in reversed(path))
        tokens, logprob = sum(part["tokens"] for part in path), sum(part["logprob"] for part in path)
        yield Leaf(branch, whole, tokens, logprob, node["why"])


def direct(records: Sequence[ItemRecord]) -> int:
    """How many samples each problem has, if they are independent draws of answers; else 0.

    Curves over the number of samples make sense only where every problem has as many, all forked from the prompt
    itself and none cut off by others' ends or by a budget, and where what the method answers is what the sample that
    it chose answers. Choices of which likelihoods are compared are no draws.
    """
    counts = {len(record.samples) for record in records}
    if len(counts) != 1:
        return 0
    for record in records:
        places = [sample.branch.rpartition("/")[0] for sample in record.samples]
        if any(place != record.id for place in places):
            return 0
        if any(sample.why not in ("end", "closed", "stop", "length") for sample in record.samples):
            return 0
        if record.answer != (None if record.chosen is None else record.samples[record.chosen].answer):
            return 0
    return counts.pop()
