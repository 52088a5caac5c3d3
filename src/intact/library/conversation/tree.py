"""The messages of a conversation as a tree, in the form that the server's page stores and exports (version 1)."""

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
"""Maximum length in characters of a conversation's title, which is the beginning of its first question."""


@dataclass(frozen=True)
class ChatMessage:
    """A message of a conversation.

    Attributes
    ----------
    id, parent : str
        Ids of the message and of its parent; the first message's parent is None.
    role : {'user', 'assistant'}
        Author of the message.
    content : str
        Text of the message.
    seed : int or None
        Seed of an answer's draws.
    finish : str or None
        Stop reason of an answer, as in `Completion`.
    stopped : bool
        If true, the reader stopped the answer, and the text is only its beginning.
    receipt : Receipt or None
        Receipt of an answer, if one was requested.
    others : mapping
        Other members that the page stores, as JSON; written back unchanged.
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
        """Return the message as a JSON object, without its empty members."""
        value = {name: getattr(self, name) for name in _PLAIN} | dict(self.others)
        given = {name: one for name, one in value.items() if one is not None or name == "parent"}
        if not self.stopped:
            del given["stopped"]
        return given if self.receipt is None else given | {"receipt": self.receipt.to_document()}

    @classmethod
    def from_dict(cls, value: Any, where: str) -> ChatMessage:
        """Parse a message from the output of `to_dict` or from the page's export.

        Raises
        ------
        FormatError
            If the value is not a message; the error message gives the location.
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
    "id": (str, "a string"),
    "parent": (str | None, "the id of a message, or null"),
    "content": (str, "a string"),
    "seed": (int | None, "an integer"),
    "finish": (str | None, "a string"),
}


class MessageTree:
    """All messages of a conversation by id. A message with several children starts branches."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or secrets.token_hex(8)
        self.messages: dict[str, ChatMessage] = {}

    def add(self, parent: str | None, role: Role, content: str, **others: Any) -> ChatMessage:
        """Add a message after a parent (None: as the first message)."""
        message = ChatMessage(secrets.token_hex(8), parent, role, content, **others)
        self.messages[message.id] = message
        return message

    def path(self, leaf: str | None) -> list[ChatMessage]:
        """Return the messages from the first to the given one."""
        found = []
        while leaf is not None:
            found.append(self.messages[leaf])
            leaf = found[-1].parent
        return found[::-1]

    def after(self, parent: str | None) -> list[ChatMessage]:
        """Return the children of a message, oldest first."""
        return [message for message in self.messages.values() if message.parent == parent]

    def copy(self) -> MessageTree:
        """Return a tree with the same messages under a new name."""
        tree = MessageTree()
        tree.messages = dict(self.messages)
        return tree

    def to_dict(self, leaf: str | None, system: str | None) -> dict[str, Any]:
        """Return the tree as a JSON object, with the system message and the last message of the active path."""
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
        """Parse the output of `to_dict` or the page's export: return the tree, its active leaf and the system message.

        Raises
        ------
        FormatError
            If the value is malformed, or a message's parent does not precede it.
        """
        name, system, nodes = value.get("id"), value.get("system", ""), value.get("nodes")
        if not isinstance(name, str) or not isinstance(system, str) or not isinstance(nodes, list):
            raise FormatError("a conversation must have an id, a system message (a string) and nodes (a list)")
        tree = cls(name)
        for message in _read(nodes):
            if message.id in tree.messages:
                raise FormatError(f"two messages have the id {message.id!r:.60}")
            if message.parent is not None and message.parent not in tree.messages:
                raise FormatError(
                    f"the message {message.id!r:.60} follows {message.parent!r:.60}, which does not come before it"
                )
            tree.messages[message.id] = message
        leaf = value.get("leaf")
        if leaf is not None and leaf not in tree.messages:
            raise FormatError(f"leaf must be the id of a message or null, got {leaf!r:.60}")
        return tree, cast("str | None", leaf), system or None


def _read(nodes: list[Any]) -> Iterator[ChatMessage]:
    for i, node in enumerate(nodes):
        yield ChatMessage.from_dict(node, f"nodes[{i}]")
