"""Faults of a cluster: workers killed, slow nodes, a network that is cut and heals, a full disk; no byte differs."""

import json
import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

import intact
from intact.cluster.models import ship
from intact.cluster.pool import opened_pool
from intact.evaluate.cluster import spread
from intact.evaluate.manifest import manifest
from intact.evaluate.plan import plan
from intact.evaluate.run import evaluate
from intact.evaluate.work import How
from intact.reason.backends.native import NativeBackend
from intact.reason.journal import Journal
from intact.solving import JOURNAL
from intact.tasks.choose import choose
from support.clusters import NotingJob, add_node, noted, ray_cluster, units_by_node
from support.namespaces import FAR, in_namespaces, in_own_network
from support.tiny import write_tiny

UNITS = 20


class Prepared:
    """A plan with a tiny model, its result on this machine, and runs of it on clusters."""

    def __init__(self, folder, monkeypatch):
        tasks = folder / "data" / "gsm8k"
        tasks.mkdir(parents=True)
        rows = [{"question": f"What is {i} + {i}?", "answer": f"#### {5 + i % 3}"} for i in range(UNITS)]
        (tasks / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        monkeypatch.setenv("INTACT_DATA", str(folder / "data"))
        self.notes = folder / "notes"
        self.notes.mkdir()
        monkeypatch.setattr(
            "intact.evaluate.cluster.UnitsJob", lambda *given: NotingJob(*given, folder=str(self.notes))
        )
        self.folder, self.path = folder, write_tiny(folder / "tiny.gguf")
        self.backends = {"tiny": NativeBackend(intact.load(self.path, threads=1))}
        self.plan = plan([choose("gsm8k")], "self_consistency", {"n": 2}, sampling={"max_tokens": 16})
        self.alone = evaluate(self.backends, self.plan, How(folder / "alone"))

    def run(self, address, journal, done=None):
        """Run the plan on a cluster, and compare records, traces and journal with those of this machine."""
        seen = []

        def noting(one):
            seen.append(one.unit)
            if done is not None:
                done(len(seen))

        with opened_pool(address, {"tiny": ship(self.path, {"threads": 1})}, journals=journal) as pool:
            worker = spread(pool, lambda planned: manifest(planned, self.backends))
            run = evaluate(self.backends, self.plan, How(journal), done=noting, worker=worker)
            refused = {machine.address: why for machine, why in pool.refused.items()}
        assert (run.records, run.traces) == (self.alone.records, self.alone.traces)
        assert sorted(seen) == list(self.plan.units())
        assert entries(journal) == entries(self.folder / "alone")
        return refused


def entries(folder):
    with Journal(folder / JOURNAL) as kept:
        return dict(kept.items())


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    found = Prepared(tmp_path, monkeypatch)
    yield found
    found.backends["tiny"].model.close()


def kill_at_random(prepared, seed, kills, runs):
    """Run a plan several times, and kill a worker at so many random moments in each; return how many died."""
    died = 0
    rng = random.Random(seed)
    with ray_cluster() as cluster:
        for node in ("first", "second"):
            add_node(cluster, NODE=node, DELAY="0.05")
        for number in range(runs):
            moments = sorted(rng.sample(range(1, UNITS - 2), kills))
            waits = [rng.uniform(0, 0.1) for _ in moments]

            def done(count, moments=moments, waits=waits):
                nonlocal died
                if moments and count >= moments[0]:
                    moments.pop(0)
                    time.sleep(waits.pop())  # workers go on meanwhile
                    alive = [pid for pid in noted(prepared.notes) if Path("/proc", str(pid)).exists()]
                    with suppress(ProcessLookupError, IndexError):
                        os.kill(rng.choice(alive), signal.SIGKILL)
                        died += 1

            prepared.run(cluster.address, prepared.folder / f"spread{number}", done)
    return died


@pytest.mark.slow
def test_workers_killed_at_random_moments_change_no_byte(prepared):
    assert kill_at_random(prepared, seed=11, kills=4, runs=1) >= 3


@pytest.mark.slow
@pytest.mark.nightly
def test_twenty_kills_at_random_moments_over_four_runs_change_no_byte(prepared):
    assert kill_at_random(prepared, seed=12, kills=6, runs=4) >= 20


@pytest.mark.slow
def test_a_slow_node_does_less_and_holds_up_nobody_for_long(prepared):
    with ray_cluster() as cluster:
        add_node(cluster, NODE="fast", DELAY="0.05")
        add_node(cluster, NODE="slow", DELAY="2")
        began = time.monotonic()
        prepared.run(cluster.address, prepared.folder / "spread")
        seconds = time.monotonic() - began
    units = units_by_node(prepared.notes)
    assert units["fast"] > 2 * units["slow"]
    assert seconds < UNITS / 2 * 2 + 60  # what halves would take, and the start of Ray


@pytest.mark.slow
@in_own_network
def test_a_network_that_is_cut_and_heals_changes_no_byte(prepared):
    """A short cut is waited for; after a long one the node counts as lost, its problems are done by the other."""
    with in_namespaces(prepared.folder) as cluster:
        lost = threading.Event()

        def done(count):
            if count == 3:
                cluster.cut(heal_after=1.0)
            if count == 9:
                cluster.cut()
                lost.set()

        refused = prepared.run(cluster.address, prepared.folder / "spread", done)
        assert lost.is_set()
        assert refused == {}
        units = units_by_node(prepared.notes)
        assert units["near"] > 0
        cluster.heal()
        cluster.wait_for_loss()
    assert sum(units.values()) >= UNITS


@pytest.mark.slow
@in_own_network
def test_a_node_whose_disk_is_full_is_refused_by_name_and_the_others_do_the_work(prepared):
    with in_namespaces(prepared.folder, disk="16k") as cluster:
        refused = prepared.run(cluster.address, prepared.folder / "spread")
    (why,) = refused.values()
    assert list(refused) == [FAR]
    assert "tiny.gguf cannot be kept in " in why
    assert "No space left on device, after " in why
    assert set(units_by_node(prepared.notes)) == {"near"}
