"""New theorems from a proved one: a lemma rewrites its statement, and the inverse step and the old theorem prove it.

After Alchemy (arXiv 2410.15748), which does this in Lean for pairs of theorems: it rewrites the conclusion or a
hypothesis with an equation in either direction, or replaces a hypothesis with one that implies it, and keeps the
statement if exactly one goal results and the assistant accepts the proof. Here the assistant is Rocq.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Final, NamedTuple

from intact._base.errors import ParameterError
from intact.tools.prove.assistants.base import AssistantLimits
from intact.tools.prove.assistants.rocq import RocqAssistant
from intact.tools.prove.assistants.rocq_output import RocqReply, declared_names, read_goals
from intact.tools.prove.assistants.sentences import Sentence, is_end, split, theorem_name
from intact.tools.prove.premises import nearest

TRIES: Final = 100
"""Number of changes tried in one run of the assistant."""
_NAME: Final = re.compile(r"[^\W\d][\w']*(?:\.[^\W\d][\w']*)*")
_HYPOTHESES: Final = re.compile(r"^([^\W\d][\w', ]*?) :", re.MULTILINE)
_CLOSE: Final = "repeat match goal with H : _ |- _ => revert H end."
_BAR: Final = re.compile(r"^=+$", re.MULTILINE)


class Change(NamedTuple):
    """One way of changing a statement with a lemma.

    Attributes
    ----------
    lemma : str
        Name of the lemma.
    kind : {'forwards', 'backwards', 'implied'}
        The lemma's equation is applied from left to right or from right to left; or its conclusion matches the
        hypothesis, which is replaced by the lemma's only premise.
    hypothesis : str
        Hypothesis to change; empty for the conclusion.
    """

    lemma: str
    kind: str
    hypothesis: str = ""

    def __str__(self) -> str:
        if self.kind == "implied":
            return f"apply {self.lemma} for {self.hypothesis}"
        return self._rewrite(back=False)

    def _rewrite(self, *, back: bool) -> str:
        arrow = "<- " if back != (self.kind == "backwards") else ""
        place = f" in {self.hypothesis}" if self.hypothesis else ""
        return f"rewrite {arrow}{self.lemma}{place}"

    @property
    def step(self) -> str:
        """Tactic that changes the statement; `implied` leaves two goals, with the new hypothesis first."""
        if self.kind == "implied":
            name = self.hypothesis
            return (
                f"intros; match type of {name} with ?P => clear {name}; assert ({name} : P); [ apply {self.lemma} | ] "
                "end."
            )
        return f"intros; {self._rewrite(back=False)}."

    def proof(self, theorem: str) -> tuple[str, ...]:
        """Return the proof of the new statement: the inverse step, then the old theorem."""
        if self.kind == "implied":
            return ("intros.", f"eapply @{theorem}; first [ eassumption | apply {self.lemma}; eassumption ].")
        return (f"intros; {self._rewrite(back=True)}.", f"eapply @{theorem}; eassumption.")


class Mutation(NamedTuple):
    """A new theorem that the assistant accepted.

    Attributes
    ----------
    name, statement : str
        Name and statement of the theorem.
    change : str
        Step that produced it from the old theorem.
    proof : tuple of str
        Steps of its proof.
    """

    name: str
    statement: str
    change: str
    proof: tuple[str, ...]

    @property
    def text(self) -> str:
        """The theorem and its proof as source text."""
        return "\n".join([f"Theorem {self.name} : {self.statement}.", "Proof.", *self.proof, "Qed."])


class Mutations(NamedTuple):
    """The result of changing a theorem.

    Attributes
    ----------
    theorem : str
        Name of the theorem.
    before : str
        The file up to the end of the theorem's proof.
    tried : int
        Number of changes tried.
    changed : int
        Number of changes that produced a new statement, without duplicates.
    found : tuple of Mutation
        Proved statements, in the order of the lemmas.
    limit : str
        Description of the limit that ended the search; empty if no limit was reached.
    """

    theorem: str
    before: str
    tried: int = 0
    changed: int = 0
    found: tuple[Mutation, ...] = ()
    limit: str = ""

    @property
    def text(self) -> str:
        """A file with the original theorem and the new ones."""
        return "\n\n".join([self.before, *[one.text for one in self.found]]) + "\n"


def mutate(
    assistant: RocqAssistant,
    text: str,
    limits: AssistantLimits,
    theorem: str = "",
    lemmas: Sequence[str] | int = 20,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> Mutations:
    """Derive new theorems, each accepted by the assistant, from a proved one.

    Parameters
    ----------
    text : str
        File with the theorem and its proof.
    theorem : str
        Name of the theorem; by default the last one in the file.
    lemmas : sequence of str or int
        Lemmas with which to change it, or the number of known lemmas to use, nearest to its statement first.
    progress : function
        Called with the number of changes tried and the total.

    Raises
    ------
    ParameterError
        If the file has no such theorem, its proof is not accepted, or a lemma is unknown or missing.
    FormatError
        If the file cannot be split into sentences.
    NotInstalledError, SandboxError
        As for the assistant.
    """
    if not lemmas or (isinstance(lemmas, int) and lemmas < 0):
        raise ParameterError("changing a theorem requires at least one lemma")
    sentences, place = _through_proof(text, theorem)
    before, statement = ("\n".join([one.text for one in part]) for part in (sentences, sentences[: place + 1]))
    name = theorem_name(sentences[place]) or ""
    proofs, limit = assistant.transcripts(before, limits, name)
    if limit:
        return Mutations(name, before, limit=limit)
    if not proofs or proofs[-1].kind != "proved":
        reason = proofs[-1].message if proofs else "its statement fails"
        raise ParameterError(f"only a proved theorem can be changed, but {name} is not proved: {reason}")
    if isinstance(lemmas, int):
        known = assistant.known(statement, limits)
        if known.limit:
            return Mutations(name, before, limit=known.limit)
        chosen = [one.partition(" :")[0] for one in nearest(known.statements, _constants(proofs[-1].goals[0]), lemmas)]
    else:
        chosen = list(lemmas)
    for one in chosen:
        if _NAME.fullmatch(one) is None:
            raise ParameterError(f"a lemma must be a name such as Nat.add_comm, got {one!r:.60}")
    if not chosen:
        raise ParameterError(f"no lemma is close to {name}: give some lemmas")
    search = _Search(assistant, limits, sentences, name)
    limit = "" if isinstance(lemmas, int) else search.check_names(chosen)
    return Mutations(name, before, limit=limit) if limit else search.run(chosen, progress)


def _through_proof(text: str, theorem: str) -> tuple[list[Sentence], int]:
    """Return a file's sentences up to the end of a theorem's proof, and the index of the theorem's statement."""
    sentences, proofs, begun = split(text), list[tuple[str, int, int]](), ("", 0)
    for place, one in enumerate(sentences):
        if (name := theorem_name(one)) is not None:
            begun = name, place
        elif is_end(one) and begun[0]:
            proofs.append((*begun, place))
            begun = "", 0
    found = next((one for one in reversed(proofs) if theorem in ("", one[0])), None)
    if found is None:
        which = f" {theorem!r:.60}" if theorem else ""
        raise ParameterError(f"the file has no theorem{which} with a complete proof")
    return sentences[: found[2] + 1], found[1]


class _Search:
    """The search for changes of one theorem."""

    def __init__(
        self, assistant: RocqAssistant, limits: AssistantLimits, sentences: Sequence[Sentence], theorem: str
    ) -> None:
        self.assistant, self.limits, self.theorem = assistant, limits, theorem
        self.texts = [one.text for one in sentences]
        self.before = "\n".join(self.texts)
        self.taken = declared_names(sentences)
        self.again = [*self.texts, f"Goal ltac:(let t := type of (@{theorem}) in exact t)."]

    def check_names(self, lemmas: Sequence[str]) -> str:
        """Raise if a lemma is unknown; return a description of the limit that ended the run, or ""."""
        replies, limit = self.assistant.converse([*self.texts, *[f"Check @{one}." for one in lemmas]], self.limits)
        for one, reply in zip(lemmas, replies[len(self.texts) :], strict=False):
            if reply.error:
                raise ParameterError(f"the lemma {one} is unknown before {self.theorem}: {reply.reason}")
        return limit

    def run(self, lemmas: Sequence[str], progress: Callable[[int, int], None]) -> Mutations:
        """Try every lemma in every place, then prove the new statements."""
        replies, limit = self._converse([["intros.", "Show.", _CLOSE, "Show."]])
        if limit:
            return Mutations(self.theorem, self.before, limit=limit)
        goals = read_goals(replies[0][1].output)
        if not goals:
            raise ParameterError(f"the statement of {self.theorem} cannot be restated: {replies[0][0].reason}")
        known = {_plain(replies[0][3].output)}
        changes = [*_changes(lemmas, _hypotheses(goals[0]))]
        new, tried = list[tuple[Change, str]](), 0
        for at in range(0, len(changes), TRIES):
            part = changes[at : at + TRIES]
            statements, limit = self._statements(part)
            tried += len(statements)
            for change, statement in zip(part, statements, strict=False):
                if statement and statement not in known:
                    known.add(statement)
                    new.append((change, statement))
            progress(tried, len(changes) + len(new))
            if limit:
                break
        found = list[Mutation]()
        for done, (change, statement) in enumerate(new, 1):
            one = Mutation(self._free_name(), statement, str(change), change.proof(self.theorem))
            state = self.assistant.run(f"{self.before}\nTheorem {one.name} : {statement}.", one.proof, self.limits)
            if state.kind == "proved":
                found.append(one)
                self.taken.add(one.name)
            elif state.kind == "limit":
                limit = state.message
            progress(tried + done, len(changes) + len(new))
        return Mutations(self.theorem, self.before, tried, len(new), found=tuple(found), limit=limit)

    def _free_name(self) -> str:
        """Return the theorem's name with the smallest number that makes it unique."""
        return next(name for i in count(1) if (name := f"{self.theorem}_{i}") not in self.taken)

    def _statements(self, changes: Sequence[Change]) -> tuple[list[str], str]:
        """Return the new statement for each change, or "" if it failed, and the limit that ended the run."""
        replies, limit = self._converse([[one.step, "Show.", _CLOSE, "Show."] for one in changes])
        found, implied = list[str](), dict[int, str]()
        for place, (change, (step, goals, _, closed)) in enumerate(zip(changes, replies, strict=False)):
            left = read_goals(goals.output)
            good = not step.error and len(left) == (2 if change.kind == "implied" else 1)
            if good and change.kind == "implied":
                implied[place] = _BAR.split(left[0])[-1].strip()
            found.append(_plain(closed.output) if good and change.kind != "implied" else "")
        if not implied:
            return found, limit
        names = {place: changes[place].hypothesis for place in implied}
        closing = [
            [f"intros; clear {names[place]}.", f"assert ({names[place]} : {text}); [ admit | ].", _CLOSE, "Show."]
            for place, text in implied.items()
        ]
        replies, more = self._converse(closing)
        for place, four in zip(implied, replies, strict=False):
            if not (four[0].error or four[1].error):
                found[place] = _plain(four[3].output)
        return found, limit or more

    def _converse(self, tries: Sequence[Sequence[str]]) -> tuple[list[list[RocqReply]], str]:
        """Return the replies to each attempt, starting at the theorem's statement; empty if a limit ended the run."""
        sentences, starts = list(self.again), list[int]()
        for one in tries:
            starts.append(len(sentences))
            sentences += [*one, "Restart."]
        replies, limit = self.assistant.converse(sentences, self.limits)
        if limit:
            return [], limit
        return [replies[at : at + len(one)] for at, one in zip(starts, tries, strict=True)], ""


def _changes(lemmas: Sequence[str], hypotheses: Sequence[str]) -> Iterator[Change]:
    """Yield all changes with lemmas: of the conclusion, then of each hypothesis."""
    for lemma in lemmas:
        for place in ("", *hypotheses):
            yield Change(lemma, "forwards", place)
            yield Change(lemma, "backwards", place)
            if place:
                yield Change(lemma, "implied", place)


def _constants(goal: str) -> str:
    """Return a goal's conclusion without the names in its context, which are irrelevant to finding lemmas."""
    names = "|".join(map(re.escape, _hypotheses(goal)))
    conclusion = _BAR.split(goal)[-1]
    return re.sub(rf"(?<![\w'.])(?:{names})(?![\w'])", " ", conclusion) if names else conclusion


def _hypotheses(goal: str) -> list[str]:
    """Return the names in a goal's context."""
    context = _BAR.split(goal)[0]
    return [name.strip() for names in _HYPOTHESES.findall(context) for name in names.split(",")]


def _plain(goal: str) -> str:
    """Return the conclusion of a goal without context, on one line."""
    left = read_goals(goal)
    return " ".join(_BAR.split(left[0])[-1].split()) if left else ""
