"""``intact quantize`` and ``intact lab``: the model that they write runs, and what they print about it agrees."""

import pytest

from support.tiny import write_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=256, heads=4, head_width=32)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat and the dog ran to the man " * 40)
    return path


def test_a_quantised_model_is_written_and_answers(intact_command, tiny, tmp_path):
    out = tmp_path / "out"
    made = intact_command("quantize", "-m", tiny, "--to", "int4-32", "--out", out, "--json")
    assert (made.code, made.json["path"], made.json["bits_per_weight"]) == (0, str(out), 4.5)
    assert intact_command("run", "-m", out, "Why?", "--max-tokens", "4").code == 0
    again = intact_command("quantize", "-m", tiny, "--to", "int4-32", "--out", tmp_path / "again")
    assert made.json["digest"] in again.out
    assert intact_command("quantize", "-m", tiny, "--to", "int4-32", "--out", out).code == 2


def test_a_gguf_file_is_written_and_answers(intact_command, tiny, tmp_path):
    out = tmp_path / "out.gguf"
    words = ("quantize", "-m", tiny, "--to", "q8_0", "--embeddings", "q5_1", "--out", out)
    refused = intact_command("quantize", "-m", tiny, "--to", "int4-32", "--out", out)
    assert (refused.code, "no GGUF type holds" in refused.err) == (2, True)
    assert intact_command(*words).code == 0
    assert intact_command("run", "-m", out, "Why?", "--max-tokens", "4").code == 0


def test_the_list_of_specs_has_their_bits(intact_command):
    listed = intact_command("quantize", "--list", "--json").json
    bits = {row["spec"]: row["bits_per_weight"] for row in listed["specs"]}
    assert (bits["int4"], bits["mxint8"]) == (4.5, 8.5)
    assert (bits["q2_k"], bits["q6_k"]) == (2.625, 6.5625)
    assert next(row["gguf"] for row in listed["specs"] if row["spec"] == "iq4_nl") == "IQ4_NL"
    assert "gptq" in {row["name"] for row in listed["quantizers"]}
    assert "awq" in {row["name"] for row in listed["transforms"]}
    assert [row["name"] for row in listed["costs"]] == ["divergence", "hawq", "norm", "output"]
    assert "gptq_ordered" in intact_command("quantize", "--list").out


def test_without_a_spec_the_command_says_what_is_missing(intact_command, tiny):
    result = intact_command("quantize", "-m", tiny)
    assert (result.code, result.out) == (2, "")
    assert "give a model, a spec (--to) and a folder (--out)" in result.err


def test_the_lab_measures_specs_beside_the_source(intact_command, tiny, text, tmp_path):
    specs = tmp_path / "specs.txt"
    specs.write_text("int2-32  # the smallest\n\n# the end\n")
    words = ["lab", "-m", tiny, "--specs", "int8-32", "--specs-file", specs, "--text", text, "--work", tmp_path / "lab"]
    words += ["--context", "32", "--windows", "2"]
    found = intact_command(*words, "--json").json
    fine, coarse = found["rows"]
    assert [row["spec"] for row in (fine, coarse)] == ["nearest:int8-32@search", "nearest:int2-32@search"]
    assert fine["kl"] < coarse["kl"]
    page, picture = tmp_path / "lab.html", tmp_path / "lab.svg"
    shown = intact_command(*words, "--pair", "int2-32,int8-32", "--report", page, "--plot", picture).out
    assert "source" in shown
    assert "int8-32 before int2-32 by" in shown
    assert picture.read_text().startswith("<svg")
    assert "int2-32" in page.read_text()
    wrong = intact_command(*words, "--plot", tmp_path / "lab.png")
    assert (wrong.code, "--plot must end with .svg" in wrong.err) == (2, True)


def test_progress_is_written_in_lines_without_a_terminal(intact_command, tiny, text, tmp_path, monkeypatch):
    monkeypatch.setattr("intact.cli.output.PAUSE", 0)
    made = intact_command("quantize", "-m", tiny, "--to", "int4-32", "--out", tmp_path / "out")
    assert "quantize  1 of 14" in made.err
    words = ["lab", "-m", tiny, "--specs", "int8-32", "--text", text, "--work", tmp_path / "lab"]
    measured = intact_command(*words, "--context", "32", "--windows", "2")
    assert "measure int8-32  1 of 2" in measured.err


def test_a_receipt_is_verified_signed_and_a_changed_digit_is_found(intact_command, tiny, text, tmp_path):
    pytest.importorskip("cryptography")
    file = tmp_path / "out.receipt"
    words = ["quantize", "-m", tiny, "--to", "gptq:int3-16", "--calibrate", text, "--context", "32", "--windows", "4"]
    assert intact_command(*words, "--out", tmp_path / "out", "--receipt", file).code == 0
    checked = intact_command("verify", file, "--model", tiny, "--text", text)
    assert (checked.code, "true  14 matrices" in checked.out) == (0, True)
    assert intact_command("verify", file, "--model", tiny).code == 3
    (shown,) = intact_command("receipt", "show", file, "--json").json["receipts"]
    assert (shown["receipt_of"], shown["spec"]) == ("a quantised model", "gptq:int3-16@search")
    assert intact_command("keys", "new", tmp_path / "key").code == 0
    key = ["--signed-by", tmp_path / "key.pub"]
    unsigned = intact_command("verify", file, "--model", tiny, "--text", text, *key)
    assert (unsigned.code, "signature: it is not signed" in unsigned.out) == (3, True)
    signed = tmp_path / "signed.receipt"
    assert intact_command("keys", "sign", file, "--key", tmp_path / "key", "-o", signed).code == 0
    checked = intact_command("verify", signed, "--model", tiny, "--text", text, *key)
    assert (checked.code, "signed by" in checked.out) == (0, True)
    line = file.read_text()
    place = line.index('"digest":"') + len('"digest":"')
    file.write_text(line[:place] + ("1" if line[place] == "0" else "0") + line[place + 1 :])
    false = intact_command("verify", file, "--model", tiny, "--text", text, "--json")
    assert (false.code, false.json["receipts"][0]["what"]) == (1, "output")
