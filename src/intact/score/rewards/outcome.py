"""Outcome reward models with a head for sequences: Skywork-Reward, and most of RewardBench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from intact.score.rewards.base import architecture
from intact.score.rewards.network import NetworkReward


class OutcomeReward(NetworkReward):
    """One number for a conversation of question and answer, of which the sigmoid is taken (with two labels: a softmax).

    The models are trained by pairs (Bradley-Terry), so their numbers have no zero of their own: the sigmoid keeps their
    order and makes weights of them.
    """

    family = "outcome"
    network = "AutoModelForSequenceClassification"

    @classmethod
    def fits(cls, config: Mapping[str, Any], name: str) -> bool:
        """By the class that its configuration names."""
        return architecture(config).endswith("ForSequenceClassification")

    def split(self, text: str) -> list[str]:
        """The whole is one step."""
        return [text.strip()]

    def rewards(self, question: str, steps: Sequence[str]) -> list[float]:
        """Return a reward for each text, each by itself."""
        return [self._one(question, step) for step in steps]

    def _one(self, question: str, text: str) -> float:
        import torch

        logits = self.run(self.chat(("user", question), ("assistant", text))).logits[0].float()
        return float(torch.sigmoid(logits[0]) if len(logits) == 1 else torch.softmax(logits, -1)[1])
