"""The models in a repository (GGUF files by quantisation, or a folder of weights), and the selection of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from intact._base.errors import FormatError, ParameterError
from intact.checkpoints.catalogue.listing import SMALL, TEMPLATE, Listing
from intact.checkpoints.catalogue.place import quoted

DEFAULT_QUANTISATIONS = (
    *("Q4_K_M", "Q4_0", "Q4_K_S", "Q4_1", "IQ4_NL", "IQ4_XS", "MXFP4"),
    *("Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q6_K", "Q8_0"),
    *("Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "BF16", "F16", "F32"),
)
"""Quantisations in the order in which a repository's default is chosen (as documented in docs/models.md)."""
_MIXED = ("MXFP4", "IQ2_M", "IQ3_M", "IQ3_XS")
"""Quantisations not named after a format, but made of supported formats."""
_FOLDERS = {
    "safetensors": (".safetensors", "model.safetensors"),
    "pytorch": (".bin", "pytorch_model.bin"),
}
"""The choices for a repository's model that is not GGUF, in order of preference: the suffix of its weights, and the
name of a single weights file, to which an index of shards adds ``.index.json``."""
_GGUF_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})")
_LABEL = re.compile(
    r"(?<![A-Za-z0-9])(?:UD-)?(?:I?Q[1-9](?:_[A-Z0-9]+)*|TQ[12]_0|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32)(?![A-Za-z0-9_])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Variant:
    """One of the models in a repository.

    Attributes
    ----------
    key : str
        Path of its GGUF file in the repository, without part number; or ``safetensors`` or ``pytorch``.
    label : str, optional
        Quantisation in its name.
    files : tuple of str
        Its files; for a folder with an index, all files except the shards, which the index lists.
    """

    key: str
    label: str | None
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of its folder in the store."""
        return quoted(self.key)

    @property
    def is_folder(self) -> bool:
        """True if the model is a folder with weights, configuration and tokenizer."""
        return self.key in _FOLDERS

    @property
    def index(self) -> str | None:
        """File that lists a folder's shards."""
        return next((name for name in self.files if self.is_folder and name.endswith(".index.json")), None)

    @property
    def suffix(self) -> str:
        """Suffix of the names of a folder's weights."""
        return _FOLDERS[self.key][0]

    def local(self, file: str) -> str:
        """Return the path of a file within the model's folder."""
        return file if self.is_folder else PurePosixPath(file).name


def variants(listing: Listing) -> list[Variant]:
    """Return the models of a repository, GGUF first; split models with missing parts are left out."""
    parts: dict[str, list[str]] = {}
    for name in sorted(listing.files):
        if name.lower().endswith(".gguf"):
            found = _GGUF_PART.fullmatch(name[:-5])
            parts.setdefault(f"{found['stem'] if found else name[:-5]}.gguf", []).append(name)
    several = [_gguf(key, names) for key, names in parts.items() if _is_whole(names)]
    return several + _folder(listing)


def choose(listing: Listing, choice: str | None) -> Variant:
    """Return the model of a repository for a choice; without one, the repository's default.

    Parameters
    ----------
    choice : str, optional
        A quantisation, a file name, ``safetensors`` or ``pytorch``.

    Raises
    ------
    ParameterError
        If there is no such model, or more than one; the message lists the available ones.
    """
    several = variants(listing)
    if not several:
        raise ParameterError(
            f"{listing.repo} has no model that intact can read; expected .gguf files, or config.json with "
            ".safetensors or pytorch_model.bin"
        )
    variant = _default(listing, several) if choice is None else _named(listing, several, choice)
    if variant.label is not None and not _can_be_read(variant.label):
        raise ParameterError(f"{variant.label} of {listing.repo} cannot be read; the repository has {_list(several)}")
    return variant


def shards(content: Any, listing: Listing, variant: Variant) -> tuple[str, ...]:
    """Return the shards that a folder's index lists.

    Raises
    ------
    FormatError
        If it is not an index, or lists a file that is not at the root of the repository.
    """
    weights = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not weights or not all(isinstance(name, str) for name in weights.values()):
        raise FormatError(f"{listing.repo}: {variant.index} has no weight_map of tensors to files")
    names = tuple(dict.fromkeys(weights.values()))
    for name in names:
        if "/" in name or not name.endswith(variant.suffix) or name not in listing.files:
            message = f"{variant.index} names the shard {name!r:.120}, which is not in the repository"
            raise FormatError(f"{listing.repo}: {message}")
    return names


def choice_of(listing: Listing, variant: Variant) -> str:
    """Return the shortest choice that selects a model of a repository."""
    same = [one for one in variants(listing) if one.label == variant.label]
    return variant.label if variant.label is not None and len(same) == 1 else variant.key


def _folder(listing: Listing) -> list[Variant]:
    """Return the model that is not GGUF, if any."""
    if "config.json" not in listing.files:
        return []
    small = [name for name in listing.files if name in SMALL or TEMPLATE.fullmatch(name)]
    for key, (suffix, whole) in _FOLDERS.items():
        weights = [name for name in listing.files if "/" not in name and name.endswith(suffix)]
        alone = weights if len(weights) == 1 and key == "safetensors" else []
        for main in (whole, f"{whole}.index.json", *alone):
            if main in listing.files:
                return [Variant(key, None, (*small, main))]
    return []


def _is_whole(names: list[str]) -> bool:
    """Return true if files form one whole model: a single file that is not a part, or all parts."""
    numbers = [(int(found["number"]), int(found["count"])) for n in names if (found := _GGUF_PART.fullmatch(n[:-5]))]
    return numbers == [(i + 1, len(names)) for i in range(len(names))] if numbers else len(names) == 1


def _gguf(key: str, names: list[str]) -> Variant:
    labels = _LABEL.findall(PurePosixPath(key).stem) or _LABEL.findall(key)
    label = labels[-1].upper().replace("FP16", "F16").replace("FP32", "F32") if labels else None
    return Variant(key, label, tuple(names))


def _default(listing: Listing, several: list[Variant]) -> Variant:
    for label in DEFAULT_QUANTISATIONS:
        if found := [one for one in several if one.label == label]:
            return _one(listing, found, label)
    if several[0].is_folder or len(several) == 1:
        return several[0]
    raise ParameterError(f"{listing.repo} has several models: {_list(several)}; name one: hf:{listing.repo}:NAME")


def _named(listing: Listing, several: list[Variant], choice: str) -> Variant:
    exact = [one for one in several if choice in (one.key, *one.files)]
    exact = exact or [one for one in several if choice in {PurePosixPath(file).name for file in (one.key, *one.files)}]
    label = [one for one in several if choice.upper() == one.label]
    found = [one for one in (exact or label) if not one.is_folder or choice == one.key]
    if not found:
        raise ParameterError(f"{listing.repo} has no {choice!r:.200}; it has {_list(several)}")
    return _one(listing, found, choice)


def _one(listing: Listing, found: list[Variant], choice: str) -> Variant:
    if len(found) > 1:
        names = ", ".join(one.files[0] for one in found[:10])
        raise ParameterError(f"{listing.repo} has {len(found)} models {choice}: {names}; give the name of a file")
    return found[0]


def _list(several: list[Variant]) -> str:
    names = [one.label or (one.key if one.is_folder else one.files[0]) for one in several]
    return ", ".join(dict.fromkeys(names[:40])) + (", ..." if len(names) > 40 else "")


def _can_be_read(label: str) -> bool:
    """Return true if the format after which a quantisation is named is supported."""
    from intact.numerics.weight_formats import FORMATS

    words = label.removeprefix("UD-").split("_")
    if len(words) > 2 and words[2].isdigit():
        return False  # e.g. Q4_0_4_4, with a layout for one processor
    return any("_".join(words[:count]) in FORMATS for count in range(1, len(words) + 1)) or label.startswith(_MIXED)
