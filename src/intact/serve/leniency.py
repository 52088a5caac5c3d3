"""Other servers' fields in requests: harmless ones, and other spellings of features that this server supports.

They are rewritten before a request is validated; `intact serve --strict` rejects them instead. The response header
`intact-warning` lists the fields that were ignored or reinterpreted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Final

from intact._base.errors import IntactError
from intact.engine.sampling.grammars import SPACE
from intact.engine.sampling.json_schemas import imposable
from intact.serve.errors import ApiError, as_api_error
from intact.serve.forms import Form, parse_json

IGNORED: Final[Mapping[str, tuple[Any, ...] | None]] = {
    "store": (True,),
    "verbosity": ("low", "high"),
    "reasoning_effort": None,
    "reasoning": None,
    "keep_alive": None,
    "cache_prompt": None,
    "id_slot": None,
    "request_id": None,
    "guided_decoding_backend": None,
    "client_metadata": None,
    "best_of": (1,),
    "n_probs": (0,),
    "tfs_z": (1,),
    "mirostat": (0,),
    "length_penalty": (1,),
    "use_beam_search": (False,),
    "early_stopping": (False,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "include_stop_str_in_output": (False,),
}
"""Fields that have no effect on this server, with the values that are ignored (None: any)."""
RENAMED: Final = {"repeat_penalty": "repetition_penalty"}
"""Maps other servers' fields to this server's names."""
OFF: Final = {"max_tokens": None, "max_completion_tokens": None, "max_output_tokens": None, "top_k": 0}
"""Fields for which -1 means no limit, with this server's value for that (None: leave the field out)."""
LIMITS: Final = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"})
"""Fields that limit the tokens of an answer. Coding agents send the limits of large models, such as 32,000."""
_STREAM_OPTIONS = ("include_usage", "include_obfuscation")
CONSTRAINTS: Final = ("json", "regex", "choice", "grammar")
"""Constraints of vLLM: members of `structured_outputs`, or fields with the prefix `guided_`."""


class LenientForm(Form):
    """A request that may contain fields of other servers.

    Attributes
    ----------
    narrow : collection of str
        Fields that the request supports, except for the values that are ignored.
    """

    narrow: ClassVar[Collection[str]] = ("store", "verbosity")

    @classmethod
    def adapted(cls, value: Any, most_tokens: int) -> tuple[Any, list[str]]:
        """Return the body without fields of other servers, and warnings about the changes.

        Parameters
        ----------
        most_tokens : int
            Limit for a request that does not set one.

        Raises
        ------
        ApiError
            400, naming a field with a value that would have an effect, or a constraint that is not supported.
        """
        if not isinstance(value, dict):
            return value, []
        body, warnings = dict(value), list[str]()
        for name, harmless in IGNORED.items():
            is_known = name in cls.model_fields and name not in cls.narrow
            if body.get(name) is None or is_known:
                continue
            if harmless is None or any(body[name] == one and _same_kind(body[name], one) for one in harmless):
                del body[name]
                warnings.append(f"{name} is ignored")
            elif name not in cls.model_fields:
                known = " or ".join(json.dumps(one) for one in harmless)
                raise ApiError(400, f"{name} is not supported; leave it out, or give {known}", name, "unsupported")
        for name, own in RENAMED.items():
            if body.get(name) is not None and own in cls.model_fields and body.get(own) is None:
                body[own] = body.pop(name)
                warnings.append(f"{name} is read as {own}")
        for name, off in OFF.items():
            if body.get(name) == -1 and name in cls.model_fields:
                body[name] = most_tokens if off is None and "prompt" in cls.model_fields else off
                warnings.append(f"{name} -1 is read as no limit")
        lower_limits(body, cls.model_fields.keys() & LIMITS, most_tokens, warnings)
        if "input" in cls.model_fields:
            _drop_hosted_tools(body, warnings)
        if "text" in cls.model_fields:
            _drop_verbosity(body, warnings)
        _drop_empty_stops(body, warnings)
        options = body.get("stream_options")
        if isinstance(options, dict) and (unknown := options.keys() - set(_STREAM_OPTIONS)):
            body["stream_options"] = {name: item for name, item in options.items() if name not in unknown}
            warnings.append("unknown members of stream_options are ignored")
        if "intact" in cls.model_fields and ("prompt" in cls.model_fields or "response_format" in cls.model_fields):
            _read_constraint(body, "response_format" in cls.model_fields)
        return body, warnings


def lower_limits(body: dict[str, Any], names: Collection[str], most_tokens: int, warnings: list[str]) -> None:
    """Reduce token limits above the server's to the server's, in place."""
    for name in sorted(names):
        limit = body.get(name)
        if isinstance(limit, int) and limit > most_tokens:
            body[name] = most_tokens
            warnings.append(f"{name} {limit} is read as {most_tokens}, the most that this server allows")


def _drop_hosted_tools(body: dict[str, Any], warnings: list[str]) -> None:
    """Drop tools of OpenAI's newer API that are not functions, such as web search, in place."""
    tools = body.get("tools")
    if not isinstance(tools, list):
        return
    kinds = {tool.get("type") for tool in tools if isinstance(tool, dict)}
    if dropped := sorted(kind for kind in kinds if isinstance(kind, str) and kind != "function"):
        body["tools"] = [tool for tool in tools if not (isinstance(tool, dict) and tool.get("type") in dropped)]
        warnings.append(f"tools of the type {', '.join(dropped):.200} are ignored")


def _drop_verbosity(body: dict[str, Any], warnings: list[str]) -> None:
    """Drop the verbosity of OpenAI's newer API, in place."""
    text = body.get("text")
    if isinstance(text, dict) and text.get("verbosity") in (IGNORED["verbosity"] or ()):
        body["text"] = {name: item for name, item in text.items() if name != "verbosity"}
        warnings.append("text.verbosity is ignored")


def _same_kind(value: Any, other: Any) -> bool:
    return isinstance(value, bool) == isinstance(other, bool)


def _drop_empty_stops(body: dict[str, Any], warnings: list[str]) -> None:
    stop = body.get("stop")
    if stop == "":
        body["stop"] = None
    elif isinstance(stop, list) and "" in stop:
        body["stop"] = [one for one in stop if one != ""]
    else:
        return
    warnings.append("an empty stop is ignored")


def _read_constraint(body: dict[str, Any], is_chat: bool) -> None:
    """Rewrite a vLLM constraint as one of this server's, in place.

    Raises
    ------
    ApiError
        400, if there are several, or one has the wrong type.
    """
    found = {f"guided_{kind}": (kind, body.pop(f"guided_{kind}", None)) for kind in CONSTRAINTS}
    members = body.pop("structured_outputs", None)
    if members is not None and not isinstance(members, dict):
        raise ApiError(400, "structured_outputs must be an object", "structured_outputs")
    for name, item in (members or {}).items():
        where = f"structured_outputs.{name}"
        if item is not None and item is not False and name not in CONSTRAINTS:
            known = ", ".join(CONSTRAINTS)
            raise ApiError(400, f"{where:.80} is not supported; expected one of {known}", where, "unknown_field")
        found[where] = (name, item)
    given = [(where, kind, item) for where, (kind, item) in found.items() if item is not None and item is not False]
    if not given:
        return
    (where, kind, item), *others = given
    own, format_ = body.get("intact") or {}, body.get("response_format")
    is_free = not isinstance(format_, dict) or format_.get("type") == "text"
    if others or not is_free or (isinstance(own, dict) and (own.get("regex") or own.get("grammar"))):
        raise ApiError(400, f"{where} cannot be combined with another constraint", where, "unsupported")
    if kind == "json" and is_chat:
        schema = {"name": "guided", "schema": _schema(item, where)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif isinstance(own, dict):
        body["intact"] = own | _own_constraint(kind, item, where)


def _own_constraint(kind: str, item: Any, where: str) -> dict[str, str]:
    """Return a constraint as fields of `intact`."""
    if kind == "json":
        try:
            schema = imposable(_schema(item, where), where) | {"x-guidance": {"whitespace_pattern": SPACE}}
        except IntactError as error:
            raise as_api_error(error, (), where) from error
        return {"grammar": f"start: %json {json.dumps(schema)}\n"}
    if kind == "choice":
        if not (isinstance(item, list) and item and all(isinstance(one, str) and one for one in item)):
            raise ApiError(400, f"{where} must be a list of strings", where)
        return {"grammar": "start: " + " | ".join(json.dumps(one, ensure_ascii=False) for one in item) + "\n"}
    if not isinstance(item, str):
        raise ApiError(400, f"{where} must be a string", where)
    return {kind: item}


def _schema(item: Any, where: str) -> dict[str, Any]:
    """Return a JSON schema given as an object, or as the text of one."""
    schema = parse_json(item.encode("utf-8", "surrogatepass"), where, where) if isinstance(item, str) else item
    if not isinstance(schema, dict):
        raise ApiError(400, f"{where} must be a JSON schema", where)
    return schema
