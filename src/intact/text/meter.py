"""A jinja2 environment in which a template cannot run away.

jinja2's sandbox keeps a template from reaching Python. It does not keep it from looping for hours or from filling the
memory with one multiplication. Here everything a template does passes a `Meter`: each turn of a loop, each comparison,
each call of a function, a macro, a filter or a test looks at the clock, and everything that is made (a sum, a product,
a list, a slice, the result of a call) is charged by its size, with all that it contains counted as often as it is
contained.
What could grow beyond its arguments (`"a" * n`, `ljust`, `replace`, `join`, `title`, a width in a format) is charged
before it happens.

So a template stops within a moment of its limits, in any thread, without signals, tracing or another process: a single
step takes no longer than its size allows, and no size goes beyond the budget.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import update_wrapper
from typing import Any, Final

from jinja2 import TemplateError, nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame, operators
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

_SLOT: Final = 16
"""What an entry of a container costs, in characters."""

_WIDEST: Final = 10_000
"""The greatest width or precision in a format, and number of bits of an integer."""

_DEEPEST: Final = 64
"""The greatest indentation of JSON, for every level."""

_COSTLY: Final = frozenset(("striptags", "title", "unique", "urlencode", "wordcount"))
"""Filters that may make a piece of every character."""

_PIECE: Final = 64
"""What a piece costs, in characters."""

_WITHOUT: Final = ("pprint", "urlize", "wordwrap", "xmlattr", "random")
"""Filters left out: they expand text in ways that nobody needs in a chat, or draw from chance."""

# fmt: off
_STRING_METHODS: Final = frozenset((
    "capitalize", "casefold", "center", "count", "endswith", "find", "format", "format_map", "index", "isalnum",
    "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isprintable", "isspace",
    "istitle", "isupper", "join", "ljust", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace",
    "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip",
    "swapcase", "title", "upper", "zfill",
))
# fmt: on
"""What a chat needs; those that can make much of little are charged in `MeteredEnvironment`."""


class LimitError(TemplateError):
    """A template went beyond its time or its budget."""


class Meter:
    """Counts what one rendering uses.

    Parameters
    ----------
    seconds : float
        How long it may take, of the processor's time: a busy machine stops nothing that an idle one does not.
    budget : int
        How many characters it may make in all, intermediate results included; an entry of a list counts as 16.
    """

    def __init__(self, seconds: float, budget: int) -> None:
        self._seconds = seconds
        self._deadline = time.thread_time() + seconds
        self._budget = self._left = budget

    def tick(self) -> None:
        """Look at the clock."""
        if time.thread_time() > self._deadline:
            raise LimitError(f"took more than {self._seconds:g} s")

    def charge(self, characters: int) -> None:
        """Take from the budget."""
        self._left -= characters
        if self._left < 0:
            raise LimitError(f"made more than {self._budget:,} characters of text")

    def admit(self, value: Any) -> Any:
        """Charge a value that was made, and return it; what comes from an iterator is charged as it comes."""
        self.tick()
        if type(value) is str:
            self.charge(len(value))
        elif isinstance(value, Iterator):
            return self._each(value)
        else:
            self.charge(self.weigh(value))
        return value

    def weigh(self, value: Any) -> int:
        """Give the size of a value as it would be written out; counting ends soon after what is left is exceeded."""
        total = steps = 0
        waiting = [value]
        while waiting and total <= self._left:
            steps += 1
            if steps % 1024 == 0:
                self.tick()
            item = waiting.pop()
            if isinstance(item, str | bytes):
                total += len(item)
            elif isinstance(item, int):
                total += 1 + item.bit_length() // 3
            elif isinstance(item, list | tuple | AbstractSet):
                total += _SLOT * len(item)
                if total <= self._left:
                    waiting += item
            elif isinstance(item, Namespace):
                waiting.append(object.__getattribute__(item, "_Namespace__attrs"))
            elif isinstance(item, Mapping):
                total += _SLOT * len(item)
                if total <= self._left:
                    waiting += item.keys()
                    waiting += item.values()
            else:
                total += 1
        return total

    def _each(self, values: Iterator[Any]) -> Generator[Any, None, None]:
        for value in values:
            yield self.admit(value)


class _Namespace(Namespace):
    """jinja2's namespace, without private names and without a text of its own, which could be endless."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise TemplateError(f"a namespace has no attribute {name!r}")
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<Namespace>"


class _Generation(Extension):
    """The block `{% generation %}` that marks the assistant's words for training; here its content alone matters."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Code(CodeGenerator):
    """Writes templates as Python, with the meter around whatever makes something."""

    def _admitted(self, visit: Callable[[Any, Frame], None], node: nodes.Node, frame: Frame) -> None:
        self.write("environment.admit(")
        visit(node, frame)
        self.write(")")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802
        self._admitted(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        self._admitted(super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802
        if node.ctx == "load":
            self._admitted(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self._admitted(super().visit_Concat, node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        if isinstance(node.arg, nodes.Slice):
            self._admitted(super().visit_Getitem, node, frame)
        else:
            super().visit_Getitem(node, frame)

    def visit_Operand(self, node: nodes.Operand, frame: Frame) -> None:  # noqa: N802
        self.write(f" {operators[node.op]} (environment.tick() or ")
        self.visit(node.expr, frame)
        self.write(")")

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802
        node.body.insert(0, _tick(node.lineno))
        super().visit_For(node, frame)

    def macro_body(self, node: nodes.Macro | nodes.CallBlock, frame: Frame) -> Any:
        node.body.insert(0, _tick(node.lineno))
        return super().macro_body(node, frame)


def _tick(line: int) -> nodes.ExprStmt:
    return nodes.ExprStmt(nodes.EnvironmentAttribute("tick()", lineno=line), lineno=line)


class MeteredEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox as chat templates expect it, with a meter; templates are rendered by `run`."""

    code_generator_class = _Code
    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            extensions=[LoopControlExtension, _Generation],
            finalize=_as_it_is,
        )
        self._local = threading.local()
        for name in _WITHOUT:
            del self.filters[name]
        self.filters["tojson"] = self._to_json
        self.filters["sum"] = self._sum
        self._meter_all(self.filters)
        self._meter_all(self.tests)
        del self.globals["lipsum"]
        self.globals["namespace"] = _Namespace

    def run(self, meter: Meter, pieces: Callable[[], Iterable[str]]) -> Generator[str, None, None]:
        """Yield the pieces of a rendering, under a meter. Each thread has its own."""
        self._local.meter = meter
        try:
            yield from pieces()
        finally:
            del self._local.meter

    @property
    def _meter(self) -> Meter:
        meter: Meter = self._local.meter
        return meter

    def tick(self) -> None:
        """Look at the clock."""
        self._meter.tick()

    def admit(self, value: Any) -> Any:
        """Charge what was made."""
        return self._meter.admit(value)

    def concat(self, parts: Iterable[str]) -> str:
        """Join the output of a macro or a block."""
        pieces = list(parts)
        self._meter.charge(sum(map(len, pieces)))
        return "".join(pieces)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute `left operator right`."""
        match operator:
            case "*":
                self._charge_product(left, right)
            case "**":
                self._charge_power(left, right)
            case "%" if isinstance(left, str | bytes):
                self._charge_percent(left)
            case _:
                pass
        return self.admit(super().call_binop(context, operator, left, right))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Allow what the sandbox allows, but of strings and numbers only what a chat needs."""
        if isinstance(obj, str):
            return attr in _STRING_METHODS
        if isinstance(obj, bytes | int | float | complex):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function, a method or a macro."""
        text, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if name in ("format", "format_map") and hasattr(obj, "__wrapped__"):
            text = obj.__wrapped__.__self__
        if isinstance(text, str):
            args = self._charge_text(name, text, args, kwargs)
        return self.admit(super().call(context, obj, *args, **kwargs))

    def _meter_all(self, functions: dict[str, Any]) -> None:
        for name, function in functions.items():
            functions[name] = self._metered(name, function)

    def _metered(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        skipped = 1 if hasattr(function, "jinja_pass_arg") else 0

        def metered(*args: Any, **kwargs: Any) -> Any:
            self.tick()
            if len(args) > skipped:
                given = args[skipped]
                rest = args[skipped + 1 :]
                if name in ("indent", "center"):
                    self._charge_widths(given, (*rest, *kwargs.values()))
                elif name in ("batch", "slice"):
                    self._meter.charge(_SLOT * _number((*rest, *kwargs.values())))
                elif name in _COSTLY:
                    given = given if isinstance(given, str) else list(given) if isinstance(given, Iterable) else given
                    self._meter.charge(_PIECE * self._meter.weigh(given))
                    args = (*args[:skipped], given, *rest)
                elif name == "round":
                    self._check_bits(4 * _number((*rest, *kwargs.values())))
                elif name == "format":
                    self._charge_percent(given)
                elif name == "replace" and isinstance(given, str):
                    self._charge_text(name, given, tuple(map(str, rest[:2])), kwargs)
                elif name == "join":
                    given = list(given)
                    self._charge_join(str(next(iter((*rest, *kwargs.values())), "")), given)
                    args = (*args[:skipped], given, *rest)
            return self.admit(function(*args, **kwargs))

        return update_wrapper(metered, function)

    def _charge_product(self, left: Any, right: Any) -> None:
        if isinstance(left, int) and isinstance(right, int):
            self._check_bits(left.bit_length() + right.bit_length())
            return
        for value, times in ((left, right), (right, left)):
            if isinstance(times, int) and isinstance(value, str | bytes | Sequence):
                self._meter.charge(max(0, times) * max(1, self._meter.weigh(value)))

    def _charge_power(self, base: Any, exponent: Any) -> None:
        if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1:
            self._check_bits(base.bit_length() * abs(exponent))

    def _check_bits(self, bits: int) -> None:
        if bits > _WIDEST:
            raise LimitError(f"made an integer of more than {_WIDEST:,} bits")

    def _charge_percent(self, text: Any) -> None:
        pattern = text.decode("latin-1") if isinstance(text, bytes) else str(text)
        for spec in re.finditer(r"%(?:\([^)]*\))?[-#0 +]*(\*|\d*)(?:\.(\*|\d*))?", pattern):
            self._charge_format(spec.groups(""))

    def _charge_format(self, widths: Iterable[str]) -> None:
        for width in widths:
            if width == "*" or len(width) > 6 or int(width or 0) > _WIDEST:
                raise LimitError(f"formatted to a width other than a number up to {_WIDEST:,}")
            self._meter.charge(int(width or 0))

    def _charge_widths(self, text: Any, arguments: Sequence[Any]) -> None:
        """Charge for every line, or for the whole, as much as the greatest of the arguments may add."""
        width = _number([len(value) if isinstance(value, str) else value for value in arguments])
        self._meter.charge(width * (2 + str(text).count("\n") + str(text).count("\r")))

    def _charge_join(self, separator: str, items: Sequence[Any]) -> None:
        self._meter.charge(len(separator) * len(items) + self._meter.weigh(items))

    def _charge_text(self, name: str, text: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """Charge a method of a string for what it may add to its arguments, and return the arguments."""
        match name:
            case "ljust" | "rjust" | "center" | "zfill":
                self._meter.charge(_number(args))
            case "replace" if len(args) > 1 and isinstance(args[0], str) and isinstance(args[1], str):
                self._meter.charge((text.count(args[0]) if args[0] else len(text) + 1) * len(args[1]))
            case "join" if args:
                items = list(args[0])
                self._charge_join(text, items)
                return (items, *args[1:])
            case "split" | "rsplit" | "splitlines":
                separator = args[0] if args and isinstance(args[0], str) else kwargs.get("sep")
                if isinstance(separator, str) and separator:
                    self._meter.charge(_SLOT * text.count(separator))
                else:
                    self._meter.charge(_SLOT // 2 * len(text))
            case "format" | "format_map":
                bare = text.replace("{{", "").replace("}}", "")
                if re.search(r"\{[^{}]*\{", bare):
                    raise LimitError(f"formatted to a width other than a number up to {_WIDEST:,}")
                self._charge_format(re.findall(r"(?<=:)[^{}]*?(\d+)", bare) + re.findall(r"\.(\d+)", bare))
            case _:
                pass
        return args

    def _to_json(
        self,
        value: Any,
        ensure_ascii: bool = False,
        indent: int | str | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        """Write JSON as Hugging Face's templates expect it: unescaped, in the order given."""
        encoder = json.JSONEncoder(
            ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys, default=None
        )
        if _number((indent,)) > _DEEPEST or (isinstance(indent, str) and len(indent) > _DEEPEST):
            raise LimitError(f"indented JSON by more than {_DEEPEST}")
        return "".join([self.admit(piece) for piece in encoder.iterencode(value)])

    def _sum(self, iterable: Iterable[Any], attribute: str | int | None = None, start: Any = 0) -> Any:
        """Add up, charging every partial sum."""
        for value in iterable:
            if attribute is not None:
                value = self.getitem(value, attribute)
            start = self.admit(start + value)
        return start


@pass_context
def _as_it_is(context: Context, value: Any) -> Any:
    """Output a value unchanged. That it asks for the context keeps jinja2 from computing constants while compiling."""
    return value


def _number(values: Iterable[Any]) -> int:
    return max((value for value in values if isinstance(value, int)), default=0)
