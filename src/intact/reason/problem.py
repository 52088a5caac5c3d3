"""A problem, the texts on the way to its answer, and the answer: the values that methods take, extend and return."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from intact._base.markup.answers import result_html
from intact._base.markup.render import quoted
from intact.engine.sampling.spread import Spread
from intact.numerics.sampling import LOGPROB_SCALE, branch_key
from intact.reason.budget import Cost
from intact.reason.closeness import Closeness
from intact.text.thinking import answer_part

if TYPE_CHECKING:
    from intact.reason.weighted import Weighted
    from intact.receipts.document import AnyReceipt

Prompt: TypeAlias = str | tuple[tuple[str, str], ...]
"""A text as it is, or a conversation: pairs of role and content."""

Branch: TypeAlias = tuple[str | int, ...]
"""A place in the tree of texts: the problem's identifier, then which child of which child. Draws are keyed by it."""

Why = Literal[
    "", "end", "closed", "stop", "uncertain", "unlikely", "length", "context", "cancelled", "budget", "error"
]  # fmt: skip
"""Why writing paused: not begun, an end token, a stop string of the user's, one of the request's, a token less likely
than `stop_below`, a mean below `stop_mean_below`, `max_tokens`, no room in the context, a lost race, a budget that is
spent, an error."""

CUT = ("unlikely", "length", "context", "budget", "cancelled")
"""Stop reasons of texts that were cut: by `stop_mean_below`, a cap on tokens, the context's end, a budget, a lost
race."""

SPENT = ("budget", "context")
"""Stop reasons of texts for which the budget or the context had no more room."""

Top: TypeAlias = tuple[tuple[str, int], ...]


class Hidden(NamedTuple):
    """The input of a model's head: its final hidden state, behind the text before a token.

    Attributes
    ----------
    model : str
        The identity of the back end whose it is.
    data : str
        Its bytes in hexadecimal (`Executor.head_inputs`).
    """

    model: str
    data: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a text: what a model wrote in one go, or what a method appended.

    Attributes
    ----------
    text : str
        All of it, the request's stop string that ended it included; an end token has no text, nor has what comes with a
        stop string of the user's.
    tokens : tuple of int
        What was drawn, the end token included. Empty for text that was appended, and where a back end tells no tokens.
    logprobs : tuple of int
        Natural log-probability of each token under the model at temperature 1, times 2^24.
    top : tuple
        For each token the likeliest ones there, as (text, log-probability times 2^24), if asked for.
    model : str or None
        Who wrote it, by the name that `Extend.model` gave; None: it was appended.
    special : bool
        Of appended text: whether control tokens written in it count as such.
    hidden : Hidden or None
        What the last token was drawn from, if asked for.
    spread : tuple of Spread
        For each token the entropy and the certainty of the model's whole distribution there, if asked for.
    """

    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[int, ...] = ()
    top: tuple[Top, ...] = ()
    model: str | None = None
    special: bool = True
    hidden: Hidden | None = None
    spread: tuple[Spread, ...] = ()

    def __repr__(self) -> str:
        author = "appended" if self.model is None else f"{self.model}, {len(self.tokens)} tokens"
        return f"Piece({quoted(self.text)}, {author})"


@dataclass(frozen=True, slots=True)
class State:
    """A prompt and what follows it. Forking it costs nothing: extend it twice, and there are two.

    Made by `Problem.start`; the driver makes new ones by extending others. What a model wrote is kept as tokens and
    never tokenised again.

    Attributes
    ----------
    why : Why
        Why the last extension ended.
    error : str
        What went wrong, where `why` is 'error'.
    thinking : str
        The mark that the model's prompt begins the text's thoughts with (`intact.text.thinking.prompt_mark`); empty
        where it does not, and before a model has written.
    """

    prompt: Prompt
    branch: Branch
    pieces: tuple[Piece, ...] = ()
    why: Why = ""
    error: str = ""
    thinking: str = ""

    def __repr__(self) -> str:
        return (
            f"State({quoted(path(self.branch))}, {quoted(self.text)}, {self.why or 'not begun'}, {self.length} tokens)"
        )

    @property
    def text(self) -> str:
        """Everything after the prompt."""
        return "".join([piece.text for piece in self.pieces])

    @property
    def answer_part(self) -> str | None:
        """The text behind the thoughts (`intact.text.thinking.answer_part`); None if it ends within them."""
        return answer_part(self.text, self.thinking)

    @property
    def last(self) -> str:
        """The text of the last piece: the newest step."""
        return self.pieces[-1].text if self.pieces else ""

    @property
    def tokens(self) -> tuple[int, ...]:
        """All tokens that models wrote."""
        return tuple([token for piece in self.pieces for token in piece.tokens])

    @property
    def logprobs(self) -> tuple[int, ...]:
        """Log-probability of each of `tokens`, times 2^24."""
        return tuple([value for piece in self.pieces for value in piece.logprobs])

    @property
    def top(self) -> tuple[Top, ...]:
        """The likeliest tokens at each of `tokens`, where `top_logprobs` asked for them."""
        return tuple([likeliest for piece in self.pieces for likeliest in piece.top])

    @property
    def spread(self) -> tuple[Spread, ...]:
        """The spread of the distribution at each of `tokens`, where it was asked for."""
        return tuple([spread for piece in self.pieces for spread in piece.spread])

    @property
    def length(self) -> int:
        """The number of tokens that models wrote."""
        return sum([len(piece.tokens) for piece in self.pieces])

    @property
    def logprob(self) -> float:
        """Natural log-probability of everything written."""
        return sum([sum(piece.logprobs) for piece in self.pieces]) / LOGPROB_SCALE

    @property
    def mean_logprob(self) -> float:
        """`logprob` per token; 0 where nothing was written."""
        return self.logprob / max(1, self.length)

    @property
    def complete(self) -> bool:
        """If true, the model came to an end of its own: an end token or a stop string."""
        return self.why in ("end", "closed", "stop")

    @property
    def ended(self) -> bool:
        """If true, nothing follows: an end token, the user's stop string, `unlikely`, the context's end, an error."""
        return self.why in ("end", "closed", "unlikely", "context", "error")

    @property
    def broken_off(self) -> bool:
        """If true, the budget or an error ended the text: what there is of a program or a proof is none."""
        return self.why in ("budget", "error")

    def append(self, text: str, *, special: bool = True) -> State:
        """Add text of one's own, such as "Wait"; an end token at the end is taken away, so that writing goes on.

        To what broke off with an error nothing is added: nobody knows where it was going. Where a stop string of the
        user's ended the text, the last piece is kept as text alone, without what came with that string.

        Parameters
        ----------
        special : bool
            Whether control tokens written in the text (``</think>``) count as such; not for text from elsewhere.
        """
        if self.why == "error":
            return self
        pieces = self.pieces
        if self.why == "end" and pieces and pieces[-1].tokens:
            last = pieces[-1]
            kept = replace(last, tokens=last.tokens[:-1], logprobs=last.logprobs[:-1], top=last.top[:-1])
            pieces = (*pieces[:-1], replace(kept, spread=last.spread[:-1]))
        elif self.why == "closed" and pieces:
            pieces = (*pieces[:-1], replace(pieces[-1], tokens=(), logprobs=(), top=(), spread=()))
        return State(self.prompt, self.branch, (*pieces, Piece(text, special=special)), thinking=self.thinking)

    def prefixes(self, delimiter: str) -> list[State]:
        """Return the text after each of its steps, for scorers, the whole last. These have texts, but no tokens."""
        steps = self.text.split(delimiter)
        texts = [delimiter.join(steps[: i + 1]) + delimiter * (i + 1 < len(steps)) for i in range(len(steps))]
        if len(texts) > 1 and not steps[-1]:
            texts.pop()  # the text ends with a delimiter
        whole = State(self.prompt, self.branch, why="stop", thinking=self.thinking)
        return [*(replace(whole, pieces=(Piece(text, special=False),)) for text in texts[:-1]), self]

    def ask(self, prompt: str | Sequence[Mapping[str, str]] | Prompt) -> State:
        """Begin anew with another prompt at this place of the tree, such as a question about this text."""
        return State(as_prompt(prompt), self.branch)


def as_prompt(prompt: str | Sequence[Mapping[str, str]] | Prompt) -> Prompt:
    """Return a prompt as a value: a text, or pairs of role and content."""
    if isinstance(prompt, str):
        return prompt
    return tuple([(turn["role"], turn["content"]) if isinstance(turn, Mapping) else turn for turn in prompt])


def whole_text(text: str) -> str | None:
    """Take a text itself as its answer, without the white space around it; none, if it is empty."""
    return text.strip() or None


@dataclass(frozen=True)
class Problem:
    """A question, and how an answer is read.

    Attributes
    ----------
    id : str
        Its name; draws depend on it, never on the problem's place among others.
    prompt : Prompt
        A text, or a conversation.
    read : callable
        The canonical answer in a text, or None where there is none. Answers are the same if these texts are. It is
        given texts without their thoughts (`answer`).
    read_cut : callable, optional
        The same of a text that was cut (`CUT`): the last number of such a text is no answer. By default `read`.
    data : mapping
        What else a method may know, such as tests that are public. Never the solution.
    seed : int
        With the place in the tree the key of all draws.
    branch : tuple
        The root of the tree; by default the id. The driver gives sub-methods roots of their own.
    """

    id: str
    prompt: Prompt
    read: Callable[[str], str | None] = whole_text
    data: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    branch: Branch = ()
    read_cut: Callable[[str], str | None] | None = None

    def __repr__(self) -> str:
        text = self.prompt if isinstance(self.prompt, str) else self.prompt[-1][1] if self.prompt else ""
        return f"Problem({quoted(self.id)}, {quoted(text)}, seed={self.seed})"

    @property
    def root(self) -> Branch:
        """The root of the tree of texts."""
        return self.branch or (self.id,)

    @property
    def start(self) -> State:
        """The prompt, with nothing written yet."""
        return State(self.prompt, self.root)

    def ask(self, prompt: str | Sequence[Mapping[str, str]] | Prompt) -> State:
        """Begin with another prompt than the problem's own."""
        return State(as_prompt(prompt), self.root)

    def key(self, *path: str | int) -> int:
        """Return a 64-bit key for a method's own randomness, such as ``key("resample", step)``; begin with a word."""
        return branch_key(self.seed, (*self.root, *path))

    def answer(self, state: State) -> str | None:
        """Return the answer in a state's text, behind its thoughts.

        A text that broke off with an error, or within its thoughts, has none.
        """
        text = None if state.why == "error" else state.answer_part
        if text is None:
            return None
        read = self.read_cut if self.read_cut is not None and state.why in CUT else self.read
        return read(text)

    def answers(self, states: Sequence[State]) -> list[str | None]:
        """Return the answer in each state's text."""
        return [self.answer(state) for state in states]


@dataclass(frozen=True)
class Answer:
    """The answer that a method returns.

    Attributes
    ----------
    answer : str or None
        The canonical answer, as `Problem.read` gives it.
    votes : mapping of str to float
        Every answer that was considered, with its weight, the largest first.
    confidence : float or None
        The method's own estimate that the answer is right, in [0, 1]. Of a vote it is the answer's share of the weight
        of all texts, those included that give no answer; a text that a budget, an error or a lost race has cut before
        it gave one says nothing.
    chosen : State or None
        The text that the answer is taken from.
    details : mapping
        What else is worth keeping, as JSON could.
    population : Weighted or None
        The weighted texts that were decided upon, where the method is a composition; no record holds it.
    """

    answer: str | None
    votes: Mapping[str, float] = field(default_factory=dict)
    confidence: float | None = None
    chosen: State | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    population: Weighted[Any] | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return f"Answer({_short_answer(self)})"

    @property
    def closeness(self) -> Closeness | None:
        """The closeness of the vote that elected the answer; None if there was none."""
        return Closeness.of(self.votes, self.answer)


Conclusion = Literal["done", "spent", "failed"]


@dataclass(frozen=True)
class Result:
    """A problem's answer, with all that led to it.

    Attributes
    ----------
    why : {'done', 'spent', 'failed'}
        The method came to its end; its budget, or the context for its prompts, was spent, and this is the best so far;
        or it raised `error`: then the answer is a vote of the texts that there are, which the method never gave, and is
        never graded as right.
    trace : mapping
        The tree of texts (docs/reasoning.md), as JSON has it.
    caveats : tuple of str
        What the back end cannot promise.
    receipt : RunReceipt or None
        By which others can verify it all (docs/receipts.md, Runs); None unless asked for.
    """

    id: str
    method: str
    answer: Answer
    cost: Cost
    why: Conclusion = "done"
    error: str = ""
    trace: Mapping[str, Any] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()
    receipt: AnyReceipt | None = None

    def __repr__(self) -> str:
        error = f", {quoted(self.error)}" if self.error else ""
        return f"Result({self.method}, {_short_answer(self.answer)}, {self.cost.tokens} tokens, {self.why}{error})"

    def _repr_html_(self) -> str:
        """Return it for a notebook."""
        return result_html(self)

    def as_dict(self, trace: bool = False) -> dict[str, Any]:
        """Return the result as JSON has it; numbers of details that are infinite, or none, are null."""
        chosen = self.answer.chosen
        value: dict[str, Any] = {
            "id": self.id,
            "method": self.method,
            "answer": self.answer.answer,
            "votes": dict(self.answer.votes),
            "confidence": self.answer.confidence,
            "text": None if chosen is None else chosen.text,
            "details": without_infinities(dict(self.answer.details)),
            "cost": self.cost.as_dict(),
            "why": self.why,
            "error": self.error,
            "caveats": list(self.caveats),
        }
        return value | ({"trace": dict(self.trace)} if trace else {})


def without_infinities(value: Any) -> Any:
    """Return a value with None for every number in it that JSON cannot write."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: without_infinities(one) for name, one in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return [without_infinities(one) for one in value]
    return value


def _short_answer(answer: Answer) -> str:
    """Return an answer on one line, and how close the vote was."""
    if answer.answer is None:
        return "no answer"
    closeness = answer.closeness
    return quoted(answer.answer) if closeness is None else f"{quoted(answer.answer)}, {closeness}"


def path(branch: Branch) -> str:
    """Return a branch as one text."""
    return "/".join(map(str, branch))
