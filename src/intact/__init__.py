"""Inference and reasoning with language models that repeat to the bit: same weights, prompt and seed, same bits.

Importing this package is cheap; a public name brings its module in when it is first used.
"""

import sys
from importlib import import_module

TYPE_CHECKING = False  # not typing's, whose import takes ten times as long as this module
if TYPE_CHECKING:
    from intact import stats
    from intact._base.errors import CapacityError, FormatError, IntactError, ModelError, ParameterError
    from intact.library import Chunk, Completion, ImageClassifier, Model, load, load_classifier
    from intact.library.conversation.conversation import Conversation
    from intact.quantizing import quantize
    from intact.solving.run import solve

__version__ = "0.2.0"

# By hand: importing takes 1.8 ms; with lazy-loader 0.6 1.9 ms by `attach`, which type checkers cannot follow, so that
# the imports above would stay, and 10 ms by `attach_stub`, which they can.
_HOMES = {
    "CapacityError": "intact._base.errors",
    "Chunk": "intact.library",
    "Completion": "intact.library",
    "Conversation": "intact.library.conversation.conversation",
    "FormatError": "intact._base.errors",
    "ImageClassifier": "intact.library",
    "IntactError": "intact._base.errors",
    "Model": "intact.library",
    "ModelError": "intact._base.errors",
    "ParameterError": "intact._base.errors",
    "load": "intact.library",
    "load_classifier": "intact.library",
    "quantize": "intact.quantizing",
    "solve": "intact.solving.run",
    "stats": "intact",
}

__all__ = [
    "CapacityError",
    "Chunk",
    "Completion",
    "Conversation",
    "FormatError",
    "ImageClassifier",
    "IntactError",
    "Model",
    "ModelError",
    "ParameterError",
    "__version__",
    "load",
    "load_classifier",
    "quantize",
    "solve",
    "stats",
]


if not TYPE_CHECKING:  # type checkers shall know the names above, and no others

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'intact' has no attribute {name!r}")
        home = _HOMES[name]
        value = import_module(f"intact.{name}") if home == "intact" else getattr(import_module(home), name)
        globals()[name] = value
        return value


class _OldNames:
    """Finds modules by their old names; consulted last, for names below ``intact`` that no other finder knows."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> object:
        if not name.startswith("intact."):
            return None
        from intact._base.moved import Finder

        return Finder.find_spec(name, level=3)


sys.meta_path.append(_OldNames)  # type: ignore[arg-type]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
