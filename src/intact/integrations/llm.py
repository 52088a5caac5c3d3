"""A plug-in for llm: models ``intact/NAME``, in this process or on a server (docs/integrations.md).

llm finds this file by its entry point. Each answer's receipt is in the response's ``response_json``, which llm stores
in its log; ``llm intact receipts`` writes them out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click
import llm
from llm.parts import ReasoningPart, TextPart
from pydantic import Field

from intact._base.errors import IntactError
from intact.checkpoints.catalogue import CATALOGUE, DEFAULT, aliases, resolve

if TYPE_CHECKING:
    from intact.library import Model

PREFIX: Final = "intact/"
SERVER: Final = "INTACT_BASE_URL"
"""Environment variable with the address of a server to ask."""
KEY: Final = "INTACT_API_KEY"
_loaded: dict[str, Model] = {}


class IntactOptions(llm.Options):
    """Options of a prompt: ``-o NAME VALUE``."""

    temperature: float | None = Field(description="Sampling temperature; 0 is greedy. Default 1", default=None, ge=0)
    top_p: float | None = Field(description="Probability mass to sample from. Default 1", default=None, gt=0, le=1)
    top_k: int | None = Field(description="Number of tokens to sample from. Default: all", default=None, ge=0)
    max_tokens: int | None = Field(description="Maximum number of tokens. Default 1024", default=None, ge=1)
    seed: int | None = Field(description="Seed of the draws. Default 0", default=None)
    base_url: str | None = Field(description=f"Address of an intact server. Default: ${SERVER}", default=None)
    model: str | None = Field(description="Model name or file, for the model 'intact' itself", default=None)


DEFAULTS: Final = {"temperature": 1.0, "max_tokens": 1024, "seed": 0}
"""Options of a prompt that sets none: in this process and on a server the same."""


class IntactModel(llm.Model):
    """A model of this package.

    Parameters
    ----------
    name : str
        Its name in the catalogue or an alias; "" for the model that the option `model` names.
    """

    can_stream = True
    supports_schema = True
    Options = IntactOptions

    def __init__(self, name: str) -> None:
        self.model_id = PREFIX + name if name else PREFIX.rstrip("/")
        self._name = name

    def execute(
        self, prompt: llm.Prompt, stream: bool, response: llm.Response, conversation: llm.Conversation | None
    ) -> Iterator[str]:
        """Yield the text of an answer, and put its receipt into the response."""
        options: dict[str, Any] = {name: value for name, value in prompt.options if value is not None}
        base_url = options.pop("base_url", None) or os.environ.get(SERVER)
        name = options.pop("model", None)
        if name is not None and self._name:
            raise llm.ModelError(f"{self.model_id} is a model already: the option model is for -m intact")
        name = name or self._name or DEFAULT
        messages, now = list(_messages(prompt)), datetime.now().replace(microsecond=0).isoformat()
        sampling = {**DEFAULTS, **options}
        try:
            if base_url is None:
                yield from _in_process(name, messages, sampling, prompt.schema, now=now, response=response)
            else:
                body = {"model": name, "messages": messages, **sampling, "intact": {"receipt": True, "now": now}}
                yield from _on_server(base_url, body, prompt.schema, response)
        except IntactError as error:
            raise llm.ModelError(str(error)) from error


@llm.hookimpl
def register_models(register: Callable[..., None]) -> None:
    """Register the models of the catalogue, the user's aliases, and ``intact`` for any other model."""
    try:
        own = aliases()
    except IntactError:  # reported when such a model is used
        own = {}
    for name in ("", *dict.fromkeys([*CATALOGUE, *own])):
        register(IntactModel(name))


@llm.hookimpl
def register_commands(cli: click.Group) -> None:
    """Add ``llm intact receipts``."""

    @cli.group(name="intact")
    def group() -> None:
        """Receipts of answers of intact's models."""

    @group.command()
    @click.option("-n", "--count", type=click.IntRange(min=1), default=1, help="Number of answers.", show_default=True)
    @click.option("-d", "--database", type=click.Path(exists=True, dir_okay=False), help="Log database.")
    def receipts(count: int, database: str | None) -> None:
        """Write the receipts of the last answers, oldest first, one per line, for `intact verify`."""
        found = logged_receipts(database or str(llm.user_dir() / "logs.db"), count)
        if not found:
            raise click.ClickException("the log has no answers of intact's models: ask one with -m intact/NAME")
        for line in reversed(found):
            click.echo(line)


def logged_receipts(database: str, count: int) -> list[str]:
    """Return the receipts of the last answers in a log, newest first, in canonical form."""
    import sqlite_utils
    from llm.logs import LogStore

    from intact.receipts import canonical

    found: list[str] = []
    base = sqlite_utils.Database(database)
    if "turns" not in base.table_names():
        return found
    store = LogStore(base)
    query = "select id from turns where model = ? or model like ? order by id desc"
    for row in base.query(query, [PREFIX.rstrip("/"), PREFIX + "%"]):
        payload = store.turn_response_json(row["id"])
        receipt = payload.get("receipt") if isinstance(payload, dict) else None
        if isinstance(receipt, dict):
            found.append(canonical.encode(receipt).decode())
        if len(found) == count:
            break
    return found


def _messages(prompt: llm.Prompt) -> Iterator[dict[str, str]]:
    """Yield the messages of a prompt, with those of the conversation before it, in OpenAI's format."""
    for message in prompt.messages:
        texts = []
        for part in message.parts:
            if isinstance(part, TextPart):
                texts.append(part.text)
            elif not isinstance(part, ReasoningPart):
                raise llm.ModelError(f"intact's models read text, got a message with a {type(part).__name__}")
        yield {"role": message.role, "content": "".join(texts)}


def _in_process(
    name: str,
    messages: list[dict[str, str]],
    sampling: dict[str, Any],
    schema: Any,
    *,
    now: str,
    response: llm.Response,
) -> Iterator[str]:
    """Yield an answer of a model that is loaded here, once for all prompts of this process."""
    import json

    from intact.library.loading import load

    if name not in _loaded:
        _loaded[name] = load(resolve(name))
    options = sampling if schema is None else {**sampling, "json_schema": json.dumps(schema)}
    last = None
    for chunk in _loaded[name].chat_stream(messages, now=now, receipt=True, **options):
        last = chunk
        if chunk.text:
            yield chunk.text
    if last is not None and last.receipt is not None:
        receipt = last.receipt
        _finish(response, name, last.finish, receipt.to_document(), seed=receipt.header.request.parameters.seed)
        response.set_usage(input=len(receipt.header.request.prompt), output=receipt.count)


def _on_server(base_url: str, body: dict[str, Any], schema: Any, response: llm.Response) -> Iterator[str]:
    """Yield an answer of a server."""
    from intact.integrations.chat_source import ServerSource

    if schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "schema", "schema": schema}}
    source = ServerSource(base_url, os.environ.get(KEY))
    try:
        for event in source.stream({**body, "stream_options": {"include_usage": True}}):
            for choice in event.get("choices") or ():
                if text := (choice.get("delta") or {}).get("content"):
                    yield text
                if choice.get("finish_reason"):
                    _finish(response, body["model"], choice["finish_reason"], choice.get("receipt"), seed=body["seed"])
            if usage := event.get("usage"):
                response.set_usage(input=usage["prompt_tokens"], output=usage["completion_tokens"])
    finally:
        source.close()


def _finish(response: llm.Response, model: str, finish: str | None, receipt: Any, seed: int) -> None:
    """Record how an answer ended, and its receipt."""
    response.response_json = {"model": model, "finish_reason": finish, "seed": seed, "receipt": receipt}
