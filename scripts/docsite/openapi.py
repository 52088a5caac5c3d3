"""The reference of the HTTP interface: the server's OpenAPI document as a page."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from intact.serve.app import create_app
from intact.serve.models import Loading, Models
from intact.serve.service import Service
from intact.serve.settings import ServerSettings

Schema = dict[str, Any]
INTERFACES = {
    "/v1/messages": "Anthropic's interface",
    "/api/": "Ollama's interface",
    "/v1/": "OpenAI's interface, and ours",
}
"""Headings by path prefix; the first match applies."""
OTHER = "State, tokens, metrics"
OPENING = """\
# HTTP

The operations of `intact serve`, and the objects that they take. [Server](../docs/server.md) says how to use them, what
they answer, and how errors look. A server gives the same as an [OpenAPI document](openapi.json) at `/openapi.json`. A
body with a field that is not listed is refused, but for what [is accepted from other
clients](../docs/server.md#fields).
"""


def document() -> Schema:
    """Return the OpenAPI document of a server that stores files and batches, without loading a model."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.gguf"
        model.touch()
        settings = ServerSettings(state=Path(folder) / "state")
        found: Schema = create_app(Service(settings, Models({"model": str(model)}, Loading(), settings))).openapi()
    return found


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def type_of(schema: Schema) -> str:
    """Return a schema's type in words, with links to the objects that it names."""
    if "$ref" in schema:
        name = _name(schema["$ref"])
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(type_of(one) for one in choices))
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    limits = [f"{word} {schema[key]:g}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
    limits += [f"{word} {schema[key]} characters" for key, word in (("maxLength", "at most"),) if key in schema]
    return " ".join([schema.get("type", "any value"), *limits])


def _fields(schema: Schema) -> list[str]:
    required = schema.get("required", [])
    lines = ["", "| field | type | default |", "|---|---|---|"]
    for name, field in schema.get("properties", {}).items():
        default = "required" if name in required else f"`{json.dumps(field['default'])}`" if "default" in field else ""
        if default in ("`null`", "`{}`"):
            default = ""
        lines.append(f"| `{name}` | {type_of(field)} | {default} |".replace("||", "| |"))
    return [*lines, ""] if schema.get("properties") else [""]


def _operation(path: str, method: str, operation: Schema) -> list[str]:
    lines = [f"### {method.upper()} {path}", "", operation.get("description", operation["summary"])]
    for parameter in operation.get("parameters", []):
        lines += ["", f"- `{parameter['name']}` (in the {parameter['in']}): {type_of(parameter['schema'])}"]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        lines += ["", f"Body ({kind}): {type_of(content['schema'])}."]
    return [*lines, ""]


def _interface(path: str) -> str:
    return next((name for prefix, name in INTERFACES.items() if path.startswith(prefix)), OTHER)


def render(described: Schema) -> str:
    """Return the page."""
    lines = [OPENING]
    used = {_interface(path) for path in described["paths"]}
    for interface in [*dict.fromkeys([INTERFACES["/v1/"], *INTERFACES.values(), OTHER])]:
        if interface not in used:
            continue
        lines += [f"## {interface}", ""]
        for path, operations in described["paths"].items():
            if _interface(path) == interface:
                for method, operation in operations.items():
                    lines += _operation(path, method, operation)
    lines += ["## Objects", ""]
    for name, schema in sorted(described["components"]["schemas"].items()):
        if "ValidationError" not in name:  # FastAPI's own, which this server does not answer with
            lines += [f"### {name}", "", schema.get("description", ""), *_fields(schema)]
    return "\n".join(lines) + "\n"


def write(page: Path, file: Path) -> None:
    """Write the page, and the document next to it."""
    described = document()
    page.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(described, indent=1) + "\n", "utf-8")
    page.write_text(render(described), "utf-8")
