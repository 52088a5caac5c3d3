"""Archon: layers of generators, critics, rankers, verifiers, unit tests and fusers, described by a string."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, NamedTuple

from intact._base.errors import ParameterError, SpentError
from intact.reason import Extend, Part, Problem, State, Steps, Use, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import CommaList, ModelNames, ToolName, model_names, together
from intact.reason.methods.generative_verifier import DEMAND, VERIFY, verdict
from intact.reason.methods.mixture_of_agents import AGGREGATE
from intact.reason.parts.comparing import demand, numbered
from intact.reason.parts.prompting import as_reply, make_prompt, whole
from intact.reason.problem import SPENT
from intact.reason.tool import LONGEST_INPUT, ToolResult

CRITIQUE = """\
{question}

Here is an answer to this:

{answer}

Name its strengths and its weaknesses, in short."""

RANK = """\
{question}

Here are several answers to this:

{answers}

Rank them by how right and how good they are. End with the line "Ranking: " and their numbers, the best first, such as \
2 > 1 > 3."""

TESTS = """\
{question}

Do not answer this. Write {number} unit tests that a right program passes, each a statement of Python on one line that \
begins with assert."""

COUNT = """\
import builtins as _b, contextlib as _c, io as _i

def _passed(tests):
    count = 0
    for test in tests:
        try:
            with _c.redirect_stdout(_i.StringIO()):
                _b.exec(test, _b.dict(_b.globals()))
            count += 1
        except _b.Exception:
            pass
    return count

_b.print(_passed({tests!r}))
"""
WRITTEN_TESTS: Final = 5
"""Number of unit tests requested by a tests layer without a number."""


class Layer(NamedTuple):
    """A layer: its kind, and the number of candidates it keeps (0: all that it receives)."""

    kind: str
    size: int


@dataclass
class Candidates:
    """The current candidates, with the critiques of each and the unit tests for them.

    Attributes
    ----------
    names : sequence of str
        The models that generate and fuse.
    tool : str
        The tool that runs unit tests.
    """

    problem: Problem
    names: Sequence[str]
    texts: list[State]
    tool: str = ""
    critiques: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)

    def listed(self) -> str:
        """Return the candidates as a numbered list, each with its critique if there is one."""
        notes = [f"\n\nA critic says:\n{critique}" for critique in self.critiques] or [""] * len(self.texts)
        return numbered([text.text + note for text, note in zip(self.texts, notes, strict=True)])

    def keep(self, places: Sequence[int]) -> None:
        """Keep the candidates at these indices, in this order, with their critiques."""
        self.texts = [self.texts[i] for i in places]
        self.critiques = [self.critiques[i] for i in places] if self.critiques else []


def _critique(now: Candidates, size: int) -> Part[None]:
    prompts = [one.ask(make_prompt(now.problem, CRITIQUE, answer=one.text)) for one in now.texts]
    replies = yield [Extend(prompt) for prompt in prompts]
    if any(reply.why in SPENT for reply in replies):
        raise SpentError("the budget or the context has no room for all the critiques")
    now.critiques = [reply.text.strip() for reply in replies]


def _rank(now: Candidates, size: int) -> Part[None]:
    prompt = now.problem.ask(make_prompt(now.problem, RANK, answers=now.listed()))
    ((_, order),) = yield from demand([prompt], lambda text: read_ranking(text, len(now.texts)), "\n\nRanking:")
    now.keep((order or range(len(now.texts)))[: size or len(now.texts)])


def _verify(now: Candidates, size: int) -> Part[None]:
    prompts = [one.ask(make_prompt(now.problem, VERIFY, answer=one.text)) for one in now.texts]
    replies = yield from demand(prompts, verdict, DEMAND)
    right = [i for i, (_, ruling) in enumerate(replies) if ruling]
    now.keep(right or range(len(now.texts)))


def _fuse(now: Candidates, size: int) -> Part[None]:
    prompt = now.problem.ask(make_prompt(now.problem, AGGREGATE, answers=now.listed()))
    written = yield [Extend(prompt, model=now.names[i % len(now.names)]) for i in range(size or len(now.texts))]
    fused = [as_reply(now.problem, one) for one in written if whole(now.problem, one)]
    if fused:
        now.texts, now.critiques = fused, []


def _write_tests(now: Candidates, size: int) -> Part[None]:
    number = size or WRITTEN_TESTS
    reply = yield Extend(now.problem.ask(make_prompt(now.problem, TESTS, number=str(number))))
    if reply.why in SPENT:
        raise SpentError("the budget or the context has no room for unit tests")
    now.tests = read_tests(reply.text)[:number]


def _run_tests(now: Candidates, size: int) -> Part[None]:
    cell, programs = COUNT.format(tests=now.tests), now.problem.answers(now.texts)
    if not now.tests or len(cell) > LONGEST_INPUT:
        return
    programs = [None if program is None or len(program) > LONGEST_INPUT else program for program in programs]
    calls = [Use(now.tool, {"code": cell, "before": [program]}) for program in programs if program is not None]
    results = iter((yield calls) if calls else ())
    passed = [0 if program is None else read_count(next(results)) for program in programs]
    order = sorted(range(len(passed)), key=lambda i: -passed[i])
    now.keep(order[:size] if size else [i for i in order if passed[i] == max(passed)])


KINDS: Mapping[str, Callable[[Candidates, int], Part[None]]] = {
    "critique": _critique,
    "rank": _rank,
    "verify": _verify,
    "tests": _write_tests,
    "run": _run_tests,
    "fuse": _fuse,
}


def read_tests(text: str) -> list[str]:
    """Return the distinct lines of a reply that begin with assert."""
    return list(dict.fromkeys(line.strip() for line in text.splitlines() if re.match(r"[ \t]*assert\b", line)))


def read_count(result: ToolResult) -> int:
    """Return the number of tests that a program passed; 0 if it failed or exceeded a limit."""
    last = result.text.strip().rpartition("\n")[2]
    return int(last) if result.ok and re.fullmatch(r"\d{1,6}", last) else 0


def read_ranking(text: str, options: int) -> list[int] | None:
    """Return the zero-based indices in the last line of the form "Ranking: 2 > 1", then the indices it leaves out."""
    found = re.findall(r"^[^\w\n]*ranking\b([^\n]*\d)", text, re.IGNORECASE | re.MULTILINE)
    named = [int(number) - 1 for number in re.findall(r"\d{1,9}", found[-1])] if found else []
    known = list(dict.fromkeys(place for place in named if 0 <= place < options))
    return [*known, *[place for place in range(options) if place not in known]] if known else None


def read_layers(text: str) -> list[Layer]:
    """Parse layers such as ``generate 4, critique, rank 2, fuse 1``, and check them against Archon's rules.

    Raises
    ------
    ParameterError
        If a kind or number is invalid, or a layer is in the wrong place.
    """
    layers = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\w+)(?:\s+(\d{1,6}))?\s*", part)
        if found is None or found[1] not in ("generate", *KINDS):
            raise ParameterError(
                f"a layer must be generate, {', '.join(KINDS)}, and a number, got {part.strip()!r:.60}"
            )
        layers.append(Layer(found[1], int(found[2] or 0)))
    kinds = [layer.kind for layer in layers]
    if kinds[0] != "generate" or kinds.count("generate") > 1 or not layers[0].size:
        raise ParameterError(f"the first layer, and no other, must be like generate 4, got {text!r:.60}")
    for kind, after in zip(kinds, [*kinds[1:], ""], strict=True):
        if kind == "critique" and after not in ("rank", "fuse"):
            raise ParameterError(f"critique must come directly before rank or fuse, got {text!r:.60}")
        if (kind == "tests") != (after == "run"):
            raise ParameterError(f"tests must come directly before run, and run directly after tests, got {text!r:.60}")
    for layer in layers:
        together(layer.size, f"{layer.kind} {layer.size}")
    return layers


def are_layers(**values: str) -> None:
    """Raise ParameterError if a string is not a valid list of layers (`read_layers`)."""
    for name, text in values.items():
        try:
            read_layers(text)
        except ParameterError as error:
            raise ParameterError(f"{name}: {error}") from None


def _check_layers(*, layers: str, tool: str) -> None:
    if any(layer.kind == "run" for layer in read_layers(layers)) and tool != "python":
        raise ParameterError("a run layer needs a tool that runs programs: tool=python")


@method(
    "Saad-Falcon et al. 2024, arXiv 2409.15254",
    group="plans, roles and layers of models",
    checks=(_check_layers,),
    temperature=0.7,
)
def archon(
    problem: Problem,
    *,
    layers: Annotated[str, are_layers, CommaList()] = "generate 4, critique, rank 2, fuse 1",
    models: ModelNames = "",
    tool: ToolName = "",
) -> Steps:
    """Pass candidates through layers that write, criticise, rank, verify, test and fuse them, and vote among the rest.

    Parameters
    ----------
    layers : str
        Layer kinds with the number of candidates each keeps: generate, critique, rank, verify, tests, run, fuse.
    models : str
        Names of the models that generate and fuse in turn, separated by commas; by default the main model.
    tool : str
        Tool that runs the unit tests of a run layer: python.
    """
    first, *rest = read_layers(layers)
    names = model_names(models)
    texts = yield [Extend(problem.start, model=names[i % len(names)]) for i in range(first.size)]
    now = Candidates(problem, names, texts, tool)
    done = 1
    try:
        for layer in rest:
            yield from KINDS[layer.kind](now, layer.size)
            done += 1
    except SpentError:
        pass  # the current candidates vote
    return elect(problem, now.texts, layers=done)
