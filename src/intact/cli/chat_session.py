"""A chat session: messages, settings, answers, and slash commands."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intact._base.errors import IntactError, ParameterError
from intact._base.files import expand_home, named_errors, read_text
from intact._base.suggest import unknown_name
from intact.cli.recording import ConversationLog, logged_answer, sampling_of
from intact.engine.sampling.parameters import DEFINITIONS, SamplingParameters
from intact.text import ChatPrompt
from intact.text.template import current, read_time

if TYPE_CHECKING:
    from intact.receipts.document import Receipt

Message = dict[str, str]
FORMAT = "intact-chat"


@dataclass(frozen=True)
class Reply:
    """The result of a slash command, apart from its changes to the chat.

    Attributes
    ----------
    text : str
        Text to show the user.
    question : str
        Message to answer next.
    leaves : bool
        If true, the chat ends.
    """

    text: str = ""
    question: str = ""
    leaves: bool = False


class ChatSession:
    """The messages so far, the model that answers them, the file for receipts, and the log.

    Parameters
    ----------
    sampling : dict
        Options of `Model.chat_stream`.
    shadow : str, optional
        Text that a mix sees instead of the newest message.
    """

    def __init__(
        self,
        model: Any,
        system: str | None,
        sampling: dict[str, Any],
        receipt_file: Path | None = None,
        log: ConversationLog | None = None,
        shadow: str | None = None,
    ) -> None:
        self.model = model
        self.sampling = sampling | ({"receipt": True} if receipt_file else {})
        self._receipt_file = receipt_file
        self._receipts: list[Receipt] = []
        self._log, self._shadow = log, shadow
        self.refused = 0
        self.system = system
        self.messages: list[Message] = []
        self.restart()

    def restart(self) -> None:
        """Drop all messages except the system message."""
        self.messages = [] if self.system is None else [{"role": "system", "content": self.system}]

    def answer(self, text: str, **options: Any) -> Iterator[Any]:
        """Yield the chunks of the answer. The generated part stays in the conversation even if the answer is cut short.

        A message that the model rejects (for example, because it is too long) is removed again.

        Parameters
        ----------
        **options
            Options for this answer only.
        """
        self.messages.append({"role": "user", "content": text})
        options = {"now": current(), **self.sampling, **options}
        chunks: list[Any] = []
        prompt, started = list(self.messages), time.perf_counter()
        if self._shadow is not None:
            from intact.engine.mixes import shadow_messages

            options["shadow"] = ChatPrompt(shadow_messages(prompt, self._shadow), now=read_time(options["now"]))
        try:
            for chunk in self.model.chat_stream(prompt, **options):
                chunks.append(chunk)
                yield chunk
            if self._receipt_file is not None:
                self._keep(chunks[-1].receipt)
        except IntactError:
            self.messages.pop()
            self.refused += 1
            raise
        except (KeyboardInterrupt, GeneratorExit):
            self._finish(prompt, chunks, options, time.perf_counter() - started)
            raise
        self._finish(prompt, chunks, options, time.perf_counter() - started)

    def _finish(self, prompt: list[Message], chunks: list[Any], options: dict[str, Any], seconds: float) -> None:
        """Add an answer to the conversation and to the log."""
        answer = logged_answer(chunks)
        self.messages.append({"role": "assistant", "content": answer.text})
        if self._log is not None:
            self._log.add(ChatPrompt(prompt, now=read_time(options["now"])), options, [answer], seconds)

    def _keep(self, receipt: Receipt) -> None:
        from intact.receipts.document import write_receipts

        assert self._receipt_file is not None
        self._receipts.append(receipt)
        write_receipts(self._receipt_file, self._receipts)

    def obey(self, line: str) -> Reply:
        """Execute a /command.

        Raises
        ------
        IntactError, OSError
            If the command fails.
        """
        name, _, rest = line.partition(" ")
        found = COMMANDS.get(_ALIASES.get(name, name))
        if found is None:
            return Reply(unknown_name(f"no command {name:.40}", name, COMMANDS))
        return found.run(self, rest.strip())

    def _exchange(self) -> tuple[list[Message], str]:
        """Return the messages before the last question, and that question.

        Raises
        ------
        ParameterError
            If no question has been asked yet.
        """
        if len(self.messages) < 2 or self.messages[-1]["role"] != "assistant":
            raise ParameterError("there is no answer yet")
        return self.messages[:-2], self.messages[-2]["content"]

    def _new(self, _: str) -> Reply:
        self.restart()
        return Reply("started over")

    def _system(self, text: str) -> Reply:
        self.system = text or None
        self.restart()
        return Reply(f"started over {'with this' if self.system else 'without a'} system message")

    def _regenerate(self, _: str) -> Reply:
        before, question = self._exchange()
        if not self.sampling.get("temperature"):
            raise ParameterError("a greedy answer is always the same: turn on sampling with /set temperature 0.8")
        self.sampling["seed"] = self.sampling.get("seed", 0) + 1
        self.messages = before
        return Reply(f"with seed {self.sampling['seed']}", question)

    def _undo(self, _: str) -> Reply:
        self.messages, question = self._exchange()
        return Reply(f"removed: {question:.60}")

    def _set(self, text: str) -> Reply:
        name, _, value = text.replace("=", " ", 1).partition(" ")
        if name:
            if name not in DEFINITIONS:
                raise ParameterError(unknown_name(f"{name!r:.40} is not a sampling parameter", name, DEFINITIONS))
            changed = {**self.sampling, name: _value(name, value.strip())}
            SamplingParameters.by_name(sampling_of(changed))
            self.sampling = changed
        given = json.loads(SamplingParameters.by_name(sampling_of(self.sampling)).to_json())
        return Reply(", ".join(f"{name} {value}" for name, value in given.items()) or "all defaults")

    def _show(self, _: str) -> Reply:
        turns = [f"{message['role']}: {message['content']}" for message in self.messages]
        return Reply("\n".join([*turns, self._set("").text]))

    def _save(self, text: str) -> Reply:
        path = expand_home(_named(text, "save"))
        sampling = json.loads(SamplingParameters.by_name(sampling_of(self.sampling)).to_json())
        document = {"format": FORMAT, "version": 1, "messages": self.messages, "sampling": sampling}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with named_errors(path), os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
        return Reply(f"saved in {path}")

    def _load(self, text: str) -> Reply:
        path = expand_home(_named(text, "load"))
        try:
            document = json.loads(read_text(path, ParameterError))
            messages = [{"role": str(one["role"]), "content": str(one["content"])} for one in document["messages"]]
            found = SamplingParameters.from_json(json.dumps(document["sampling"])).changed
            if document["format"] != FORMAT or document["version"] != 1:
                raise ValueError
        except IntactError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ParameterError(f"{path} does not contain a chat written by /save") from error
        self.resume(messages)
        self.sampling |= found
        return Reply(f"{len(messages)} messages from {path}")

    def resume(self, messages: list[Message]) -> None:
        """Continue from the messages of an earlier chat."""
        self.messages = list(messages)
        self.system = messages[0]["content"] if messages and messages[0]["role"] == "system" else None

    def _help(self, _: str) -> Reply:
        width = max(len(name) + len(one.takes) for name, one in COMMANDS.items()) + 3
        lines = [f"{f'{name} {one.takes}':{width}}{one.help}" for name, one in COMMANDS.items()]
        return Reply("\n".join([*lines, MULTILINE]))

    def _exit(self, _: str) -> Reply:
        return Reply(leaves=True)


@dataclass(frozen=True)
class SlashCommand:
    """A slash command: its method, its argument, and its help."""

    run: Callable[[ChatSession, str], Reply]
    takes: str
    help: str


COMMANDS = {
    "/new": SlashCommand(ChatSession._new, "", "start over, with the system message"),
    "/system": SlashCommand(ChatSession._system, "TEXT", "start over with another system message, or without one"),
    "/regenerate": SlashCommand(ChatSession._regenerate, "", "answer the last message again, with the next seed"),
    "/undo": SlashCommand(ChatSession._undo, "", "remove the last message and its answer"),
    "/set": SlashCommand(ChatSession._set, "NAME VALUE", "set a sampling parameter; without arguments: show all"),
    "/show": SlashCommand(ChatSession._show, "", "show the conversation and the sampling parameters"),
    "/save": SlashCommand(ChatSession._save, "FILE", "save the conversation"),
    "/load": SlashCommand(ChatSession._load, "FILE", "continue a saved conversation"),
    "/help": SlashCommand(ChatSession._help, "", "show this list"),
    "/exit": SlashCommand(ChatSession._exit, "", "leave"),
}
_ALIASES = {"/bye": "/exit", "/quit": "/exit", "/clear": "/new", "/retry": "/regenerate", "/?": "/help"}
MULTILINE = (
    'A message goes on after a backslash at the end of a line, and between """ and """.\n'
    "Ctrl-C ends an answer, Ctrl-D leaves."
)


def _value(name: str, text: str) -> Any:
    """Parse a typed value of a sampling parameter."""
    kind = DEFINITIONS[name].kind
    try:
        if kind == "flag":
            return {"true": True, "false": False}[text.lower()]
        if kind in ("integer", "decimal"):
            return int(text) if kind == "integer" else float(text)
    except (KeyError, ValueError):
        raise ParameterError(f"{name} must be {_KINDS[kind]}, got {text!r:.40}") from None
    if kind == "biases":
        raise ParameterError(f"{name} cannot be set here: use intact chat --{name.replace('_', '-')}")
    text = text.replace("\\n", "\n")
    return (text,) if kind == "stops" else text or None


_KINDS = {"flag": "true or false", "integer": "a whole number", "decimal": "a number"}


def _named(text: str, command: str) -> str:
    if not text:
        raise ParameterError(f"/{command} needs a file name")
    return text
