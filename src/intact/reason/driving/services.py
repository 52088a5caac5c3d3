"""Jobs, and the driver's external services: files, programs, scorers, and hooks for completions and results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any, Final, NamedTuple, cast

from intact._base.errors import FormatError, JournalError, ParameterError
from intact.engine.shared_cache.request import SharedRequest, SharedText
from intact.reason.backends.base import Backend, Generation
from intact.reason.problem import Problem, Result
from intact.reason.registry import Method, find
from intact.reason.requests import CallMethod, RunProgram
from intact.reason.scorer import Scorer
from intact.reason.thinking import ThinkingMode
from intact.reason.tool import MethodTool, ToolResult, ToolUse
from intact.reason.tools import TOOLS, find_tool
from intact.tools import sandbox

LARGEST_FILE: Final = 1 << 20
"""Maximum size, in bytes, of a file that a method reads."""


class MethodJob(NamedTuple):
    """A method with its parameters and a problem."""

    method: Method
    problem: Problem
    parameters: Mapping[str, Any]


class Root:
    """State shared by a job's method and all methods and scorers that it calls.

    Attributes
    ----------
    key : bytes
        The digest of the whole job, for records that do not belong to a single request.
    timed : bool
        If true, the job has a time limit.
    timed_out : bool
        If true, the time limit has passed, and nothing new is started.
    now : datetime or None
        The time passed to chat templates; None until a template that needs it is used.
    thinking : ThinkingMode or None
        The models' thinking mode; None until a chat template with such a setting is used.
    """

    def __init__(self, key: bytes, timed: bool, timed_out: bool) -> None:
        self.key, self.timed, self.timed_out = key, timed, timed_out
        self.now: datetime | None = None
        self.thinking: ThinkingMode | None = None


class Services:
    """The driver's default services: files from disk, programs in the sandbox, scorers by name, no recording.

    `intact.solving.receipts` provides services that record a run, or replay one from its receipt.

    Parameters
    ----------
    scorer : callable, optional
        Makes a scorer from its name. Called once per name.
    untrusted : bool
        If true, programs never run unprotected, whatever the value of INTACT_SANDBOX.
    tools : mapping of str to MethodTool
        The user's own tools by name, such as tools of MCP servers, in addition to those of `intact.reason.tools`.

    Attributes
    ----------
    recompute : bool
        If true, ignore recorded results and recompute everything; the journal is then used only to check that the
        recomputed completions match.
    fatal : tuple of types
        Errors of a request that end the run; any other error is raised in the method that made the request.
    """

    recompute = False
    fatal: tuple[type[Exception], ...] = (JournalError,)

    def __init__(
        self,
        scorer: Callable[[str], Scorer] | None = None,
        *,
        untrusted: bool = False,
        tools: Mapping[str, MethodTool] | None = None,
    ) -> None:
        check_tools(tools)
        self.untrusted, self._tools = untrusted, dict(tools or {})
        self._make_scorer = cache(scorer or _no_scorer)

    def admit(self, job: MethodJob) -> MethodJob:
        """Return the job to run, possibly modified.

        Raises
        ------
        ParameterError
            If the job cannot be run with these services.
        """
        return job

    def method(self, call: CallMethod) -> Method:
        """Look up the method of a call."""
        return find(call.method) if isinstance(call.method, str) else cast(Method, call.method)

    def scorer(self, root: Root, name: str) -> Scorer:
        """Look up a scorer by its name."""
        return self._make_scorer(name)

    def note_model(self, root: Root, name: str) -> None:
        """Record that a request named a model."""

    def read(self, root: Root, file: str) -> str:
        """Return the text of a user's file."""
        return read_text(file)

    def known_outcome(self, request: RunProgram) -> sandbox.Outcome | None:
        """Return the outcome of a program if it is already known, or None."""
        return None

    def run(self, request: RunProgram, stop: Event) -> sandbox.Outcome:
        """Run a program in the sandbox and wait for it to finish; `stop` ends it early. Called in a thread."""
        return sandbox.run(request.code, request.stdin, request.limits, stop=stop, untrusted=self.untrusted)

    def known_shared(self, model: str, request: SharedRequest) -> SharedText | None:
        """Return the completion that workers of the named model write together if it is already known, or None."""
        return None

    def tool(self, name: str) -> MethodTool:
        """Look up a tool by name."""
        return self._tools[name] if name in self._tools else find_tool(name)

    def known_result(self, call: ToolUse) -> ToolResult | None:
        """Return the result of a tool call if it is already known, or None."""
        return None

    def use(self, call: ToolUse, stop: Event) -> ToolResult:
        """Call a tool and wait for its result; `stop` ends it early. Called in a thread."""
        return call.tool.use(call.values, stop, untrusted=self.untrusted)

    def begin_texts(self, root: Root, generations: Sequence[Generation]) -> None:
        """Record that completions are about to be generated."""

    def end_text(self, root: Root, backend: Backend, generation: Generation) -> None:
        """Record that a back end has finished a completion."""

    def finish(self, root: Root, job: MethodJob, result: Result) -> Result:
        """Return a job's result in the form given to the caller."""
        return result


def read_text(file: str) -> str:
    """Read a text file.

    Raises
    ------
    FormatError
        If the file cannot be read, is not UTF-8 text, or is too large.
    """
    try:
        with Path(file).open("rb") as stream:
            data = stream.read(LARGEST_FILE + 1)
        text = data.decode()
    except (OSError, ValueError) as error:
        raise FormatError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > LARGEST_FILE:
        raise FormatError(f"{file} has more than {LARGEST_FILE:,} bytes")
    return text


def _no_scorer(name: str) -> Scorer:
    raise ParameterError(f"no scorer named {name!r}: this driver has no named scorers")


def check_tools(tools: Mapping[str, MethodTool] | None) -> None:
    """Raise ParameterError unless this maps names to tools, without using the name of a built-in tool."""
    if tools is not None and not isinstance(tools, Mapping):
        raise ParameterError(f"tools must be a mapping of names to tools, got {tools!r:.60}")
    for name, tool in (tools or {}).items():
        if not isinstance(tool, MethodTool):
            raise ParameterError(f"tools[{name!r:.60}] must be a MethodTool, got {tool!r:.60}")
        if name in TOOLS:
            raise ParameterError(f"there already is a tool named {name!r:.60}; choose another name")
        if name != tool.name:
            raise ParameterError(f"the tool {tool.name!r:.60} is listed under the name {name!r:.60}")
