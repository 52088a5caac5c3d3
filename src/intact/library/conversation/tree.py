"""The messages of a conversation as a tree, in the form that the server's page keeps and exports (version 1)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, cast

from intact._base.errors import FormatError, IntactError
from intact.receipts import canonical
from intact.receipts.document import FORMAT as RECEIPT
from intact.receipts.document import Receipt

Role = Literal["user", "assistant"]
_TITLE: Final = 60
"""Characters of a conversation's title: the beginning of its first question."""


@dataclass(frozen=True)
class ChatMessage:
    """A message of a conversation.

    Attributes
    ----------
    id, parent : str
        Its name, and that of the message before it; None for the first.
    role : {'user', 'assistant'}
        Its author.
    content : str
        The text.
    seed : int or None
        The seed of an answer's draws.
    finish : str or None
        The reason of an answer's end, as in `Completion`.
    stopped : bool
        If true, the answer was stopped by its reader, and the text is its beginning.
    receipt : Receipt or None
        The receipt of an answer, if one was asked for.
    others : mapping
        What else the page keeps of it, as JSON; written back as it was read.
    """

    id: str
    parent: str | None
    role: Role
    content: str
    seed: int | None = None
    finish: str | None = None
    stopped: bool = False
    receipt: Receipt | None = field(default=None, repr=False)
    others: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it; what is not there is left out."""
        value = {name: getattr(self, name) for name in _PLAIN} | dict(self.others)
        given = {name: one for name, one in value.items() if one is not None or name == "parent"}
        if not self.stopped:
            del given["stopped"]
        return given if self.receipt is None else given | {"receipt": self.receipt.to_document()}

    @classmethod
    def from_dict(cls, value: Any, where: str) -> ChatMessage:
        """Read what `to_dict` returns, or the page wrote.

        Raises
        ------
        FormatError
            Naming the place, if it is something else.
        """
        if not isinstance(value, Mapping):
            raise FormatError(f"{where} must be an object, got {value!r:.60}")
        for name, (kinds, wanted) in _KINDS.items():
            if not isinstance(value.get(name), kinds):
                raise FormatError(f"{where}: {name} must be {wanted}, got {value.get(name)!r:.60}")
        if value["role"] not in ("user", "assistant"):
            raise FormatError(f"{where}: role must be 'user' or 'assistant', got {value['role']!r:.60}")
        others = {name: one for name, one in value.items() if name not in _PLAIN}
        receipt = None
        if isinstance(document := others.get("receipt"), Mapping) and document.get("format") == RECEIPT:
            try:
                receipt = Receipt.parse(canonical.encode(others.pop("receipt")))
            except IntactError as error:
                raise FormatError(f"{where}: {error}") from error
        given: dict[str, Any] = {name: value[name] for name in _PLAIN if name in value and name != "stopped"}
        return cls(**given, stopped=value.get("stopped") is True, receipt=receipt, others=others)


_PLAIN: Final = tuple(one.name for one in fields(ChatMessage) if one.name not in ("receipt", "others"))
_KINDS: Final[Mapping[str, tuple[Any, str]]] = {
    "id": (str, "a text"),
    "parent": (str | None, "the name of a message, or null"),
    "content": (str, "a text"),
    "seed": (int | None, "an integer"),
    "finish": (str | None, "a text"),
}


class MessageTree:
    """All messages of a conversation by their names. Branches begin where a message has several after it."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or secrets.token_hex(8)
        self.messages: dict[str, ChatMessage] = {}

    def add(self, parent: str | None, role: Role, content: str, **others: Any) -> ChatMessage:
        """Add a message after another (None: the first)."""
        message = ChatMessage(secrets.token_hex(8), parent, role, content, **others)
        self.messages[message.id] = message
        return message

    def path(self, leaf: str | None) -> list[ChatMessage]:
        """Return the messages from the first to one of them."""
        found = []
        while leaf is not None:
            found.append(self.messages[leaf])
            leaf = found[-1].parent
        return found[::-1]

    def after(self, parent: str | None) -> list[ChatMessage]:
        """Return the messages that directly follow one, the oldest first."""
        return [message for message in self.messages.values() if message.parent == parent]

    def copy(self) -> MessageTree:
        """Return a tree of the same messages, with another name."""
        tree = MessageTree()
        tree.messages = dict(self.messages)
        return tree

    def to_dict(self, leaf: str | None, system: str | None) -> dict[str, Any]:
        """Return it as JSON has it, with the message that is shown last and the system message."""
        first = next(iter(self.messages.values()), None)
        return {
            "id": self.name,
            "title": "" if first is None else " ".join(first.content.split())[:_TITLE],
            "updated": int(time.time() * 1000),
            "system": system or "",
            "nodes": [message.to_dict() for message in self.messages.values()],
            "leaf": leaf,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> tuple[MessageTree, str | None, str | None]:
        """Read what `to_dict` returns, or the page wrote: the tree, the last message that is shown, the system message.

        Raises
        ------
        FormatError
            If it is something else, or a message has none before it.
        """
        name, system, nodes = value.get("id"), value.get("system", ""), value.get("nodes")
        if not isinstance(name, str) or not isinstance(system, str) or not isinstance(nodes, list):
            raise FormatError("a conversation must have an id, a system message (a text) and nodes (a list)")
        tree = cls(name)
        for message in _read(nodes):
            if message.id in tree.messages:
                raise FormatError(f"two messages are called {message.id!r:.60}")
            if message.parent is not None and message.parent not in tree.messages:
                raise FormatError(
                    f"the message {message.id!r:.60} follows {message.parent!r:.60}, which isn't before it"
                )
            tree.messages[message.id] = message
        leaf = value.get("leaf")
        if leaf is not None and leaf not in tree.messages:
            raise FormatError(f"leaf must be the name of a message or null, got {leaf!r:.60}")
        return tree, cast("str | None", leaf), system or None


def _read(nodes: list[Any]) -> Iterator[ChatMessage]:
    for i, node in enumerate(nodes):
        yield ChatMessage.from_dict(node, f"nodes[{i}]")
