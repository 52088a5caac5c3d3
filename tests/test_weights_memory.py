"""Weights mapped from disk under a cap of memory: the same bits, resident pages below the cap, damage noticed."""

import hashlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import intact
from intact._base.errors import CapacityError, ParameterError
from intact._base.system import can_page
from intact.executors import weight_store
from intact.executors.native import available_tiers
from intact.models import ARCHITECTURES
from intact.receipts.verify import verify
from support.patience import PATIENCE
from support.tiny import write_tiny

pytestmark = pytest.mark.skipif(not can_page(), reason="mapped weights need Linux")

TEXT = [(53 * i * i + 7 * i + 40) % 256 + 3 for i in range(70)]
OPTIONS = {"max_tokens": 12, "temperature": 0.8, "seed": 3, "logprobs": True, "ignore_eos": True}
MODELS = {
    "llama": {"layers": 6, "width": 256, "hidden": 768, "kinds": ("Q4_0", "F16", "Q8_0", "Q4_1", "IQ4_NL")},
    "qwen3moe": {"layers": 4, "width": 256, "hidden": 256},
    "gemma3": {"layers": 6, "width": 256, "hidden": 768, "tied": True, "kinds": ("Q4_K", "Q6_K", "Q5_K", "TQ1_0")},
}
EXPERTS = {"expert_count": 12, "expert_used_count": 2, "expert_feed_forward_length": 192}
FOLDER = "packed"


def write(path, architecture, experts=EXPERTS, **options):
    """Write a random model; a mixture has these experts."""
    known = ARCHITECTURES[architecture]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known, "sample", dict(known.sample) | (experts if known.mixture else {}))
        return write_tiny(path, architecture, **options)


@pytest.fixture(scope="module", params=MODELS)
def path(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp("model") / f"{request.param}.gguf", request.param, **MODELS[request.param])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def least(path, **options):
    """Return the least cap of a model, as the refusal of less says it."""
    with pytest.raises(ParameterError, match="weights_memory must be at least") as refusal:
        intact.load(path, weights_memory=1, **options)
    return int(str(refusal.value).split("at least ")[1].split()[0])


def packed(home):
    return sorted((home / FOLDER).glob("*.weights"))


def answers(model):
    """Return texts of several prompts, drawn together, and logits."""
    return model.generate([TEXT[:n] for n in (60, 5, 33)], n=2, **OPTIONS), model.logits(TEXT, raw=True)[0]


def assert_equal(found, expected):
    assert found[0] == expected[0]
    assert np.array_equal(found[1], expected[1])


@pytest.mark.parametrize("profile", ["int8", "mxfp8"])
def test_bits_are_those_of_weights_in_memory(path, profile):
    if profile == "mxfp8" and path.stem == "qwen3moe":
        pytest.skip("mixtures do not run in this profile")
    with intact.load(path, profile, threads=1) as model:
        expected, size = answers(model), model.info()["weight_bytes"]
    smallest = least(path, profile=profile)
    settings = [(smallest, 2, 16), (smallest, 1, 256), (max(smallest, size // 2), 2, 256), (2 * size, 2, 7)]
    for cap, threads, chunk in settings[:: 1 if profile == "int8" else 2]:
        with intact.load(path, profile, threads=threads, chunk=chunk, weights_memory=cap) as model:
            assert_equal(answers(model), expected)
            paged = model.executor.paged
        assert 0 < paged.here <= paged.most <= cap
        assert (paged.dropped > 0) == (cap < size)


def test_bits_are_the_same_on_every_tier_from_one_file(path, home, monkeypatch):
    with intact.load(path, threads=1) as model:
        expected = answers(model)
    cap, states = least(path), set()
    for tier in available_tiers():
        monkeypatch.setenv("INTACT_ISA", tier)
        with intact.load(path, threads=2, weights_memory=cap) as model:
            assert model.info()["tier"] == tier
            assert_equal(answers(model), expected)
        [file] = packed(home)
        states.add((file.stat().st_ino, file.stat().st_mtime_ns))
    assert len(states) == 1


def test_models_in_one_folder_keep_out_of_each_other_s_way(tmp_path, small, home):
    other = write_tiny(tmp_path / "other.gguf", "gemma3")
    for one in (other, small, other):
        for bits in (8, 4):
            with intact.load(one, bits=bits) as model:
                expected = answers(model)
            with intact.load(one, bits=bits, weights_memory="1GB") as model:
                assert_equal(answers(model), expected)
    assert len(packed(home)) == 4


def test_receipts_are_the_same_and_verify(path):
    with intact.load(path) as plain, intact.load(path, weights_memory=least(path)) as mapped:
        [[one]], [[other]] = (model.generate(TEXT, **OPTIONS, receipt=True) for model in (plain, mapped))
        assert one.receipt.encode() == other.receipt.encode()
        assert [verdict.outcome for verdict in verify(mapped, [other.receipt])] == ["true"]


def test_a_second_load_packs_nothing_and_verifies_once(small, home, monkeypatch):
    intact.load(small, weights_memory="1GB").close()
    [file] = packed(home)
    monkeypatch.setattr(weight_store, "write_weights", lambda *_: pytest.fail("packed again"))
    clock = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: clock() + 10_000_000_000)  # what changed a moment ago is not trusted
    verified = []
    real = weight_store.WeightFile.verify
    monkeypatch.setattr(weight_store.WeightFile, "verify", lambda self, threads: verified.append(real(self, threads)))
    for _ in range(3):
        intact.load(small, weights_memory="1GB").close()
    assert len(verified) == 1
    file.write_bytes(file.read_bytes())  # another state: nothing is remembered of it
    intact.load(small, weights_memory="1GB").close()
    assert len(verified) == 2


def cut(data):
    return data[: len(data) * 2 // 3]


def flip(place):
    def flipped(data):
        changed = bytearray(data)
        changed[place(data)] ^= 16
        return bytes(changed)

    return flipped


DAMAGE = {
    "cut": cut,
    "empty": lambda _: b"",
    "of a few bytes": lambda data: data[:100],
    "magic": flip(lambda _: 3),
    "key": flip(lambda _: 30),
    "place of the index": flip(lambda _: 60),
    "first matrix": flip(lambda _: 4096),
    "middle": flip(lambda data: len(data) // 2),
    "index": flip(lambda data: len(data) - 5),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_made_again(small, home, damage, caplog):
    with intact.load(small) as model:
        expected = answers(model)
    intact.load(small, weights_memory="1GB").close()
    [file] = packed(home)
    good = file.read_bytes()
    file.write_bytes(damage(good))
    with intact.load(small, weights_memory="1GB") as model:
        assert_equal(answers(model), expected)
    assert file.read_bytes() == good
    assert "should be made again" in caplog.text


def test_a_file_that_is_replaced_under_a_process_stays_as_it_was_mapped(small, home):
    with intact.load(small, weights_memory="1GB") as model:
        expected = answers(model)
        shutil.rmtree(home / FOLDER)
        assert_equal(answers(model), expected)
        with intact.load(small, weights_memory="1GB") as other:
            assert_equal(answers(other), expected)


LOADS = """
import sys, intact
with intact.load(sys.argv[1], weights_memory=int(sys.argv[2])) as model:
    print(model.logits(list(range(3, 60)), raw=True)[0].tobytes().hex())
"""


def start(path, cap, script=LOADS):
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path), str(cap)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_processes_at_once_make_one_file(small, home):
    with intact.load(small) as model:
        expected = model.logits(list(range(3, 60)), raw=True)[0].tobytes().hex()
    processes = [start(small, 1 << 30) for _ in range(2)]
    for process in processes:
        out, error = process.communicate(timeout=PATIENCE)
        assert out.strip() == expected, error
    assert len(packed(home)) == 1


def test_what_a_killed_writer_left_is_removed(small, home):
    (home / FOLDER).mkdir(parents=True)
    (home / FOLDER / "0123.weights.4567.part").write_bytes(b"half")
    intact.load(small, weights_memory="1GB").close()
    assert not list((home / FOLDER).glob("*.part"))


def test_the_folder_is_bounded_and_the_model_used_longest_ago_goes(tmp_path, home, monkeypatch):
    paths = [write_tiny(tmp_path / f"{seed}.gguf", seed=seed) for seed in range(3)]
    intact.load(paths[0], weights_memory="1GB").close()
    [first] = packed(home)
    monkeypatch.setattr(weight_store, "_estimate", lambda _: first.stat().st_size)
    monkeypatch.setattr(weight_store.map_packed, "__defaults__", (int(2.5 * first.stat().st_size),))
    intact.load(paths[1], weights_memory="1GB").close()
    intact.load(paths[0], weights_memory="1GB").close()
    [second] = set(packed(home)) - {first}
    intact.load(paths[2], weights_memory="1GB").close()
    assert first in packed(home)
    assert second not in packed(home)
    assert len(packed(home)) == 2


def test_a_full_disk_is_refused_before_anything_is_written(small, home, monkeypatch):
    usage = SimpleNamespace(free=1000)
    monkeypatch.setattr(weight_store.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CapacityError, match=r"too little room for packed weights: they need about .* 1,000 are free"):
        intact.load(small, weights_memory="1GB")
    assert not packed(home)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_disk_that_fills_while_it_is_written_leaves_nothing(small, home, monkeypatch):
    real = weight_store.write_weights

    def to_full_disk(file, *rest):
        with Path("/dev/full").open("wb", buffering=0) as full:
            real(full, *rest)

    monkeypatch.setattr(weight_store, "write_weights", to_full_disk)
    with pytest.raises(CapacityError, match="too little room for packed weights"):
        intact.load(small, weights_memory="1GB")
    assert not [file for file in (home / FOLDER).iterdir() if file.suffix in (".weights", ".part")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights_memory": 0}, "weights_memory must be an integer from 1"),
        ({"weights_memory": "much"}, "weights_memory must be a size such as 300MB"),
        ({"executor": "reference"}, "weights_memory needs the native executor"),
        ({"profile": "fp32"}, "weights_memory needs an integer profile"),
        ({"tensor_parallel": 2}, "weights_memory and tensor_parallel cannot be combined"),
    ],
)
def test_what_does_not_go_with_it_is_refused(small, home, options, message):
    with pytest.raises(ParameterError, match=message):
        intact.load(small, **({"weights_memory": "1GB"} | options))
    assert not packed(home)


GENERATES = """
import hashlib, json, os, sys, time
import intact
intact.load
def resident():
    with open("/proc/self/status") as file:
        return sum(int(line.split()[1]) * 1024 for line in file if line.startswith(("RssAnon", "RssFile")))
print(resident(), flush=True)
sys.stdin.readline()
model = intact.load(sys.argv[1], weights_memory=int(sys.argv[2]), cache_bytes=2_000_000, prefix_cache=False)
[[text]] = model.generate(list(range(3, 120)), max_tokens=24, ignore_eos=True)
logits = hashlib.sha256(model.logits(list(range(3, 60)), raw=True)[0]).hexdigest()
print(json.dumps([list(text.tokens), logits, model.info()["weight_bytes"], model.executor.paged]), flush=True)
sys.stdin.readline()
"""


def mapped_bytes(process, name):
    """Return the resident bytes of a process's maps of a file, and all its resident bytes."""
    mine, inside = 0, False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            inside = line.endswith(name)
        elif inside and line.startswith("Rss:"):
            mine += int(line.split()[1]) * 1024
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    anonymous, of_files = (int(line.split()[1]) * 1024 for line in status if line.startswith(("RssAnon", "RssFile")))
    return mine, anonymous + of_files, anonymous


OTHERS = 24_000_000
"""Bytes beside weights that a loaded model of these tests takes: tokenizer, pages of the cache, rows of a step."""
LARGE = {
    "llama": {"layers": 24, "width": 512, "hidden": 1536, "heads": 8, "kv_heads": 2, "head_width": 64},
    "qwen3moe": {"layers": 8, "width": 512, "hidden": 512},
}
MANY = {"expert_count": 16, "expert_used_count": 2, "expert_feed_forward_length": 512}


@pytest.mark.parametrize("architecture", LARGE)
def test_resident_memory_stays_below_the_cap_with_a_model_of_twice_the_cap(tmp_path, home, architecture):
    path = write(tmp_path / "large.gguf", architecture, MANY, kinds=["Q8_0"], **LARGE[architecture])
    with intact.load(path) as model:
        [[text]] = model.generate(list(range(3, 120)), max_tokens=24, ignore_eos=True)
        expected = [list(text.tokens), hashlib.sha256(model.logits(list(range(3, 60)), raw=True)[0]).hexdigest()]
        size = model.info()["weight_bytes"]
    cap = size // 2
    for run in ("packs", "cold"):
        if run == "cold":
            for file in packed(home):
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
                    os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with subprocess.Popen(
            [sys.executable, "-c", GENERATES, str(path), str(cap)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            before = int(process.stdout.readline())
            process.stdin.write("\n")
            process.stdin.flush()
            samples = []
            while not select.select([process.stdout], [], [], 0.05)[0] or not samples:
                # a reading takes a while, in which pages leave that it has counted and others come
                samples.append(min(mapped_bytes(process.pid, ".weights") for _ in range(2)))
            found = json.loads(process.stdout.readline())
            samples.append(mapped_bytes(process.pid, ".weights"))  # the only one with weights if the machine is busy
            process.stdin.close()
        assert found[:2] == expected
        assert found[2] == size
        mine, total, _ = (max(values) for values in zip(*samples, strict=True))
        print(run, before, cap, mine, max(samples, key=lambda sample: sample[1]))
        assert 0 < mine <= cap
        assert total <= before + cap + OTHERS
        assert found[3][3] <= cap
