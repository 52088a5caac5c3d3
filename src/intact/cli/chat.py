"""``intact chat``: hold a conversation. Ctrl-C ends the answer, Ctrl-D the chat."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from intact._base.errors import IntactError, ParameterError
from intact.checkpoints.catalogue import DEFAULT
from intact.cli.chat_input import InputHistory, history_file, is_interactive, read_messages
from intact.cli.chat_session import ChatSession
from intact.cli.loading import LoadOptions
from intact.cli.log_store import LoggedConversation, LogStore
from intact.cli.model_option import ModelArgument
from intact.cli.opening import NoServerOption, VerboseOption, open_model
from intact.cli.options import (
    ClockNowOption,
    DraftOption,
    JsonOption,
    MixOption,
    ModelDefaultsOption,
    PartnerOption,
    PrefillOption,
    ReceiptOption,
    ShadowOption,
    SystemOption,
    apply_model_defaults,
    check_output,
    mix_options,
    pair,
    was_given,
    with_sampling,
)
from intact.cli.output import fail, note, say
from intact.cli.recording import NoLogOption, begin_log, sampling_from
from intact.cli.run import decode
from intact.cli.seeds import one_seed
from intact.engine.sampling.parameters import SamplingParameters
from intact.text.template import read_time

EXAMPLES = """\
Chat with the default model
  intact chat
Use another model, with sampling
  intact chat -m qwen3-0.6b --temperature 0.7 --seed 1
  intact chat -m qwen3-0.6b --model-defaults --seed 1
Use classifier-free guidance, away from the answer to another message
  intact chat --mix guidance:scale=2 --shadow "Tell me something."
Continue the last conversation, or another one
  intact chat --continue
  intact chat --continue 3f9a
From a program: one message per line in, one answer per line out
  printf 'Hello!\\nAnd in German?\\n' | intact chat --json

In the chat: /help lists its commands, a backslash at the end of a line continues it on the next
Ctrl-C ends the answer, Ctrl-D leaves
"""


@with_sampling(max_tokens=1024)
def command(
    context: typer.Context,
    model: ModelArgument = "",
    conversation: Annotated[
        str | None,
        typer.Option(
            "--continue",
            metavar="[ID]",
            help="Continue a conversation (intact logs); the last one by default.",
            show_default=False,
        ),
    ] = None,
    system: SystemOption = None,
    *,
    loading: LoadOptions,
    prefill: PrefillOption = None,
    draft: DraftOption = True,
    model_defaults: ModelDefaultsOption = False,
    now: ClockNowOption = None,
    mix: MixOption = None,
    shadow: ShadowOption = None,
    others: PartnerOption = None,
    receipt: ReceiptOption = None,
    no_server: NoServerOption = False,
    no_log: NoLogOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
    sampling: dict[str, Any],
) -> None:
    """Chat with an instruct model."""
    check_output("--receipt", receipt)
    sampling["seed"] = one_seed(sampling["seed"], "a conversation")
    SamplingParameters.by_name(sampling)
    moment = {} if now is None else {"now": read_time(now)}
    mixed = mix_options(mix, shadow, others, **loading.without_mix)
    partners = [one for _, one in map(pair, others or [])]
    earlier = None if conversation is None else _earlier(conversation)
    if earlier is not None:
        sampling = _continued_sampling(context, earlier, sampling)
        model = model or earlier.entries[-1]["model"]["name"]
    model = model or DEFAULT
    opened = open_model(
        model,
        loading,
        prefill=prefill,
        use_server=not no_server,
        verbose=verbose,
        mixed=mix is not None,
        partners=partners,
    )
    loaded = opened.model
    if loaded.tokenizer.chat_template is None:
        raise ParameterError(
            f"{model} has no chat template, so it can only continue text: try intact run {model} PROMPT"
        )
    if model_defaults:
        sampling = apply_model_defaults(context, loaded, sampling)
    log = begin_log("chat", opened, model, off=no_log or loading.adapter is not None or mix is not None)
    talk = ChatSession(loaded, system, {**sampling, "draft": draft, **moment, **mixed}, receipt, log=log, shadow=shadow)
    if earlier is not None:
        if log is not None:
            log.name = earlier.id
        _resume(talk, earlier, system)
    if json:
        _answer_lines(talk)
    elif is_interactive():
        note(f"{model}. /help lists the commands; Ctrl-C ends an answer, Ctrl-D leaves")
        _converse(talk, InputHistory(None if log is None else history_file()))
    else:
        _converse(talk, None)
    if talk.refused and not is_interactive():
        raise ParameterError(f"{talk.refused} of the messages could not be answered")


def _earlier(name: str) -> LoggedConversation:
    """Return a conversation from the log that can be continued."""
    store = LogStore()
    found = store.read(store.find(name))
    if not found.entries:
        raise ParameterError(f"the conversation {found.id} has no readable entry")
    if "prompt" in found.entries[-1]:
        raise ParameterError(
            f"the conversation {found.id} is raw text without a chat template, so it cannot be continued"
        )
    return found


def _continued_sampling(
    context: typer.Context, earlier: LoggedConversation, sampling: dict[str, Any]
) -> dict[str, Any]:
    """Return the sampling parameters of a conversation, overridden by the options given now."""
    return sampling | {
        name: value for name, value in sampling_from(earlier.entries[-1]).items() if not was_given(context, name)
    }


def _resume(talk: ChatSession, earlier: LoggedConversation, system: str | None) -> None:
    """Continue from the messages of a conversation; a system message given now replaces the conversation's own."""
    last = earlier.entries[-1]
    messages = [*last["messages"], {"role": "assistant", "content": last["answers"][0]["text"]}]
    if system is not None:
        messages = [{"role": "system", "content": system}, *(one for one in messages if one["role"] != "system")]
    talk.resume(messages)
    for message in messages[-2:] if is_interactive() else []:
        note(("> " if message["role"] == "user" else "") + message["content"])


def _converse(talk: ChatSession, history: InputHistory | None) -> None:
    for message in read_messages(history):
        try:
            line = decode(message.encode("utf-8", "surrogateescape"), "the line")
            question = line
            if line.startswith("/") and "\n" not in line:
                reply = talk.obey(line)
                for part in reply.text.splitlines():
                    note(part)
                if reply.leaves:
                    return
                question = reply.question
            if question:
                _print_answer(talk.answer(question))
        except KeyboardInterrupt:
            say("\n")
            note("(cut short)")
        except (IntactError, OSError) as error:
            fail(f"{error}" if line.startswith("/") else f"{error} (/new starts over)")


def _print_answer(chunks: Iterator[Any]) -> None:
    for chunk in chunks:
        say(chunk.text)
    say("\n")


def _answer_lines(talk: ChatSession) -> None:
    """Read one message per line, and write one answer or error per line."""
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
