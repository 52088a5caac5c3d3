"""Generation for a request: check the prompt, wait for admission, generate completions as a whole or in chunks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from intact._base.errors import IntactError
from intact.engine.completion import Chunk, Completion
from intact.engine.sampling import constraints
from intact.engine.sampling.parameters import DEFINITIONS, SamplingParameters
from intact.serve import telemetry
from intact.serve.admission import Admission
from intact.serve.errors import ApiError, as_api_error
from intact.serve.models import Served
from intact.serve.requests import Extension
from intact.serve.service import in_thread, receipt_document, text_length

EXPECTED = 512
"""Tokens reserved at admission per sequence; the engine preempts if more sequences than expected exceed it."""
FINISH = {"stop": "stop", "uncertain": "stop", "unlikely": "stop", "length": "length", "context": "length"}
"""Maps finish reasons to OpenAI's terms."""


@dataclass(frozen=True)
class TextJob:
    """A prompt with its generation settings.

    Attributes
    ----------
    client : str
        The client's name, for fairness.
    constraint : str or None
        The request field that contains the constraint.
    text : str or None
        The prompt as given, if it was text, without the special tokens around it.
    shadow : list of int or None
        Second prompt for the same model, for mixes that use one.
    """

    prompt: list[int]
    n: int
    parameters: SamplingParameters
    client: str
    own: Extension
    constraint: str | None = None
    text: str | None = None
    shadow: list[int] | None = None

    @property
    def read(self) -> int:
        """The number of tokens in the prompt and its shadow."""
        return len(self.prompt) + len(self.shadow or ())

    def receipt(self, completion: Completion) -> dict[str, Any]:
        """Return the receipt field of a choice, if a receipt is requested."""
        return {"receipt": receipt_document(completion)} if self.own.receipt else {}

    def arguments(self, logprobs: bool) -> Any:
        """Return the arguments shared by `Model.agenerate` and `Model.asamples`."""
        parameters = {name: getattr(self.parameters, name) for name in DEFINITIONS}
        own = {"priority": self.own.priority, "receipt": self.own.receipt}
        return {**parameters, **own, "logprobs": logprobs, "mix": self.own.mix, "shadow": self.shadow}


def usage(jobs: Sequence[TextJob], completions: Sequence[Completion]) -> dict[str, int]:
    """Return the numbers of prompt and generated tokens, without cache hits, which depend on other requests."""
    read = sum(job.read for job in jobs)
    written = sum(len(completion.tokens) for completion in completions)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def each_prompt(
    prompt: str | list[str] | list[int] | list[list[int]], field: str = "prompt"
) -> Sequence[str | list[int]]:
    """Return the prompts in a field; raise if there is none."""
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise ApiError(400, f"{field} is empty", field)
    return [prompt] if isinstance(prompt[0], int) else prompt


async def encode_text(served: Served, prompt: str | list[int], suffix: str | None, where: str = "prompt") -> list[int]:
    """Return the tokens of a prompt, or of a fill-in-the-middle prompt if there is a suffix.

    Parameters
    ----------
    where : str
        The prompt's path in the request.

    Raises
    ------
    ApiError
        400, if the text is too long or a token is not in the vocabulary; naming `suffix`, if the model cannot fill in.
    """
    if isinstance(prompt, list):
        vocabulary = served.loaded.program.vocabulary
        for i, token in enumerate(prompt):
            if not 0 <= token < vocabulary:
                raise ApiError(400, f"{where}: token {i} must lie in [0, {vocabulary}), got {token}", where)
    tokenizer, most, length = served.loaded.tokenizer, served.loaded.context, text_length([prompt, suffix])
    if suffix is not None:
        if tokenizer.infill is None:
            message = f"{served.name} cannot fill in text before a suffix: its vocabulary has no tokens for it"
            raise ApiError(400, message, "suffix", "unsupported")
        return await in_thread(partial(tokenizer.encode_infill, prompt, suffix, most=most), where, length)
    if isinstance(prompt, list):
        return prompt
    return await in_thread(partial(tokenizer.encode, prompt, most=most), where, length)


@asynccontextmanager
async def admitted(served: Served, jobs: Sequence[TextJob], kind: str, field: str) -> AsyncIterator[Admission]:
    """Check prompts, and wait for admission.

    Parameters
    ----------
    kind : str
        Name of the operation in traces.
    field : str
        The request field that contains the prompts.
    """
    reserved, first, n = 0, jobs[0], sum(job.n for job in jobs)
    attributes = telemetry.request_attributes(first.parameters, n, sum(job.read for job in jobs))
    with telemetry.operation(kind, served.name, served.fingerprint, **attributes):
        for job in jobs:
            try:
                served.loaded.engine.check(job.prompt)
                job.parameters.check_tokens(served.loaded.program.vocabulary)
            except IntactError as error:
                raise as_api_error(error, ["logit_bias"], field) from error
            if job.shadow is not None:
                check_shadow_tokens(served, job.shadow)
            await _compile(served, job)
            streams = 1 if job.shadow is None else 2
            reserved += job.read + streams * job.n * min(job.parameters.max_tokens, EXPECTED)
        async with served.admission.admit(first.client, reserved, n, first.own.priority) as admission:
            yield admission


def check_shadow_tokens(served: Served, shadow: list[int]) -> None:
    """Raise ApiError if a shadow cannot be used."""
    try:
        served.loaded.engine.check(shadow)
    except IntactError as error:
        raise as_api_error(error, (), "intact.shadow") from error


async def _compile(served: Served, job: TextJob) -> None:
    """Compile a prompt's constraint, at most two at a time, so that threads are left for other work."""
    parameters, model = job.parameters, served.loaded
    if parameters.constraint is None:
        return
    async with served.compiling:
        with telemetry.span("compile constraint", intact__constraint=parameters.constraint.kind):
            await in_thread(
                lambda: constraints.compile(model.tokenizer, model.program.vocabulary, parameters, job.n),
                job.constraint,
            )


async def write(served: Served, job: TextJob, logprobs: bool) -> list[Completion]:
    """Return all completions of a job."""
    if telemetry.current().recording:  # same texts, but the first token can be recorded
        done: dict[int, Completion] = {}
        async with aclosing(stream(served, job, logprobs)) as chunks:
            async for sample, chunk in chunks:
                if isinstance(chunk, Completion):
                    done[sample] = chunk
        return [done[sample] for sample in range(job.n)]
    ids = None if job.own.id is None else [job.own.id]
    ((completions),) = await served.loaded.agenerate(
        [job.prompt], job.n, ids=ids, on_error="return", **job.arguments(logprobs)
    )
    for completion in completions:
        if completion.error is not None:
            raise as_api_error(completion.error)
    return completions


async def stream(served: Served, job: TextJob, logprobs: bool) -> AsyncGenerator[tuple[int, Chunk | Completion], None]:
    """Yield the chunks of all sequences of a job, each with its index; the last item of each is its completion."""
    whole, arguments = telemetry.current(), job.arguments(logprobs)
    with telemetry.prefill_and_decode() as first_token:
        samples = served.loaded.asamples(job.prompt, job.n, id=job.own.id, **arguments)
        async with aclosing(samples):
            async for sample, chunk in samples:
                first_token()
                match chunk:
                    case Completion(error=None):
                        whole.wrote(chunk)
                    case Completion(error=Exception() as error):
                        raise as_api_error(error)
                yield sample, chunk
