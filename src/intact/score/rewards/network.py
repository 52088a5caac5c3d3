"""Reward models whose networks Transformers runs, in floating point."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from intact.errors import ScorerError
from intact.score.rewards.base import RewardModel


class NetworkReward(RewardModel):
    """A network of one of Transformers' own classes, with its head."""

    network: ClassVar[str] = "AutoModel"
    """The class of Transformers that reads the weights."""

    packages = ("torch", "transformers")

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
