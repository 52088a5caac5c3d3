"""Outcome reward models with a sequence-classification head: Skywork-Reward, and most of RewardBench."""

from __future__ import annotations

from collections.abc import Sequence

from intact.tasks.score.rewards.native import LayeredReward


class OutcomeReward(LayeredReward):
    """The sigmoid of the model's single output for a conversation of question and answer (with two labels: a softmax).

    The models are trained on pairs (Bradley-Terry), so their outputs have no natural zero; the sigmoid preserves their
    order and turns them into weights.
    """

    family = "outcome"
    kind = "ForSequenceClassification"

    def split(self, text: str) -> list[str]:
        """Return the whole text as one step."""
        return [text.strip()]

    def rewards(self, question: str, steps: Sequence[str]) -> list[float]:
        """Return a reward for each given step, judging each separately."""
        texts = [self.chat(("user", question), ("assistant", text)) for text in steps]
        return [self.at(tokens, [len(tokens) - 1])[0] for tokens in texts]
