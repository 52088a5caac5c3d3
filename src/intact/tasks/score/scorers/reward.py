"""Score a completion with a reward model from the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from intact._base.errors import ParameterError
from intact.reason.parts.prompting import question
from intact.reason.problem import Problem, State
from intact.tasks.score.rewards import RewardModel, open_reward


class Reward:
    """The reward after a completion's last step, in [0, 1], from a reward model (`intact.tasks.score.rewards`).

    Examples: ``reward:FOLDER``, ``reward:Qwen/Qwen2.5-Math-PRM-7B``, or ``reward:rlhflow=FOLDER`` if the family is not
    recognised. A completion that is a prefix of another one in the same request is judged together with it in one pass.

    Parameters
    ----------
    model : str
        A folder or a Hub name.
    """

    name = "reward"
    version = 1
    least, most = 0.0, 1.0

    def __init__(self, model: str = "") -> None:
        if not model:
            raise ParameterError("reward needs a model: reward:FOLDER, or reward:NAME with a Hub name")
        self._model: RewardModel = open_reward(model)

    @cached_property
    def digest(self) -> str:
        """The family and digest of the reward model."""
        return f"{self._model.family} {self._model.digest}"

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        """Return the scores, in order."""
        known: dict[tuple[str, ...], float] = {}
        texts = [tuple(self._model.split(state.text)) for state in states]
        for steps in sorted(set(texts), key=lambda steps: (-len(steps), steps)):
            if steps not in known:
                for end, reward in enumerate(self._model.rewards(question(problem), steps), 1):
                    known.setdefault(steps[:end], reward)
        return [known[steps] for steps in texts]
