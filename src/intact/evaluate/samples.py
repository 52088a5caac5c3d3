"""The leaves of a trace: the complete samples that a method chose from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from types import NoneType
from typing import Any, NamedTuple

from intact.evaluate.results import ItemRecord, ItemSample, SingleVerdict
from intact.reason.driving.writing import paragraph_ends
from intact.reason.problem import Result
from intact.text.thinking import answer_part


class StepEnd(NamedTuple):
    """The end of a step: the text so far, its number of tokens, and the branch if an extension ended there.

    A step is a paragraph or an extension.
    """

    branch: str
    text: str
    tokens: int
    thinking: str = ""

    @property
    def answer_part(self) -> str | None:
        """The text after its thinking (`intact.text.thinking.answer_part`); None if it ends while thinking."""
        return answer_part(self.text, self.thinking)


class Leaf(NamedTuple):
    """A complete sample, from the root.

    Attributes
    ----------
    other_prompt : bool
        If true, it replies to a prompt other than the problem's own.
    ends : tuple of StepEnd
        The ends of its steps, in order.
    thinking : str
        The marker that opens the thinking in its prompt (`State.thinking`).
    """

    branch: str
    text: str
    tokens: int
    logprob: float
    why: str
    other_prompt: bool = False
    ends: tuple[StepEnd, ...] = ()
    thinking: str = ""

    @property
    def answer_part(self) -> str | None:
        """The text after its thinking (`intact.text.thinking.answer_part`); None if it ends while thinking."""
        return answer_part(self.text, self.thinking)


def leaves(nodes: Sequence[Mapping[str, Any]], chosen: str | None = None) -> Iterator[Leaf]:
    """Yield the leaves of a tree in the order of requests.

    A reply to another prompt, such as a request to verify a solution, is a separate sequence that does not continue
    another. Completions of nested method calls are omitted, except those of the call whose completion was chosen.

    Parameters
    ----------
    chosen : str, optional
        The branch of the chosen completion, which is yielded even if others continue it.
    """
    texts = {node["branch"]: node for node in nodes if node["kind"] == "extend"}

    def before(node: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the node that this one continues."""
        return None if node.get("other_prompt") else texts.get(node["parent"])

    inner = {parent["branch"] for node in texts.values() if (parent := before(node)) is not None}
    for branch, node in texts.items():
        if branch in inner and branch != chosen:
            continue
        path = [node]
        while (parent := before(path[-1])) is not None:
            path.append(parent)
        text, tokens, ends, mark = "", 0, list[StepEnd](), node.get("thinking", "")
        for part in reversed(path):
            text += part.get("appended", "")
            for place, count in zip(paragraph_ends(part["text"]), part.get("ends", ()), strict=False):
                ends.append(StepEnd("", text + part["text"][:place], tokens + count, mark))
            text += part["text"]
            tokens += part["tokens"]
            ends.append(StepEnd(part["branch"], text, tokens, mark))
        logprob = sum(part["logprob"] for part in path)
        other_prompt = bool(path[-1].get("other_prompt"))
        yield Leaf(
            branch, text, tokens, logprob, why=node["why"], other_prompt=other_prompt, ends=tuple(ends), thinking=mark
        )
    if chosen is not None and chosen not in texts:
        for node in nodes:
            if _calls_method(node) and any(
                one["kind"] == "extend" and one["branch"] == chosen for one in _walk(node["nodes"])
            ):
                yield from leaves(node["nodes"], chosen)


def texts_of(result: Result) -> tuple[list[Leaf], int | None]:
    """Return the complete samples of a result, and the index of the one that gave its answer.

    If the method appended words of its own to the chosen sample and did not continue it, the extended one is added
    separately. If the method failed, no sample is chosen.
    """
    chosen = None if result.why == "failed" else result.answer.chosen
    if chosen is None:
        return list(leaves(result.trace["nodes"])), None
    branch = result.trace["chosen"]
    found = list(leaves(result.trace["nodes"], branch))
    for place, leaf in enumerate(found):
        if leaf.branch == branch and leaf.text == chosen.text:
            return found, place
    prompts = result.trace["prompt"], chosen.prompt
    own = Leaf(
        f"{branch}/+", chosen.text, chosen.length, chosen.logprob, why=chosen.why, other_prompt=prompts[0] != prompts[1]
    )
    return [*found, own], len(found)


def _calls_method(node: Mapping[str, Any]) -> bool:
    return node["kind"] == "call" and "method" in node


def _walk(nodes: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the nodes of a tree in order, replacing each method call with the method's nodes."""
    for node in nodes:
        yield from _walk(node["nodes"]) if _calls_method(node) else (node,)


def rewards_of(nodes: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the last reward from each scorer for each branch that it scored, including nested method calls."""
    found: dict[str, dict[str, float]] = {}
    for node in _walk(nodes):
        if node["kind"] == "score":
            for branch, reward in node["scores"]:
                found.setdefault(branch, {})[node["scorer"]] = reward
    return found


def verdicts_of(
    nodes: Sequence[Mapping[str, Any]], method: str, details: Mapping[str, Any]
) -> dict[str, list[SingleVerdict]]:
    """Return the single verdicts on each branch, from the method's own notes and from scorers that asked a model.

    A method records them in its answer's details as ``verdicts``: for each branch, pairs of value and tokens. A detail
    of this name in any other form is not a verdict.
    """
    found: dict[str, list[SingleVerdict]] = {}
    noted = details.get("verdicts")
    if isinstance(noted, Mapping) and all(map(_are_verdicts, noted.values())):
        found = {branch: [SingleVerdict(method, *pair) for pair in pairs] for branch, pairs in noted.items()}
    for call, score in pairwise(nodes):
        if call["kind"] == "call" and score["kind"] == "score" and call.get("scorer") == score["scorer"]:
            seen = Counter[str]()
            for branch, value in score["scores"]:
                several = sum(other == branch for other, _ in score["scores"]) > 1  # prefixes of a text
                tokens = _reply_tokens(call["nodes"], branch, seen[branch] if several else None)
                seen[branch] += 1
                if tokens:
                    found.setdefault(branch, []).append(SingleVerdict(score["scorer"], value, tokens))
    return found


def _are_verdicts(value: Any) -> bool:
    """Return true if a value is a list of pairs: a number or None, and a number of tokens."""
    return isinstance(value, list | tuple) and all(
        isinstance(pair, list | tuple) and [type(one) for one in pair] in ([float, int], [int, int], [NoneType, int])
        for pair in value
    )


def turns_of(details: Mapping[str, Any]) -> list[list[str | None]]:
    """Return the answers of each draft, turn by turn.

    A method that revises records them in its details as ``turns``.
    """
    noted = details.get("turns")
    well = isinstance(noted, list | tuple) and all(
        isinstance(draft, list | tuple) and all(one is None or isinstance(one, str) for one in draft) for draft in noted
    )
    return [list(draft) for draft in noted] if well and noted else []


def _reply_tokens(nodes: Sequence[Mapping[str, Any]], branch: str, number: int | None) -> int:
    """Return the tokens that a scorer's call generated about a branch: all, or only those of one of its children.

    `Execution._child` names the children by the branch, the call (``s0``) and the child's number.
    """
    own = re.compile(rf"{re.escape(branch)}/s\d+/" + (r"\d" if number is None else rf"{number}(/|$)"))
    return sum(node["tokens"] for node in nodes if node["kind"] == "extend" and own.match(node["branch"]))


def direct(records: Sequence[ItemRecord]) -> int:
    """Return the number of samples per problem if they are independent draws of answers; else 0.

    Curves over the number of samples are valid only under these conditions: the method fixes the number before drawing
    the first sample; every problem has the same number; all samples are forked from the prompt itself, and none was
    ended by another sample or by a budget; and the method's answer is that of the sample it chose. A method declares
    the first condition itself: one that stops when its samples agree chooses the number from what it has seen, even if
    it is the same for all problems. Replies to other prompts do not count, and answers chosen by comparing likelihoods
    are not draws. Records of earlier versions do not say whether the number was fixed, so only the other conditions are
    checked (`intact.evaluate.report` goes by the method's name).
    """
    own = [own_samples(record) for record in records]
    counts = set(map(len, own))
    if len(counts) != 1 or any(record.independent is False for record in records):
        return 0
    for record, samples in zip(records, own, strict=True):
        if any(sample.branch.rpartition("/")[0] != record.id for sample in samples):
            return 0
        if any(sample.why not in ("end", "closed", "stop", "length") for sample in samples):
            return 0
        if record.answer != (None if record.chosen is None else record.samples[record.chosen].answer):
            return 0
    return counts.pop()


def first_records(records: Iterable[ItemRecord]) -> dict[str, ItemRecord]:
    """Map each problem's name to its first record, which belongs to the first seed."""
    found: dict[str, ItemRecord] = {}
    for record in records:
        found.setdefault(record.id, record)
    return found


def own_samples(record: ItemRecord) -> list[ItemSample]:
    """Return the samples that answer the problem's own prompt."""
    return [sample for sample in record.samples if not sample.other_prompt]
