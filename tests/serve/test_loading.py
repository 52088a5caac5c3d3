"""The progress of loading a model: bytes, stages, the time left, and how clients see it."""

import threading

import httpx
import pytest

import intact
from intact.receipts.identity import digests_of
from intact.serve.loading import WEIGHTS_SHARE, LoadingProgress
from intact.serve.models import Models
from support.patience import PATIENCE
from support.serving import running

ASKED = {"model": "other", "messages": [{"role": "user", "content": "What is 17 + 5?"}], "max_tokens": 2}


def test_all_bytes_of_the_weights_are_counted_as_they_are_read_and_hashed(tiny_path):
    read, hashed = [], []
    with intact.load(tiny_path, threads=1, progress=lambda *given: read.append(given)) as model:
        total = sum(tensor.stored_bytes for tensor in model.program.tensors.values())
        digests = digests_of(model, progress=lambda *given: hashed.append(given))
        tensors = len(model.program.tensors)
    assert digests.tensors == tensors
    for given in (read, hashed):
        done = [one for one, _ in given]
        assert {whole for _, whole in given} == {total}
        assert done == sorted(done)
        assert done[-1] == total
    assert read[0] == (0, total)
    assert len(hashed) == tensors
    assert len(read) > tensors // 2  # those that the program reads as numbers may be requested together


def test_a_model_loaded_with_progress_is_the_same(tiny_path):
    with (
        intact.load(tiny_path, threads=1) as plain,
        intact.load(tiny_path, threads=1, progress=lambda *_: None) as counted,
    ):
        texts = [model.generate("a", max_tokens=4)[0][0].text for model in (plain, counted)]
        assert texts[0] == texts[1]
        assert digests_of(plain) == digests_of(counted)


def test_the_time_left_follows_from_the_speed_of_each_stage():
    now = [10.0]
    progress = LoadingProgress(lambda: now[0])
    now[0] = 13.0
    assert progress.as_dict() == {
        "stage": "opening",
        "bytes": 0,
        "total_bytes": 0,
        "seconds": 3.0,
        "seconds_left": None,
    }
    progress.weights(0, 1000)
    now[0] = 15.0
    progress.weights(20, 1000)
    assert progress.as_dict()["seconds_left"] is None  # too early for an estimate
    now[0] = 20.0
    progress.weights(500, 1000)
    assert progress.as_dict() == {
        "stage": "weights",
        "bytes": 500,
        "total_bytes": 1000,
        "seconds": 10.0,
        "seconds_left": round(7.0 + 14.0 * (1 - WEIGHTS_SHARE) / WEIGHTS_SHARE, 1),
    }
    now[0] = 27.0
    progress.digests(0, 1000)
    now[0] = 29.0
    progress.digests(400, 1000)
    assert progress.as_dict()["seconds_left"] == 3.0
    now[0] = 60.0
    assert progress.as_dict()["seconds_left"] >= 0


def test_an_empty_model_divides_by_nothing():
    progress = LoadingProgress()
    progress.weights(0, 0)
    assert progress.as_dict()["seconds_left"] is None


@pytest.fixture
def held(monkeypatch):
    """Two events: a model named other has begun to load; it may go on."""
    there, may_go, open_model = threading.Event(), threading.Event(), Models._open

    def opened(self, served):
        if served.name == "other":
            served.progress.weights(600, 1000)
            there.set()
            may_go.wait(PATIENCE)
        return open_model(self, served)

    monkeypatch.setattr(Models, "_open", opened)
    yield there, may_go
    may_go.set()


def test_clients_see_how_far_a_model_has_loaded_and_who_waits_for_it(tiny_path, held):
    there, may_go = held
    with running({"tiny": tiny_path, "other": tiny_path}) as server:
        described = lambda: httpx.get(server.url + "/v1/models/other").json()  # noqa: E731
        assert "loading" not in described()
        asked = threading.Thread(target=httpx.post, args=(server.url + "/v1/chat/completions",), kwargs={"json": ASKED})
        asked.start()
        assert there.wait(PATIENCE)
        found = described()
        assert found["status"] == "loading"
        assert found["loading"].items() >= {"stage": "weights", "bytes": 600, "total_bytes": 1000}.items()
        assert found["requests"] == {"running": 0, "waiting": 1}
        listed = httpx.get(server.url + "/v1/models").json()["data"]
        assert "other" in [one["id"] for one in listed if "loading" in one]
        may_go.set()
        asked.join(PATIENCE)
        found = described()
        assert found["status"] == "loaded"
        assert "loading" not in found
        assert found["requests"] == {"running": 0, "waiting": 0}
        server.settle(lambda: server.idle("other"))
