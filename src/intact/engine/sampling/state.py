"""The rules at a position of the output: penalties, biases, added rules and a constraint, as a row's edits and mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.engine.sampling import constraints
from intact.engine.sampling.constraints import Matcher
from intact.engine.sampling.parameters import DEFINITIONS, SamplingParameters
from intact.engine.sampling.penalties import History, bias_q16
from intact.engine.sampling.rules import RULES, Rule
from intact.numerics.sampling import Edits
from intact.text.tokenizer import Tokenizer


class Rules:
    """The rules of one sample, with the state that determines its next token.

    Parameters
    ----------
    history : History, optional
        Penalties, biases and `min_tokens`.
    matcher : Matcher, optional
        The constraint.
    added : sequence of Rule
        Rules from files or packages of their own.

    Attributes
    ----------
    refusal : ParameterError or None
        Reason why no token can follow.
    """

    __slots__ = ("_added", "_history", "_matcher", "refusal")

    def __init__(self, history: History | None, matcher: Matcher | None, added: Sequence[Rule] = ()) -> None:
        self._history, self._matcher, self._added = history, matcher, added
        self.refusal: ParameterError | None = None

    def allow(self) -> bool:
        """Return true if a token may follow; otherwise `refusal` gives the reason."""
        if self._matcher is not None and self.refusal is None:
            try:
                self._matcher.mask()  # cached by the matcher
            except ParameterError as error:
                self.refusal = error
        return self.refusal is None

    def next(self) -> tuple[Edits | None, NDArray[np.uint32] | None]:
        """Return the edits and the mask of the next row."""
        edits = self._history.edits() if self._history is not None else None
        for rule in self._added:
            edits = _edited(edits or Edits(), rule)
        return edits, self._matcher.mask() if self._matcher is not None else None

    def dead_end(self, drawn: int) -> ParameterError:
        """Return the error for a sample that has no token left to draw after `drawn` tokens."""
        causes = ["the constraint"] if self._matcher is not None else []
        causes += self._history.bars(drawn) if self._history is not None else []
        causes += [rule.name for rule in self._added]
        return ParameterError(f"no token is allowed here: {' and '.join(causes)} rule out every token")

    def add(self, token: int) -> None:
        """Append a token to the sample."""
        if self._history is not None:
            self._history.add(token)
        for rule in self._added:
            rule.add(token)
        if self._matcher is not None and self.refusal is None:
            try:
                self._matcher.accept(token)
            except ParameterError as error:  # the constraint exceeds its limits
                self.refusal = error

    def fork(self) -> Rules:
        """Return the rules of a second sample that begins with this one and continues independently."""
        return self._copy(self._matcher and self._matcher.fork())

    def ahead(self) -> Rules:
        """Return a copy for looking a few tokens ahead in this sample; the original does not advance."""
        return self._copy(self._matcher and self._matcher.ahead())

    def _copy(self, matcher: Matcher | None) -> Rules:
        other = Rules(self._history and self._history.fork(), matcher, [rule.fork() for rule in self._added])
        other.refusal = self.refusal
        return other


def make_rules(
    tokenizer: Tokenizer, parameters: SamplingParameters, prompt: Sequence[int], vocabulary: int, texts: int
) -> Rules | None:
    """Create the rules at the start of a request's samples; None if no logits will ever be changed.

    Raises
    ------
    ParameterError, ConstraintError
        If the constraint cannot be used.
    """
    changed = parameters.changed
    history = History.start(parameters, prompt, tokenizer.eos_ids)
    matcher = constraints.compile(tokenizer, vocabulary, parameters, texts)
    if matcher is not None:
        matcher.make_ready(texts)
    added = [RULES[name](value, prompt) for name, value in changed.items() if name in _ADDED]
    return Rules(history, matcher, added) if history or matcher or added else None


_ADDED = [name for name in DEFINITIONS if name in RULES]


def _edited(edits: Edits, rule: Rule) -> Edits:
    """Return edits extended by another rule's edits."""
    if forbidden := rule.forbidden():
        edits = edits._replace(forbidden=np.union1d(edits.forbidden, np.fromiter(forbidden, np.int32)))
    if biases := rule.biases():
        sums = dict(zip(edits.biased.tolist(), edits.bias.tolist(), strict=True))
        for token, bias in biases.items():
            sums[token] = sums.get(token, 0) + bias_q16(bias)
        edits = edits._replace(biased=np.fromiter(sums, np.int32), bias=np.fromiter(sums.values(), np.int32))
    return edits
