"""The base of reward models: a folder, a tokenizer, a network, a number after each step of a solution."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from intact.errors import FormatError, NotInstalledError, ParameterError, ScorerError
from intact.files import expand_home, sha256_of
from intact.packages import install
from intact.plugins import pieces


class RewardModel(ABC):
    """A reward model: how likely a solution is right after each of its steps, in [0, 1].

    A solution is judged by itself, never in a batch, so that its rewards depend on nothing else. No code that
    comes with a checkpoint is ever run: networks are Transformers' own, heads are built here.

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
    network: ClassVar[str] = "AutoModel"
    """The class of Transformers that reads the weights."""

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

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        import transformers

        return transformers.AutoTokenizer.from_pretrained(self.folder, trust_remote_code=False)

    @cached_property
    def device(self) -> str:
        """The device that it runs on."""
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @cached_property
    def model(self) -> Any:
        """The network, in 32 bits on processors and as it was stored elsewhere."""
        import torch
        import transformers

        dtype: Any = torch.float32 if self.device == "cpu" else "auto"
        reader = getattr(transformers, self.network)
        return reader.from_pretrained(self.folder, dtype=dtype, trust_remote_code=False).to(self.device).eval()

    def head(self, *names: str) -> list[Any]:
        """Return weights that Transformers' own class does not know, by the ends of their names.

        Raises
        ------
        FormatError
            If there is none.
        """
        found: dict[str, Any] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            from safetensors import safe_open

            with safe_open(path, "pt", self.device) as file:
                found |= {key: file.get_tensor(key) for key in file.keys() if key.endswith(names)}  # noqa: SIM118
        if not found:
            import torch

            for path in sorted(self.folder.glob("pytorch_model*.bin")):
                weights = torch.load(path, map_location=self.device, weights_only=True)
                found |= {key: value for key, value in weights.items() if key.endswith(names)}
        chosen = [[value for key, value in found.items() if key.endswith(name)] for name in names]
        absent = [name for name, values in zip(names, chosen, strict=True) if not values]
        if absent:
            raise FormatError(f"{self.folder} has no weights {', '.join(absent)}: it is no {self.family} reward model")
        return [values[0].to(self.model.dtype) for values in chosen]

    def run(self, ids: Sequence[int]) -> Any:
        """Return the network's output for one sequence.

        Raises
        ------
        ScorerError
            If it is longer than the network can read.
        """
        import torch

        longest = getattr(self.model.config, "max_position_embeddings", None)
        if longest is not None and len(ids) > longest:
            raise ScorerError(f"{self.folder.name} reads {longest} tokens at most, not {len(ids)}")
        with torch.inference_mode():
            return self.model(torch.tensor([list(ids)], device=self.device))

    def chat(self, *turns: tuple[str, str], reply: bool = False) -> list[int]:
        """Return the tokens of a conversation in the model's own form, up to where it would reply if that is wanted."""
        messages = [{"role": role, "content": content} for role, content in turns]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=reply)
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def last_token(self, text: str) -> int:
        """Return the last token of a text."""
        return int(self.tokenizer.encode(text, add_special_tokens=False)[-1])


def families() -> dict[str, type[RewardModel]]:
    """Return all families by name: whatever the modules of this package define."""
    return pieces(
        "intact.score.rewards",
        lambda value: vars(value).get("family") if isinstance(value, type) and issubclass(value, RewardModel) else None,
    )


def open_reward(name: str) -> RewardModel:
    """Open a reward model: a folder or a name of the hub, or ``family=...`` where the family is not recognised.

    Raises
    ------
    ParameterError
        If the extra is missing, or the family unknown.
    FormatError
        If the folder holds no model.
    """
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise NotInstalledError(f"reward models need PyTorch and Transformers: {install('torch', 'transformers')}")
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
    if equals:
        return known[family](folder)
    fitting = [kind for kind in known.values() if kind.fits(config, name.lower())]
    if len(fitting) != 1:
        raise ParameterError(
            f"{name} does not tell of which family it is: write FAMILY={name}, with one of {', '.join(known)}"
        )
    return fitting[0](folder)


def architecture(config: Mapping[str, Any]) -> str:
    """Return the name of a network's class."""
    names = config.get("architectures") or [""]
    return str(names[0])
