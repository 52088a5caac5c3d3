"""The memory that a process may use is the least that the machine and its control groups allow."""

import intact
from intact._base.memory import usable
from support.tiny import write_tiny


def test_a_control_group_and_those_above_it_limit_the_machines_memory(tmp_path):
    groups, own = tmp_path / "groups", tmp_path / "own"
    machine = usable(groups)
    assert usable(groups, own) == machine
    assert machine > 1 << 24
    (groups / "a" / "b" / "c").mkdir(parents=True)
    own.write_text("0::/a/b\n")
    for place, text, found in (
        ("a/b/c", "4096", machine),  # a group below
        ("a/b", "max\n", machine),
        ("a", "16777216\n", 1 << 24),
        ("a/b", "8388608\n", 1 << 23),
        ("", "4194304\n", 1 << 22),
    ):
        (groups / place / "memory.max").write_text(text)
        assert usable(groups, own) == found


def test_a_process_in_no_named_group_has_the_limit_of_the_root(tmp_path):
    (tmp_path / "memory.max").write_text("4194304\n")
    for text in ("0::/\n", "3:cpu:/x\n"):
        (tmp_path / "own").write_text(text)
        assert usable(tmp_path, tmp_path / "own") == 1 << 22


def test_a_cache_takes_a_quarter_of_what_the_control_group_allows(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("4194304\n")
    path = write_tiny(tmp_path / "tiny.gguf")
    monkeypatch.setattr("intact.library.loading.usable", lambda: usable(tmp_path))
    pool = intact.load(path).engine.pool
    assert pool.capacity == (1 << 20) // pool.page_bytes
