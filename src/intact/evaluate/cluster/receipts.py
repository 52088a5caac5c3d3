"""Receipts of runs from several machines: each states in them by what it made them, which must be the same on all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intact._base.plugins import installed
from intact.reason.registry import Method
from intact.solving.receipts.programs import here
from intact.solving.receipts.sealed import source
from intact.solving.receipts.versions import versions_of_method


def stated(method: Method, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what receipts of a method's runs here state of this machine, besides its models.

    They are `method.source`, the `compiler` of constraints, and of a method with programs the `sandbox`
    (docs/receipts.md, Runs).
    """
    programs = versions_of_method(method, parameters).python is not None
    return {
        "method.source": source().hex(),
        "compiler": installed("llguidance"),
        "sandbox": here().to_document() if programs else None,
    }


def receipts_refusal(expected: Mapping[str, Any] | None, method: Method, parameters: Mapping[str, Any]) -> str:
    """Return why receipts from this machine would be others; nothing if they would not, or none are made.

    Parameters
    ----------
    expected : mapping or None
        As `stated` returns it where the command runs; None without receipts.
    """
    if expected is None:
        return ""
    own = stated(method, parameters)
    wrong = [name for name in expected if expected[name] != own[name]]
    return f"its receipts would state {wrong[0]} {own[wrong[0]]}; expected {expected[wrong[0]]}" if wrong else ""
