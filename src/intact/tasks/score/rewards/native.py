"""Reward models that this engine runs: their rewards have the same bits on every machine."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

from intact._base.errors import FormatError, ModelError, ScorerError
from intact.engine.head_job import HeadsJob
from intact.engine.reward_head import RewardHead
from intact.library import Model, load
from intact.models.reward_heads import LAYERS
from intact.numerics import VERSION
from intact.numerics.profiles import Profile
from intact.tasks.score.rewards.base import RewardModel, architecture

Head: TypeAlias = Callable[[bytes], float]
"""Makes a reward of what enters the model's head."""


class NativeReward(RewardModel):
    """A decoder whose hidden states behind the ends of steps are judged.

    Attributes
    ----------
    profile : str
        That the model is loaded in.
    """

    profile: Profile = "int8"

    @property
    @abstractmethod
    def head(self) -> Head:
        """The function that judges them."""

    @cached_property
    def model(self) -> Model:
        """The model."""
        return load(self.folder, profile=self.profile)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that the rewards depend on: the files, the version of the numerics, the profile."""
        own = f"{super().digest} {VERSION} {self.profile}"
        return hashlib.sha256(own.encode()).hexdigest()

    def at(self, tokens: Sequence[int], places: Sequence[int]) -> list[float]:
        """Return the rewards behind some tokens of a text.

        Raises
        ------
        ScorerError
            If the text is longer than the model can read.
        """
        if len(tokens) >= self.model.context:
            most = self.model.context - 1
            raise ScorerError(f"{self.folder.name} reads {most} tokens at most, not {len(tokens)}")
        job = HeadsJob(tokens)
        self.model.run([job])
        heads = job.results()
        return [self.head(heads[place]) for place in places]

    def chat(self, *turns: tuple[str, str], reply: bool = False, marks: Collection[str] = ()) -> list[int]:
        """Return the tokens of a conversation in the model's own form, up to where it would reply if that is wanted.

        Parameters
        ----------
        marks : collection of str
            Control tokens that the contents have; others that they spell are text.
        """
        messages = [{"role": role, "content": content} for role, content in turns]
        return self.model.tokenizer.encode_chat(messages, add_generation_prompt=reply, control_tokens=marks)

    def last_token(self, text: str) -> int:
        """Return the last token of a text."""
        return self.model.tokenizer.encode(text, bos=False)[-1]


def without(text: str, mark: str) -> str:
    """Return a text without a mark, also those that spell one once another is taken out of them."""
    while mark in text:
        text = text.replace(mark, "")
    return text


class LayeredReward(NativeReward):
    """A decoder with a head of linear layers (`intact.engine.reward_head`)."""

    kind: ClassVar[str]
    """The end of the class name in its configuration (`intact.models.reward_heads`)."""

    @classmethod
    def fits(cls, config: Mapping[str, Any], name: str) -> bool:
        """By the class that its configuration names."""
        return architecture(config).endswith(cls.kind)

    @cached_property
    def head(self) -> Head:
        """The layers."""
        model, executor = self.model, self.model.executor
        if model.program.is_encoder:
            raise FormatError(f"{self.folder} is an encoder, which reranks texts (`rerank`), and no reward model")
        width = model.program.buffers["normed"].width
        try:
            tensors = model.checkpoint.tensors
            return RewardHead(tensors, LAYERS[self.kind], width, executor.profile, bits=executor.bits).reward
        except ModelError as error:
            raise FormatError(f"{self.folder} is no {self.family} reward model: {error}") from error
