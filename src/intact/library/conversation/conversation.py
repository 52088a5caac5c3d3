"""Conversations: ask a question and get the answer; edit, regenerate or undo a question; save to a file."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Unpack, cast

from intact._base import strict_json
from intact._base.errors import FormatError, IntactError, ParameterError
from intact._base.files import read_text, write_whole
from intact.engine.sampling.parameters import DEFINITIONS, SamplingParameters
from intact.library import Chunk, Completion, Model, RequestFields
from intact.library.conversation.tree import ChatMessage, MessageTree
from intact.library.options import check_option_names

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from intact.receipts.document import Receipt

FORMAT: Final = "intact-conversations"
VERSION: Final = 1


class _Request(NamedTuple):
    """A question whose answer is being generated.

    Attributes
    ----------
    parent : str or None
        Id of the message that the new one follows.
    question : str or None
        Text of the question; None if the parent is the question.
    """

    parent: str | None
    question: str | None
    messages: list[dict[str, str]]
    options: RequestFields


class Conversation:
    """A conversation with a model and its full history.

    The messages form a tree, and one path through it is active. Editing a question or regenerating an answer adds a
    branch, so nothing is lost. If an answer fails, its question is not recorded; if the reader stops an answer, the
    part generated so far is kept. Any branch can be continued. A conversation may be used by one thread or task at a
    time.

    Parameters
    ----------
    model : Model
        A model with a chat template.
    system : str, optional
        The system message.
    now : datetime or str, optional
        The time for chat templates that include the date, as in `Model.chat`.
    **options
        Options for all answers, as in `Model.generate`: max_tokens, temperature, seed, receipt, ...

    Raises
    ------
    ParameterError
        If the system message is not a string, or an option is unknown. Option values are checked when they are used.

    Attributes
    ----------
    leaf : str or None
        Id of the last message of the active path.

    Examples
    --------
    Each call continues where the last one ended::

        talk = intact.Conversation(model, system="Be brief.", max_tokens=200)
        print(talk.say("Name a colour.").text)
        for chunk in talk.stream("And another?"):
            print(chunk.text, end="")
        talk.save("colours.json")
    """

    def __init__(
        self,
        model: Model,
        *,
        system: str | None = None,
        now: datetime | str | None = None,
        **options: Unpack[RequestFields],
    ) -> None:
        if system is not None and not isinstance(system, str):
            raise ParameterError(f"system must be a string, got {system!r:.60}")
        check_option_names(options.keys() - {"n"})
        self.model, self.system, self.options = model, system, options
        self.leaf: str | None = None
        self._now, self._tree = now, MessageTree()

    @property
    def path(self) -> list[ChatMessage]:
        """The messages of the active path, from first to last."""
        return self._tree.path(self.leaf)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The messages of the active path in the form that `Model.chat` takes, starting with the system message."""
        return self._messages(self.leaf)

    @property
    def receipts(self) -> list[Receipt]:
        """The receipts of the answers on the active path that have one."""
        return [message.receipt for message in self.path if message.receipt is not None]

    def say(self, text: str, **options: Unpack[RequestFields]) -> Completion:
        """Send a message and return the answer.

        Parameters
        ----------
        **options
            Options for this answer that override the conversation's.

        Raises
        ------
        ParameterError
            If an option is invalid, or the conversation no longer fits the model's context; the conversation is
            unchanged.
        """
        return self._complete(self._ask(self.leaf, text, options))

    def stream(self, text: str, **options: Unpack[RequestFields]) -> Iterator[Chunk]:
        """Stream the answer to a message. Leaving the iterator early stops the answer and keeps what was generated."""
        request = self._ask(self.leaf, text, options)
        return self._stream(request, self.model.chat_stream(request.messages, **self._arguments(request)))

    async def asay(self, text: str, **options: Unpack[RequestFields]) -> Completion:
        """`say` for coroutines; cancelling the task discards the message."""
        request = self._ask(self.leaf, text, options)
        completion = await self.model.achat(request.messages, **self._arguments(request))
        return self._keep_completion(request, completion)

    async def astream(self, text: str, **options: Unpack[RequestFields]) -> AsyncIterator[Chunk]:
        """`stream` for coroutines; cancelling the task stops the answer and keeps the part generated so far."""
        request = self._ask(self.leaf, text, options)
        stream = self.model.achat_stream(request.messages, **self._arguments(request))
        chunks: list[Chunk] = []
        try:
            async with aclosing(cast("AsyncGenerator[Chunk, None]", stream)) as answer:
                async for chunk in answer:
                    chunks.append(chunk)
                    yield chunk
        except (asyncio.CancelledError, GeneratorExit):
            self._keep_chunks(request, chunks)
            raise
        self._keep_chunks(request, chunks)

    def regenerate(self, **options: Unpack[RequestFields]) -> Completion:
        """Answer the last question again in a new branch, by default with the next unused seed.

        Raises
        ------
        ParameterError
            If no question has been asked.
        """
        question = self._question(None)
        seeds = [answer.seed for answer in self._tree.after(question.id) if answer.seed is not None]
        fresh: RequestFields = {"seed": max(seeds) + 1} if seeds else {}
        merged = self.options | fresh | options
        return self._complete(_Request(question.id, None, self._messages(question.id), merged))

    def edit(self, text: str, message: str | None = None, **options: Unpack[RequestFields]) -> Completion:
        """Replace a question and return the new answer; the original question stays in its own branch.

        Parameters
        ----------
        message : str, optional
            Id of the question; by default the last one on the active path.

        Raises
        ------
        ParameterError
            If there is no such question.
        """
        return self._complete(self._ask(self._question(message).parent, text, options))

    def undo(self) -> str:
        """Remove the last question and its answer from the active path, and return the question's text.

        Both stay in the tree; `select` brings them back.

        Raises
        ------
        ParameterError
            If no question has been asked.
        """
        question = self._question(None)
        self.leaf = question.parent
        return question.content

    def branches(self, message: str | None = None) -> list[ChatMessage]:
        """Return a message and its alternatives, i.e. all messages with the same parent, oldest first.

        Parameters
        ----------
        message : str, optional
            Id of the message; by default the last one on the active path.
        """
        name = self.leaf if message is None else message
        return [] if name is None else self._tree.after(self._message(name).parent)

    def select(self, message: str) -> None:
        """Make the branch of a message active, following the newest message at each fork below it.

        Raises
        ------
        ParameterError
            If no message has this id.
        """
        self.leaf = self._message(message).id
        while after := self._tree.after(self.leaf):
            self.leaf = after[-1].id

    def fork(self) -> Conversation:
        """Return an independent copy of this conversation."""
        other = Conversation(self.model, system=self.system, now=self._now, **self.options)
        other.leaf, other._tree = self.leaf, self._tree.copy()
        return other

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the conversation with all branches and receipts to a file that `load` and the server's page can read.

        Sampling parameters are saved too; other options and `now` are not.

        Raises
        ------
        OSError
            If the file cannot be written; an existing file is left unchanged.
        """
        sampling = {name: value for name, value in self.options.items() if name in DEFINITIONS}
        value = self._tree.to_dict(self.leaf, self.system)
        value["sampling"] = json.loads(SamplingParameters.by_name(sampling).to_json())
        document = {"format": FORMAT, "version": VERSION, "conversations": [value]}
        write_whole(Path(path), json.dumps(document, ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        model: Model,
        *,
        name: str | None = None,
        now: datetime | str | None = None,
        **options: Unpack[RequestFields],
    ) -> Conversation:
        """Load a conversation written by `save` or exported by the server's page, ready to be continued.

        Parameters
        ----------
        name : str, optional
            Its `id` in the file; required if the file holds several conversations.
        **options
            As in `Conversation`; they override those in the file.

        Raises
        ------
        FormatError
            If the file holds no such conversation; the message names the problem.
        """
        file = Path(path)
        text = read_text(file)
        try:
            value = _choose(strict_json.parse(text, "it", error=FormatError), name)
            tree, leaf, system = MessageTree.from_dict(value)
            sampling = SamplingParameters.from_json(json.dumps(value.get("sampling", {}))).changed
        except IntactError as error:
            raise FormatError(f"cannot read a conversation from {file}: {error}") from error
        given: dict[str, Any] = {**sampling, **options}
        talk = cls(model, system=system, now=now, **given)
        talk.leaf, talk._tree = leaf, tree
        return talk

    def __repr__(self) -> str:
        return f"Conversation({self.model!r}, {len(self.path)} messages, {len(self._tree.messages)} with all branches)"

    def _message(self, name: str) -> ChatMessage:
        if name not in self._tree.messages:
            raise ParameterError(f"no message with the id {name!r:.60}; `path` and `branches` list the ids")
        return self._tree.messages[name]

    def _question(self, name: str | None) -> ChatMessage:
        if name is not None:
            message = self._message(name)
            if message.role != "user":
                raise ParameterError(f"the message {name!r:.60} is an answer; expected a question")
            return message
        for message in reversed(self.path):
            if message.role == "user":
                return message
        raise ParameterError("nothing has been asked yet: use `say`")

    def _messages(self, leaf: str | None) -> list[dict[str, str]]:
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return system + [{"role": message.role, "content": message.content} for message in self._tree.path(leaf)]

    def _ask(self, parent: str | None, text: str, options: RequestFields) -> _Request:
        messages = [*self._messages(parent), {"role": "user", "content": text}]
        return _Request(parent, text, messages, self.options | options)

    def _arguments(self, request: _Request) -> dict[str, Any]:
        return {**request.options, **({} if self._now is None else {"now": self._now})}

    def _complete(self, request: _Request) -> Completion:
        return self._keep_completion(request, self.model.chat(request.messages, **self._arguments(request)))

    def _stream(self, request: _Request, answer: Iterator[Chunk]) -> Iterator[Chunk]:
        chunks: list[Chunk] = []
        try:
            for chunk in answer:
                chunks.append(chunk)
                yield chunk
        except (KeyboardInterrupt, GeneratorExit):
            self._keep_chunks(request, chunks)
            raise
        self._keep_chunks(request, chunks)

    def _keep_completion(self, request: _Request, answer: Completion) -> Completion:
        self._keep(request, answer.text, finish=answer.finish, receipt=answer.receipt)
        return answer

    def _keep_chunks(self, request: _Request, chunks: list[Chunk]) -> None:
        last = chunks[-1] if chunks else Chunk("", -1, 0)
        text = "".join([chunk.text for chunk in chunks])
        self._keep(request, text, finish=last.finish, receipt=last.receipt, stopped=last.finish is None)

    def _keep(self, request: _Request, text: str, **facts: Any) -> None:
        """Add the question, if it is new, and its answer to the tree, and make them active."""
        parent = request.parent
        if request.question is not None:
            parent = self._tree.add(parent, "user", request.question).id
        self.leaf = self._tree.add(parent, "assistant", text, seed=request.options.get("seed", 0), **facts).id


def _choose(document: Any, name: str | None) -> dict[str, Any]:
    """Return the conversation with this id from a file's document, or its only conversation if no id is given."""
    if not isinstance(document, dict) or document.get("format") != FORMAT or document.get("version") != VERSION:
        raise FormatError(f'expected an object with "format": "{FORMAT}" and "version": {VERSION}')
    found = document.get("conversations")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise FormatError("conversations must be a list of objects")
    chosen: list[dict[str, Any]] = [one for one in found if name is None or one.get("id") == name]
    if len(chosen) != 1:
        names = ", ".join(f"{one.get('id')!s:.40}" for one in found[:10])
        wanted = "name one of them" if name is None else f"not exactly one is named {name!r:.60}"
        raise FormatError(f"it contains {len(found)} conversations ({names}): {wanted}")
    return chosen[0]
