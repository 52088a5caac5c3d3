"""Codecs of the KV cache, one file each: each file here that defines a `KvCodec` adds it to `CODECS`."""

import importlib
import pkgutil

from intact.numerics.kv_codecs.definition import KvCodec

CODECS: dict[str, KvCodec] = {
    codec.name: codec
    for module in sorted(pkgutil.iter_modules(__path__, f"{__name__}."), key=lambda module: module.name)
    for codec in vars(importlib.import_module(module.name)).values()
    if isinstance(codec, KvCodec)
}
"""All codecs by name."""

__all__ = ["CODECS", "KvCodec"]
