# Written by hand until the module's interface has settled; docs/building.md says how to make it from the module.
from typing import Any

def __getattr__(name: str) -> Any: ...
