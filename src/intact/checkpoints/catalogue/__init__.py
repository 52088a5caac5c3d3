"""Names of models (from the catalogue, from repositories on the hub, or the user's own) and the files they refer to.

Importing this package is cheap: shell completion and ``--help`` use it.
"""

from intact.checkpoints.catalogue.aliases import aliases
from intact.checkpoints.catalogue.entries import CATALOGUE, DEFAULT, Entry, Hub, Package, Source
from intact.checkpoints.catalogue.hub import HubName
from intact.checkpoints.catalogue.names import (
    MissingModelError,
    entry,
    expand,
    find,
    is_name,
    looks_like_path,
    resolve,
)
from intact.checkpoints.catalogue.place import store

__all__ = [
    "CATALOGUE",
    "DEFAULT",
    "Entry",
    "Hub",
    "HubName",
    "MissingModelError",
    "Package",
    "Source",
    "aliases",
    "entry",
    "expand",
    "find",
    "is_name",
    "looks_like_path",
    "resolve",
    "store",
]
