"""A judge for other tools: a model whose verdicts never move, asked for a text or for JSON of a given form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from intact._base.errors import EndpointError
from intact.checkpoints.catalogue import DEFAULT
from intact.integrations.chat_text import ChatModel
from intact.integrations.receipt_file import ReceiptFile
from intact.text.template import DEFAULT_NOW

MAX_TOKENS: Final = 1024
"""Default maximum tokens of a verdict."""
M = TypeVar("M", bound=BaseModel)


class JudgeModel:
    """A model that judges at temperature 0, with a fixed date, and keeps receipts of its verdicts.

    Parameters
    ----------
    model, base_url, api_key
        As for `ChatModel`.
    receipts : path, optional
        File to which the receipts of verdicts are appended, for ``intact verify``.
    options : mapping, optional
        Options of all requests; by default temperature 0, seed 0, 1024 tokens and a fixed date.
    **loading
        As for `ChatModel`: profile, threads.
    """

    def __init__(
        self,
        model: str = DEFAULT,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        receipts: str | PathLike[str] | None = None,
        options: Mapping[str, Any] | None = None,
        **loading: Any,
    ) -> None:
        fixed = {"temperature": 0, "seed": 0, "max_tokens": MAX_TOKENS, "now": DEFAULT_NOW.isoformat()}
        self._chat = ChatModel(model, base_url, api_key, fixed | dict(options or {}), **loading)
        self.model = model
        self.file = ReceiptFile(receipts)

    def text(self, messages: Sequence[Mapping[str, Any]], schema: type[BaseModel] | None = None, **options: Any) -> str:
        """Return the answer to messages; with a schema, it is JSON of this form unless the model ran out of tokens."""
        if schema is not None:
            form = {"name": schema.__name__, "schema": closed_schema(schema), "strict": True}
            options["response_format"] = {"type": "json_schema", "json_schema": form}
        answer = self._chat.ask(messages, **options)
        self.file.add(answer.receipt, answer.text if answer.receipt else None)
        return answer.text

    def value(self, messages: Sequence[Mapping[str, Any]], schema: type[M], **options: Any) -> M:
        """Return the answer to messages as a value of a schema.

        Raises
        ------
        EndpointError
            If the answer was cut before it was complete.
        """
        text = self.text(messages, schema, **options)
        try:
            return schema.model_validate_json(text)
        except ValidationError as error:
            raise EndpointError(
                f"the verdict is not a complete {schema.__name__}: {text[-80:]!r}; raise max_tokens"
            ) from error

    def close(self) -> None:
        """Unload the model, or close connections; the next request opens it again."""
        self._chat.close()


def question(prompt: str) -> list[dict[str, str]]:
    """Return a prompt as the only message of a conversation."""
    return [{"role": "user", "content": prompt}]


def closed_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """Return a model's JSON schema whose objects have no other members than those named."""
    closed: dict[str, Any] = _closed(schema.model_json_schema())
    return closed


def _closed(value: Any) -> Any:
    if isinstance(value, list):
        return [_closed(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: _closed(one) for name, one in value.items()}
    if found.get("type") == "object" and "properties" in found:
        found.setdefault("additionalProperties", False)
    return found
