"""Reward models that are language models: the reward is the probability of one next token relative to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from intact.engine.reranking import AnswerHead
from intact.tasks.score.rewards.base import architecture
from intact.tasks.score.rewards.native import Head, NativeReward, without

GOOD, BAD = "+", "-"


class _NextToken(NativeReward):
    """Rewards p(+) / (p(+) + p(-)) for the next token at certain positions."""

    @cached_property
    def head(self) -> Head:
        """The rows of the model's output head for + and -."""
        signs = [self.last_token(GOOD), self.last_token(BAD)]
        model = self.model
        return AnswerHead(model.program, model.executor.profile, signs, model.executor.bits).score


class RLHFlow(_NextToken):
    """RLHFlow's models (Dong et al. 2024, "RLHF workflow", and their PRMs on Mistral and DeepSeek data).

    Every step is a user turn, the first of them following the question, and the model answers each one with + or -.
    """

    family = "rlhflow"

    @classmethod
    def fits(cls, config: Mapping[str, Any], name: str) -> bool:
        """Match the name."""
        return architecture(config).endswith("ForCausalLM") and "rlhflow" in name

    def rewards(self, question: str, steps: Sequence[str]) -> list[float]:
        """Return a reward for each step: the model's next answer, given that it answered + to all earlier steps."""
        contents = [f"{question} {steps[0]}", *steps[1:]]
        turns = [turn for step in contents for turn in (("user", step), ("assistant", GOOD))]
        prompts = [self.chat(*turns[: 2 * index + 1], reply=True) for index in range(len(steps))]
        longest = prompts[-1]
        if all(longest[: len(ids)] == ids for ids in prompts):
            return self.at(longest, [len(ids) - 1 for ids in prompts])
        return [self.at(ids, [len(ids) - 1])[0] for ids in prompts]  # the template formats earlier turns differently


class RLHFlowOutcome(RLHFlow):
    """RLHFlow's outcome models: the same format, with the whole solution as one step."""

    family = "rlhflow-outcome"

    @classmethod
    def fits(cls, config: Mapping[str, Any], name: str) -> bool:
        """Return false: the name matches `RLHFlow`, so this family must be selected explicitly."""
        return False

    def split(self, text: str) -> list[str]:
        """Return the whole text as one step."""
        return [text.strip()]


class MathShepherd(_NextToken):
    """Math-Shepherd (Wang et al. 2023, arXiv 2312.08935): "ки" ends each line, and the model predicts + or - next."""

    family = "math-shepherd"
    delimiter = "\n"
    tag = "ки"

    @classmethod
    def fits(cls, config: Mapping[str, Any], name: str) -> bool:
        """Match the name."""
        return architecture(config).endswith("ForCausalLM") and "shepherd" in name

    def rewards(self, question: str, steps: Sequence[str]) -> list[float]:
        """Return a reward for each step."""
        lines = [f"{without(step, self.tag)} {self.tag}" for step in steps]
        ids = self.model.tokenizer.encode(f"{without(question, self.tag)} " + "\n".join(lines))
        mark = self.last_token(self.tag)
        return self.at(ids, [place for place, token in enumerate(ids) if token == mark])
