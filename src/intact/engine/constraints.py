"""Texts that must match a JSON schema, a regular expression or a grammar: masks by llguidance, one before each draw."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from intact.engine import grammars
from intact.engine.parameters import Constraint, SamplingParameters
from intact.errors import ConstraintError, ParameterError, install
from intact.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

COMPILED: Final = 64
"""Constraints of a tokenizer that are kept compiled."""
REFUSED: Final = 1024
"""Constraints that are known to do harm, so that one of them does not cost a trial again and again."""
_OWN: Final = ("Current row has ", "Too many items ")
"""What llguidance says where a limit is passed that copies do not share, so that no copy can have spoilt it."""
_MARK: Final = "\x02"
_Path = tuple[int, "_Path"] | None
"""The tokens of a text from its last to its first; forks share it."""


def compiler() -> str:
    """Who says what a constraint allows, with its version: masks may differ from one to the next."""
    return f"llguidance {version('llguidance')}"


class Matcher:
    """Where one text stands in its constraint. Made by `compile`.

    Copies of an LLMatcher share what they find out about the constraint, and so its limits: one that passes them spoils
    all. A text is refused only where one that was made anew, for it alone, refuses it.

    Parameters
    ----------
    anew : callable
        Makes a matcher that shares nothing, at the beginning of a text.
    """

    def __init__(self, inner: LLMatcher, kind: str, anew: Callable[[], LLMatcher]) -> None:
        self._inner, self._kind, self._anew = inner, kind, anew
        self._mask: NDArray[np.uint32] | None = None
        self._path: _Path = None

    @property
    def finished(self) -> bool:
        """Whether nothing but an end token may follow."""
        return bool(self._inner.is_stopped())

    @property
    def accepting(self) -> bool:
        """Whether the text may end here."""
        return bool(self._inner.is_accepting())

    def mask(self) -> NDArray[np.uint32]:
        """The tokens that may follow, as a `Draw` takes them: end tokens where the text may end.

        Raises
        ------
        ParameterError
            If no token may follow, or finding out would pass the limits.
        """
        if self._mask is None:
            words = np.frombuffer(self._inner.compute_bitmask(), np.uint32)
            if self._inner.is_error() and self._renew():
                words = np.frombuffer(self._inner.compute_bitmask(), np.uint32)
            if self._inner.is_error():
                raise self._error("allows no token here")
            if not words.any():
                raise ParameterError(f"the {self._kind} allows no token here")
            self._mask = words
        return self._mask

    def accept(self, token: int) -> None:
        """Go on by a token.

        Raises
        ------
        ParameterError
            If the constraint does not allow it here.
        """
        self._mask = None
        if not self._inner.consume_token(token) and not (self._renew() and self._inner.consume_token(token)):
            raise self._error(f"does not allow token {token} here")
        self._path = token, self._path

    def rollback(self, count: int) -> None:
        """Take the last tokens back."""
        self._mask = None
        if not self._inner.rollback(count):
            raise self._error(f"cannot go back by {count} tokens")
        for _ in range(count):
            assert self._path is not None
            self._path = self._path[1]

    def fork(self) -> Matcher:
        """A second matcher that goes on from here."""
        other = Matcher(self._inner.deep_copy(), self._kind, self._anew)
        other._mask, other._path = self._mask, self._path
        return other

    def _renew(self) -> bool:
        """Begin again by oneself, unless that would change nothing; whether the text so far is allowed."""
        if any(told in self._inner.get_error() for told in _OWN):
            return False
        tokens, path = [], self._path
        while path is not None:
            token, path = path
            tokens.append(token)
        self._inner = self._anew()
        for token in reversed(tokens):  # as it was: with a mask before each
            self._inner.compute_bitmask()
            if not self._inner.consume_token(token):
                return False
        return True

    def _error(self, what: str) -> ParameterError:
        return ParameterError(f"the {self._kind} {what}{_reason(self._inner)}")


def compile(tokenizer: Tokenizer, vocabulary: int, parameters: SamplingParameters) -> Matcher | None:  # noqa: A001
    """A matcher at the beginning of a text, None where the parameters have no constraint.

    Parameters
    ----------
    vocabulary : int
        Logits of a row; those beyond the tokenizer's tokens are never allowed.

    Raises
    ------
    ParameterError
        If the constraint cannot be understood, is too large, or allows no text; if llguidance is not installed, or
        the model has no end token.
    ConstraintError
        If it takes more time or memory than it may, or crashes the compiler: a process of its own finds out.
    """
    constraint = parameters.constraint
    if constraint is None:
        return None
    with _LOCK:
        compiler = _COMPILERS.get(tokenizer)
        if compiler is None or compiler.vocabulary != vocabulary:
            compiler = _COMPILERS[tokenizer] = _Compiler(tokenizer, vocabulary)
    return compiler.matcher(constraint)


class _Vocabulary:
    """What llguidance asks of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: int, ends: list[int]) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id, self.bos_token_id = ends[0], tokenizer.bos_id
        self.tokens = [tokenizer.token_bytes(token) for token in range(tokenizer.size)]
        self.tokens += [b""] * (vocabulary - tokenizer.size)
        self.special_token_ids = [token for token in range(tokenizer.size) if tokenizer.is_special(token)]
        self._mark = tokenizer.encode(_MARK, special=False, bos=False)

    def __call__(self, text: str) -> list[int]:
        """The tokens of a text that goes on from another, so without the space that some tokenizers put in front."""
        ids = self._tokenizer.encode(_MARK + text, special=False, bos=False)
        marked = ids[: len(self._mark)] == self._mark
        return ids[len(self._mark) :] if marked else self._tokenizer.encode(text, special=False, bos=False)


class _Compiler:
    """The constraints of one tokenizer; those used last are kept."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: int) -> None:
        try:
            from llguidance import LLTokenizer, TokenizerWrapper
        except ImportError as error:
            raise ParameterError(
                f"constraints need llguidance, which is not installed: {install('constraints')}"
            ) from error
        ends = sorted(tokenizer.eos_ids)
        if not ends:
            raise ParameterError("this model has no end token, so that no text of a constraint could end")
        self.vocabulary = vocabulary
        wrapper = TokenizerWrapper(_Vocabulary(tokenizer, vocabulary, ends))
        self._tokenizer: LLTokenizer = LLTokenizer(wrapper, n_vocab=vocabulary, eos_token=ends)
        self._kept: OrderedDict[Constraint, Matcher] = OrderedDict()

    def matcher(self, constraint: Constraint) -> Matcher:
        with _LOCK:
            kept = self._kept.get(constraint)
            if kept is not None:
                self._kept.move_to_end(constraint)
                return kept.fork()
        _try_out(constraint)
        made = self._compile(constraint)
        with _LOCK:
            self._kept[constraint] = made
            while len(self._kept) > COMPILED:
                self._kept.popitem(last=False)
        return made.fork()

    def _compile(self, constraint: Constraint) -> Matcher:
        made = Matcher(self._inner(constraint), constraint.kind, lambda: self._again(constraint))
        made.mask()
        return made

    def _again(self, constraint: Constraint) -> LLMatcher:
        """A matcher for one text alone; the one that is kept is spoilt."""
        with _LOCK:
            self._kept.pop(constraint, None)
        return self._inner(constraint)

    def _inner(self, constraint: Constraint) -> LLMatcher:
        kind, text = constraint
        try:
            inner = grammars.matcher(self._tokenizer, kind, text, grammars.LIMITS)
        except ValueError as error:
            raise ParameterError(f"the {kind} cannot be used: {error!s:.200}") from error
        if inner.is_error():
            raise ParameterError(f"the {kind} cannot be used{_reason(inner)}")
        return inner


_LOCK: Final = threading.Lock()
_REFUSED: Final[OrderedDict[bytes, str]] = OrderedDict()
_COMPILERS: Final[WeakKeyDictionary[Tokenizer, _Compiler]] = WeakKeyDictionary()


def _try_out(constraint: Constraint) -> None:
    """Refuse a constraint that does harm, by what is remembered of it or by a trial.

    Raises
    ------
    ConstraintError
    """
    key = sha256(f"{constraint.kind}:{constraint.text}".encode()).digest()
    with _LOCK:
        text = _REFUSED.get(key)
    if text is None and (complaint := grammars.complaint(*constraint, grammars.LIMITS)) is not None:
        text = complaint.text
        with _LOCK:
            if complaint.lasting:
                _REFUSED[key] = text
            while len(_REFUSED) > REFUSED:
                _REFUSED.popitem(last=False)
    if text is not None:
        raise ConstraintError(f"the {constraint.kind} cannot be used: {text}")


def _reason(inner: LLMatcher) -> str:
    """The first line of what llguidance says."""
    text = inner.get_error().strip().partition("\n")[0]
    return f": {text:.200}" if text else ""
