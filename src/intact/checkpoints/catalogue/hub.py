"""Names of models on the hub: ``hf:OWNER/REPO[@REVISION][:CHOICE]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from intact._base.errors import ParameterError
from intact.checkpoints.catalogue.place import quoted, store

PREFIX = "hf:"
MAIN = "main"
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}"
_NAME = re.compile(rf"hf:(?P<owner>{_PART})/(?P<repo>{_PART})(?:@(?P<revision>[^:@]+))?(?::(?P<choice>.+))?")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,99}")
_LONGEST_CHOICE = 300
_EXPECTED = "expected hf:OWNER/REPO, optionally followed by @REVISION and :FILE-OR-QUANTISATION"


@dataclass(frozen=True)
class HubName:
    """The name of a model in a repository.

    Attributes
    ----------
    repo : str
        The repository, such as ``Qwen/Qwen3-0.6B-GGUF``.
    revision : str
        A branch, a tag or a commit.
    choice : str, optional
        A quantisation such as ``Q4_K_M``, a file name, or ``safetensors``; by default the repository's default model.
    """

    repo: str
    revision: str = MAIN
    choice: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubName:
        """Parse a name.

        Raises
        ------
        ParameterError
            If it is malformed.
        """
        found = _NAME.fullmatch(text)
        if found is None or ".." in found["owner"] + found["repo"]:
            raise ParameterError(f"{text!r:.200} is not a model name on the hub: {_EXPECTED}")
        revision, choice = found["revision"] or MAIN, found["choice"]
        if not _REVISION.fullmatch(revision) or ".." in revision:
            raise ParameterError(
                f"{text!r:.200}: {revision!r:.60} is not a revision; expected a branch, a tag or a commit"
            )
        if choice is not None and (len(choice) > _LONGEST_CHOICE or not choice.isprintable()):
            raise ParameterError(f"{text!r:.200}: expected a file or a quantisation such as Q4_K_M after the colon")
        return cls(f"{found['owner']}/{found['repo']}", revision, choice)

    @staticmethod
    def matches(text: str) -> bool:
        """Return true if a string has the form of a name on the hub."""
        return _NAME.fullmatch(text) is not None

    def __str__(self) -> str:
        revision = "" if self.revision == MAIN else f"@{self.revision}"
        return f"{PREFIX}{self.repo}{revision}" + ("" if self.choice is None else f":{self.choice}")

    @property
    def folder(self) -> Path:
        """Folder in the store for this repository at this revision."""
        return store() / "hub" / self.repo / quoted(self.revision)
