"""Reasoning methods: small programs that spend inference-time compute, with exact accounting (docs/reasoning.md).

`registry`, `limits`, `requests`, `problem` and `budget` define the language in which `methods` are written, using the
building blocks in `parts`, `populations` and `aggregate`. `driving` runs methods on `backends`, with `scorer`, `tool`,
`tools`, `mcp` and `thinking`; `testing` checks methods. `weighted`, `weights` and `closeness` describe votes, and
`recommended` lists the methods to start with.
"""

from intact.reason.budget import Cost
from intact.reason.problem import Answer, Piece, Problem, Prompt, Result, State, Why
from intact.reason.registry import Method, Part, Steps, all_methods, find, method
from intact.reason.requests import CallMethod, Extend, Race, Raced, Read, Request, RunProgram, Score, Use
from intact.reason.scorer import Scorer

__all__ = [
    "Answer",
    "CallMethod",
    "Cost",
    "Extend",
    "Method",
    "Part",
    "Piece",
    "Problem",
    "Prompt",
    "Race",
    "Raced",
    "Read",
    "Request",
    "Result",
    "RunProgram",
    "Score",
    "Scorer",
    "State",
    "Steps",
    "Use",
    "Why",
    "all_methods",
    "find",
    "method",
]
