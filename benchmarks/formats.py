"""Write the tables, plots and orderings of study/formats.md: the KL divergence that formats cost.

    python benchmarks/formats.py smollm2-permuted --work DIR     measure missing specs of formats.txt, one by one
    python benchmarks/formats.py tiny --work DIR --accuracy      multiple choice on the Pareto front and its neighbours
    python benchmarks/formats.py --page study/formats.md          write the page and its pictures from the records

Rows are appended to records/formats.jsonl, accuracies to records/formats_accuracy.jsonl, as soon as they are known, so
a run may be stopped at any time; records of another text or other weights are ignored. `tiny` is a model of
benchmarks/tiny_model.py, given by --tiny.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import common

from intact._base.errors import ParameterError
from intact._base.files import write_whole
from intact.checkpoints.formats import open_checkpoint
from intact.cli.lab import read_specs
from intact.evaluate.report.blocks import Block, Code, Paragraph, Picture, ReportDocument, Section, Table
from intact.evaluate.report.markdown import markdown
from intact.models import build_program
from intact.quantizing import check_target
from intact.quantizing.lab.accuracy import ChoiceAccuracy, choose_tasks
from intact.quantizing.lab.measure import Lab, LabPlan, SourceKind
from intact.quantizing.lab.report import accuracy_table, plot, table
from intact.quantizing.lab.result import LabResult
from intact.quantizing.lab.rows import LabRow, order, short_name, standings
from intact.quantizing.quantizers import parse_recorded, parse_target

HERE = Path(__file__).parent
RECORDS, SPECS = common.RECORDS / "formats.jsonl", HERE / "formats.txt"
ACCURACY = common.RECORDS / "formats_accuracy.jsonl"
SOURCE = "source"
TINY = "tiny"
CONTEXT = 256


class Setting(NamedTuple):
    """A float source and the amount of text: windows of 256 tokens for scoring, windows of 512 for calibration."""

    title: str
    model: str
    kind: SourceKind
    windows: int
    calibration_windows: int


SETTINGS = {
    "tiny": Setting("A tiny Llama trained in float32", TINY, "file", 32, 32),
    "smollm2-permuted": Setting("SmolLM2-135M-Instruct Q4_1, permuted", "smollm2-135m", "permuted", 8, 16),
    "qwen-permuted": Setting("Qwen2.5-Coder-0.5B Q4_K_M, permuted", "qwen-coder-0.5b", "permuted", 4, 8),
    "gemma-permuted": Setting("Gemma-3-270m Q4_K_M, permuted", "gemma3-270m", "permuted", 4, 8),
}


class Claim(NamedTuple):
    """A paper's claim about an ordering: `first` loses less than `second`."""

    text: str
    first: str
    second: str


CLAIMS = (
    Claim("GPTQ better than rounding, 3 bits in blocks (arXiv 2210.17323)", "gptq:int3-16", "int3-16"),
    Claim("GPTQ better than rounding, 3 bits, one scale per row", "gptq:int3-row", "int3-row"),
    Claim("GPTQ better than rounding, 2 bits", "gptq:int2-16", "int2-16"),
    Claim(
        "a second plane for a tenth of the columns better than blocks half as wide, 2 bits",
        "impact10:int2-32",
        "int2-16",
    ),
    Claim(
        "a different fraction of columns for each layer better than one for all, 2 bits",
        "mix:2.82@output(impact2:int2-32|impact5:int2-32|impact10:int2-32|impact15:int2-32|impact20:int2-32)",
        "impact10:int2-32",
    ),
    Claim("GPTQ in act-order better than in storage order", "gptq_ordered:int3-16", "gptq:int3-16"),
    Claim("two trit planes better than 3-bit rounding, blocks of 64 (PTQTP)", "ptqtp:trits2-64", "int3-64"),
    Claim("two trit planes better than 2-bit rounding, blocks of 64 (PTQTP)", "ptqtp:trits2-64", "int2-64"),
    Claim("free trit planes better than tied ones (PTQTP)", "ptqtp:trits-64", "ptqtp:trits2-64"),
    Claim("two trit planes better than one", "ptqtp:trits2-64", "ternary-64"),
    Claim("blocks of 32 better than one scale per row, 4 bits", "int4-32", "int4-row"),
    Claim("blocks of 32 better than one scale per row, 8 bits", "int8-32", "int8-row"),
    Claim("a fine scale better than a power of two, 8 bits", "int8-32", "mxint8"),
    Claim("MXINT8 better than MXFP8 (INT v.s. FP)", "mxint8", "mxfp8"),
    Claim("INT8 better than FP8 E4M3, one scale per row (arXiv 2303.17951)", "int8-row", "fp8:e4m3-row"),
    Claim("MXFP6 better than MXINT6 (INT v.s. FP)", "mxfp6", "mxint6"),
    Claim("MXFP4 better than MXINT4 (INT v.s. FP)", "mxfp4", "mxint4"),
    Claim("E3M2 with one scale per row better than INT4 in blocks (arXiv 2312.08583)", "e3m2-row", "int4-32"),
    Claim("NVFP4 better than NVINT4, not rotated (INT v.s. FP)", "nvfp4", "nvint4"),
    Claim("NVINT4 better than NVFP4, rotated (INT v.s. FP)", "rotate+nvint4", "rotate+nvfp4"),
    Claim("AWQ's scales better than none, 3 bits (arXiv 2306.00978)", "awq+int3-16", "int3-16"),
    Claim("INT4 better than E2M1 with fine scales, blocks of 32", "int4-32", "e2m1"),
    Claim("NF4 better than INT4 in blocks of 64 (arXiv 2305.14314)", "nf4", "int4-64@largest"),
    Claim("the power 1/2 better than evenly spaced levels, 4 bits (NUPES)", "nupes4", "int4s"),
    Claim(
        "a mixture better than one spec of its size, 3.5 to 4 bits",
        "mix:4@output(int2-16|int3-16|int4-32|int5-32)",
        "int3-16",
    ),
    Claim(
        "a mixture by measured slopes better than one spec, 4 bits",
        "mix:4@divergence(int2-16|int3-16|int4-32|int5-32)",
        "int3-16",
    ),
    Claim(
        "a mixture by measured slopes better than one spec, 4.5 bits",
        "mix:4.5@divergence(int3-32|int4-32|int5-32|int6-32|int8-32)",
        "int4-32",
    ),
    Claim(
        "a mixture of GPTQ by measured slopes better than one spec, 4.5 bits",
        "mix:4.5@divergence(gptq:int3-16|gptq:int4-32|gptq:int5-32|gptq:int8-32)",
        "gptq:int4-32",
    ),
    Claim(
        "a mixture better than one spec of its size, 4.5 bits",
        "mix:4.5@output(int3-16|int4-32|int5-32|int8-32)",
        "int4-32",
    ),
    Claim(
        "a mixture of GPTQ better than one spec of its size, 4.5 bits",
        "mix:4.5@output(gptq:int3-16|gptq:int4-32|gptq:int5-32|gptq:int8-32)",
        "gptq:int4-32",
    ),
    Claim("a mixture better than one spec of its size, 5.5 bits", "mix:5.5@output(int4-32|int5-32|int8-32)", "int5-32"),
)


def plan_of(name: str, args: argparse.Namespace, specs: Sequence[str]) -> LabPlan:
    """Return the lab plan for a setting and specs."""
    setting = SETTINGS[name]
    text, learnt = (common.DATA / "wikitext2" / f"{part}.txt" for part in ("test", "valid"))
    return LabPlan(
        _model(name, args), specs, text, args.work / name, learnt, CONTEXT, setting.windows,
        setting.calibration_windows, source=setting.kind,
    )  # fmt: skip


def _model(name: str, args: argparse.Namespace) -> Path:
    model = SETTINGS[name].model
    return Path(args.tiny) if model == TINY else common.model_path(model)


def measure(name: str, args: argparse.Namespace) -> None:
    """Measure the missing specs of a setting."""
    lines, specs = common.Lines(RECORDS), []
    with open_checkpoint(_model(name, args)) as checkpoint:
        program = build_program(checkpoint)
        for spec in read_specs(args.specs_file):
            try:
                check_target(program, spec, calibrated=True)
                specs.append(spec)
            except ParameterError as error:  # a block that does not divide this model's rows
                print(f"left out: {error}", file=sys.stderr, flush=True)
    plan = plan_of(name, args, specs)
    with Lab(plan, args.threads, _progress) as lab:
        about = {"setting": name, "weights": lab.weights, "text": lab.sample.digest}
        known = {recorded(one) for one in lines.all if about.items() <= one.items()}
        for spec in plan.full:
            if spec in known:
                continue
            row = lab.row(spec)
            lab.drop(spec)
            lines.add(
                about | asdict(row) | {"source_perplexity": lab.source_perplexity(), "date": date.today().isoformat()}
            )
            print(f"{short_name(spec)}  {row.bits_per_weight:.3f} bits  KL {row.kl:.5f}", flush=True)


def measure_accuracy(name: str, args: argparse.Namespace) -> None:
    """Measure multiple-choice accuracy of a setting's source and of listed specs on its front or tied with it.

    Raises
    ------
    ParameterError
        If the setting has no rows for these weights.
    """
    result = next((result for found, _, result in results() if found == name), None)
    if result is None:
        raise ParameterError(f"{name} has no rows in {RECORDS.name}: measure them first")
    standing, listed = standings(result.rows), {str(parse_target(spec)) for spec in read_specs(args.specs_file)}
    best = [row.spec for row in result.rows if standing[row.spec] != "dominated" and row.spec in listed]
    lines = common.Lines(ACCURACY)
    with Lab(plan_of(name, args, best), args.threads, _progress) as lab:
        if lab.weights != result.weights:
            raise ParameterError(f"the weights are {lab.weights}, but the rows of {name} have {result.weights}")
        for chosen in choose_tasks(args.tasks):
            about = {"setting": name, "weights": lab.weights, "task": chosen.label, "items": args.items}
            known = {one["spec"] for one in lines.all if about.items() <= one.items()}
            for spec in best:
                if spec in known:
                    continue
                for one in lab.accuracies(chosen, [spec], args.items):
                    if one.spec not in known:
                        right = "".join("01"[is_right] for is_right in one.right)
                        lines.add(about | {"spec": one.spec, "right": right, "date": date.today().isoformat()})
                        known.add(one.spec)
                        print(f"{chosen.label}  {one.spec}  {one.share:.1%}", flush=True)
                lab.drop(spec)


def accuracies(name: str, weights: str) -> list[ChoiceAccuracy]:
    """Return the records for a setting's weights, for each task those with the most items, the source first."""
    found = [one for one in common.Lines(ACCURACY).all if (one["setting"], one["weights"]) == (name, weights)]
    most = {one["task"]: max(o["items"] for o in found if o["task"] == one["task"]) for one in found}
    kept = [one for one in found if one["items"] == most[one["task"]]]
    kept.sort(key=lambda one: (one["task"], one["spec"] != SOURCE))
    return [ChoiceAccuracy(one["task"], one["spec"], tuple(bit == "1" for bit in one["right"])) for one in kept]


def _progress(stage: str, done: int, whole: int) -> None:
    if done % 100 == 0:
        print(f"{stage}  {done} of {whole}", file=sys.stderr, flush=True)


def results() -> Iterator[tuple[str, str, LabResult]]:
    """Yield each setting with its latest date and the rows for the weights and text of its last record."""
    lines = common.Lines(RECORDS).all
    for name, setting in SETTINGS.items():
        found = [one for one in lines if one["setting"] == name]
        if not found:
            continue
        last = found[-1]
        rows = {
            recorded(one): LabRow.from_dict(one | {"spec": recorded(one)})
            for one in found
            if all(one[key] == last[key] for key in ("weights", "text"))
        }
        yield name, max(one["date"] for one in found), LabResult(
            setting.title, setting.kind, last["weights"], last["text"], CONTEXT, setting.windows, "keep",
            last["source_perplexity"], list(rows.values()), accuracies(name, last["weights"]),
        )  # fmt: skip


def recorded(record: Mapping[str, Any]) -> str:
    """Return the full spec of a record; mixtures in older records name no cost."""
    return str(parse_recorded(record["spec"]))


def claims(result: LabResult) -> Table:
    """Return the claims for which both specs are measured."""
    rows, known = [], {row.spec: row for row in result.rows}
    for claim in CLAIMS:
        one, other = (known.get(str(parse_target(spec))) for spec in (claim.first, claim.second))
        if one is None or other is None:
            continue
        found = order(one, other)
        seen = "tie" if found.tie else "seen" if found.first == one.spec else "the other way"
        sign = 1 if found.first == one.spec else -1
        low, high = sorted((sign * found.low, sign * found.high))
        rows.append(
            [
                claim.text, short_name(one.spec), short_name(other.spec), seen,
                f"{sign * found.difference:+.3g} ({low:+.3g} to {high:+.3g})", f"{one.kl / other.kl:.2f}",
            ]
        )  # fmt: skip
    return Table(("claim", "first", "second", "here", "second - first, nats", "ratio of KL"), rows)


def page(found: Sequence[tuple[str, str, LabResult]]) -> ReportDocument:
    """Build the page."""
    intro = (
        "This page shows the cost of storing a model's matrices in few bits. We measure it as the KL divergence of "
        "the next-token distribution from the float source's, with FP32 arithmetic on the quantized weights, so that "
        "only the format counts. benchmarks/formats.py made the tables from the specs in benchmarks/formats.txt; "
        "every machine gives the same rows. The page on quantizing, docs/quantizing.md, explains the specs."
    )
    again = [f"python benchmarks/formats.py {name} --work lab" for name, *_ in found]
    sections = [
        Section("How to read it", [
            Paragraph(intro),
            Paragraph(
                "Bits are bits per weight of the quantized matrices in memory, including scales. File and memory are "
                "the sizes of the whole model in the int8 profile in MB, with unchanged embeddings. KL is in "
                "nats; +- is half the width of its 95% interval over windows. Top is the percentage of positions where "
                "the most likely token is the same as the source's, and PPL is the perplexity. A star marks specs on "
                "the Pareto front, and an o marks specs that tie with it. Claims about orderings are tested on "
                'differences over the same windows: "seen" means that the claim is confirmed, "the other way" that the '
                'opposite is true, and "tie" that the interval contains zero.'
            ),
            Code([*again, "python benchmarks/formats.py --page study/formats.md"]),
        ])
    ]  # fmt: skip
    for name, day, result in found:
        about = (
            f"The float source has weights {result.weights[:16]}. We scored {result.rows[0].positions} positions in "
            f"{result.windows} windows of {result.context} tokens from wikitext-2's test text ({result.text[:16]}), "
            f"and calibrated on {SETTINGS[name].calibration_windows} windows of 512 tokens from its validation text. "
            f"The latest row was measured on {day}."
        )
        blocks: list[Block] = [Paragraph(about), table(result), Picture(plot(result), PLOTTED)]
        if (ordered := claims(result)).rows:
            blocks.append(ordered)
        if result.accuracies:
            blocks += [Paragraph(ACCURACIES), accuracy_table(result)]
        sections.append(Section(result.model, blocks))
    return ReportDocument("What formats cost", sections)


PLOTTED = (
    "KL divergence from the source against bits per weight in memory, with 95% intervals. Labels name the specs on the "
    "Pareto front. The grey line falls by a factor of 4 with each bit, like the smallest squared error for Gaussian "
    "weights; it passes through the spec closest to it."
)
ACCURACIES = (
    "The next table has the multiple-choice accuracy of the source, and of those specs on the front or tied with it "
    "that were measured. The most likely continuation counts as the answer. Intervals are Wilson's 95% intervals; for "
    "differences from the source, which are paired by item, they are Bonett and Price's. A spec ties with the source "
    "if this interval contains zero. Random guessing is correct on about a quarter of ARC's items."
)


def wrapped(text: str) -> str:
    """Wrap Markdown paragraphs to lines of at most 120 characters."""
    lines = text.splitlines()
    return "\n".join(line if line[:1] in "|!# " else textwrap.fill(line, 120) for line in lines) + "\n"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("settings", nargs="*", metavar="SETTING", help=", ".join(SETTINGS))
    p.add_argument("--work", type=Path, help="folder for logits, statistics and models")
    p.add_argument("--tiny", type=Path, help="folder of the tiny model")
    p.add_argument("--specs-file", type=Path, default=SPECS)
    p.add_argument("--threads", type=int)
    p.add_argument("--accuracy", action="store_true", help="measure multiple choice for specs that have rows")
    p.add_argument(
        "--tasks",
        nargs="+",
        default=["arc_easy_likelihood"],
        help="tasks of multiple choice (default arc_easy_likelihood)",
    )
    p.add_argument("--items", type=int, default=100, help="number of items per task, from the first (default 100)")
    p.add_argument("--page", type=Path, metavar="FILE.md", help="write the page from all records")
    args = p.parse_args()
    if unknown := set(args.settings) - set(SETTINGS):
        p.error(f"unknown: {', '.join(unknown)}; known are {', '.join(SETTINGS)}")
    if args.settings and args.work is None:
        p.error("name a folder for the work: --work")
    if TINY in args.settings and args.tiny is None:
        p.error("name the model of benchmarks/tiny_model.py: --tiny")
    for name in args.settings:
        (measure_accuracy if args.accuracy else measure)(name, args)
    if args.page:
        text, pictures = markdown(page(list(results())), args.page.stem)
        for file, content in {args.page.name: wrapped(text), **pictures}.items():
            write_whole(args.page.with_name(file), content)


if __name__ == "__main__":
    main()
