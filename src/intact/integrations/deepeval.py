"""deepeval: a judge for its metrics (docs/integrations.md)."""

from __future__ import annotations

from os import PathLike
from typing import Any

from intact._base.errors import NotInstalledError
from intact._base.packages import install, missing

if missing("deepeval"):
    raise NotInstalledError(f"the plug-in for deepeval needs deepeval: {install('deepeval')}")

import anyio
from deepeval.models import DeepEvalBaseLLM
from pydantic import BaseModel

from intact.checkpoints.catalogue import DEFAULT
from intact.integrations.judging import JudgeModel, question


class DeepEvalJudge(DeepEvalBaseLLM):
    """A model of this package as the judge of deepeval's metrics.

    Parameters
    ----------
    model : str
        Model name or file; its name on the server, with `base_url`.
    base_url, api_key : str, optional
        An ``intact serve``, and its key, by default that in INTACT_API_KEY.
    receipts : path, optional
        File to which the receipts of verdicts are appended, for ``intact verify``.
    **options
        Further options of requests, such as max_tokens; profile and threads for a model in this process.

    Examples
    --------
    Judge with a model in this process::

        AnswerRelevancyMetric(model=DeepEvalJudge("qwen2.5-coder-1.5b-instruct"), async_mode=False)
    """

    def __init__(
        self,
        model: str = DEFAULT,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        receipts: str | PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        loading = {name: options.pop(name, None) for name in ("profile", "threads")}
        self.judge = JudgeModel(model, base_url, api_key, receipts=receipts, options=options, **loading)
        self._name = model
        super().__init__(model)

    def load_model(self) -> JudgeModel:
        """Return the judge; the model is opened by the first request."""
        return self.judge

    def generate(self, prompt: str, schema: type[BaseModel] | None = None, **_: Any) -> Any:
        """Return the answer to a prompt; with a schema, a value of it."""
        if schema is not None:
            return self.judge.value(question(prompt), schema)
        return self.judge.text(question(prompt))

    async def a_generate(self, prompt: str, schema: type[BaseModel] | None = None, **_: Any) -> Any:
        """`generate` for coroutines; concurrent requests share the engine's steps and change no verdict."""
        return await anyio.to_thread.run_sync(lambda: self.generate(prompt, schema))

    def get_model_name(self) -> str:
        """Return the name that reports show."""
        return f"intact {self._name}"

    def close(self) -> None:
        """Unload the model, or close connections; the next request opens it again."""
        self.judge.close()
