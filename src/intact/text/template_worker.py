"""The program of the worker process that renders chat templates (see `intact.process`)."""

from __future__ import annotations

import calendar  # noqa: F401  for dates, before no more files can be opened
import json
import pprint  # noqa: F401  which a filter imports when it is called
import signal
import sys
import textwrap  # noqa: F401  likewise
import traceback
import unicodedata  # noqa: F401  for names of characters in strings
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import FrameType
from typing import Any, Final

import jinja2
import jinja2.debug
from jinja2 import nodes, pass_context
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

FILE: Final = "<template>"
"""The name that jinja2 gives in tracebacks."""
MOST: Final = 64
"""Templates that are kept compiled."""

templates: dict[str, jinja2.Template] = {}
"""Compiled templates by the name that the parent gives them, the oldest first."""


class OverTime(Exception):  # noqa: N818
    """A rendering took too long."""


class Refusal(Exception):  # noqa: N818
    """Raised by a template on purpose."""


class GenerationBlock(Extension):
    """The block `{% generation %}`, which marks the assistant's words for training: rendered as its content."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """Return the block's content."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@pass_context
def unchanged(context: Context, value: Any) -> Any:
    """Return the value. A function that takes the context keeps jinja2 from computing constants while compiling."""
    return value


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as Hugging Face's templates expect it: unescaped, in the order given."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment() -> ImmutableSandboxedEnvironment:
    """Return jinja2's sandbox as chat templates expect it, without what draws from chance."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,
        extensions=[LoopControlExtension, GenerationBlock],
        finalize=unchanged,
    )
    made.filters["tojson"] = to_json
    del made.filters["random"]
    del made.globals["lipsum"]
    return made


def compile_template(name: str, text: str) -> str | None:
    """Keep a template under a name; return what is wrong with it, or None."""
    try:
        made = environment().from_string(text)
    except jinja2.TemplateSyntaxError as error:
        return f", line {error.lineno}: {error.message}"
    except Exception as error:  # Python refuses the code that jinja2 makes, such as for deep nesting
        return f": {type(error).__name__}: {error}"
    templates[name] = made
    if len(templates) > MOST:
        del templates[next(iter(templates))]
    return None


def render(
    name: str, variables: dict[str, Any], now: tuple[str, float | None, str | None], seconds: float, most: int
) -> dict[str, Any] | None:
    """Render a template.

    Parameters
    ----------
    name : str
        Its name, as `compile_template` was given it.
    variables : dict
        Its variables.
    now : tuple
        The time in ISO 8601 without a zone, the zone's offset in seconds, and the zone's name.
    seconds : float
        Processor time, after which an exception stops what Python does; the kernel ends the process a little later.
    most : int
        Characters that it may write.

    Returns
    -------
    dict or None
        `text`; or `limit`, `refusal` or `failure`, a message, with `line` if that is known. None if there is no
        template of this name.
    """
    template = templates.get(name)
    if template is None:
        return None
    iso, offset, zone = now
    time = datetime.fromisoformat(iso)
    if offset is not None:
        time = time.replace(tzinfo=timezone(timedelta(seconds=offset), zone or ""))
    given = {**variables, "raise_exception": refuse, "strftime_now": time.strftime}
    stop_after(seconds)
    try:
        written, length = [], 0
        for piece in template.generate(given):
            length += len(piece)
            if length > most:
                return {"limit": f"wrote more than {most:,} characters"}
            written.append(piece)
        return {"text": "".join(written)}
    except OverTime as error:
        return {"limit": f"took more than {seconds:g} s", "line": line_of(error)}
    except MemoryError as error:
        return {"limit": "took more memory than a template may", "line": line_of(error)}
    except RecursionError as error:
        return {"limit": f"raised RecursionError: {error}", "line": line_of(error)}
    except Refusal as error:
        return {"refusal": str(error)}
    except Exception as error:
        return {"failure": f"{type(error).__name__}: {error}", "line": line_of(error)}
    finally:
        stop_after(0)


def stop_after(seconds: float) -> None:
    """Stop a rendering after so much processor time, if the system has such timers; 0 takes that back."""
    if sys.platform != "win32" and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)


def refuse(message: object) -> None:
    """Refuse the messages."""
    raise Refusal(message)


def line_of(error: BaseException) -> int | None:
    """Return the line of the template that an error is from."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == FILE]
    return lines[-1] if lines else None


def stop(number: int, frame: FrameType | None) -> None:
    """Stop a rendering."""
    raise OverTime


WARM_UP: Final = """{%- macro f(x) -%}{{ x | title | urlencode | indent | tojson(indent=2) }}{%- endmacro -%}
{%- for m in messages -%}{{ f("\\u00e9" ~ m.role) ~ '%s' | format(1.5) ~ '{:>4}'.format(2) }}{%- endfor -%}
{{ strftime_now("%d %b %Y") }}{{ ["b", "a"] | sort | unique | join("\\n") | striptags | wordcount }}{{ 1 / 0 }}"""
"""A template that makes Python and jinja2 import the modules that they import late."""


def start() -> dict[str, Callable[..., Any]]:
    """Return the functions that the parent may call."""
    if hasattr(signal, "SIGVTALRM"):
        signal.signal(signal.SIGVTALRM, stop)
    assert compile_template("", WARM_UP) is None
    reply = render("", {"messages": [{"role": "user"}]}, ("2024-03-05T00:00:00", None, None), 60, 1000)
    assert reply == {"failure": "ZeroDivisionError: division by zero", "line": 3}, reply
    return {"compile": compile_template, "render": render}
