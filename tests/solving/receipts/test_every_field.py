"""Every field of the receipt of a run is checked, or listed among those that nothing checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact.cli import receipt as cli
from intact.library import Model
from intact.reason.backends.native import NativeBackend
from intact.reason.backends.text_mix import TextMix
from intact.receipts import canonical
from intact.receipts.signature import new_key
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.schema import schema
from intact.solving.receipts.verify import verify_run
from intact.tasks.score.value import ValueHead
from intact.tools.sandbox import protection
from support.clock import DATED, write_dated
from support.fields import PARTLY, UNCHECKED, Place, SchemaFields, at, lies, listed
from support.run_forger import cover
from support.tiny import write_tiny

pytestmark = pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")
COUNT = 8
FIELDS = SchemaFields(schema())
BLOCK = r"```python\nprint\([0-9]{1,2}\)\n```\n"
UNUSED = (
    "sampling", "budget", "problem.id", "problem.seed", "models[].mix", "method.parameters", "problem.reader",
    "problem.data", "files", "thinking",
)  # fmt: skip
"""Members whose value may make no difference (docs/spec/receipts.md)."""
UNUSED_NAMES = tuple(name.replace("[]", "") for name in UNUSED)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fields")


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[Model]:
    """One whose template writes the date and has a switch for thoughts, with partners for mixes."""
    template = {"tokenizer.chat_template": DATED + "{% if enable_thinking %}<think>\n{% endif %}"}
    first = write_tiny(folder / "0.gguf", context=2048, metadata=template)
    paths = [first, *(write_dated(folder / f"{seed}.gguf", seed, context=2048) for seed in (1, 2))]
    with intact.load(paths[0], partners=paths[1:], drafter="off", threads=1) as loaded:
        yield loaded


def head(model: Model, folder: Path) -> Path:
    """A value head of random weights."""
    width = -(-model.program.buffers["x"].width // 32) * 32
    weights = np.random.default_rng(3).normal(size=width)
    ValueHead.of(NativeBackend(model).identity, weights.tolist(), 0.1, {}).write(folder / "head.json")
    return folder / "head.json"


@pytest.fixture(scope="module")
def runs(model: Model, folder: Path) -> list[RunReceipt]:
    """Receipts that have all fields."""
    mixes: list[dict[str, Any]] = [{"mix": {"name": "guidance", "scale": 2.5}, "shadow": "Say it."}, {"mix": "proxy"}]
    mixed = [{"main": NativeBackend(model, mix=TextMix.of(**mix))} for mix in mixes]
    asked: list[tuple[Any, str, dict[str, Any]]] = [
        (model, "best_of_n", {"n": 2, "scorer": f"value:{head(model, folder)}"}),
        (model, "self_certainty", {"n": 1, "vocabulary": 301}),
        (model, "hogwild", {"n": 2, "tokens": 4, "conclude": 2, "cache": "shared"}),
        (model, "interleaved_code", {"n": 1, "rounds": 1, "seconds": 60.0, "regex": BLOCK, "max_tokens": 60}),
        (model, "program_aided", {"n": 1, "seconds": 60.0, "regex": r"print\([0-9]{1,2}\)\n```", "max_tokens": 24}),
        *((backends, "self_consistency", {"n": 1}) for backends in mixed),
        (model, "self_consistency", {"n": 1, "thinking": "12", "max_tokens": 16}),
    ]
    found = []
    for one, method, more in asked:
        given = {"max_tokens": 4, "temperature": 1.0, "receipt": True} | more
        result = intact.solve(one, method, "What is 2 + 2?", **given)
        assert result.receipt is not None, (method, result.error, result.caveats)
        found.append(result.receipt)
    key = new_key(folder / "key")
    return [found[0].signed(key.sign(found[0].digest)), *found[1:]]


def tried(model: Model, receipt: RunReceipt, name: str, path: Place) -> bool:
    """If true, the receipt stays true with another value of a field, with all that follows made anew or without."""
    document = receipt.to_document()
    for lie, value in islice(lies(document, path, lambda one: RunReceipt.parse(canonical.encode(one))), 3):
        rooted = lie if name == "root" else RunReceipt.make(lie.header, lie.entries, lie.result)
        covered = _covered(model, lie) if path[0] not in ("entries", "result") else None  # which would be put right
        for one in (rooted, covered):
            if one is None or (path[0] == "signature" and one.signature is None):
                continue
            claimed = one.to_document()
            with suppress(LookupError):  # where fewer entries follow from the lie
                if at(claimed, path) == value and verify_run(model, one).outcome == "true":
                    return True
    return False


def _covered(model: Model, lie: RunReceipt) -> RunReceipt | None:
    try:
        return cover(model, lie)
    except Exception:  # nothing follows from it
        return None


def test_all_fields_are_tried(runs: list[RunReceipt], root: Path) -> None:
    assert len(runs) == COUNT
    foreign = {name for name in FIELDS.names() if name.startswith("method.package")}  # test_packages.py
    tried = {name for receipt in runs for name, _ in FIELDS.of(receipt.to_document())}
    assert tried == FIELDS.names() - foreign
    assert set(UNUSED) <= set(listed(root, 1))


@pytest.mark.parametrize("number", range(COUNT))
def test_every_field_is_checked_or_listed(model: Model, runs: list[RunReceipt], number: int) -> None:
    """Of each receipt those fields that the ones before it lack, or have as null."""
    before = {kind for receipt in runs[:number] for kind in kinds(receipt)}
    assert verify_run(model, runs[number]).outcome == "true"
    for (name, null), path in kinds(runs[number]).items():
        if (name, null) in before:
            continue
        true = tried(model, runs[number], name, path)
        if name in UNCHECKED["run"] and not null and not name.startswith("models.mix"):  # tests/cli/test_verify.py
            assert true, name
        else:
            assert not true or name.startswith(UNUSED_NAMES) or name in PARTLY["run"], name


def kinds(receipt: RunReceipt) -> dict[tuple[str, bool], Place]:
    """The fields of a receipt, and whether each is null, with the first place of each."""
    document, found = receipt.to_document(), dict[tuple[str, bool], Place]()
    for name, path in FIELDS.of(document):
        found.setdefault((name, at(document, path) is None), path)
    return found


def test_what_is_shown_as_unchecked_is_what_no_verdict_depends_on() -> None:
    assert set(cli.UNCHECKED) == {place for kind in UNCHECKED.values() for place in kind.values()}
    assert set(cli.PARTLY) == {place for kind in PARTLY.values() for place in kind.values()}
