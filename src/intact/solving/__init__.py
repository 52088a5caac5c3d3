"""Solve questions with methods: `intact.solve`, batches of problems, and receipts of whole runs."""

from typing import TYPE_CHECKING

from intact._base.lazy import lazy

if TYPE_CHECKING:
    from intact.solving.run import as_problem, backend_of, backends_of, opened, solve, solve_all, solve_items

__all__ = ["as_problem", "backend_of", "backends_of", "opened", "solve", "solve_all", "solve_items"]

if not TYPE_CHECKING:
    __getattr__ = lazy(__name__, dict.fromkeys(__all__, "intact.solving.run"))
