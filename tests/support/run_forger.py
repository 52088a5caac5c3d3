"""Who lies in the receipt of a run and covers it up: whatever follows from the lie is made anew, with a real model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from intact.library import Model
from intact.reason.backends.base import Generation, Written
from intact.reason.problem import path
from intact.receipts.document import Header
from intact.receipts.request import AnswerRequest
from intact.solving.receipts.claims import Claims
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.entries import Entry, TextEntry
from intact.solving.receipts.replay import ReplayBackend, driver_of, run_again
from intact.solving.receipts.sealed import entries_of, on_path, outcome_of
from intact.solving.receipts.verify import verify_run
from support.forger import forge, states


class Liar(ReplayBackend):
    """Gives what the entries say, and makes whatever header and chain fit to it."""

    def find(self, generation: Generation) -> Written:
        """What an entry says; its digests fit."""
        claims, place = self._claims, path(generation.branch)
        entry, header = claims.run.entries[claims.unread.pop(place)], claims.run.header
        assert isinstance(entry, TextEntry)
        compiler = header.compiler if generation.parameters.constraint is not None else None
        prompt = tuple(self.tokens_of(generation.state))
        asked = AnswerRequest(prompt, generation.parameters, generation.branch, compiler)
        false = forge(self.model, Header(self._own.digests, self._own.numerics, asked, header.hash), entry.output)
        state = entry.state and states(self.model, [*prompt, *entry.output.tokens])[-2]
        own = TextEntry(generation.branch, false.header.digest, false.output, false.chain, state)
        claims.texts[place] = own
        return self.written_of(generation, own)

    def _judge_race(self, generations: Sequence[Generation]) -> None:
        """Whoever lies lets it pass."""


def cover(
    model: Model | Mapping[str, Model], receipt: RunReceipt, entries: Sequence[Entry] | None = None, **header: Any
) -> RunReceipt:
    """Change entries or header, and make all that follows fit: scores, vote, cost, digests, chains, root."""
    models = model if isinstance(model, Mapping) else {receipt.header.models[0].name: model}
    changed = replace(receipt, header=replace(receipt.header, **header), entries=tuple(entries or receipt.entries))
    claims = Claims(changed)
    result = run_again(driver_of(models, claims, Liar)[0], claims)
    return RunReceipt.make(changed.header, entries_of(result.trace, claims.texts, "sha256"), outcome_of(result))


def swap(receipt: RunReceipt, index: int, **changes: Any) -> list[Entry]:
    """The entries with one changed: fields of it, or of its output."""
    entries = list(receipt.entries)
    entry: Any = entries[index]
    output = {
        name: changes.pop(name) for name in ("tokens", "logprobs", "finish", "text", "top", "spread") if name in changes
    }
    if output:
        changes["output"] = replace(entry.output, **output)
    entries[index] = replace(entry, **changes)
    return entries


def loser(receipt: RunReceipt) -> int:
    """The number of a text that the answer is not taken from."""
    chosen = receipt.result.chosen
    return next(i for i, e in enumerate(receipt.entries) if isinstance(e, TextEntry) and not on_path(e.branch, chosen))


def judge(model: Model, receipt: RunReceipt, **more: Any) -> tuple[str, str | None, int | None, int | None]:
    """The verdict on a receipt, written and read again."""
    verdict = verify_run(model, RunReceipt.parse(receipt.encode()), **more)
    return verdict.outcome, verdict.what, verdict.entry, verdict.position
