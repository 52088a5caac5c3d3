"""A back end that replies what a function says, a letter a token: for methods whose prompts matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason.backends.base import Generation, Written
from intact.reason.problem import Piece, Prompt
from intact.reason.testing.toy import END, MarkovBackend

Reply = Callable[[str, str, int], str]
"""From the prompt's last turn, what was written since, and the number among its siblings, all that is written next."""


class ScriptBackend(MarkovBackend):
    """Every letter has probability 1/e. The end token follows the reply, unless it ends in an ellipsis (…).

    Attributes
    ----------
    asked : list of str
        The last turns of prompts, in the order of requests.
    """

    def __init__(self, reply: Reply, name: str = "letters") -> None:
        super().__init__()
        self.reply, self.vocabulary, self.asked = reply, name, []
        self._pending: list[Generation] = []

    @property
    def identity(self) -> str:
        return "script"

    def count(self, part: Prompt | Piece) -> int:
        return max(1, super().count(part))

    def start(self, generations: Sequence[Generation]) -> None:
        self._pending += generations

    def cancel(self, generations: Sequence[Generation]) -> None:
        pass

    def step(self) -> list[Generation]:
        ended, self._pending = self._pending, []
        for generation in ended:
            generation.written = self._written(generation)
        return ended

    def _written(self, generation: Generation) -> Written:
        state, parameters = generation.state, generation.parameters
        prompt = state.prompt if isinstance(state.prompt, str) else state.prompt[-1][1]
        self.asked.append(prompt)
        text, why = self.reply(prompt, state.text, int(generation.branch[-1])), "end"
        letters = text[:-1] if text.endswith("…") else text + END
        for stop in parameters.stop:
            if stop in letters:
                letters, why = letters[: letters.index(stop) + len(stop)], "stop"
        if len(letters) > parameters.max_tokens or (text.endswith("…") and why == "end"):
            letters, why = letters[: parameters.max_tokens], "length"
        self.made += len(letters)
        logprobs = (-LOGPROB_SCALE,) * len(letters)
        return Written(letters.replace(END, ""), tuple(map(ord, letters)), logprobs, (), why)
