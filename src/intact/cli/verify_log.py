"""``intact verify run.eval``: check every answer of a log of inspect_ai, and the log's Merkle root."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.text import Text

from intact._base.errors import ParameterError, ReceiptError
from intact.cli.output import bar, emit, note, one_line, out

if TYPE_CHECKING:
    from intact.cli.receipt_verifier import ReceiptVerifier
    from intact.integrations.inspect_answers import EvalAnswer
    from intact.integrations.inspect_log import InspectLog
    from intact.integrations.inspect_sample import LogFault
    from intact.receipts.document import Receipt
    from intact.receipts.verify import Verdict

SUFFIX: Final = ".eval"
OUTCOMES: Final = ("true", "partial", "false", "unverifiable")
_BATCH: Final = 64
"""Number of answers that are verified together."""
_STYLES: Final = {"true": "green", "partial": "yellow", "false": "bold red", "unverifiable": "yellow"}


class LogVerdict(NamedTuple):
    """The verdict on an answer of a log, or on the log itself."""

    where: str
    outcome: str
    what: str | None
    detail: str
    digest: str | None = None


class LogResult(NamedTuple):
    """All verdicts on a log.

    Attributes
    ----------
    root : str or None
        The Merkle root of its samples.
    answers_root : str or None
        The root over the digests of its receipts, which is the same for every run that gave the same answers.
    others : int
        The number of answers of models of other providers, which have no receipts.
    """

    verdicts: list[LogVerdict]
    root: str | None
    answers_root: str | None
    others: int

    @property
    def outcome(self) -> str:
        """The outcome for the whole log."""
        found = {verdict.outcome for verdict in self.verdicts} | ({"partial"} if self.others else set())
        return next((one for one in ("false", "unverifiable", "partial") if one in found), "true")


def is_log(path: Path) -> bool:
    """Return true if a file is named like a log of inspect_ai."""
    return path.suffix == SUFFIX


def check_log(path: Path, verifier: ReceiptVerifier, expected_root: str | None) -> LogResult:
    """Verify a log: its structure, every answer, and optionally its root.

    Raises
    ------
    LogError
        If the file is not a log that can be read.
    """
    from intact.integrations.inspect_log import InspectLog
    from intact.integrations.inspect_sample import LogFault
    from intact.receipts.identity import root_of

    verdicts: list[LogVerdict] = []
    digests: list[bytes] = []
    others = 0

    with InspectLog(path) as log, bar() as progress:
        verdicts += [_fault(fault) for fault in log.faults()]
        task = progress.add_task("verifying", total=len(log.expected))
        waiting: list[EvalAnswer] = []
        for sample in log.samples():
            progress.update(task, advance=1)
            if isinstance(sample, LogFault):
                verdicts.append(_fault(sample))
                continue
            verdicts += [_fault(fault) for fault in sample.faults()]
            others += sample.others
            waiting += sample.answers()
            if len(waiting) >= _BATCH:
                verdicts += _verify(path, verifier, waiting, digests)
                waiting = []
        verdicts += _verify(path, verifier, waiting, digests)
        root = None if log.root is None else log.root.hex()
        if expected_root is not None and root != expected_root:
            detail = f"the samples have the root {root}, not {expected_root}: one was changed, added, removed or moved"
            verdicts.append(LogVerdict(str(path), "false", "root", detail))
        if not verdicts and not others:
            verdicts.append(LogVerdict(str(path), "unverifiable", "samples", _without_answers(log)))
    return LogResult(verdicts, root, root_of("sha256", digests).hex() if digests else None, others)


def print_result(result: LogResult, path: Path) -> None:
    """Print the verdicts that are not true, the numbers of all, and the roots."""
    for verdict in result.verdicts:
        if verdict.outcome != "true":
            name = {"false": "FALSE", "unverifiable": "cannot verify"}.get(verdict.outcome, verdict.outcome)
            line = Text.assemble(one_line(f"{verdict.where}  "), (name, _STYLES[verdict.outcome]))
            out().print(line.append(one_line(f"  {verdict.what}: {verdict.detail}")), soft_wrap=True)
    counts = Counter(verdict.outcome for verdict in result.verdicts)
    out().print(one_line(f"{path}: {counts['true']} answers true"), soft_wrap=True)
    if result.root is not None:
        out().print(f"samples root  {result.root}", soft_wrap=True)
    if result.answers_root is not None:
        out().print(f"answers root  {result.answers_root}", soft_wrap=True)
    note(f"{counts['true']} true, {counts['false']} false, {counts['unverifiable']} cannot be verified")
    if result.others:
        note(f"{result.others} answers are of other providers' models and have no receipts")


def emit_result(result: LogResult, path: Path) -> None:
    """Print the verdicts as JSON."""
    counts = Counter(verdict.outcome for verdict in result.verdicts)
    emit(
        {
            "outcome": result.outcome,
            **{name: counts[name] for name in OUTCOMES},
            "file": str(path),
            "samples_root": result.root,
            "answers_root": result.answers_root,
            "other_providers": result.others,
            "answers": [verdict._asdict() for verdict in result.verdicts],
        }
    )


def _without_answers(log: InspectLog) -> str:
    return f"the log (status {log.status!r:.40}) has no answers of models of this package"


def _fault(fault: LogFault) -> LogVerdict:
    return LogVerdict(fault.where, "false", "log", fault.detail)


def _verify(
    path: Path, verifier: ReceiptVerifier, answers: Iterable[EvalAnswer], digests: list[bytes]
) -> Iterator[LogVerdict]:
    """Yield the verdicts on answers in order; add the digests of their receipts to a list."""
    from intact.cli.receipt_verifier import ReceiptLine
    from intact.receipts.document import Receipt

    several = list(answers)
    lines = []
    for number, answer in enumerate(several, 1):
        content: Receipt | ReceiptError = ReceiptError("the answer has no receipt")
        if answer.receipt is not None:
            try:
                content = Receipt.parse(answer.receipt)
                digests.append(content.digest)
            except (ReceiptError, ParameterError) as error:
                content = error if isinstance(error, ReceiptError) else ReceiptError(str(error))
        lines.append(ReceiptLine(path, number, len(answer.receipt or b""), content))
    found = {number: verdict for number, _, verdict in verifier.run(iter(lines))}
    for number, (answer, line) in enumerate(zip(several, lines, strict=True)):
        digest = None if line.digest is None else line.digest.hex()
        if answer.receipt is None:
            yield LogVerdict(answer.where, "false", "receipt", "the answer has no receipt")
            continue
        verdict: Any = found[number]
        if verdict.outcome in ("true", "partial") and isinstance(line.content, Receipt):
            verdict = _bound(verifier, answer, line.content) or verdict
        yield LogVerdict(answer.where, verdict.outcome, verdict.what, verdict.detail, digest=digest)


def _bound(verifier: ReceiptVerifier, answer: EvalAnswer, receipt: Receipt) -> Verdict | None:
    """Return the verdict if a true receipt is not for the request and the message in the log."""
    from intact.integrations.chat_replay import ChatReplay
    from intact.integrations.inspect_answers import message_difference
    from intact.receipts.verify import Verdict

    replay: ChatReplay = verifier.replay(receipt)
    read = replay.check(answer.body, answer.choice, receipt)
    if isinstance(read, Verdict):
        return read
    found = message_difference(answer, read.content, read.thoughts, read.calls, finish=read.finish)
    return None if found is None else Verdict("false", "text", None, found)


def read_root(text: str | None) -> str | None:
    """Return a root as given on the command line.

    Raises
    ------
    ParameterError
        If it is not a digest.
    """
    if text is None:
        return None
    root = text.strip().lower()
    if len(root) != 64 or set(root) - set("0123456789abcdef"):
        raise ParameterError(f"--root must be 64 hexadecimal digits, got {text!r:.80}")
    return root
