"""``intact judge``: judge answers with a model whose verdicts never move."""

from __future__ import annotations

import json as jsonlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from intact._base.errors import ParameterError
from intact._base.files import read_text, write_whole
from intact.checkpoints.catalogue import DEFAULT
from intact.cli import fetch
from intact.cli.model_option import ModelOption
from intact.cli.options import JsonOption, ProfileOption, ThreadsOption
from intact.cli.output import bar, emit, new_table, note, one_line, out, show

if TYPE_CHECKING:
    from intact.evaluate.model_judge import FittedCut, JudgedItem, Judgement, Rubric
    from intact.stats.agreement import Agreement

MOST_FITTED: Final = 2048
"""Maximum number of gold labels to which a cut is fitted."""
EXAMPLES = """\
Judge the answers of a file; each line has a question, an answer, and optionally a reference
  intact judge answers.jsonl
Compare pairs (first and second) in both orders, and write verdicts and receipts
  intact judge pairs.jsonl -m qwen2.5-coder-0.5b-instruct --out verdicts.jsonl --receipt verdicts.receipts
Use a rubric of your own
  intact judge answers.jsonl --rubric polite.txt --labels polite,neutral,rude
Judge again alone, in reverse order and among strangers; exit status 1 if a verdict changes
  intact judge answers.jsonl --control
"""


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Answers or pairs, one JSON object per line.")],
    model: ModelOption = DEFAULT,
    rubric: Annotated[
        Path | None,
        typer.Option("--rubric", metavar="FILE", help="Template of the question to the judge.", show_default=False),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="A,B,...", help="Allowed verdicts, from best to worst.", show_default=False),
    ] = None,
    destination: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File for the verdicts.", show_default=False)
    ] = None,
    receipt: Annotated[
        Path | None, typer.Option("--receipt", metavar="FILE", help="File for receipts.", show_default=False)
    ] = None,
    cut: Annotated[
        float, typer.Option("--cut", metavar="NATS", help="Margin above which the first of two labels is the verdict.")
    ] = 0.0,
    control: Annotated[
        bool, typer.Option("--control", help="Judge again under other conditions, and count changed verdicts.")
    ] = False,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Judge answers, or compare pairs of them; the same answer always gets the same verdict.

    With `gold` in the file's lines, the agreement with these labels is printed too.
    """
    from intact.evaluate.judged_items import read_items
    from intact.evaluate.model_judge import ModelJudge, check_cut, null_control
    from intact.receipts.document import write_receipts

    chosen = _rubric(file, rubric, labels)
    items = read_items(file, chosen)
    check_cut(chosen, cut)
    loaded: Any = fetch.load(model, profile, threads)
    judge = ModelJudge(loaded, chosen, receipt is not None, cut)
    with bar() as progress:
        task = progress.add_task("judging", total=len(items))
        found = judge.judge(items, done=lambda count: progress.update(task, advance=count))
        progress.update(task, description="judging again")
        changed = null_control(ModelJudge(loaded, chosen, cut=cut), items, found) if control else None
    if destination is not None:
        lines = [jsonlib.dumps(_verdict(one), ensure_ascii=False) + "\n" for one in found]
        write_whole(destination, "".join(lines))
    if receipt is not None:
        write_receipts(receipt, [one for judgement in found for one in judgement.receipts])
    agreed, fitted = _agreement(items, found, chosen), _fitted(items, found, chosen)
    if json:
        emit(
            {
                "model": model,
                "profile": profile,
                "verdicts": [_verdict(one) for one in found],
                "agreement": None if agreed is None else agreed._asdict(),
                "fitted_cut": None if fitted is None else fitted._asdict(),
                "changed": changed,
            }
        )
    else:
        _print(found, agreed, fitted, changed)
    if changed is not None and any(changed.values()):
        raise typer.Exit(1)


def _rubric(file: Path, template: Path | None, labels: str | None) -> Rubric:
    """Return the rubric that the options choose; by default one for the kind of items in the file."""
    from intact.evaluate.judged_items import is_pair_file
    from intact.evaluate.model_judge import PAIR, SINGLE, Rubric

    default = PAIR if is_pair_file(file) else SINGLE
    text = default.template if template is None else read_text(template, ParameterError)
    names = default.labels if labels is None else tuple(label.strip() for label in labels.split(","))
    return Rubric(text, names)


def _verdict(judgement: Judgement) -> dict[str, Any]:
    """Return the JSON object of a verdict."""
    from intact.numerics.sampling import LOGPROB_SCALE

    digests = [one.digest.hex() for one in judgement.receipts]
    scores = [[round(score / LOGPROB_SCALE, 6) for score in row] for row in judgement.scores]
    own = {"id": judgement.id, "verdict": judgement.verdict, "scores": scores}
    return own | ({"receipts": digests} if digests else {})


def _agreement(items: Sequence[JudgedItem], found: Sequence[Judgement], rubric: Rubric) -> Agreement | None:
    """Return the agreement with the gold labels; None if there are none."""
    from intact.evaluate.model_judge import FIRST, SECOND, TIE
    from intact.stats.agreement import agreement

    pairs = [(item.gold, one.verdict) for item, one in zip(items, found, strict=True) if item.gold is not None]
    if not pairs:
        return None
    order = (FIRST, SECOND, TIE) if rubric.is_pair else rubric.labels
    return agreement([gold for gold, _ in pairs], [verdict for _, verdict in pairs], order)


def _fitted(items: Sequence[JudgedItem], found: Sequence[Judgement], rubric: Rubric) -> FittedCut | None:
    """Return the cut that agrees best with the gold labels; None if there are too few, or the rubric takes no cut."""
    from intact.evaluate.model_judge import fit_cut

    known = [(one.margin, item.gold) for item, one in zip(items, found, strict=True) if item.gold is not None]
    if rubric.is_pair or len(rubric.labels) != 2 or not 2 <= len(known) <= MOST_FITTED:
        return None
    return fit_cut([margin for margin, _ in known], [gold == rubric.labels[0] for _, gold in known])


def _print(
    found: Sequence[Judgement], agreed: Agreement | None, fitted: FittedCut | None, changed: dict[str, int] | None
) -> None:
    """Print counts of verdicts, the agreement with gold labels, and the null control."""
    counts = Counter(one.verdict for one in found)
    table = new_table("verdict", "answers", "share", right=("answers", "share"))
    for verdict, count in counts.most_common():
        table.add_row(one_line(verdict), f"{count:,}", f"{count / len(found):.1%}")
    out().print(table)
    if agreed is not None:
        rows = new_table("gold", *map(one_line, agreed.labels), right=agreed.labels)
        for label, row in zip(agreed.labels, agreed.table, strict=True):
            rows.add_row(one_line(label), *map(str, row))
        out().print(rows)
        kappa = "" if agreed.kappa is None else f", kappa {agreed.kappa:.2f}"
        show(f"agreement with gold labels {agreed.share:.1%} ({agreed.low:.1%} to {agreed.high:.1%}){kappa}")
    if fitted is not None:
        count = sum(map(sum, agreed.table)) if agreed is not None else 0
        share = f"{fitted.right} of {count} agree with a cut fitted to the others"
        show(f"best --cut for these gold labels {fitted.cut:.3f}; {share}")
    if changed is not None:
        for condition, count in changed.items():
            show(f"judged {condition}: {count} of {len(found)} verdicts changed")
    note("verdicts of one model with one rubric; --receipt lets others verify them")
