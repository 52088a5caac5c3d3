"""Worker program that renders chat templates (see `intact._base.process`)."""

from __future__ import annotations

import calendar  # noqa: F401  for dates, before no more files can be opened
import json
import pprint  # noqa: F401  which a filter imports when it is called
import signal
import sys
import textwrap  # noqa: F401  likewise
import traceback
import unicodedata  # noqa: F401  for names of characters in strings
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta, timezone
from functools import wraps
from types import FrameType
from typing import Any, Final, TypeVar

import jinja2
import jinja2.debug
from jinja2 import filters, nodes, pass_context, pass_eval_context
from jinja2.ext import Extension, LoopControlExtension
from jinja2.nodes import EvalContext
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

FILE: Final = "<template>"
"""File name that jinja2 gives to templates in tracebacks."""
MOST: Final = 64
"""Maximum number of compiled templates kept."""
TEXT_FILTERS: Final = (
    "capitalize", "center", "e", "escape", "forceescape", "format", "indent", "lower", "pprint", "replace", "safe",
    "string", "striptags", "title", "trim", "truncate", "upper", "urlencode", "urlize", "wordcount", "wordwrap",
    "xmlattr",
)  # fmt: skip
"""Filters that convert any argument to text, in addition to `join`."""
WRITTEN: Final = "written text"
JOINED: Final = "joined text"
"""Names of filters that no template can use directly."""
T = TypeVar("T")

templates: dict[str, jinja2.Template] = {}
"""Compiled templates by the names that the parent gives them, oldest first."""


class OverTime(Exception):  # noqa: N818
    """Raised when a rendering takes too long."""


class Refusal(Exception):  # noqa: N818
    """Raised by a template's `raise_exception`."""


class GenerationBlock(Extension):
    """The block `{% generation %}`, which marks the assistant's words for training; rendered as its content."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """Return the content of the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class NoText(Exception):  # noqa: N818
    """Raised when a template outputs a value without a text form, such as a generator, which would show an address."""

    def __init__(self, expression: str, value: object) -> None:
        super().__init__(
            f"{expression} is of type {type(value).__name__}, which cannot be rendered as text; expected text, "
            "numbers, booleans, None, or lists and mappings of these"
            + (" (add |list)" if isinstance(value, Iterator) else "")
        )


def plain(value: T, expression: str) -> T:
    """Return a value if it and everything in it has a text form; otherwise raise NoText."""
    waiting, seen = [value], set[int]()
    while waiting:
        one: Any = waiting.pop()
        if isinstance(one, list | tuple | dict):
            if id(one) not in seen:  # the same list may occur many times
                seen.add(id(one))
                waiting += [*one, *one.values()] if isinstance(one, dict) else one
        elif not (one is None or isinstance(one, str | int | float | complex | jinja2.Undefined)):
            raise NoText(expression, one)
    return value


@pass_context
def written(context: Context, value: T, expression: str) -> T:
    """Check and return a value to be output. The context parameter keeps jinja2 from evaluating it at compile time."""
    return plain(value, expression)


@pass_eval_context
def join(context: EvalContext, value: Iterable[Any], d: str = "", attribute: Any = None) -> str:
    """Join the text forms of items."""
    return joined(context, value, "the input of |join", d, attribute=attribute)


@pass_eval_context
def joined(context: EvalContext, value: Iterable[Any], expression: str, d: str = "", attribute: Any = None) -> str:
    """Join the text forms of items like the filter `join`."""
    items = list(value if attribute is None else map(filters.make_attrgetter(context.environment, attribute), value))
    text: str = filters.do_join(context, plain(items, expression), plain(d, "the separator of |join"))
    return text


def checked(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a text filter so that it checks that all its arguments have a text form."""
    begin = int(hasattr(make, "jinja_pass_arg"))

    @wraps(make)
    def filter(*args: Any, **kwargs: Any) -> Any:  # noqa: A001
        plain([*args[begin:], *kwargs.values()], f"an argument of |{name}")
        return make(*args, **kwargs)

    return filter


def expression_of(node: nodes.Node | None) -> str:
    """Return an expression roughly as the template spells it."""
    match node:
        case nodes.Name():
            return node.name
        case nodes.Const():
            return repr(node.value)
        case nodes.Getattr():
            return f"{expression_of(node.node)}.{node.attr}"
        case nodes.Getitem():
            return f"{expression_of(node.node)}[{expression_of(node.arg)}]"
        case nodes.Call():
            return f"{expression_of(node.node)}({_arguments_of(node)})"
        case nodes.Filter(name=name) if name in (WRITTEN, JOINED):
            return expression_of(node.node)
        case nodes.Filter():
            arguments = _arguments_of(node)
            return f"{expression_of(node.node)}|{node.name}" + (f"({arguments})" if arguments else "")
        case nodes.List():
            return f"[{', '.join(map(expression_of, node.items))}]"
        case nodes.Tuple():
            return f"({', '.join(map(expression_of, node.items))})"
        case nodes.Dict():
            return "{" + ", ".join(f"{expression_of(one.key)}: {expression_of(one.value)}" for one in node.items) + "}"
        case nodes.BinExpr():
            return f"{expression_of(node.left)} {node.operator} {expression_of(node.right)}"
        case _:
            return "(...)"


def _arguments_of(node: nodes.Call | nodes.Filter) -> str:
    named = [f"{one.key}={expression_of(one.value)}" for one in node.kwargs]
    return ", ".join([*map(expression_of, node.args), *named])


def check_texts(template: nodes.Template) -> None:
    """Add checks to a template wherever it converts values to text: output, `~`, `%`, and inputs of text filters."""

    def check(node: Any) -> Any:
        if isinstance(node, nodes.TemplateData):
            return node
        return nodes.Filter(node, WRITTEN, [nodes.Const(described(node))], [], None, None, lineno=node.lineno)

    def described(node: nodes.Node | None) -> str:
        text = expression_of(node)
        return text if len(text) <= 80 else f"{text[:80]}..."

    for node in list(template.find_all((nodes.Output, nodes.Concat, nodes.Mod, nodes.Filter))):
        match node:
            case nodes.Output() | nodes.Concat():
                node.nodes = [check(one) for one in node.nodes]
            case nodes.Mod():
                node.right = check(node.right)
            case nodes.Filter(name="join", node=nodes.Expr()):
                node.name, node.args = JOINED, [nodes.Const(described(node.node)), *node.args]
            case nodes.Filter(name=name, node=nodes.Expr()) if name in TEXT_FILTERS:
                node.node = check(node.node)
                node.args = [check(one) for one in node.args]


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """jinja2's sandbox, extended to reject converting values without a text form to text."""

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        check_texts(source)
        return super()._generate(source, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Return a string's `format` method with checked arguments; None for other values."""
        made = super().wrap_str_format(value)
        return None if made is None else checked("format", made)

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function or method; checks the arguments of methods of escaped strings, which convert them to text."""
        owner = getattr(called, "__self__", None)
        if isinstance(owner, Markup) or owner is Markup:
            args = tuple([list(one) if isinstance(one, Iterator) else one for one in args])
            plain([*args, *kwargs.values()], f"an argument of {called.__name__}")
        return super().call(context, called, *args, **kwargs)


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Serialise JSON as Hugging Face's templates expect it: unescaped, in the given order."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment() -> TemplateSandbox:
    """Return jinja2's sandbox as chat templates expect it, without sources of randomness."""
    made = TemplateSandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,
        extensions=[LoopControlExtension, GenerationBlock],
    )
    made.filters["tojson"] = to_json
    made.filters |= {name: checked(name, made.filters[name]) for name in TEXT_FILTERS}
    made.filters |= {WRITTEN: written, JOINED: joined, "join": join}
    del made.filters["random"]
    del made.globals["lipsum"]
    return made


def compile_template(name: str, text: str) -> str | None:
    """Compile a template and keep it under a name; return the error, or None."""
    try:
        made = environment().from_string(text)
    except jinja2.TemplateSyntaxError as error:
        return f", line {error.lineno}: {error.message}"
    except Exception as error:  # Python rejects jinja2's generated code, for example for deep nesting
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
        Name given to `compile_template`.
    variables : dict
        Variables of the template.
    now : tuple
        Time in ISO 8601 without a zone, the zone's offset in seconds, and the zone's name.
    seconds : float
        Processor time after which an exception interrupts Python code; the kernel ends the process a little later.
    most : int
        Maximum number of characters in the output.

    Returns
    -------
    dict or None
        `text`; or a message under `limit`, `refusal` or `failure`, with `line` if known. None if there is no template
        with this name.
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
        return {"limit": "used more memory than a template may", "line": line_of(error)}
    except RecursionError as error:
        return {"limit": f"raised RecursionError: {error}", "line": line_of(error)}
    except Refusal as error:
        return {"refusal": str(error)}
    except Exception as error:
        return {"failure": f"{type(error).__name__}: {error}", "line": line_of(error)}
    finally:
        stop_after(0)


def stop_after(seconds: float) -> None:
    """Interrupt a rendering after this much processor time, if the system has such timers; 0 cancels the timer."""
    if sys.platform != "win32" and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)


def refuse(message: object) -> None:
    """Reject the messages."""
    raise Refusal(plain(message, "the message of raise_exception"))


def line_of(error: BaseException) -> int | None:
    """Return the template line in which an error occurred."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == FILE]
    return lines[-1] if lines else None


def stop(number: int, frame: FrameType | None) -> None:
    """Interrupt a rendering."""
    raise OverTime


WARM_UP: Final = """{%- macro f(x) -%}{{ x | title | urlencode | indent | tojson(indent=2) }}{%- endmacro -%}
{%- for m in messages -%}{{ f("\\u00e9" ~ m.role) ~ '%s' | format(1.5) ~ '{:>4}'.format(2) }}{%- endfor -%}
{{ strftime_now("%d %b %Y") }}{{ ["b", "a"] | sort | unique | join("\\n") | striptags | wordcount }}{{ 1 / 0 }}"""
"""A template that triggers the lazy imports of Python and jinja2."""


def start() -> dict[str, Callable[..., Any]]:
    """Return the functions that the parent may call."""
    if hasattr(signal, "SIGVTALRM"):
        signal.signal(signal.SIGVTALRM, stop)
    assert compile_template("", WARM_UP) is None
    reply = render("", {"messages": [{"role": "user"}]}, ("2024-03-05T00:00:00", None, None), 60, most=1000)
    assert reply == {"failure": "ZeroDivisionError: division by zero", "line": 3}, reply
    return {"compile": compile_template, "render": render}
