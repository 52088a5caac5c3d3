"""Faults of a cluster: workers killed, slow nodes, a network that is cut and heals, a full disk; no byte differs."""

import json
import logging
import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress

import pytest

import intact
from intact.evaluate.cluster.models import ship
from intact.evaluate.cluster.pool import opened_pool
from intact.evaluate.manifest import manifest
from intact.evaluate.on_cluster import spread
from intact.evaluate.plan import plan
from intact.evaluate.run import evaluate
from intact.evaluate.work import How
from intact.reason.backends.native import NativeBackend
from intact.reason.driving.journal import Journal
from intact.solving.run import JOURNAL
from intact.tasks.choose import choose
from support.clusters import NotingJob, add_node, environment, ray_cluster, units_by_node, workers_of
from support.namespaces import HERE, in_own_network, network_of, wait_until
from support.tiny import write_tiny

UNITS = 20
HELD = 8
"""Most units that one of two workers can hold while it hands over none: 5 and 3, if it is there first."""
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}
"""A node that does not answer for about 15 seconds counts as lost."""


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
            "intact.evaluate.on_cluster.UnitsJob", lambda *given: NotingJob(*given, folder=str(self.notes))
        )
        self.release = folder / "release"
        """The file for which nodes wait whose variable HOLD names it."""
        self.folder, self.path = folder, write_tiny(folder / "tiny.gguf")
        self.backends = {"tiny": NativeBackend(intact.load(self.path, threads=1))}
        self.plan = plan([choose("gsm8k")], "self_consistency", {"n": 2}, sampling={"max_tokens": 16})
        self.alone = evaluate(self.backends, self.plan, How(folder / "alone", receipt=True))

    @property
    def units(self):
        """How many units the nodes have done."""
        return units_by_node(self.notes)

    def run(self, address, journal, done=lambda count: None):
        """Run the plan on a cluster; compare records, traces, receipts and journal with those of this machine."""
        seen = []

        def noting(one):
            seen.append(one.unit)
            done(len(seen))

        with opened_pool(address, {"tiny": ship(self.path, {"threads": 1})}, journals=journal) as pool:
            worker = spread(pool, lambda planned: manifest(planned, self.backends))
            run = evaluate(self.backends, self.plan, How(journal, receipt=True), done=noting, worker=worker)
            refused = {machine.address: why for machine, why in pool.refused.items()}
        assert (run.records, run.traces) == (self.alone.records, self.alone.traces)
        assert [one.encode() for one in run.receipts] == [one.encode() for one in self.alone.receipts]
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


class Killer:
    """A thread that kills workers of nodes at random moments of a run, whatever they are doing: also while they load.

    Parameters
    ----------
    kills : int
        At most 5: a problem that meets six deaths is an error.
    """

    def __init__(self, nodes, rng, kills):
        assert kills <= 5
        self.nodes, self.killed, self.count = nodes, 0, 0
        self._moments = [(moment, rng.uniform(0, 0.3)) for moment in sorted(rng.choices(range(UNITS - 4), k=kills))]
        self._rng, self._ended = rng, threading.Event()
        self._thread = threading.Thread(target=self._kill)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def done(self, count):
        """Note how many units have ended."""
        self.count = count

    def _kill(self):
        for moment, seconds in self._moments:
            while self.count < moment and not self._ended.wait(0.01):
                pass
            self._ended.wait(seconds)
            while not (alive := [pid for node in list(self.nodes) for pid in workers_of(node)]):
                if self._ended.wait(0.05):
                    return
            if self._ended.is_set():
                return
            with suppress(ProcessLookupError):
                os.kill(self._rng.choice(alive), signal.SIGKILL)
                self.killed += 1


def kill_at_random(prepared, seed, kills):
    """Run the plan again and again, a worker being killed up to five times in each, until so many have died."""
    died, rng = 0, random.Random(seed)
    with ray_cluster() as cluster:
        nodes = [add_node(cluster, NODE=node, DELAY="0.05") for node in ("first", "second")]
        for number in range(2 + kills):
            with Killer(nodes, rng, min(5, kills - died)) as killer:

                def done(count, killer=killer):
                    killer.done(count)
                    if count == UNITS // 2 and len(nodes) < 3:
                        nodes.append(add_node(cluster, NODE="late", DELAY="0.05"))

                prepared.run(cluster.address, prepared.folder / f"spread{number}", done)
            died += killer.killed
            if died >= kills:
                break
    assert died == kills


@pytest.mark.nightly
def test_workers_killed_at_random_moments_change_no_byte(prepared):
    kill_at_random(prepared, seed=11, kills=3)


@pytest.mark.nightly
def test_twenty_kills_at_random_moments_and_a_node_that_joins_change_no_byte(prepared):
    kill_at_random(prepared, seed=12, kills=20)


@pytest.mark.nightly
def test_a_node_that_stands_still_holds_up_only_what_it_has_begun(prepared):
    def done(count):
        if prepared.units["fast"] >= UNITS - HELD:
            prepared.release.touch()

    with ray_cluster() as cluster:
        add_node(cluster, NODE="still", HOLD=str(prepared.release))
        add_node(cluster, NODE="fast", DELAY="0.02")
        prepared.run(cluster.address, prepared.folder / "spread", done)
    assert prepared.units["fast"] >= UNITS - HELD
    assert prepared.units.total() == UNITS


@pytest.mark.nightly
@in_own_network
def test_a_network_that_is_cut_and_heals_changes_no_byte(prepared):
    """A short cut is waited for; after a long one the node counts as lost, and its problems are done by the other."""
    with network_of(1) as (far,), ray_cluster(HERE, **HEALTH) as cluster:
        add_node(cluster, HERE, NODE="near", HOLD=str(prepared.release))
        node = start_far(far, cluster, prepared, NODE="far", DELAY="0.2")
        cuts = []

        def done(count):
            if not cuts:
                cuts.append("short")
                far.cut()
                time.sleep(1)
                far.heal()
            elif len(cuts) == 1 and prepared.units["far"] >= 4:
                cuts.append("long")
                far.cut()
                prepared.release.touch()

        assert prepared.run(cluster.address, prepared.folder / "spread", done) == {}
        assert cuts == ["short", "long"]
        far.heal()
        wait_until(lambda: node.poll() is not None, "the end of the node that counts as lost")
    assert prepared.units["near"] > 0


@pytest.mark.nightly
@in_own_network
def test_a_node_whose_disk_is_full_is_refused_by_name_and_the_others_do_the_work(prepared, monkeypatch):
    home = prepared.folder / "home"
    home.mkdir()
    small = f"mount -t tmpfs -o size=16k none {home}"
    hidden = f"mount --bind /dev/null {prepared.path}"  # so that the far node must pull the model
    monkeypatch.setattr(logging.getLogger("intact"), "warning", lambda *_: prepared.release.touch())  # at a refusal
    with network_of(1, f"{small} && {hidden}") as (far,), ray_cluster(HERE) as cluster:
        add_node(cluster, HERE, NODE="near", HOLD=str(prepared.release))
        start_far(far, cluster, prepared, NODE="far", INTACT_HOME=str(home))
        refused = prepared.run(cluster.address, prepared.folder / "spread")
    (why,) = refused.values()
    assert list(refused) == [far.address]
    assert "tiny.gguf cannot be stored in " in why
    assert "No space left on device, after " in why
    assert set(prepared.units) == {"near"}


def start_far(far, cluster, prepared, **variables):
    """Start a node with one processor on a machine of a network, and wait until the cluster knows it."""
    options = [f"--address={cluster.address}", f"--node-ip-address={far.address}", "--num-cpus=1"]
    line = [sys.executable, "-m", "ray.scripts.scripts", "start", *options, "--object-store-memory=83886080", "--block"]
    log = prepared.folder / "far.log"
    return far.start(line, log, **environment(), **HEALTH, **variables)
