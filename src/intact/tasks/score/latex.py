"""Normalise LaTeX: keep everything that matters mathematically, drop everything that only affects appearance."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from intact.tasks.score.latex_syntax import MATRICES, Braces, Call, Node, Rows, is_space, parse

_UNICODE: Final = str.maketrans({
    "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ",
    "∈": r"\in ", "∅": r"\emptyset ", "±": r"\pm ", "∓": r"\mp ", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
    "÷": r"\div ", "⟨": r"\langle ", "⟩": r"\rangle ", "≈": r"\approx ", "²": "^2", "³": "^3", "º": "°",
})  # fmt: skip
_TYPED: Final = {
    "pi": r"\pi",
    "infinity": r"\infty",
    "inf": r"\infty",
    "*": r"\cdot",
    r"\%": "",
    "%": "",
    r"\$": "",
    "°": "",
    r"\circ": "",
    r"\\": "",
    " ": "",
}
_OPERATORS: Final = {
    r"\times": "*", r"\cdot": "*", r"\div": "/", r"\%": "%", r"\approx": "≈", r"\pm": "±", r"\\": "; ", r"\$": "$",
    "×": "*", "÷": "/", "·": "*", "⋅": "*", "°": "", r"\circ": "",
}  # fmt: skip
_GREEK = r"\\(?:alpha|beta|gamma|delta|epsilon|theta|lambda|mu|omega|phi|rho|sigma|tau)\b ?"
_LETTER = rf"(?:[a-zA-Z]|{_GREEK})"
_NAME = re.compile(
    rf"(?:{_LETTER}'*(?:_\{{\w+\}})?'*(?:\((?:{_LETTER}|\d+)(?:,(?:{_LETTER}|\d+))*\))?|[A-Z]{{2,3}}|"
    rf"\((?:{_LETTER},)+{_LETTER}\)|\\angle ?[A-Z]{{1,3}}|\\(?:vec|hat|bar|overline|overrightarrow) ?\{{\w+\}}|"
    r"\\text\{[^{}]*\})"
)
_RELATIONS: Final = ("=", r"\in", "<", ">", r"\leq", r"\geq", r"\neq", r"\approx", r"\equiv", r"\sim")
_JOINING: Final = re.compile(r"\s*(?:,\s*)?(?:and|or)\s*")
_CURRENCIES: Final = ("USD", "EUR", "GBP", "Rs", "US")
_COMMAND: Final = re.compile(r"\\[a-zA-Z]+")
_ALNUM: Final = re.compile(r"[^\W_]{2}")
_UNIT_NAMES = """
    percent percentage pct degree degrees deg radians dollars dollar cents cent euros pounds rupees unit units square
    cubic sq cu cm mm km dm ft feet foot in inch inches yard yards mile miles meter meters metre metres centimeter
    centimeters kilometer kilometers kg mg grams gram liters liter litres ml second seconds sec minute minutes min hour
    hours hr hrs day days week weeks month months year years mph kph points ways times people per
"""
UNITS: Final = frozenset(_UNIT_NAMES.split())
"""Words that name a unit when they follow a number in a formula; other words may be products of letters."""


def undressed(latex: str, *, spaces: bool = False) -> str:
    r"""Return an expression in normalised LaTeX, without units after a number, degree signs, and a leading "x =".

    Sizes, fonts and delimiters are removed, every argument gets braces, and every matrix becomes a `pmatrix`.

    Parameters
    ----------
    latex : str
    spaces : bool
        If true, white space is kept as single spaces; if false, only where letters or digits would merge.

    >>> undressed(r"x = \dfrac12\text{ cm}")
    '\\frac{1}{2}'
    >>> undressed(r"\left(\begin{matrix}1\\2\end{matrix}\right)")
    '\\begin{pmatrix}1 \\\\ 2\\end{pmatrix}'
    """
    return _written(_without_name(_without_unit(_trimmed(parse(latex.translate(_UNICODE))))), spaces)


def plain(text: str) -> str:
    r"""Convert the LaTeX in a string to typed arithmetic: fractions with a slash, operators as plain signs.

    >>> plain(r"$\frac{3}{4} \times 1{,}000 = 750\text{ g}$")
    '3/4 * 1000 = 750 g'
    """
    if "\\" in text or "$" in text or "{" in text:
        return _typed(parse(text))
    for sign, operator in (("×", "*"), ("÷", "/"), ("·", "*"), ("⋅", "*")):
        text = text.replace(sign, operator)
    return text


def _trimmed(nodes: Sequence[Node]) -> Sequence[Node]:
    """Return nodes without surrounding white space, line breaks and punctuation, and unwrap a single group."""
    while nodes:
        if is_space(nodes[0]):
            nodes = nodes[1:]
        elif nodes[-1] in (" ", ".", r"\\", ",", ";") and len(nodes) > 1:
            nodes = nodes[:-1]
        elif len(nodes) == 1 and isinstance(nodes[0], Braces):
            nodes = nodes[0].children
        else:
            break
    return nodes


def _words_of(node: Node) -> str | None:
    """Return the words of a text node, or None for other nodes."""
    return _typed(node.arguments[0]) if isinstance(node, Call) and node.name == "text" else None


def _is_unit(node: Node) -> bool:
    """Return true if a node can be part of a unit, such as `cm`, or the power and the slash in `m/s^2`."""
    if isinstance(node, Call) and node.name == "frac":
        return all(part and all(_is_unit(one) for one in part) for part in node.arguments)
    if isinstance(node, Call):
        words = _words_of(node)
        exponent = node.name == "^" and re.fullmatch(r"-?\d|\\circ ?", _written(node.arguments[0]))
        return (
            bool(exponent) if words is None else bool(re.search(r"[^\W\d_]", words)) and not _JOINING.fullmatch(words)
        )
    return node in (" ", "/", r"\cdot", r"\%", "%", r"\circ", "°", "~") or (isinstance(node, str) and node in UNITS)


def _names_unit(node: Node) -> bool:
    return _is_unit(node) and (node in UNITS if isinstance(node, str) else isinstance(node, Call) and node.name != "^")


def _without_unit(nodes: Sequence[Node]) -> Sequence[Node]:
    """Return nodes without the unit after a number or the currency before one."""
    words = _words_of(nodes[0]) if nodes else None
    if words is not None and words.strip(" .") in _CURRENCIES:
        nodes = nodes[1:]
    start = len(nodes)
    while start and _is_unit(nodes[start - 1]):
        start -= 1
    while start < len(nodes) and not _names_unit(nodes[start]):
        start += 1
    value = next((node for node in reversed(nodes[:start]) if not is_space(node)), None)
    ends = value in (")", r"\pi", "}", "%", r"\%") or isinstance(value, Braces | Call) or str(value).isdigit()
    return _trimmed(nodes[:start]) if value is not None and ends else nodes


def _without_name(nodes: Sequence[Node]) -> Sequence[Node]:
    """Return the right side of an equation whose left side is a name; return other nodes unchanged."""
    relations = [place for place, node in enumerate(nodes) if node in _RELATIONS]
    if len(relations) == 1 and nodes[relations[0]] in ("=", r"\in"):
        left, right = nodes[: relations[0]], nodes[relations[0] + 1 :]
        if _NAME.fullmatch(_written(left).strip()) and _written(right):
            return right
    return nodes


def _written(nodes: Sequence[Node], spaces: bool = False) -> str:
    """Return nodes as normalised LaTeX."""
    text, space = "", False
    for place, node in enumerate(nodes):
        part = _latex_of(node, text, spaces)
        if isinstance(node, Rows) and node.name in MATRICES:
            brackets = MATRICES[node.name] or (text[-1:] + _first_sign(nodes[place + 1 :]))
            if not MATRICES[node.name] and brackets in ("()", "[]", "||"):
                text = text[:-1]
            part = _matrix("vmatrix" if brackets == "||" else "pmatrix", node, spaces)
        elif node in (")", "]", "|") and _closes_matrix(nodes, place):
            part = ""
        elif is_space(node):
            space = True
            continue
        if part and ((part[0].isalpha() and _ends_with_command(text)) or (space and _parted(text, part, spaces))):
            text += " "
        text, space = text + part, space and not part
    return text


def _ends_with_command(text: str) -> bool:
    at = text.rfind("\\")
    return at >= 0 and _COMMAND.fullmatch(text, at) is not None


def _parted(before: str, after: str, spaces: bool) -> bool:
    """Return true if white space is kept: between letters or digits, and after a comma between digits."""
    if _ALNUM.fullmatch(before[-1:] + after[0]) or (
        re.fullmatch(r"\d,", before[-2:]) and re.match(r"\d{3}(?!\d)", after)
    ):
        return True
    return spaces and bool(before) and before[-1] not in "([{" and after[0] not in ")]},"


def _first_sign(nodes: Sequence[Node]) -> str:
    found = next((node for node in nodes if not is_space(node)), "")
    return found if isinstance(found, str) else ""


def _closes_matrix(nodes: Sequence[Node], place: int) -> bool:
    """Return true if a bracket closes a matrix whose environment has no brackets of its own."""
    before = (nodes[i] for i in range(place - 1, -1, -1) if not is_space(nodes[i]))
    table = next(before, "")
    if not isinstance(table, Rows) or MATRICES.get(table.name) != "":
        return False
    opening = next(before, "")
    return isinstance(opening, str) and f"{opening}{nodes[place]}" in ("()", "[]", "||")


def _matrix(name: str, table: Rows, spaces: bool) -> str:
    rows = r" \\ ".join(" & ".join(_written(cell, spaces) for cell in row) for row in table.rows)
    return f"\\begin{{{name}}}{rows}\\end{{{name}}}"


def _latex_of(node: Node, before: str, spaces: bool) -> str:
    """Return a node as LaTeX, to be appended to the text before it."""
    if isinstance(node, Rows):
        return _matrix(node.name, node, spaces)
    if isinstance(node, Braces):
        inside = _written(node.children, spaces)
        return f"{{{inside}}}" if len(inside) > 1 or before[-1:].isdigit() else inside
    if isinstance(node, Call):
        if node.name == "text":
            return _text(node.arguments[0], before)
        arguments = [_written(argument, spaces) for argument in node.arguments]
        if node.name == "^" and arguments[0] in ("", "o"):
            return ""  # degrees
        option = f"[{_written(node.option)}]" if node.option else ""
        name = node.name if node.name in ("^", "_") else f"\\{node.name}"
        return name + option + "".join(f"{{{argument}}}" for argument in arguments)
    return _TYPED.get(node, node)


def _text(nodes: Sequence[Node], before: str) -> str:
    """Return text within a formula: words stay text, "and" becomes a comma, numbers and single letters become math."""
    words = _typed(nodes)
    if _JOINING.fullmatch(words) and before:
        return ","
    if not re.search(r"[^\W\d_]", words) or re.fullmatch(r"\s*[^\W\d_]\s*", words):
        return _written(nodes)
    return f"\\text{{{words.strip()}}}"


def _typed(nodes: Sequence[Node]) -> str:
    """Return nodes as typed arithmetic."""
    text = ""
    for place, node in enumerate(nodes):
        following = nodes[place + 1] if place + 1 < len(nodes) else None
        if isinstance(node, str):
            text += _OPERATORS.get(node, node)
        elif isinstance(node, Braces):
            text += _group(node, text)
        elif isinstance(node, Rows):
            rows = "; ".join(", ".join(map(_typed, row)) for row in node.rows)
            text += f"[{rows}]"
        elif node.name == "text":
            words = _typed(node.arguments[0])
            text += f" {words}" if text[-1:].isalnum() and words[:1].isalpha() else words
        else:
            text = _product(text, node) + _call(node) + _sign_after(node, following)
    return text


def _group(node: Braces, before: str) -> str:
    inside = _typed(node.children)
    simple = re.fullmatch(r"[\w.,]*", inside) and not before[-1:].isalnum()
    return inside if simple else f"{{{inside}}}"


def _call(node: Call) -> str:
    """Return a fraction, root, binomial coefficient or script as typed arithmetic."""
    parts = [_typed(argument).strip() for argument in node.arguments]
    if node.name in ("^", "_"):
        if parts[0] in ("", "o"):
            return ""  # degrees
        return node.name + (parts[0] if re.fullmatch(r"\w*", parts[0]) else f"{{{parts[0]}}}")
    if node.name == "frac":
        return "/".join(part if re.fullmatch(r"[\d.,]+", part) else f"({part})" for part in parts)
    if node.name == "sqrt":
        index = _typed(node.option).strip()
        return f"({parts[0]})^(1/{index})" if index and index != "2" else f"sqrt({parts[0]})"
    return f"{node.name}({', '.join(parts)})"


def _product(before: str, node: Call) -> str:
    """Return the text so far with the sign that joins it to a fraction or root, which is `*` after a value."""
    if node.name in ("^", "_") or not re.search(r"[\w)}\]]$", before):
        return before
    mixed = node.name == "frac" and all(_typed(part).strip().isdigit() for part in node.arguments)
    if mixed and re.search(r"(?<![\w.^/)}\]])\d+$", before):
        return f"{before} "
    return f"{before} " if re.search(r"[^\W\d_]{2,}$", before) else f"{before}*"


def _sign_after(node: Call, following: Node | None) -> str:
    """Return the sign between a fraction or root and the node directly after it."""
    if node.name in ("^", "_") or following is None:
        return ""
    if isinstance(following, Call):
        words = _words_of(following)
        return " " if words is not None and words[:1].isalpha() else ""
    if isinstance(following, str) and (following[0].isdigit() or following == "("):
        return "*"
    if isinstance(following, str) and (following[0].isalpha() or following.startswith("\\")):
        value = len(following) == 1 or (re.fullmatch(r"\\[a-z]+", following) and following not in _OPERATORS)
        return "*" if value and following not in (r"\leq", r"\geq", r"\neq", r"\in", r"\cup") else " "
    return ""
