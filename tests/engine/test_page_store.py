"""Pages in a folder: they come back as they were or not at all, within a bound, whoever else uses the folder."""

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact._base.errors import ParameterError
from intact.engine.engine import Engine
from intact.engine.page_store import PageStore, page_key
from support.examples import examples
from support.tally import PAGE, VOCABULARY, Tally, continued, mixing, request

BYTES = 1000
FILE = 76 + BYTES
IDENTITY = {"weights": "a" * 64, "numerics": "1", "profile": "int8", "layout": "tally 1"}


def open_store(folder, limit=1 << 30, **others):
    return PageStore(folder, IDENTITY | others, BYTES, limit)


def page_of(key):
    return np.frombuffer(random.Random(key).randbytes(BYTES), np.uint8).copy()


def chain(store, text, count):
    """Keys of so many pages of a text."""
    keys = [store.root]
    for i in range(count):
        keys.append(page_key(keys[-1], f"{text} {i}".encode()))
    return keys[1:]


def keep(store, keys):
    numbers = dict(enumerate(keys))
    store.keep([(key, i) for i, key in numbers.items()], lambda i: page_of(numbers[i]))
    store.flush()


def found(store, keys):
    """How many of the leading pages there are; what is read is right."""
    pages = list(store.read(keys))
    for key, page in zip(keys, pages, strict=False):
        assert np.array_equal(page, page_of(key))
    return len(pages)


def files(folder):
    return sorted(path for path in folder.glob("*/*") if path.suffix != ".json")


def size(folder):
    return sum(path.stat().st_size for path in files(folder))


def test_pages_outlive_the_store_that_wrote_them(tmp_path):
    store = open_store(tmp_path)
    keys = chain(store, "a", 40)
    assert found(store, keys) == 0
    keep(store, keys)
    store.close()
    again = open_store(tmp_path)
    assert found(again, chain(again, "a", 41)) == 40
    assert found(again, chain(again, "b", 3)) == 0
    assert (store.counts.written, again.counts.written, again.counts.read) == (40, 0, 40)


@pytest.mark.skipif(os.name == "nt", reason="there are no such modes")
def test_a_folder_that_is_made_is_its_user_s_alone(tmp_path):
    store = open_store(tmp_path / "new" / "pages")
    keep(store, chain(store, "a", 1))
    assert (tmp_path / "new" / "pages").stat().st_mode & 0o77 == 0


def test_what_is_there_is_not_written_again(tmp_path):
    first, second = open_store(tmp_path), open_store(tmp_path)
    keys = chain(first, "a", 5)
    keep(first, keys)
    keep(first, keys)
    keep(second, keys)  # it was opened before they were there
    assert (first.counts.written, second.counts.written, len(files(tmp_path))) == (5, 0, 5)


@pytest.mark.parametrize("other", [{"weights": "b" * 64}, {"numerics": "2"}, {"profile": "fp32"}, {"layout": "x"}])
def test_pages_of_another_model_or_arithmetic_are_never_found(tmp_path, other):
    store = open_store(tmp_path)
    keep(store, chain(store, "a", 3))
    another = open_store(tmp_path, **other)
    assert found(another, chain(another, "a", 3)) == 0
    assert not set(chain(store, "a", 3)) & set(chain(another, "a", 3))


def test_pages_of_another_version_are_ignored_and_that_is_said(tmp_path, caplog):
    for others in ({}, {"profile": "fp32"}, {"weights": "b" * 64}):
        store = open_store(tmp_path, **others)
        keep(store, chain(store, "a", 1))
    open_store(tmp_path, layout="tally 0")  # it has no pages
    assert len(caplog.records) == 1
    caplog.clear()
    open_store(tmp_path)
    assert not caplog.records
    open_store(tmp_path, numerics="2")
    versions = "(format 1, numerics 1, layout tally 1)"
    said = f"prefix cache {tmp_path}: it has pages of this model from another version {versions}, which are ignored"
    assert [record.getMessage() for record in caplog.records] == [said]


@examples(60)
@given(st.data())
def test_a_damaged_page_is_removed_and_said_once(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    store = open_store(folder)
    keys = chain(store, "a", 6)
    keep(store, keys)
    struck = data.draw(st.integers(0, 5))
    path = folder / store.root.hex()[:32] / keys[struck].hex()
    content = bytearray(path.read_bytes())
    match data.draw(st.sampled_from(["flip", "cut", "grow", "empty"])):
        case "flip":
            bit = data.draw(st.integers(0, 8 * FILE - 1))
            content[bit // 8] ^= 1 << bit % 8
        case "cut":
            del content[data.draw(st.integers(1, FILE - 1)) :]
        case "grow":
            content += b"\0"
        case "empty":
            content.clear()
    path.write_bytes(content)
    assert found(store, keys) == struck
    assert not path.exists()
    assert store.counts.damaged == 1
    keep(store, keys)
    assert found(store, keys) == 6


def test_damage_is_said_once(tmp_path, caplog):
    store = open_store(tmp_path)
    keys = chain(store, "a", 6)
    keep(store, keys)
    for path in files(tmp_path):
        path.write_bytes(b"intact page\n")
    for key in keys:
        assert list(store.read([key])) == []
    assert store.counts.damaged == 6
    (record,) = caplog.records
    assert re.fullmatch(rf"prefix cache {tmp_path}: page \w+ is damaged; .*", record.getMessage())


def test_a_page_under_the_name_of_another_is_refused(tmp_path):
    store = open_store(tmp_path)
    keys = chain(store, "a", 2)
    keep(store, keys)
    one, two = (tmp_path / store.root.hex()[:32] / key.hex() for key in keys)
    two.write_bytes(one.read_bytes())
    assert found(store, keys) == 1


def test_the_least_recently_used_leave_the_ends_of_texts_first(tmp_path):
    store = open_store(tmp_path, 10 * FILE)
    a, b, c = (chain(store, name, 4) for name in "abc")
    keep(store, a)
    keep(store, b)
    keep(store, a)
    keep(store, c)  # of 12 pages 9 fit with a little room to spare
    assert [found(store, keys) for keys in (a, b, c)] == [4, 1, 4]
    assert size(tmp_path) <= 10 * FILE
    assert store.counts.removed == 3
    keep(store, b)
    assert [found(store, keys) for keys in (a, b, c)] == [1, 4, 4]


def test_a_text_that_is_longer_than_the_bound_is_kept_as_far_as_it_fits(tmp_path):
    store = open_store(tmp_path, 5 * FILE + 7)
    keep(store, chain(store, "old", 3))
    keys = chain(store, "a", 9)
    keep(store, keys)
    assert found(store, keys) == 5
    assert size(tmp_path) == 5 * FILE
    assert store.counts.left_out == 4
    keep(store, keys)
    assert found(store, keys) == 5


def test_the_bound_holds_for_all_models_of_a_folder(tmp_path):
    one, two = open_store(tmp_path, 6 * FILE), open_store(tmp_path, 6 * FILE, weights="b" * 64)
    for i in range(6):
        for store in (one, two):
            keep(store, chain(store, f"{i}", 3))
            assert size(tmp_path) <= 6 * FILE
            assert found(store, chain(store, f"{i}", 3)) == 3


@pytest.mark.parametrize("tally", ["", "x", "0", "99999999", None])
def test_a_wrong_sum_of_the_files_is_found_out(tmp_path, tally):
    store = open_store(tmp_path, 4 * FILE)
    keep(store, chain(store, "a", 3))
    if tally is None:
        (tmp_path / ".bytes").unlink()
    else:
        (tmp_path / ".bytes").write_text(tally)
    for name in "bcde":
        keep(store, chain(store, name, 3))
        assert found(store, chain(store, name, 3)) == 3
    assert size(tmp_path) <= 4 * FILE


def test_what_a_killed_writer_left_is_removed(tmp_path):
    store = open_store(tmp_path, 4 * FILE)
    part = tmp_path / store.root.hex()[:32] / f"{'c' * 64}.{'d' * 16}.part"
    part.write_bytes(b"x" * 500)
    foreign = tmp_path / "notes.txt"
    foreign.write_text("mine")
    for name in "ab":
        keep(store, chain(store, name, 3))
    assert not part.exists()
    assert foreign.read_text() == "mine"


@pytest.mark.parametrize("limit", [1, FILE - 1])
def test_a_bound_that_holds_no_page_is_refused(tmp_path, limit):
    with pytest.raises(ParameterError, match="prefix_cache_bytes must be at least 1,076, the size of a page, got"):
        open_store(tmp_path, limit)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ParameterError, match=r"prefix_cache: .*file cannot be used as a folder of pages: "):
        open_store(tmp_path / "file")


def test_a_folder_that_goes_away_costs_time_alone(tmp_path, caplog):
    folder = tmp_path / "pages"
    store = open_store(folder)
    keys = chain(store, "a", 2)
    keep(store, keys)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    folder.write_text("in its place")
    assert found(store, keys) == 0
    keep(store, keys)
    keep(store, chain(store, "b", 2))
    assert [record.getMessage() for record in caplog.records if "cannot be written" in record.getMessage()] != []
    assert len(caplog.records) <= 2
    folder.unlink()
    folder.mkdir()
    keep(store, keys)
    assert found(store, keys) == 2


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from engine.test_page_store import chain, found, keep, open_store, FILE
store = open_store(Path(sys.argv[1]), 12 * FILE)
for i in range(int(sys.argv[3])):
    name = f"{i % 5}" if i % 2 else f"{sys.argv[2]} {i}"
    keep(store, chain(store, name, 4))
    found(store, chain(store, name, 4))  # as they were, or not there
print(store.counts.written)
"""


def start(script, *words, **options):
    paths = [str(Path(intact.__file__).parents[1]), str(Path(__file__).parents[1])]
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words), paths[1]],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def test_processes_share_a_folder_within_its_bound(tmp_path):
    writers = [start(WRITER, tmp_path, name, 60) for name in range(3)]
    most = 0
    while any(writer.poll() is None for writer in writers):
        most = max(most, len(files(tmp_path)))
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    most = max(most, len(files(tmp_path)))
    assert sum(int(writer.stdout.read()) for writer in writers) > 60
    assert most > 8
    assert size(tmp_path) <= 12 * FILE
    store = open_store(tmp_path, 12 * FILE)
    assert sum(found(store, chain(store, f"{i}", 4)) for i in range(5)) > 0


@pytest.mark.parametrize("tenths", range(1, 4))
def test_a_writer_may_be_killed_at_any_time(tmp_path, tenths):
    writer = start(WRITER, tmp_path, "x", 1_000_000)
    while len(files(tmp_path)) < 4:
        pass
    signal.sigtimedwait([], tenths / 10)
    writer.kill()
    assert writer.wait() == -signal.SIGKILL
    store = open_store(tmp_path, 12 * FILE)
    for name in "abcd":
        keep(store, chain(store, name, 4))
        assert found(store, chain(store, name, 4)) == 4
    assert size(tmp_path) <= 12 * FILE
    assert all(path.suffix != ".part" for path in files(tmp_path))


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from engine.test_page_store import chain, found, keep, open_store
store = open_store(Path(sys.argv[1]))
keep(store, chain(store, "a", 3))
resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))
keep(store, chain(store, "b", 3))
keep(store, chain(store, "c", 3))
assert found(store, chain(store, "a", 3)) == 3
assert found(store, chain(store, "b", 3)) == 0
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
keep(store, chain(store, "b", 3))
assert found(store, chain(store, "b", 3)) == 3
print(store.counts.as_dict())
"""


def test_a_disk_without_room_costs_the_new_pages_alone_and_is_said_once(tmp_path):
    done = start(FULL, tmp_path, stderr=subprocess.PIPE)
    out, err = done.communicate()
    assert done.returncode == 0, err
    assert "'written': 6" in out
    assert "'left_out': 6" in out
    assert err.count("\n") == 1
    assert f"prefix cache {tmp_path}: it cannot be written (File too large)" in err
    assert all(path.suffix != ".part" for path in files(tmp_path))


FORKED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from engine.test_page_store import chain, found, keep, open_store
store = open_store(Path(sys.argv[1]))
keep(store, chain(store, "a", 20))
assert found(store, chain(store, "a", 20)) == 20
child = os.fork()
if not child:
    ok = found(store, chain(store, "a", 20)) == 20
    keep(store, chain(store, "b", 3))
    os._exit(0 if ok and found(store, chain(store, "b", 3)) == 3 else 1)
assert os.waitpid(child, 0)[1] == 0
assert found(store, chain(store, "b", 3)) == 3
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_reads_and_writes_too(tmp_path):
    assert start(FORKED, tmp_path).wait() == 0


def test_pages_that_were_not_written_yet_are_written_at_the_end_of_the_process(tmp_path):
    script = WRITER.replace(
        "keep(store, chain(store, name, 4))", "store.flush = lambda: None; keep(store, chain(store, name, 4))"
    )
    assert start(script, tmp_path, "x", 1).wait() == 0
    assert len(files(tmp_path)) == 4


# The engine with a folder, over an executor whose draws depend on every token in its pages.


def engine_with(folder, pages=None, limit=1 << 30, partners=0, **options):
    executors = [Tally() for _ in range(1 + partners)]
    stores = [PageStore(folder, IDENTITY | {"weights": f"{i}" * 64}, BYTES, limit) for i in range(1 + partners)]
    cap = None if pages is None else pages * BYTES * (1 + partners)
    return Engine(executors[0], 400, cache_bytes=cap, partners=executors[1:], stores=stores, **options)


def ask(engine, prompt, keys=(1,), limit=5, **fields):
    events: dict = {}
    engine.add(request(prompt, list(keys), limit, events, **fields))
    while engine.queue:
        assert engine.step() or not engine.queue
    for store in engine.stores:
        store.flush()
    return [events[i] for i in range(len(keys))]


def prompt_of(seed, length):
    return np.random.default_rng(seed).integers(0, VOCABULARY, length).tolist()


def test_a_second_start_computes_only_the_end_of_a_prompt(tmp_path):
    prompt = prompt_of(1, 100)
    first = engine_with(tmp_path)
    assert ask(first, prompt, (1, 2)) == [continued(prompt, key, 5) for key in (1, 2)]
    assert first.counters.prefilled == 100
    second = engine_with(tmp_path)
    assert ask(second, prompt, (1, 2)) == [continued(prompt, key, 5) for key in (1, 2)]
    assert (second.counters.prefilled, second.counters.cached_tokens) == (4, 96)
    assert second.stores[0].counts.read == 6
    longer = [*prompt, *prompt_of(2, 30)]
    assert ask(second, longer) == [continued(longer, 1, 5)]
    third = engine_with(tmp_path)
    assert ask(third, longer) == [continued(longer, 1, 5)]
    assert third.counters.cached_tokens == 128


def test_a_prompt_of_whole_pages_still_has_its_last_row_computed(tmp_path):
    prompt = prompt_of(1, 4 * PAGE)
    ask(engine_with(tmp_path), prompt)
    second = engine_with(tmp_path)
    assert ask(second, prompt) == [continued(prompt, 1, 5)]
    assert second.counters.cached_tokens == 3 * PAGE


def test_all_streams_of_a_mix_are_kept_each_for_its_model(tmp_path):
    prompt, other, partners = prompt_of(1, 50), prompt_of(2, 70), prompt_of(3, 40)
    fields = {"mixing": mixing([(0, other), (1, partners)])}
    for saved in (0, 48 + 64 + 32):
        engine = engine_with(tmp_path, partners=1)
        assert ask(engine, prompt, **fields) == [continued(prompt, 1, 5, [other, partners])]
        assert engine.counters.cached_tokens == saved


def test_texts_that_are_written_are_not_kept_only_prompts(tmp_path):
    engine = engine_with(tmp_path)
    ask(engine, prompt_of(1, 20), limit=90)
    assert engine.stores[0].counts.written == 1


@examples(25)
@given(st.data())
def test_whatever_is_lost_or_damaged_the_texts_are_their_own(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("pages")
    draw = data.draw
    for _ in range(draw(st.integers(2, 4))):  # processes, one after the other
        pages = draw(st.sampled_from([None, 12, 30]))
        chunk = draw(st.sampled_from([3, 16, 256]))
        engine = engine_with(folder, pages, draw(st.sampled_from([4, 9, 100])) * FILE, chunk=chunk)
        asked = []
        for _ in range(draw(st.integers(1, 5))):
            prompt = prompt_of(0, draw(st.sampled_from([10, 33, 64, 100]))) + prompt_of(1, draw(st.integers(1, 40)))
            keys, events = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3)), {}
            engine.add(request(prompt, keys, 9, events))
            asked.append((prompt, keys, events))
            for _ in range(draw(st.integers(0, 6))):
                engine.step()
            if draw(st.booleans()):
                engine.preempt()
        while engine.queue:
            assert engine.step() or not engine.queue
            assert engine.pool.used <= engine.pool.capacity
        for prompt, keys, events in asked:
            for sample, key in enumerate(keys):
                assert events[sample] == continued(prompt, key, 9)
        assert engine.held == 0
        engine.stores[0].close()
        chance = random.Random(draw(st.integers(0, 1 << 30)))  # not drawn: how many files there are depends on time
        for path in files(folder):
            fate = chance.randrange(7)
            if fate == 0:
                path.unlink()
            elif fate == 1:
                content = bytearray(path.read_bytes())
                content[chance.randrange(len(content))] ^= 4
                path.write_bytes(content)
        engine.close()
        assert engine.pool.used == 0
