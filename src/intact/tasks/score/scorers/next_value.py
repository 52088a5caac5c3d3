"""Score next tokens by a multifurcation head learnt on the model's hidden states: all of them in one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from intact._base.errors import ParameterError, ScorerError, SpentError
from intact.reason.problem import Piece, Problem, Prompt, State
from intact.reason.registry import Part
from intact.reason.requests import Extend
from intact.tasks.score.value.next_head import UNSEEN, NextHead


class NextValueScorer:
    """The reward of each completion's last piece, a single token, as a continuation of the text before it.

    Completions that differ only in their last piece are judged from a single hidden state, at the end of their common
    prefix. The engine returns it with one extra token, which is charged. Tokens that the head was not trained on get
    the reward -1024, as does every token after a sequence that fills the context.

    Parameters
    ----------
    file : str
        A file written by `intact learn value --next` for the generating model.
    head : NextHead, optional
        The head itself, if already loaded.
    """

    name = "next_value"
    version = 1
    least, most = -math.inf, math.inf

    def __init__(self, file: str = "", head: NextHead | None = None) -> None:
        if not file:
            raise ParameterError(
                "the scorer next_value needs the file of a next-token head: next_value:FILE (intact learn value --next)"
            )
        self.head = NextHead.read(Path(file)) if head is None else head
        self.digest = self.head.digest

    def score(self, problem: Problem, states: Sequence[State]) -> Part[list[float]]:
        """Return the scores, in order."""
        if not all(state.pieces and len(state.pieces[-1].tokens) < 2 for state in states):
            raise ParameterError("next_value judges texts by their last piece, which must be a single token (saffron)")
        families: dict[tuple[Prompt, tuple[Piece, ...]], list[int]] = {}
        for i, state in enumerate(states):
            families.setdefault((state.prompt, state.pieces[:-1]), []).append(i)
        probes = yield [
            Extend(  # append: ignore any end token
                State(prompt, states[siblings[0]].branch, pieces).append(""),
                max_tokens=1, temperature=0.0, hidden=True,
            )
            for (prompt, pieces), siblings in families.items()
        ]  # fmt: skip
        rewards = [0.0] * len(states)
        for probe, siblings in zip(probes, families.values(), strict=True):
            for i, reward in zip(siblings, self._judge(probe, [states[i].last for i in siblings]), strict=True):
                rewards[i] = reward
        return rewards

    def _judge(self, probe: State, words: Sequence[str]) -> list[float]:
        """Return the rewards of next tokens for the text that the probe continues."""
        hidden = probe.pieces[-1].hidden
        if hidden is not None:
            return self.head.judge(hidden, words)
        if probe.why == "context":
            return [UNSEEN] * len(words)
        if probe.why == "budget":
            raise SpentError("the budget does not cover the rewards of next tokens")
        if probe.why == "error":
            raise ScorerError(f"the hidden state is not available: {probe.error}")
        raise ParameterError("the back end returns no hidden states; a next-token head works only on intact's engine")
