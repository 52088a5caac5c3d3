"""The leaves of a trace: the complete texts that a method chose from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from intact.evaluate.results import ItemRecord


class Leaf(NamedTuple):
    """A complete text, from the root on."""

    branch: str
    text: str
    tokens: int
    logprob: float
    why: str


def leaves(nodes: Sequence[Mapping[str, Any]]) -> Iterator[Leaf]:
    """Yield the leaves of a tree in the order of requests, without the texts of methods that were called."""
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
    """Return the number of samples of each problem if they are independent draws of answers; else 0.

    Curves over the number of samples are valid only if every problem has the same number, all forked from the prompt
    itself and none cut off by others' ends or by a budget, and if the method's answer is that of the sample it chose.
    Choices whose likelihoods are compared are not draws.
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
