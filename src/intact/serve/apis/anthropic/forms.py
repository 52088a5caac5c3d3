"""Requests of `/v1/messages`: Anthropic's fields, the sampling parameters, and our own fields in `intact`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from intact.serve.forms import Form, Many
from intact.serve.leniency import LIMITS, lower_limits
from intact.serve.requests import TURNS, BodySampling, Extension

_TAGS = {"text": "text block", "thinking": "thinking block", "tool_use": "call block", "tool_result": "result block"}
"""Block alternatives by type; their names are not field names, so that errors can tell the two apart."""

EFFORTS = ("low", "medium", "xhigh", "max")
"""Effort levels that are ignored; Anthropic's default is accepted."""


class CacheControl(Form):
    """A cache breakpoint; all prompts are cached, so it has no effect."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class TextBlock(Form):
    """A text block; this server's answers never contain citations, so none can be sent back."""

    type: Literal["text"]
    text: str
    cache_control: CacheControl | None = None
    citations: Annotated[list[Any], Field(max_length=0)] | None = None


class ThinkingBlock(Form):
    """Thinking from an earlier answer; the signature has no effect."""

    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


class Caller(Form):
    """The author of a call: the model itself."""

    type: Literal["direct"]


class ToolUseBlock(Form):
    """A tool call."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]
    cache_control: CacheControl | None = None
    caller: Caller | None = None


def _refuse(kind: Any) -> Any:
    raise PydanticCustomError("unsupported_block", "this model reads only text, tool calls, and their results")


class OtherBlock(Form):
    """A block of another type, such as an image; rejected."""

    model_config = ConfigDict(extra="ignore")
    type: Annotated[Any, AfterValidator(_refuse)]


def _text_tag(block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    return "text block" if kind == "text" else "other block"


def _tag(block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    return _TAGS.get(kind, "other block") if isinstance(kind, str) else "other block"


_Text = Annotated[TextBlock, Tag("text block")]
_Other = Annotated[OtherBlock, Tag("other block")]
TextBlocks = Many[Annotated[_Text | _Other, Discriminator(_text_tag)]]
"""Content blocks where only text is allowed."""


class ToolResultBlock(Form):
    """The result of a call; chat templates do not show `is_error`, so it has no effect."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | TextBlocks | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None


Block = Annotated[
    _Text
    | Annotated[ThinkingBlock, Tag("thinking block")]
    | Annotated[ToolUseBlock, Tag("call block")]
    | Annotated[ToolResultBlock, Tag("result block")]
    | _Other,
    Discriminator(_tag),
]


class Turn(Form):
    """A turn of a conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | Many[Block]


class ClientTool(Form):
    """A tool that the client runs; fields without effect on this server accept only their neutral values."""

    type: Literal["custom"] | None = None
    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,128}$")
    description: str | None = None
    input_schema: dict[str, Any]
    strict: bool | None = None
    cache_control: CacheControl | None = None
    eager_input_streaming: bool | None = None
    defer_loading: Literal[False] | None = None
    allowed_callers: Many[Literal["direct"]] | None = None


class ToolChoice(Form):
    """The tool choice: `name` with ``tool``, and `disable_parallel_tool_use` with every type except ``none``."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Form):
    """Thinking before the answer; `budget_tokens` is a target that this server's models cannot follow."""

    type: Literal["enabled", "adaptive", "disabled"]
    budget_tokens: Annotated[int, Field(ge=1)] | None = None
    display: Literal["summarized"] | None = None


class OutputFormat(Form):
    """The schema of the output."""

    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(Form):
    """The output format, and Anthropic's default effort; other efforts are ignored or rejected."""

    format: OutputFormat | None = None
    effort: Literal["high"] | None = None


class RequestMetadata(Form):
    """Metadata of the request; has no effect."""

    user_id: str | None = None


class TokensRequest(Form):
    """`/v1/messages/count_tokens`: the fields that a prompt depends on."""

    model: str
    messages: Annotated[Many[Turn], Field(min_length=1, max_length=TURNS)]
    system: str | TextBlocks | None = None
    tools: Annotated[Many[ClientTool], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    intact: Extension = Extension()
    # these have no effect
    cache_control: CacheControl | None = None

    @classmethod
    def adapted(cls, value: Any, most_tokens: int) -> tuple[Any, list[str]]:
        """Return the body without settings that agents send for larger models, and warnings about the changes.

        These settings are effort levels, rules for compacting the conversation on the server, and token limits above
        this server's.
        """
        if not isinstance(value, dict):
            return value, []
        body, warnings = dict(value), list[str]()
        if body.pop("context_management", None) is not None:
            warnings.append("context_management is ignored")
        output = body.get("output_config")
        if isinstance(output, dict) and output.get("effort") in EFFORTS:
            body["output_config"] = {name: item for name, item in output.items() if name != "effort"}
            warnings.append("output_config.effort is ignored")
        lower_limits(body, cls.model_fields.keys() & LIMITS, most_tokens, warnings)
        return body, warnings


class MessagesRequest(TokensRequest, BodySampling):
    """`/v1/messages`."""

    max_tokens: int
    stop_sequences: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=16)] | None = None
    stream: bool | None = None
    thread: dict[str, Any] | None = None
    # these have no effect
    metadata: RequestMetadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
