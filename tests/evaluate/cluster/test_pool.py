"""Work on several Ray nodes: workers are killed, machines join late or are refused, and the bits stay those of one."""

import json
import os
import random
import signal
from contextlib import suppress
from dataclasses import replace

import pytest

import intact
from intact._base.errors import JournalError, WorkerError
from intact.evaluate.cluster.models import ship
from intact.evaluate.cluster.pool import opened_pool
from intact.evaluate.manifest import manifest
from intact.evaluate.on_cluster import spread
from intact.evaluate.plan import plan
from intact.evaluate.run import evaluate
from intact.evaluate.work import How
from intact.reason.backends.native import NativeBackend
from intact.reason.driving.journal import Journal, key_of
from intact.solving.run import JOURNAL
from intact.tasks.choose import choose
from support.clusters import NotingJob, add_node, noted, ray_cluster
from support.tiny import write_tiny


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A plan of 24 problems with a tiny model, and its result on this machine."""
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    rows = [{"question": f"What is {i} + {i}?", "answer": f"#### {5 + i % 3}"} for i in range(24)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("INTACT_DATA", str(tmp_path / "data"))
    path = write_tiny(tmp_path / "tiny.gguf")
    backends = {"tiny": NativeBackend(intact.load(path, threads=1))}
    planned = plan([choose("gsm8k")], "self_consistency", {"n": 4}, sampling={"max_tokens": 24})
    yield path, backends, planned, evaluate(backends, planned, How(tmp_path / "alone"))
    backends["tiny"].model.close()


def entries(folder):
    with Journal(folder / JOURNAL) as kept:
        return dict(kept.items())


@pytest.mark.slow
def test_workers_killed_at_random_moments_and_one_that_joins_late_on_another_tier_change_no_byte(
    prepared, tmp_path, monkeypatch
):
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    path, backends, planned, alone = prepared
    pids, journal, rng = tmp_path / "pids", tmp_path / "spread", random.Random(7)
    pids.mkdir()
    monkeypatch.setattr("intact.evaluate.on_cluster.UnitsJob", lambda *given: NotingJob(*given, folder=str(pids)))
    kills, count, seen = sorted(rng.sample(range(1, 20), 4)), 0, []

    with ray_cluster() as cluster:
        first = add_node(cluster, NODE="first")

        def done(one):
            nonlocal count
            count += 1
            seen.append(one.unit)
            if count == 8:
                add_node(cluster, NODE="late", INTACT_ISA="scalar")
            if count == 16:  # what is left is the late one's
                cluster.remove_node(first)
            if count in kills:
                for pid in rng.sample(sorted(noted(pids)), len(noted(pids))):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        break

        shipments = {"tiny": ship(path, {"threads": 1})}
        with opened_pool(cluster.address, shipments, journals=journal) as pool:
            worker = spread(pool, lambda planned: manifest(planned, backends))
            run = evaluate(backends, planned, How(journal), done=done, worker=worker)
            assert pool.refused == {}
    assert (run.records, run.traces) == (alone.records, alone.traces)
    assert sorted(seen) == list(planned.units())
    assert entries(journal) == entries(tmp_path / "alone")
    workers = noted(pids).values()
    assert len(workers) >= 4
    assert {one["tier"] for one in workers if one["node"] == "late"} == {"scalar"}
    assert "scalar" not in {one["tier"] for one in workers if one["node"] == "first"}


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced_and_its_problems_are_done_by_others(prepared, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    path, backends, planned, alone = prepared
    pids, seen, stopped = tmp_path / "pids", [], []
    pids.mkdir()
    monkeypatch.setattr("intact.evaluate.on_cluster.UnitsJob", lambda *given: NotingJob(*given, folder=str(pids)))
    monkeypatch.setattr("intact.evaluate.cluster.pool.BEAT", 0.2)
    monkeypatch.setattr("intact.evaluate.cluster.pool.SILENT", 3.0)

    def done(one):
        seen.append(one.unit)
        if len(seen) == 3:
            stopped.append(min(noted(pids)))
            os.kill(stopped[0], signal.SIGSTOP)

    with ray_cluster() as cluster:
        add_node(cluster)
        with opened_pool(cluster.address, {"tiny": ship(path, {"threads": 1})}, count=2) as pool:
            try:
                run = evaluate(backends, planned, done=done, worker=spread(pool, lambda one: manifest(one, backends)))
            finally:
                for pid in stopped:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
    assert (run.records, run.traces) == (alone.records, alone.traces)
    assert sorted(seen) == list(planned.units())
    assert stopped


@pytest.mark.slow
def test_a_machine_with_another_version_is_refused_by_name_and_the_others_do_the_work(prepared, tmp_path):
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    path, backends, planned, alone = prepared
    other = tmp_path / "other" / "intact"
    (other / "numerics").mkdir(parents=True)
    (other / "__init__.py").write_text("__version__ = '0.0.1'")
    (other / "numerics" / "__init__.py").write_text("VERSION = 'none'")
    shipments = {"tiny": ship(path, {"threads": 1})}
    with ray_cluster() as cluster:
        add_node(cluster, PYTHONPATH=str(other.parent))
        with opened_pool(cluster.address, shipments) as pool:
            worker = spread(pool, lambda planned: manifest(planned, backends))
            with pytest.raises(WorkerError, match=r"no machine .* its version of intact is 0.0.1; expected"):
                evaluate(backends, planned, worker=worker)
            add_node(cluster)
            run = evaluate(backends, planned, worker=worker)
            (why,) = pool.refused.values()
        assert (run.records, run.traces) == (alone.records, alone.traces)
        assert why == f"its version of intact is 0.0.1; expected {intact.__version__}"
        damaged = {"tiny": replace(shipments["tiny"], options={"threads": 1, "profile": "mxint8"})}
        with opened_pool(cluster.address, damaged) as pool:
            worker = spread(pool, lambda planned: manifest(planned, backends))
            with pytest.raises(WorkerError, match="it would compute something else: models is"):
                evaluate(backends, planned, worker=worker)


def test_a_damaged_entry_from_elsewhere_is_not_kept(tmp_path):
    key = key_of("a request")
    with Journal(tmp_path / "one") as one, Journal(tmp_path / "two") as two:
        one.add(key, ["a text"])
        stored = one.find_stored(key)
        two.add_stored({key: stored})
        assert two.find(key) == ["a text"]
        with pytest.raises(JournalError, match=f"the entry {key_of('other').hex()} was damaged when read"):
            two.add_stored({key_of("other"): stored})
        assert two.find(key_of("other")) is None
