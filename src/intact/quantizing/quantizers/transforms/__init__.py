"""Transforms, one per file: each changes a model's float weights before quantising, but not its function.

They are discovered by file, or through entry points of other packages. `intact.quantizing.transforming` applies them to
models.
"""

from typing import Final

from intact._base.plugins import Registry
from intact.quantizing.quantizers.transforms.base import Transform

TRANSFORMS: Final = Registry[Transform](
    "intact.transforms", __name__, lambda value: value.name if isinstance(value, Transform) else None
)
"""Transforms by name."""
