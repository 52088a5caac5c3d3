"""Count the formalisations of LINC that can be parsed and decided, with and without the grammar.

Uses the formalising rows of `scaling.py --group logic`, with its sampling. Texts in its journal are not generated
again, so this takes only seconds after `scaling.py`. A formalisation counts as parsed if each of its formulas parses; a
problem, if any of its formalisations does.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import common
from scaling import solved
from scaling_setups import SETUPS

import intact
from intact.reason.backends.native import NativeBackend
from intact.tasks.choose import choose

LABELS = ("LINC 5", "LINC without a grammar 5")


def measure(backend: NativeBackend, label: str, args: Any, journal: Path) -> dict[str, Any]:
    """Count the prover's results for a row's formalisations."""
    task = choose(args.task)
    items = task.load(args.problems)
    found: Counter[str] = Counter()
    read = problems = redrawn = 0
    for _, result, _ in solved({"main": backend}, SETUPS[label], "", task, items, journal, args):
        found.update(result.answer.details["found"])
        read += result.answer.details["read"]
        problems += result.answer.details["read"] > 0
        redrawn += result.answer.details["redrawn"]
    row = {"row": label, "problems": len(items), "formalisations": found.total(), "read": read}
    return row | {"problems_read": problems, "redrawn": redrawn, "found": dict(found.most_common())}


def main() -> None:
    p = common.parser(__doc__, text=False)
    p.add_argument("--task", default="folio", help="task as in `intact eval`; its data are in $INTACT_DATA")
    p.add_argument(
        "--problems", type=int, default=100, metavar="N", help="number of problems, from the first (default 100)"
    )
    p.add_argument("--journal", type=Path, default=Path("scaling"), metavar="DIR", help="journal of scaling.py")
    p.add_argument("--temperature", type=float, default=0.8)
    p.add_argument("--max-tokens", type=int, default=512)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int)
    p.add_argument("--parallel", type=int, default=8, metavar="N", help="number of concurrent problems")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    rows = []
    for path in args.models:
        model = intact.load(path, threads=args.threads)
        backend = NativeBackend(model)
        journal = args.journal / path.stem / "shared"
        rows += [{"model": path.stem} | measure(backend, label, args, journal) for label in LABELS]
        model.close()
    if args.json:
        print(json.dumps({"machine": common.machine(), "task": args.task, "rows": rows}, indent=1))
        return
    print("| model | row | formalisations read | problems with one that is read | drawn anew | what was found |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        share = f"{row['read']} of {row['formalisations']} ({row['read'] / max(row['formalisations'], 1):.1%})"
        problems = f"{row['problems_read']} of {row['problems']}"
        verdicts = ", ".join(f"{name} {n}" for name, n in row["found"].items())
        print(f"| {row['model']} | {row['row']} | {share} | {problems} | {row['redrawn']} | {verdicts} |")


if __name__ == "__main__":
    main()
