"""Verdicts of provers, in SZS terms (Sutcliffe 2008), and their meanings."""

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
"""Description of each status."""

DECIDED: Final = ("Theorem", "ContradictoryAxioms", "CounterSatisfiable", "Unsatisfiable", "Satisfiable")
"""Statuses that answer the question."""

PROVED: Final = ("Theorem", "ContradictoryAxioms", "Unsatisfiable")
"""Statuses that report a contradiction; SPASS and SMT solvers cannot tell them apart."""


@dataclass(frozen=True)
class ProverVerdict:
    """The verdict of a prover on a problem.

    Attributes
    ----------
    prover : str
        Name of the prover.
    version : str
        Version as reported by the prover; for a process, the digest of its executable.
    detail : str
        Further information: the method, or the reason for an error.
    steps : int or None
        Number of steps, if the prover counts them.
    settled : bool
        If true, the verdict is the same on every machine; false after a time or memory limit.
    """

    prover: str
    status: Status
    version: str = ""
    detail: str = ""
    steps: int | None = None
    settled: bool = True

    @property
    def meaning(self) -> str:
        """Description of the status."""
        return MEANINGS[self.status]


def contradict(one: ProverVerdict, other: ProverVerdict) -> bool:
    """Return true if two verdicts cannot both be right."""
    if one.status not in DECIDED or other.status not in DECIDED:
        return False
    return (one.status in PROVED) != (other.status in PROVED)
