"""Problems, partial texts and answers: the values that methods take, extend and return."""

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
"""Plain text, or a conversation: pairs of role and content."""

Branch: TypeAlias = tuple[str | int, ...]
"""A place in the tree of texts: the problem's identifier, then the child's index at each level. It keys random draws.
"""

Why = Literal[
    "", "end", "closed", "stop", "uncertain", "unlikely", "length", "context", "cancelled", "budget", "error"
]  # fmt: skip
"""The stop reason of a text. In order: not begun, an end token, a user's stop string, the request's stop string, a
token less likely than `stop_below`, a mean below `stop_mean_below`, `max_tokens`, no room in the context, a lost race,
a spent budget, an error.
"""

CUT = ("unlikely", "length", "context", "budget", "cancelled")
"""Stop reasons of texts that were cut off: by `stop_mean_below`, a cap on tokens, the context, a budget or a lost race.
"""

SPENT = ("budget", "context")
"""Stop reasons of texts that used up the budget or the context."""

Top: TypeAlias = tuple[tuple[str, int], ...]


class Hidden(NamedTuple):
    """The input of a model's head: its final hidden state before a token is sampled.

    Attributes
    ----------
    model : str
        The identity of the back end.
    data : str
        The hidden state's bytes in hexadecimal (`Executor.head_inputs`).
    """

    model: str
    data: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a sequence: a continuous piece of model output, or text that a method appended.

    Attributes
    ----------
    text : str
        The text, including the request's stop string if one ended it. An end token has no text, and a user's stop
        string is left out with everything after it.
    tokens : tuple of int
        The sampled tokens, including the end token. Empty for appended text, and if the back end does not report
        tokens.
    logprobs : tuple of int
        Natural log-probability of each token under the model at temperature 1, times 2^24.
    top : tuple
        The likeliest tokens at each position, as (text, log-probability times 2^24), if requested.
    model : str or None
        The model that wrote the text, by the name given in `Extend.model`; None for appended text.
    special : bool
        If true, control tokens written in appended text are treated as control tokens.
    hidden : Hidden or None
        The hidden state from which the last token was sampled, if requested.
    spread : tuple of Spread
        Entropy and certainty of the model's full distribution at each position, if requested.
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
    """A prompt and its continuation so far. Forking is free: extend a state twice, and there are two.

    `Problem.start` makes the first state; the driver makes new states by extending others. Model output is kept as
    tokens and never tokenised again.

    Attributes
    ----------
    why : Why
        The stop reason of the last extension.
    error : str
        The error message, if `why` is 'error'.
    thinking : str
        The marker with which the model's prompt opens the thinking (`intact.text.thinking.prompt_mark`); empty if it
        does not open the thinking, and before a model has generated any text.
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
        """The text after the thinking (`intact.text.thinking.answer_part`); None if the text ends during thinking."""
        return answer_part(self.text, self.thinking)

    @property
    def last(self) -> str:
        """The text of the last piece: the newest step."""
        return self.pieces[-1].text if self.pieces else ""

    @property
    def tokens(self) -> tuple[int, ...]:
        """All tokens generated by models."""
        return tuple([token for piece in self.pieces for token in piece.tokens])

    @property
    def logprobs(self) -> tuple[int, ...]:
        """Log-probability of each of `tokens`, times 2^24."""
        return tuple([value for piece in self.pieces for value in piece.logprobs])

    @property
    def top(self) -> tuple[Top, ...]:
        """The likeliest tokens at each of `tokens`, if requested by `top_logprobs`."""
        return tuple([likeliest for piece in self.pieces for likeliest in piece.top])

    @property
    def spread(self) -> tuple[Spread, ...]:
        """The spread of the distribution at each of `tokens`, if requested."""
        return tuple([spread for piece in self.pieces for spread in piece.spread])

    @property
    def length(self) -> int:
        """The number of tokens generated by models."""
        return sum([len(piece.tokens) for piece in self.pieces])

    @property
    def logprob(self) -> float:
        """Natural log-probability of all tokens generated by models."""
        return sum([sum(piece.logprobs) for piece in self.pieces]) / LOGPROB_SCALE

    @property
    def mean_logprob(self) -> float:
        """`logprob` per token; 0 if no tokens were generated."""
        return self.logprob / max(1, self.length)

    @property
    def complete(self) -> bool:
        """If true, the model ended the text itself, with an end token or a stop string."""
        return self.why in ("end", "closed", "stop")

    @property
    def ended(self) -> bool:
        """If true, the text cannot continue: end token, user's stop string, `unlikely`, full context or error."""
        return self.why in ("end", "closed", "unlikely", "context", "error")

    @property
    def broken_off(self) -> bool:
        """If true, the budget or an error ended the text: any program or proof in it is incomplete."""
        return self.why in ("budget", "error")

    def append(self, text: str, *, special: bool = True) -> State:
        """Append text, such as "Wait"; a trailing end token is removed so that the model can continue.

        A state that ended with an error is returned unchanged, since its text is incomplete. If a user's stop string
        ended the text, the last piece is kept as plain text without the stop string.

        Parameters
        ----------
        special : bool
            If true, control tokens written in the text (``</think>``) are treated as control tokens; never set it for
            untrusted text.
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
        """Return the text after each of its steps, for scorers; the last is the whole text, and only it has tokens."""
        steps = self.text.split(delimiter)
        texts = [delimiter.join(steps[: i + 1]) + delimiter * (i + 1 < len(steps)) for i in range(len(steps))]
        if len(texts) > 1 and not steps[-1]:
            texts.pop()  # the text ends with the delimiter
        whole = State(self.prompt, self.branch, why="stop", thinking=self.thinking)
        return [*(replace(whole, pieces=(Piece(text, special=False),)) for text in texts[:-1]), self]

    def ask(self, prompt: str | Sequence[Mapping[str, str]] | Prompt) -> State:
        """Start a new prompt at this place in the tree, such as a question about this text."""
        return State(as_prompt(prompt), self.branch)


def as_prompt(prompt: str | Sequence[Mapping[str, str]] | Prompt) -> Prompt:
    """Return a prompt as an immutable value: a string, or pairs of role and content."""
    if isinstance(prompt, str):
        return prompt
    return tuple([(turn["role"], turn["content"]) if isinstance(turn, Mapping) else turn for turn in prompt])


def whole_text(text: str) -> str | None:
    """Return the stripped text itself as its answer; None if it is empty."""
    return text.strip() or None


@dataclass(frozen=True)
class Problem:
    """A question, and the function that reads an answer from a completion.

    Attributes
    ----------
    id : str
        Identifier; random draws depend on it, never on the problem's position among others.
    prompt : Prompt
        Plain text or a conversation.
    read : callable
        Returns the canonical answer in a completion, or None if there is none. Answers are equal if these strings are
        equal. It receives completions without their thinking (`answer`).
    read_cut : callable, optional
        The same for a completion that was cut off (`CUT`): its last number, for example, is not an answer. By default
        `read`.
    data : mapping
        Further information for methods, such as public tests, but never the solution.
    seed : int
        Together with the place in the tree, the key for all random draws.
    branch : tuple
        The root of the tree; by default the id. The driver gives each sub-method a root of its own.
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
        """The prompt, with no continuation yet."""
        return State(self.prompt, self.root)

    def ask(self, prompt: str | Sequence[Mapping[str, str]] | Prompt) -> State:
        """Start a prompt other than the problem's own."""
        return State(as_prompt(prompt), self.root)

    def key(self, *path: str | int) -> int:
        """Return a 64-bit key for a method's own draws, such as ``key("resample", step)``; the first part is a word."""
        return branch_key(self.seed, (*self.root, *path))

    def answer(self, state: State) -> str | None:
        """Return the answer in a state's text, after its thinking.

        A text that ended with an error or during thinking has no answer.
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
        The canonical answer, as returned by `Problem.read`.
    votes : mapping of str to float
        Every answer that was considered, with its weight, in descending order.
    confidence : float or None
        The method's own estimate, in [0, 1], that the answer is right. For a vote, the answer's share of the weight of
        all completions, including completions without an answer but not those that a budget, an error or a lost race
        cut off before they gave one.
    chosen : State or None
        The completion from which the answer is taken.
    details : mapping
        Further details, as JSON values.
    population : Weighted or None
        The weighted completions behind the decision, if the method is a composition; not recorded.
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
        """The closeness of the vote that elected the answer; None if there was no vote."""
        return Closeness.of(self.votes, self.answer)


Conclusion = Literal["done", "spent", "failed"]


@dataclass(frozen=True)
class Result:
    """A problem's answer with its cost and trace.

    Attributes
    ----------
    why : {'done', 'spent', 'failed'}
        done: the method finished; spent: its budget, or the context for its prompts, was exhausted, and this is the
        best answer so far; failed: it raised `error`, and the answer is only a vote over the existing completions,
        which is never graded as right.
    trace : mapping
        The tree of completions (docs/reasoning.md), as JSON values.
    caveats : tuple of str
        Guarantees that the back end cannot give.
    receipt : RunReceipt or None
        A receipt with which others can verify the run (docs/spec/receipts.md, Runs); None unless requested.
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
        """Return the result as HTML for a notebook."""
        return result_html(self)

    def as_dict(self, trace: bool = False) -> dict[str, Any]:
        """Return the result as a JSON-serialisable dict; infinities and NaNs in details become None."""
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
    """Replace every number that JSON cannot represent with None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: without_infinities(one) for name, one in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return [without_infinities(one) for one in value]
    return value


def _short_answer(answer: Answer) -> str:
    """Format an answer on one line, with the closeness of the vote."""
    if answer.answer is None:
        return "no answer"
    closeness = answer.closeness
    return quoted(answer.answer) if closeness is None else f"{quoted(answer.answer)}, {closeness}"


def path(branch: Branch) -> str:
    """Format a branch as a string."""
    return "/".join(map(str, branch))
