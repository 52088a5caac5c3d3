"""The assistant's words in a rendered conversation, where a chat template marks them with `{% generation %}`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from intact.text.template import ChatTemplate, Message

_TAG: Final = re.compile(r"(^[ \t]*)?\{%([-+]?)[ \t\n]*(end)?generation[ \t\n]*([-+]?)%\}(\n?)", re.MULTILINE)
_BEGIN: Final = "intactBeginOfGeneration7c1f"
_END: Final = "intactEndOfGeneration7c1f"


class MarkedText(NamedTuple):
    """A rendered conversation, and the spans of its characters that the assistant generates."""

    text: str
    spans: list[tuple[int, int]]


def render_with_marks(
    template: ChatTemplate, messages: Sequence[Message], variables: Mapping[str, Any]
) -> MarkedText | None:
    """Render a conversation with the spans that its template marks.

    Returns
    -------
    MarkedText or None
        None if the template has no marks, or if replacing them would change the text.

    Raises
    ------
    ParameterError, FormatError
        As for `ChatTemplate.render`.
    """
    chosen = template.tool_use if template.tool_use is not None and variables.get("tools") is not None else template
    source = _TAG.sub(_as_output, chosen.source_text)
    if source == chosen.source_text:
        return None
    plain = chosen.render(messages, add_generation_prompt=False, **variables)
    if _BEGIN in plain or _END in plain:
        return None
    marked = chosen.with_source(source).render(messages, add_generation_prompt=False, **variables)
    parts, spans, at, begin = re.split(f"({_BEGIN}|{_END})", marked), [], 0, None
    for part in parts:
        if part == _BEGIN:
            begin = at
        elif part == _END:
            if begin is None:
                return None
            spans.append((begin, at))
            begin = None
        else:
            at += len(part)
    if begin is not None or "".join(part for part in parts if part not in (_BEGIN, _END)) != plain:
        return None
    return MarkedText(plain, spans)


def _as_output(match: re.Match[str]) -> str:
    """Return an output statement that trims the same white space as the tag (`trim_blocks` and `lstrip_blocks`)."""
    indent, before, end, after, newline = (part or "" for part in match.groups())
    mark = _END if end else _BEGIN
    left = indent if before == "+" else ""
    right = newline if after == "+" else ""
    return f'{left}{{{{{before.replace("+", "")} "{mark}" {after.replace("+", "")}}}}}{right}'
