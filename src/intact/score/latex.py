"""LaTeX without its dress: what the mathematics needs stays, what only looks goes."""

from __future__ import annotations

import re

_GONE = re.compile(r"\\[()\[\]]|\\(?:left|right|displaystyle|bigl?|bigr|Bigl?|Bigr|!|,|;|:|>| )(?![a-zA-Z])|\$|~")
_WORDS = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|operatorname|mbox)\s*\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_THOUSANDS = re.compile(r"(?<=\d)(?:,\\!\s*|\\,)(?=\d{3}(?!\d))")
_DEGREES = re.compile(r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\(?:circ|degree)|°")
_EQUATION = re.compile(r"^\s*[a-zA-Z](?:\([a-zA-Z]\))?\s*(?:=|\\in\b)\s*(?=\S)")
_UNIT = re.compile(r"(?<=[\d})])\s*\\(?:text|mathrm|mbox)\s*\{[^{}]*\}(?:\s*\^\s*\{?\d\}?)?\s*$")
_OPERATORS = {r"\times": "*", r"\cdot": "*", r"\div": "/", r"\%": "%", r"\approx": "≈", "×": "*", "÷": "/", "·": "*"}


def undressed(latex: str) -> str:
    r"""Return an expression without spacing, sizes, units behind a number, degrees, and "x =" in front.

    >>> undressed(r"x = \dfrac{1}{2}\text{ cm}")
    '\\frac{1}{2}'
    """
    text = latex.strip().removesuffix(".").strip()
    text = _THOUSANDS.sub("", text.replace(r"\$", "")).replace(r"\dfrac", r"\frac").replace(r"\tfrac", r"\frac")
    text = _DEGREES.sub("", _UNIT.sub("", text))
    text = _GONE.sub(" ", text).replace(r"\%", "").replace("−", "-")
    text = re.sub(r"(?<=\d)\{,\}(?=\d)", ",", text)
    text = re.sub(r"(?<=\d),\s*(?=\d{3}(?!\d))", "", text) if re.fullmatch(r"[-\d,\s.]+", text) else text
    bare = _EQUATION.sub("", text) if text.count("=") <= 1 else text
    return " ".join(bare.split())


def plain(text: str) -> str:
    r"""Return a text with its LaTeX written as arithmetic is typed: fractions with a slash, operators as signs.

    >>> plain(r"$\frac{3}{4} \times 1{,}000 = 750\text{ g}$")
    '3/4 * 1,000 = 750 g'
    """
    if "\\" in text or "$" in text or "{" in text:
        text = _THOUSANDS.sub("", text.replace(r"\$", "\0"))
        text = _WORDS.sub(r"\1", text.replace(r"\boxed", ""))
        text = _GONE.sub(
            lambda match: "" if match[0] == "$" else " ", text.replace("$", "\0") if _money(text) else text
        )
        text = text.replace("{,}", ",").replace("\0", "$")
        text = _DEGREES.sub("", text)
        for _ in range(4):  # as deep as fractions are nested
            text, count = _FRACTION.subn(_fraction, text)
            if not count:
                break
    for latex, sign in _OPERATORS.items():
        text = text.replace(latex, sign)
    return text


def _money(text: str) -> bool:
    """Return whether dollar signs in a text are money: there is no LaTeX, or one of them closes nothing."""
    return "\\" not in text or text.count("$") % 2 == 1


def _fraction(match: re.Match[str]) -> str:
    top, bottom = match[1] or match[2], match[3] or match[4]
    if top is None or bottom is None:
        return match[0]
    top, bottom = (part if re.fullmatch(r"\s*[\d.,]+\s*", part) else f"({part})" for part in (top, bottom))
    space = " " if match.string[: match.start()][-1:].isdigit() else ""
    return f"{space}{top.strip()}/{bottom.strip()}"
