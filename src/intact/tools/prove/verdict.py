"""Verdicts of provers, in the words of SZS (Sutcliffe 2008), and what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Status: TypeAlias = Literal[
    "Theorem",
    "ContradictoryAxioms",
    "CounterSatisfiable",
    "Unsatisfiable",
    "Satisfiable",
    "GaveUp",
    "ResourceOut",
    "Timeout",
    "MemoryOut",
    "Error",
]

MEANINGS: Final[dict[Status, str]] = {
    "Theorem": "the conjecture follows from the axioms",
    "ContradictoryAxioms": "the axioms contradict each other, so that everything follows from them",
    "CounterSatisfiable": "the conjecture does not follow: the axioms can hold where it does not",
    "Unsatisfiable": "the formulas contradict each other",
    "Satisfiable": "the formulas can all hold",
    "GaveUp": "the prover stopped without a verdict",
    "ResourceOut": "the prover reached its limit on steps",
    "Timeout": "the prover reached its limit on time",
    "MemoryOut": "the prover reached its limit on memory",
    "Error": "the prover failed",
}
"""Each status in words."""

DECIDED: Final = ("Theorem", "ContradictoryAxioms", "CounterSatisfiable", "Unsatisfiable", "Satisfiable")
"""The statuses that answer the question."""

PROVED: Final = ("Theorem", "ContradictoryAxioms", "Unsatisfiable")
"""The statuses of a contradiction that was found; SPASS and solvers of SMT cannot say which of these it is."""


@dataclass(frozen=True)
class ProverVerdict:
    """The verdict of a prover on a problem.

    Attributes
    ----------
    prover : str
        Who says it.
    version : str
        Its version, as it reports it; of a process beside that the digest of its program.
    detail : str
        What else is known: the method, or the reason of an error.
    steps : int or None
        Steps of a prover that counts them.
    settled : bool
        If true, it would say so on every machine; false after a limit on time or memory.
    """

    prover: str
    status: Status
    version: str = ""
    detail: str = ""
    steps: int | None = None
    settled: bool = True

    @property
    def meaning(self) -> str:
        """The status in words."""
        return MEANINGS[self.status]


def contradict(one: ProverVerdict, other: ProverVerdict) -> bool:
    """Return true if two verdicts cannot both be right."""
    if one.status not in DECIDED or other.status not in DECIDED:
        return False
    return (one.status in PROVED) != (other.status in PROVED)
