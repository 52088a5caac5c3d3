"""Texts with blocks of code: each block is run where it ends, and its output is fed back, until the text is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from intact._base.errors import SpentError
from intact.reason.problem import CUT, State
from intact.reason.registry import Part
from intact.reason.requests import Extend, Use
from intact.reason.tool import ToolResult, shorten

FENCE: Final = "```"
LANGUAGES: Final = ("python", "py")
CLOSES: Final = f"\n{FENCE}\n"
"""The stop mark of a turn: a block of code is over."""
OUTPUT: Final = f"{FENCE}output"
"""The mark of a block of output, at which a turn stops too: a model shall not write outputs itself."""
WITH_BLOCK: Final = r"[^`]*(```python\n[^`]+\n```\n)?"
"""A turn whose blocks are whole: text, then perhaps one block of Python."""
WITHOUT_BLOCK: Final = r"[^`]*"
"""A turn without blocks."""


@dataclass(frozen=True)
class Transcript:
    """A text with blocks of code, as far as it has come.

    Attributes
    ----------
    state : State
        The text, outputs included.
    seen : int
        The pieces of the text in which no block is looked for any more.
    cells : tuple of str
        The blocks that later ones build on: those that did not run into a limit.
    results : tuple of ToolResult
        What became of each block that was run.
    over : bool
        If true, nothing follows.
    """

    state: State
    seen: int = 0
    cells: tuple[str, ...] = ()
    results: tuple[ToolResult, ...] = ()
    over: bool = False

    @property
    def failed(self) -> int:
        """The number of blocks that failed."""
        return sum(not result.ok for result in self.results)

    @property
    def fresh(self) -> str:
        """The text behind the last output."""
        return "".join([piece.text for piece in self.state.pieces[self.seen :]])

    def append(self, text: str) -> Transcript:
        """Return it with a text of the method's own, in which blocks may begin."""
        return replace(self, state=self.state.append(text), over=False)

    def written(self, state: State) -> Transcript:
        """Return it with a text that a model has gone on with; it is over where that ends without a block to run."""
        went_on = replace(self, state=state)
        cut = state.why in (*CUT, "error", "closed")
        return replace(went_on, over=cut or (state.why == "end" and block_of(went_on.fresh) is None))

    def answered(self, cell: str, result: ToolResult, most: int) -> Transcript:
        """Return it with the output of a block behind it, of at most so many characters."""
        fresh = self.fresh
        opening = "\n" if fresh.endswith(OUTPUT) else f"{OUTPUT}\n" if fresh.endswith("\n") else f"\n{OUTPUT}\n"
        output = shorten(result.text.rstrip("\n"), most) or "(no output)"
        state = self.state.append(f"{opening}{output}\n{FENCE}\n", special=False)
        kept = (*self.cells, cell) if result.ended in ("ok", "error") else self.cells
        return replace(self, state=state, seen=len(state.pieces), cells=kept, results=(*self.results, result))


def block_of(text: str) -> str | None:
    """Return the first whole block of Python in a text, without its fences, or None.

    A block begins at a line of a fence and `python` or `py`, and ends at the next line that begins with a fence.
    Blocks of other languages are passed over.
    """
    language, lines = None, list[str]()
    for line in text.split("\n"):
        if not line.lstrip().startswith(FENCE):
            lines.append(line)
        elif language is None:
            language, lines = line.strip().strip("`").strip().lower(), []
        elif language in LANGUAGES:
            return "\n".join(lines)
        else:
            language = None
    return None


def interpret(
    begun: Sequence[Transcript],
    *,
    rounds: int,
    repairs: int,
    seconds: float,
    output: int,
    tool: str = "python",
    constrained: bool = False,
    one_block: bool = False,
) -> Part[list[Transcript]]:
    """Go on with texts side by side, run each block of Python where it ends, and feed its output back.

    A block finds the variables of those before it. A text is over when the model ends it behind no block, when a cap
    cuts it, when more than `repairs` of its blocks failed, or after `rounds` turns; then it has one more, without code,
    for its answer. Where the budget is spent, texts are returned as they are.

    Parameters
    ----------
    rounds : int
        The most turns with code.
    repairs : int
        The most blocks of a text that may fail, those that ran into a limit included.
    seconds : float
        Wall time of a block together with all before it.
    output : int
        Characters of an output that are fed back.
    tool : str
        Which tool runs code, with the inputs of `intact.reason.tools.python`.
    constrained : bool
        If true, a regular expression keeps blocks well-formed; the text has no other backticks then.
    one_block : bool
        If true, a text is over at its first block that does not fail, and there is no turn without code.
    """
    texts = list(begun)
    try:
        for turn in range(rounds if one_block else rounds + 1):
            going = [place for place, one in enumerate(texts) if not one.over]
            if not going:
                break
            last = turn == rounds
            stop = (FENCE,) if last else (CLOSES, OUTPUT)
            regex = None if not constrained else WITHOUT_BLOCK if last else WITH_BLOCK
            states = yield [Extend(texts[place].state, stop=stop, regex=regex) for place in going]
            for place, state in zip(going, states, strict=True):
                texts[place] = replace(texts[place].written(state), over=True) if last else texts[place].written(state)
            for place in going:  # one by one: of several together that cannot all be paid none would count
                one = texts[place]
                cell = None if one.over else block_of(one.fresh)
                if cell is None:
                    continue
                result = yield Use(tool, {"code": cell, "before": list(one.cells), "seconds": seconds})
                texts[place] = one.answered(cell, result, output)
                if texts[place].failed > repairs or (one_block and result.ok):
                    texts[place] = replace(texts[place], over=True)
    except SpentError:
        pass
    return texts
