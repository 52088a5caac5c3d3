"""Lean 4 via its REPL (leanprover-community/repl), which speaks JSON on standard input and output."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, ClassVar, Final

from intact._base.errors import FormatError, NotInstalledError
from intact.tools.prove.assistants.base import Assistant, AssistantLimits, FileError, FileReport, ProofState
from intact.tools.prove.assistants.failures import FailureLabel
from intact.tools.prove.provers import digest
from intact.tools.sandbox import ProgramLimits, run_command

PROGRAM: Final = "INTACT_LEAN_REPL"
"""Environment variable with the path of the REPL; Lean's own environment variables locate its libraries."""
FOLDERS: Final = ("LEAN_SYSROOT", "LEAN_PATH")
MEMORY: Final = 16 << 30
"""Size of the address space in bytes; it must be large enough for Mathlib's mapped files."""
OUTPUT: Final = 4 << 20
AXIOMS: Final = frozenset({"propext", "Classical.choice", "Quot.sound"})
"""Lean's own axioms, which a proof may use."""

ERRORS: Final[Mapping[FailureLabel, re.Pattern[str]]] = {
    "forbidden": re.compile(r"only tactics can be steps"),
    "timeout": re.compile(r"\(deterministic\) timeout|maximum number of heartbeats"),
    "resource limit": re.compile(r"maximum recursion depth|stack overflow|out of memory"),
    "unknown name": re.compile(
        r"[Uu]nknown (?:identifier|constant|namespace|module prefix|free variable|package)|[Ii]nvalid field|"
        r"invalid \S+ notation|does not exist"
    ),
    "type error": re.compile(
        r"type mismatch|Type mismatch|failed to synthesize|[Ff]unction expected|has type\b.*\bbut is expected|"
        r"type expected",
        re.DOTALL,
    ),
    "unsolved goals": re.compile(r"unsolved goals|must leave one proof open"),
    "parse error": re.compile(
        r"unexpected (?:token|end of input|identifier)|expected (?:token|command|term|tactic)|unknown tactic|"
        r"a statement ends with a theorem|unterminated"
    ),
}
"""Patterns of Lean 4's messages by failure label; any other error is a failed tactic."""

_COMMAND: Final = re.compile(
    r"#\w+|@\[|\b(?:axiom|theorem|lemma|def|abbrev|example|instance|opaque|structure|inductive|class|elab\w*|macro\w*|"
    r"syntax|notation|infix[lr]?|prefix|postfix|attribute|namespace|section|end|open|import|export|universe|variable|"
    r"set_option|unsafe|partial|private|protected|mutual|initialize|run_cmd|run_tac|run_elab|run_meta|unseal|deriving)\b"
)
"""Command keywords, which must not occur in a proof."""


def parse_replies(text: str) -> list[dict[str, Any]]:
    """Parse the REPL's replies, each a JSON object.

    Raises
    ------
    FormatError
        If the output contains anything other than JSON objects.
    """
    decoder, place, found = json.JSONDecoder(), 0, list[dict[str, Any]]()
    while text[place:].strip():
        place += len(text[place:]) - len(text[place:].lstrip())
        try:
            value, place = decoder.raw_decode(text, place)
        except (json.JSONDecodeError, RecursionError):
            raise FormatError(f"Lean's REPL wrote output that is not JSON: {text[place:]!r:.80}") from None
        if not isinstance(value, dict):
            raise FormatError(f"Lean's REPL wrote {value!r:.60}, expected an object")
        found.append(value)
    return found


def errors_of(reply: Mapping[str, Any]) -> list[FileError]:
    """Return the errors in a reply to a command or a tactic."""
    if isinstance(reply.get("message"), str):
        return [FileError(1, 1, reply["message"].removeprefix("Lean error:").strip())]
    return [
        FileError(int(one["pos"]["line"]), int(one["pos"]["column"]) + 1, str(one["data"]))
        for one in reply.get("messages", [])
        if one.get("severity") == "error"
    ]


def state_of(statement: str, steps: tuple[str, ...], replies: Sequence[Mapping[str, Any]]) -> ProofState:
    """Derive the state from the replies to the statement, to each step, and to the whole proof with its axioms."""
    if not replies:
        return ProofState(statement, steps, "limit", message="Lean's REPL wrote nothing", settled=False)
    opened = replies[0]
    if found := errors_of(opened):
        return ProofState(statement, steps, "error", message=found[0].message)
    if len(opened.get("sorries", [])) != 1:
        return ProofState(statement, steps, "error", message="the statement must leave one proof open (:= by)")
    goals: tuple[str, ...] = (str(opened["sorries"][0]["goal"]),)
    for place, reply in enumerate(replies[1 : len(steps) + 1]):
        if found := errors_of(reply):
            return ProofState(statement, steps, "error", message=found[0].message, failed=place)
        if reply.get("sorries"):
            return ProofState(statement, steps, "hole", message="a goal is given up")
        goals = tuple([str(one) for one in reply.get("goals", [])])
    if goals:
        return ProofState(statement, steps, "open", goals)
    if len(replies) < len(steps) + 2:
        return ProofState(statement, steps, "limit", message="Lean's REPL ended early", settled=False)
    return _accepted(ProofState(statement, steps, "proved"), replies[len(steps) + 1])


def _accepted(state: ProofState, reply: Mapping[str, Any]) -> ProofState:
    """Return the final state of a proof without open goals, given Lean's reply to the whole theorem."""
    last = len(state.steps) - 1
    if found := errors_of(reply):
        return replace(state, kind="error", message=found[0].message, failed=last)
    notes = [str(one["data"]) for one in reply.get("messages", []) if one.get("severity") == "info"]
    named = next((one for one in notes if "axioms" in one), None)
    if named is None:
        return replace(state, kind="error", message="Lean names no axioms of the theorem", failed=last)
    inside = re.search(r"depends on axioms: \[([^\]]*)\]", named)
    axioms = [one.strip() for one in inside[1].split(",")] if inside else []
    if more := [one for one in axioms if one not in AXIOMS]:
        what = "a goal is given up" if "sorryAx" in more else f"it assumes {', '.join(more)}"
        return replace(state, kind="hole", message=what)
    return replace(state, message=f"by the axioms {', '.join(axioms)}" if axioms else "")


def commands_of(statement: str, steps: Sequence[str]) -> list[dict[str, Any]]:
    """Return the requests: the statement with a hole, each step in the state that precedes it, and the whole theorem.

    The REPL numbers states from 0 in the order in which they are created.
    """
    begun = statement.rstrip()
    requests: list[dict[str, Any]] = [{"cmd": f"{begun}\n  sorry"}]
    requests += [{"tactic": step, "proofState": place} for place, step in enumerate(steps)]
    proof = "\n".join(["  " + line for step in steps for line in step.splitlines()])
    return [*requests, {"cmd": f"{begun}\n{proof}\n\n#print axioms {theorem_name(begun)}"}]


def theorem_name(statement: str) -> str:
    """Return the name of the last theorem in a text.

    Raises
    ------
    FormatError
        If the text contains no theorem.
    """
    found = re.findall(r"^\s*(?:theorem|lemma)\s+([^\s:({\[]+)", statement, re.MULTILINE)
    if not found or not statement.rstrip().endswith("by"):
        raise FormatError("a statement ends with a theorem to prove: theorem NAME : ... := by")
    return str(found[-1])


class LeanAssistant(Assistant):
    """Lean 4, located by the variables INTACT_LEAN_REPL (REPL), LEAN_SYSROOT (toolchain) and LEAN_PATH (libraries).

    In a project, `lake env printenv` prints the last two. A step is one tactic. After the last step, the whole theorem
    is compiled again, and its axioms are listed.
    """

    name = "lean"
    title = "Lean"
    ending = ".lean"
    errors: ClassVar[Mapping[FailureLabel, re.Pattern[str]]] = ERRORS

    def path(self) -> Path | None:
        """Return the path of the REPL, or None if it is not found."""
        named = os.environ.get(PROGRAM)
        return Path(named) if named and Path(named).is_file() else None

    def missing(self) -> str | None:
        """Say what is missing on this machine and how to install it; return None if the assistant can run."""
        if self.path() is not None:
            return None
        return (
            f"Lean is not here: build the program repl of leanprover-community/repl, and name it by {PROGRAM}, "
            "with LEAN_SYSROOT and LEAN_PATH as `lake env printenv` prints them"
        )

    def version(self) -> str:
        """Return the digest of the program; empty if not installed."""
        path = self.path()
        return "" if path is None else f"repl sha256:{digest(path.resolve())}"

    def split(self, text: str) -> tuple[str, ...]:
        """Return the tactics of a proof: its lines, each together with the lines indented below it."""
        found = list[str]()
        for line in text.splitlines():
            if line[:1].isspace() and found:
                found[-1] += f"\n{line}"
            elif line.strip():
                found.append(line.rstrip())
        return tuple(found)

    def is_hole(self, step: str) -> bool:
        """Return true if a step is `sorry`."""
        return re.search(r"\bsorry\b", step) is not None

    def without(self, steps: tuple[str, ...], failed: int, message: str) -> tuple[str, ...]:
        """Return a proof with `sorry` in place of a failing step and everything after it."""
        return (*steps[:failed], "sorry")

    def run(
        self, statement: str, steps: tuple[str, ...], limits: AssistantLimits, stop: Event | None = None
    ) -> ProofState:
        """Run a proof up to the first step that fails, and return the resulting state."""
        for place, step in enumerate(steps):
            if word := _COMMAND.search(step):
                message = f"only tactics can be steps of a proof, got {word[0]!r}"
                return ProofState(statement, steps, "error", message=message, failed=place)
        try:
            requests = commands_of(statement, steps)
        except FormatError as error:
            return ProofState(statement, steps, "error", message=str(error))
        replies, limit = self._converse(requests, limits, stop)
        if limit:
            return ProofState(statement, steps, "limit", message=limit, settled=False)
        return state_of(statement, steps, replies)

    def check(self, text: str, limits: AssistantLimits) -> FileReport:
        """Check a whole file."""
        replies, limit = self._converse([{"cmd": text}], limits)
        if limit or not replies:
            return FileReport(limit=limit or "Lean's REPL wrote nothing")
        holes = tuple([int(one["pos"]["line"]) for one in replies[0].get("sorries", [])])
        axioms = tuple(re.findall(r"^\s*axiom\s+(\S+)", text, re.MULTILINE))
        return FileReport(tuple(errors_of(replies[0])), holes, axioms)

    def _converse(
        self, requests: Sequence[Mapping[str, Any]], limits: AssistantLimits, stop: Event | None = None
    ) -> tuple[list[dict[str, Any]], str]:
        path = self.path()
        if path is None:
            raise NotInstalledError(str(self.missing()))
        places = {name: os.environ[name] for name in FOLDERS if os.environ.get(name)}
        files = [Path(one) for value in places.values() for one in value.split(os.pathsep) if one]
        allowed = replace(ProgramLimits.of(limits.seconds), memory=MEMORY, output=OUTPUT)
        text = "".join([json.dumps(one, ensure_ascii=False) + "\n\n" for one in requests])
        outcome = run_command(path, [], text, allowed, files=files, variables=places, threads=True, stop=stop)
        if not outcome.ok:
            return [], f"Lean's REPL ended by {outcome.ended}, status {outcome.status}"
        try:
            return parse_replies(outcome.stdout), ""
        except FormatError as error:
            return [], str(error)
