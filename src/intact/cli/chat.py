"""``intact chat``: a conversation. Ctrl-C ends the answer, Ctrl-D the chat."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact.catalogue import DEFAULT
from intact.cli import fetch
from intact.cli.options import (
    MODEL_HELP,
    CacheOption,
    ClockNowOption,
    DraftOption,
    JsonOption,
    ModelDefaultsOption,
    ProfileOption,
    ReceiptOption,
    SystemOption,
    ThreadsOption,
    apply_model_defaults,
    as_bytes,
    check_output,
    complete_model,
    with_sampling,
)
from intact.cli.output import fail, note, say
from intact.cli.run import decode
from intact.errors import IntactError, ParameterError
from intact.text.template import prepare, read_time

if TYPE_CHECKING:
    from intact.receipts.document import Receipt

EXAMPLES = """\
With the default model
  intact chat
With another one, sampled
  intact chat qwen3-0.6b --temperature 0.7 --seed 1
  intact chat qwen3-0.6b --model-defaults --seed 1
From a program: a message a line in, an answer a line out
  printf 'Hello!\\nAnd in German?\\n' | intact chat --json

In the chat: /new starts over, /system TEXT sets the system message, /help, /exit
Ctrl-C ends the answer, Ctrl-D leaves
"""

HELP = "/new start over   /system TEXT set the system message   /exit leave   Ctrl-C ends an answer, Ctrl-D leaves"

Message = dict[str, str]


@with_sampling(max_tokens=1024)
def command(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help=MODEL_HELP, autocompletion=complete_model)] = DEFAULT,
    system: SystemOption = None,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    cache: CacheOption = None,
    draft: DraftOption = True,
    model_defaults: ModelDefaultsOption = False,
    now: ClockNowOption = None,
    receipt: ReceiptOption = None,
    json: JsonOption = False,
    *,
    sampling: dict[str, Any],
) -> None:
    """Talk with an instruct model."""
    check_output("--receipt", receipt)
    moment = {} if now is None else {"now": read_time(now)}
    prepare()
    loaded = fetch.load(model, profile, threads, as_bytes(cache))
    if loaded.tokenizer.chat_template is None:
        raise ParameterError(f"{model} has no chat template: it continues text, try intact run {model} PROMPT")
    if model_defaults:
        sampling = apply_model_defaults(context, loaded, sampling)
    talk = ChatSession(loaded, system, {**sampling, "draft": draft, **moment}, receipt)
    if json:
        _answer_lines(talk)
    else:
        if sys.stdin.isatty():
            note(f"{model}. {HELP}")
        _converse(talk)
    if talk.refused and not sys.stdin.isatty():
        raise ParameterError(f"{talk.refused} of the messages could not be answered")


class ChatSession:
    """The messages so far, the model that continues them, and the file for receipts of its answers."""

    def __init__(
        self, model: Any, system: str | None, sampling: dict[str, Any], receipt_file: Path | None = None
    ) -> None:
        self.model = model
        self.sampling = sampling | ({"receipt": True} if receipt_file else {})
        self._receipt_file = receipt_file
        self._receipts: list[Receipt] = []
        self.refused = 0
        self.system = system
        self.restart()

    def restart(self) -> None:
        """Forget all but the system message."""
        from intact.conversation.conversation import Conversation  # imports NumPy, which `intact --help` does without

        self.conversation = Conversation(self.model, system=self.system, **self.sampling)

    @property
    def messages(self) -> list[Message]:
        """The messages so far, the system message first."""
        return self.conversation.messages

    def answer(self, text: str) -> Iterator[Any]:
        """Yield the chunks of the answer. What was said stays in the conversation, even if the answer is cut short.

        A message that the model refuses (too long, say) is taken back.
        """
        try:
            yield from self.conversation.stream(text)
        except IntactError:
            self.refused += 1
            raise
        receipt = self.conversation.path[-1].receipt
        if self._receipt_file is not None and receipt is not None:
            self._keep(receipt)

    def _keep(self, receipt: Receipt) -> None:
        from intact.receipts.document import write_receipts

        assert self._receipt_file is not None
        self._receipts.append(receipt)
        write_receipts(self._receipt_file, self._receipts)

    def obey(self, line: str) -> str | None:
        """Carry out a /command; return what to tell the user, or None to leave."""
        name, _, rest = line.partition(" ")
        if name in ("/exit", "/quit"):
            return None
        if name == "/new":
            self.restart()
            return "started over"
        if name == "/system":
            self.system = rest.strip() or None
            self.restart()
            return "started over with this system message" if self.system else "started over without a system message"
        return HELP if name == "/help" else f"no command {name}. {HELP}"


def _converse(talk: ChatSession) -> None:
    for line in _lines():
        if line.startswith("/"):
            reply = talk.obey(line)
            if reply is None:
                return
            note(reply)
            continue
        try:
            for chunk in talk.answer(line):
                say(chunk.text)
            say("\n")
        except KeyboardInterrupt:
            say("\n")
            note("(cut short)")
        except IntactError as error:
            fail(f"{error} (/new starts over)")


def _lines() -> Iterator[str]:
    """Yield what the user types, until Ctrl-D. Ctrl-C drops the line."""
    interactive = sys.stdin.isatty()
    if interactive:
        _enable_editing()
    while True:
        try:
            line = input("\n> " if interactive else "")
        except EOFError:
            if interactive:
                say("\n")
            return
        except KeyboardInterrupt:
            if not interactive:
                raise
            say("\n")
            note("(Ctrl-D leaves)")
            continue
        if line.strip():
            yield decode(line.strip().encode("utf-8", "surrogateescape"), "the line")


def _enable_editing() -> None:
    with suppress(ImportError):
        import readline  # noqa: F401  (importing it gives input() a history and cursor keys)


def _answer_lines(talk: ChatSession) -> None:
    """Read a message a line, write an answer a line, or why there is none."""
    for line in sys.stdin.buffer:
        text = decode(line, "standard input").strip()
        if not text:
            continue
        answer: dict[str, Any]
        try:
            chunks = list(talk.answer(text))
            answer = {
                "role": "assistant",
                "content": "".join(chunk.text for chunk in chunks),
                "tokens": [chunk.token for chunk in chunks],
            }
        except IntactError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json_module.dumps(answer, ensure_ascii=False) + "\n")
        sys.stdout.flush()
