"""Qwen2.5-Math-PRM (Zhang et al. 2025, arXiv 2501.07301)."""

from __future__ import annotations

from collections.abc import Sequence

from intact.tasks.score.rewards.native import LayeredReward, without

SEPARATOR = "<extra_0>"
SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


class QwenPRM(LayeredReward):
    """Rewards from a special token after each step: the softmax over two labels, of which the second means "right"."""

    family = "qwen"
    kind = "ForProcessRewardModel"

    def rewards(self, question: str, steps: Sequence[str]) -> list[float]:
        """Return a reward for each step."""
        answer = "".join(without(step, SEPARATOR) + SEPARATOR for step in steps)
        turns = ("system", SYSTEM), ("user", without(question, SEPARATOR)), ("assistant", answer)
        tokens, mark = self.chat(*turns, marks=[SEPARATOR]), self.last_token(SEPARATOR)
        return self.at(tokens, [place for place, token in enumerate(tokens) if token == mark])
