"""Old names of modules: before the packages were reorganised, `intact._base.errors` was ``intact.errors``.

Importing an old name returns the module itself, with one warning per package; this also applies to old pickles and
entry points.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType
else:
    Loader, ModuleSpec = object, type(__spec__)

MOVED = {
    "audit": "measure.audit",
    "bench": "measure.bench",
    "catalogue": "checkpoints.catalogue",
    "cluster": "evaluate.cluster",
    "conformance": "measure.conformance",
    "conversation": "library.conversation",
    "download": "checkpoints.download",
    "engine.draft.drafting": "engine.drafting",
    "errors": "_base.errors",
    "exact": "_base.exact",
    "executors.profiles": "numerics.profiles",
    "files": "_base.files",
    "formats": "checkpoints.formats",
    "lab": "quantizing.lab",
    "markup": "_base.markup",
    "memory": "_base.memory",
    "packages": "_base.packages",
    "parallel": "library.parallel",
    "planning": "measure.planning",
    "plugins": "_base.plugins",
    "process": "_base.process",
    "prove": "tools.prove",
    "quantizers": "quantizing.quantizers",
    "quantizers.grids": "numerics.grids",
    "reason.choice": "reason.parts.choice",
    "reason.comparing": "reason.parts.comparing",
    "reason.composing": "reason.parts.composing",
    "reason.concepts": "reason.parts.concepts",
    "reason.driver": "reason.driving.driver",
    "reason.execution": "reason.driving.execution",
    "reason.fixed": "reason.aggregate.fixed",
    "reason.forcing": "reason.parts.forcing",
    "reason.holes": "reason.parts.holes",
    "reason.interpreting": "reason.parts.interpreting",
    "reason.journal": "reason.driving.journal",
    "reason.likeliest": "reason.parts.likeliest",
    "reason.next_tokens": "reason.parts.next_tokens",
    "reason.particles": "reason.parts.particles",
    "reason.populations.weighted": "reason.weighted",
    "reason.populations.weights": "reason.weights",
    "reason.prompting": "reason.parts.prompting",
    "reason.proving": "reason.parts.proving",
    "reason.revising": "reason.parts.revising",
    "reason.searching": "reason.parts.searching",
    "reason.services": "reason.driving.services",
    "reason.slots": "reason.driving.slots",
    "reason.stepwise": "reason.parts.stepwise",
    "reason.writing": "reason.driving.writing",
    "run_receipts": "solving.receipts",
    "score": "tasks.score",
    "serve.testing.exchange": "serve.exchange",
    "steering": "library.steering",
    "strict_json": "_base.strict_json",
    "suggest": "_base.suggest",
    "system": "_base.system",
    "testing": "serve.testing",
    "weights": "numerics.weight_formats",
}
"""Maps old names of packages and modules to new ones, all below ``intact``."""


def new_name(name: str) -> str | None:
    """Return a module's current name, or None if it has not moved.

    Examples
    --------
    >>> new_name("intact.score.answers")
    'intact.tasks.score.answers'
    >>> new_name("intact.engine") is None
    True
    """
    head, *parts = name.split(".")
    if head != "intact" or not parts:
        return None
    for count in (3, 2, 1):
        if new := MOVED.get(".".join(parts[:count])):
            return ".".join(("intact", new, *parts[count:]))
    return None


def moved_attribute(module: str, name: str, homes: Sequence[str]) -> Any:
    """Return an attribute that has moved from a module to one of `homes`, with a warning.

    Raises
    ------
    AttributeError
        If none of the modules has the attribute.
    """
    for home in homes:
        if not name.startswith("_") and hasattr(found := import_module(home), name):
            import warnings

            warnings.warn(f"{module}.{name} has moved to {home}: import it from there", FutureWarning, stacklevel=3)
            return getattr(found, name)
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


class Finder:
    """Import finder for the old names of modules."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None, level: int = 2) -> ModuleSpec | None:
        """Return the import spec of a moved module, or None; the warning refers to the caller, `level` frames up."""
        new = new_name(name)
        if new is None:
            return None
        if Finder not in sys.meta_path:
            sys.meta_path.insert(0, Finder)  # must come before finders that look in the packages themselves
        if name.removeprefix("intact.") in MOVED:
            import warnings

            warnings.warn(f"{name} has moved to {new}: import that module instead", FutureWarning, stacklevel=level)
        return ModuleSpec(name, _Alias(new))


class _Alias(Loader):
    """Loader that returns the module with the new name for the old one."""

    def __init__(self, new: str) -> None:
        self.new = new

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self.new)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has set the old name's spec
