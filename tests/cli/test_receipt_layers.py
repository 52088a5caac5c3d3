"""``intact receipt commit`` and ``open``, and ``intact verify --opening``: their messages and exit statuses."""

import pytest

from intact.receipts.document import read_receipts, write_receipts
from intact.receipts.opening import Opening
from support.tiny import write_tiny


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", context=256, layers=3)


@pytest.fixture
def answers(intact_command, path, tmp_path):
    """A file with the receipts of two samples, which commit to layers."""
    file = tmp_path / "answers.receipts"
    asked = ["--temperature", 0.8, "--max-tokens", 9, "-n", 2, "--receipt", file]
    assert intact_command("run", "-m", path, "Why?", *asked).code == 0
    assert "2 receipts commit" in intact_command("receipt", "commit", file, "--model", path).err
    return file


def test_a_receipt_is_checked_by_the_layers_that_a_nonce_chooses(intact_command, path, answers, tmp_path):
    opened = tmp_path / "opening"
    made = intact_command(
        *("receipt", "open", answers, "--nonce", "x", "--line", 2, "--layers", 2, "-o", opened, "-m", path, "--json")
    ).json
    assert (len(made["layers"]), made["bytes"]) == (2, opened.stat().st_size)
    assert made["receipt"] == list(read_receipts(answers))[1].digest.hex()
    asked = "verify", answers, "--model", path, "--opening", opened, "--nonce", "x"
    found = intact_command(*asked, "--layers", 2, "--json")
    assert (found.code, [r["outcome"] for r in found.json["receipts"]]) == (3, ["unverifiable", "partial"])
    one = tmp_path / "one.receipt"
    write_receipts(one, list(read_receipts(answers))[1:])
    found = intact_command("verify", one, *asked[2:], "--layers", 2)
    assert (found.code, "9 tokens" in found.out) == (4, True)
    assert intact_command("verify", one, *asked[2:]).code == 3  # one layer is chosen, two are open
    assert intact_command("verify", answers, "--model", path).code == 0
    shown = intact_command("receipt", "show", one, "--json").json["receipts"][0]
    assert shown["layers"]["count"] == 3


def test_a_forged_commitment_is_false(intact_command, path, answers):
    root = next(iter(read_receipts(answers))).layers.root.hex()
    answers.write_bytes(answers.read_bytes().replace(root.encode(), b"00" * 32))
    found = intact_command("verify", answers, "--model", path, "--json")
    assert (found.code, [r["what"] for r in found.json["receipts"]]) == (1, ["layers", None])
    refused = intact_command("receipt", "open", answers, "--nonce", 1, "-o", answers.with_suffix(".o"), "-m", path)
    assert (refused.code, "nothing can be opened" in refused.err) == (2, True)
    assert not answers.with_suffix(".o").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--opening", "OPENING"], "--opening needs --nonce"),
        (["--nonce", "1"], "--nonce chooses"),
        (["--opening", "OPENING", "--sample", "1", "--nonce", "1"], "--nonce chooses"),
        (["--layers", "2"], "--layers needs --opening"),
        (["--opening", "OPENING", "--nonce", "1", "--tokens", "2"], "every token"),
        (["--opening", "OPENING", "--nonce", "1", "--part", "winner"], "every token"),
        (["--opening", "OPENING", "--nonce", "1"], "not an opening of a receipt"),
        (["--opening", "MODEL", "--nonce", "1"], "not an opening of a receipt"),
    ],
)
def test_what_cannot_be_checked_is_refused(intact_command, path, answers, tmp_path, given, message):
    places = {"OPENING": tmp_path / "none", "MODEL": path}
    refused = intact_command("verify", answers, "--model", path, *(places.get(word, word) for word in given))
    assert (refused.code, message in refused.err) == (2, True), refused.err


def test_runs_have_no_commitment(intact_command, path, tmp_path):
    file = tmp_path / "run.receipt"
    asked = ["-n", 2, "--max-tokens", 4, "--receipt", file]
    assert intact_command("solve", "best_of_n", "2 + 2?", "--model", path, *asked).code == 0
    refused = intact_command("receipt", "commit", file, "--model", path)
    assert (refused.code, "only receipts of answers" in refused.err) == (2, True)
    refused = intact_command("receipt", "open", file, "--nonce", 1, "-o", tmp_path / "o", "--model", path)
    assert (refused.code, "only receipts of answers" in refused.err) == (2, True)


def test_an_opening_is_whole_or_absent(intact_command, path, answers, tmp_path):
    opened = tmp_path / "opening"
    assert intact_command("receipt", "open", answers, "--nonce", 1, "-o", opened, "-m", path).code == 0
    assert Opening.load(opened).layers
    folder = tmp_path / "none"
    refused = intact_command("receipt", "open", answers, "--nonce", 1, "-o", folder / "opening", "-m", path)
    assert (refused.code, "cannot be written" in refused.err) == (2, True)
    refused = intact_command("receipt", "open", answers, "--nonce", 1, "--line", 3, "-o", opened, "-m", path)
    assert (refused.code, "no line 3" in refused.err) == (2, True)
