"""Skywork-o1-Open-PRM (Skywork 2024)."""

from __future__ import annotations

from collections.abc import Sequence

from intact.tasks.score.rewards.native import LayeredReward


class SkyworkPRM(LayeredReward):
    """Rewards from a value head at the end of each line: the sigmoid of one linear layer on the last hidden state.

    The problem precedes the solution as plain text, without a chat template.
    """

    family = "skywork"
    delimiter = "\n"
    kind = "ForPrmModel"

    def rewards(self, question: str, steps: Sequence[str]) -> list[float]:
        """Return a reward for each step."""
        tokenizer, end = self.model.tokenizer, self.last_token("\n")
        tokens = tokenizer.encode(f"{question}\n", special=False)
        places = []
        for step in steps:
            tokens += [*tokenizer.encode(step, special=False, bos=False), end]
            places.append(len(tokens) - 1)
        return self.at(tokens, places)
