"""Proofs written by methods: a statement, its premises, and steps that a proof assistant tries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final, NamedTuple, TypeAlias, cast

from intact._base.errors import ParameterError
from intact.reason.limits import Natural, Positive, one_of
from intact.reason.parts.interpreting import FENCE
from intact.reason.parts.prompting import make_prompt, question, read_value
from intact.reason.problem import Answer, Problem, State
from intact.reason.registry import Part, SharedParameters
from intact.reason.requests import Read, Use
from intact.tools.prove.assistants import ASSISTANTS, find_assistant
from intact.tools.prove.assistants.base import Assistant
from intact.tools.prove.assistants.failures import FailureLabel, count_failures
from intact.tools.prove.assistants.transcript import ProofKind
from intact.tools.prove.premises import nearest
from intact.tools.retrieve import passages

AssistantName: TypeAlias = Annotated[str, partial(one_of, ASSISTANTS)]
"""The name of a proof assistant."""

SUGGEST: Final = """\
A proof in {assistant} of this theorem is under way.

{statement}
{premises}
The proof so far:
{proof}

What is left to prove:
{goals}

Write the next tactic, on one line, and nothing else."""

KNOWN: Final = "Statements of the library that may help:"
"""Heading above premises in a prompt."""

_BLOCK: Final = re.compile(r"```[^\n]*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class ProofSettings(SharedParameters):
    """Parameters shared by all methods that search for proofs.

    Parameters
    ----------
    assistant : str
        Proof assistant: rocq, metamath or lean.
    seconds : float
        Wall-time limit per attempt, in seconds.
    statement : str
        Statement to prove; by default a code block in the question, or else the whole question.
    premises : int
        Maximum number of library statements shown with a goal, closest first; 0 for none.
    library : str
        File of library statements, separated by empty lines; by default all statements listed by the assistant.
    """

    assistant: AssistantName = "rocq"
    seconds: Positive = 60.0
    statement: str = ""
    premises: Natural = 0
    library: str = ""


@dataclass(frozen=True)
class Claim:
    """A statement to prove, and the assistant that checks proofs.

    Attributes
    ----------
    statement : str
        The text before the proof.
    settings : ProofSettings
        The assistant, its limits, and the source of premises.
    """

    statement: str
    settings: ProofSettings

    @classmethod
    def of(cls, problem: Problem, settings: ProofSettings, *templates: str) -> Claim:
        """Take the statement from the settings, else from a code block in the question, else use the whole question.

        Raises
        ------
        ParameterError
            If premises are requested, but a template that shows goals has no placeholder for them.
        """
        if settings.premises and not all("{premises}" in template for template in templates):
            raise ParameterError(f"premises={settings.premises} needs a template with {{premises}}")
        text = question(problem)
        found = _BLOCK.search(text)
        return cls(settings.statement or (found[1] if found else text), settings)

    @property
    def name(self) -> str:
        """The assistant's name."""
        return self.settings.assistant

    @property
    def assistant(self) -> Assistant:
        """The proof assistant itself."""
        return find_assistant(self.name)

    def attempt(self, steps: Sequence[str]) -> Part[Tried]:
        """Have the assistant try the steps of a proof."""
        values = {"statement": self.statement, "steps": list(steps), "assistant": self.name}
        result = yield Use("proof", values | {"seconds": self.settings.seconds})
        return Tried.of(result.text, self.assistant)

    def recall(self, goals: str) -> Part[str]:
        """Return the premises closest to the goals, formatted for {premises} in a template; empty if there are none."""
        most, file = self.settings.premises, self.settings.library
        if not most:
            return ""
        if file:
            text = yield Read(file)
            found = "\n".join(nearest(passages(text), goals, most))
        else:
            values = {"statement": self.statement, "goals": goals, "most": most, "assistant": self.name}
            result = yield Use("premises", values | {"seconds": self.settings.seconds})
            found = result.text if result.ok else ""
        return f"\n{KNOWN}\n{found}\n" if found else ""

    def ask(self, begun: State, problem: Problem, template: str, steps: Sequence[str] = (), **values: str) -> State:
        """Start a new prompt from a template at a state's place in the tree.

        The template may use {assistant}, {statement}, {proof}, {premises} (empty unless given) and the names of
        `values`.
        """
        known = {
            "assistant": self.assistant.title,
            "statement": self.statement.strip(),
            "proof": self.assistant.join(tuple(steps)) or "(nothing yet)",
            "premises": "",
        }
        return begun.ask(make_prompt(problem, template, **(known | values)))

    def open_block(self, state: State) -> State:
        """Return the state continued inside a block of the assistant's code."""
        return state.append(f"{FENCE}{self.name}\n")


class Tried(NamedTuple):
    """The outcome of trying the steps of a proof.

    Attributes
    ----------
    kind : str
        One of `intact.tools.prove.assistants.transcript.PROOF_KINDS`.
    failed : int or None
        The zero-based index of the step that failed.
    rest : str
        The remaining goals, or the message.
    failure : FailureLabel or None
        The reason why the steps are not a proof (`intact.tools.prove.assistants.failures.FAILURES`).
    """

    kind: ProofKind
    failed: int | None
    rest: str
    failure: FailureLabel | None

    @classmethod
    def of(cls, text: str, assistant: Assistant) -> Tried:
        """Parse the output of the tool `proof`."""
        first, _, rest = text.partition("\n")
        word, _, number = first.partition(" ")
        kind = cast(ProofKind, word)
        return cls(kind, int(number) - 1 if number else None, rest, assistant.failure(kind, rest))

    @property
    def stands(self) -> bool:
        """If true, no step failed; there may still be holes."""
        return self.kind in ("open", "hole", "proved")


def block_of(state: State) -> str:
    """Return the contents of the code block that a model was made to continue, without the closing fence."""
    return state.last.partition(FENCE)[0].strip("\n")


class Attempts:
    """The failures of a method's attempts, and the construction of its answer.

    Attributes
    ----------
    failures : list of FailureLabel or None
        The failure of each attempt.
    """

    def __init__(self, problem: Problem, claim: Claim) -> None:
        self.problem, self.claim = problem, claim
        self.failures = list[FailureLabel | None]()

    def proved(self, steps: Sequence[str], chosen: State | None, **details: object) -> Answer:
        """Return the answer for a proof in which the assistant accepted every step."""
        answer = read_value(self.problem, self.claim.assistant.join(tuple(steps)))
        votes = {} if answer is None else {answer: 1.0}
        return Answer(answer, votes, None, chosen, details=details | {"failures": count_failures(self.failures)})

    def none(self, **details: object) -> Answer:
        """Return the answer for a method that found no proof."""
        return Answer(None, details=details | {"failures": count_failures(self.failures)})
