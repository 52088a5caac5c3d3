"""Completions with code blocks: each block is run as soon as it is complete, and its output is fed back."""

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
"""The stop string of a turn: the end of a code block."""
OUTPUT: Final = f"{FENCE}output"
"""The start of an output block, which also ends a turn: the model must not write outputs itself."""
WITH_BLOCK: Final = r"[^`]*(```python\n[^`]+\n```\n)?"
"""A turn with complete blocks: text, optionally followed by one block of Python."""
WITHOUT_BLOCK: Final = r"[^`]*"
"""A turn without blocks."""


@dataclass(frozen=True)
class Transcript:
    """A text with code blocks that is in progress.

    Attributes
    ----------
    state : State
        The text, including outputs.
    seen : int
        Number of the text's pieces that have already been searched for blocks.
    cells : tuple of str
        The blocks that later ones build on: all blocks that did not hit a limit.
    results : tuple of ToolResult
        The result of each block that was run.
    over : bool
        If true, the text does not continue.
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
        """The text after the last output."""
        return "".join([piece.text for piece in self.state.pieces[self.seen :]])

    def append(self, text: str) -> Transcript:
        """Append text supplied by the method, in which blocks may begin."""
        return replace(self, state=self.state.append(text), over=False)

    def written(self, state: State) -> Transcript:
        """Return the transcript with a model's continuation; it is over if there is no block to run at the end."""
        went_on = replace(self, state=state)
        cut = state.why in (*CUT, "error", "closed")
        return replace(went_on, over=cut or (state.why == "end" and block_of(went_on.fresh) is None))

    def answered(self, cell: str, result: ToolResult, most: int) -> Transcript:
        """Append a block's output, shortened to at most `most` characters."""
        fresh = self.fresh
        opening = "\n" if fresh.endswith(OUTPUT) else f"{OUTPUT}\n" if fresh.endswith("\n") else f"\n{OUTPUT}\n"
        output = shorten(result.text.rstrip("\n"), most) or "(no output)"
        state = self.state.append(f"{opening}{output}\n{FENCE}\n", special=False)
        kept = (*self.cells, cell) if result.ended in ("ok", "error") else self.cells
        return replace(self, state=state, seen=len(state.pieces), cells=kept, results=(*self.results, result))


def block_of(text: str) -> str | None:
    """Return the first complete Python block in a text, without its fences, or None if there is none.

    A block begins on a line with a fence and `python` or `py`, and ends at the next line that begins with a fence.
    Blocks in other languages are skipped.
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
    """Continue transcripts in parallel, run each Python block as soon as it is complete, and feed its output back.

    A block sees the variables of earlier blocks. A transcript is over when the model ends it without a block, when it
    is cut off by a cap, when more than `repairs` of its blocks have failed, or after `rounds` turns; then it gets one
    more turn, without code, for its answer. If the budget is exhausted, transcripts are returned as they are.

    Parameters
    ----------
    rounds : int
        Maximum number of code turns.
    repairs : int
        Maximum number of failing blocks per text, including blocks that hit a limit.
    seconds : float
        Wall-time limit for a block together with the blocks before it, in seconds.
    output : int
        Maximum number of characters of output that are fed back.
    tool : str
        The tool that runs code, with the inputs of `intact.reason.tools.python`.
    constrained : bool
        If true, a regular expression keeps blocks well-formed; the text then contains no other backticks.
    one_block : bool
        If true, a transcript is over after its first block that does not fail, and the turn without code is omitted.
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
            for place in going:  # one by one: a batch that the budget cannot cover would give no result at all
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
