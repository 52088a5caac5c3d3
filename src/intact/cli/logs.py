"""``intact logs``: show the conversations of `run` and `chat`, and recompute their answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import typer

from intact._base.errors import ParameterError
from intact.cli import fetch
from intact.cli.loading import LoadOptions
from intact.cli.log_store import LAST, LoggedConversation, LogStore
from intact.cli.model_option import MODEL_HELP, model_option
from intact.cli.opening import NoServerOption, OpenedModel, VerboseOption, open_model
from intact.cli.options import JsonOption, ThreadsOption
from intact.cli.output import emit, note, one_line, printable, say, show
from intact.cli.recording import sampling_from
from intact.text import ChatPrompt
from intact.text.template import read_time

EXAMPLES = """\
The last conversations
  intact logs
One of them, by the end of its name
  intact logs show 3f9a
Recompute its answers, and compare
  intact logs replay 3f9a
The folder that holds them
  intact logs path
"""
SHOW_EXAMPLES = """\
The last conversation
  intact logs show
Another one as JSON: seed, sampling, tokens, digests of the model
  intact logs show 3f9a --json
"""
REPLAY_EXAMPLES = """\
Recompute the last conversation's answers, and compare
  intact logs replay
Use a model that has moved
  intact logs replay 3f9a --model ./model.gguf
"""
PATH_EXAMPLES = """\
Find the conversations that contain a word
  intact logs path
  grep -l entropy "$(intact logs path)"/*
"""
RM_EXAMPLES = """\
One conversation
  intact logs rm 3f9a
"""
CLEAR_EXAMPLES = """\
All conversations, without confirmation
  intact logs clear --yes
"""

DIFFERS = 1
"""Exit status of `logs replay` if an answer differs from the logged one."""

IdArgument = Annotated[
    str,
    typer.Argument(metavar="[ID]", help="Conversation, by the beginning or end of its name; by default the last one."),
]


def listing(
    context: typer.Context,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Number of conversations to list.")] = 20,
    json: JsonOption = False,
) -> None:
    """List the most recent conversations."""
    if context.invoked_subcommand is not None:
        return
    found = list(islice(_conversations(LogStore()), count))
    if json:
        emit([one.to_document() for one in found])
    elif found:
        for one in found:
            facts = f"  {_when(one)}  {_model(one):24.24}  {len(one.entries):3}  "
            show((one.id, "bold"), (facts, "dim"), _first(one))
    else:
        note(f"no conversation is logged in {LogStore().folder}")


def show_conversation(identifier: IdArgument = LAST, json: JsonOption = False) -> None:
    """Show a conversation: the questions, the settings, and the answers."""
    found = _read(identifier)
    if json:
        emit(found.to_document())
        return
    show((found.id, "bold"), "  ", (f"{_when(found)}  {_model(found)}", "dim"))
    earlier: list[dict[str, Any]] = []
    for entry in found.entries:
        turns = entry["messages"] or [{"role": "text", "content": entry.get("prompt", "")}]
        same = _common(earlier, turns)
        if same < len(earlier):
            show(f"(went back to before message {same + 1})", style="dim")
        for turn in turns[same:]:
            show((f"{turn['role']}: ", "bold cyan"), printable(turn["content"], sys.stdout))
        settings = ", ".join(f"{name} {value}" for name, value in entry["sampling"].items())
        for answer in entry["answers"]:
            say("\n" + answer["text"] + "\n\n")
            show(f"{len(answer['tokens'])} tokens, {answer['finish']}; {one_line(settings)}", style="dim")
        earlier = [*turns, {"role": "assistant", "content": entry["answers"][0]["text"]}] if entry["answers"] else turns
    _note_damaged(found)


def replay(
    identifier: IdArgument = LAST,
    model: Annotated[str | None, model_option(f"{MODEL_HELP} By default the logged one.")] = None,
    threads: ThreadsOption = None,
    no_server: NoServerOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Recompute the answers of a conversation, and report whether they are the same.

    The exit status is 1 if any answer differs.
    """
    found = _read(identifier)
    opened: dict[tuple[str, str], OpenedModel] = {}
    rows = []
    for number, entry in enumerate(found.entries, 1):
        key = name, profile = model or entry["model"]["name"], entry["model"]["profile"]
        if key not in opened:
            opened[key] = open_model(
                name, LoadOptions(profile, threads=threads), use_server=not no_server, verbose=verbose
            )
        _check_model(entry, opened[key], name)
        rows.append({"answer": number, **_compared(entry, opened[key].model)})
        if not json:
            _show_comparison(rows[-1])
    if json:
        emit({"id": found.id, "damaged": found.damaged, "answers": rows})
    _note_damaged(found)
    if not all(row["equal"] for row in rows):
        raise typer.Exit(DIFFERS)


def path(json: JsonOption = False) -> None:
    """Print the folder of the log, which holds one file of JSON lines per conversation."""
    folder = str(LogStore().folder)
    if json:
        emit({"path": folder})
    else:
        show(folder)


def remove(
    identifiers: Annotated[list[str], typer.Argument(metavar="ID...", help="Conversations to remove, or `last`.")],
    json: JsonOption = False,
) -> None:
    """Remove conversations."""
    store = LogStore()
    _remove(store, [store.find(one) for one in identifiers], json)


def clear(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove all conversations."""
    store = LogStore()
    names = store.names()
    if names and not yes and not fetch.agreed_to(f"Remove all {len(names)} conversations in {store.folder}?"):
        raise ParameterError("nothing was removed; --yes removes all conversations without asking")
    _remove(store, names, json)


def _remove(store: LogStore, names: Sequence[str], json: bool) -> None:
    for name in names:
        store.remove(name)
    if json:
        emit({"removed": list(names)})
    else:
        note(f"removed {', '.join(names)}" if 0 < len(names) < 5 else f"removed {len(names)} conversations")


def _conversations(store: LogStore) -> Iterator[LoggedConversation]:
    """Yield the conversations that have at least one entry, newest first."""
    for name in store.names():
        try:
            found = store.read(name)
        except OSError as error:
            note(f"{name}: {error.strerror}")
            continue
        if found.entries:
            yield found
        else:
            _note_damaged(found)


def _read(identifier: str) -> LoggedConversation:
    store = LogStore()
    found = store.read(store.find(identifier))
    if not found.entries:
        raise ParameterError(f"the conversation {found.id} has no readable entry")
    return found


def _note_damaged(found: LoggedConversation) -> None:
    if found.damaged:
        note(f"{found.id}: skipped {found.damaged} lines that are damaged or from a later version")


def _check_model(entry: dict[str, Any], opened: OpenedModel, model: str) -> None:
    """Raise if a model is not the one that gave the logged answer."""
    digests = opened.digests()
    parts = {"weights": "weights", "tokenizer": "tokenizer", "template": "chat template", "ends": "end tokens"}
    changed = [name for part, name in parts.items() if digests[part] != entry["model"]["digests"].get(part)]
    if changed:
        raise ParameterError(
            f"{model} is a different model now: its {', '.join(changed)} changed; choose a model with --model"
        )


def _compared(entry: dict[str, Any], model: Any) -> dict[str, Any]:
    """Recompute the answers of an entry; return true if they are the same, and otherwise where they first differ."""
    sampling, answers = sampling_from(entry), entry["answers"]
    is_read = "contents" not in entry  # earlier versions parsed control tokens in messages
    prompt = entry.get("prompt", ChatPrompt(entry["messages"], now=read_time(entry["now"]), control_tokens=is_read))
    if [answer["finish"] for answer in answers] == ["cancelled"]:
        chunks = list(islice(model.stream(prompt, **sampling), len(answers[0]["tokens"])))
        again = [[chunk.token for chunk in chunks]]
    else:
        ((completions),) = model.generate(prompt, n=len(answers), **sampling)
        again = [list(one.tokens) for one in completions]
    for sample, (old, new) in enumerate(zip([answer["tokens"] for answer in answers], again, strict=True)):
        if old != new:
            place = _common(old, new)
            return {"equal": False, "tokens": sum(map(len, again)), "sample": sample, "token": place}
    return {"equal": True, "tokens": sum(map(len, again))}


def _show_comparison(row: dict[str, Any]) -> None:
    if row["equal"]:
        show(f"answer {row['answer']}  ", ("equal", "bold green"), f"  {row['tokens']} tokens")
    else:
        sample = f" of sample {row['sample']}" if row["sample"] else ""
        show(f"answer {row['answer']}  ", ("DIFFERS", "bold red"), f"  from token {row['token']}{sample} on")


def _common(first: Sequence[Any], second: Sequence[Any]) -> int:
    """Return the length of the common prefix of two sequences."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))


def _when(found: LoggedConversation) -> str:
    try:
        return f"{datetime.fromisoformat(found.entries[-1]['time']).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return "?"


def _model(found: LoggedConversation) -> str:
    return one_line(found.entries[-1]["model"]["name"].rpartition("/")[2])


def _first(found: LoggedConversation) -> str:
    """Return the beginning of the first question."""
    entry = found.entries[0]
    first = next((turn["content"] for turn in entry["messages"] if turn["role"] == "user"), entry.get("prompt", ""))
    text = one_line(" ".join(first[:400].split()))
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


_WIDTH = 60
