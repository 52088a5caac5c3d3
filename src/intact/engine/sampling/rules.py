"""What a text's own tokens have to say about its next one: penalties and biases, and a constraint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from intact.errors import ParameterError
from intact.numerics.sampling import Edits

if TYPE_CHECKING:
    from intact.engine.sampling.constraints import Matcher
    from intact.engine.sampling.penalties import History


class Rules:
    """Where one text stands in them.

    Parameters
    ----------
    history : History, optional
        Edits rows of logits.
    matcher : Matcher, optional
        Masks them.
    """

    __slots__ = ("_history", "_matcher", "refusal")

    def __init__(self, history: History | None, matcher: Matcher | None) -> None:
        self._history, self._matcher = history, matcher
        self.refusal: ParameterError | None = None  # why no token can follow

    def allow(self) -> bool:
        """Whether a token may follow; if not, `refusal` says why."""
        if self._matcher is not None and self.refusal is None:
            try:
                self._matcher.mask()  # which it keeps
            except ParameterError as error:
                self.refusal = error
        return self.refusal is None

    def next(self) -> tuple[Edits | None, NDArray[np.uint32] | None]:
        """Edits and mask of the next row."""
        edits = self._history.edits() if self._history is not None else None
        return edits, self._matcher.mask() if self._matcher is not None else None

    def dead_end(self, drawn: int) -> ParameterError:
        """Why nothing was left to draw after so many tokens."""
        named = ["the constraint"] if self._matcher is not None else []
        named += self._history.bars(drawn) if self._history is not None else []
        return ParameterError(f"no token is allowed here: {' and '.join(named)} rule out all")

    def add(self, token: int) -> None:
        """Go on by a token."""
        if self._history is not None:
            self._history.add(token)
        if self._matcher is not None and self.refusal is None:
            try:
                self._matcher.accept(token)
            except ParameterError as error:  # the constraint passes its limits
                self.refusal = error

    def fork(self) -> Rules:
        """Those of another text, which begins with this one."""
        return self._second(self._matcher and self._matcher.fork())

    def ahead(self) -> Rules:
        """Those of this very text some tokens further; if these are not to be, it goes on from here."""
        return self._second(self._matcher and self._matcher.ahead())

    def _second(self, matcher: Matcher | None) -> Rules:
        other = Rules(self._history and self._history.fork(), matcher)
        other.refusal = self.refusal
        return other
