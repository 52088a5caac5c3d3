"""opik: a judge for its metrics (docs/integrations.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from intact._base.errors import NotInstalledError
from intact._base.packages import install, missing

if missing("opik"):
    raise NotInstalledError(f"the plug-in for opik needs opik: {install('opik')}")

import anyio
from opik.evaluation.models import OpikBaseModel
from pydantic import BaseModel

from intact.checkpoints.catalogue import DEFAULT
from intact.integrations.judging import JudgeModel, question

_TAKEN = ("max_tokens", "temperature", "top_p", "seed", "stop", "logprobs", "top_logprobs")
"""Options that metrics may set; others, which are for other providers, are left out."""


class OpikJudge(OpikBaseModel):
    """A model of this package as the judge of opik's metrics.

    Parameters
    ----------
    model_name : str
        Model name or file; its name on the server, with `base_url`.
    base_url, api_key : str, optional
        An ``intact serve``, and its key, by default that in INTACT_API_KEY.
    receipts : path, optional
        File to which the receipts of verdicts are appended, for ``intact verify``.
    **options
        Further options of requests, such as max_tokens; profile and threads for a model in this process.
    """

    def __init__(
        self,
        model_name: str = DEFAULT,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        receipts: str | PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        loading = {name: options.pop(name, None) for name in ("profile", "threads")}
        self.judge = JudgeModel(model_name, base_url, api_key, receipts=receipts, options=options, **loading)
        super().__init__(model_name)

    def generate_string(self, input: str, response_format: type[BaseModel] | None = None, **kwargs: Any) -> str:  # noqa: A002
        """Return the answer to a prompt; with a response format, JSON of this form."""
        return self.judge.text(question(input), response_format, **_options(kwargs))

    def generate_chat_completion(
        self, messages: Sequence[Mapping[str, Any]], response_format: type[BaseModel] | None = None, **kwargs: Any
    ) -> dict[str, str]:
        """Return the answer to messages as the assistant's message."""
        return {"role": "assistant", "content": self.judge.text(messages, response_format, **_options(kwargs))}

    def generate_provider_response(self, messages: Sequence[Mapping[str, Any]], **kwargs: Any) -> dict[str, Any]:
        """Return the answer to messages in the form of OpenAI's chat completions."""
        return {"choices": [{"message": self.generate_chat_completion(messages, **kwargs)}]}

    async def agenerate_string(
        self,
        input: str,  # noqa: A002
        response_format: type[BaseModel] | None = None,
        **kwargs: Any,
    ) -> str:
        """`generate_string` for coroutines; concurrent requests change no verdict."""
        return await anyio.to_thread.run_sync(lambda: self.generate_string(input, response_format, **kwargs))

    async def agenerate_chat_completion(
        self, messages: Sequence[Mapping[str, Any]], response_format: type[BaseModel] | None = None, **kwargs: Any
    ) -> dict[str, str]:
        """`generate_chat_completion` for coroutines."""
        return await anyio.to_thread.run_sync(
            lambda: self.generate_chat_completion(messages, response_format, **kwargs)
        )

    async def agenerate_provider_response(self, messages: Sequence[Mapping[str, Any]], **kwargs: Any) -> dict[str, Any]:
        """`generate_provider_response` for coroutines."""
        return await anyio.to_thread.run_sync(lambda: self.generate_provider_response(messages, **kwargs))

    def close(self) -> None:
        """Unload the model, or close connections; the next request opens it again."""
        self.judge.close()


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in _TAKEN if given.get(name) is not None}
