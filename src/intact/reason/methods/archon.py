"""Archon: layers of generators, critics, rankers, verifiers and fusers, as a text describes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from intact.errors import ParameterError, SpentError
from intact.reason import Extend, Part, Problem, State, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.comparing import demand, numbered
from intact.reason.limits import Filled, model_names, together
from intact.reason.methods.generative_verifier import DEMAND, VERIFY, verdict
from intact.reason.methods.mixture_of_agents import AGGREGATE
from intact.reason.prompting import as_reply, make_prompt, whole

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


class Layer(NamedTuple):
    """A layer: its kind, and how many texts it leaves (0: as many as there are)."""

    kind: str
    size: int


@dataclass
class Candidates:
    """The texts that stand, with what critics say of each."""

    problem: Problem
    names: Sequence[str]
    texts: list[State]
    critiques: list[str] = field(default_factory=list)

    def listed(self) -> str:
        """Return the texts under their numbers, each with its critique if there is one."""
        notes = [f"\n\nA critic says:\n{critique}" for critique in self.critiques] or [""] * len(self.texts)
        return numbered([text.text + note for text, note in zip(self.texts, notes, strict=True)])

    def keep(self, places: Sequence[int]) -> None:
        """Keep the texts at these places, in this order, with their critiques."""
        self.texts = [self.texts[i] for i in places]
        self.critiques = [self.critiques[i] for i in places] if self.critiques else []


def _critique(now: Candidates, size: int) -> Part[None]:
    prompts = [one.ask(make_prompt(now.problem, CRITIQUE, answer=one.text)) for one in now.texts]
    replies = yield [Extend(prompt) for prompt in prompts]
    if any(reply.why == "budget" for reply in replies):
        raise SpentError("the budget does not pay for all critiques")
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


KINDS: Mapping[str, Callable[[Candidates, int], Part[None]]] = {
    "critique": _critique,
    "rank": _rank,
    "verify": _verify,
    "fuse": _fuse,
}


def read_ranking(text: str, options: int) -> list[int] | None:
    """Return the places, from 0, that the last line of the form "Ranking: 2 > 1" names, and then the others."""
    found = re.findall(r"^[^\w\n]*ranking\b([^\n]*\d)", text, re.IGNORECASE | re.MULTILINE)
    named = [int(number) - 1 for number in re.findall(r"\d{1,9}", found[-1])] if found else []
    known = list(dict.fromkeys(place for place in named if 0 <= place < options))
    return [*known, *[place for place in range(options) if place not in known]] if known else None


def read_layers(text: str) -> list[Layer]:
    """Read layers such as ``generate 4, critique, rank 2, fuse 1``, and hold them against Archon's rules.

    Raises
    ------
    ParameterError
        If there is no such kind or number, or a layer stands where it may not.
    """
    layers = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\w+)(?:\s+(\d{1,6}))?\s*", part)
        if found is None or found[1] not in ("generate", *KINDS):
            raise ParameterError(f"a layer is generate, {', '.join(KINDS)}, and a number, got {part.strip()!r:.60}")
        layers.append(Layer(found[1], int(found[2] or 0)))
    kinds = [layer.kind for layer in layers]
    if kinds[0] != "generate" or kinds.count("generate") > 1 or not layers[0].size:
        raise ParameterError(f"the first layer alone generates, such as generate 4, got {text!r:.60}")
    for kind, after in zip(kinds, [*kinds[1:], ""], strict=True):
        if kind == "critique" and after not in ("rank", "fuse"):
            raise ParameterError(f"critique must stand before rank or fuse, got {text!r:.60}")
    for layer in layers:
        together(layer.size, f"{layer.kind} {layer.size}")
    return layers


@method("Saad-Falcon et al. 2024, arXiv 2409.15254", group="plans, roles and layers of models", temperature=0.7)
def archon(problem: Problem, *, layers: Filled = "generate 4, critique, rank 2, fuse 1", models: str = "") -> Steps:
    """Send texts through layers that write, criticise, rank, verify and fuse them, and vote on what is left.

    Parameters
    ----------
    layers : str
        Kinds with how many texts they leave: generate, critique, rank, verify, fuse.
    models : str
        Who generates and fuses, by the driver's names, separated by commas, in turn; by default the model that writes.
    """
    first, *rest = read_layers(layers)
    names = model_names(models)
    texts = yield [Extend(problem.start, model=names[i % len(names)]) for i in range(first.size)]
    now = Candidates(problem, names, texts)
    done = 1
    try:
        for layer in rest:
            yield from KINDS[layer.kind](now, layer.size)
            done += 1
    except SpentError:
        pass  # the texts that stand vote
    return elect(problem, now.texts, layers=done)
