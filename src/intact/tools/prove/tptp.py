"""TPTP, the language of provers: a parser for `fof` and `cnf` that reports error positions, and a writer."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from intact._base.errors import FormatError
from intact.tools.prove.formula import (
    EQUALS,
    Apply,
    Atom,
    Binary,
    Connective,
    Formula,
    LogicProblem,
    Not,
    Quantified,
    Term,
    Truth,
    Variable,
    closed,
    depth,
    free_variables,
    joined,
)

LONGEST: Final = 1 << 20
"""Maximum number of characters in a file."""
DEEPEST: Final = 100
"""Maximum nesting depth of formulas, brackets and terms."""

AXIOMS: Final = (
    *("axiom", "hypothesis", "definition", "assumption", "lemma", "theorem", "corollary", "plain"),
    "negated_conjecture",
)
"""Roles of formulas that count as axioms."""

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|%[^\n]*|/\*.*?\*/)
    |(?P<operator><=>|<~>|=>|<=|~&|~\||!=|[!?~&|=()\[\]:,.])
    |(?P<variable>[A-Z]\w*)
    |(?P<word>[a-z]\w*|\$[a-z]\w*)
    |(?P<quoted>'(?:[^'\\\n]|\\['\\])+')
    |(?P<number>[+-]?\d[\w./]*)
    |(?P<distinct>"[^"\n]*")""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_BINARY: Final = ("=>", "<=", "<=>", "<~>", "~&", "~|")
_PLAIN: Final = re.compile(r"[a-z]\w*", re.ASCII)
_UPPER: Final = re.compile(r"[A-Z]\w*", re.ASCII)


class NamedFormula(NamedTuple):
    """A named formula in a file; `start` is its position in the text."""

    name: str
    conjecture: bool
    formula: Formula
    start: int


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


def parse(text: str, where: str = "the problem") -> LogicProblem:
    """Parse a problem.

    Roles: `conjecture` at most once; `axiom`, `hypothesis` and the like; `negated_conjecture` counts as an axiom.

    Raises
    ------
    FormatError
        If the text is invalid; the message gives the line and column. Reasons: a syntax error, a free variable, a
        symbol with two different numbers of arguments or used as both a predicate and a function, a symbol named `'='`,
        two formulas with the same name, an `include`, or numbers.
    """
    reader = _Reader(text, where)
    entries = reader.entries()
    goals = [entry for entry in entries if entry.conjecture]
    if len(goals) > 1:
        raise reader.error(goals[1].start, "there are two conjectures: join them by &, or use two files")
    axioms = {entry.name: entry.formula for entry in entries if not entry.conjecture}
    return LogicProblem(axioms, goals[0].formula if goals else None)


def parse_entries(text: str, where: str = "the file") -> list[NamedFormula]:
    """Parse all formulas in a text, which may contain many conjectures; raises like `parse`."""
    return _Reader(text, where).entries()


def parse_formula(text: str, *, close: bool = False) -> Formula:
    """Parse one formula, such as `![X]: (man(X) => mortal(X))`; raises like `parse`.

    Free variables are rejected or, if `close` is true, universally quantified.
    """
    reader = _Reader(text, "the formula")
    formula = closed(reader.formula()) if close else reader.formula()
    reader.expect("", "the end")
    reader.check_closed(formula, 0)
    return formula


class _Reader:
    """A recursive-descent parser over the tokens of a text."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where
        if len(text) > LONGEST:
            raise FormatError(f"{where}: a problem may have at most {LONGEST:,} characters, this one has {len(text):,}")
        self.tokens = self._tokens()
        self.place = 0
        self.nested = 0
        self.arities: dict[str, tuple[str, int]] = {}

    def _tokens(self) -> list[_Token]:
        found, start = [], 0
        while start < len(self.text):
            match = _TOKEN.match(self.text, start)
            if match is None:
                raise self.error(start, f"unexpected {self.text[start]!r}")
            kind = str(match.lastgroup)
            if kind != "space":
                found.append(_Token(kind, match[0], start))
            start = match.end()
        return [*found, _Token("end", "", len(self.text))]

    def error(self, start: int, message: str) -> FormatError:
        line = self.text.count("\n", 0, start) + 1
        column = start - (self.text.rfind("\n", 0, start) + 1) + 1
        return FormatError(f"{self.where}, line {line}, column {column}: {message}")

    @property
    def token(self) -> _Token:
        return self.tokens[self.place]

    def unexpected(self, wanted: str) -> FormatError:
        got = repr(self.token.text) if self.token.text else "the end"
        return self.error(self.token.start, f"expected {wanted}, got {got:.60}")

    def accept(self, *texts: str) -> str | None:
        """Consume the next token if it is one of these operators or words."""
        token = self.token
        if token.kind in ("operator", "word") and token.text in texts:
            self.place += 1
            return token.text
        return None

    def expect(self, text: str, wanted: str = "") -> None:
        if text == "" and self.token.kind == "end":
            return
        if self.accept(text) is None:
            raise self.unexpected(wanted or repr(text))

    def entries(self) -> list[NamedFormula]:
        entries: list[NamedFormula] = []
        names: set[str] = set()
        while self.token.kind != "end":
            start = self.token.start
            if self.accept("include"):
                raise self.error(start, "include is not supported: put the formulas into this file")
            kind = self.accept("fof", "cnf")
            if kind is None:
                raise self.unexpected("fof( or cnf(")
            self.expect("(")
            name = self.name()
            if name in names:
                raise self.error(start, f"there are two formulas named {name!r:.60}")
            names.add(name)
            self.expect(",")
            role_start, role = self.token.start, self.name()
            self.expect(",")
            formula = self.formula()
            if kind == "cnf":
                formula = closed(formula)
            self.check_closed(formula, start)
            self.skip_annotations()
            self.expect(")")
            self.expect(".")
            if role not in (*AXIOMS, "conjecture"):
                raise self.error(role_start, f"the role must be conjecture or one of {', '.join(AXIOMS)}, got {role!r}")
            entries.append(NamedFormula(name, role == "conjecture", formula, start))
        if not names:
            raise FormatError(f"{self.where} contains no formula")
        return entries

    def check_closed(self, formula: Formula, start: int) -> None:
        if free := free_variables(formula):
            raise self.error(start, f"no quantifier binds {free[0]}; write ![{free[0]}]: or ?[{free[0]}]: before it")
        if depth(formula) > 2 * DEEPEST:
            raise self.error(start, f"formulas may be nested {DEEPEST} deep")

    def skip_annotations(self) -> None:
        """Skip a formula's source and annotations."""
        depth = 0
        if self.token.text != ",":
            return
        while depth or self.token.text != ")":
            if self.token.kind == "end":
                raise self.unexpected("')'")
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(self.token.text, 0)
            self.place += 1

    def name(self) -> str:
        token = self.token
        if token.kind not in ("word", "quoted", "number"):
            raise self.unexpected("a name")
        self.place += 1
        return _unquoted(token.text)

    def formula(self) -> Formula:
        left = self.unary()
        if (connective := self.accept("&", "|")) is not None:
            parts = [left, self.unary()]
            while self.accept(connective):
                parts.append(self.unary())
            self.check_alone(connective)
            return joined("&" if connective == "&" else "|", parts)
        connective = self.accept(*_BINARY)
        if connective is None:
            return left
        right = self.unary()
        self.check_alone(connective)
        if connective == "<=":
            return Binary("=>", right, left)
        if connective in ("~&", "~|"):
            return Not(Binary("&" if connective == "~&" else "|", left, right))
        known: dict[str, Connective] = {"=>": "=>", "<=>": "<=>", "<~>": "<~>"}
        return Binary(known[connective], left, right)

    def check_alone(self, connective: str) -> None:
        """Raise if another connective follows, since TPTP defines no precedence."""
        if self.token.text in ("&", "|", *_BINARY):
            raise self.error(self.token.start, f"brackets are needed between {connective} and {self.token.text}")

    def unary(self) -> Formula:
        self.nested += 1
        if self.nested > DEEPEST:
            raise self.error(self.token.start, f"formulas may be nested {DEEPEST} deep")
        formula = self._unary()
        self.nested -= 1
        return formula

    def _unary(self) -> Formula:
        if self.accept("~"):
            return Not(self.unary())
        quantifier = self.accept("!", "?")
        if quantifier is not None:
            self.expect("[")
            variables = [self.variable()]
            while self.accept(","):
                variables.append(self.variable())
            self.expect("]")
            self.expect(":")
            body = self.unary()
            for variable in reversed(variables):
                body = Quantified("!" if quantifier == "!" else "?", variable, body)
            return body
        if self.accept("("):
            body = self.formula()
            self.expect(")")
            return body
        return self.atom()

    def variable(self) -> str:
        token = self.token
        if token.kind != "variable":
            raise self.unexpected("a variable, which begins with a capital letter")
        self.place += 1
        return token.text

    def atom(self) -> Formula:
        start, token = self.token.start, self.token
        if (value := self.accept("$true", "$false")) is not None:
            return Truth(value == "$true")
        left = self.term(0)
        if (operator := self.accept("=", "!=")) is not None:
            right = self.term(0)
            for side in (left, right):
                self.note(side, start)
            equation = Atom(EQUALS, (left, right))
            return Not(equation) if operator == "!=" else equation
        if isinstance(left, Variable):
            raise self.error(start, f"{token.text} is a variable; a predicate begins with a lower-case letter")
        self.use(left.name, "predicate", len(left.arguments), start)
        for argument in left.arguments:
            self.note(argument, start)
        return Atom(left.name, left.arguments)

    def term(self, depth: int) -> Term:
        token = self.token
        if depth > DEEPEST:
            raise self.error(token.start, f"terms may be nested {DEEPEST} deep")
        if token.kind == "variable":
            self.place += 1
            return Variable(token.text)
        if token.kind not in ("word", "quoted") or token.text.startswith("$"):
            reason = "numbers and objects in quotes are not supported" if token.kind in ("number", "distinct") else ""
            raise self.error(token.start, reason) if reason else self.unexpected("a formula or term")
        self.place += 1
        arguments: list[Term] = []
        if self.accept("("):
            arguments.append(self.term(depth + 1))
            while self.accept(","):
                arguments.append(self.term(depth + 1))
            self.expect(")")
        return Apply(_unquoted(token.text), tuple(arguments))

    def note(self, term: Term, start: int) -> None:
        """Check the symbols of a term."""
        if isinstance(term, Apply):
            self.use(term.name, "function", len(term.arguments), start)
            for argument in term.arguments:
                self.note(argument, start)

    def use(self, name: str, kind: str, count: int, start: int) -> None:
        """Record a symbol; raise if it was used differently before, or is named like equality."""
        if name == EQUALS:
            raise self.error(start, "'=' in quotes is not a symbol: write equality as left = right")
        before = self.arities.setdefault(name, (kind, count))
        if before != (kind, count):
            raise self.error(
                start, f"{name} is a {kind} with {count} arguments here, but was a {before[0]} with {before[1]}"
            )


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith("'") else text


def _quoted(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    return "'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"


def format_term(term: Term) -> str:
    """Format a term in TPTP notation."""
    if isinstance(term, Variable):
        return term.name if _UPPER.fullmatch(term.name) else f"V_{re.sub(r'[^0-9a-zA-Z]', '_', term.name)}"
    arguments = ",".join(map(format_term, term.arguments))
    return f"{_quoted(term.name)}({arguments})" if arguments else _quoted(term.name)


def format_formula(formula: Formula) -> str:
    """Format a formula in TPTP notation, with parentheses around everything except atoms and negations."""
    if isinstance(formula, Truth):
        return "$true" if formula.value else "$false"
    if isinstance(formula, Atom):
        if formula.name == EQUALS:
            return " = ".join(map(format_term, formula.arguments))
        return format_term(Apply(formula.name, formula.arguments))
    if isinstance(formula, Not):
        if isinstance(formula.body, Atom) and formula.body.name == EQUALS:
            return " != ".join(map(format_term, formula.body.arguments))
        return f"~ {format_formula(formula.body)}"
    if isinstance(formula, Quantified):
        return f"{formula.quantifier} [{format_term(Variable(formula.variable))}] : {format_formula(formula.body)}"
    return f"({format_formula(formula.left)} {formula.connective} {format_formula(formula.right)})"


def format_problem(problem: LogicProblem) -> str:
    """Format a problem; parsing the result gives back the same problem."""
    lines = [f"fof({_quoted(name)}, axiom, {format_formula(one)})." for name, one in problem.axioms.items()]
    if problem.conjecture is not None:
        free = next(name for name in _names("goal") if name not in problem.axioms)
        lines.append(f"fof({_quoted(free)}, conjecture, {format_formula(problem.conjecture)}).")
    return "\n".join(lines) + "\n"


def _names(base: str) -> list[str]:
    return [base, *[f"{base}_{number}" for number in range(1 << 16)]]
