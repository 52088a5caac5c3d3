"""docs/spec/receipts.md tells no other format than the one that is read and written."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import intact
from intact.checkpoints.formats import open_checkpoint
from intact.measure.conformance import default_model
from intact.models import build_program, ops
from intact.models.aspects.op import Op
from intact.receipts import canonical
from intact.receipts.document import VERSION, Receipt
from intact.receipts.identity import describe
from intact.receipts.lock import FORMAT, LIBRARIES, Lock
from intact.receipts.schema import schema
from intact.receipts.verify import verify
from intact.text import ChatPrompt
from support.folders import write_folder
from support.receipts import rich_receipt
from support.tiny import write_tiny
from support.variants import VARIANTS


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "spec" / "receipts.md").read_text("utf-8")


def cells(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table behind a text."""
    table = page[page.index(heading) :].split("\n\n|", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def leaves(value: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The members of a schema that are listed one by one: those of `model`, `numerics`, `request` and `output`."""
    for name, inner in value["properties"].items():
        if prefix or name not in ("model", "numerics", "request", "output"):
            yield prefix + name
        else:
            yield from leaves(inner, name + ".")


def example(page: str) -> Receipt:
    found = re.search(r"^```json\n(.*)\n```", page, re.MULTILINE)
    assert found is not None
    return Receipt.parse(found[1].encode())


def test_the_example_has_the_digests_that_are_listed(page: str) -> None:
    receipt = example(page)
    rows = {row[0].split(",")[0]: named(row[1])[0] for row in cells(page, "## Example")}
    assert rows == {"header": receipt.header.digest.hex(), "receipt": receipt.digest.hex()}
    jsonschema.validate(receipt.to_document(), schema())


def test_the_example_is_what_the_default_model_gives(page: str) -> None:
    path = default_model()
    if path is None:
        pytest.skip("needs the default model: intact pull, or INTACT_MODELS")
    asked = ChatPrompt([{"role": "user", "content": "Why is the sky blue?"}])
    model = intact.load(path)
    answer = model.generate(asked, max_tokens=4, temperature=0.8, top_p=0.95, seed=7, receipt=True)[0][0]
    assert answer.receipt == example(page)
    assert [verdict.outcome for verdict in verify(model, [answer.receipt])] == ["true"]


def test_every_member_is_described(page: str) -> None:
    described = [name for row in cells(page, "## The document") for name in named(row[0])]
    assert sorted(described) == sorted(leaves(schema()))
    described = [name for row in cells(page, "`request.sampling` has") for name in named(row[0])]
    own = schema()["$defs"]["sampling"]["properties"]
    flat = [name for name in own if name != "logit_bias"] + [f"logit_bias.{x}" for x in own["logit_bias"]["properties"]]
    assert sorted(described) == sorted(flat)


def test_bounds_are_those_in_force(page: str) -> None:
    assert canonical.MOST_BYTES == 8 << 20
    assert canonical.MOST_BYTES_UNICODE == 4 << 20
    words = " ".join(page.split())
    assert "at most 8 MiB, and 4 MiB where" in words
    assert f"at most {canonical.MOST_VALUES:,} commas" in words
    assert f"| `version` | {VERSION} |" in page


def test_descriptions_of_programs_have_the_members_that_are_listed(page: str, tmp_path: Path) -> None:
    rows = {named(row[0])[0]: row[1] for row in cells(page, "An operation is an object")}
    kinds = {
        kind.__name__.lower(): kind for kind in vars(ops).values() if isinstance(kind, type) and issubclass(kind, Op)
    }
    assert set(rows) == kinds.keys() - {"allgather"}  # of parts of programs, which have no receipts
    for name, members in rows.items():
        listed = [word for word in named(members) if not word.startswith('"')]
        own = [field.name for field in dataclasses.fields(kinds[name])]
        part = {"linear": ops.Target, "experts": ops.Expert, "adapt": ops.LowRank}.get(name)
        inner = [] if part is None else [field.name for field in dataclasses.fields(part)]
        assert listed == own + inner
        defaults = re.findall(r"\[([^\]]*)\]", members)
        optional = [f for k in (kinds[name], *([] if part is None else [part])) for f in dataclasses.fields(k)]
        assert len(defaults) == sum(field.default is not dataclasses.MISSING for field in optional)
    rows = {name: row[1] for row in cells(page, "**The program's description**") for name in named(row[0])}
    always = [name for name in rows if "left out" not in rows[name]]
    assert sorted(always) == sorted(describe(build_program(open_checkpoint(write_tiny(tmp_path / "t.gguf")))))
    yarn = write_folder(tmp_path / "yarn", VARIANTS["olmo3"], "yarn")
    assert sorted(rows) == sorted(describe(build_program(open_checkpoint(yarn))))


def test_locks_have_the_members_that_are_listed(page: str) -> None:
    rows = cells(page, "its digest, which `cite` puts")
    described = [name for row in rows for name in named(row[0])]
    assert sorted(described) == sorted(Lock.now([]).to_document())
    assert f'"{FORMAT}"' in page
    assert f"installed of {', '.join(LIBRARIES)} |" in page


def test_sizes_are_what_is_promised() -> None:
    """Under 200 bytes for each token, whatever it costs to name the model and the request."""
    one = rich_receipt()
    n = 1000
    output = dataclasses.replace(one.output, tokens=(151_935,) * n, logprobs=(-(10**8),) * n, text="answers " * n)
    longer = dataclasses.replace(one, output=output, chain=bytes(32 * n))
    assert (len(longer.encode()) - len(one.encode())) / n < 100
