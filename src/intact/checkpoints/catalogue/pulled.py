"""Pulled hub models: their records in the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intact._base.errors import FormatError
from intact.checkpoints.catalogue.hub import HubName
from intact.checkpoints.catalogue.listing import Listing
from intact.checkpoints.catalogue.place import read_object, store
from intact.checkpoints.catalogue.variants import Variant, choice_of, choose, variants


@dataclass(frozen=True)
class PulledModel:
    """A hub model in the store, possibly incomplete.

    Attributes
    ----------
    name : HubName
        Shortest name that selects it.
    folder : Path
        Folder of its files.
    files : mapping of str to mapping
        ``bytes`` and ``sha256`` of each file, by its path within the folder; empty if the model is incomplete.
    """

    name: HubName
    listing: Listing
    variant: Variant
    folder: Path
    files: dict[str, dict[str, Any]]

    @property
    def complete(self) -> bool:
        """True if the pull was completed and all files are there."""
        return bool(self.files) and all((self.folder / name).is_file() for name in self.files)

    @property
    def path(self) -> Path:
        """Path to load: the only GGUF file, or the folder."""
        single = len(self.files) == 1 and not self.variant.is_folder
        return self.folder / next(iter(self.files)) if single else self.folder

    @property
    def bytes(self) -> int:
        """Size on disk in bytes, including partial files."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def record_path(folder: Path, variant: Variant) -> Path:
    """Return the path of a model's record in its repository's folder."""
    return folder / f"{variant.name}.json"


def open_pulled(name: HubName, listing: Listing, variant: Variant) -> PulledModel:
    """Return a model in the store, complete or not.

    Raises
    ------
    FormatError
        If its record is damaged.
    """
    known = (read_object(record_path(name.folder, variant)) or {}).get("files", {})
    files = {file: value for file, value in known.items() if isinstance(value, dict)} if isinstance(known, dict) else {}
    shortest = HubName(name.repo, name.revision, choice_of(listing, variant))
    return PulledModel(shortest, listing, variant, name.folder / variant.name, files=files)


def find_pulled(name: HubName) -> Path | None:
    """Return the path of a pulled model; None if it has not been pulled.

    Raises
    ------
    ParameterError
        If the repository, as of the first pull, has no such model.
    """
    listing = Listing.kept(name.folder)
    if listing is None:
        return None
    found = open_pulled(name, listing, choose(listing, name.choice))
    return found.path if found.complete else None


def all_pulled(notify: Callable[[FormatError], None] | None = None) -> list[PulledModel]:
    """Return all hub models in the store, complete or not, ordered by name.

    Parameters
    ----------
    notify : callable, optional
        Called with the error for each repository that is skipped because its listing or a record is damaged.
    """
    found = []
    for folder in sorted((store() / "hub").glob("*/*/*/")):
        try:
            found += _pulled_from(folder)
        except FormatError as error:
            if notify is not None:
                notify(error)
    return found


def _pulled_from(folder: Path) -> list[PulledModel]:
    listing = Listing.kept(folder)
    if listing is None:
        return []
    name = HubName(listing.repo, listing.revision)
    if name.folder != folder:
        return []  # moved manually: no name refers to it
    return [open_pulled(name, listing, one) for one in variants(listing) if (folder / one.name).is_dir()]
