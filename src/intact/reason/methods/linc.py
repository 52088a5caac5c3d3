"""LINC: the model writes a first-order formula for each sentence, and a prover decides what follows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Final

from intact._base.errors import CapacityError, SpentError
from intact.reason import Extend, Part, Problem, RunProgram, State, Steps, method
from intact.reason.aggregate.votes import elected, vote
from intact.reason.limits import Count, Natural, Positive, one_of
from intact.reason.parts.prompting import bare_question, make_prompt, read_value
from intact.tools.prove.formalise import grammar, predicates_of, program, queries, read_answers, read_formula
from intact.tools.prove.formula import Formula

WAYS: Final = ("linc", "scratchpad", "naive")

FORMALISE = """\
Translate each sentence into a formula of first-order logic. Write predicates and names in small letters, the \
variables X, Y and Z in capital letters, ![X]: for all, ?[X]: for some, & and, | or, ~ not, => implies, \
<=> equivalent, <~> either or. Use the same predicate for the same thing everywhere. The last sentence is the \
conclusion.

Here is an example.

TEXT: All dogs bark.
FOL: ![X]: (dog(X) => bark(X))
TEXT: Rex is a dog or a cat.
FOL: (dog(rex) | cat(rex))
TEXT: No cat chases Rex.
FOL: ![X]: (cat(X) => ~chases(X,rex))
TEXT: If someone is young and not lazy, then they play.
FOL: ![X]: ((young(X) & ~lazy(X)) => play(X))
TEXT: Rex barks.
FOL: bark(rex)

Now translate these sentences.

{sentences}"""

JUDGE = """\
Is the conclusion true, false or uncertain, given the premises?

Premises:
{premises}
Conclusion: {conclusion}"""

_CHOICES = re.compile(r"(\n[A-E]\) [^\n]*)+\s*$")
_QUESTION = re.compile(r"(?:Based on[^?]*|Is the following statement[^?]*)\?\s*")


def sentences_of(text: str) -> tuple[list[str], str]:
    """Return the premises and the conclusion of a question.

    The question may contain the lines `Premises:` and `Conclusion:`, or a question mark before the conclusion;
    otherwise the last sentence is the conclusion. Lettered choices at the end are dropped.
    """
    text = _CHOICES.sub("", text).strip()
    if "Conclusion:" in text:
        before, _, conclusion = text.rpartition("Conclusion:")
        lines = before.replace("Premises:", "", 1).strip().splitlines()
        return [line.strip() for line in lines if line.strip()], " ".join(conclusion.split())
    found = list(_QUESTION.finditer(text))
    before, after = (text[: found[-1].start()], text[found[-1].end() :]) if found else (text, "")
    premises = [one for one in re.split(r"(?<=[.!])\s+", before.strip()) if one]
    if after.strip():
        return premises, " ".join(after.split())
    return premises[:-1], premises[-1] if premises else ""


@dataclass
class _Attempt:
    """A formalisation in progress."""

    state: State
    formulas: list[Formula] = field(default_factory=list)
    broken: bool = False
    redrawn: int = 0


def _formalise(
    begun: State, sentences: Sequence[str], n: int, tokens: int, redraws: int, constrained: bool
) -> Part[list[_Attempt]]:
    """Write n formalisations in parallel, one formula per sentence; formulas that cannot be parsed are resampled."""
    attempts = [_Attempt(begun) for _ in range(n)]
    for place, sentence in enumerate(sentences):
        waiting = [one for one in attempts if not one.broken]
        for one in waiting:
            one.state = one.state.append(f"TEXT: {' '.join(sentence.split())}\nFOL: ", special=False)
        for turn in range(redraws + 1):
            known = [predicates_of(one.formulas) if place + 1 == len(sentences) else {} for one in waiting]
            requests = [
                Extend(one.state, stop=("\n",), max_tokens=tokens, grammar=grammar(names) if constrained else None)
                for one, names in zip(waiting, known, strict=True)
            ]
            written = yield requests
            again = []
            for one, state in zip(waiting, written, strict=True):
                formula = read_formula(state.last if state.why == "stop" or not state.complete else f"{state.last}\n")
                if formula is not None:
                    one.state = state
                    one.formulas.append(formula)
                elif turn < redraws and state.why not in ("budget", "error", "context"):
                    one.redrawn += 1
                    again.append(one)
                else:
                    one.state, one.broken = state, True
            waiting = again
            if not waiting:
                break
        if all(one.broken for one in attempts):
            break
    return attempts


def _verdicts(attempts: Sequence[_Attempt], steps: int, seconds: float) -> Part[list[str]]:
    """Return the prover's verdict on each formalisation; Error if it cannot be parsed or run."""
    found: list[str] = []
    try:
        for one in attempts:
            if one.broken:
                found.append("Error")
                continue
            try:
                text = queries(one.formulas[:-1], one.formulas[-1], steps)
            except CapacityError:
                found.append("Limit")
                continue
            outcome = yield RunProgram(program(), text, seconds)
            found.append("Error" if outcome.ended in ("error", "signal") else read_answers(outcome.stdout))
    except SpentError:
        found += ["Error"] * (len(attempts) - len(found))
    return found


@method(
    "Olausson et al. 2023, arXiv 2310.15164",
    version=2,
    group="programs, run in the sandbox",
    uses=("programs",),
    temperature=0.8,
    top_p=0.95,
)
def linc(
    problem: Problem,
    *,
    n: Count = 10,
    way: Annotated[str, partial(one_of, WAYS)] = "linc",
    constrained: bool = True,
    redraws: Natural = 2,
    tokens: Count = 100,
    steps: Count = 100_000,
    seconds: Positive = 10.0,
    formalise: str = FORMALISE,
) -> Steps:
    """Formalise the premises and the conclusion n times, and return the verdict proved most often.

    Parameters
    ----------
    n : int
        Number of formalisations.
    way : str
        Decision rule: linc, a prover decides; scratchpad, the model decides after writing formulas; naive, the model
        decides without formulas.
    constrained : bool
        If true, a grammar restricts the output to formulas; otherwise it may not be a valid formula.
    redraws : int
        Number of times that a formula is resampled if it cannot be parsed, for example because it was cut off.
    tokens : int
        Maximum number of tokens per formula.
    steps : int
        Maximum number of steps in each of the prover's three searches.
    seconds : float
        Wall-time limit for the three searches together, in seconds.
    formalise : str
        Prompt template for formulas, with {sentences}; its example does not come from any task.
    """
    premises, conclusion = sentences_of(bare_question(problem, "linc"))
    sentences = [*premises, conclusion]
    if way == "naive":
        prompt = make_prompt(problem, JUDGE, premises="\n".join(premises), conclusion=conclusion)
        attempts = [_Attempt(problem.ask(prompt)) for _ in range(n)]
    else:
        prompt = make_prompt(problem, formalise, sentences="\n".join(sentences))
        attempts = yield from _formalise(
            problem.ask(prompt), sentences, n, tokens, redraws=redraws, constrained=constrained
        )
    if way == "linc":
        found = yield from _verdicts(attempts, steps, seconds)
        states = [one.state for one in attempts]
    else:
        begun = [one.state.append("ANSWER: ") for one in attempts]
        states = yield [Extend(one, regex="True|False|Uncertain", max_tokens=10) for one in begun]
        found = [state.last.strip() for state in states]
    answers = [read_value(problem, one) if one in ("True", "False", "Uncertain") else None for one in found]
    return elected(
        vote(answers),
        answers,
        states,
        None,
        found=found,
        read=sum(not one.broken for one in attempts),
        redrawn=sum(one.redrawn for one in attempts),
    )
