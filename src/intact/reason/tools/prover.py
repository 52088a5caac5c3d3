"""The provers of `intact.tools.prove` as a tool."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event
from typing import Any, ClassVar

from intact._base.errors import CapacityError, FormatError
from intact.reason.tool import MethodTool, ToolInput, ToolResult, clean
from intact.tools.prove import own, tptp
from intact.tools.prove.provers import PROVERS, ProcessProver, ProverLimits, digest, find_prover
from intact.tools.sandbox import choose


class ProverTool(MethodTool):
    """Decide whether a conjecture follows from axioms, with the built-in prover or an installed one (docs/proving.md).

    Limits count steps, in the prover's own unit; the built-in prover runs in this process, where `stop` cannot end it.
    """

    name = "prover"
    line = "Say if a conjecture in TPTP follows from axioms."
    inputs: ClassVar[Mapping[str, ToolInput]] = {
        "problem": ToolInput("text", "Axioms and a conjecture in TPTP (fof and cnf)."),
        "prover": ToolInput("text", f"Which prover: {', '.join(PROVERS)}.", own.NAME),
        "steps": ToolInput("number", "The most steps; by default the prover's own limit.", float(own.STEPS)),
        "seconds": ToolInput("number", "Wall time of a prover that is a process.", 10.0),
    }
    output = "A line with the SZS status, and one with what else is known."

    def environment(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the digest of the prover's executable, if it has one."""
        prover = PROVERS.get(str(values.get("prover", own.NAME)))
        path = prover.path() if isinstance(prover, ProcessProver) else None
        return {} if path is None else {str(values["prover"]): digest(path.resolve())}

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs, after checking that the prover exists."""
        found = super().check(values)
        prover = find_prover(found["prover"])
        if "steps" not in values and isinstance(prover, ProcessProver):
            found["steps"] = float(prover.steps)
        return found

    def use(self, values: Mapping[str, Any], stop: Event, *, untrusted: bool = False) -> ToolResult:
        """Run the prover."""
        prover, limits = find_prover(values["prover"]), ProverLimits(int(values["steps"]), values["seconds"])
        if isinstance(prover, ProcessProver):
            choose(untrusted=untrusted)  # raises if no sandbox is available
        try:
            verdict = prover.prove(tptp.parse(values["problem"]), limits)
        except (CapacityError, FormatError) as error:
            return ToolResult(clean(str(error)), "error")
        text = clean("\n".join(filter(None, [verdict.status, verdict.detail])))
        if verdict.status == "Timeout":
            return ToolResult("Timeout", "time", False)
        return ToolResult(text, "error" if verdict.status == "Error" else "ok", verdict.settled)
