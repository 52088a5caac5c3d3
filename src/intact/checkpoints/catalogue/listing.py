"""Validated file listings of repositories on the hub, to which anyone can upload.

Names are validated before they become paths. A listing is stored with the pulled models, so a name keeps selecting the
same files, even without access to the hub.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from intact._base.errors import FormatError
from intact._base.strict_json import LARGEST, is_integer
from intact.checkpoints.catalogue.place import LISTING, quoted, read_object

MOST_FILES = 10_000
LONGEST_NAME = 200
"""Maximum length in characters of a file name, with special characters written as %XX."""
LARGEST_FILE = 50_000_000_000
"""Maximum size of a file in bytes; the hub does not serve larger files over plain HTTP."""
LARGEST_TEXT = 256 << 20
"""Maximum size, in bytes, of a file that does not hold weights."""

SMALL = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)
"""Files of a folder other than its weights."""
TEMPLATE = re.compile(r"additional_chat_templates/[^/]+\.jinja")
_NO_MODEL = ("mmproj", "imatrix")
"""Words in the names of GGUF files that are not language models."""
_WEIGHTS = (".gguf", ".safetensors", ".bin")
_PYTORCH = re.compile(r"pytorch_model(-\d{5}-of-\d{5})?\.bin|pytorch_model\.bin\.index\.json")
_UNSAFE = re.compile(r'[\\:*?"<>|]')


class HubFile(NamedTuple):
    """A file of a repository: its size, and the digest given by the hub (SHA-256, or the SHA-1 of a Git blob)."""

    size: int
    sha256: str | None
    git: str | None


@dataclass(frozen=True)
class Listing:
    """The model files of a repository at one commit."""

    repo: str
    revision: str
    commit: str
    licence: str
    files: dict[str, HubFile]

    def to_document(self) -> dict[str, Any]:
        """Return the listing as a JSON object."""
        files = {name: file._asdict() for name, file in self.files.items()}
        return {
            "repo": self.repo,
            "revision": self.revision,
            "commit": self.commit,
            "licence": self.licence,
            "files": files,
        }

    @classmethod
    def of_document(cls, value: Any, where: str) -> Listing:
        """Parse a listing from JSON.

        Raises
        ------
        FormatError
            If it is malformed, or a name or a size is not allowed.
        """
        texts = ("repo", "revision", "commit", "licence")
        if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in texts):
            raise FormatError(f"{where} is not a list of a repository's files")
        if not re.fullmatch("[0-9a-f]{40}", value["commit"]):
            raise FormatError(f"{where}: the commit is {value['commit']!r:.60}; expected 40 hexadecimal digits")
        files = value.get("files")
        if not isinstance(files, dict) or len(files) > MOST_FILES:
            raise FormatError(f"{where}: expected at most {MOST_FILES} files")
        checked = {name: _file(name, file, where) for name, file in files.items()}
        return cls(value["repo"], value["revision"], value["commit"], value["licence"], files=checked)

    @classmethod
    def kept(cls, folder: Path) -> Listing | None:
        """Return the listing stored in a folder of the store; None if there is none."""
        value = read_object(folder / LISTING)
        return None if value is None else cls.of_document(value, str(folder / LISTING))


def is_wanted(name: str) -> bool:
    """Return true if a file of a repository may be part of a model."""
    base = name.rpartition("/")[2].lower()
    if base.endswith(".gguf"):
        return not any(word in base for word in _NO_MODEL)
    if "/" in name:
        return TEMPLATE.fullmatch(name) is not None
    is_pytorch = _PYTORCH.fullmatch(name) is not None
    return name in SMALL or name.endswith((".safetensors", ".safetensors.index.json")) or is_pytorch


def check_files(listing: Listing, names: Collection[str]) -> int:
    """Check some files of a repository, and return their total size in bytes.

    Raises
    ------
    FormatError
        If a file is larger than allowed, or the hub gives no digest for it.
    """
    for name in names:
        file, most = listing.files[name], LARGEST_FILE if name.lower().endswith(_WEIGHTS) else LARGEST_TEXT
        if file.size > most:
            raise FormatError(f"{listing.repo}: {name} has {file.size:,} bytes; expected at most {most:,}")
        if file.sha256 is None and file.git is None:
            raise FormatError(f"{listing.repo}: the hub states no digest of {name} (is HF_ENDPOINT a hub?)")
    return sum(listing.files[name].size for name in names)


def _file(name: str, value: Any, where: str) -> HubFile:
    """Validate a file's name, by the rules of every operating system, and its size."""
    plain = all(part and not part.startswith(".") and not part.endswith((".", " ")) for part in name.split("/"))
    if not plain or not name.isprintable() or _UNSAFE.search(name) or len(quoted(name)) > LONGEST_NAME:
        raise FormatError(f"{where}: the name {name!r:.120} is not allowed; expected a path within the repository")
    size, sha256, git = (value.get(key) if isinstance(value, dict) else None for key in ("size", "sha256", "git"))
    if not isinstance(size, int) or not is_integer(size, 0, LARGEST):
        raise FormatError(f"{where}: {name} has the size {size!r:.40}; expected a number of bytes")
    for digest, length in ((sha256, 64), (git, 40)):
        if digest is not None and not (isinstance(digest, str) and re.fullmatch(f"[0-9a-f]{{{length}}}", digest)):
            raise FormatError(f"{where}: {name} has the digest {digest!r:.80}; expected {length} hexadecimal digits")
    return HubFile(size, sha256, git)
