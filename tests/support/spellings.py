r"""Spellings of the answers of MATH-500 that mean the same, and slips that mean something else.

`python -m support.spellings`, run in the folder `tests`, prints how many of the 500 answers are judged right in each
spelling, and how many slips are told from the right answer.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from intact.tasks.score.answers import expression, same

_TOKEN = re.compile(
    r"\\(?:text|mbox|begin|end)\s*\{[^{}]*\}|\\[a-zA-Z]+|\\.|\s+|\d*\.\d+|\d+(?:,(?:\\!\s*)?\d{3}(?!\d))*|."
)
_NUMBER = re.compile(r"-?\d+")
_UNIT = re.compile(r"\s*\\(?:text|mbox)\s*\{ ?(?:degrees|cm|inches|cents)\}(?:\^2)?$|\^\\circ$")
_WORD = re.compile(r"\\text\{([^{}]*)\}")
_FRACTION = re.compile(r"\\d?frac\s*(?:\{([^{}]*)\}|(\w))\s*(?:\{([^{}]*)\}|(\w))")
_ROOT = re.compile(r"\\sqrt\s*(?:\{([^{}]*)\}|(\d))")
_SEPARATORS = ("+", "-", "=", "&", "\\\\", r"\cup", r"\in", r"\pm")
_LETTERS = {r"\pi": "π", r"\infty": "∞", r"\cup": "∪", r"\in": "∈", r"\pm": "±", "-": "−"}


def tokens(latex: str) -> list[str]:
    """Return commands, numbers and signs of an answer, without spaces; words and names of environments are one each."""
    return [token for token in _TOKEN.findall(latex) if token.strip()]


def joined(parts: list[str], space: str = "") -> str:
    """Join tokens, with a space where a command would swallow a letter."""
    text = ""
    for part in parts:
        needed = re.search(r"\\[a-zA-Z]+$", text) and part[0].isalpha()
        text += (space or " " * bool(needed) if text else "") + part
    return text


def spaced(command: str) -> Callable[[str], str]:
    """Put a command of white space around operators, behind commas and in place of white space."""

    def spell(latex: str) -> str:
        parts = [f"{command}{one}{command}" if one in _SEPARATORS else one for one in tokens(latex)]
        return joined([one + command if one == "," else one for one in parts])

    return spell


def each(pattern: re.Pattern[str], form: Callable[[re.Match[str]], str]) -> Callable[[str], str]:
    """Replace what a pattern matches, from the inside out."""

    def spell(latex: str) -> str:
        done = ""
        while done != latex:
            done, latex = latex, pattern.sub(form, latex, count=1) if pattern.search(latex) else latex
        return latex

    return spell


def replaced(names: Mapping[str, str]) -> Callable[[str], str]:
    """Replace tokens by others."""
    return lambda latex: joined([names.get(one, one) for one in tokens(latex)])


def sized(left: str, right: str) -> Callable[[str], str]:
    r"""Put a size before each bracket, such as ``\left`` and ``\right``."""
    sizes = {one: left + one for one in ("(", "[", r"\{")} | {one: right + one for one in (")", "]", r"\}")}

    def spell(latex: str) -> str:
        return joined([sizes.get(one, one) for one in tokens(latex) if one not in (r"\left", r"\right")])

    return spell


def fractions(form: str) -> Callable[[str], str]:
    """Write each fraction in a form; single characters have no braces where the form asks so."""

    def spell(latex: str) -> str:
        def one(match: re.Match[str]) -> str:
            top, bottom = match[1] or match[2], match[3] or match[4]
            return form.replace("TOP", top).replace("BOTTOM", bottom)

        parts = re.split(r"(\\d?frac\s*(?:\{(?:[^{}]|\{[^{}]*\})*\}|\w)\s*(?:\{[^{}]*\}|\w))", latex)
        return "".join(_FRACTION.sub(one, part) for part in parts)

    return spell


def slashes(latex: str) -> str:
    """Write fractions of numbers, and alone, with a slash."""
    return re.sub(r"^(-?)\\d?frac\s*(?:\{(\d+)\}|(\d))\s*(?:\{(\d+)\}|(\d))$", r"\1\2\3/\4\5", latex)


def bare(latex: str) -> str:
    """Leave braces of a fraction out where they are not needed."""
    return re.sub(r"\\d?frac\s*\{(\d)\}\s*\{(\d)\}", r"\\frac\1\2", latex)


def matrix(begin: str, end: str, row: str = r"\\") -> Callable[[str], str]:
    """Write matrices in another environment, without white space."""

    def spell(latex: str) -> str:
        if "pmatrix" not in latex:
            return latex
        names = {r"\begin{pmatrix}": begin, r"\end{pmatrix}": end, "\\\\": row}
        return joined([names.get(one, one) for one in tokens(latex)])

    return spell


def named(name: str) -> Callable[[str], str]:
    """Put a name and an equals sign before what is no equation."""
    return lambda latex: latex if "=" in latex or r"\in" in tokens(latex) or "text" in latex else name + latex


def with_unit(unit: str) -> Callable[[str], str]:
    """Put a unit behind a number."""
    return lambda latex: latex + unit if _NUMBER.fullmatch(latex) else latex


def thousands(mark: str) -> Callable[[str], str]:
    """Write large integers with a mark between thousands."""

    def spell(latex: str) -> str:
        digits = re.sub(r",(?:\\!\s*)?(?=\d{3})", "", latex)
        whole = re.fullmatch(r"(\\\$|-)?(\d{4,})", digits)
        return latex if whole is None else (whole[1] or "") + f"{int(whole[2]):,}".replace(",", mark)

    return spell


def degrees(mark: str) -> Callable[[str], str]:
    """Write degrees in another way."""
    return lambda latex: latex.replace(r"^\circ", mark)


def words(form: str) -> Callable[[str], str]:
    """Write words and letters of choices in another way."""
    return lambda latex: (
        _WORD.sub(lambda match: form.replace("WORD", match[1]), latex) if latex[:5] == r"\text" else latex
    )


def wrapped(before: str, behind: str) -> Callable[[str], str]:
    """Put something around the answer."""
    return lambda latex: before + latex + behind


SPELLINGS: Final[Mapping[str, Callable[[str], str]]] = {
    "as given": lambda latex: latex,
    "no spaces": lambda latex: joined(tokens(latex)),
    "spaces everywhere": lambda latex: joined(tokens(latex), " "),
    "a line for each token": lambda latex: joined(tokens(latex), "\n"),
    **{f"spaced by {one}": spaced(one) for one in (r"\,", r"\;", r"\:", r"\>", r"\!", r"\ ", "~", r"\quad ", "{}")},
    **{name: fractions(f"\\{name}{{TOP}}{{BOTTOM}}") for name in ("frac", "dfrac", "tfrac", "cfrac")},
    "fractions with spaces": fractions(r"\frac {TOP} {BOTTOM}"),
    "fractions without braces": bare,
    "fractions with a slash": slashes,
    "minus in the numerator": lambda latex: re.sub(r"^-\\frac\{", r"\\frac{-", latex),
    "roots without braces": lambda latex: re.sub(r"\\sqrt\{(\d)\}", r"\\sqrt\1", latex),
    "roots with spaces": lambda latex: re.sub(r"\\sqrt\s*\{?(\d+)\}?", r"\\sqrt {\1}", latex),
    "exponents in braces": lambda latex: re.sub(r"\^(\d)", r"^{\1}", latex),
    **{f"sizes {a} {b}": sized(a, b) for a, b in (
        (r"\left", r"\right"), (r"\bigl", r"\bigr"), (r"\Bigg", r"\Bigg"), ("", ""),
    )},
    **{f"around {a} {b}": wrapped(a, b) for a, b in (
        ("$", "$"), ("$$", "$$"), (r"\(", r"\)"), (r"\[ ", r" \]"), ("{", "}"), (r"\boxed{", "}"),
        (r"\displaystyle ", ""),
        (r"{\displaystyle ", "}"), (r"\mathbf{", "}"), (r"\boldsymbol{", "}"), (r"\textstyle{", "}"), ("", "."),
        ("", r"\,."), ("", " "), ("", r"\\"),
    )},
    **{f"named {one}": named(one) for one in (
        "x = ", "n=", "f(x) = ", r"\theta = ", "x_1 = ", "AB = ", r"\mathbf{v} = ", r"x \,=\, ", r"\text{Area} = ",
        "S_{n}=", "f(2)=",
    )},
    **{f"unit {one}": with_unit(one) for one in (
        r"\text{ cm}", r"\,\text{cm}", r"\ \mathrm{cm}^2", r"~\mathrm{cm}^{2}", r"\text{ square units}",
        r"\;\text{m}/\text{s}",
        r"\text{ cm}^{3}", r"\text{ dollars}", r"\text{ (units)}", " dollars", " units", "cm", r"\mathrm{~cm}",
        r"\operatorname{cm}",
        r"\textrm{ ways}",
    )},
    "without the unit": lambda latex: _UNIT.sub("", latex),
    **{f"degrees {one}": degrees(one) for one in (
        r"^{\circ}", "°", r"\degree", r"^\degree", r"{}^\circ", r"^ \circ", r"\text{ degrees}", r"\,^\circ",
        " degrees", r"^{\,\circ}", r"^{\mathrm{o}}",
    )},
    **{f"dollars {one}": lambda latex, one=one: latex.replace(r"\$", one) for one in (
        "", "$", r"\$ ", r"\text{\$}", r"\textdollar ", r"\text{USD }",
    )},
    "dollars behind": lambda latex: latex.removeprefix(r"\$") + r"\text{ dollars}" if r"\$" in latex else latex,
    **{f"thousands {one}": thousands(one) for one in (
        ",", "{,}", r"\,", r",\!", r",\! ", r"\ ", "", r"{,}\,", r"\;", "~",
    )},
    "zero before the dot": lambda latex: re.sub(r"(?<![\d.])\.(?=\d)", "0.", latex),
    "zero behind the dot": lambda latex: f"{latex}.0" if _NUMBER.fullmatch(latex) else latex,
    **{f"words {one}": words(one) for one in (
        "WORD", r"\mathrm{WORD}", r"\textbf{WORD}", r"\text{ WORD }", r"\mbox{WORD}", r"\textrm{WORD}", r"\rm WORD",
        r"{\rm WORD}",
        r"\text{WORD.}", r"\mathsf{WORD}", r"\textbf{\text{WORD}}", r"\operatorname{WORD}", r"\texttt{WORD}",
        r"\emph{WORD}",
    )},
    **{f"matrix {a} {c} {b}": matrix(a, b, c) for a, b, c in (
        (r"\begin{pmatrix}", r"\end{pmatrix}", r"\\"), (r"\begin{bmatrix}", r"\end{bmatrix}", r"\\"),
        (r"\left(\begin{matrix}", r"\end{matrix}\right)", r"\\"), (r"\left[\begin{array}{cc}", r"\end{array}\right]",
        r"\\"),
        (r"\left(\begin{array}{r}", r"\end{array}\right)", r"\\[2mm]"), (r"\begin{pmatrix}", r"\end{pmatrix}", r"\\*"),
        (r"\begin{pmatrix}", r"\end{pmatrix}", r"\cr "), (r"\begin{pmatrix}", r"\\\end{pmatrix}", r"\\ "),
        (r"\bigl(\begin{smallmatrix}", r"\end{smallmatrix}\bigr)", r"\\"), (r"\pmatrix{", "}", r"\cr "),
        (r"\begin {pmatrix}", r"\end {pmatrix}", "\\\\\n"),
    )},
    "Unicode": replaced(_LETTERS),
    r"product \cdot": lambda latex: re.sub(r"(?<=\d) ?(?=\\sqrt|\\pi|[a-z]\^|[a-z]$)", r"\\cdot ", latex),
    "product *": lambda latex: re.sub(r"(?<=\d) ?(?=\\sqrt|\\pi)", "*", latex),
    "roots as typed": each(_ROOT, lambda match: f"sqrt({match[1] or match[2]})"),
    "pi as typed": lambda latex: latex.replace(r"\pi", "pi"),
    "sets with names": lambda latex: latex.replace(r"\{", r"\lbrace ").replace(r"\}", r"\rbrace "),
    "plus infinity": lambda latex: re.sub(r"(?<!-)\\infty", r"+\\infty", latex),
    "and for the last comma": lambda latex: re.sub(r"(?<=\d), ?(?!\d{3})(?=-?\d+$)", r"\\text{ and }", latex),
    "or for the last comma": lambda latex: re.sub(r"(?<=\d), ?(?!\d{3})(?=-?\d+$)", " or ", latex),
}  # fmt: skip
"""Forms of an answer that mean the same; what a form has nothing to say about stays."""


def answers(folder: Path) -> list[str]:
    """Return the 500 right answers."""
    lines = (folder / "math500" / "test.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["answer"] for line in lines]


def _names(before: list[str]) -> bool:
    """Return whether a number belongs to a base or to a unit, by what stands before it."""
    return before[-1:] == ["_"] or (before[-1:] == ["^"] and before[-2][:5] == r"\mbox")


def slips(latex: str) -> Iterator[str]:
    """Make answers that mean something else: another number, sign, order, bracket or letter."""
    parts = tokens(latex)
    inside = [i for i, one in enumerate(parts) if one[0].isdigit() and len(one) < 4 and not _names(parts[:i])]
    for place in inside:
        yield joined([*parts[:place], str(int(float(parts[place])) + 3), *parts[place + 1 :]])
    if parts[0][0].isdigit() and latex != "0":
        yield "-" + latex
    changes = [
        (("(",) if parts[1:3] != ["-", r"\infty"] else ("?",), "["),
        ((r"\cup",), r"\cap"),
        (("i",), "j"),
        ((r"\pi",), "e"),
        (("R",), "r"),
    ]
    changes += [(("x",), "z")] * (parts[1:2] not in (["="], [r"\in"]))  # the name of an answer says nothing
    for given, other in changes:
        if given[0] in parts:
            yield joined([other if part in given else part for part in parts])
    for mark in ("\\\\", ",", "&"):
        place = parts.index(mark) if mark in parts else 0
        ordered = place and len(parts) > 5 and parts[0] != r"\{" and parts[place - 1] != parts[place + 1]
        if ordered and "-" not in (parts[place + 1], parts[place - 2]):
            yield joined([*parts[: place - 1], parts[place + 1], mark, parts[place - 1], *parts[place + 2 :]])


@cache
def judged_right(answer: str, given: str) -> bool:
    """Return whether a text with an answer in a box is judged right."""
    read = expression(f"So it is $\\boxed{{{given}}}$.")
    return read is not None and same(answer, read)


def main() -> None:
    """Print the table."""
    data = answers(Path(os.environ["INTACT_DATA"]))
    total = right = 0
    for name, spell in SPELLINGS.items():
        spelt = [(answer, spell(answer)) for answer in data]
        changed = [pair for pair in spelt if pair[0] != pair[1] or name == "as given"]
        wrong = [other for answer, other in changed if not judged_right(answer, other)]
        total, right = total + len(changed), right + len(changed) - len(wrong)
        few = "; ".join(list(dict.fromkeys(wrong))[:4])
        print(f"{name!r:40} {len(changed) - len(wrong):4} of {len(changed):4}  {few!r:.150}", flush=True)
    print(f"{'all':40} {right:4} of {total:4}")
    made = [(answer, slip) for answer in dict.fromkeys(data) for slip in slips(answer)]
    taken = [pair for pair in made if judged_right(*pair)]
    print(f"{'slips called wrong':40} {len(made) - len(taken):4} of {len(made):4}  {taken[:12]}")


if __name__ == "__main__":
    main()
