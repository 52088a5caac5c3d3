"""Layer receipts: the rows between layers are committed to, and a few layers, opened afterwards, are checked alone."""

from collections import Counter
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

import intact
from intact._base.errors import ParameterError, ReceiptError
from intact.checkpoints.formats.safetensors import Stored, write_safetensors
from intact.engine.engine import Engine
from intact.executors.native import available_tiers
from intact.models.layers import segments
from intact.receipts import layers, opening
from intact.receipts.commitment import MOST_LAYERS, LayerCommitment
from intact.receipts.document import Receipt
from intact.receipts.identity import root_of, tensor_leaf, weights_of
from intact.receipts.layers import LayerRun, layer_count, trace
from intact.receipts.opening import Opening, check, choose_layers, commit, open_layers
from intact.receipts.signature import new_key
from intact.receipts.verify import verify
from support.adapters import write_adapter
from support.architectures import divisible
from support.forger import LayerForger
from support.tiny import write_tiny

ASKED = {"max_tokens": 12, "temperature": 0.7, "seed": 3, "ignore_eos": True}
DEEP = 4
"""Layers of the model that liars use."""


def tiny(folder, architecture="llama", **options):
    loading = {name: options.pop(name) for name in ("executor", "threads", "profile", "adapters") if name in options}
    name = f"{architecture}-{'-'.join(map(str, options.values()))}.gguf"
    return intact.load(write_tiny(folder / name, architecture, context=256, **options), drafter="off", **loading)


def answer(model, **others):
    return model.generate("Why is the sky blue?", receipt=True, **(ASKED | others))[0][0].receipt


def nonce_for(receipt, chosen):
    """A nonce that chooses some layers."""
    return next(n for n in map(str, range(10_000)) if choose_layers(n, receipt.digest, DEEP, len(chosen)) == chosen)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def model(folder):
    return tiny(folder, layers=DEEP)


@pytest.fixture(scope="module")
def committed(model):
    return commit(model, answer(model))


@pytest.mark.parametrize("architecture", divisible())
def test_every_architecture_is_committed_opened_and_checked_layer_by_layer(folder, architecture):
    with tiny(folder, architecture) as model:
        receipt = commit(model, answer(model))
        assert Receipt.parse(receipt.encode()) == receipt
        (verdict,) = verify(model, [receipt])
        assert (verdict.outcome, verdict.checked) == ("true", 12)
        count = layer_count(model)
        parts = (name.split(".") for name in model.program.tensors if name.startswith("blk."))
        # a net alone is of the layer before it (Nemotron-H)
        mixing = ("attn_q", "attn_kv", "ssm_", "shortconv", "hgrn_")
        numbers = {number for _, number, part, *_ in parts if part.startswith(mixing)}
        assert receipt.layers.count == count == len(numbers)
        for number in range(1, count + 1):
            found = open_layers(model, receipt, "a nonce", number)
            verdict = check(model, receipt, found, "a nonce", number)
            assert verdict.outcome == ("true" if number == count else "partial"), verdict


@pytest.mark.parametrize("rows", [layers.CHUNK, 7])
@pytest.mark.parametrize("executor", ["reference", *available_tiers()])
def test_the_commitment_is_the_same_everywhere(folder, committed, monkeypatch, executor, rows):
    monkeypatch.setattr(layers, "CHUNK", rows)
    options = {"executor": executor} if executor == "reference" else {"threads": 3}
    if executor != "reference":
        monkeypatch.setenv("INTACT_ISA", executor)
    for page_size in (16, 32):
        with intact.load(folder / f"llama-{DEEP}.gguf", drafter="off", page_size=page_size, **options) as other:
            again = answer(other)
            assert replace(committed, layers=None) == again
            assert commit(other, again) == committed
            nonce = nonce_for(committed, (2,))
            assert check(other, committed, open_layers(other, committed, nonce), nonce).outcome == "partial"


def test_the_fp32_profile_commits_to_floats(folder):
    with tiny(folder, profile="fp32") as model:
        receipt = commit(model, answer(model))
        found = open_layers(model, receipt, "7")
        assert {rows.dtype for rows in found.rows.values()} == {np.dtype("f4")}
        assert check(model, receipt, found, "7").outcome == "partial"
        hostile = {boundary: np.full_like(rows, 3e38) for boundary, rows in found.rows.items()}
        assert check(model, *forged_opening(receipt, found, hostile), "7").outcome == "false"


def test_an_adapter_has_its_own_rows(folder):
    base = write_tiny(folder / "base.gguf", context=256)
    adapter = write_adapter(folder / "adapter", base)
    with intact.load(base, drafter="off", adapters={"own": adapter}) as model:
        plain, own = (commit(model, answer(model, adapter=name)) for name in ("", "own"))
        assert plain.layers != own.layers
        for receipt in (plain, own):
            assert check(model, receipt, open_layers(model, receipt, "1"), "1").outcome == "partial"
            assert next(verify(model, [receipt])).outcome == "true"


def forged(model, layer, position, monkeypatch):
    """The receipt of an answer of which a row behind a layer was altered, and what opens its layers."""
    with closing(LayerForger(model, layer, position)) as run:
        liar = model.on(Engine(run.executor, model.context, prefix_cache=False))
        receipt = answer(liar)

    def run(model, *_, kept=()):
        return LayerForger(model, layer, position, kept=kept)

    with monkeypatch.context() as patched:
        patched.setattr(layers, "LayerRun", run)
        receipt = commit(model, receipt)
        openings = {}
        for chosen in combinations(range(DEEP), 1):
            nonce = nonce_for(receipt, chosen)
            openings[chosen] = nonce, open_layers(model, receipt, nonce)
        for chosen in combinations(range(DEEP), 2):
            nonce = nonce_for(receipt, chosen)
            openings[chosen] = nonce, open_layers(model, receipt, nonce, 2)
    return receipt, openings


@pytest.mark.parametrize("layer", range(DEEP))
@pytest.mark.parametrize("position", [0, 9, 25])
def test_of_one_forged_row_in_one_layer_the_share_of_the_chosen_is_found(model, monkeypatch, layer, position):
    receipt, openings = forged(model, layer, position, monkeypatch)
    outcomes = Counter()
    for chosen, (nonce, found) in openings.items():
        verdict = check(model, receipt, found, nonce, len(chosen))
        assert verdict.outcome == ("false" if layer in chosen else "partial"), verdict
        assert verdict.what == ("layers" if layer in chosen else None)
        outcomes[len(chosen), verdict.outcome] += 1
    for size in (1, 2):
        whole = outcomes[size, "false"] + outcomes[size, "partial"]
        assert Fraction(outcomes[size, "false"], whole) == Fraction(size, DEEP)
    assert next(verify(model, [receipt])).outcome == "false"


def test_another_model_throughout_is_found_by_any_layer(folder, model, monkeypatch):
    other = tiny(folder, layers=DEEP, seed=1)
    with closing(LayerRun(other, range(DEEP), "sha256")) as run:
        receipt = answer(model.on(Engine(run.executor, model.context, prefix_cache=False)))
    made = trace(other, receipt, "")
    receipt = replace(receipt, layers=made.commitment)
    for layer in range(DEEP):
        nonce = nonce_for(receipt, (layer,))
        rows = trace(other, receipt, "", {layer, DEEP}).rows
        found = Opening(receipt.digest, (layer,), made.roots, weights_of(model).leaves, rows)
        assert (check(model, receipt, found, nonce).outcome, check(model, receipt, found, nonce).what) == (
            "false",
            "layers",
        )


def test_tokens_of_a_cheap_model_with_rows_of_the_true_one_are_found_by_the_draws(folder, model):
    cheap = tiny(folder, layers=1)
    tokens = answer(cheap).output.tokens
    true = answer(model)
    assert tokens != true.output.tokens
    lie = commit(model, replace(true, output=replace(true.output, tokens=tokens)))
    for layer in range(DEEP):
        nonce = nonce_for(lie, (layer,))
        verdict = check(model, lie, open_layers(model, lie, nonce), nonce)
        assert (verdict.outcome, verdict.position) == ("false", 0) or verdict.what in ("token", "hidden state")


def test_a_false_commitment_is_found_by_the_whole_verification(model, committed):
    for said in (
        replace(committed.layers, root=bytes(32)),
        replace(committed.layers, count=3),
    ):
        (verdict,) = verify(model, [replace(committed, layers=said)])
        assert (verdict.outcome, verdict.what) == ("false", "layers")
    (verdict,) = verify(model, [replace(committed, layers=LayerCommitment(3, bytes(32)))], most=4)
    assert verdict.outcome == "partial"


def test_a_signature_covers_the_commitment(model, committed, tmp_path):
    key = new_key(tmp_path / "key")
    signed = committed.signed(key.sign(committed.digest))
    nonce = "5"
    found = open_layers(model, signed, nonce)
    assert check(model, signed, found, nonce, signed_by=key.public).outcome == "partial"
    assert check(model, committed, found, nonce, signed_by=key.public).what == "signature"
    without = replace(signed, layers=None)
    assert next(verify(model, [without])).what == "signature"


def forged_opening(receipt, found, rows):
    """A receipt and its opening with other rows, all of whose digests fit."""
    roots = list(found.roots)
    for boundary, value in rows.items():
        roots[boundary] = layers.rows_root("sha256", boundary, value)
    said = replace(receipt.layers, root=root_of("sha256", roots))
    receipt = replace(receipt, layers=said)
    return receipt, Opening(receipt.digest, found.layers, tuple(roots), found.leaves, rows)


@pytest.mark.parametrize(
    ("number", "reached"),
    [(1 << 62, False), (-(1 << 63), False), ((1 << 61) + 1, False), (-(1 << 61) - 1, False), (1 << 61, True),
     (-(1 << 61), True), (1 << 60, True)],
)  # fmt: skip
def test_rows_that_no_model_reaches_are_refused_and_others_run(model, committed, monkeypatch, number, reached):
    found = open_layers(model, committed, "3")
    receipt, lie = forged_opening(
        committed, found, {boundary: np.full_like(rows, number) for boundary, rows in found.rows.items()}
    )
    monkeypatch.setattr(opening, "choose_layers", lambda *_: found.layers)  # the digest is another
    verdict = check(model, receipt, lie, "3")
    assert verdict.outcome == "false"
    assert ("no model's rows reach" in verdict.detail) != reached


def test_one_number_out_of_bounds_is_enough_and_nan_is_none(folder, model, committed, monkeypatch):
    found = open_layers(model, committed, "3")
    monkeypatch.setattr(opening, "choose_layers", lambda *_: found.layers)  # the digest is another
    rows = {boundary: value.copy() for boundary, value in found.rows.items()}
    rows[DEEP][-1, -1] = (1 << 61) + 1
    verdict = check(model, *forged_opening(committed, found, rows), "3")
    assert f"boundary {DEEP} have numbers that no model's rows reach" in verdict.detail
    with tiny(folder, layers=DEEP, profile="fp32") as floats:
        receipt = commit(floats, answer(floats))
        found = open_layers(floats, receipt, "3")
        rows = {boundary: value.copy() for boundary, value in found.rows.items()}
        rows[DEEP][0, 0] = np.nan
        verdict = check(floats, *forged_opening(receipt, found, rows), "3")
        assert "no model's rows reach" in verdict.detail


def test_an_opening_of_other_rows_than_there_are_positions_is_refused(model, committed, monkeypatch):
    """Or of another width, or of another boundary more or less, though all digests fit."""
    found = open_layers(model, committed, "3")
    monkeypatch.setattr(opening, "choose_layers", lambda *_: found.layers)  # the digest is another
    for change in (
        lambda rows: np.concatenate([rows, rows[-1:]]),
        lambda rows: rows[:-1],
        lambda rows: np.concatenate([rows, rows[:, :1]], axis=1),
        lambda rows: rows[:, :-1],
    ):
        lie = forged_opening(committed, found, {boundary: change(rows) for boundary, rows in found.rows.items()})
        verdict = check(model, *lie, "3")
        assert (verdict.outcome, verdict.what) == ("false", "layers")
        assert "are not those that the receipt commits to" in verdict.detail
    for roots in (found.roots[:-1], (*found.roots, found.roots[-1])):
        said = replace(committed, layers=replace(committed.layers, root=root_of("sha256", roots)))
        lie = Opening(said.digest, found.layers, roots, found.leaves, found.rows)
        assert (
            check(model, said, lie, "3").detail
            == "the roots that were opened are not those that the receipt commits to"
        )


def test_a_commitment_and_an_opening_have_layers_within_bounds(model, committed, tmp_path):
    digest = "00" * 32
    for count in (1, MOST_LAYERS):
        assert LayerCommitment.from_document({"count": count, "root": digest}).count == count
    for count in (0, MOST_LAYERS + 1):
        with pytest.raises(ReceiptError, match=f"count must be an integer from 1 to {MOST_LAYERS}"):
            LayerCommitment.from_document({"count": count, "root": digest})
    other = open_layers(model, committed, nonce_for(committed, (1,)))
    for layer in (0, MOST_LAYERS - 1, MOST_LAYERS, 99_999, 100_000):
        rows = {layer: other.rows[1], len(other.roots) - 1: other.rows[DEEP]}
        replace(other, layers=(layer,), rows=rows).save(tmp_path / "opening")
        if layer < MOST_LAYERS:
            assert Opening.load(tmp_path / "opening").layers == (layer,)
        else:
            with pytest.raises(ReceiptError, match="not those of an opening"):
                Opening.load(tmp_path / "opening")


def test_layers_run_on_given_rows_however_many_more_tokens_there_are(model, committed):
    """Rows are given for all positions but the last token's, which may run along."""
    opened = open_layers(model, committed, nonce_for(committed, (2,)))
    tokens = np.array([*committed.header.request.prompt, *committed.output.tokens], np.int32)
    with closing(LayerRun(model, (2,), "sha256", opened.rows)) as run:
        run.run(tokens)
        count = len(tokens) - 1
        assert run.root(3, count) == opened.roots[3]
        assert run.root(3, len(tokens)) is not None
        assert run.root(3, len(tokens) + 1) is None


def test_an_opening_of_something_else_tells_nothing(model, committed):
    one, another = nonce_for(committed, (0,)), nonce_for(committed, (1,))
    found = open_layers(model, committed, one)
    assert check(model, committed, found, another).outcome == "unverifiable"
    assert check(model, committed, replace(found, receipt=bytes(32)), one).outcome == "unverifiable"
    bare = replace(committed, layers=None)
    assert check(model, bare, found, one).outcome == "unverifiable"
    roots = (bytes(32), *found.roots[1:])
    assert check(model, committed, replace(found, roots=roots), one).what == "layers"
    short = {boundary: rows[:-1] for boundary, rows in found.rows.items()}
    assert check(model, committed, replace(found, rows=short), one).what == "layers"
    with pytest.raises(ReceiptError, match="does not commit to layers"):
        open_layers(model, bare, one)
    with pytest.raises(ReceiptError, match="nothing can be opened"):
        open_layers(model, replace(committed, layers=replace(committed.layers, root=bytes(32))), one)
    for wrong in (0, DEEP + 1):
        with pytest.raises(ParameterError, match="1 to 4"):
            open_layers(model, committed, one, wrong)


def test_a_file_holds_all_of_an_opening_and_a_damaged_one_is_refused(model, committed, tmp_path):
    nonce = "11"
    found, path = open_layers(model, committed, nonce, 2), tmp_path / "opening"
    found.save(path)
    again = Opening.load(path)
    assert (again.receipt, again.layers, again.roots) == (found.receipt, found.layers, found.roots)
    assert all((again.rows[boundary] == rows).all() for boundary, rows in found.rows.items())
    assert check(model, committed, again, nonce, 2).outcome == "partial"
    name = "blk.0.attn_q.weight"
    place = weights_of(model).names.index(name)
    assert again.leaves[place] == tensor_leaf("sha256", name, model.program.tensors[name])
    data = path.read_bytes()
    for bad in (b"", data[:7], data[:-1], data[: len(data) // 2], b"{}" + data, data.replace(b"roots", b"boots")):
        path.write_bytes(bad)
        with pytest.raises(ReceiptError):
            Opening.load(path)
    row = np.zeros((2, 3), "<i8")
    good = {
        "format": opening.FORMAT,
        "version": opening.VERSION,
        "receipt": "00" * 32,
        "layers": "1",
        "roots": "00" * 96,
        "leaves": "00" * 32,
    }
    for changes in (
        {"layers": "2,1"},
        {"layers": ""},
        {"layers": "x"},
        {"receipt": "0"},
        {"roots": "zz"},
        {"roots": ""},
    ):
        tensors = [Stored(f"boundary.{boundary}", "I64", (2, 3), 48) for boundary in (1, 2)]
        write_safetensors(path, tensors, lambda _: row.tobytes(), good | changes)
        with pytest.raises(ReceiptError, match="opening"):
            Opening.load(path)
    write_safetensors(path, tensors, lambda _: row.tobytes(), good)
    assert Opening.load(path).layers == (1,)
    write_safetensors(path, tensors[:1], lambda _: row.tobytes(), good)
    with pytest.raises(ReceiptError, match="opening"):
        Opening.load(path)


def test_a_receipt_of_another_model_says_nothing_of_this_one(folder, model, committed):
    """Whatever its layers are: another number of them, or another width."""
    nonce = nonce_for(committed, (1,))
    opened = open_layers(model, committed, nonce)
    for other in (tiny(folder, layers=2), tiny(folder, layers=DEEP, seed=1)):
        verdict = check(other, committed, opened, nonce)
        assert (verdict.outcome, verdict.what) == ("unverifiable", "weights")


def test_a_mix_has_no_commitment(model, committed):
    asked = {"mix": {"name": "guidance", "scale": 1.5}, "shadow": "Say it."}
    mixed = model.generate("Why?", receipt=True, **(ASKED | asked))[0][0].receipt
    with pytest.raises(ParameterError, match="mix"):
        commit(model, mixed)
    forged = replace(mixed, layers=committed.layers)
    assert next(verify(model, [forged])).what == "layers"
    nonce = nonce_for(committed, (1,))
    verdict = check(model, forged, open_layers(model, committed, nonce), nonce)
    assert (verdict.outcome, verdict.what) == ("unverifiable", "layers")


def test_a_program_whose_layers_read_more_than_the_stream_is_not_cut(model):
    program = model.program
    second = segments(program).layers[1]
    place = program.ops.index(second[0])
    ops = (*program.ops[:place], replace(second[0], source="attended"), *program.ops[place + 1 :])
    with pytest.raises(ParameterError, match="reads attended from the previous layer"):
        segments(replace(program, ops=ops))
