"""The prompt and the parsed answer of a chat request, computed again without running the model.

Receipts of chats contain tokens. This shows that the tokens are those of a request's messages, and that a message is
what the server makes of a receipt's text: its thoughts and tool calls are parsed by the server's own code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from intact._base.errors import ParameterError
from intact._base.packages import check_installed
from intact.engine.model import prompt_id
from intact.library import Completion, Model
from intact.receipts.document import Receipt
from intact.receipts.verify import Verdict, first_difference

_NAME = "model"


class ParsedAnswer(NamedTuple):
    """The parts of an answer: content, thoughts, tool calls in OpenAI's format, and the finish reason."""

    content: str
    thoughts: str
    calls: list[dict[str, Any]]
    finish: str


class ChatReplay:
    """Chats with a loaded model.

    Raises
    ------
    NotInstalledError
        If a package that the server needs is missing.
    """

    def __init__(self, model: Model) -> None:
        from intact.serve import PACKAGES

        check_installed("checking the messages of an answer", *PACKAGES)
        from intact.serve.models import Loading, Models
        from intact.serve.service import Service
        from intact.serve.settings import ServerSettings

        settings = ServerSettings(seeds="fixed")
        models = Models({_NAME: model.path}, Loading(), settings)
        served, pool = models.served[_NAME], model.engine.pool
        served.model, served.admission.capacity = model, pool.capacity * pool.page_size
        self._service = Service(settings, models)

    def check(self, body: Mapping[str, Any], choice: int, receipt: Receipt) -> Verdict | ParsedAnswer:
        """Return the parsed answer of a receipt, or the verdict if the receipt is for another request than this one.

        Parameters
        ----------
        body : mapping
            The body of the request.
        choice : int
            The answer's number among those to the request.
        """
        return asyncio.run(self._check({**body, "model": _NAME}, choice, receipt))

    async def _check(self, body: dict[str, Any], choice: int, receipt: Receipt) -> Verdict | ParsedAnswer:
        from intact.serve.chat import open_chat
        from intact.serve.errors import ApiError
        from intact.serve.forms import read_form
        from intact.serve.requests import ChatRequest

        given, output = receipt.header.request, receipt.output
        try:
            request, _ = read_form(ChatRequest, body, self._service.settings)
            async with open_chat(self._service, request, "replay") as chat:
                if (position := first_difference(chat.job.prompt, given.prompt)) is not None:
                    detail = "the messages give other tokens than the receipt's prompt"
                    return Verdict("false", "prompt", position, detail)
                if chat.job.parameters != given.parameters:
                    return Verdict("false", "sampling", None, "the request has other parameters than the receipt")
                name = chat.job.own.id if chat.job.own.id is not None else prompt_id(chat.job.prompt)
                if given.branch != (name, choice):
                    detail = f"the receipt is for the draws {given.branch!r:.80}, the answer for {(name, choice)!r:.80}"
                    return Verdict("false", "sampling", None, detail)
                if output.finish == "cancelled":
                    return Verdict("false", "finish", None, "the receipt is for a text that was cut off")
                read = chat.parse(
                    Completion(output.text, output.tokens, None, output.finish, prompt_tokens=len(given.prompt))
                )
        except (ApiError, ParameterError) as error:
            return Verdict("false", "prompt", None, f"no server takes the request: {error!s:.200}")
        return ParsedAnswer(read.content, read.thoughts, read.calls, read.finish)
