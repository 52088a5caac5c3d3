"""Solve questions by methods: `intact.solve`, the same for many problems at once, and receipts of whole runs."""

from intact._base.lazy import lazy

_RUN = ("as_problem", "backend_of", "backends_of", "opened", "solve", "solve_all", "solve_items")

__getattr__ = lazy(__name__, dict.fromkeys(_RUN, "intact.solving.run"))
