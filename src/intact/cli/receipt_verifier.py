"""Verify receipts of all kinds, loading each model as its receipts require, for ``intact verify``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from intact._base.errors import IntactError, ParameterError, ReceiptError

if TYPE_CHECKING:
    from intact.integrations.chat_replay import ChatReplay
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

BYTES_PER_TOKEN: Final = 128
"""Bytes of a receipt that count as one token, so that a batch of receipts stays within a few megabytes."""


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


class OpenedLayers(NamedTuple):
    """An opening, the nonce that it answers, and the number of layers requested."""

    opening: Opening
    nonce: str
    layers: int


class _Made(NamedTuple):
    """Loading options of a receipt's model: its profile, its bits, and the names of the partners of its mixes."""

    profile: Profile
    bits: int
    partners: tuple[str, ...] = ()


class ReceiptVerifier:
    """ReceiptVerifier that loads each model as the receipt requires: in its profile, with its bits.

    At most one model per name is kept in memory, so that receipts cannot decide how many models are loaded.

    Parameters
    ----------
    load : callable
        Loads the model of a name with a profile, a number of bits, and the names of the partners of its mixes.
    others : collection of str
        The names of the models besides the first.
    remake : callable
        Verifies the receipt of a quantisation.
    opened : OpenedLayers, optional
        The only layers with which receipts of answers are checked; by default all.
    texts : str, optional
        The texts of the n-grams that guided superposed drafts, one per line.
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
        self._replay: tuple[Model, ChatReplay] | None = None

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

    def replay(self, receipt: Receipt) -> ChatReplay:
        """Return the chats of the model that a receipt was verified with."""
        from intact.integrations.chat_replay import ChatReplay

        numerics = receipt.header.numerics
        model = self._model("", _Made(numerics.profile, numerics.bits))
        if self._replay is None or self._replay[0] is not model:
            self._replay = model, ChatReplay(model)
        return self._replay[1]

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
        """Return the model of a name, first releasing any other model loaded under that name."""
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
