"""Parsers of Rocq's output: goals, errors, the axioms of a proof, the statements of a library."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from intact.tools.prove.assistants.base import ProofState
from intact.tools.prove.assistants.failures import FailureLabel
from intact.tools.prove.assistants.sentences import Sentence, theorem_name

AXIOMS: Final = frozenset(
    {
        "ClassicalDedekindReals.sig_forall_dec",
        "ClassicalDedekindReals.sig_not_dec",
        "FunctionalExtensionality.functional_extensionality_dep",
        "Classical_Prop.classic",
        "Eqdep.Eq_rect_eq.eq_rect_eq",
        "ProofIrrelevance.proof_irrelevance",
        "PropExtensionality.propositional_extensionality",
        "Description.constructive_definite_description",
        "IndefiniteDescription.constructive_indefinite_description",
        "ClassicalEpsilon.constructive_indefinite_description",
        "Epsilon.epsilon_statement",
        "ChoiceFacts.choice",
        "ClassicalUniqueChoice.dependent_unique_choice",
    }
)
"""Axioms of the standard library that a proof may use: the axioms of the reals and of classical logic."""
_BASES: Final = frozenset(name.rpartition(".")[2] for name in AXIOMS)
"""Last components of the names in `AXIOMS`, which Rocq prints when they are unambiguous."""

ERRORS: Final[Mapping[FailureLabel, re.Pattern[str]]] = {
    "forbidden": re.compile(r"only tactics, bullets and braces can be steps|with given up goals"),
    "parse error": re.compile(r"Syntax error|[Ll]exer|does not end\b|Nested proofs are discouraged|nothing to prove"),
    "unknown name": re.compile(
        r"was not found in the current environment|No such hypothesis|Cannot find a physical path|"
        r"Unable to locate library|Unknown scope|Unknown interpretation|No interpretation for|is not a defined object"
    ),
    "type error": re.compile(
        r"while it is expected to have type|Illegal application|which should be |Terms do not have convertible types|"
        r"[Uu]niverse inconsistency|Cannot infer|should be a proposition"
    ),
    "unsolved goals": re.compile(
        r"incomplete proof|Wrong bullet|cannot be unfocused|is not finished|Some unresolved existential"
    ),
    "timeout": re.compile(r"[Tt]imeout!"),
    "resource limit": re.compile(r"Stack overflow|Out of memory"),
}
"""Patterns of Rocq 8.16's messages by failure label; a search that finds nothing is a failed tactic."""

_IDENTITY: Final = re.compile(r" \(ID \d+\)")
_HOLE_LEFT: Final = "given up"


class RocqReply(NamedTuple):
    """The toplevel's output for a sentence, and its error, empty if the sentence was accepted."""

    output: str
    error: str

    @property
    def place(self) -> int:
        """Zero-based column of the error within its sentence."""
        found = re.search(r"Toplevel input, characters (\d+)-", self.error)
        return int(found[1]) if found else 0

    @property
    def reason(self) -> str:
        """The error message."""
        return self.error.partition("Error:")[2].strip() or self.error.strip()


def conclude(state: ProofState, ended: RocqReply, assumed: RocqReply, declared: Collection[str]) -> ProofState:
    """Return the state after the last step, given the replies to `Qed` and to the query for axioms."""
    if not assumed.output.strip():  # the theorem does not exist
        if _HOLE_LEFT in ended.reason:
            return replace(state, kind="hole", goals=(), message="a goal is given up")
        return state if state.goals else replace(state, kind="error", message=ended.reason, failed=_last(state))
    if "Closed under the global context" in assumed.output:
        return replace(state, kind="proved", goals=())
    listed = assumed.output.partition("Axioms:")[2]
    lines = [line for line in listed.splitlines() if line[:1].strip()]
    names = [line.split(" ")[0] for line in lines]
    more = [name for name in names if name in declared or name.rpartition(".")[2] not in _BASES]
    more += [line for line in lines if not re.match(r"\S+( :|$)", line)]  # for example: f is assumed to be guarded.
    if more:
        return replace(state, kind="hole", goals=(), message=f"it assumes {', '.join(more)}")
    return replace(state, kind="proved", goals=(), message=f"by the axioms {', '.join(names)}" if names else "")


def declared_names(sentences: Sequence[Sentence]) -> set[str]:
    """Return the names of a file's theorems and of its declarations without a definition; none are the library's."""
    words = r"(?:#\[[^\]]*\]\s*)?(?:\w+\s+)?(?:Axioms?|Parameters?|Conjectures?|Variables?|Hypothes[ei]s|Context)\b"
    found = {name for one in sentences if (name := theorem_name(one)) is not None}
    assumed = [one.text for one in sentences if re.match(words, one.text)]
    return found.union(*[re.findall(r"[^\W\d][\w']*", text) for text in assumed])


def listed_statements(output: str) -> tuple[str, ...]:
    """Return the statements that `Search` lists, one per line, sorted by name, without program obligations."""
    found = {}
    for entry in re.split(r"\n(?=[^\s(])", f"\n{output}"):
        if (named := re.match(r"([^\W\d][\w'.]*):\s+(.+)", entry, re.DOTALL)) and "_obligation_" not in named[1]:
            found[named[1]] = " ".join(named[2].partition("\n(use ")[0].split())
    return tuple([f"{name} : {found[name]}" for name in sorted(found)])


def _last(state: ProofState) -> int | None:
    return len(state.steps) - 1 if state.steps else None


def read_goals(output: str) -> tuple[str, ...]:
    """Return the goals that `Show` lists, or () if none are left."""
    text = _IDENTITY.sub("", output).strip()
    found = re.split(r"^(?:\d+ (?:focused )?goals?.*|goal \d+ is:)$", text, flags=re.MULTILINE)
    if len(found) == 1:
        return () if text.startswith("No more goals") else (text,) if text else ()
    return tuple(_dedent(one) for one in found if one.strip())


def _dedent(text: str) -> str:
    lines = [line.rstrip().removeprefix("  ") for line in text.strip("\n").splitlines()]
    return "\n".join(lines).strip()
