"""``intact superposed``: the drafts of the decoder, for people and for programs, with a receipt that verifies."""

import pytest

import intact
from intact.library.superposed import NGrams, SuperposedDecoder, SuperposedReceipt
from intact.receipts.signature import new_key
from support.adapters import write_adapter
from support.tiny import write_tiny

TEXTS = "Why is it blue? Why is it not?\nIt is blue.\n"
ASKED = ["Why?", "-n", 2, "--max-tokens", 5, "--temperature", 0.8]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", context=256)


@pytest.fixture
def texts(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text(TEXTS)
    return file


def test_the_command_prints_what_the_decoder_writes(intact_command, path, texts):
    with intact.load(path, drafter="off") as model:
        table = NGrams.of_lines(model.tokenizer, TEXTS)
        with SuperposedDecoder(model, table) as decoder:
            wanted = decoder.write("Why?", n=2, max_tokens=5, temperature=0.8, alpha=0.3)
    ran = intact_command("superposed", "-m", path, *ASKED, "--ngrams", texts, "--alpha", 0.3, "--json")
    assert ran.code == 0
    assert ran.json["drafts"] == [{**draft._asdict(), "tokens": list(draft.tokens)} for draft in wanted]
    assert ran.json["ngrams"] == table.digest.hex()
    assert (ran.json["n"], ran.json["candidates"], ran.json["alpha"], ran.json["score_scale"]) == (2, 6, 0.3, 1 << 24)
    shown = intact_command("superposed", "-m", path, *ASKED, "--ngrams", texts, "--alpha", 0.3)
    scores = [f"{draft.score / 2**24:.3f}" for draft in wanted]
    assert [score for score in scores if score in shown.out] == scores
    plain = intact_command("superposed", "-m", path, *ASKED, "--threads", 1, "--json")
    assert (plain.json["ngrams"], plain.json["alpha"]) == (None, 0)
    assert plain.json["drafts"] != ran.json["drafts"]
    assert plain.out == intact_command("superposed", "-m", path, *ASKED, "--threads", 2, "--json").out


def test_a_receipt_verifies_with_its_texts_and_a_false_one_does_not(intact_command, path, texts, tmp_path):
    followed, plain = tmp_path / "followed.receipt", tmp_path / "plain.receipt"
    assert intact_command("superposed", "-m", path, *ASKED, "--ngrams", texts, "--receipt", followed).code == 0
    assert intact_command("superposed", "-m", path, *ASKED, "--receipt", plain).code == 0
    result = intact_command("verify", followed, plain, "--model", path, "--ngrams", texts)
    assert (result.code, result.err) == (0, "2 true, 0 false, 0 cannot be verified\n")
    assert [line.split()[1:] for line in result.out.splitlines()] == [["true", "10", "tokens"]] * 2
    lacking = intact_command("verify", followed, plain, "--model", path, "--json")
    assert (lacking.code, [one["what"] for one in lacking.json["receipts"]]) == (3, ["ngrams", None])
    assert "--ngrams" in lacking.json["receipts"][0]["detail"]
    receipt = SuperposedReceipt.parse(plain.read_bytes().rstrip())
    score = receipt.drafts[1].score
    plain.write_bytes(plain.read_bytes().replace(f'"score":{score}'.encode(), f'"score":{score + 1}'.encode()))
    checked = intact_command("verify", followed, plain, "--model", path, "--ngrams", texts)
    assert checked.code == 1
    assert f"{plain}:1  FALSE  score: it says that the score of draft 2 is {score + 1}" in checked.out
    absent = intact_command("verify", followed, "--model", path, "--ngrams", tmp_path / "none.txt")
    assert (absent.code, absent.err) == (
        2,
        f"error: {tmp_path / 'none.txt'} cannot be read: No such file or directory\n",
    )


def test_receipts_of_other_profiles_and_answers_verify_beside(intact_command, path, tmp_path):
    coded, answer, both = tmp_path / "coded.receipt", tmp_path / "answer.receipt", tmp_path / "both.receipts"
    assert intact_command("superposed", "-m", path, *ASKED, "--kv", "int4", "--receipt", coded).code == 0
    assert intact_command("run", "-m", path, "Why?", "--max-tokens", 4, "--receipt", answer).code == 0
    both.write_bytes(coded.read_bytes() + answer.read_bytes() + b"{}\n")
    result = intact_command("verify", both, "--model", path, "--json")
    assert [one["outcome"] for one in result.json["receipts"]] == ["true", "true", "unverifiable"]
    missing = intact_command("verify", coded, "--model", tmp_path / "none.gguf", "--json")
    assert (missing.code, missing.json["receipts"][0]["what"]) == (3, "model")


def test_drafts_of_an_adapter_verify_with_it_alone(intact_command, path, tmp_path):
    adapter, file = write_adapter(tmp_path / "a.gguf", path), tmp_path / "changed.receipt"
    assert intact_command("superposed", "-m", path, *ASKED, "--adapter", adapter, "--receipt", file).code == 0
    assert intact_command("verify", file, "--model", path, "--adapter", adapter).code == 0
    lacking = intact_command("verify", file, "--model", path, "--json")
    assert (lacking.code, lacking.json["receipts"][0]["what"]) == (3, "weights")


def test_receipts_are_shown_and_signed(intact_command, path, texts, tmp_path):
    pytest.importorskip("cryptography")
    file = tmp_path / "drafts.receipt"
    ran = intact_command("superposed", "-m", path, *ASKED, "--ngrams", texts, "--receipt", file, "--json").json
    new_key(tmp_path / "key")
    assert intact_command("keys", "sign", file, "--key", tmp_path / "key").code == 0
    (shown,) = intact_command("receipt", "show", file, "--json").json["receipts"]
    assert shown["receipt_of"] == "superposed drafts"
    assert shown["parameters"]["temperature"] == "0.8"
    assert shown["prompt"]["source"]["given"] == {"text": "Why?"}
    assert shown["ngrams"] == ran["ngrams"]
    assert [draft["score"] for draft in shown["drafts"]] == [draft["score"] for draft in ran["drafts"]]
    signed = intact_command("verify", file, "--model", path, "--ngrams", texts, "--json").json["receipts"][0]
    assert signed["signed_by"] == shown["signature_by"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Why?", "-n", 65), "n must lie in [1, 64], got 65"),
        (("Why?", "--max-tokens", 0), "max_tokens must lie in"),
        (("Why?", "--temperature", 0), "temperature must lie in (0, 100]"),
        (("Why?", "--alpha", 2), "alpha must lie in [0, 1]"),
        (("Why?", "--candidates", 0), "candidates must lie in"),
        (("Why?", "--profile", "fp32"), "superposed decoding is defined only for integers"),
        (("Why?", "--ngrams", "nowhere.txt"), "nowhere.txt cannot be read"),
        (("Why?", "--receipt", "/none/x"), "expected a file in an existing folder"),
        (("a", "b", "c"), "superposed takes one prompt, got 3 arguments"),
    ],
)
def test_errors_come_before_a_model_is_loaded(intact_command, speaker, arguments, message):
    result = intact_command("superposed", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert speaker.loaded == []


def test_texts_without_a_line_are_refused(intact_command, speaker, tmp_path):
    (tmp_path / "blank.txt").write_text("\n \n")
    result = intact_command("superposed", "Why?", "--ngrams", tmp_path / "blank.txt")
    assert (result.code, speaker.loaded) == (2, [])
    assert "contains no text; expected one per line" in result.err
