"""Outcome reward models with a head for sequences: Skywork-Reward, and most of RewardBench."""

from __future__ import annotations

from collections.abc import Sequence

from intact.tasks.score.rewards.native import LayeredReward


class OutcomeReward(LayeredReward):
    """One number for a conversation of question and answer, of which the sigmoid is taken (with two labels: a softmax).

    The models are trained by pairs (Bradley-Terry), so their numbers have no zero of their own: the sigmoid keeps their
    order and makes weights of them.
    """

    family = "outcome"
    kind = "ForSequenceClassification"

    def split(self, text: str) -> list[str]:
        """The whole is one step."""
        return [text.strip()]

    def rewards(self, question: str, steps: Sequence[str]) -> list[float]:
        """Return a reward for each text, each by itself."""
        texts = [self.chat(("user", question), ("assistant", text)) for text in steps]
        return [self.at(tokens, [len(tokens) - 1])[0] for tokens in texts]
