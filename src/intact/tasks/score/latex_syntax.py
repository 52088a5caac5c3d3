r"""Parse LaTeX into a tree: commands with their arguments, groups and matrices, without purely visual markup.

Sizes (``\left``, ``\big``), fonts, styles and math delimiters produce no node, and one command represents all synonyms
(``\dfrac``, ``\le``, ``\lbrace``). White space of every kind becomes a single space. Text nested more deeply than
`DEEPEST` becomes a single leaf.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

DEEPEST: Final = 40
"""The maximum nesting depth of arguments and groups that is parsed."""

TOKEN = re.compile(r"\\(?:[a-zA-Z]+|.|$)|\s+|\d+|[^\W\d_]+|.", re.DOTALL)
"""A command, white space, digits, letters, or another character."""


@dataclass(frozen=True, slots=True)
class Braces:
    """Nodes in braces that are not the argument of a command."""

    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call:
    r"""A command and its arguments: ``frac``, ``binom``, ``sqrt``, ``text``, and ``^`` and ``_`` for scripts.

    Attributes
    ----------
    name : str
    arguments : tuple
        The nodes of each argument.
    option : tuple, optional
        The nodes of the optional argument in brackets: the index of a root.
    """

    name: str
    arguments: tuple[tuple[Node, ...], ...]
    option: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """An environment with rows: a matrix, or cases.

    Attributes
    ----------
    name : str
    rows : tuple
        The nodes of each cell of each row.
    """

    name: str
    rows: tuple[tuple[tuple[Node, ...], ...], ...]


Node = str | Braces | Call | Rows
"""A tree node. A leaf is a token: ``\\pi``, digits, letters, or a sign.

White space is one space, and ``\\$`` is a currency sign.
"""

_COMMA: Final = Braces((",",))
SPACES: Final = (
    *(f"\\{one}" for one in ",;:> /\t\n"), "~", r"\quad", r"\qquad", r"\enspace", r"\enskip", r"\thinspace",
    r"\medspace", r"\thickspace", r"\space", r"\nobreakspace",
)  # fmt: skip
_NOTHING: Final = (r"\!", r"\negthinspace", r"\relax", r"\null", r"\strut", r"\hline")
_STYLES = r"""
    \displaystyle \textstyle \scriptstyle \scriptscriptstyle \limits \nolimits \left \right \middle \mleft \mright
    \big \Big \bigg \Bigg \bigl \Bigl \biggl \Biggl \bigr \Bigr \biggr \Biggr \bigm \Bigm \biggm \Biggm
"""
_LOOKS: Final = frozenset(_STYLES.split())
_DELIMITERS: Final = (r"\left", r"\right", r"\middle", r"\mleft", r"\mright")
_MATHEMATICS: Final = (r"\(", r"\)", r"\[", r"\]")
_FONT_NAMES = r"""
    \mathbf \mathit \mathcal \mathfrak \mathscr \boldsymbol \bm \mathnormal \boxed \fbox \framebox \ensuremath \mathord
    \mathbin \mathrel \mathop
"""
_FONTS: Final = frozenset(_FONT_NAMES.split())
_WORD_NAMES = r"""
    \text \textbf \textit \textrm \textsf \texttt \textnormal \textup \textsl \textsc \emph \underline \mbox \hbox
    \mathrm \mathsf \mathtt \operatorname
"""
_WORDS: Final = frozenset(_WORD_NAMES.split())
_SWITCHES: Final = (r"\rm", r"\bf", r"\it", r"\sf", r"\tt", r"\sl", r"\bfseries", r"\itshape")
_CALLS: Final = {
    **dict.fromkeys((r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"), "frac"),
    **dict.fromkeys((r"\binom", r"\dbinom", r"\tbinom"), "binom"),
}
_SAME: Final = {
    r"\le": r"\leq", r"\leqslant": r"\leq", "≤": r"\leq", r"\ge": r"\geq", r"\geqslant": r"\geq", "≥": r"\geq",
    r"\ne": r"\neq", "≠": r"\neq", r"\lt": "<", r"\gt": ">", r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lbrack": "[",
    r"\rbrack": "]", r"\lparen": "(", r"\rparen": ")", r"\lvert": "|", r"\rvert": "|", r"\vert": "|", r"\mid": "|",
    r"\ast": "*", r"\colon": ":", r"\degree": r"\circ", r"\textdegree": r"\circ", r"\textdollar": r"\$",
    r"\varnothing": r"\emptyset", r"\dots": r"\ldots", r"\cdots": r"\ldots", r"\textendash": "-", "−": "-",
}  # fmt: skip
_LINE_NAMES = "equation align gather multline aligned gathered split displaymath math alignat"
_LINES: Final = frozenset(_LINE_NAMES.split())
MATRICES: Final = {
    **dict.fromkeys(("matrix", "smallmatrix", "array"), ""),
    **dict.fromkeys(("pmatrix", "psmallmatrix"), "()"),
    **dict.fromkeys(("bmatrix", "bsmallmatrix"), "[]"),
    **dict.fromkeys(("vmatrix", "vsmallmatrix"), "||"),
}
"""Matrix environments, with the brackets that each one draws itself."""


class _TooDeepError(Exception):
    """The text is nested too deeply."""


def parse(text: str) -> tuple[Node, ...]:
    """Return the nodes of text that contains LaTeX; anything else becomes leaves."""
    try:
        return _Parser(text).sequence(())
    except _TooDeepError:
        return (text,)


def is_space(node: Node) -> bool:
    """Return true if a node is white space."""
    return node == " "


class _Parser:
    """Recursive-descent parser over tokens."""

    def __init__(self, text: str) -> None:
        self.tokens = TOKEN.findall(text)
        self.closing = _closing_braces(self.tokens)
        self.mathematics = _mathematical_dollars(self.tokens)
        self.place = 0
        self.depth = 0

    def peek(self) -> str:
        """Return the next token, or an empty string at the end."""
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def sequence(self, ends: Sequence[str], stop: int | None = None) -> tuple[Node, ...]:
        """Parse nodes up to one of the given tokens, or up to the token index `stop`."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise _TooDeepError
        nodes: list[Node] = []
        while self.place < len(self.tokens) and self.place != stop and self.peek() not in ends:
            nodes += self.nodes(ends, stop)
        self.depth -= 1
        return tuple(_spaced(_with_thousands(nodes)))

    def nodes(self, ends: Sequence[str], stop: int | None) -> Iterable[Node]:
        """Parse the nodes that start with the next token."""
        place, token = self.place, self.peek()
        self.place += 1
        if token == "{" and place in self.closing:
            inside = self.sequence((), self.closing[place])
            self.place = self.closing[place] + 1
            return (Braces(inside),)
        if token == "$":
            return () if place in self.mathematics else (r"\$",)
        if token in _LOOKS:
            self.place += token in _DELIMITERS and self.peek() == "."
            return ()
        if token in _NOTHING or token in _MATHEMATICS or token.isspace():
            return (token,) if token in _NOTHING else (" ",)
        if token in _SWITCHES:
            return (Call("text", (self.sequence(ends, stop),)),)
        if token in _FONTS:
            return self.argument()
        if token in _WORDS:
            self.place += token == r"\operatorname" and self.peek() == "*"
            return (Call("text", (self.argument(),)),)
        if token in ("^", "_") or token in _CALLS:
            return (self.call(token),)
        if token in (r"\sqrt", "√", "sqrt"):
            return (self.root(token),)
        if token == r"\begin":
            return self.environment()
        if token == r"\pmatrix" and self.peek() == "{" and self.place in self.closing:
            stop, self.place = self.closing[self.place], self.place + 1
            table = self.table("pmatrix", stop)
            self.place = stop + 1
            return (table,)
        return (_SAME.get(token, token),)

    def call(self, token: str) -> Call:
        """Parse the arguments of a fraction or a script."""
        if token in _CALLS:
            return Call(_CALLS[token], (self.argument(), self.argument()))
        return Call(token, (self.argument(digits=True),))

    def root(self, token: str) -> Node:
        r"""Parse a root: ``\sqrt[3]{2}``, ``√2``, or a typed ``sqrt(2)``."""
        self.skip_spaces()
        option: tuple[Node, ...] = ()
        if token == r"\sqrt" and self.peek() == "[" and "]" in self.tokens[self.place :]:
            self.place += 1
            option = self.sequence(("]",))
            self.place += 1
        if token != r"\sqrt" and self.peek() == "(" and (stop := self.closing_bracket()) is not None:
            self.place += 1
            inside = self.sequence((), stop)
            self.place = stop + 1
            return Call("sqrt", (inside,))
        if token == "sqrt" and self.peek() != "{":
            return token
        return Call("sqrt", (self.argument(digits=token == "√"),), option)

    def closing_bracket(self) -> int | None:
        """Return the index of the bracket that closes the next one."""
        depth = 0
        for place in range(self.place, min(len(self.tokens), self.place + 200)):
            depth += (self.tokens[place] == "(") - (self.tokens[place] == ")")
            if not depth:
                return place
        return None

    def skip_spaces(self) -> None:
        """Skip white space."""
        while self.peek().isspace():
            self.place += 1

    def argument(self, *, digits: bool = False) -> tuple[Node, ...]:
        """Parse the next group, command or single character, or all digits of a number if `digits` is true."""
        self.skip_spaces()
        token = self.peek()
        if token == "{" and self.place in self.closing:
            (group,) = self.nodes((), None)
            return group.children if isinstance(group, Braces) else (group,)
        if len(token) > 1 and token[0] != "\\" and not (digits and token.isdigit()):
            self.tokens[self.place] = token[1:]
            return (token[0],)
        if token in ("", "}", "&", "$", r"\\", r"\end", r"\right"):
            return ()
        self.depth += 1
        if self.depth > DEEPEST:
            raise _TooDeepError
        found = tuple(self.nodes((), None))
        self.depth -= 1
        return tuple(_spaced(found))

    def environment(self) -> Iterable[Node]:
        """Parse a table, or the lines of an equation environment."""
        name = self.name()
        if name.rstrip("*") in _LINES:
            lines = self.sequence((r"\end",))
            self.end()
            return [node for node in lines if node != "&"]
        if name == "array":
            self.argument()  # column alignment
        table = self.table(name, None)
        self.end()
        return (table,)

    def name(self) -> str:
        """Parse the name of an environment, in braces."""
        return "".join(node for node in self.argument() if isinstance(node, str)).strip()

    def end(self) -> None:
        r"""Skip ``\end{...}``."""
        if self.peek() == r"\end":
            self.place += 1
            self.argument()

    def table(self, name: str, stop: int | None) -> Rows:
        """Parse the rows of a matrix up to a token index, or up to its end."""
        rows: list[list[tuple[Node, ...]]] = [[]]
        while True:
            rows[-1].append(_trimmed(self.sequence(("&", r"\\", r"\cr", r"\end"), stop)))
            token = self.peek()
            if token == "" or token == r"\end" or self.place == stop:
                break
            self.place += 1
            if token != "&":
                rows.append([])
                self.skip_distance()
        return Rows(name, tuple(tuple(row) for row in rows if any(row)))

    def skip_distance(self) -> None:
        r"""Skip the star and the distance of a new row: ``\\*[2mm]``."""
        self.place += self.peek() == "*"
        if self.peek() == "[" and "]" in (ahead := self.tokens[self.place : self.place + 8]):
            distance = "".join(ahead[1 : ahead.index("]")])
            if re.fullmatch(r"\s*-?[\d.]+\s*(?:mm|cm|pt|em|ex|in)\s*", distance):
                self.place += ahead.index("]") + 1


def _trimmed(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Return nodes without surrounding white space."""
    kept = list(nodes)
    while kept and is_space(kept[-1]):
        kept.pop()
    while kept and is_space(kept[0]):
        kept.pop(0)
    return tuple(kept)


def _closing_braces(tokens: Sequence[str]) -> dict[int, int]:
    """Map the index of each closed opening brace to the index of its closing brace."""
    found, opened = {}, list[int]()
    for place, token in enumerate(tokens):
        if token == "{":
            opened.append(place)
        elif token == "}" and opened:
            found[opened.pop()] = place
    return found


def _mathematical_dollars(tokens: Sequence[str]) -> set[int]:
    r"""Return the indices of dollar signs that delimit math; all others are currency signs.

    As in Pandoc, two dollar signs delimit math if there is no white space directly inside them and no digit after the
    second: `$12 / 4$`, but not `$5 and $6`. White space inside is allowed if there is a command between them.
    """
    places = [place for place, token in enumerate(tokens) if token == "$"]
    found, i = set[int](), 0
    while i + 1 < len(places):
        start, end = places[i : i + 2]
        inside = tokens[start + 1 : end]
        tight = bool(inside) and not inside[0].isspace() and not inside[-1].isspace()
        commands = any(token[0] == "\\" and token != r"\$" for token in inside)
        if not inside or ((tight or commands) and not (tokens[end + 1 : end + 2] or [" "])[0][0].isdigit()):
            found |= {start, end}
            i += 2
        else:
            i += 1
    return found


def _with_thousands(nodes: Sequence[Node]) -> list[Node]:
    r"""Join the thousands of integers: ``1\,000``, ``1{,}000``, ``1,\!000``.

    A bare comma is kept, since it may separate numbers.
    """
    kept: list[Node] = []
    place = 0
    while place < len(nodes):
        node = nodes[place]
        place += 1
        if isinstance(node, str) and node.isdigit() and len(node) <= 3 and kept[-1:] != ["."]:
            while (end := _next_thousands(nodes, place)) is not None:
                node, place = f"{node}{nodes[end]}", end + 1
        kept.append(node)
    return kept


def _next_thousands(nodes: Sequence[Node], place: int) -> int | None:
    """Return the index of three digits after a thousands separator that begins at `place`.

    Return None if there is no separator.
    """
    end = place
    while end < len(nodes) and _separates(nodes[end]):
        end += 1
    between = nodes[place:end]
    marked = r"\!" in between or _COMMA in between or ("," not in between and any(one in SPACES for one in between))
    digits = nodes[end] if end < len(nodes) else ""
    return end if marked and isinstance(digits, str) and digits.isdigit() and len(digits) == 3 else None


def _separates(node: Node) -> bool:
    return node in (",", " ", _COMMA) or node in SPACES or node in _NOTHING


def _spaced(nodes: Iterable[Node]) -> list[Node]:
    """Return nodes with each run of white space as one space, and without empty groups."""
    kept: list[Node] = []
    for node in nodes:
        if node in _NOTHING or node == Braces(()) or ((node in SPACES or node == " ") and kept[-1:] == [" "]):
            continue
        kept.append(" " if node in SPACES else node)
    return kept
