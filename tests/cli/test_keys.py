from intact.receipts.document import read_receipts, write_receipts
from support.receipts import plain_receipt, rich_receipt


def test_a_new_key_signs_every_receipt_of_a_file(intact_command, tmp_path):
    made = intact_command("keys", "new", tmp_path / "key", "--json")
    assert made.code == 0
    public = made.json["public"]
    assert intact_command("keys", "show", tmp_path / "key").out == public + "\n"
    assert intact_command("keys", "show", tmp_path / "key.pub", "--json").json["public"] == public

    file, output = tmp_path / "answers", tmp_path / "signed"
    write_receipts(file, [rich_receipt(), plain_receipt()])
    before = file.read_bytes()
    signed = intact_command("keys", "sign", file, "--key", tmp_path / "key", "-o", output, "--json")
    assert signed.code == 0
    assert signed.json["digests"] == [rich_receipt().digest.hex(), plain_receipt().digest.hex()]
    assert file.read_bytes() == before
    for receipt in read_receipts(output):
        assert receipt.signature.key.hex() == public
        assert receipt.signature.holds(receipt.digest)
    assert intact_command("keys", "sign", file, "--key", tmp_path / "key").code == 0
    assert file.read_bytes() == output.read_bytes()


def test_errors_are_one_line(intact_command, tmp_path):
    (tmp_path / "key").write_text("mine")
    for arguments in (
        ("new", tmp_path / "key"),
        ("show", tmp_path / "none"),
        ("sign", tmp_path / "none", "--key", tmp_path / "key"),
    ):
        failed = intact_command("keys", *arguments)
        assert failed.code == 2
        assert failed.err.startswith("error: ")
        assert failed.err.count("\n") == 1
    assert (tmp_path / "key").read_text() == "mine"
