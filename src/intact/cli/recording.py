"""Log the answers of `run` and `chat`, with everything needed to repeat them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import typer

import intact
from intact._base.errors import IntactError
from intact.cli.log_store import LogStore, is_off
from intact.cli.opening import OpenedModel
from intact.cli.options import Advanced
from intact.cli.output import note
from intact.engine.sampling.parameters import DEFINITIONS, SamplingParameters
from intact.text import ChatPrompt
from intact.text.template import current

NoLogOption = Annotated[
    bool,
    typer.Option("--no-log", help="Do not log this conversation (intact logs).", rich_help_panel=Advanced()),
]


class LoggedAnswer(NamedTuple):
    """An answer, or the part of it generated before it was cut short (`finish` is then ``cancelled``)."""

    text: str
    tokens: Sequence[int]
    finish: str


def logged_answer(chunks: Sequence[Any]) -> LoggedAnswer:
    """Combine a stream's chunks into an answer; if the stream was complete, the last chunk has the stop reason."""
    text, tokens = "".join(chunk.text for chunk in chunks), [chunk.token for chunk in chunks]
    return LoggedAnswer(text, tokens, (chunks[-1].finish if chunks else None) or "cancelled")


@dataclass
class ConversationLog:
    """The log of one conversation.

    Attributes
    ----------
    command : str
        The command that writes it.
    name : str
        The conversation's name; empty until something is written.
    failed : bool
        If true, the log could not be written.
    """

    command: str
    opened: OpenedModel
    model_name: str
    store: LogStore = field(default_factory=LogStore)
    name: str = ""
    failed: bool = False

    def add(
        self, prompt: str | ChatPrompt, sampling: dict[str, Any], answers: Sequence[LoggedAnswer], seconds: float
    ) -> None:
        """Append the answers to a prompt; on failure, report it once and stop logging.

        Parameters
        ----------
        sampling : dict
            Parameters of `SamplingParameters`; other options are ignored.
        """
        if self.failed:
            return
        try:
            self.name = self.name or self.store.begin()
            self.store.add(self.name, self._entry(prompt, sampling, answers, seconds))
        except (IntactError, OSError) as error:
            note(f"this conversation is not logged: {error}")
            self.failed = True

    def _entry(
        self, prompt: str | ChatPrompt, sampling: dict[str, Any], answers: Sequence[LoggedAnswer], seconds: float
    ) -> dict[str, Any]:
        parameters = SamplingParameters.by_name(sampling_of(sampling))
        if isinstance(prompt, str):
            request: dict[str, Any] = {"prompt": prompt, "messages": [], "now": current().isoformat()}
        else:
            messages = [dict(message) for message in prompt.messages]
            contents = {} if prompt.control_tokens else {"contents": "text"}
            request = {"messages": messages, "now": prompt.now.isoformat(), **contents}
        return {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": self.command,
            "intact": intact.__version__,
            "model": {"name": self.model_name, "profile": self.opened.profile, "digests": self.opened.digests()},
            **request,
            "sampling": {"seed": parameters.seed, **json.loads(parameters.to_json())},
            "n": len(answers),
            "answers": [{"text": one.text, "tokens": list(one.tokens), "finish": one.finish} for one in answers],
            "seconds": round(seconds, 3),
        }


def begin_log(command: str, opened: OpenedModel, model_name: str, *, off: bool) -> ConversationLog | None:
    """Return the log of a new conversation; None if logging is off."""
    return None if off or is_off() else ConversationLog(command, opened, model_name)


def sampling_of(options: dict[str, Any]) -> dict[str, Any]:
    """Select the parameters of `SamplingParameters` from the options of `Model.generate`."""
    return {name: value for name, value in options.items() if name in DEFINITIONS}


def sampling_from(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the sampling parameters of a logged answer, in the form that `Model.generate` takes.

    Raises
    ------
    ParameterError
        If the parameters are invalid.
    """
    parameters = SamplingParameters.from_json(json.dumps(entry["sampling"]))
    return parameters.changed | {name: getattr(parameters, name) for name in ("max_tokens", "temperature", "seed")}
