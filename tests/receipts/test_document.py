"""Documents are values with one written form; whatever else a file holds is refused, cheaply."""

import gc
import json
import multiprocessing
import random
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import NewerReceiptError, ReceiptError
from intact._base.strict_json import LARGEST
from intact.engine.sampling.parameters import SamplingParameters
from intact.receipts import canonical, request
from intact.receipts.document import Receipt, read_lines, read_receipts, write_receipts
from intact.receipts.schema import schema
from intact.receipts.source import PromptSource
from support.effort import counted_calls
from support.examples import examples
from support.receipts import plain_receipt, rich_receipt

RECEIPTS = (rich_receipt(), plain_receipt())
VALIDATOR = jsonschema.Draft202012Validator(schema())
SAMPLING = VALIDATOR.evolve(schema=schema()["$defs"]["sampling"] | {"$defs": schema()["$defs"]})
TEXT = st.text(st.characters(exclude_categories=("Cs",)))
NAME = st.text(st.characters(max_codepoint=127))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(NAME, inner),
)


@examples(50)
@given(VALUES)
def test_canonical_form_is_rfc_8785(value: Any) -> None:
    data = canonical.encode(value)
    assert data == rfc8785.dumps(value)
    assert canonical.read(data, "it") == value
    canonical.require_canonical(value, data, "it")


@pytest.mark.parametrize("receipt", RECEIPTS)
def test_written_and_read_again_is_the_same(receipt: Receipt) -> None:
    data = receipt.encode()
    again = Receipt.parse(data)
    assert again == receipt
    assert again.encode() == data
    assert again.digest == receipt.digest


@pytest.mark.parametrize("receipt", RECEIPTS)
def test_schema_describes_what_is_written(receipt: Receipt) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    VALIDATOR.validate(receipt.to_document())


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def changed(document: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    """A copy with its value at a place changed by `change(container, key)`."""
    copy = json.loads(json.dumps(document))
    container = copy
    for key in path[:-1]:
        container = container[key]
    change(container, path[-1])
    return copy


WRONG: tuple[Any, ...] = (None, True, -1, -(1 << 60), 1 << 70, 1.5, "", "x", "-0", "1.50", [], [[]], {}, {"x": 1})


def test_what_a_reader_takes_the_schema_takes() -> None:
    """At every place every wrong value; a reader may know more than the schema, never less."""
    taken = refused = 0
    for receipt in RECEIPTS:
        document = receipt.to_document()
        for path in places(document)[1:]:
            for wrong in WRONG:
                bad = changed(document, path, lambda c, k, wrong=wrong: c.__setitem__(k, wrong))
                try:
                    Receipt.parse(json.dumps(bad, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
                except ReceiptError:
                    refused += 1
                else:
                    taken += 1
                    assert VALIDATOR.is_valid(bad), (path, wrong)
    assert refused > 10 * taken > 0


def test_members_are_exactly_those_that_belong_there() -> None:
    document = RECEIPTS[0].to_document()
    for path in places(document)[1:]:
        if not isinstance(path[-1], str):
            continue
        lacking = changed(document, path, lambda c, k: c.pop(k))
        with pytest.raises(ReceiptError):
            Receipt.parse(canonical.encode(lacking))
        more = changed(document, path, lambda c, k: c.__setitem__(k + "x", 1))
        with pytest.raises(ReceiptError, match=f"unknown member '{path[-1]}x'"):
            Receipt.parse(canonical.encode(more))
        assert not VALIDATOR.is_valid(lacking)
        assert not VALIDATOR.is_valid(more)


def test_the_first_byte_that_is_not_canonical_is_named() -> None:
    """Whether it is less than the one that should stand there, or more."""
    data = RECEIPTS[0].encode()
    at = data.index(b'"format":')
    for wrong in (b" ", rb'"\u0066ormat":'):
        edited = data[:at] + (wrong + data[at:] if wrong == b" " else wrong + data[at + 9 :])
        place = next(i for i, (x, y) in enumerate(zip(data, edited, strict=False)) if x != y)
        with pytest.raises(ReceiptError, match=f"the first wrong byte is at {place}"):
            Receipt.parse(edited)


def test_a_receipt_that_would_be_too_large_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "MOST_BYTES", len(RECEIPTS[0].encode()) - 1)
    monkeypatch.setattr(canonical, "MOST_BYTES_UNICODE", 1)
    with pytest.raises(ReceiptError, match=r"the receipt has .* bytes; expected at most"):
        RECEIPTS[0].encode()


def test_a_later_version_is_named() -> None:
    document = RECEIPTS[0].to_document() | {"version": 2, "proof": {}}
    with pytest.raises(NewerReceiptError, match="has version 2, but this program reads version 1"):
        Receipt.parse(canonical.encode(document))


@pytest.mark.parametrize("receipt", RECEIPTS)
def test_no_edit_of_a_byte_reads_as_the_same(receipt: Receipt) -> None:
    """1,000 random changes, insertions and deletions of one byte."""
    data, rng, read = receipt.encode(), random.Random(1), 0
    for _ in range(1000):
        at, byte = rng.randrange(len(data)), rng.randrange(256)
        edited = rng.choice(
            (
                data[:at] + bytes([byte]) + data[at + 1 :],
                data[:at] + bytes([byte]) + data[at:],
                data[:at] + data[at + 1 :],
            )
        )
        if edited == data:
            continue
        try:
            again = Receipt.parse(edited)
        except ReceiptError:
            continue
        read += 1
        assert again != receipt
        assert again.digest != receipt.digest
    assert read  # some are receipts, of something else


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d + b" ", "not canonical"),
        (lambda d: b"\xef\xbb\xbf" + d, "not valid JSON"),
        (lambda d: d.replace(b'"bits":8', b'"bits": 8'), "not canonical"),
        (lambda d: d.replace(b'"bits":8', b'"bits":8,"bits":8'), "duplicate member 'bits'"),
        (lambda d: d.replace(b'"bits":8', b'"bits":8.0'), "the number 8.0; expected integers"),
        (lambda d: d.replace(b'"bits":8', b'"bits":NaN'), "the number NaN; expected integers"),
        (lambda d: d.replace(b'"bits":8', b'"bits":-Infinity'), "the number -Infinity"),
        (lambda d: d.replace(b'"bits":8', b'"bits":08'), "not valid JSON"),
        (lambda d: d.replace(b'"bits":8', b'"bits":' + b"9" * 5000), "not valid JSON"),
        (lambda d: d.replace(b"A model", b"\xff model"), "not UTF-8: byte .* is 0xFF"),
        (lambda d: d.replace(b"A model", rb"\ud800 model"), "U\\+D800, which is not a character"),
        (lambda d: d.replace(b"A model", rb"\u0041 model"), "not canonical"),
        (lambda d: d.replace(b'"prompt":[1', b'"prompt":[-1'), r"request.prompt\[0\] must be an integer from 0"),
        (lambda d: d.replace(b'"temperature":"0.7"', b'"temperature":"0.70"'), "shortest form"),
        (lambda d: d.replace(b'"temperature":"0.7"', b'"temperature":"7000"'), r"must lie in \[0, 1000\]"),
        (lambda d: d.replace(b'"tokens":[3,7,11]', b'"tokens":[7,3,11]'), "ascending"),
        (lambda d: d.replace(b'"tokens":[5,6,2]', b'"tokens":[5,6]'), "a number for each token"),
        (lambda d: d.replace(b'"compiler":"llguidance 1.3.0"', b'"compiler":null'), "the compiler of the constraint"),
        (lambda d: re.sub(rb'"chain":"..', b'"chain":"', d), "base64url|has 9. bytes"),
        (lambda d: b"[]", "not a receipt"),
        (lambda d: b"", "not valid JSON"),
        (lambda d: d.replace(b'"version":1}', b'"version":-1}'), "version must be a positive integer"),
    ],
)
def test_errors_name_what_is_wrong(change: Callable[[bytes], bytes], message: str) -> None:
    data = RECEIPTS[0].encode()
    edited = change(data)
    assert edited != data
    with pytest.raises(ReceiptError, match=message):
        Receipt.parse(edited)


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "deep lists": lambda receipt: b"[" * (1 << 18),
    "deep objects": lambda receipt: b'{"a":' * (1 << 18),
    "many lists": lambda receipt: b"[" + b"[]," * (1 << 21) + b"[]]",
    "many strings": lambda receipt: b"[" + b'"ab",' * (1 << 20) + b"0]",
    "many numbers": lambda receipt: b"[" + b"1000," * (1 << 20) + b"0]",
    "the most numbers": lambda receipt: b"[" + b"1000000000," * (1 << 18) + b"0]",
    "one wide string": lambda receipt: ('"' + "a" * ((4 << 20) - 6) + '\U0001f600"').encode(),
    "escapes": lambda receipt: b'"' + b"\\u0001" * 1300000 + b'"',
    "backslashes": lambda receipt: b"[" + b'"\\\\",' * (1 << 20) + b"0]",
    "one open string": lambda receipt: b'"' + b'\\"' * (1 << 22),
    "long numbers": lambda receipt: b"[" + (b"9" * 4300 + b",") * 1900 + b"0]",
    "one name": lambda receipt: b"{" + b'"a":0,' * (1 << 18) + b'"a":0}',
    "many names": lambda receipt: b"{" + b",".join(b'"%d":0' % i for i in range(1 << 18)) + b"}",
    "not canonical at the end": lambda receipt: receipt.replace(b"A model", b"a" * (4194304 - 4000)) + b" ",
    "a billion tokens": lambda receipt: receipt.replace(b"[5,6,2]", b"[" + b"5," * (1 << 24) + b"2]"),
    "a billion by count": lambda receipt: receipt.replace(b'"tensors":272', b'"tensors":1000000000'),
}


def cost(hostile: Callable[[bytes], bytes], path: Path, length: int = 0) -> tuple[int, int, int]:
    """Return what refusing a file takes: calls, readings of the file, bytes of memory; in a process of its own."""

    def measure() -> None:
        data = hostile(RECEIPTS[0].encode())
        with path.open("wb") as file:
            file.write(data)
            file.truncate(max(length, len(data)))
        del data
        gc.collect()
        before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        read = _read()
        with counted_calls() as calls, pytest.raises(ReceiptError) as caught:
            list(read_receipts(path))
        read = _read() - read - 4096
        assert len(str(caught.value)) < 1000
        status = Path("/proc/self/status").read_text()
        peak = int(re.search(r"VmHWM:\s*(\d+)", status)[1]) * 1024
        queue.put((calls.total(), -(-read // path.stat().st_size), peak - before))

    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=measure)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    found: tuple[int, int, int] = queue.get()
    return found


def _read() -> int:
    """Return how many bytes this process has read so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is Linux's to tell")
@pytest.mark.parametrize("name", [*HOSTILE, "a gigabyte"])
def test_hostile_receipts_are_read_once_in_few_calls_and_100_mb(name: str, tmp_path: Path) -> None:
    if name in HOSTILE:
        calls, readings, memory = cost(HOSTILE[name], tmp_path / "hostile")
    else:
        calls, readings, memory = cost(lambda receipt: b'{"format":"', tmp_path / "hostile", 1 << 30)
    assert calls < (300_000 if name == "one name" else 2_000)  # one for each of its 262,145 names
    assert readings <= 1
    assert memory < 100e6


def test_files_hold_a_receipt_a_line(tmp_path: Path) -> None:
    path = tmp_path / "some.receipts"
    write_receipts(path, RECEIPTS)
    assert tuple(read_receipts(path)) == RECEIPTS
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    path.write_bytes(RECEIPTS[0].encode() + b"\n{}\n")
    with pytest.raises(ReceiptError, match=r"some.receipts, line 2: not a receipt"):
        list(read_receipts(path))
    path.write_bytes(b"")
    with pytest.raises(ReceiptError, match="is empty"):
        list(read_receipts(path))
    with pytest.raises(ReceiptError, match="cannot be read"):
        list(read_receipts(tmp_path / "none"))
    with pytest.raises(ReceiptError, match="cannot be written"):
        write_receipts(tmp_path / "no" / "folder", RECEIPTS)


def test_no_link_leads_elsewhere_what_is_written(tmp_path: Path) -> None:
    """Neither one at the file's own place nor one at a name that its unfinished part could have had."""
    mine, file = tmp_path / "mine", tmp_path / "some.receipts"
    mine.write_bytes(b"mine")
    for name in ("some.receipts", "some.receipts.part"):
        (tmp_path / name).symlink_to(mine)
    write_receipts(file, RECEIPTS)
    assert (mine.read_bytes(), file.is_symlink()) == (b"mine", False)
    assert tuple(read_receipts(file)) == RECEIPTS
    assert {item.name for item in tmp_path.iterdir()} == {"mine", "some.receipts", "some.receipts.part"}


@pytest.mark.parametrize("over", [0, 1, 2, 1 << 23, (1 << 23) + 1, (1 << 24) + 7])
def test_a_line_that_is_too_long_counts_once(tmp_path: Path, over: int) -> None:
    path, first = tmp_path / "long.receipts", RECEIPTS[0].encode()
    long = b"x" * (canonical.MOST_BYTES + over)
    for end in (b"\n", b""):
        path.write_bytes(b"\n".join([first, long, first, long]) + end)
        lines = list(read_lines(path))
        assert [len(line) for line in lines] == [len(first), min(len(long), canonical.MOST_BYTES + 1)] * 2
        assert lines[2] == first
        if over:
            with pytest.raises(ReceiptError, match=r"line 2: the receipt has 8,388,609 bytes"):
                list(read_receipts(path))


def test_a_model_among_files_of_receipts_is_named_before_its_bytes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF\x03\0\0\0\n" * 9)
    with pytest.raises(ReceiptError, match=r"m\.gguf is a model, not a file of receipts: pass it with --model"):
        list(read_lines(path))


@given(st.integers(-1000 * 10**6, 1000 * 10**6))
def test_decimals_have_one_form(millionths: int) -> None:
    value = millionths / 10**6
    text = request.decimal_text(value)
    assert float(text) == value
    assert request._DECIMAL.fullmatch(text)
    assert text != "-0"


@given(
    st.floats(0, 1000).map(lambda x: round(x, 6)),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.dictionaries(st.integers(0, (1 << 31) - 1), st.floats(-100, 100).map(lambda x: round(x, 6)), max_size=5),
    st.lists(TEXT.filter(bool), max_size=3),
)
def test_sampling_parameters_come_back(temperature: float, seed: int, bias: dict[int, float], stop: list[str]) -> None:
    parameters = SamplingParameters(temperature=temperature, seed=seed, logit_bias=bias, stop=tuple(stop))
    document = request.sampling_to_document(parameters)
    assert request.sampling_from_document(document, "sampling") == parameters
    SAMPLING.validate(document)


@pytest.mark.parametrize("stop", [tuple(map(str, range(257))), ("x" * 1025,)])
def test_stop_strings_are_bounded_when_written_and_when_read(stop: tuple[str, ...]) -> None:
    with pytest.raises(ReceiptError, match="at most 256 stop strings"):
        request.sampling_to_document(SamplingParameters(stop=stop))
    document = request.sampling_to_document(SamplingParameters()) | {"stop": list(stop)}
    assert not SAMPLING.is_valid(document)
    with pytest.raises(ReceiptError, match=r"sampling.stop: a receipt may have at most 256 stop strings"):
        request.sampling_from_document(document, "sampling")


def test_a_conversation_keeps_its_order_and_numbers() -> None:
    source = RECEIPTS[0].header.request.source
    assert source is not None
    assert source.conversation()["scale"] == 1.5
    for text in ("[]", "{}", '{"messages":1}', "[" * 100000, "x"):
        with pytest.raises(ReceiptError, match=r"request\.source\.text"):
            PromptSource("chat", text).conversation()


@given(st.binary() | VALUES.map(canonical.encode))
def test_whatever_is_read_is_a_receipt_or_refused(data: bytes) -> None:
    with pytest.raises(ReceiptError):
        Receipt.parse(data)


@given(st.data())
def test_a_part_in_anothers_place_is_refused(data: st.DataObject) -> None:
    document = RECEIPTS[0].to_document()
    some = places(document)[1:]
    here, there = data.draw(st.sampled_from(some)), data.draw(st.sampled_from(some))
    value: Any = document
    for key in there:
        value = value[key]
    moved = changed(document, here, lambda c, k: c.__setitem__(k, value))
    try:
        receipt = Receipt.parse(canonical.encode(moved))
    except ReceiptError:
        return
    assert receipt.to_document() == moved
