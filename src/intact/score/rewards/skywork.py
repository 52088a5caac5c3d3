"""Skywork-o1-Open-PRM (Skywork 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from intact.score.rewards.base import RewardModel, architecture


class SkyworkPRM(RewardModel):
    """A value head at each line's end: sigmoid of one linear layer (``v_head.summary``) on the last hidden state.

    The problem stands before the solution as plain text, without a conversation's form.
    """

    family = "skywork"
    delimiter = "\n"

    @classmethod
    def fits(cls, config: Mapping[str, Any], name: str) -> bool:
        """By the class that its configuration names, or its own name."""
        return architecture(config).endswith("ForPrmModel") or "skywork-o1-open-prm" in name

    def rewards(self, question: str, steps: Sequence[str]) -> list[float]:
        """Return a reward for each step."""
        import torch

        def encode(text: str) -> list[int]:
            return list(self.tokenizer.encode(text, add_special_tokens=False))

        ids = encode(f"{self.tokenizer.bos_token or ''}{question}\n")
        end = self.last_token("\n")
        places = []
        for step in steps:
            ids += [*encode(step), end]
            places.append(len(ids) - 1)
        hidden = self.run(ids).last_hidden_state[0, places]
        weight, bias = self._layer
        with torch.inference_mode():
            values = torch.nn.functional.linear(hidden, weight, bias)[:, 0]
            return [float(value) for value in torch.sigmoid(values.float())]

    @cached_property
    def _layer(self) -> list[Any]:
        return self.head("v_head.summary.weight", "v_head.summary.bias")
