"""The base class of reward models: a checkpoint folder, and a reward after each step of a solution."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from intact._base.errors import FormatError, ParameterError
from intact._base.files import expand_home, sha256_of
from intact._base.plugins import pieces


class RewardModel(ABC):
    """A reward model: the probability that a solution is right, after each of its steps, in [0, 1].

    Each solution is judged separately, so its rewards do not depend on other solutions. Code that comes with a
    checkpoint is never run.

    Parameters
    ----------
    folder : Path
        The folder that contains the configuration, tokenizer and weights.

    Attributes
    ----------
    family : str
        The name of the family.
    delimiter : str
        The text between steps in its training data.
    """

    family: ClassVar[str]
    delimiter: ClassVar[str] = "\n\n"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    @abstractmethod
    def fits(cls, config: Mapping[str, Any], name: str) -> bool:
        """Return true if a checkpoint belongs to this family, given its configuration and its lower-case name."""

    @abstractmethod
    def rewards(self, question: str, steps: Sequence[str]) -> list[float]:
        """Return a reward for each step, given all steps before it."""

    def split(self, text: str) -> list[str]:
        """Return the steps of a solution; a solution without steps counts as one empty step."""
        return [step.strip() for step in text.split(self.delimiter) if step.strip()] or [""]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that the rewards depend on: configuration, tokenizer, weights."""
        whole = hashlib.sha256()
        for path in sorted(self.folder.iterdir()):
            if path.suffix in (".json", ".safetensors", ".bin", ".jinja", ".model", ".txt"):
                whole.update(f"{path.name} {sha256_of(path)}\n".encode())
        return whole.hexdigest()


def families() -> dict[str, type[RewardModel]]:
    """Return all families defined in this package, by name."""
    return pieces(
        "intact.tasks.score.rewards",
        lambda value: vars(value).get("family") if isinstance(value, type) and issubclass(value, RewardModel) else None,
    )


def open_reward(name: str) -> RewardModel:
    """Open a reward model from a folder or by its Hub name; write ``FAMILY=...`` if the family is not recognised.

    Raises
    ------
    NotInstalledError
        If a package is missing.
    ParameterError
        If the family is unknown.
    FormatError
        If the folder contains no model.
    """
    known = families()
    family, equals, rest = name.partition("=")
    if equals and family not in known:
        raise ParameterError(f"no family of reward models named {family!r}; available: {', '.join(known)}")
    name = rest if equals else name
    folder = expand_home(name)
    if not folder.is_dir():
        if not name or name.startswith((".", "/", "~")) or name.count("/") != 1:
            raise ParameterError(f"{name!r} is neither a folder nor a Hub name such as Qwen/Qwen2.5-Math-PRM-7B")
        from huggingface_hub import snapshot_download

        patterns = ["*.json", "*.safetensors", "*.bin", "*.jinja", "*.model", "*.txt"]
        folder = Path(snapshot_download(name, allow_patterns=patterns))
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{folder} has no readable config.json: {error}") from error
    fitting = [known[family]] if equals else [kind for kind in known.values() if kind.fits(config, name.lower())]
    if len(fitting) != 1:
        raise ParameterError(
            f"the family of {name} is not recognised: write FAMILY={name}, with one of {', '.join(known)}"
        )
    return fitting[0](folder)


def architecture(config: Mapping[str, Any]) -> str:
    """Return the class name of a network's architecture."""
    names = config.get("architectures") or [""]
    return str(names[0])
