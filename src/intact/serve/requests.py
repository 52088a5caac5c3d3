"""What clients send: OpenAI's fields, and our own beside them. What is misspelt is refused, not passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    create_model,
    model_validator,
)
from pydantic_core import PydanticKnownError

from intact.engine.sampling.parameters import DEFINITIONS

T = TypeVar("T")

Number = Annotated[float, Field(allow_inf_nan=False)]
Rounded = Annotated[Number, AfterValidator(lambda number: round(number, 6))]
"""As exact as sampling is: clients send what is near to a decimal number, such as 0.1 * 3."""
Count = Annotated[int, Field(ge=1)]
Top = Annotated[int, Field(ge=0, le=20)]
Many = Annotated[list[T], Field(fail_fast=True)]
"""A list of any length, of which the first thing that is wrong is told."""
TURNS = 10_000
"""The most messages of a conversation."""


def few(most: int) -> BeforeValidator:
    """An object of at most so many fields; pydantic would look at all of them first."""

    def check(value: Any) -> Any:
        if isinstance(value, dict) and len(value) > most:
            context = {"field_type": "Dictionary", "max_length": most, "actual_length": len(value)}
            raise PydanticKnownError("too_long", context)
        return value

    return BeforeValidator(check)


class Form(BaseModel):
    """A JSON object whose fields are all known, and of the type they say; one that is null asks for nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_unknown_null(cls, value: Any) -> Any:
        """Clients send all fields of their own types, also those that they leave empty; of others one is enough."""
        if not isinstance(value, dict):
            return value
        known = {field.alias or name for name, field in cls.model_fields.items()}
        unknown = next((name for name, item in value.items() if item is not None and name not in known), None)
        return {name: item for name, item in value.items() if name in known or name == unknown}


class Part(BaseModel):
    """A piece of a message; of all kinds we read text alone."""

    model_config = ConfigDict(extra="allow", strict=True)
    type: str
    text: str | None = None


class Function(Form):
    """What a model asked for; the arguments are JSON as text."""

    name: str
    arguments: str = "{}"


class ToolCall(Form):
    """A call that an assistant made."""

    id: str | None = None
    type: Literal["function"] = "function"
    function: Function
    index: int | None = None


class Message(Form):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Many[Part] | None = None
    name: str | None = None
    tool_calls: Many[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None


Turns = Annotated[Many[Message], Field(min_length=1, max_length=TURNS)]


class FunctionTool(Form):
    """A function that a model may call."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Form):
    """A tool; there are functions alone."""

    type: Literal["function"]
    function: FunctionTool


class NamedFunction(Form):
    """A function by its name."""

    name: str


class NamedTool(Form):
    """The one tool that is to be called."""

    type: Literal["function"]
    function: NamedFunction


ToolChoice = Literal["none", "auto", "required"] | NamedTool


class JsonSchema(Form):
    """A schema, and what OpenAI wants to be said beside it."""

    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Form):
    """What a text must be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(Form):
    """What a stream tells beside the text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


Value = bool | int | Number | str


def _sampling_form(place: str) -> type[Form]:
    """Return a form of the sampling parameters that requests have in one place, none of which must be given."""
    types: dict[str, Any] = {"integer": int, "decimal": Rounded, "flag": bool, "text": str}
    chosen = {name: (types[one.kind] | None, None) for name, one in DEFINITIONS.items() if one.http == place}
    return create_model("SamplingForm", __base__=Form, **chosen)  # type: ignore[call-overload, no-any-return]


if TYPE_CHECKING:

    class BodySampling(Form):
        """The fields that code names; the others come from their definitions too."""

        seed: int | None

    OwnSampling = Form
else:
    BodySampling, OwnSampling = _sampling_form("body"), _sampling_form("intact")


class Extension(OwnSampling):
    """What OpenAI's interface has no field for.

    Attributes
    ----------
    method, parameters, n, budget, answer
        A reasoning method (docs/reasoning.md), its parameters, its n, what it may cost ("tokens=20k"), and what of a
        text is the answer.
    progress, trace
        Whether a stream tells what happens meanwhile; whether the answer brings the whole tree of texts.
    receipt
        Whether each choice comes with a receipt (docs/receipts.md).
    regex, grammar
        What the text must match: a regular expression, a grammar in Lark's notation.
    priority
        From -8 to 8, among the requests of this client, and beside those of others.
    deadline
        Seconds after which the request is ended.
    id
        The name that draws depend on with the seed; by default a digest of the prompt.
    now
        The time that a chat template is told, such as ``2026-11-20T17:45:00``; by default the clock's, and of a method
        `intact.clock.DEFAULT_NOW`, as on the command line.
    """

    method: str | None = None
    parameters: Annotated[dict[str, Value], few(64)] = {}  # noqa: RUF012  pydantic copies it
    n: Count | None = None
    budget: str | None = None
    answer: Literal["text", "number", "expression"] = "expression"
    progress: bool = False
    trace: bool = False
    receipt: bool = False
    priority: Annotated[int, Field(ge=-8, le=8)] = 0
    deadline: Annotated[Number, Field(gt=0)] | None = None
    id: Annotated[str, Field(max_length=256)] | None = None
    now: str | None = None


class Sampled(BodySampling):
    """The fields that all requests for text have."""

    model: str
    logit_bias: Annotated[dict[str, Rounded], few(4096)] | None = None
    stop: str | Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=16)] | None = None
    n: Count | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    intact: Extension = Extension()


class ChatRequest(Sampled):
    """`/v1/chat/completions`."""

    messages: Turns
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: Top | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[Many[Tool], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    # these change nothing here
    metadata: dict[str, Any] | None = None
    store: Literal[False] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    verbosity: Literal["medium"] | None = None
    prediction: dict[str, Any] | None = None
    modalities: Many[Literal["text"]] | None = None


def _prompts(prompt: Any) -> str:
    if not isinstance(prompt, list):
        return "text"
    first = prompt[0] if prompt else None
    return "texts" if isinstance(first, str) else "lists" if isinstance(first, list) else "tokens"


Prompt = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[Many[str], Tag("texts")]
    | Annotated[Many[int], Tag("tokens")]
    | Annotated[Many[Many[int]], Tag("lists")],
    Discriminator(_prompts),
]
"""One or several texts, or as many lists of tokens; the first says which, so that no other is tried."""


class CompletionRequest(Sampled):
    """`/v1/completions`."""

    prompt: Prompt
    max_tokens: int | None = None
    echo: bool | None = None
    logprobs: Top | None = None
    best_of: int | None = None


class TokenizeRequest(Form):
    """`/tokenize`: a text or a conversation; the model is the first of the server's where none is named."""

    model: str | None = None
    prompt: str | None = None
    messages: Turns | None = None
    add_special_tokens: bool = True
    add_generation_prompt: bool = True


class DetokenizeRequest(Form):
    """`/detokenize`: tokens."""

    model: str | None = None
    tokens: Many[int]


class EmbeddingRequest(BaseModel):
    """`/v1/embeddings`."""

    model: str
    input: Any


class VerifyRequest(Form):
    """`/v1/verify`: a receipt; the model is the first of the server's where none is named."""

    receipt: dict[str, Any]
    model: str | None = None


class BatchRequest(Form):
    """`/v1/batches`: a file of requests, and the hours that they may take."""

    input_file_id: str
    endpoint: str
    completion_window: Annotated[str, Field(pattern=r"^[1-9]\d{0,2}h$")] = "24h"
    metadata: Annotated[dict[str, str], few(16)] | None = None


class Paging(BaseModel):
    """What of a list is read: at most `limit` of what comes after the identifier `after`; an address has only texts."""

    model_config = ConfigDict(extra="forbid")
    after: str | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class FilesPaging(Paging):
    """`/v1/files`: of one purpose, or all; by the time when they came."""

    limit: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    order: Literal["asc", "desc"] = "desc"
    purpose: str | None = None
