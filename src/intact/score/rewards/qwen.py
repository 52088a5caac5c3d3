"""Qwen2.5-Math-PRM (Zhang et al. 2025, arXiv 2501.07301)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from intact.score.rewards.base import RewardModel, architecture

SEPARATOR = "<extra_0>"
SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


class QwenPRM(RewardModel):
    """A special token behind each step is classified: softmax over two labels, the second is "right".

    The head has two layers with a ReLU between them (``score.0``, ``score.2``).
    """

    family = "qwen"

    @classmethod
    def fits(cls, config: Mapping[str, Any], name: str) -> bool:
        """By the class that its configuration names."""
        return architecture(config) == "Qwen2ForProcessRewardModel"

    def rewards(self, question: str, steps: Sequence[str]) -> list[float]:
        """Return a reward for each step."""
        import torch

        clean = [step.replace(SEPARATOR, "") for step in steps]
        answer = "".join(step + SEPARATOR for step in clean)
        ids = self.chat(("system", SYSTEM), ("user", question.replace(SEPARATOR, "")), ("assistant", answer))
        hidden = self.run(ids).last_hidden_state[0]
        mark = self.last_token(SEPARATOR)
        places = [place for place, token in enumerate(ids) if token == mark]
        first, first_bias, second, second_bias = self._layers
        with torch.inference_mode():
            inner = torch.relu(torch.nn.functional.linear(hidden[places], first, first_bias))
            logits = torch.nn.functional.linear(inner, second, second_bias)
            return [float(value) for value in torch.softmax(logits.float(), -1)[:, 1]]

    @cached_property
    def _layers(self) -> list[Any]:
        return self.head("score.0.weight", "score.0.bias", "score.2.weight", "score.2.bias")
