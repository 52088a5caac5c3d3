"""Tokenizers: text to tokens and back."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Self

from intact._base.errors import ModelError, ParameterError
from intact.text.control_texts import ControlTexts, MarkedTexts
from intact.text.infill import SPELLINGS, InfillTokens
from intact.text.pairs import PairTemplate, PairTokens
from intact.text.parts import Parts
from intact.text.stream import Detokenizer
from intact.text.template import ChatTemplate, Message, current, read_time, with_argument_values
from intact.text.thinking import find_thinking
from intact.text.tool_calls import find_format
from intact.text.vocabulary import SPECIAL, is_panic

if TYPE_CHECKING:
    from intact.checkpoints.formats import Checkpoint

BEGINNING: Final = 8
"""Number of characters per token of the context in the prefix that is tokenized first to check a text's length."""
_EMBEDDINGS = (
    "token_embd.weight",
    "model.embed_tokens.weight",
    "language_model.model.embed_tokens.weight",  # of vision models, as Gemma 3 was published
    "model.language_model.embed_tokens.weight",  # the same as saved by later versions of Transformers
    *(f"{model}embeddings.word_embeddings.weight" for model in ("", "bert.", "roberta.")),  # of encoders
)


class Tokenizer:
    """A model's own tokenizer.

    Created by `from_checkpoint`, `from_gguf` or `from_folder`. Encoding and decoding change no state, so threads may
    share it.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._special = parts.tokens.type_of
        self._bytes = _Table(lambda token: parts.tokens.bytes_of(self.check((token,))[0]))
        self._visible = _Table(self._visible_bytes)
        self._controls: dict[frozenset[str], ControlTexts] = {}

    @classmethod
    def from_checkpoint(cls, checkpoint: "Checkpoint") -> Self:
        """Build the tokenizer of an open checkpoint.

        Raises
        ------
        FormatError
            If the file has no readable tokenizer.
        ModelError
            If the sizes of vocabulary and embedding disagree.
        """
        name = next((name for name in _EMBEDDINGS if name in checkpoint.tensors), None)
        rows = None if name is None else checkpoint.tensors[name].shape[0]
        if checkpoint.format == "gguf":
            made = cls.from_gguf(checkpoint.metadata, str(checkpoint.path))
        else:
            made = cls.from_folder(checkpoint.folder, rows)
        # Embeddings in safetensors are often padded; in GGUF, the vocabulary is padded to match.
        if rows is not None and (made.size > rows or (checkpoint.format == "gguf" and made.size != rows)):
            raise ModelError(
                f"{checkpoint.path}: the vocabulary has {made.size} tokens, but {name} has {rows} rows; "
                "expected a row for every token"
            )
        return made

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any], source: str = "metadata") -> Self:
        """Build a tokenizer from the metadata of a GGUF file; see `intact.text.gguf_tokenizer`."""
        from intact.text.gguf_tokenizer import parts_from_gguf

        return cls(parts_from_gguf(metadata, source))

    @classmethod
    def from_folder(cls, folder: str | PathLike[str], rows: int | None = None) -> Self:
        """Build a tokenizer from the tokenizer.json of a folder; see `intact.text.json_tokenizer`."""
        from intact.text.json_tokenizer import parts_from_folder

        return cls(parts_from_folder(folder, rows))

    def __repr__(self) -> str:
        return f"Tokenizer({self.size:,} tokens)"

    @property
    def size(self) -> int:
        """Number of tokens; ids run from 0 to size - 1."""
        return len(self._parts.tokens.texts)

    @cached_property
    def vocabulary_digest(self) -> str:
        """SHA-256 over the bytes of each token with their length: equal for models with interchangeable tokens.

        Unused tokens at the end, which pad an embedding, are ignored.
        """
        spelled = [self._parts.tokens.bytes_of(token) for token in range(self.size)]
        while spelled and not spelled[-1]:
            spelled.pop()
        return hashlib.sha256(b"".join(len(text).to_bytes(4, "little") + text for text in spelled)).hexdigest()

    @property
    def bos_id(self) -> int | None:
        """Token that marks the beginning of a text, if the model has one."""
        return self._parts.bos_id

    @property
    def eos_id(self) -> int | None:
        """Token that marks the end of a text, if the model has one."""
        return self._parts.eos_id

    @property
    def eos_ids(self) -> frozenset[int]:
        """Tokens that end generation: end of text and end of turn."""
        return self._parts.eos_ids

    @property
    def around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tokens put before and after input text by default."""
        return self._parts.prefix, self._parts.suffix

    @property
    def pair(self) -> PairTemplate | None:
        """Tokens put around and between the texts of a pair, if the model supports pairs."""
        return self._parts.pair

    @property
    def infill(self) -> InfillTokens | None:
        """Fill-in-the-middle tokens, if the model has them."""
        return self._parts.infill

    def encode(
        self, text: str | bytes, special: bool = True, bos: bool | None = None, *, most: int | None = None
    ) -> list[int]:
        """Convert text to tokens.

        Parameters
        ----------
        text : str or bytes
            Text to encode; bytes must be UTF-8.
        special : bool
            If true, control tokens spelled in the text, such as `<|im_end|>`, become those tokens. Otherwise they are
            plain text, which is right for untrusted input.
        bos : bool, optional
            If true, prepend the model's BOS token; if false, add nothing. By default follow the file, which for a few
            models also appends an EOS token.
        most : int, optional
            Context size in tokens that the text must fit. Text that is longer than this many copies of the longest
            token, or whose beginning has twice as many tokens, is rejected before all of it is tokenized; text that
            passes may still be too long.

        Returns
        -------
        list of int
            Token ids; empty for empty text, except for BOS.

        Raises
        ------
        ParameterError
            If the text is not valid Unicode (with the position), `bos` is true but the model has none, or the text
            exceeds `most` or what the splitting patterns can handle, such as ten million spaces in a row.
        """
        parts = self._parts
        text = _unicode(text)
        if bos and parts.bos_id is None:
            raise ParameterError(f"bos=True, but the model of {parts.source} has no BOS token")
        if most is not None and len(text) > most:
            self._check_length(text, special, most)
        ids = self._ids(text, special)
        if parts.aliases:
            ids = [parts.aliases.get(token, token) for token in ids]
        if bos is None:
            return [*parts.prefix, *ids, *parts.suffix]
        return [parts.bos_id, *ids] if bos and parts.bos_id is not None else ids

    def _check_length(self, text: str, special: bool, most: int) -> None:
        """Raise ParameterError if text cannot fit a context, judging by its length or by the tokens at its beginning.

        The tokens of a prefix equal those of the whole text, except where the cut splits a token.
        """
        what = f"a text of {len(text)} characters does not fit in the context of {most} tokens"
        if len(text) > most * self._longest:
            raise ParameterError(f"{what}: the longest token of {self._parts.source} has {self._longest} characters")
        size = BEGINNING * most
        while size < len(text):
            count = len(self._ids(text[:size], special))
            if count > 2 * most + 4 * self._longest:
                raise ParameterError(f"{what}: its first {size} characters already have {count} tokens")
            size *= 4

    def _ids(self, text: str, special: bool) -> list[int]:
        """Return the tokens of text without BOS or EOS; raises like `encode`."""
        backend = self._parts.parsing if special else self._parts.plain
        try:
            ids: list[int] = backend.encode(text, add_special_tokens=False).ids
        except BaseException as error:
            if not is_panic(error):
                raise
            source = self._parts.source
            raise ParameterError(f"the tokenizer of {source} cannot tokenize this text: {error!s:.200}") from None
        return ids

    def encode_pair(self, first: str, second: str, *, special: bool = False, most: int | None = None) -> PairTokens:
        """Convert two texts to the tokens of a pair, such as a reranker's query and document.

        Parameters
        ----------
        first, second : str
            The texts.
        special, most
            As for `encode`, for each text; by default control tokens spelled in them are plain text.

        Returns
        -------
        PairTokens
            Ids and token types, including the tokens that the model's files put around and between the texts.

        Raises
        ------
        ParameterError
            If the model's files define no such tokens; otherwise as for `encode`.
        """
        pair = self._parts.pair
        if pair is None:
            raise ParameterError(
                f"the tokenizer of {self._parts.source} does not support text pairs: it has no separator tokens; "
                "expected one such as BERT's or XLM-RoBERTa's"
            )
        return pair.join(*(self.encode(text, special, False, most=most) for text in (first, second)))

    def encode_infill(self, prefix: str | Sequence[int], suffix: str, *, most: int | None = None) -> list[int]:
        """Convert a prefix and a suffix to a prompt that the model continues with the text between them.

        Parameters
        ----------
        prefix : str or sequence of int
            Text before the gap, or its tokens.
        suffix : str
            Text after the gap. Control tokens spelled in prefix and suffix are plain text, since source code may
            mention them.
        most : int, optional
            As for `encode`.

        Raises
        ------
        ParameterError
            If the model's vocabulary has no fill-in-the-middle tokens; otherwise as for `encode`.
        """
        marks = self._parts.infill
        if marks is None:
            expected = ", ".join(SPELLINGS[0])
            raise ParameterError(
                f"the model of {self._parts.source} cannot fill in the middle of a text: its vocabulary has no tokens "
                f"for it, such as {expected}"
            )
        head = self.encode(prefix, False, False, most=most) if isinstance(prefix, str) else self.check(prefix)
        tail = self._encode_inner(suffix, most)
        return [*self._parts.prefix, marks.prefix, *head, marks.suffix, *tail, marks.middle]

    def _encode_inner(self, text: str, most: int | None, special: bool = False) -> list[int]:
        """Convert text to tokens without the leading space that some tokenizers add, such as Code Llama's."""
        if not self._parts.leading_space:
            return self.encode(text, special, False, most=most)
        mark = "\u263a"  # never merged with another character
        return self.encode(mark + text, special, False, most=most)[len(self.encode(mark, False, False)) :]

    def decode(self, ids: Iterable[int], *, skip_special: bool = True, continuation: bool = False) -> str:
        """Convert tokens to text.

        Parameters
        ----------
        ids : iterable of int
            Token ids.
        skip_special : bool
            If true, omit control tokens, except marks that the template's tool-call format keeps visible
            (`ToolCallFormat.visible_marks`); otherwise all control tokens appear by name.
        continuation : bool
            If true, the tokens continue earlier ones, so a leading space is kept. Otherwise it is removed for a
            tokenizer that adds a space to every text.

        Returns
        -------
        str
            The text, with U+FFFD for bytes that are not UTF-8.

        Raises
        ------
        ParameterError
            If an id is not a token.
        """
        if not isinstance(ids, Iterable):
            raise ParameterError(f"ids must be a list of token ids, got {ids!r:.60}")
        stream = self.stream(skip_special=skip_special, continuation=continuation)
        return "".join([stream.push(token) for token in self.check(ids)]) + stream.flush()

    def stream(self, *, skip_special: bool = True, continuation: bool = True) -> Detokenizer:
        """Create a streaming detokenizer; the parameters are the same as for `decode`.

        By default the tokens continue a prompt, so a leading space is kept.
        """
        read = self._visible if skip_special else self._bytes
        return Detokenizer(read.__getitem__, strip_first_space=self._parts.leading_space and not continuation)

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that a token represents; for a control token, the bytes of its name.

        Raises
        ------
        ParameterError
            If the id is not a token.
        """
        return self._bytes[token]

    def is_special(self, token: int) -> bool:
        """Return true if a token is a control token, which has no text."""
        return self._special(self.check((token,))[0]) in SPECIAL

    def check(self, ids: Iterable[int]) -> list[int]:
        """Return ids as a list of int, or raise a ParameterError that names the first invalid one."""
        checked = []
        for index, token in enumerate(ids):
            try:
                value = token.__index__()
            except (AttributeError, TypeError):
                raise ParameterError(f"token {index} is {token!r:.60}; expected an integer") from None
            if not 0 <= value < self.size:
                raise ParameterError(f"token {index} is {value}; expected 0 to {self.size - 1}")
            checked.append(value)
        return checked

    def _visible_bytes(self, token: int) -> bytes:
        """Return a token's bytes in text without control tokens; marks of tool calls and thinking stay visible."""
        found = self._bytes[token]
        return b"" if self.is_special(token) and found not in self._visible_marks else found

    @cached_property
    def _visible_marks(self) -> frozenset[bytes]:
        """Marks of tool calls and thinking that stay visible in text even if they are control tokens."""
        templates = self._parts.templates.values()
        forms = [find(text) for text in templates for find in (find_format, find_thinking)]
        return frozenset(mark.encode() for form in forms if form for mark in form.visible_marks)

    @cached_property
    def _longest(self) -> int:
        """Length in characters of the longest token as spelled in the file; its decoded text is no longer."""
        return max(map(len, self._parts.tokens.texts))

    @cached_property
    def chat_template(self) -> ChatTemplate | None:
        """The model's chat template, or None. It is compiled on first use, and rejected if unreadable."""
        parts = self._parts

        def made(name: str, tool_use: ChatTemplate | None = None) -> ChatTemplate | None:
            text = parts.templates.get(name)
            if text is None:
                return None
            return ChatTemplate(text, tokens=parts.named, tool_use=tool_use, source=parts.source)

        return made("default", made("tool_use"))

    def _control_texts(self, kept: frozenset[str]) -> ControlTexts:
        """Return the control tokens' spellings, excluding the given tokens; cached."""
        if kept not in self._controls:
            self._controls[kept] = ControlTexts(self._parts.parsing, kept)
        return self._controls[kept]

    def encode_chat(
        self,
        messages: Sequence[Message],
        /,
        add_generation_prompt: bool = True,
        *,
        control_tokens: bool | Collection[str] = False,
        **variables: Any,
    ) -> list[int]:
        """Convert a conversation to tokens with the model's chat template.

        The template itself writes BOS if the model needs it, so no BOS is added.

        Parameters
        ----------
        control_tokens : bool or collection of str
            If true, control tokens spelled in messages, tools or other variables become those tokens, so user input can
            end its turn and begin another. By default they are plain text, tokenized separately from the text around
            them. A collection lists the ones that become tokens.
        messages, add_generation_prompt, **variables
            As for `render_chat`, which also lists the errors.
        """
        variables = {"add_generation_prompt": add_generation_prompt, **variables}
        return self.encode_conversation(messages, variables, control_tokens=control_tokens)

    def encode_conversation(
        self,
        messages: Sequence[Message],
        variables: Mapping[str, Any],
        *,
        control_tokens: bool | Collection[str] = False,
        most: int | None = None,
    ) -> list[int]:
        """Convert a conversation to tokens like `encode_chat`, for a given context size (`most`, as for `encode`)."""
        kept = () if isinstance(control_tokens, bool) else control_tokens
        marked = None if control_tokens is True else self._mark(messages, variables, kept)
        if marked is None:
            return self.encode(self.render_chat(messages, **variables), bos=False, most=most)
        try:
            values = dict(marked.values)
            text = self.render_chat(values.pop("messages"), **values)
        except ParameterError:
            self.render_chat(messages, **variables)  # raises an error that quotes the original values
            raise
        ids = list[int]()
        for part, is_content in marked.split(text):
            if ids:
                ids += self._encode_inner(part, most, not is_content)
            else:
                ids += self.encode(part, not is_content, False, most=most)
            if most is not None and len(ids) > most:
                raise ParameterError(f"the conversation does not fit in the context of {most} tokens")
        return ids

    def spells_control_tokens(self, messages: Sequence[Message], variables: Mapping[str, Any]) -> bool:
        """Return true if messages or other template variables spell a control token."""
        return self._mark(messages, variables) is not None

    def _mark(
        self, messages: Sequence[Message], variables: Mapping[str, Any], kept: Collection[str] = ()
    ) -> MarkedTexts | None:
        return self._control_texts(frozenset(kept)).mark({**variables, "messages": messages})

    @property
    def template_source(self) -> str:
        """Sources of the chat templates, joined; empty if there are none."""
        return "" if self.chat_template is None else "".join(self.chat_template.sources)

    def render_chat(self, messages: Sequence[Message], /, add_generation_prompt: bool = True, **variables: Any) -> str:
        """Render a conversation with the model's chat template; takes the parameters of `ChatTemplate.render`.

        Raises
        ------
        ParameterError
            If the model has no chat template, or the template rejects the messages.
        FormatError
            If the template cannot be read.
        """
        if self.chat_template is None:
            raise ParameterError(
                f"{self._parts.source} has no chat template, as is usual for base models: "
                "prompt it with plain text instead (`generate`, or `intact run --raw`)"
            )
        return self.chat_template.render(messages, add_generation_prompt, **variables)


@dataclass(frozen=True)
class ChatPrompt:
    """Messages for a model's chat template.

    Attributes
    ----------
    messages : sequence of mappings
        Turns, each with `role` and `content`. Tool-call arguments given as JSON text, as in OpenAI's format, are
        parsed, since templates expect objects.
    variables : mapping
        Further template variables, such as `tools`; also `add_generation_prompt`, by default true.
    now : datetime
        Time for templates that include the date; by default the current time. A string such as "2026-11-20T17:45:00" is
        parsed.
    reads_arguments : bool
        If false, tool-call arguments are rendered as given, as earlier versions did.
    control_tokens : bool
        If true, control tokens spelled in messages and variables become those tokens, as in earlier versions; by
        default they are plain text (see `Tokenizer.encode_chat`).

    Raises
    ------
    ParameterError
        If the time is invalid, or the variables are not a mapping.
    """

    messages: Sequence[Message]
    variables: Mapping[str, Any] = field(default_factory=dict)
    now: datetime = field(default_factory=current)
    reads_arguments: bool = True
    control_tokens: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.variables, Mapping):
            raise ParameterError(f"variables must be a mapping such as {{'tools': [...]}}, got {self.variables!r:.60}")
        object.__setattr__(self, "now", read_time(self.now))
        if self.reads_arguments:
            object.__setattr__(self, "messages", with_argument_values(self.messages))

    def encode(self, tokenizer: Tokenizer, most: int | None = None) -> list[int]:
        """Return the tokens of the prompt; `most` and errors as for `Tokenizer.encode` and `Tokenizer.render_chat`."""
        variables = {**self.variables, "now": self.now}
        ids = tokenizer.encode_conversation(self.messages, variables, control_tokens=self.control_tokens, most=most)
        if not self.messages:
            raise ParameterError("messages is empty; expected turns like {'role': 'user', 'content': 'Hello'}")
        for index, message in enumerate(self.messages):
            if set(message) == {"role"}:
                raise ParameterError(f"messages[{index}] has no 'content', got {message!r:.60}")
        return ids


class _Table(dict[int, bytes]):
    """The bytes of each token, computed on first use."""

    def __init__(self, find: Callable[[int], bytes]) -> None:
        self._find = find

    def __missing__(self, token: int) -> bytes:
        found = self[token] = self._find(token)
        return found


def _unicode(text: str | bytes) -> str:
    """Return the text, or raise a ParameterError that names the first position that is not valid Unicode."""
    try:
        if isinstance(text, bytes | bytearray):
            return text.decode("utf-8")
        if isinstance(text, str):
            text.encode("utf-8")
            return text
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ParameterError(f"the text is not UTF-8: byte {error.start} is 0x{byte:02X} ({error.reason})") from error
    except UnicodeEncodeError as error:
        character = ord(error.object[error.start])
        raise ParameterError(
            f"the text is not Unicode: character {error.start} is the lone surrogate U+{character:04X}; "
            "decode its bytes as UTF-8 with errors='replace'"
        ) from error
    raise ParameterError(f"the text must be a string, got {type(text).__name__}")
