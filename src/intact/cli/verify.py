"""``intact verify``: check receipts against a model, whole or in part."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from enum import StrEnum
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer
from rich.text import Text

from intact._base.errors import IntactError, ParameterError, ReceiptError
from intact._base.files import read_text
from intact.checkpoints.catalogue import DEFAULT
from intact.cli import fetch
from intact.cli.model_option import ModelOption
from intact.cli.options import AdapterOption, CacheOption, JsonOption, ThreadsOption, WithOption, as_bytes, pair
from intact.cli.output import bar, emit, note, one_line, out

if TYPE_CHECKING:
    from intact.library import Model
    from intact.library.superposed import SuperposedReceipt
    from intact.numerics.profiles import Profile
    from intact.quantizing.receipt import QuantizationReceipt
    from intact.quantizing.verify import QuantizationVerdict
    from intact.receipts.document import Receipt
    from intact.receipts.opening import Opening
    from intact.receipts.verify import Verdict
    from intact.solving.receipts.document import RunReceipt
    from intact.solving.receipts.mixes import RunModel
    from intact.solving.receipts.verdict import RunVerdict

    AnyVerdict = Verdict | RunVerdict | QuantizationVerdict

STATUS: Final = {"false": 1, "unverifiable": 3, "partial": 4, "true": 0}
"""Exit status of each outcome; with several outcomes, the first in this order decides."""
BYTES_PER_TOKEN: Final = 128
"""Bytes of a receipt that count as one token, so that a batch of receipts stays within a few megabytes."""
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
Verify a quantised model by making it again from its source and text
  intact verify smol-gptq3.receipt --model ./model.gguf --text text.txt
"""


class CheckedPart(StrEnum):
    """The completions of a run that are checked against the model."""

    ALL = "all"
    WINNER = "winner"


class ReceiptLine(NamedTuple):
    """A line of a receipt file: a receipt, or the error raised when reading it."""

    file: Path
    line: int
    size: int
    content: Receipt | RunReceipt | QuantizationReceipt | SuperposedReceipt | ReceiptError

    @property
    def digest(self) -> bytes | None:
        """The receipt's digest; None if the line is not a receipt, or its hash function is not installed."""
        try:
            return None if isinstance(self.content, ReceiptError) else self.content.digest
        except ParameterError:
            return None


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
    threads: ThreadsOption = None,
    cache: CacheOption = None,
    json: JsonOption = False,
) -> None:
    """Verify receipts: recompute the answers, many tokens in parallel, and compare everything that the receipts claim.

    Exit status 0: all are true. 1: one is false. 3: none is false, but one cannot be verified. 4: all are true as far
    as checked, but something was left unchecked (by --part, --tokens, --sample or --opening).
    """
    from intact.receipts.signature import public_key

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
    chosen, spot = _spot_check(files, nonce, sample) if nonce is not None and sample is not None else (None, None)

    named = dict(map(pair, others or []))

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
    verifier = _Verifier(
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


class OpenedLayers(NamedTuple):
    """An opening, the nonce that it answers, and the number of layers requested."""

    opening: Opening
    nonce: str
    layers: int


class _Made(NamedTuple):
    """Loading options of a receipt's model: its profile, its bits, and its mixes' partner names."""

    profile: Profile
    bits: int
    partners: tuple[str, ...] = ()


class _Verifier:
    """Verifier that loads each model as the receipt requires: in its profile, with its bits.

    At most one model per name is kept in memory, so that receipts cannot decide how many models are loaded.

    Parameters
    ----------
    load : callable
        Loads the model with a given name in a profile, with a number of bits and the names of its mixes' partners.
    others : collection of str
        The names of the models other than the first.
    remake : callable
        Verifies the receipt of a quantisation.
    opened : OpenedLayers, optional
        The only layers used to check receipts of answers; by default all.
    texts : str, optional
        The examples whose n-grams guided superposed drafts, one per line.
    packages : collection of str
        Other packages whose methods may run.
    """

    def __init__(
        self,
        load: Callable[[str, Profile, int, Sequence[str]], Model],
        others: Collection[str],
        tokens: int | None,
        key: bytes | None,
        winner: bool,
        remake: Callable[[QuantizationReceipt], QuantizationVerdict],
        opened: OpenedLayers | None = None,
        texts: str | None = None,
        packages: Collection[str] = (),
    ) -> None:
        self._packages = packages
        self._remake, self._opened, self._texts = remake, opened, texts
        self._load, self._others, self._tokens, self._key, self._winner = load, others, tokens, key, winner
        self._loaded: dict[str, tuple[_Made, Model]] = {}

    def run(self, entries: Iterator[ReceiptLine]) -> Iterator[tuple[int, ReceiptLine, AnyVerdict]]:
        """Yield a verdict for each entry, with its number, as soon as it is known."""
        from intact.library.superposed import SuperposedReceipt
        from intact.quantizing.receipt import QuantizationReceipt
        from intact.receipts.document import Receipt
        from intact.receipts.verify import unreadable, windows

        def tokens(numbered: tuple[int, ReceiptLine]) -> int:
            content, size = numbered[1].content, numbered[1].size // BYTES_PER_TOKEN
            claimed = content.count if isinstance(content, Receipt) else 0
            return max(size, min(claimed, self._tokens or claimed))

        for window in windows(enumerate(entries), tokens):
            groups: dict[_Made, list[tuple[int, ReceiptLine]]] = {}
            drafted: dict[_Made, list[tuple[int, ReceiptLine, SuperposedReceipt]]] = {}
            runs = []
            for number, entry in window:
                content = entry.content
                if isinstance(content, ReceiptError):
                    yield number, entry, unreadable(content)
                elif isinstance(content, Receipt):
                    numerics = content.header.numerics
                    decoding = content.header.request.decoding
                    partners = tuple(self._others) if decoding is not None and decoding.has_partners else ()
                    made = _Made(numerics.profile, numerics.bits, partners)
                    groups.setdefault(made, []).append((number, entry))
                elif isinstance(content, QuantizationReceipt):
                    yield number, entry, self._remake(content)
                elif isinstance(content, SuperposedReceipt):
                    made = _Made(content.numerics.profile, content.numerics.bits)
                    drafted.setdefault(made, []).append((number, entry, content))
                else:
                    runs.append((number, entry, content))
            for made, group in groups.items():
                answers = [entry.content for _, entry in group if isinstance(entry.content, Receipt)]
                for (number, entry), verdict in zip(group, self._verify(made, answers), strict=True):
                    yield number, entry, verdict
            for made, several in drafted.items():
                verdicts = self._verify_drafts(made, [receipt for _, _, receipt in several])
                for (number, entry, _), verdict in zip(several, verdicts, strict=True):
                    yield number, entry, verdict
            for number, entry, run in runs:
                yield number, entry, self._judge_run(run)

    def _verify(self, made: _Made, receipts: list[Receipt]) -> list[Verdict]:
        from intact.receipts.verify import Verdict, verify_together

        try:
            model = self._model("", made)
        except (IntactError, OSError) as error:
            return [Verdict("unverifiable", "model", None, str(error))] * len(receipts)
        if self._opened is None:
            return verify_together(model, receipts, self._tokens, self._key)
        from intact.receipts.opening import check

        return [check(model, receipt, *self._opened, signed_by=self._key) for receipt in receipts]

    def _verify_drafts(self, made: _Made, receipts: list[SuperposedReceipt]) -> Iterator[Verdict]:
        from intact.library.superposed import verify_drafts
        from intact.receipts.verify import Verdict

        try:
            model = self._model("", made)
        except (IntactError, OSError) as error:
            yield from [Verdict("unverifiable", "model", None, str(error))] * len(receipts)
        else:
            yield from verify_drafts(model, receipts, self._texts, self._key)

    def _model(self, name: str, made: _Made) -> Model:
        """Return the model with a given name, first releasing any other model loaded under that name."""
        if name not in self._loaded or self._loaded[name][0] != made:
            self._loaded.pop(name, None)
            self._loaded[name] = made, self._load(name, *made)
        return self._loaded[name][1]

    def _judge_run(self, run: RunReceipt) -> RunVerdict:
        from intact.solving.receipts.verdict import RunVerdict
        from intact.solving.receipts.verify import verify_run

        first, *others = run.header.models
        called = {one.name for one in others}
        spare = tuple([name for name in self._others if name not in called])

        def loaded(name: str, one: RunModel) -> Model:
            partners = spare if one.mix is not None and one.mix.partners else ()
            return self._model(name, _Made(one.numerics.profile, one.numerics.bits, partners))

        try:
            model = loaded("", first)
            more = {one.name: loaded(one.name, one) for one in others if one.name in self._others}
        except (IntactError, OSError) as error:
            return RunVerdict("unverifiable", "model", detail=str(error))
        return verify_run(
            model, run, self._winner, self._tokens, others=more, signed_by=self._key, packages=self._packages
        )


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
