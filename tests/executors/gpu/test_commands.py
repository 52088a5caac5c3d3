"""``intact doctor`` lists adapters, and ``intact selftest --executor wgpu`` compares programs with the CPU's."""

import json
from itertools import islice

from typer.testing import CliRunner

from intact.cli.app import app
from intact.cli.doctor import examine
from intact.executors.gpu import shaders
from intact.measure import conformance
from intact.measure.conformance.synthetic import cases
from support.gpu import device


def few():
    """Two programs that run, and two that are refused."""
    return [*islice(cases(), 2), *(case for case in cases() if case.name in ("convolution 1", "recurrence 40 0"))]


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_doctor_lists_the_adapters():
    opened = device()
    gpus = examine()["gpus"]
    assert opened.adapter.name in [one["name"] for one in gpus["adapters"]]
    assert gpus["missing"] is None
    assert opened.adapter.name in run("doctor").output.replace("\n", " ")


def test_doctor_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wgpu", None)
    assert examine()["gpus"] == {
        "adapters": [],
        "missing": "the executor wgpu needs the package wgpu: pip install 'intact-llm[gpu]'",
    }


def test_selftest_compares_programs(monkeypatch):
    opened = device()
    monkeypatch.setattr(conformance, "cases", few)
    done = run("selftest", "--executor", "wgpu", "--json")
    assert done.exit_code == 0
    expected = {"device": str(opened.adapter), "equal": 2, "refused": len(few()) - 2, "different": 0, "names": []}
    assert json.loads(done.stdout) == expected


def test_selftest_names_programs_that_differ(monkeypatch):
    opened = device()
    read = shaders.shader_file
    monkeypatch.setattr(conformance, "cases", lambda: few()[:1])
    monkeypatch.setattr(opened, "_pipelines", {})
    monkeypatch.setattr(shaders, "shader_file", lambda name: read(name).replace("sat32(value)", "sat32(value) + 1"))
    shaders.read_shader.cache_clear()
    try:
        done = run("selftest", "--executor", "wgpu")
    finally:
        shaders.read_shader.cache_clear()
    assert done.exit_code == 1
    assert f"{few()[0].name}: differs from the CPU" in done.output
