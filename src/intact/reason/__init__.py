"""Reasoning methods: small programs that spend compute at inference, with exact accounting (docs/reasoning.md)."""

from intact.reason.answer import Answer, Cost, Result
from intact.reason.problem import Problem
from intact.reason.registry import Method, Part, Steps, all_methods, find, method
from intact.reason.requests import Call, Extend, Race, Raced, Read, Request, Run, Score
from intact.reason.scorer import Scorer
from intact.reason.state import Piece, Prompt, State, Why

__all__ = [
    "Answer",
    "Call",
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
    "Run",
    "Score",
    "Scorer",
    "State",
    "Steps",
    "Why",
    "all_methods",
    "find",
    "method",
]
