"""Metamath databases: a parser, and proof checking purely by substitution (Megill and Wheeler 2019, chapter 4)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from typing import Final, NamedTuple, TypeAlias

from intact._base.errors import FormatError

Symbols: TypeAlias = tuple[str, ...]

LONGEST: Final = 1 << 28
"""Maximum number of characters in a database."""
MOST_SYMBOLS: Final = 1 << 16
"""Maximum number of symbols in an expression on the stack, since each substitution may double it."""
_LABEL: Final = re.compile(r"[A-Za-z0-9._-]+")
_KEYWORDS: Final = frozenset(["$c", "$v", "$f", "$e", "$d", "$a", "$p", "$.", "$=", "${", "$}"])


class Hypothesis(NamedTuple):
    """A hypothesis, either floating (a variable's type) or essential."""

    label: str
    symbols: Symbols
    floating: bool


@dataclass(frozen=True)
class Assertion:
    """An axiom, or a theorem with its proof, in the form used by later proofs.

    Attributes
    ----------
    hypotheses : tuple of Hypothesis
        Hypotheses that a proof must provide, in order.
    distinct : frozenset of pairs
        Pairs of variables that must be replaced by expressions without common variables.
    allowed : frozenset of pairs
        All pairs declared distinct at this point, on which its own proof may rely.
    proof : tuple of str or None
        Tokens of the proof; None for an axiom.
    active : mapping of str to Hypothesis
        Hypotheses that its own proof may use.
    line : int
        Line on which it begins.
    place : int
        Index among the assertions; a proof may use only earlier ones.
    """

    label: str
    symbols: Symbols
    hypotheses: tuple[Hypothesis, ...]
    distinct: frozenset[tuple[str, str]]
    allowed: frozenset[tuple[str, str]] = frozenset()
    proof: tuple[str, ...] | None = None
    active: Mapping[str, Hypothesis] = field(default_factory=dict)
    line: int = 1
    place: int = 0


@dataclass
class _Scope:
    """The active variables, hypotheses and distinct pairs of a block."""

    variables: set[str] = field(default_factory=set)
    hypotheses: list[Hypothesis] = field(default_factory=list)
    distinct: set[tuple[str, str]] = field(default_factory=set)


@dataclass(frozen=True)
class Database:
    """A parsed database.

    Attributes
    ----------
    assertions : mapping of str to Assertion
        Axioms and theorems by label, in order.
    variables : frozenset of str
        All variables.
    """

    assertions: Mapping[str, Assertion]
    variables: frozenset[str]


class ProofError(FormatError):
    """An invalid proof; `step` is the zero-based index of the failing label, or None if the end of the proof fails."""

    def __init__(self, message: str, step: int | None = None) -> None:
        super().__init__(message)
        self.step = step


def tokens_of(text: str) -> Iterator[tuple[str, int]]:
    """Yield the tokens of a database with their line numbers, skipping comments.

    Raises
    ------
    FormatError
        If a comment is not closed, or a file is included.
    """
    comment = 0
    for number, row in enumerate(text.split("\n"), 1):
        for token in row.split():
            if comment:
                comment = 0 if token == "$)" else comment
            elif token == "$(":
                comment = number
            elif token == "$[":
                raise FormatError(f"line {number}: files cannot be included; put their text there")
            else:
                yield token, number
    if comment:
        raise FormatError(f"line {comment}: the comment does not end")


@lru_cache(maxsize=8)
def read(text: str) -> Database:
    """Parse a database without checking its proofs.

    Raises
    ------
    FormatError
        If the database is malformed. The message gives the line number.
    """
    if len(text) > LONGEST:
        raise FormatError(f"a database may have {LONGEST:,} characters; this has {len(text):,}")
    return _Reader().read(text)


class _Reader:
    """The state of the parser."""

    def __init__(self) -> None:
        self.constants, self.variables, self.labels = set[str](), set[str](), set[str]()
        self.types: dict[str, str] = {}
        self.scopes = [_Scope()]
        self.assertions: dict[str, Assertion] = {}

    def read(self, text: str) -> Database:
        tokens = tokens_of(text)
        label: str | None = None
        for token, line in tokens:
            if token not in _KEYWORDS:
                if label is not None or not _LABEL.fullmatch(token):
                    raise FormatError(f"line {line}: expected a statement, got {token!r:.60}")
                label = token
                continue
            if (label is None) != (token in ("$c", "$v", "$d", "${", "$}")):
                what = "no label" if label is not None else "a label"
                raise FormatError(f"line {line}: {token} takes {what}")
            if token == "${":
                self.scopes.append(_Scope())
            elif token == "$}":
                if len(self.scopes) == 1:
                    raise FormatError(f"line {line}: $}} closes no block")
                self.scopes.pop()
            elif token in ("$.", "$="):
                raise FormatError(f"line {line}: {token} ends nothing")
            else:
                self._statement(token, label, line, self._body(tokens, line))
            label = None
        if label is not None:
            raise FormatError(f"the file ends behind the label {label!r:.60}")
        if len(self.scopes) > 1:
            raise FormatError("the file ends within a block: $} is missing")
        return Database(self.assertions, frozenset(self.variables))

    @staticmethod
    def _body(tokens: Iterator[tuple[str, int]], line: int) -> list[str]:
        found = list[str]()
        for token, _ in tokens:
            if token == "$.":
                return found
            if token in _KEYWORDS and token != "$=":
                break
            found.append(token)
        raise FormatError(f"line {line}: the statement does not end with $.")

    def _statement(self, kind: str, label: str | None, line: int, body: list[str]) -> None:
        if kind == "$c":
            if len(self.scopes) > 1:
                raise FormatError(f"line {line}: $c within a block")
            self._declare(self.constants, body, line)
        elif kind == "$v":
            self._declare(self.variables, body, line)
            self.scopes[-1].variables.update(body)
        elif kind == "$d":
            for one, other in combinations(body, 2):
                if one == other or not {one, other} <= self._active():
                    raise FormatError(f"line {line}: $d takes different active variables, got {one} {other}")
                self.scopes[-1].distinct.add(_pair(one, other))
        else:
            assert label is not None
            if label in self.labels or label in self.constants | self.variables:
                raise FormatError(f"line {line}: the name {label!r:.60} is taken")
            self.labels.add(label)
            self._labelled(kind, label, line, body)

    def _declare(self, into: set[str], body: list[str], line: int) -> None:
        taken = self.constants | self.labels | (self._active() if into is self.variables else self.variables)
        for one in body:
            if one in taken or "$" in one:
                raise FormatError(f"line {line}: the symbol {one!r:.60} is taken")
            into.add(one)
            taken.add(one)

    def _active(self) -> set[str]:
        return set[str]().union(*[scope.variables for scope in self.scopes])

    def _labelled(self, kind: str, label: str, line: int, body: list[str]) -> None:
        proof: tuple[str, ...] | None = None
        if kind == "$p":
            if body.count("$=") != 1:
                raise FormatError(f"line {line}: the theorem {label} has no proof behind $=")
            at = body.index("$=")
            body, proof = body[:at], tuple(body[at + 1 :])
        known = self.constants | self._active()
        if not body or body[0] not in self.constants:
            raise FormatError(f"line {line}: the statement {label} must begin with a constant")
        if unknown := [one for one in body if one not in known]:
            raise FormatError(f"line {line}: there is no active symbol {unknown[0]!r:.60}")
        active = [one for scope in self.scopes for one in scope.hypotheses]
        if kind == "$f":
            if len(body) != 2 or body[1] in self.constants:
                raise FormatError(f"line {line}: $f takes a constant and a variable")
            if any(one.floating and one.symbols[1] == body[1] for one in active):
                raise FormatError(f"line {line}: the variable {body[1]} has a type already")
            if self.types.setdefault(body[1], body[0]) != body[0]:
                raise FormatError(f"line {line}: the variable {body[1]} had the type {self.types[body[1]]} before")
        typed = {one.symbols[1] for one in active if one.floating}
        if kind != "$f" and (untyped := [one for one in body if one in self.variables and one not in typed]):
            raise FormatError(f"line {line}: the variable {untyped[0]} has no type ($f)")
        symbols = tuple(body)
        if kind in ("$f", "$e"):
            self.scopes[-1].hypotheses.append(Hypothesis(label, symbols, kind == "$f"))
            return
        used = {one for one in symbols if one in self.variables}
        used |= {one for h in active if not h.floating for one in h.symbols if one in self.variables}
        mandatory = tuple([one for one in active if not one.floating or one.symbols[1] in used])
        pairs = set[tuple[str, str]]().union(*[scope.distinct for scope in self.scopes])
        distinct = frozenset(pair for pair in pairs if pair[0] in used and pair[1] in used)
        own: dict[str, Hypothesis] = {} if proof is None else {one.label: one for one in active}
        allowed = frozenset(pairs if proof is not None else ())
        place = len(self.assertions)
        self.assertions[label] = Assertion(
            label, symbols, mandatory, distinct, allowed=allowed, proof=proof, active=own, line=line, place=place
        )


def before(database: Database, theorem: Assertion) -> list[Assertion]:
    """Return the assertions that a theorem's proof may use, in order."""
    return [one for one in database.assertions.values() if one.place < theorem.place]


def verify(database: Database, theorem: Assertion) -> None:
    """Check the proof of a theorem.

    Raises
    ------
    ProofError
        If the proof does not prove the theorem.
    """
    assert theorem.proof is not None
    stack = Stack(database, theorem)
    for _ in stack.walk(theorem.proof):
        pass
    if stack.items != [theorem.symbols]:
        raise ProofError(f"it proves {stack}, not {' '.join(theorem.symbols)}")


class Stack:
    """The stack of a proof: the statements proved by the labels so far.

    Parameters
    ----------
    theorem : Assertion
        Theorem to prove; its hypotheses and all earlier assertions may be used.
    """

    def __init__(self, database: Database, theorem: Assertion) -> None:
        self.database, self.theorem = database, theorem
        self.items = list[Symbols]()

    def __str__(self) -> str:
        return "; ".join([" ".join(one) for one in self.items]) or "nothing"

    def apply(self, label: str, place: int | None = None) -> None:
        """Apply a hypothesis or an assertion.

        Raises
        ------
        ProofError
            If the label is unknown, or the stack does not contain the required hypotheses.
        """
        if (hypothesis := self.theorem.active.get(label)) is not None:
            self.items.append(hypothesis.symbols)
        elif (used := self.database.assertions.get(label)) is not None and used.place < self.theorem.place:
            self._use(used, place)
        elif label == "?":
            raise ProofError("a step is left out (?)", place)
        else:
            raise ProofError(f"there is no hypothesis or earlier assertion {label!r:.60}", place)

    def walk(self, proof: Sequence[str]) -> Iterator[str]:
        """Apply a proof, compressed or not, yielding each label after it has been applied.

        Raises
        ------
        ProofError
            If the proof is malformed; otherwise as for `apply`.
        """
        if proof[:1] == ("(",):
            yield from self._walk_compressed(proof)
            return
        for place, label in enumerate(proof):
            self.apply(label, place)
            yield label

    def _walk_compressed(self, proof: Sequence[str]) -> Iterator[str]:
        """Apply a compressed proof, whose letters refer to labels; references to earlier steps are yielded as steps."""
        if ")" not in proof:
            raise ProofError("the labels of a compressed proof must end with a closing parenthesis")
        end = list(proof).index(")")
        labels = [*[one.label for one in self.theorem.hypotheses], *proof[1:end]]
        saved, number = list[Symbols](), 0
        for place, letter in enumerate("".join(proof[end + 1 :])):
            if "A" <= letter <= "T":
                number = 20 * number + ord(letter) - ord("A")
                if number < len(labels):
                    self.apply(labels[number], place)
                    yield labels[number]
                elif number - len(labels) < len(saved):
                    self.items.append(saved[number - len(labels)])
                    yield f"again {number - len(labels) + 1}"
                else:
                    raise ProofError(f"the compressed proof has no step {number + 1}", place)
                number = 0
            elif "U" <= letter <= "Y":
                number = 5 * number + ord(letter) - ord("U") + 1
            elif letter == "Z" and self.items and not number:
                saved.append(self.items[-1])
            elif letter == "?":
                raise ProofError("a step is left out (?)", place)
            else:
                raise ProofError(f"the compressed proof has a wrong letter {letter!r}", place)
        if number:
            raise ProofError("the compressed proof ends within a number")

    def _use(self, used: Assertion, place: int | None) -> None:
        """Replace an assertion's hypotheses on the stack with its conclusion, under a single substitution."""
        count = len(used.hypotheses)
        if count > len(self.items):
            raise ProofError(f"{used.label} needs {count} statements, and the stack holds {len(self.items)}", place)
        given = self.items[len(self.items) - count :]
        values: dict[str, Symbols] = {}
        for hypothesis, found in zip(used.hypotheses, given, strict=True):
            if hypothesis.floating:
                if found[0] != hypothesis.symbols[0]:
                    raise ProofError(
                        f"{used.label} needs {hypothesis.symbols[0]} for {hypothesis.symbols[1]}, "
                        f"and the stack holds {' '.join(found):.200}",
                        place,
                    )
                values[hypothesis.symbols[1]] = found[1:]
        for hypothesis, found in zip(used.hypotheses, given, strict=True):
            if not hypothesis.floating and (wanted := _replace(hypothesis.symbols, values)) != found:
                raise ProofError(
                    f"{used.label} needs {' '.join(wanted):.200}, and the stack holds {' '.join(found):.200}", place
                )
        for one, other in used.distinct:
            for first in self._variables(values[one]):
                for second in self._variables(values[other]):
                    if first == second or _pair(first, second) not in self.theorem.allowed:
                        raise ProofError(f"{used.label} needs {first} and {second} to be distinct ($d)", place)
        self.items[len(self.items) - count :] = [_replace(used.symbols, values)]

    def _variables(self, symbols: Symbols) -> set[str]:
        return {one for one in symbols if one in self.database.variables}


def _replace(symbols: Symbols, values: Mapping[str, Symbols]) -> Symbols:
    result = tuple([new for one in symbols for new in values.get(one, (one,))])
    if len(result) > MOST_SYMBOLS:
        raise ProofError(f"an expression may have {MOST_SYMBOLS:,} symbols; this has {len(result):,}")
    return result


def _pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)
