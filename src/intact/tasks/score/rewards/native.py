"""Reward models that run on intact's own engine: their rewards are bit-identical on every machine."""

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
"""A function from the input of the model's head to a reward."""


class NativeReward(RewardModel):
    """A decoder whose hidden states after the ends of steps are turned into rewards.

    Attributes
    ----------
    profile : str
        The arithmetic profile in which the model is loaded.
    """

    profile: Profile = "int8"

    @property
    @abstractmethod
    def head(self) -> Head:
        """The function that turns hidden states into rewards."""

    @cached_property
    def model(self) -> Model:
        """The loaded model."""
        return load(self.folder, profile=self.profile)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that the rewards depend on: files, numerics version, profile."""
        own = f"{super().digest} {VERSION} {self.profile}"
        return hashlib.sha256(own.encode()).hexdigest()

    def at(self, tokens: Sequence[int], places: Sequence[int]) -> list[float]:
        """Return the rewards at the given token positions of a sequence.

        Raises
        ------
        ScorerError
            If the sequence is longer than the model's context.
        """
        if len(tokens) >= self.model.context:
            most = self.model.context - 1
            raise ScorerError(f"{self.folder.name} reads at most {most} tokens, got {len(tokens)}")
        job = HeadsJob(tokens)
        self.model.run([job])
        heads = job.results()
        return [self.head(heads[place]) for place in places]

    def chat(self, *turns: tuple[str, str], reply: bool = False, marks: Collection[str] = ()) -> list[int]:
        """Return the tokens of a conversation in the model's own chat template.

        Parameters
        ----------
        reply : bool
            If true, the tokens end where the model would begin its reply.
        marks : collection of str
            Control tokens to encode as such where messages contain them; any others are encoded as plain text.
        """
        messages = [{"role": role, "content": content} for role, content in turns]
        return self.model.tokenizer.encode_chat(messages, add_generation_prompt=reply, control_tokens=marks)

    def last_token(self, text: str) -> int:
        """Return the last token of a string."""
        return self.model.tokenizer.encode(text, bos=False)[-1]


def without(text: str, mark: str) -> str:
    """Remove a marker from a string, including markers that form when others are removed."""
    while mark in text:
        text = text.replace(mark, "")
    return text


class LayeredReward(NativeReward):
    """A decoder with a head of linear layers (`intact.engine.reward_head`)."""

    kind: ClassVar[str]
    """The suffix of the class name in its configuration (`intact.models.reward_heads`)."""

    @classmethod
    def fits(cls, config: Mapping[str, Any], name: str) -> bool:
        """Match the class named in the configuration."""
        return architecture(config).endswith(cls.kind)

    @cached_property
    def head(self) -> Head:
        """The head's linear layers."""
        model, executor = self.model, self.model.executor
        if model.program.is_encoder:
            raise FormatError(f"{self.folder} is an encoder for reranking texts (`rerank`), not a reward model")
        width = model.program.buffers["normed"].width
        try:
            tensors = model.checkpoint.tensors
            return RewardHead(tensors, LAYERS[self.kind], width, executor.profile, bits=executor.bits).reward
        except ModelError as error:
            raise FormatError(f"{self.folder} is not a reward model of family {self.family}: {error}") from error
