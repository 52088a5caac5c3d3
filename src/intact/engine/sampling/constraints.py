"""Constrained output: JSON schemas, regular expressions and grammars, with a mask by llguidance before each draw."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ConstraintError, NotInstalledError, ParameterError
from intact._base.packages import install
from intact._base.process import LimitReached, TimedOut, WorkerProcess
from intact.engine.sampling import grammars, json_schemas
from intact.engine.sampling.parameters import Constraint, SamplingParameters
from intact.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

TRIED: Final = 1024
"""Maximum number of constraints per tokenizer whose trial result is cached."""
PARTS: Final = 100
"""Maximum number of parts of a schema searched for the one that cannot be compiled."""
AHEAD: Final = 64
"""Maximum number of matchers created in advance."""
SECONDS: Final = 0.1
"""Processor time limit for compiling one of several samples' constraint; a single sample has the limit of a trial."""
_MARK: Final = "\x02"
_Path = tuple[int, "_Path"] | None
"""The tokens of a sample from last to first; forks share it."""


def compiler() -> str:
    """Return the name and version of the constraint compiler; masks may differ between versions.

    Raises
    ------
    ConstraintError
        If it is not installed.
    """
    try:
        return f"llguidance {version('llguidance')}"
    except PackageNotFoundError:
        raise _missing() from None


def _missing() -> NotInstalledError:
    return NotInstalledError(f"constraints need llguidance, which is not installed: {install('llguidance')}")


class Matcher:
    """The state of one sample within its constraint. Created by `compile`.

    Copies of an LLMatcher share caches and count together against its limits: one copy that exceeds them breaks all.
    Each sample therefore has its own matcher, which computes only that sample's masks, in order, so its result depends
    on nothing else. It is created on first use, or in advance.

    Parameters
    ----------
    make : callable
        Returns a new LLMatcher at the start of the output, sharing nothing.
    ends : set of int
        End tokens.
    """

    def __init__(self, make: Callable[[], LLMatcher], kind: str, ends: frozenset[int]) -> None:
        self._make, self._kind, self._ends = make, kind, ends
        self._ready: list[LLMatcher] = []  # for this text and its forks, first come, first served
        self._own: LLMatcher | None = None
        self._mask: NDArray[np.uint32] | None = None
        self._path: _Path = None

    def mask(self) -> NDArray[np.uint32]:
        """Return the tokens that may follow, in the format of `Draw`; end tokens only where the output may end.

        Raises
        ------
        ParameterError
            If no token may follow, or computing the mask would exceed the limits.
        """
        if self._mask is None:
            inner = self._inner
            words = np.frombuffer(inner.compute_bitmask(), np.uint32)
            if inner.is_error():
                raise self._error("allows no token here")
            if not words.any():
                raise ParameterError(f"the {self._kind} allows no token here")
            self._mask = self._without_early_ends(words)
        return self._mask

    def _without_early_ends(self, words: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Remove end tokens from a mask in the middle of a grammar, where the output would be incomplete."""
        named = [token for token in self._ends if words[token >> 5] >> (token & 31) & 1]
        if not named or self._inner.is_accepting():
            return words
        kept = words.copy()
        for token in named:
            kept[token >> 5] &= ~np.uint32(1 << (token & 31))
        if not kept.any():
            raise ParameterError(f"the {self._kind} allows only tokens here that would end the text")
        return kept

    def accept(self, token: int) -> None:
        """Append a token.

        Raises
        ------
        ParameterError
            If the constraint does not allow the token; raised only by the next mask if no mask was computed before.
        """
        self._mask = None
        if self._own is not None and not self._own.consume_token(token):
            raise self._error(f"does not allow token {token} here")
        self._path = token, self._path

    def fork(self) -> Matcher:
        """Return the matcher of a second sample that begins with this one."""
        other = Matcher(self._make, self._kind, self._ends)
        other._path, other._ready = self._path, self._ready
        return other

    def make_ready(self, texts: int) -> None:
        """Create matchers for several samples in advance, so that no engine step has to wait for them."""
        for _ in range(min(texts, AHEAD)):
            inner = self._make()
            inner.compute_bitmask()  # may take as long again; recomputing it later changes nothing
            self._ready.append(inner)

    def ahead(self) -> Matcher:
        """Return a copy for looking a few tokens ahead in this sample."""
        other = self.fork()
        other._own, other._mask = self._inner.deep_copy(), self._mask
        return other

    @property
    def _inner(self) -> LLMatcher:
        if self._own is None:
            tokens, path = [], self._path
            while path is not None:
                token, path = path
                tokens.append(token)
            self._own = self._ready.pop() if self._ready else self._make()
            for token in reversed(tokens):  # computes a mask before each token, as in any other text
                self._own.compute_bitmask()
                if not self._own.consume_token(token):
                    raise self._error(f"does not allow token {token} here")
        return self._own

    def _error(self, what: str) -> ParameterError:
        assert self._own is not None
        return ParameterError(f"the {self._kind} {what}{_reason(self._own, self._kind)}")


def compile(  # noqa: A001
    tokenizer: Tokenizer, vocabulary: int, parameters: SamplingParameters, texts: int = 1
) -> Matcher | None:
    """Return a matcher at the start of the output; None if the parameters contain no constraint.

    Parameters
    ----------
    vocabulary : int
        Number of logits in a row; those beyond the tokenizer's tokens are never allowed.
    texts : int
        Number of samples that will follow the constraint, each with its own fork.

    Raises
    ------
    ParameterError
        If the constraint is invalid, too large, or allows no output; if the model has no end token.
    ConstraintError
        If llguidance is not installed, or if a trial in a separate process finds that the constraint takes too much
        time or memory or crashes the compiler. The time limit is lower for several samples, since compilation is
        repeated for each.
    """
    constraint = parameters.constraint
    if constraint is None:
        return None
    with _LOCK:
        compiler = _COMPILERS.get(tokenizer)
        if compiler is None or compiler.vocabulary != vocabulary:
            compiler = _COMPILERS[tokenizer] = _Compiler(tokenizer, vocabulary)
    return compiler.matcher(constraint, texts)


def imposed(schema: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a JSON schema in the form that is enforced.

    Parameters
    ----------
    where : str
        Location of the schema, for error messages.

    Raises
    ------
    ParameterError
        If a keyword cannot be enforced, or a property contradicts a pattern that its name matches. The message gives
        the location.
    ConstraintError, CapacityError
        As in `compile`.
    """
    changed = json_schemas.imposable(schema, where)
    doubtful = list(json_schemas.with_patterns(changed, where))
    while doubtful and (name := _contradiction(json_schemas.all_required(changed, doubtful))):
        if len(doubtful) == 1:
            raise ParameterError(
                f"{doubtful[0][0]}.properties.{name}: its name matches a pattern of patternProperties, and no value "
                "satisfies both schemas; change one of them"
            )
        half = doubtful[: len(doubtful) // 2]
        doubtful = half if _contradiction(json_schemas.all_required(changed, half)) else doubtful[len(half) :]
    return changed


def fault(schema: Mapping[str, Any], where: str) -> str:
    """Return the place in a schema where the compiler fails, and the reason; "" if it succeeds or the schema is large.

    Only for a schema that is known to fail quickly: it is compiled without a trial.
    """
    shared = json_schemas.definitions(schema)
    parts = list(islice(json_schemas.reached(schema, where), PARTS))
    for place, part in sorted(parts, key=lambda one: -len(one[0])):
        try:
            text = json_schemas.as_text({**shared, **part})
            made = grammars.matcher(grammars.byte_tokenizer(), "json_schema", text, grammars.LIMITS)
        except ValueError:
            continue
        if made.is_error():
            return f"{place}{_reason(made, 'json_schema')}"
    return ""


@lru_cache(16)
def _contradiction(schema: str) -> str:
    """Return a required property that no value can satisfy, or ""."""
    constraint = Constraint("json_schema", schema)
    if exceeded_limit(constraint):
        return ""
    try:
        made = grammars.matcher(grammars.byte_tokenizer(), *constraint, grammars.LIMITS)
    except ValueError:
        return ""
    found = _UNSATISFIABLE.search(made.get_error())
    return found[1] if found else ""


@lru_cache(16)
def _schema_text(text: str) -> str:
    """Return the text of a schema in the form that is compiled; raises like `imposed`."""
    schema = json.loads(text)
    changed = imposed(schema, "json_schema")
    return text if changed == schema else json_schemas.as_text(changed)


class _Vocabulary:
    """Adapter that gives a tokenizer the attributes that llguidance needs."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: int, ends: list[int]) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id, self.bos_token_id = ends[0], tokenizer.bos_id
        self.tokens = [tokenizer.token_bytes(token) for token in range(tokenizer.size)]
        self.tokens += [b""] * (vocabulary - tokenizer.size)
        self.special_token_ids = [token for token in range(tokenizer.size) if tokenizer.is_special(token)]
        self._mark = tokenizer.encode(_MARK, special=False, bos=False)

    def __call__(self, text: str) -> list[int]:
        """Return the tokens of a continuation, without the space that some tokenizers prepend to an input."""
        ids = self._tokenizer.encode(_MARK + text, special=False, bos=False)
        marked = ids[: len(self._mark)] == self._mark
        return ids[len(self._mark) :] if marked else self._tokenizer.encode(text, special=False, bos=False)


def exceeded_limit(constraint: Constraint) -> str:
    """Compile a constraint in a separate worker process; return the limit it exceeds, or "".

    Raises
    ------
    ConstraintError
        If it took too long by the wall clock; it may succeed on a less busy machine.
    CapacityError
        If no process can be started.
    """
    limits = {"STACK": grammars.STACK}
    trial = WorkerProcess(
        Path(grammars.__file__),
        "llguidance",
        seconds=grammars.SECONDS,
        memory=grammars.BYTES,
        limits=limits,
    )
    try:
        trial.ask("try_out", *constraint, grammars.LIMITS)
    except TimedOut as error:
        raise ConstraintError(f"the {constraint.kind} cannot be used: compiling it {error}") from None
    except LimitReached as error:
        return f"compiling it {error}"
    finally:
        trial.end()  # discard its state: no trial may depend on earlier ones
    return ""


class _Trial(NamedTuple):
    """The result of a trial: the error, or "", and the processor time until the first mask."""

    wrong: str
    seconds: float


class _Compiler:
    """The constraints of one tokenizer, with the results of their trials."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: int) -> None:
        try:
            from llguidance import LLTokenizer, TokenizerWrapper
        except ImportError as error:
            raise _missing() from error
        self._ends = tokenizer.eos_ids
        if not self._ends:
            raise ParameterError("this model has no end token, so a text under a constraint could never end")
        self.vocabulary, ends = vocabulary, sorted(self._ends)
        wrapper = TokenizerWrapper(_Vocabulary(tokenizer, vocabulary, ends))
        self._tokenizer: LLTokenizer = LLTokenizer(wrapper, n_vocab=vocabulary, eos_token=ends)
        self._tried: OrderedDict[bytes, _Trial] = OrderedDict()

    def matcher(self, constraint: Constraint, texts: int) -> Matcher:
        if constraint.kind == "json_schema":
            constraint = constraint._replace(text=_schema_text(constraint.text))
        key = sha256(f"{constraint.kind}:{constraint.text}".encode()).digest()
        with _LOCK:
            trial = self._tried.get(key)
            if trial is not None:
                self._tried.move_to_end(key)
        if trial is None:
            trial = self._try_out(constraint, key)
        if trial.wrong:
            raise ConstraintError(f"the {constraint.kind} cannot be used: {trial.wrong}")
        if trial.seconds > SECONDS and texts > 1:
            raise ConstraintError(
                f"the {constraint.kind} takes {trial.seconds:.2g} s to compile for each of {texts} texts, but "
                f"only {SECONDS:g} s are allowed: request one text at a time"
            )
        return Matcher(lambda: self._inner(constraint), constraint.kind, self._ends)

    def _try_out(self, constraint: Constraint, key: bytes) -> _Trial:
        """Check in a trial that a constraint is safe to compile.

        Raises
        ------
        ConstraintError
            If the trial took too long by the wall clock; a later trial may succeed.
        ParameterError
            If the constraint cannot be used for another reason.
        """
        wrong = exceeded_limit(constraint)
        began = time.thread_time()
        if not wrong:
            Matcher(lambda: self._inner(constraint), constraint.kind, self._ends).mask()
        trial = _Trial(wrong, time.thread_time() - began)
        with _LOCK:
            self._tried[key] = trial
            while len(self._tried) > TRIED:
                self._tried.popitem(last=False)
        return trial

    def _inner(self, constraint: Constraint) -> LLMatcher:
        kind, text = constraint
        try:
            inner = grammars.matcher(self._tokenizer, kind, text, grammars.LIMITS)
        except ValueError as error:
            raise ParameterError(f"the {kind} cannot be used: {error!s:.200}") from error
        if inner.is_error():
            raise ParameterError(f"the {kind} cannot be used{_reason(inner, kind)}")
        return inner


_LOCK: Final = threading.Lock()
_COMPILERS: Final[WeakKeyDictionary[Tokenizer, _Compiler]] = WeakKeyDictionary()


_UNSATISFIABLE: Final = re.compile("required property '(.*)' is unsatisfiable")
_REGEX_ERROR: Final = re.compile(r"regex parse error:\n    (.*)\n    ( *)(\^+)\nerror: (.*)")
"""A regular expression error as llguidance formats it: the expression, markers below the position, and the problem."""


def _reason(inner: LLMatcher, kind: str) -> str:
    """Summarise an llguidance error in one line: the problem and its position."""
    text = inner.get_error().strip()
    if found := _REGEX_ERROR.search(text):
        expression, before, marks, problem = found.groups()
        place = len(before)
        whose = "" if kind == "regex" else f"in the regex {expression!r:.60}: "
        text = f"{whose}{problem}, at character {place + 1}: {expression[place : place + len(marks)]!r:.60}"
    text = text.partition("\n")[0]
    return f": {text:.200}" if text else ""
