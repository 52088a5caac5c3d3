"""The base of reward models: a folder, and a number after each step of a solution."""

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
    """A reward model: how likely a solution is right after each of its steps, in [0, 1].

    A solution is judged by itself, so that its rewards depend on nothing else. No code that comes with a checkpoint
    is ever run.

    Parameters
    ----------
    folder : Path
        The folder with configuration, tokenizer and weights.

    Attributes
    ----------
    family : str
        Its name.
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
        """Return whether a checkpoint is of this family, by its configuration and its name in small letters."""

    @abstractmethod
    def rewards(self, question: str, steps: Sequence[str]) -> list[float]:
        """Return a reward for each step, given all before it."""

    def split(self, text: str) -> list[str]:
        """Return the steps of a solution; a text without any is one empty step."""
        return [step.strip() for step in text.split(self.delimiter) if step.strip()] or [""]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that the rewards depend on: configuration, tokenizer, weights."""
        whole = hashlib.sha256()
        for path in sorted(self.folder.iterdir()):
            if path.suffix in (".json", ".safetensors", ".bin", ".jinja", ".model", ".txt"):
                whole.update(f"{path.name} {sha256_of(path)}\n".encode())
        return whole.hexdigest()


def families() -> dict[str, type[RewardModel]]:
    """Return all families by name: whatever the modules of this package define."""
    return pieces(
        "intact.tasks.score.rewards",
        lambda value: vars(value).get("family") if isinstance(value, type) and issubclass(value, RewardModel) else None,
    )


def open_reward(name: str) -> RewardModel:
    """Open a reward model: a folder or a name of the hub, or ``family=...`` where the family is not recognised.

    Raises
    ------
    NotInstalledError
        If a package is missing.
    ParameterError
        If the family is unknown.
    FormatError
        If the folder holds no model.
    """
    known = families()
    family, equals, rest = name.partition("=")
    if equals and family not in known:
        raise ParameterError(f"there is no family {family!r} of reward models; there are {', '.join(known)}")
    name = rest if equals else name
    folder = expand_home(name)
    if not folder.is_dir():
        if not name or name.startswith((".", "/", "~")) or name.count("/") != 1:
            raise ParameterError(f"{name!r} is no folder, and no name of the hub such as Qwen/Qwen2.5-Math-PRM-7B")
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
            f"{name} does not tell of which family it is: write FAMILY={name}, with one of {', '.join(known)}"
        )
    return fitting[0](folder)


def architecture(config: Mapping[str, Any]) -> str:
    """Return the name of a network's class."""
    names = config.get("architectures") or [""]
    return str(names[0])
