"""``intact verify``: check receipts against a model, whole or in part."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from enum import StrEnum
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from intact._base.errors import ParameterError, ReceiptError
from intact._base.files import read_text
from intact.checkpoints.catalogue import DEFAULT
from intact.cli import fetch
from intact.cli.model_option import ModelOption
from intact.cli.options import AdapterOption, CacheOption, JsonOption, ThreadsOption, WithOption, as_bytes, pair
from intact.cli.output import bar, emit, note, one_line, out
from intact.cli.receipt_verifier import OpenedLayers, ReceiptLine, ReceiptVerifier
from intact.cli.verify_log import check_log, emit_result, is_log, print_result, read_root
from intact.cli.verify_training import StepSample, check_training, is_training, print_verdict

if TYPE_CHECKING:
    from intact.cli.receipt_verifier import AnyVerdict
    from intact.library import Model
    from intact.library.superposed import SuperposedReceipt
    from intact.numerics.profiles import Profile
    from intact.quantizing.receipt import QuantizationReceipt
    from intact.quantizing.verify import QuantizationVerdict
    from intact.solving.receipts.document import RunReceipt
    from intact.train.replay import TrainingVerdict

STATUS: Final = {"false": 1, "unverifiable": 3, "partial": 4, "true": 0}
"""Exit status of each outcome; with several outcomes, the first in this order decides."""
EXAMPLES = """\
Verify one answer
  intact run "Why is the sky blue?" --receipt sky.receipt
  intact verify sky.receipt
Verify many at once; exit status 0: all true, 1: one is false, 3: cannot be verified, 4: true as far as checked
  intact verify answers.receipts more.receipts --model qwen2.5-coder-0.5b-instruct --json
Accept only receipts signed with a certain key
  intact verify answers.receipts --signed-by paper.key.pub
Spot-check 20 of many, chosen by a number that nobody knew when they were made
  intact verify answers.receipts --sample 20 --nonce 00000000000000000001dd05
Verify the run of a method; or only its vote and the texts that the answer is taken from
  intact verify run.receipt
  intact verify run.receipt --part winner
Verify a run of two models
  intact verify run.receipt --with large=qwen2.5-coder-1.5b-instruct
Verify an answer or a run whose texts are drawn from a mix with another model
  intact verify answer.receipt --model ./large.gguf --with amateur=./small.gguf
Check all draws, but only one layer that the nonce chooses and someone opened (intact receipt open)
  intact verify sky.receipt --opening sky.opening --nonce 00000000000000000001dd05
Verify drafts of superposed decoding that were guided by n-grams of texts
  intact verify drafts.receipt --ngrams texts.txt
Verify a run of a method from another package, which you have installed and trust
  intact verify run.receipt --package my-methods
Verify every answer of a log of inspect_ai, and that its samples are those of a root printed before
  intact verify logs/run.eval --model smollm2-135m-instruct --root 5f1c...
Verify a training run by replaying it; or 20 steps of it, from the states that its maker kept
  intact verify adapter/train.receipt --model smollm2-135m-instruct
  intact verify adapter/train.receipt --model smollm2-135m-instruct --sample 20 --nonce 00000000000000000001dd05
Verify a quantised model by making it again from its source and text
  intact verify smol-gptq3.receipt --model ./model.gguf --text text.txt
"""


class CheckedPart(StrEnum):
    """The completions of a run that are checked against the model."""

    ALL = "all"
    WINNER = "winner"


def command(
    files: Annotated[list[Path], typer.Argument(metavar="RECEIPTS", help="Files of receipts.", show_default=False)],
    model: ModelOption = DEFAULT,
    others: WithOption = None,
    adapter: AdapterOption = None,
    signed_by: Annotated[
        str | None,
        typer.Option("--signed-by", metavar="KEY", help="Public key, or a file that contains it.", show_default=False),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, help="Number of receipts to verify, chosen by --nonce.", show_default=False),
    ] = None,
    nonce: Annotated[
        str | None,
        typer.Option(
            "--nonce",
            help="String that determines the choice; unknown to those who made the receipts.",
            show_default=False,
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            min=1,
            help="Maximum number of tokens to check per completion, from the first.",
            show_default=False,
        ),
    ] = None,
    part: Annotated[
        CheckedPart,
        typer.Option("--part", help="For runs of a method: check all completions, or only those behind the answer."),
    ] = CheckedPart.ALL,
    opening: Annotated[
        Path | None,
        typer.Option(
            "--opening", metavar="FILE", help="Check a single receipt with these opened layers.", show_default=False
        ),
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option("--layers", min=1, help="Number of layers for --opening; 1 by default.", show_default=False),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option("--text", metavar="FILE", help="Calibration text of a quantised model.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="Rows of a training run; by default rows.jsonl beside the receipt.",
            show_default=False,
        ),
    ] = None,
    ngrams: Annotated[
        Path | None,
        typer.Option(
            "--ngrams",
            metavar="FILE",
            help="File of examples that guided superposed drafts, one per line.",
            show_default=False,
        ),
    ] = None,
    packages: Annotated[
        list[str] | None,
        typer.Option(
            "--package",
            metavar="NAME",
            help="Installed package whose methods may run, for runs of its methods; repeatable.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option("--root", metavar="HEX", help="Samples root that a log must have.", show_default=False),
    ] = None,
    threads: ThreadsOption = None,
    cache: CacheOption = None,
    json: JsonOption = False,
) -> None:
    """Verify receipts: recompute the answers, many tokens in parallel, and compare everything that the receipts claim.

    Exit status 0: all are true. 1: one is false. 3: none is false, but one cannot be verified. 4: all are true as far
    as checked, but something was left unchecked (by --part, --tokens, --sample or --opening).
    """
    from intact.receipts.signature import public_key

    expected_root = _check_files(files, root)
    checks = (sample is not None) + (opening is not None)
    if checks == 1 and nonce is None:
        option = "--sample" if opening is None else "--opening"
        raise ParameterError(f"{option} needs --nonce, a text that the makers could not know in advance")
    if checks > 1 or checks != (nonce is not None):
        raise ParameterError("--nonce chooses either receipts, with --sample, or layers of one receipt, with --opening")
    if opening is not None and (tokens is not None or part is CheckedPart.WINNER):
        raise ParameterError("--opening checks every token of an answer: leave out --tokens and --part")
    if layers is not None and opening is None:
        raise ParameterError("--layers needs --opening: it is the number of layers to check")
    cache_bytes = as_bytes(cache)
    key = None if signed_by is None else public_key(signed_by)
    named = dict(map(pair, others or []))
    if any(map(is_training, files)):
        steps = None if sample is None else StepSample(sample, nonce or "")
        check = functools.partial(check_training, model=model, others=named, data=data, sample=steps)
        _verify_training(files, check, threads, json)
        return
    if data is not None:
        raise ParameterError("--data is for receipts of training runs")
    chosen, spot = _spot_check(files, nonce, sample) if nonce is not None and sample is not None else (None, None)

    def load(name: str, profile: Profile, bits: int, partners: Sequence[str]) -> Model:
        others: dict[str, Any] = {"partners": [fetch.locate(named[one]) for one in partners]} if partners else {}
        if name not in named:
            others["adapter"] = adapter
        return fetch.load(named.get(name, model), profile, threads, cache_bytes, bits=bits, drafter="off", **others)

    def remake(receipt: QuantizationReceipt) -> QuantizationVerdict:
        from intact.quantizing.verify import verify_quantization

        return verify_quantization(receipt, fetch.locate(model), text, threads, signed_by=key)

    opened = None
    if opening is not None and nonce is not None:
        from intact.receipts.opening import Opening

        opened = OpenedLayers(Opening.load(opening), nonce, layers or 1)
    numbered = []
    texts = None if ngrams is None else read_text(ngrams, ParameterError)
    verifier = ReceiptVerifier(
        load,
        named,
        tokens,
        key,
        winner=part is CheckedPart.WINNER,
        remake=remake,
        opened=opened,
        texts=texts,
        packages=packages or (),
    )
    if is_log(files[0]):
        if checks or tokens is not None:
            raise ParameterError("an .eval log is checked whole: leave out --sample, --opening and --tokens")
        checked = check_log(files[0], verifier, expected_root)
        (emit_result if json else print_result)(checked, files[0])
        if STATUS[checked.outcome]:
            raise typer.Exit(STATUS[checked.outcome])
        return
    with bar() as progress:
        task = progress.add_task("verifying", total=None if chosen is None else len(chosen))
        for number, entry, verdict in verifier.run(entries(files, chosen)):
            numbered.append((number, _result(entry, verdict)))
            progress.update(task, advance=1)
            if not json:
                out().print(_line(entry, verdict), soft_wrap=True)
                sys.stdout.flush()
    results = [result for _, result in sorted(numbered, key=itemgetter(0))]
    outcomes = [result["outcome"] for result in results]
    counts = {name: outcomes.count(name) for name in ("true", "partial", "false", "unverifiable")}
    unchecked = spot is not None and spot["chosen"] < spot["receipts"]
    found = {*outcomes, "partial"} if unchecked else set(outcomes)
    outcome = next((name for name in STATUS if name in found), "true")
    if json:
        options = {"part": part, "tokens": tokens, "spot_check": spot}
        emit({"outcome": outcome, **counts, **options, "receipts": results})
    else:
        partial = f"{counts['partial']} true as far as checked, " if counts["partial"] else ""
        note(f"{counts['true']} true, {partial}{counts['false']} false, {counts['unverifiable']} cannot be verified")
        if tokens is not None:
            note(f"at most {tokens} tokens of each text were checked, and no claims about the others")
        if part is CheckedPart.WINNER:
            note("for runs, only the texts behind the answer were checked, not that a model wrote the others")
        if spot is not None:
            _print_spot_check(spot)
    if STATUS[outcome]:
        raise typer.Exit(STATUS[outcome])


def _verify_training(
    files: Sequence[Path], check: Callable[..., TrainingVerdict], threads: int | None, json: bool
) -> None:
    """Verify the receipt of a training run."""
    if len(files) > 1:
        raise ParameterError("give one receipt of a training run at a time, without other files")
    verdict = check(files[0], threads=threads)
    print_verdict(files[0], verdict, json)
    if STATUS[verdict.outcome]:
        raise typer.Exit(STATUS[verdict.outcome])


def _check_files(files: Sequence[Path], root: str | None) -> str | None:
    """Return the root that a log must have; reject several files of which one is a log, and a root without one."""
    if any(map(is_log, files)):
        if len(files) > 1:
            raise ParameterError("give one .eval log at a time, without other files")
    elif root is not None:
        raise ParameterError("--root is for .eval logs")
    return read_root(root)


def parsers() -> dict[str, Callable[[bytes], RunReceipt | QuantizationReceipt | SuperposedReceipt]]:
    """Return the parsers of receipts other than answers, by format."""
    from intact.library.superposed import receipt as superposed
    from intact.quantizing import receipt as quantization
    from intact.solving import receipts as run_receipts

    return {**run_receipts.PARSERS, **quantization.PARSERS, **superposed.PARSERS}


def entries(files: Sequence[Path], chosen: set[int] | None = None) -> Iterator[ReceiptLine]:
    """Yield the lines of all files, or only those with the chosen numbers, counted over all files."""
    from intact.receipts.document import read_any, read_lines

    known = parsers()
    lines = ((file, number, line) for file in files for number, line in enumerate(read_lines(file), 1))
    for index, (file, number, line) in enumerate(lines):
        if chosen is not None and index not in chosen:
            continue
        try:
            yield ReceiptLine(file, number, len(line), read_any(line, known))
        except ReceiptError as error:
            yield ReceiptLine(file, number, len(line), error)


def _spot_check(files: Sequence[Path], nonce: str, count: int) -> tuple[set[int], dict[str, Any]]:
    """Return the lines to verify, and the probability of missing false ones. Always include lines without a digest."""
    from intact.receipts.spot import choose, misses

    found = [entry.digest for entry in entries(files)]
    places = [place for place, digest in enumerate(found) if digest is not None]
    digests = [digest for digest in found if digest is not None]
    picked = {places[i] for i in choose(nonce, digests, count)}
    total, number = len(set(digests)), len({found[place] for place in picked})
    missed = [{"false": false, "probability": p} for false, p in misses(total, number).items()]
    chosen = picked | set(range(len(found))) - set(places)
    return chosen, {"receipts": total, "chosen": number, "nonce": nonce, "missed": missed}


def _result(entry: ReceiptLine, verdict: AnyVerdict) -> dict[str, Any]:
    """Return the JSON object for a receipt with `--json`."""
    receipt = None if isinstance(entry.content, ReceiptError) else entry.content
    signer = _signer(entry, verdict)
    return {
        "file": str(entry.file),
        "line": entry.line,
        "digest": entry.digest and entry.digest.hex(),
        "tokens": None if receipt is None or _is_quantization(entry) else receipt.count,
        "signed_by": signer and signer.hex(),
        **asdict(verdict),
    }


def _is_quantization(entry: ReceiptLine) -> bool:
    from intact.quantizing.receipt import QuantizationReceipt

    return isinstance(entry.content, QuantizationReceipt)


def _signer(entry: ReceiptLine, verdict: AnyVerdict) -> bytes | None:
    """Return the key that signed a receipt, if the signature is valid; false receipts may be signed too."""
    if isinstance(entry.content, ReceiptError) or entry.content.signature is None:
        return None
    unknown = verdict.outcome == "unverifiable" or verdict.what == "signature"
    return None if unknown else entry.content.signature.key


def _line(entry: ReceiptLine, verdict: AnyVerdict) -> Text:
    """Format the line of a receipt for people."""
    names = {
        "true": ("true", "green"),
        "partial": ("true as far as checked", "yellow"),
        "false": ("FALSE", "bold red"),
        "unverifiable": ("cannot verify", "yellow"),
    }
    if verdict.outcome in ("true", "partial") and not isinstance(entry.content, ReceiptError):
        programs, count = getattr(verdict, "programs", 0), entry.content.count
        unit = "matrices" if _is_quantization(entry) else "tokens"
        text = f"{verdict.checked} {unit}" if verdict.checked == count else f"{verdict.checked} of {count} {unit}"
        text += f", {programs} programs" if programs else ""
    else:
        number = getattr(verdict, "entry", None)
        where = "" if number is None else f" in entry {number}"
        position = getattr(verdict, "position", None)
        where += "" if position is None else f" at {position}"
        text = f"{verdict.what}{where}: {verdict.detail}"
    signer = _signer(entry, verdict)
    text += f", signed by {signer.hex()}" if signer else ""
    return Text.assemble(one_line(f"{entry.file}:{entry.line}  "), names[verdict.outcome], one_line(f"  {text}"))


def _print_spot_check(spot: dict[str, Any]) -> None:
    """Print the probability that a spot check missed false receipts."""
    note(
        f"{spot['chosen']} of {spot['receipts']} receipts were chosen; the probability that this missed all false ones:"
    )
    for row in spot["missed"]:
        note(f"{row['false']:>8,} false  {row['probability']:.3g}")
