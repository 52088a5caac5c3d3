from intact._base.markup.verify_page import page


def test_the_command_writes_one_file_that_works_alone(intact_command, tmp_path):
    module = tmp_path / "intact.wasm"
    module.write_bytes(b"\0asm\1\0\0\0")
    done = intact_command("page", "--out", tmp_path / "deep" / "folder", "--wasm", module, "--json")
    assert done.code == 0
    written = tmp_path / "deep" / "folder" / "index.html"
    assert done.json["files"][0] == str(written)
    assert written.read_text("utf-8") == page(module)
    failed = intact_command("page", "--out", tmp_path / "none", "--wasm", tmp_path / "absent")
    assert failed.code == 2
    assert failed.err == f"error: {tmp_path / 'absent'}: cannot be read (No such file or directory)\n"
    assert not (tmp_path / "none").exists()
