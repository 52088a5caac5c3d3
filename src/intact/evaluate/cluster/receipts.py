"""Receipts of runs on several machines: the facts about a machine that they state must be the same on all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intact._base.plugins import installed
from intact.reason.registry import Method
from intact.solving.receipts.programs import here
from intact.solving.receipts.sealed import source
from intact.solving.receipts.versions import versions_of_method


def stated(method: Method, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts about this machine, other than its models, that are stated in receipts of a method's runs.

    They are `method.source`, the `compiler` of constraints and, for a method that runs programs, the `sandbox`
    (docs/spec/receipts.md, Runs).
    """
    programs = versions_of_method(method, parameters).python is not None
    return {
        "method.source": source().hex(),
        "compiler": installed("llguidance"),
        "sandbox": here().to_document() if programs else None,
    }


def receipts_refusal(expected: Mapping[str, Any] | None, method: Method, parameters: Mapping[str, Any]) -> str:
    """Return the reason why receipts from this machine would differ; an empty string if they would not.

    Parameters
    ----------
    expected : mapping or None
        The result of `stated` where the command runs; None without receipts.
    """
    if expected is None:
        return ""
    own = stated(method, parameters)
    wrong = [name for name in expected if expected[name] != own[name]]
    return f"its receipts would state {wrong[0]} {own[wrong[0]]}; expected {expected[wrong[0]]}" if wrong else ""
