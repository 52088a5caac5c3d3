"""Rocq text as sentences: their boundaries, which ones are tactics, and the bullet or brace that contains them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from intact._base.errors import FormatError

_BULLET: Final = re.compile(r"-+|\++|\*+")
_BRACE: Final = re.compile(r"(?:\d+\s*:\s*|\[\w+\]\s*:\s*)?\{|\}")
_TACTIC: Final = re.compile(r"[a-z_(\[!?{}*+-]|\d+\s*[:,-]")
"""Pattern for the beginning of a tactic, bullet or goal selector; commands begin with a capital letter."""
_HOLE: Final = re.compile(r"\b(?:admit|give_up)\b")
_ENDS: Final = re.compile(r"(?:Proof|Qed|Defined|Admitted|Abort)\b[^.]*\.")


class Sentence(NamedTuple):
    """A sentence on one line, without comments.

    Attributes
    ----------
    text : str
        The sentence, with the same length as in the file; line feeds and comments are replaced by blanks.
    line, column : int
        Start of the sentence, counted from 1.
    """

    text: str
    line: int = 1
    column: int = 1

    @property
    def is_tactic(self) -> bool:
        """If true, the sentence can only be part of a proof."""
        return _TACTIC.match(self.text) is not None

    @property
    def is_hole(self) -> bool:
        """If true, the sentence gives up a goal."""
        return _HOLE.search(self.text) is not None


def split(text: str) -> list[Sentence]:
    """Split a text into sentences.

    Raises
    ------
    FormatError
        If a comment, a quoted string or the last sentence is not closed. The message says where it begins.
    """
    plain = _without_comments(text)
    found, place = list[Sentence](), 0
    while True:
        while place < len(plain) and plain[place].isspace():
            place += 1
        if place == len(plain):
            return found
        end = _end(plain, place)
        line, column = _position(text, place)
        if end is None:
            raise FormatError(f"the sentence that begins in line {line}, column {column} does not end with a full stop")
        found.append(Sentence(re.sub(r"\s", " ", plain[place:end]), line, column))
        place = end


def tactics(text: str) -> list[Sentence]:
    """Return the sentences of a proof; the last full stop may be missing.

    A leading `Proof.` and a trailing `Qed.` are dropped.

    Raises
    ------
    FormatError
        If a sentence is not a tactic, bullet or brace, and could thus change what is proved; otherwise as for `split`.
    """
    try:
        found = split(text)
    except FormatError:
        found = split(f"{text.rstrip()}.")
    found = [one for one in found if not re.fullmatch(r"(?:Proof|Qed|Defined)\s*\.", one.text)]
    for one in found:
        if not one.is_tactic:
            raise FormatError(f"only tactics, bullets and braces can be steps of a proof, got {one.text!r:.60}")
    return found


def proof_in(text: str) -> list[Sentence]:
    """Return the tactics in a model's output: a proof, or a file whose last proof is used.

    Everything after the first sentence that is not a tactic is ignored; a missing last full stop is added.
    """
    try:
        found = split(text)
    except FormatError:
        try:
            found = split(f"{text.rstrip()}.")
        except FormatError:
            return []
    begins = [place + 1 for place, one in enumerate(found) if re.match(r"Proof\b", one.text)]
    begins += [place + 1 for place, one in enumerate(found) if theorem_name(one) is not None]
    found = found[max(begins, default=0) :]
    end = next((place for place, one in enumerate(found) if not one.is_tactic), len(found))
    return found[:end]


def before_proof(text: str) -> list[Sentence]:
    """Return a file's sentences up to its last theorem's statement, dropping `Proof.` or `Admitted.` after it.

    Raises
    ------
    FormatError
        If no sentence is left, or the last one does not state a theorem.
    """
    found = split(text)
    while found and _ENDS.fullmatch(found[-1].text):
        found.pop()
    if not found or theorem_name(found[-1]) is None:
        last = found[-1].text if found else "nothing"
        raise FormatError(f"a statement ends with a theorem to prove (Theorem NAME : ...), got {last!r:.60}")
    return found


def theorem_name(sentence: Sentence) -> str | None:
    """Return the name of the theorem that a sentence states, or None."""
    words = r"(?:Theorem|Lemma|Example|Fact|Remark|Corollary|Proposition|Property|Definition)"
    found = re.match(rf"(?:#\[[^\]]*\]\s*)?(?:Local\s+|Global\s+)?{words}\s+([^\W\d][\w']*)", sentence.text)
    return None if found is None else found[1]


def is_end(sentence: Sentence) -> bool:
    """Return true if a sentence closes a proof."""
    return re.match(r"(?:Qed|Defined|Admitted|Abort|Save)\b", sentence.text) is not None


def is_bullet(text: str) -> bool:
    """Return true if a sentence is a bullet: a row of dashes, plus signs or asterisks."""
    return _BULLET.fullmatch(text) is not None


def is_brace(text: str) -> bool:
    """Return true if a sentence opens or closes a block."""
    return _BRACE.fullmatch(text) is not None


def block_end(sentences: Sequence[str], place: int) -> int:
    """Return the end of the block that contains a sentence: the index of the next bullet or brace outside the block."""
    open_blocks = list[str]()
    for text in sentences[:place]:
        _move(open_blocks, text)
    inside = len(open_blocks)
    if is_bullet(sentences[place]) or is_brace(sentences[place]):
        return place + 1
    outer = list(_level(open_blocks))
    for at in range(place + 1, len(sentences)):
        text, inner = sentences[at], open_blocks[inside:]
        outside = not any(one.endswith("{") for one in inner)
        if outside and (text == "}" or (text in outer and text not in inner)):
            return at
        _move(open_blocks, text)
    return len(sentences)


def _move(open_blocks: list[str], text: str) -> None:
    """Update the list of open bullets and braces after a sentence."""
    if text == "}":
        while open_blocks and not open_blocks.pop().endswith("{"):
            pass
    elif is_brace(text):
        open_blocks.append(text)
    elif is_bullet(text):
        if text in _level(open_blocks):
            while open_blocks[-1] != text:
                open_blocks.pop()
        else:
            open_blocks.append(text)


def _level(open_blocks: Sequence[str]) -> Sequence[str]:
    """Return the open bullets within the innermost brace."""
    braces = [place for place, one in enumerate(open_blocks) if one.endswith("{")]
    return open_blocks[braces[-1] + 1 :] if braces else open_blocks


def _end(plain: str, place: int) -> int | None:
    """Return the end of the sentence that begins at a position, or None if the sentence is not closed."""
    for special in (_BULLET, _BRACE):
        if found := special.match(plain, place):
            return found.end()
    quoted, at = False, place
    while at < len(plain):
        if plain[at] == '"':
            quoted = not quoted
        elif plain[at] == "." and not quoted:
            dots = at
            while dots < len(plain) and plain[dots] == ".":
                dots += 1
            if dots - at != 2 and (dots == len(plain) or plain[dots].isspace()):
                return dots
            at = dots - 1
        at += 1
    return None


def _without_comments(text: str) -> str:
    """Replace comments, which may be nested, with blanks of the same length."""
    result, depth, at, begun, quoted = list(text), 0, 0, 0, False
    while at < len(text):
        pair = text[at : at + 2]
        if text[at] == '"':
            quoted, begun = not quoted, at if not (depth or quoted) else begun
            width = 1
        elif not quoted and pair == "(*":
            begun = begun if depth else at
            depth, width = depth + 1, 2
        elif not quoted and depth and pair == "*)":
            result[at : at + 2] = "  "
            depth, at = depth - 1, at + 2
            continue
        else:
            width = 1
        if depth:
            result[at : at + width] = [one if one == "\n" else " " for one in text[at : at + width]]
        at += width
    if depth or quoted:
        line, column = _position(text, begun)
        what = "comment" if depth else "text in quotes"
        raise FormatError(f"the {what} that begins in line {line}, column {column} does not end")
    return "".join(result)


def _position(text: str, place: int) -> tuple[int, int]:
    return text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
