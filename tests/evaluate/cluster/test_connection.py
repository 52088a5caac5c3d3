"""Addresses of clusters: what is none, what does not answer, and Ray that is missing, are named before the work."""

import socket

import pytest

from intact._base.errors import ParameterError, WorkerError
from intact.evaluate.cluster.connection import STARTS, check_cluster, connected
from support.absent import intact_without


@pytest.mark.parametrize("address", ["", "here", "ray://127.0.0.1:10001", "127.0.0.1:", "127.0.0.1:0", ":6379"])
def test_what_is_no_address_is_refused(address):
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    with pytest.raises(ParameterError, match="--ray must be local, auto or HOST:PORT"):
        check_cluster(address)


def test_an_address_that_does_not_answer_is_named_with_the_command_that_starts_a_head():
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(WorkerError, match=f"no Ray cluster answers at 127.0.0.1:{port} .*ray start --head"):
        check_cluster(f"127.0.0.1:{port}")


@pytest.mark.parametrize("failures", [STARTS - 1, STARTS])
def test_a_start_that_takes_ray_too_long_is_tried_again_and_named_in_the_end(monkeypatch, failures):
    ray, tries = pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'"), []

    def init(**_):
        tries.append(1)
        if len(tries) <= failures:
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    if failures < STARTS:
        with connected("local") as found:
            assert found is ray
    else:
        with (
            pytest.raises(WorkerError, match="no Ray cluster at local: The current node timed out"),
            connected("local"),
        ):
            pass
    assert len(tries) == STARTS


@pytest.mark.parametrize(
    "words",
    [
        ("eval", "no-such-model", "gsm_ranges:size=2"),
        ("solve", "chain_of_thought", "--task", "svamp", "-m", "no-such-model"),
        ("serve", "no-such-model"),
    ],
)
def test_without_ray_its_extra_is_named_before_a_model_is_opened(words):
    run = intact_without("ray", *words, "--ray", "local")
    assert run.returncode == 2
    assert "work on many machines needs ray: pip install ray" in run.stderr
