"""Prompts and pieces as tokens of a tokenizer of ours, and what was drawn as text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property

from intact.clock import DEFAULT_NOW
from intact.engine.job import Job
from intact.engine.sequence import Finish
from intact.reason.backends.base import Cut, Written
from intact.reason.state import Piece, Prompt, State, Top, Why
from intact.text import Tokenizer


class Texts:
    """Both directions, for one tokenizer and a context of so many tokens.

    Parameters
    ----------
    now : datetime
        The time that a chat template is told which asks for it.
    """

    def __init__(self, tokenizer: Tokenizer, context: int, now: datetime = DEFAULT_NOW) -> None:
        self._tokenizer, self._context, self._now = tokenizer, context, now
        self._encoded: dict[Prompt | tuple[str, bool], tuple[int, ...]] = {}
        self._words: dict[int, str] = {}

    @cached_property
    def vocabulary(self) -> str:
        """Digest of the tokens' texts."""
        digest = hashlib.sha256()
        for token in range(self._tokenizer.size):
            text = self._tokenizer.token_bytes(token)
            digest.update(len(text).to_bytes(4, "little") + text)
        return digest.hexdigest()

    def tokens(self, part: Prompt | Piece) -> tuple[int, ...]:
        """The tokens of a prompt or a piece.

        Raises
        ------
        ParameterError
            If a conversation is asked of a model without a chat template, or it cannot fit the context.
        """
        if isinstance(part, Piece) and part.tokens:
            return part.tokens
        known: Prompt | tuple[str, bool] = (part.text, part.special) if isinstance(part, Piece) else part
        if known not in self._encoded:
            self._encoded[known] = tuple(self._encode(part))
        return self._encoded[known]

    @property
    def asks_time(self) -> bool:
        """Whether the chat template asks for the time."""
        template = self._tokenizer.chat_template
        return template is not None and template.dated

    def render(self, prompt: Prompt) -> str:
        """Return the text that is tokenised for a prompt; errors as of `Tokenizer.render_chat`."""
        if isinstance(prompt, str):
            return prompt
        return self._tokenizer.render_chat([{"role": r, "content": text} for r, text in prompt], now=self._now)

    def dated(self, prompt: Prompt) -> str:
        """Digest of a prompt's tokens where the chat template asks for the date; else nothing."""
        if isinstance(prompt, str) or not self.asks_time:
            return ""
        return hashlib.sha256(repr(self.tokens(prompt)).encode()).hexdigest()

    def context(self, state: State) -> list[int]:
        """The tokens of a prompt and all that follows."""
        tokens = list(self.tokens(state.prompt))
        for piece in state.pieces:
            tokens += self.tokens(piece)
        return tokens

    def written(self, job: Job, sample: int, state: State) -> Written:
        """What a sample wrote, that goes on from a state."""
        writer = job._writer(sample)
        error = "" if writer.error is None else f"{type(writer.error).__name__}: {writer.error}"
        told = self.told(state, tuple(writer.tokens), tuple(writer.logprobs), writer.finish or "cancelled")
        return told._replace(top=self.likeliest(writer.top), error=error)

    def likeliest(self, places: Sequence[Sequence[tuple[int, int]]]) -> tuple[Top, ...]:
        """The likeliest tokens at each place by their texts."""
        words = self._words
        for token in {token for place in places for token, _ in place} - words.keys():
            words[token] = self._word(token)
        return tuple([tuple([(words[token], value) for token, value in place]) for place in places])

    def told(self, state: State, tokens: tuple[int, ...], logprobs: tuple[int, ...], finish: Finish) -> Written:
        """What tokens say that go on from a state."""
        ended = finish == "stop" and tokens and tokens[-1] in self._tokenizer.eos_ids
        why: Why = "end" if ended else finish
        return Written(self._text(state, tokens, why), tokens, logprobs, (), why)

    def cut(self, state: State, written: Written, tokens: int, why: Cut) -> Written:
        """The first so many tokens of what was written after a state."""
        told = self.told(state, written.tokens[:tokens], written.logprobs[:tokens], why)
        return told._replace(top=written.top[:tokens])

    def _encode(self, part: Prompt | Piece) -> list[int]:
        if isinstance(part, Piece):
            return self._tokenizer.encode(part.text, special=part.special, bos=False)
        if isinstance(part, str):
            return self._tokenizer.encode(part, most=self._context)
        return self._tokenizer.encode(self.render(part), bos=False, most=self._context)

    def _word(self, token: int) -> str:
        known = token < self._tokenizer.size
        return self._tokenizer.token_bytes(token).decode("utf-8", "replace") if known else ""

    def _text(self, state: State, tokens: tuple[int, ...], why: Why) -> str:
        """The text of new tokens: of a character that two pieces share, the second has all."""
        before: list[int] = []
        for piece in reversed(state.pieces):
            if not piece.tokens:
                break
            before = [*piece.tokens, *before]
        stream, size = self._tokenizer.stream(), self._tokenizer.size
        for token in before:
            if token < size:
                stream.push(token)
        text = "".join([stream.push(token) for token in tokens if token < size])
        return text + (stream.flush() if why in ("end", "context", "error") else "")
