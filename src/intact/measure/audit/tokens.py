"""Convert a log's contents to token ids of the given model, and report anything that does not fit the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from intact._base.errors import LogError, ParameterError
from intact.measure.audit.log import LogEntry
from intact.text import ChatPrompt, Tokenizer
from intact.text.template import current


@dataclass(frozen=True)
class Response:
    """A response in the model's own tokens.

    Attributes
    ----------
    entry
        The log entry.
    prompt, output
        Token ids.
    retokenised
        If true, the output was text, so its tokens may differ from those the engine sampled.
    prompt_logprobs
        The engine's log-probabilities of the prompt's tokens, None for tokens without one; empty if the log has none.
    """

    entry: LogEntry
    prompt: list[int]
    output: list[int]
    retokenised: bool = False
    prompt_logprobs: tuple[float | None, ...] = ()


class ResponseReader:
    """Reads entries with one model's tokenizer.

    Parameters
    ----------
    tokenizer
        The model's tokenizer.
    vocabulary
        Number of rows of the head; larger ids are invalid.
    context
        Maximum number of tokens in a prompt and its output.
    now : datetime, optional
        The time for chat templates that state the date; the current time by default.
    """

    def __init__(self, tokenizer: Tokenizer, vocabulary: int, context: int, now: datetime | None = None) -> None:
        self._tokenizer, self._vocabulary, self._context = tokenizer, vocabulary, context
        self._now = now or current()
        self._ids: dict[bytes, int] | None = None

    def response(self, entry: LogEntry) -> Response:
        """Convert an entry to token ids.

        Raises
        ------
        LogError
            If the tokens exceed the vocabulary or the context, contradict the entry's text, or are not tokens at all.
        """
        prompt, retokenised = self._prompt(entry), False
        if entry.output is not None:
            output = list(self._checked(entry.output, "output_tokens", entry))
            self._compare(output, entry)
        elif entry.token_bytes is not None:
            output = [self._piece(piece, index, entry) for index, piece in enumerate(entry.token_bytes)]
            self._compare(output, entry)
        else:
            output, retokenised = self._encoded(entry), True
        if not output and (entry.prompt_logprobs is None or len(prompt) < 2):
            raise LogError(f"{entry.where}: the output is empty: there is nothing to audit")
        if len(prompt) + len(output) > self._context:
            raise LogError(
                f"{entry.where}: prompt and output have {len(prompt) + len(output)} tokens, "
                f"but the model's context is {self._context}"
            )
        return Response(entry, prompt, output, retokenised, prompt_logprobs=self._prompt_logprobs(entry, prompt))

    def _prompt(self, entry: LogEntry) -> list[int]:
        prompt = entry.prompt
        try:
            if isinstance(prompt, str):
                tokens = self._tokenizer.encode(prompt, most=self._context)
            elif isinstance(prompt[0], int):
                return list(self._checked(prompt, "prompt_tokens", entry))
            else:
                # other engines tokenize the template's output as is, regardless of where a control token in it came
                # from
                conversation = ChatPrompt(prompt, now=self._now, control_tokens=True)
                tokens = conversation.encode(self._tokenizer, self._context)
        except ParameterError as error:
            raise LogError(f"{entry.where}: {error}") from error
        if not tokens:
            raise LogError(f"{entry.where}: the prompt is empty: the first token's logits need a token before it")
        return tokens

    def _prompt_logprobs(self, entry: LogEntry, prompt: Sequence[int]) -> tuple[float | None, ...]:
        """Return the log-probabilities of a prompt's own tokens."""
        given = entry.prompt_logprobs
        if given is None:
            return ()
        if len(given) != len(prompt):
            raise LogError(
                f"{entry.where}: got {len(given)} prompt_logprobs for a prompt of {len(prompt)} tokens: "
                "the log was made with another tokenizer, template or prompt"
            )
        found: list[float | None] = []
        for index, (logprob, token) in enumerate(zip(given, prompt, strict=True)):
            if isinstance(logprob, Mapping) and token not in logprob:
                raise LogError(
                    f"{entry.where}: prompt_logprobs[{index}] has no entry for token {token}, which is at that position"
                )
            found.append(logprob[token] if isinstance(logprob, Mapping) else logprob)
        return tuple(found)

    def _encoded(self, entry: LogEntry) -> list[int]:
        try:
            return self._tokenizer.encode(entry.text or "", special=False, bos=False, most=self._context)
        except ParameterError as error:
            raise LogError(f"{entry.where}: {error}") from error

    def _checked(self, tokens: Sequence[int], name: str, entry: LogEntry) -> Sequence[int]:
        for index, token in enumerate(tokens):
            if not 0 <= token < self._vocabulary:
                raise LogError(
                    f"{entry.where}: {name}[{index}] is {token}, outside this model's vocabulary of "
                    f"{self._vocabulary}: the log was made with another tokenizer"
                )
        return tokens

    def _compare(self, output: Sequence[int], entry: LogEntry) -> None:
        """Compare tokens with the entry's text, which engines strip of white space and cut at stop strings.

        The part cut off may extend past the stop string to the end of its last token, or the text may keep the string.
        Some engines omit bytes that do not form a complete character.
        """
        if entry.text is None:
            return
        known = [token for token in output if token < self._tokenizer.size]
        decoded, text = self._tokenizer.decode(known, continuation=True).strip(), entry.text.strip()
        rest = decoded.removeprefix(text)
        cut = any(rest.lstrip().startswith(stop.strip()) or text.endswith(stop.strip()) for stop in entry.stops)
        if not decoded.startswith(text) or (rest.strip("\ufffd \n\t") and not cut):
            raise LogError(
                f"{entry.where}: this model's tokenizer decodes the tokens as {decoded!r:.60}, but the text is "
                f"{text!r:.60}: it is from another tokenizer, was changed, or was cut at a string that `stop` should "
                "name; remove the text to audit only the tokens"
            )

    def _piece(self, piece: bytes, index: int, entry: LogEntry) -> int:
        if self._ids is None:
            self._ids = {}
            for token in range(self._tokenizer.size - 1, -1, -1):  # ties keep the lowest id
                self._ids[self._tokenizer.token_bytes(token)] = token
        found = self._ids.get(piece)
        if found is None:
            raise LogError(
                f"{entry.where}: token {index} stands for {piece!r:.40}, which is not a token of this model: "
                "the log was made with another tokenizer"
            )
        return found
