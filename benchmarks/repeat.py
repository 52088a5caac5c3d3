"""Repeat a row of study/scaling.md, and compare it with its record byte for byte.

    python benchmarks/repeat.py --list                                  # all rows: problems, operations, ways to repeat
    python benchmarks/repeat.py "beam search 4" --budget text=512 --model qwen-coder-0.5b      # the model writes again
    python benchmarks/repeat.py "self-consistency 16" --from journal --model qwen-coder-0.5b   # texts from the journal
    python benchmarks/repeat.py "DVTS 4" --budget text=512 --from results                      # no model

From `model`, all texts are written again. From `journal`, the texts are those of the packed journal in study/records;
the model's file gives only its tokenizer and digests, and the run stops if a text is missing. From `results`, the kept
result file is graded again, and the record is made of it. All but the seconds of each problem is compared. The exit
status is 1 if a byte differs; the first such line is printed. With --update the record is then replaced by what was
repeated: for rows that an earlier version of a method or of a reader of answers recorded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import published
from common import RECORDS, model_path
from scaling import Outcome, Records, key_of, setup_of, solved, spent_on
from scaling_setups import GROUPS, SETUPS

import intact
from intact._base.files import write_whole
from intact.reason.backends.native import NativeBackend
from intact.reason.problem import State
from intact.tasks.choose import choose
from intact.tasks.task import Item

RATE = 100e9
"""Operations per second of two cores, roughly: 60 to 200 G, the more the more texts are written at a time."""
TASKS = {"humaneval-style-base": "humaneval:style=base"}
JOURNALS = {"gsm8k-0-0.7-512": "gsm8k", "humaneval-style-base-0-0.8-384": "humaneval"}
PACKED = "qwen2.5-coder-0.5b-instruct-q4_k_m"
"""The model of the packed journals."""


class Source(NamedTuple):
    """The folder of the records, and the names of the files in it."""

    folder: Path = RECORDS
    archive: str = "scaling.results.tar.xz"


KEPT = Source()


class Found(NamedTuple):
    """A row: its file, model, setup and budget, and its outcomes in the order of problems."""

    records: str
    model: str
    setup: str
    budget: str
    outcomes: Sequence[Outcome]

    @property
    def operations(self) -> int:
        return sum(one.operations for one in self.outcomes)

    @property
    def settings(self) -> tuple[str, int, float, int]:
        """The task, seed, temperature and maximum tokens of its file."""
        match = re.fullmatch(r"(.+)-(\d+)-([\d.]+)-(\d+)", self.records)
        assert match is not None, self.records
        name, seed, temperature, tokens = match.groups()
        return TASKS.get(name, name), int(seed), float(temperature), int(tokens)

    def lines(self) -> list[bytes]:
        """Return its record without seconds, a line for each problem."""
        return [line_of(one) for one in self.outcomes]


def line_of(outcome: Outcome) -> bytes:
    """Return a problem's record without its seconds."""
    return json.dumps({name: value for name, value in outcome._asdict().items() if name != "seconds"}).encode()


def rows(source: Source = KEPT) -> Iterator[Found]:
    """Yield all kept rows."""
    for path in sorted(source.folder.glob("*.jsonl")):
        if not re.fullmatch(r".+-\d+-[\d.]+-\d+", path.stem):
            continue
        found: dict[tuple[str, str, str], list[Outcome]] = {}
        for one in Records(path).all:
            found.setdefault((one.model, one.setup, one.budget), []).append(one)
        for (model, setup, budget), own in found.items():
            if setup.partition("; ")[0] in SETUPS:
                own.sort(key=lambda one: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", one.id)])
                yield Found(path.stem, model, setup, budget, own)


@cache
def archived(source: Source) -> Mapping[str, str]:
    """Return the kept result files, by names of letters and digits alone."""
    path = source.folder / source.archive
    if not path.is_file():
        return {}
    with tarfile.open(path) as archive:
        return {_plain(name.removesuffix(".jsonl")): name for name in archive.getnames()}


def _plain(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name).strip("-")


def member_of(row: Found, source: Source) -> str | None:
    """Return the name of the kept result file of a row."""
    return archived(source).get(_plain(f"{row.records} {row.model} {row.setup} {row.budget}"))


def ways(row: Found, source: Source = KEPT) -> list[str]:
    """Return the ways in which a row can be repeated."""
    label, _, more = row.setup.partition("; ")
    found = ["model" + (f" ({more})" if more else "")]
    texts = SETUPS[label].parameters.get("n", SETUPS[label].parameters.get("k", 0))
    pooled = label in GROUPS["choosers"] or (label in GROUPS["pool"] and SETUPS[label].sampling == {})
    unasked = "P(true)" not in label and not label.startswith(("particle", "adaptive", "early stopping"))
    if pooled and unasked and texts <= 16 and not row.budget and row.model == PACKED and row.records in JOURNALS:
        found.append("journal")
    return found + ["results"] * (member_of(row, source) is not None)


class Sealed(NativeBackend):
    """A model that must not write: all texts are in the journal."""

    def start(self, generations: Sequence[Any]) -> None:
        states: list[State] = [one.state for one in generations]
        raise SystemExit(f"the journal lacks a text of {states[0].branch[0]}: repeat this row from the model")


def from_model(row: Found, model: Path, journal: Path, args: Any) -> list[bytes]:
    """Solve a row's problems again, with the texts of a journal, and return its record without seconds."""
    name, seed, temperature, tokens = row.settings
    label = row.setup.partition("; ")[0]
    own = argparse.Namespace(
        temperature=temperature, max_tokens=tokens, seed=seed, parallel=args.parallel, set=args.set, large=args.large,
        values=RECORDS / "prefix_values.json",
    )  # fmt: skip
    if (key := key_of(label, own)) != row.setup:
        raise SystemExit(f"this row needs the options in its name, {row.setup!r}: --large or --set; got {key!r}")
    task = choose(name)
    wanted = {one.id for one in row.outcomes}
    items: list[Item] = [item for item in task.load() if item.id in wanted]
    kind = Sealed if args.source == "journal" else NativeBackend
    files = {"main": model} | ({"large": args.large} if args.large else {})
    loaded = {role: intact.load(file, threads=args.threads) for role, file in files.items()}
    found: dict[str, Outcome] = {}
    try:
        backends = {role: kind(one) for role, one in loaded.items()}
        for item, result, correct in solved(backends, setup_of(label, own), row.budget, task, items, journal, own):
            spent = spent_on(result, setup_of(label, own))
            figures = (*spent, result.why, result.error)
            found[item.id] = Outcome(row.model, row.setup, row.budget, item.id, bool(correct), *figures)
            if sys.stderr.isatty():
                print(f"{len(found)} of {len(items)} problems", end="\r", file=sys.stderr, flush=True)
    finally:
        for one in loaded.values():
            one.close()
    return [line_of(found[one.id]) for one in row.outcomes if one.id in found]


def from_results(row: Found, source: Source) -> list[bytes]:
    """Grade a row's kept result file again, and return the record made of it, without seconds."""
    member = member_of(row, source)
    if member is None:
        raise SystemExit(f"there is no kept result file of {row.setup!r}: repeat it from the model")
    task = choose(row.settings[0])
    items = {item.id: item for item in task.load()}
    with tarfile.open(source.folder / source.archive) as archive:
        file: Any = archive.extractfile(member)
        records = {record["id"]: record for record in map(json.loads, file.read().splitlines()[1:]) if "id" in record}
    made = []
    for one in row.outcomes:
        record = records[one.id]
        cost, right = record["cost"], task.task.grade(items[one.id], record["answer"])
        failed = record["why"] == "failed"
        figures = (cost["tokens"], cost["sequential"], cost["operations"], 0.0, record["why"], record["error"])
        made.append(line_of(Outcome(row.model, row.setup, row.budget, one.id, bool(right) and not failed, *figures)))
    return made


def compare(row: Found, made: Sequence[bytes]) -> str:
    """Return an empty string if the record was repeated, else its first line that differs."""
    kept = row.lines()
    for old, new in zip(kept, made, strict=False):
        if old != new:
            return f"recorded: {old.decode()}\nrepeated: {new.decode()}"
    return "" if len(kept) == len(made) else f"{len(kept)} problems are recorded, {len(made)} were repeated"


def update(row: Found, made: Sequence[bytes], source: Source) -> None:
    """Replace a row's record in place, keeping the seconds."""
    path = source.folder / f"{row.records}.jsonl"
    new = {one["id"]: one for one in map(json.loads, made)}
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for number, line in enumerate(lines):
        if (line.get("model"), line.get("setup"), line.get("budget")) == (row.model, row.setup, row.budget):
            lines[number] = {name: new[line["id"]].get(name, value) for name, value in line.items()}
    write_whole(path, "".join(json.dumps(line) + "\n" for line in lines))


def listed(source: Source = KEPT) -> str:
    """Return all rows with their problems, operations, time and ways to repeat them."""
    head = f"{'problems':>8}  {'G operations':>12}  {'about':>8}  from"
    lines = [f"{head}  row; two cores take about the time given to write all texts of a row"]
    for row in rows(source):
        minutes = row.operations / RATE / 60
        time = f"{minutes / 60:.1f} h" if minutes >= 60 else f"{minutes:.0f} min"
        name = f'"{row.setup}"' + f" --budget {row.budget}" * bool(row.budget)
        figures = f"{len(row.outcomes):8}  {row.operations / 1e9:12,.0f}  {time:>8}  {', '.join(ways(row, source))}"
        lines.append(f"{figures}  {name} --records {row.records} ({row.model})")
    return "\n".join(lines)


def row_of(args: Any, source: Source) -> Found:
    """Return the row that the options name."""
    alike = [
        row
        for row in rows(source)
        if (row.setup, row.budget) == (args.row, args.budget)
        and args.records in (None, row.records)
        and (args.model is None or row.model == args.model.stem)
    ]
    alike = alike[:1] if args.records is None and len({row.model for row in alike}) == 1 else alike
    if len(alike) != 1:
        choices = "; ".join(f"--records {row.records}, {row.model}" for row in alike) or "see --list"
        raise SystemExit(f"{len(alike)} rows are named {args.row!r} with the budget {args.budget!r}: {choices}")
    return alike[0]


def repeat(args: Any, source: Source) -> int:
    """Repeat a row, print the digests of its record, and return the exit status."""
    row = row_of(args, source)
    if args.source not in [way.partition(" ")[0] for way in ways(row, source)]:
        raise SystemExit(f"{row.setup!r} can be repeated from {', '.join(ways(row, source))}, not from {args.source}")
    if args.source == "results":
        made = from_results(row, source)
    elif args.model is None:
        raise SystemExit("--model: name the model's file")
    else:
        with tempfile.TemporaryDirectory() as name:
            journal = args.journal or Path(name)
            if args.source == "journal":
                published.unpack(JOURNALS[row.records], journal)
            made = from_model(row, args.model, journal, args)
    for words, lines in (("recorded", row.lines()), ("repeated", made)):
        digest = hashlib.sha256(b"\n".join(lines)).hexdigest()
        print(f"{words}: {len(lines)} problems, SHA-256 {digest}")
    differs = compare(row, made)
    print(differs or f"{row.setup}: the same to the byte")
    if differs and args.update and len(made) == len(row.outcomes):
        update(row, made, source)
        print(f"{row.records}.jsonl is updated")
    return int(bool(differs))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("row", nargs="?", help="name of the row, as in --list")
    p.add_argument("--list", action="store_true", help="print all rows and exit")
    p.add_argument("--from", dest="source", choices=["model", "journal", "results"], default="model")
    p.add_argument("--model", type=model_path, metavar="MODEL", help="model file, or a short name")
    p.add_argument("--update", action="store_true", help="replace a record that differs")
    p.add_argument("--budget", default="", metavar="CAPS", help="budget of the row (default none)")
    p.add_argument("--records", metavar="NAME", help="file of the row, if several have it (default the first)")
    p.add_argument("--journal", type=Path, metavar="DIR", help="folder of the texts, to stop and go on (model)")
    p.add_argument("--large", type=model_path, metavar="MODEL", help="larger model, for rows with two")
    p.add_argument("--set", action="append", default=[], type=_pair, metavar="NAME=TEXT", help="parameter of the row")
    p.add_argument("--parallel", type=int, default=8, metavar="N", help="number of concurrent problems")
    p.add_argument("--threads", type=int)
    p.add_argument("--folder", type=Path, default=RECORDS, metavar="DIR", help="folder of the records")
    args = p.parse_args()
    source = Source(args.folder)
    if args.list:
        print(listed(source))
    elif args.row is None:
        p.error("name a row (--list has them)")
    else:
        raise SystemExit(repeat(args, source))


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


if __name__ == "__main__":
    main()
