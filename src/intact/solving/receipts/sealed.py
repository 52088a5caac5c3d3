"""The services of a run with a receipt, for the maker and the verifier: they provide only what the receipt contains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from threading import Event
from typing import Any, Final

from intact._base.errors import ParameterError, ReceiptError
from intact.engine.shared_cache.request import SharedText
from intact.reason.driving.services import Root, Services
from intact.reason.problem import Branch, Result
from intact.reason.registry import Method, all_methods
from intact.reason.requests import CallMethod, RunProgram
from intact.reason.scorer import Scorer
from intact.reason.tool import MethodTool, ToolResult, ToolUse
from intact.reason.tools import TOOLS
from intact.receipts.canonical import HashName
from intact.solving.receipts.document import RunResult
from intact.solving.receipts.entries import (
    Entry,
    RunEntry,
    ScoreEntry,
    SharedEntry,
    TextEntry,
    ToolEntry,
    call_digest,
    program_digest,
    shared_digest,
)
from intact.solving.receipts.values import unbounded, unwritten
from intact.solving.receipts.versions import versions_of_all
from intact.tasks.score.scorers import SCORERS
from intact.tasks.score.scorers.next_value import NextValueScorer
from intact.tasks.score.scorers.value import ValueScorer
from intact.tasks.score.value import NextHead, ValueHead
from intact.tools.sandbox import Outcome

UNSTATED: Final = {"reward": "receipts do not state its model", "prefix_value": "it knows the right answers"}
"""Scorers that runs with receipts cannot use, with the reasons."""
FILED: Final[Mapping[str, Callable[[str, str], Scorer]]] = {
    ValueScorer.name: lambda file, text: ValueScorer(file, ValueHead.parse(text, file)),
    NextValueScorer.name: lambda file, text: NextValueScorer(file, NextHead.parse(text, file)),
}
"""Scorers that are loaded from a file, given its name and content."""
LONGEST_RUN: Final = 60.0
"""Maximum number of seconds for a program, since verifiers rerun it."""


class SealedServices(Services, ABC):
    """Services that a verifier can reproduce: methods and scorers of this package, files in the receipt.

    The journal is used only to predict completions, so every completion still passes through one of the maker's back
    ends.

    Attributes
    ----------
    files : dict of Root to dict of str to str
        For each problem, the contents by name of the files that were read.
    named : dict of Root to set of str
        The models that were named for each problem.
    """

    recompute = True

    def __init__(
        self, scorer: Callable[[str], Scorer], *, untrusted: bool = False, tools: Mapping[str, MethodTool] | None = None
    ) -> None:
        super().__init__(scorer, untrusted=untrusted, tools=tools)
        self.files: dict[Root, dict[str, str]] = defaultdict(dict)
        self.named: dict[Root, set[str]] = defaultdict(set)

    @abstractmethod
    def content(self, file: str) -> str:
        """Return the content of a file."""

    def read(self, root: Root, file: str) -> str:
        """Return the content of a file, and record the problem for which it was read."""
        text = self.files[root][file] = self.content(file)
        return text

    def note_model(self, root: Root, name: str) -> None:
        """Record the problem for which a model was named."""
        self.named[root].add(name)

    def scorer(self, root: Root, name: str) -> Scorer:
        """Find a scorer by name, among those whose scores are the same on every machine."""
        kind, _, argument = name.partition(":")
        if kind in UNSTATED:
            raise ParameterError(f"a run with a receipt cannot use the scorer {kind}: {UNSTATED[kind]}")
        if kind in SCORERS and kind not in SCORERS.own:
            raise ParameterError(
                f"a run with a receipt cannot use the scorer {kind} of {SCORERS.origin(kind)}: "
                "verifiers have only the scorers of this package"
            )
        if kind in FILED and argument and not self.untrusted:
            return FILED[kind](argument, self.read(root, argument))
        return super().scorer(root, name)

    def run(self, request: RunProgram, stop: Event) -> Outcome:
        """Run a program, unless its time limit is too long for verifiers."""
        if request.seconds > LONGEST_RUN:
            raise ParameterError(
                f"in a run with a receipt, a program may take at most {LONGEST_RUN:g} seconds, got {request.seconds:g}"
            )
        return super().run(request, stop)

    def use(self, call: ToolUse, stop: Event) -> ToolResult:
        """Call a tool, if verifiers have it and its time limit is acceptable, or if its result is only recorded."""
        name, values = call.tool.name, call.values
        if call.tool.replayable and type(call.tool) is not TOOLS.own.get(name):
            raise ParameterError(
                f"a run with a receipt cannot use the tool {name:.80}, which is not part of this package"
            )
        if (wrong := unwritten(values)) is not None:
            raise ParameterError(f"a receipt cannot represent the input {wrong:.80} of the tool {name:.80}")
        if values.get("seconds", 0) > LONGEST_RUN:
            raise ParameterError(
                f"in a run with a receipt, a tool may take at most {LONGEST_RUN:g} seconds, got {values['seconds']:g}"
            )
        return super().use(call, stop)

    def method(self, call: CallMethod) -> Method:
        """Look up the method of a call among this package's own methods."""
        name = call.method if isinstance(call.method, str) else call.method.name
        found = all_methods().get(name)
        if found is None:
            raise ParameterError(
                f"{name:.80} is not a method of this package; a run with a receipt can only call those"
            )
        wrong = unbounded(call.parameters)
        if wrong is not None:
            raise ParameterError(f"{name}: a receipt cannot represent the value of the parameter {wrong:.80}")
        return found


@cache
def source() -> bytes:
    """SHA-256 of the versions of all parts that can affect a run's result (`intact.solving.receipts.versions`).

    The digest covers all parts, not only the ones that the receipt names: a receipt must not choose the code that
    judges it.
    """
    return versions_of_all().digest


def entries_of(trace: Mapping[str, Any], texts: Mapping[str, TextEntry], name: HashName) -> tuple[Entry, ...]:
    """Return the entries of a run: the nodes of its trace in order, with nested methods at the place of their call.

    Parameters
    ----------
    texts : mapping of str to TextEntry
        The completions, by branch.
    name : {'sha256', 'blake3'}
        The receipt's hash function.

    Raises
    ------
    ReceiptError
        If a completion failed.
    """
    return tuple(_flat(trace["nodes"], texts, name))


def _flat(
    nodes: Sequence[Mapping[str, Any]], texts: Mapping[str, TextEntry], name: HashName
) -> Generator[Entry, None, None]:
    for node in nodes:
        if node["kind"] == "extend":
            if node["branch"] not in texts:
                raise ReceiptError(f"the text {node['branch']:.80} failed: {node.get('error', node['why']):.200}")
            yield texts[node["branch"]]
        elif node["kind"] == "score":
            yield ScoreEntry(
                node["scorer"],
                tuple([place for place, _ in node["scores"]]),
                tuple([float(score) for _, score in node["scores"]]),
            )
        elif node["kind"] == "shared":
            request = node["request"]
            text = SharedText.from_document({one.name: node[one.name] for one in fields(SharedText)})
            yield SharedEntry(tuple(request["branch"]), shared_digest(name, request), text)
        elif node["kind"] == "run":
            program = program_digest(name, node["code"], node.get("stdin"), node["seconds"])
            yield RunEntry(program, node["stdout"], node["status"], node["ended"])
        elif node["kind"] == "tool":
            call = call_digest(name, node["tool"], node["values"], node.get("place", ""))
            version = bytes.fromhex(node["version"])
            yield ToolEntry(
                node["tool"], version, call, node["text"], ended=node["ended"], replayable=node["replayable"]
            )
        else:
            yield from _flat(node["nodes"], texts, name)


def outcome_of(result: Result) -> RunResult:
    """Return a result in the form used by receipts."""
    answer = result.answer
    chosen: Branch | None = None if answer.chosen is None else answer.chosen.branch
    votes = tuple([(name, float(weight)) for name, weight in answer.votes.items()])
    confidence = None if answer.confidence is None else float(answer.confidence)
    return RunResult(answer.answer, votes, confidence, chosen, why=result.why, cost=result.cost._replace(seconds=0.0))


def on_path(branch: Branch, chosen: Branch | None) -> bool:
    """Return true if a completion is the chosen one or one of its ancestors."""
    return chosen is not None and chosen[: len(branch)] == branch
