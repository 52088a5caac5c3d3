"""Generation requests: OpenAI's fields, and our own fields in `intact`. Unknown fields are rejected."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, create_model

from intact._base.errors import IntactError
from intact.engine.mixes import ChosenMix, check_shadow, chosen_mix
from intact.engine.sampling.parameters import DEFINITIONS, SamplingParameters
from intact.evaluate.predicted import LEVEL
from intact.serve.errors import ApiError, as_api_error
from intact.serve.forms import Count, Form, Many, Number, Positive, Rounded, few, parse_json
from intact.serve.identity import new_seed
from intact.serve.leniency import LenientForm
from intact.serve.settings import ServerSettings
from intact.text.template import read_time

Top = Annotated[int, Field(ge=0, le=20)]
TURNS = 10_000
"""Maximum number of messages in a conversation."""
TEXT_FIELDS = frozenset(
    {"receipt", "regex", "grammar", "stop_below", "stop_mean_below", "stop_window", "priority", "deadline", "id"}
)
"""Fields of `intact` that every generation request accepts."""
MIX, SHADOW = "intact.mix", "intact.shadow"
"""The fields of a mix, as named in errors."""
MIX_FIELDS = frozenset({"mix", "shadow"})
"""Fields of `intact` for a mix."""
CHAT_FIELDS = frozenset({"now", "control_tokens"})
"""Fields that control how a chat template renders a conversation, and how the result is tokenised."""


class ContentPart(BaseModel):
    """A part of a message; only text is supported."""

    model_config = ConfigDict(extra="allow", strict=True)
    type: str
    text: str | None = None


class Function(Form):
    """A function called by a model; its arguments are a JSON string."""

    name: str
    arguments: str = "{}"

    def as_turn(self, where: str) -> dict[str, Any]:
        """Return the function with its arguments as a value, as chat templates expect it."""
        where = f"{where}.function.arguments"
        value = parse_json((self.arguments or "{}").encode("utf-8", "surrogatepass"), where, where)
        if not isinstance(value, dict):
            raise ApiError(400, f"{where} must be a JSON object, got {self.arguments!r:.60}", where)
        return {"name": self.name, "arguments": value}


class ToolCall(Form):
    """A tool call by an assistant."""

    id: str | None = None
    type: Literal["function"] = "function"
    function: Function
    index: int | None = None


class Message(Form):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Many[ContentPart] | None = None
    name: str | None = None
    tool_calls: Many[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None

    def as_turn(self, where: str) -> dict[str, Any]:
        """Return the message as chat templates expect it; `where` is its path in the request, such as ``messages[0]``.

        Raises
        ------
        ApiError
            400, for content other than text, or call arguments that are not JSON.
        """
        turn: dict[str, Any] = {"role": "system" if self.role == "developer" else self.role}
        turn["content"] = self._text(f"{where}.content")
        given = {"name": self.name, "tool_call_id": self.tool_call_id, "reasoning_content": self._thoughts(where)}
        turn |= {name: value for name, value in given.items() if value is not None}
        if self.tool_calls:
            turn["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": call.function.as_turn(f"{where}.tool_calls[{i}]"),
                }
                for i, call in enumerate(self.tool_calls)
            ]
        return turn

    def _thoughts(self, where: str) -> str | None:
        """Return the thinking before the message, from either of the fields that servers use for it."""
        thoughts = {self.reasoning_content, self.reasoning} - {None}
        if len(thoughts) > 1:
            message = f"{where}.reasoning differs from {where}.reasoning_content: give only one of them"
            raise ApiError(400, message, f"{where}.reasoning")
        return next(iter(thoughts), None)

    def _text(self, where: str) -> str:
        if isinstance(self.content, str):
            return self.content
        if self.content is None and self.tool_calls is None and self._thoughts(where) is None:
            raise ApiError(400, f"{where} is missing", where, "missing_field")
        texts = []
        for i, part in enumerate(self.content or ()):
            place = f"{where}[{i}]"
            if part.type not in ("text", "input_text", "output_text"):
                message = f"{place}: this model reads only text, got {part.type!r:.60}"
                raise ApiError(400, message, place, "unsupported")
            if part.text is None:
                raise ApiError(400, f"{place}.text is missing", f"{place}.text", "missing_field")
            texts.append(part.text)
        return "\n".join(texts)


Turns = Annotated[Many[Message], Field(min_length=1, max_length=TURNS)]


def as_turns(messages: Sequence[Message], where: str = "messages") -> list[dict[str, Any]]:
    """Return messages as chat templates expect them; `where` is their field; errors are as for `Message.as_turn`."""
    return [message.as_turn(f"{where}[{i}]") for i, message in enumerate(messages)]


class FunctionTool(Form):
    """A function that a model may call."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Form):
    """A tool; only functions are supported."""

    type: Literal["function"]
    function: FunctionTool


class NamedFunction(Form):
    """A function, by name."""

    name: str


class NamedTool(Form):
    """The only tool, which must be called."""

    type: Literal["function"]
    function: NamedFunction


ToolChoice = Literal["none", "auto", "required"] | NamedTool


class JsonSchema(Form):
    """A schema with its name and description."""

    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Form):
    """The output format: free text, JSON, or JSON that matches a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def required_schema(self) -> dict[str, Any] | None:
        """Return the schema for output that must be JSON.

        Raises
        ------
        ApiError
            400, if it is missing.
        """
        if self.type != "json_schema":
            return {"type": "object"} if self.type == "json_object" else None
        if self.json_schema is None:
            where = "response_format.json_schema"
            raise ApiError(400, f"{where} is missing", where, "missing_field")
        return self.json_schema.schema_


class StreamOptions(Form):
    """Options of a stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


Value = bool | int | Number | str


def _sampling_form(place: str) -> type[Form]:
    """Return a form of the sampling parameters that requests contain in one place, all of them optional."""
    types: dict[str, Any] = {"integer": int, "decimal": Rounded, "flag": bool, "text": str}
    above = {name: Positive for name, one in DEFINITIONS.items() if one.above and one.low == 0}
    chosen = {
        name: (above.get(name, types[one.kind]) | None, None) for name, one in DEFINITIONS.items() if one.http == place
    }
    return create_model("SamplingForm", __base__=Form, **chosen)  # type: ignore[call-overload, no-any-return]


if TYPE_CHECKING:

    class BodySampling(Form):
        """The sampling parameters that this code refers to; all fields come from their definitions."""

        seed: int | None
        temperature: float | None
        top_p: float | None

    OwnSampling = Form
else:
    BodySampling, OwnSampling = _sampling_form("body"), _sampling_form("intact")


def _kind_of_prompt(prompt: Any) -> str:
    if not isinstance(prompt, list):
        return "text"
    first = prompt[0] if prompt else None
    return "texts" if isinstance(first, str) else "lists" if isinstance(first, list) else "tokens"


_Prompts = (
    Annotated[str, Tag("text")]
    | Annotated[Many[str], Tag("texts")]
    | Annotated[Many[int], Tag("tokens")]
    | Annotated[Many[Many[int]], Tag("lists")]
)
Prompt = Annotated[_Prompts, Discriminator(_kind_of_prompt)]
"""One or several strings or lists of tokens; the first item decides, so that errors concern only one alternative."""


def _kind_of_shadow(shadow: Any) -> str:
    first = shadow[0] if isinstance(shadow, list) and shadow else None
    return "messages" if isinstance(first, dict | Message) else _kind_of_prompt(shadow)


Shadow = Annotated[_Prompts | Annotated[Turns, Tag("messages")], Discriminator(_kind_of_shadow)]
"""A prompt as in `Prompt`, or a conversation."""


class Extension(OwnSampling):
    """The field `intact`: parameters that the OpenAI API lacks.

    Attributes
    ----------
    method, parameters, n, budget, answer
        A reasoning method (docs/reasoning.md), its parameters, its n, its budget ("tokens=20k"), and which part of a
        completion is the answer.
    progress, trace
        If true, a stream reports events while the method runs; the response includes the whole tree of completions.
    level
        Probability that each statement of a calibration holds (`intact serve --calibration`).
    receipt
        If true, each choice includes a receipt (docs/spec/receipts.md).
    regex, grammar
        A regular expression, or a grammar in Lark's notation, that the output must match.
    mix, shadow
        The mix that tokens are sampled from (docs/mixing.md), by name or as an object with `name` and parameters; and
        the model's second prompt: a string that replaces a conversation's last message, or messages.
    priority
        Priority from -8 to 8 among this client's queued requests and among all running ones.
    deadline
        Timeout of the request in seconds.
    id
        A name that random draws depend on, together with the seed; by default a digest of the prompt.
    now
        Time for chat templates that state the date, such as ``2026-11-20T17:45:00``; by default the current time, or
        with a method `intact.text.template.DEFAULT_NOW`, as on the command line.
    """

    method: str | None = None
    parameters: Annotated[dict[str, Value], few(64)] = Field(default={})
    n: Count | None = None
    budget: str | None = None
    answer: Literal["text", "number", "expression"] = "expression"
    progress: bool = False
    trace: bool = False
    level: Annotated[Number, Field(gt=0, lt=1)] = LEVEL
    receipt: bool = False
    mix: str | Annotated[dict[str, str | Rounded], few(16)] | None = None
    shadow: Shadow | None = None
    priority: Annotated[int, Field(ge=-8, le=8)] = 0
    deadline: Annotated[Number, Field(gt=0)] | None = None
    id: Annotated[str, Field(max_length=256)] | None = None
    now: str | None = None
    control_tokens: bool = False

    def accept_only(self, names: Collection[str], where: str) -> None:
        """Reject fields that would have no effect: all except `names` must have their defaults.

        Raises
        ------
        ApiError
            400, naming the field.
        """
        for name, known in type(self).model_fields.items():
            if name not in names and getattr(self, name) != known.default:
                raise ApiError(400, f"intact.{name} has no effect {where}", f"intact.{name}", "unsupported")

    def chosen_mix(self) -> ChosenMix | None:
        """Return the mix that the request names, or None.

        Raises
        ------
        ApiError
            400, naming the field: there is no such mix, a parameter is invalid, or its shadow is missing or unused.
        """
        if self.mix is None and self.shadow is None:
            return None
        try:
            chosen = None if self.mix is None else chosen_mix(self.mix)
        except IntactError as error:
            raise as_api_error(error, (), MIX) from error
        try:
            check_shadow(chosen, self.shadow is not None)
        except IntactError as error:
            raise as_api_error(error, (), SHADOW) from error
        return chosen

    def time(self) -> datetime | None:
        """Return the time for chat templates, if the request sets one.

        Raises
        ------
        ApiError
            400, if it is invalid.
        """
        try:
            return None if self.now is None else read_time(self.now)
        except IntactError as error:
            raise as_api_error(error, (), "intact.now") from error


def _token_id(name: str) -> int:
    if not (name.isascii() and name.isdecimal() and len(name) < 10):
        raise ApiError(400, f"logit_bias must map token ids to numbers, got the token {name!r:.60}", "logit_bias")
    return int(name)


Stop = str | Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=16)]
"""One or several stop strings."""
R = TypeVar("R", bound="TextRequest")
SEED_BITS: Final = 53
"""Number of bits in a seed made by the server; every JSON implementation represents it exactly."""


def with_seed(request: R, settings: ServerSettings) -> R:
    """Return a request with a seed: its own, or else a new one, or 0 if the server uses fixed seeds."""
    if request.seed is not None:
        return request
    return request.model_copy(update={"seed": 0 if settings.seeds == "fixed" else new_seed(SEED_BITS)})


def check_limit(limit: int, settings: ServerSettings, field: str) -> int:
    """Return a token limit if the server allows it.

    Raises
    ------
    ApiError
        400, if it does not.
    """
    if not 1 <= limit <= settings.max_tokens:
        raise ApiError(400, f"{field} must be an integer from 1 to {settings.max_tokens} here, got {limit}", field)
    return limit


class TextRequest(BodySampling, LenientForm):
    """Fields shared by all generation requests."""

    model: str
    logit_bias: Annotated[dict[str, Rounded], few(4096)] | None = None
    stop: Stop | None = None
    n: Count | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    intact: Extension = Extension()

    @property
    def usage_wanted(self) -> bool:
        """If true, a stream ends with its token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def choices(self, settings: ServerSettings) -> int:
        """Return the number of choices.

        Raises
        ------
        ApiError
            400, if the server allows fewer.
        """
        if (n := self.n or 1) > settings.max_choices:
            raise ApiError(400, f"n must be an integer from 1 to {settings.max_choices}, got {n}", "n")
        return n

    def sampling(self, max_tokens: int, top_logprobs: int = 0, **constraint: Any) -> SamplingParameters:
        """Return the sampling parameters, with OpenAI's defaults: temperature 1, all tokens.

        Raises
        ------
        ApiError
            400, naming the field.
        """
        given: dict[str, Any] = {"temperature": 1.0}
        for name, definition in DEFINITIONS.items():
            form = self if definition.http == "body" else self.intact
            if definition.http != "endpoint" and (value := getattr(form, name)) is not None:
                given[name] = value
        added = {name: value for name, value in constraint.items() if value is not None}
        for name in given.keys() & added:
            where = f"intact.{name}"
            raise ApiError(400, f"{where} cannot be combined with calls that have a grammar", where, "unsupported")
        given["stop"] = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if self.logit_bias:
            given["logit_bias"] = {_token_id(name): bias for name, bias in self.logit_bias.items()}
        try:
            return SamplingParameters(max_tokens=max_tokens, top_logprobs=top_logprobs, **given, **added)
        except IntactError as error:
            raise as_api_error(error, list(DEFINITIONS)) from error


class NoEffectFields(LenientForm):
    """Fields of OpenAI's chats and responses that are accepted without effect."""

    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None


class RenderedForm(Form):
    """The end of a rendered conversation: the start of a new answer, or the last message left open."""

    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None

    def ending(self) -> dict[str, bool]:
        """Return the arguments of `ChatTemplate.render`.

        Raises
        ------
        ApiError
            400, if both fields are true.
        """
        if self.add_generation_prompt and self.continue_final_message:
            field = "add_generation_prompt"
            raise ApiError(400, f"{field} must be false or left out with continue_final_message", field)
        return {name: value for name in RenderedForm.model_fields if (value := getattr(self, name)) is not None}


class ChatRequest(TextRequest, NoEffectFields, RenderedForm):
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
    # these have no effect either
    store: Literal[False] | None = None
    verbosity: Literal["medium"] | None = None
    prediction: dict[str, Any] | None = None
    modalities: Many[Literal["text"]] | None = None

    def limit(self, settings: ServerSettings) -> int | None:
        """Return the request's token limit, if it sets one; the newer of OpenAI's two names takes precedence.

        Raises
        ------
        ApiError
            400, if the server does not allow it.
        """
        field = "max_tokens" if self.max_completion_tokens is None else "max_completion_tokens"
        limit: int | None = getattr(self, field)
        return None if limit is None else check_limit(limit, settings, field)

    def checked(self, settings: ServerSettings, accepted: Collection[str], where: str) -> CheckedChat:
        """Check all fields whose validity does not depend on the model.

        Parameters
        ----------
        accepted, where
            The fields of `intact` that have an effect, and their path, as for `Extension.accept_only`.

        Raises
        ------
        ApiError
            400, naming the field.
        """
        request, own = with_seed(self, settings), self.intact
        own.accept_only(accepted, where)
        if self.top_logprobs and not self.logprobs:
            raise ApiError(400, "top_logprobs needs logprobs to be true", "top_logprobs")
        limit, mix, ending = self.limit(settings), own.chosen_mix(), self.ending()
        return CheckedChat(request, as_turns(self.messages), limit=limit, mix=mix, ending=ending, now=own.time())


class CheckedChat(NamedTuple):
    """A chat whose fields are valid, independently of the model.

    Attributes
    ----------
    request : ChatRequest
        The request, with a seed.
    turns : list of dict
        Its messages, as chat templates expect them.
    limit : int or None
        Maximum number of tokens per answer, if the request sets it.
    mix : ChosenMix or None
        The mix that tokens are sampled from.
    ending : dict
        The arguments of `ChatTemplate.render` that determine how the conversation ends.
    now : datetime or None
        The time for chat templates, if the request sets one.
    """

    request: ChatRequest
    turns: list[dict[str, Any]]
    limit: int | None
    mix: ChosenMix | None
    ending: dict[str, bool]
    now: datetime | None


class CompletionRequest(TextRequest):
    """`/v1/completions`."""

    prompt: Prompt
    suffix: str | None = None
    max_tokens: int | None = None
    echo: bool | None = None
    logprobs: Top | None = None
    best_of: int | None = None
