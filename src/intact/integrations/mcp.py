"""An MCP server: tools with which an assistant solves, verifies, looks at search trees, and meters endpoints.

It speaks the Model Context Protocol on standard input and output (``intact mcp``; docs/integrations.md).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Any, BinaryIO, Final, TypeVar

from intact._base.errors import IntactError, NotInstalledError, ParameterError, SpentError
from intact._base.packages import install, missing

if missing("mcp"):
    raise NotInstalledError(f"an MCP server needs mcp: {install('mcp')}")

import anyio
from anyio.to_thread import run_sync
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.stdio import stdio_server
from mcp.types import ToolAnnotations
from pydantic import Field

import intact
from intact._base.markup.tree import draw_tree
from intact.integrations.opening import OpenedLater
from intact.library import Model
from intact.measure.meter.client import MeteredEndpoint
from intact.measure.meter.journal import MeterJournal
from intact.measure.meter.plan import COMPANY, MeterPlan
from intact.measure.meter.questions import sample_prompts
from intact.measure.meter.report import remarks, verdict
from intact.measure.meter.run import MeterSettings, measure
from intact.measure.meter.spending import Caps, Spending, clock
from intact.measure.meter.summary import summarize
from intact.reason.backends.address import endpoint_address
from intact.reason.budget import Budget
from intact.reason.registry import METHODS
from intact.receipts import canonical
from intact.receipts.document import Receipt, read_any
from intact.receipts.verify import Verdict, unreadable, verify
from intact.solving.receipts import PARSERS
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.verdict import RunVerdict
from intact.solving.receipts.verify import verify_run
from intact.solving.run import solve

MOST_LINE: Final = 1 << 24
"""Maximum bytes of a message from the client."""
MOST_REPLY: Final = 1 << 20
"""Maximum bytes of a receipt or a tree in a result."""
MOST_RUNS: Final = 16
"""Number of runs whose trees and receipts are kept."""
MOST_QUESTION: Final = 1 << 16
"""Maximum characters of a question."""
CONCURRENT: Final = 4
"""Concurrent calls; others wait."""
_TICK: Final = 1.0
"""Seconds between reports of progress."""
_GRACE: Final = 5.0
"""Seconds that work may take to notice that its time is over."""
R = TypeVar("R")


@dataclass(frozen=True)
class McpLimits:
    """Limits of each call.

    Attributes
    ----------
    seconds
        Wall time.
    tokens
        Tokens that a run may write.
    requests
        Requests to an endpoint that is metered.

    Raises
    ------
    ParameterError
        If one is not above 0.
    """

    seconds: float = 300.0
    tokens: int = 100_000
    requests: int = 300

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise ParameterError(f"{name} must be above 0, got {value!r}")


def make_server(
    load: Callable[[], Model], endpoints: Sequence[str] = (), limits: McpLimits | None = None
) -> MCPServer[Any]:
    """Return the server.

    Parameters
    ----------
    load : callable
        Loads the model; called by the first call that needs it.
    endpoints : sequence of str
        Addresses that may be metered. An assistant cannot add any, so that it cannot send requests elsewhere.
    limits : McpLimits, optional
        Limits of each call.

    Raises
    ------
    ParameterError
        If an address is invalid.
    """
    tools = _Tools(OpenedLater(load), [endpoint_address(one) for one in endpoints], limits or McpLimits())
    server: MCPServer[Any] = MCPServer("intact", version=intact.__version__, instructions=_INSTRUCTIONS)
    for tool, line in tools.descriptions().items():
        server.tool(
            description=line,
            annotations=ToolAnnotations(
                read_only_hint=True, idempotent_hint=tool is not tools.meter, open_world_hint=tool is tools.meter
            ),
        )(tool)
    return server


_INSTRUCTIONS: Final = (
    "Answers of this server repeat to the bit: the same question, method and seed give the same answer on any machine, "
    "and a receipt lets others verify it."
)


class _Tools:
    """The tools, and the runs that they have made."""

    def __init__(self, model: OpenedLater[Model], endpoints: Sequence[str], limits: McpLimits) -> None:
        self._model, self._endpoints, self._limits = model, endpoints, limits
        self._runs: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self._count = 0
        self._slots = anyio.CapacityLimiter(CONCURRENT)

    def descriptions(self) -> dict[Callable[..., Awaitable[Any]], str]:
        """Return what each tool is for."""
        allowed = ", ".join(self._endpoints) or "none; start intact mcp with --endpoint URL"
        return {
            self.solve: "Answer a question with a reasoning method of a local language model. Returns the answer, the "
            f"votes, the cost, and the name of the run for search_tree. Methods: {', '.join(METHODS)}.",
            self.verify: "Verify a receipt of an answer or of a run against the local model: outcome true, false, "
            "partial, or unverifiable.",
            self.search_tree: "Show the tree of texts behind an answer of solve: forks, scores, and the path to the "
            "answer.",
            self.meter: "Measure whether a server of a language model answers the same alone and in company. This "
            f"sends up to {self._limits.requests} requests. Allowed: {allowed}.",
        }

    async def solve(
        self,
        question: Annotated[str, Field(min_length=1, max_length=MOST_QUESTION, description="The question.")],
        ctx: Context,
        method: Annotated[str, Field(max_length=64, description="Reasoning method.")] = "self_consistency",
        parameters: Annotated[
            dict[str, bool | int | float | str],
            Field(max_length=32, description="Parameters of the method, such as n, and sampling parameters."),
        ] = {},  # noqa: B006
        seed: Annotated[int, Field(ge=0, le=2**63 - 1, description="Seed of the draws.")] = 0,
        tokens: Annotated[int | None, Field(ge=1, description="Maximum tokens to write.")] = None,
        receipt: Annotated[bool, Field(description="If true, return a receipt of the run.")] = False,
    ) -> dict[str, Any]:
        """Answer a question, keeping the tree of texts."""
        if not method.isidentifier():  # a path would run a file of that name
            raise ToolError(f"method must be the name of a method, got {method!r:.60}")
        most = min(tokens or self._limits.tokens, self._limits.tokens)
        budget = Budget(tokens=most, seconds=None if receipt else self._limits.seconds)  # a receipt must be repeatable
        given: dict[str, Any] = dict(parameters)
        if reserved := given.keys() & _RESERVED:
            raise ToolError(f"{min(reserved)} cannot be set here")

        def work() -> Any:
            return solve(self._model.get(), method, question, seed=seed, budget=budget, receipt=receipt, **given)

        result = await self._run(ctx, "solving", work)
        self._count += 1
        name = f"run-{self._count}"
        self._runs[name] = result.trace
        while len(self._runs) > MOST_RUNS:
            self._runs.popitem(last=False)
        found = {"run": name, **result.as_dict()}
        if receipt:
            found["receipt"] = None if result.receipt is None else _bounded(result.receipt.to_document(), "the receipt")
        return found

    async def verify(
        self,
        receipt: Annotated[dict[str, Any] | str, Field(description="The receipt: an object, or its JSON text.")],
        ctx: Context,
    ) -> dict[str, Any]:
        """Verify a receipt."""
        try:
            data = receipt.strip().encode() if isinstance(receipt, str) else canonical.encode(receipt)
            read = read_any(data, PARSERS)
        except ValueError as error:
            return asdict(unreadable(error))
        end = clock() + self._limits.seconds

        def between() -> None:
            if clock() > end:
                raise SpentError(f"verifying took more than {self._limits.seconds:g} seconds")

        def work() -> Verdict | RunVerdict:
            model = self._model.get()
            if isinstance(read, Receipt):
                return next(verify(model, [read], between=between))
            assert isinstance(read, RunReceipt)
            return verify_run(model, read, between=between)

        return asdict(await self._run(ctx, "verifying", work))

    async def search_tree(
        self,
        run: Annotated[str, Field(max_length=64, description="The run, as solve names it, such as run-1.")],
        as_json: Annotated[bool, Field(description="If true, return the trace as JSON, not as text.")] = False,
    ) -> str:
        """Return the tree of texts of a run."""
        if run not in self._runs:
            raise ToolError(f"there is no run {run!r:.60}; the last {MOST_RUNS} are kept: {', '.join(self._runs)}")
        trace = self._runs[run]
        return json.dumps(_bounded(dict(trace), "the tree")) if as_json else tree_text(trace)

    async def meter(
        self,
        url: Annotated[str, Field(max_length=2048, description="The server's address.")],
        ctx: Context,
        model: Annotated[str, Field(max_length=256, description="The model there; by default the first.")] = "",
        probes: Annotated[int, Field(ge=1, le=64, description="Prompts per round and setting.")] = 8,
        tokens: Annotated[int, Field(ge=1, le=512, description="Maximum tokens per answer.")] = 64,
        company: Annotated[
            list[Annotated[int, Field(ge=1, le=256)]],
            Field(min_length=1, max_length=8, description="Numbers of simultaneous other requests."),
        ] = [*COMPANY[:-1]],  # noqa: B006
    ) -> dict[str, Any]:
        """Measure an endpoint."""
        try:
            address = endpoint_address(url)
            if address not in self._endpoints:
                raise ToolError(f"{address} may not be metered: start intact mcp with --endpoint {address}")
            plan = MeterPlan(probes, company=tuple(company), pause=0.0)
            caps = Caps(self._limits.requests, seconds=self._limits.seconds)
            journal = MeterJournal(None, {})
            async with self._slots, MeteredEndpoint(address, Spending(caps), model=model) as endpoint:
                await endpoint.find(10.0)
                settings = MeterSettings(sample_prompts(), tokens, wait=10.0)
                async with _reporting(ctx, "metering", self._limits.seconds):
                    outcome = await measure(endpoint, plan, journal, settings)
        except IntactError as error:
            raise ToolError(str(error)) from error
        summary = summarize(journal.trials)
        return {
            "verdict": verdict(summary),
            "remarks": list(remarks(summary)),
            **summary.to_dict(),
            "status": summary.status,
            "endpoint": address,
            "model": endpoint.model,
            "used": journal.used(endpoint.spending),
            "unmeasured": [{"step": step, "why": why} for step, why in outcome.unmeasured],
        }

    async def _run(self, ctx: Context, what: str, work: Callable[[], R]) -> R:
        """Run work in a thread, reporting progress; an expected error is one of the tool."""
        seconds = self._limits.seconds
        try:
            async with self._slots, _reporting(ctx, what, seconds):
                with anyio.fail_after(seconds + _GRACE):
                    return await run_sync(work, abandon_on_cancel=True)
        except TimeoutError as error:
            raise ToolError(f"{what} took more than {seconds:g} seconds") from error
        except (IntactError, OSError, MemoryError) as error:
            raise ToolError(str(error) or "not enough memory") from error


_RESERVED: Final = frozenset({"model", "method", "question", "seed", "budget", "journal", "receipt", "tools", "shadow"})
"""Parameters of `solve` that are not the method's."""


def tree_text(trace: Mapping[str, Any]) -> str:
    """Return the tree of texts behind an answer as lines; a star marks the path to the answer."""
    drawing = draw_tree(trace)
    lines = [f"{trace.get('method')} → {trace.get('answer')}"]
    size = 0
    for place, (node, _, _) in enumerate(drawing.nodes):
        if node.kind == "question":
            continue
        text = " ".join(node.text.split())
        excerpt = text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]} …"
        line = f"{'  ' * node.depth}{'*' if node.winning else '-'} {node.line}: {excerpt}"
        size += len(line.encode("utf-8", "replace"))
        if size > MOST_REPLY:
            return "\n".join([*lines, f"({len(drawing.nodes) - place + drawing.more:,} more)"])
        lines.append(line)
    return "\n".join([*lines, *([f"({drawing.more:,} more)"] if drawing.more else [])])


_EXCERPT: Final = 400
"""Characters of a text in a tree."""


def _bounded(value: Any, what: str) -> Any:
    """Return a JSON value, unless it is too large for a result."""
    size = len(json.dumps(value).encode())
    if size > MOST_REPLY:
        raise ToolError(f"{what} has {size:,} bytes; at most {MOST_REPLY:,} are returned")
    return value


@asynccontextmanager
async def _reporting(ctx: Context, what: str, seconds: float) -> AsyncIterator[None]:
    """Tell the client at intervals how much of the time has passed."""
    begun, ended = clock(), asyncio.Event()

    async def report() -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _TICK)
            if not ended.is_set():
                await ctx.report_progress(min(clock() - begun, seconds), seconds, what)

    reports = asyncio.create_task(report())  # not a task group, which would wrap errors of the work
    try:
        yield
    finally:
        ended.set()
        await reports


class _Lines:
    """Lines of standard input, of bounded length."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readline(self) -> str:
        line = self._file.readline(MOST_LINE + 1)
        if len(line) > MOST_LINE:
            raise ParameterError(f"a message has more than {MOST_LINE:,} bytes")
        return line.decode("utf-8", "replace")


async def serve_stdio(server: MCPServer[Any]) -> None:
    """Serve on standard input and output until the client closes them; other output goes to the standard error.

    Raises
    ------
    ParameterError
        If a message is too long.
    """
    reading, writing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "rb") as silent:  # noqa: PTH123 (a device, not a file of ours)
        os.dup2(silent.fileno(), 0)
    os.dup2(2, 1)
    lines: Any = _Lines(reading)
    async with stdio_server(anyio.wrap_file(lines), anyio.wrap_file(writing)) as (incoming, outgoing):
        low = server._lowlevel_server
        await low.run(incoming, outgoing, low.create_initialization_options())
