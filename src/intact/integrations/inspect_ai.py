"""A model provider and a scorer for inspect_ai, whose receipts lie in the log (docs/integrations.md).

inspect_ai finds this file by its entry point, so ``--model intact/NAME`` works once both packages are installed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

import anyio
from inspect_ai.log._samples import sample_active
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    Content,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelCall,
    ModelOutput,
    ModelUsage,
    get_model,
    modelapi,
)
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState
from inspect_ai.tool import ToolCall, ToolChoice, ToolFunction, ToolInfo
from inspect_ai.util import store
from pydantic import BaseModel

from intact._base.errors import EndpointError, ParameterError
from intact.evaluate.model_judge import SINGLE, Rubric
from intact.integrations.chat_source import ChatSource, open_source
from intact.integrations.inspect_request import MAX_TOKENS, STOP_REASONS, request_of
from intact.text.template import DEFAULT_NOW

CONNECTIONS: Final = 32
"""Default number of concurrent requests; the engine batches them."""
_DRAWS: Final = "intact:draws"
"""Key of the sample's store under which equal requests are counted."""


@modelapi(name="intact")
class IntactAPI(ModelAPI):
    """A model of this package: ``intact/NAME``, in this process or on a server.

    Parameters
    ----------
    base_url : str, optional
        Address of an ``intact serve``; without one, the model is loaded in this process.
    **model_args
        For a model in this process: profile, threads.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, ["INTACT_API_KEY"], config=config or GenerateConfig())
        self._arguments = model_args
        self._source: ChatSource | None = open_source(model_name, self.base_url, self.api_key, **model_args)
        self._limiter = anyio.CapacityLimiter(1 << 10)

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002  inspect_ai's name
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> tuple[ModelOutput, ModelCall]:
        """Return the answer to a conversation, with the receipts of its choices in ``metadata["intact"]``."""
        choice = _plain(tool_choice) if isinstance(tool_choice, ToolFunction) else tool_choice
        body = request_of(
            self.model_name, list(map(_plain, input)), list(map(_plain, tools)), choice, config=_plain(config)
        )
        drawn = self._draw(body, config)
        body["seed"] = drawn["seed"]
        body["intact"] |= {name: drawn[name] for name in ("id", "now") if drawn.get(name) is not None}
        if self._source is None:
            self._source = open_source(self.model_name, self.base_url, self.api_key, **self._arguments)
        reply = await anyio.to_thread.run_sync(
            self._source.complete, body, abandon_on_cancel=True, limiter=self._limiter
        )
        metadata = {"intact": {**drawn, "receipts": [one.get("receipt") for one in reply["choices"]]}}
        output = ModelOutput(
            model=self.model_name,
            choices=[_choice(one, tools, self.model_name) for one in reply["choices"]],
            usage=_usage(reply.get("usage") or {}),
            metadata=metadata,
        )
        return output, ModelCall.create(request=body, response=_without_receipts(reply))

    def _draw(self, body: dict[str, Any], config: GenerateConfig) -> dict[str, Any]:
        """Return seed, id and time of a request: epochs get other seeds, and equal requests of a sample other ids."""
        active = sample_active()
        epoch = active.epoch if active is not None else 1
        drawn: dict[str, Any] = {"seed": (config.seed or 0) + epoch - 1, "now": body["intact"].get("now") or _NOW}
        if body["intact"].get("id") is not None:
            return drawn | {"id": body["intact"]["id"]}
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
        counts = dict(store().get(_DRAWS, {})) if active is not None else {}
        count = counts.get(digest, 0)
        if active is not None:
            store().set(_DRAWS, counts | {digest: count + 1})
        return drawn if not count else drawn | {"id": f"request {count + 1}"}

    async def count_text_tokens(self, text: str) -> int:
        """Return an upper estimate of a text's tokens, which needs no tokenizer: a token for every two bytes."""
        return -(-len(text.encode("utf-8", "replace")) // 2)

    def max_tokens(self) -> int:
        """Return the default maximum number of tokens of an answer."""
        return MAX_TOKENS

    def max_connections(self) -> int:
        """Return the default number of concurrent requests."""
        return CONNECTIONS

    def connection_key(self) -> str:
        """Return the name of the pool that limits concurrent requests."""
        return f"{self.base_url or 'here'} {self.model_name}"

    def should_retry(self, ex: Exception) -> bool:
        """Return true if a server was too busy to take the request."""
        return isinstance(ex, EndpointError) and any(f"HTTP {status}" in str(ex) for status in (429, 502, 503))

    def close(self) -> None:
        """Close connections, or unload the model; the next request opens them again."""
        source, self._source = self._source, None
        if source is not None:
            source.close()


@scorer(metrics=[accuracy(), stderr()])
def judge(
    model: str | None = None,
    template: str = SINGLE.template,
    labels: Sequence[str] = SINGLE.labels,
    model_role: str = "grader",
) -> Scorer:
    """Grade answers with a model of this package, whose verdicts do not depend on what else is running.

    The verdict is a label, written greedily under a constraint; the receipt is in the score's metadata.

    Parameters
    ----------
    model : str, optional
        Name of the judge, such as ``intact/NAME``; by default the model with the role, or the evaluated model.
    template, labels : str, sequence of str
        The question to the judge and its labels, from best to worst (`intact.evaluate.model_judge.Rubric`).
    model_role : str
        Role of the judge, if no model is given.
    """
    rubric = Rubric(template, tuple(labels))

    async def score(state: TaskState, target: Target) -> Score:
        grader = get_model(model) if model is not None else get_model(role=model_role)
        fields = {"question": state.input_text, "answer": state.output.completion, "reference": target.text}
        sampling = rubric.sampling
        body = {"intact": {"regex": sampling.pop("regex")}}
        output = await grader.generate(rubric.fill(fields), config=GenerateConfig(**sampling, extra_body=body))
        own = (output.metadata or {}).get("intact")
        if own is None:
            raise ParameterError(f"{grader} cannot be this judge: give a model whose name begins with intact/")
        if output.completion not in rubric.labels:
            raise ParameterError(f"{grader} wrote {output.completion!r:.60} instead of one of {', '.join(labels)}")
        judged = {
            "message": output.message.id,
            "template": template,
            "labels": list(labels),
            "receipt": own["receipts"][0],
        }
        return Score(
            value=rubric.values[output.completion],
            answer=state.output.completion,
            explanation=output.completion,
            metadata={"intact_judge": judged},
        )

    return score


_NOW: Final = DEFAULT_NOW.isoformat()
"""The time for chat templates that write the date, so that two runs have equal prompts."""


def _plain(value: BaseModel) -> dict[str, Any]:
    """Return a value as inspect_ai writes it in a log."""
    return value.model_dump(mode="json", exclude_none=True)


def _choice(choice: dict[str, Any], tools: Sequence[ToolInfo], model: str) -> ChatCompletionChoice:
    """Return a choice of a reply in inspect_ai's form."""
    from inspect_ai.model._call_tools import parse_tool_call

    message = choice["message"]
    text, thoughts = message.get("content") or "", message.get("reasoning_content")
    content: str | list[Content] = text
    if thoughts:
        content = [ContentReasoning(reasoning=thoughts), ContentText(text=text)]
    calls: list[ToolCall] = [
        parse_tool_call(call["id"], call["function"]["name"], call["function"]["arguments"], list(tools))
        for call in message.get("tool_calls") or ()
    ]
    logprobs = choice.get("logprobs")
    return ChatCompletionChoice(
        message=ChatMessageAssistant(content=content, tool_calls=calls or None, model=model, source="generate"),
        stop_reason=STOP_REASONS.get(choice["finish_reason"], "unknown"),
        logprobs=None if logprobs is None else Logprobs(content=[Logprob(**one) for one in logprobs["content"]]),
    )


def _usage(counts: dict[str, Any]) -> ModelUsage:
    details = counts.get("completion_tokens_details") or {}
    return ModelUsage(
        input_tokens=counts.get("prompt_tokens", 0),
        output_tokens=counts.get("completion_tokens", 0),
        total_tokens=counts.get("total_tokens", 0),
        reasoning_tokens=details.get("reasoning_tokens"),
    )


def _without_receipts(reply: dict[str, Any]) -> dict[str, Any]:
    """Return a reply without its receipts, which the log has already."""
    choices = [{name: value for name, value in one.items() if name != "receipt"} for one in reply["choices"]]
    return reply | {"choices": choices}
