"""The second verifier of examples/, as a module."""

import importlib.util
from pathlib import Path
from types import ModuleType

PROGRAM = Path(__file__).parent.parent.parent / "examples" / "independent_verifier" / "verify.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("independent_verifier", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


v = _load()
