"""The commands of docs/cluster.md, from one machine to three, each with a network of its own."""

import json
import re
import sys
from pathlib import Path

import pytest

import intact
from support.clusters import environment
from support.namespaces import in_own_network, network_of, wait_until
from support.tiny import write_tiny

PAGE = Path(__file__).parents[3] / "docs" / "cluster.md"
QUESTION = "What is 2 + 2?"
ASK = """
import json, sys, urllib.request
body = json.dumps({"model": sys.argv[2], "prompt": sys.argv[3], "max_tokens": 8, "temperature": 0}).encode()
asked = urllib.request.Request(sys.argv[1], body, {"Content-Type": "application/json"})
print(urllib.request.urlopen(asked).read().decode())
"""
COUNT = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1]).read().decode())
"""
ALIVE = """
import sys
from intact.evaluate.cluster.connection import connected
from intact.evaluate.cluster.machines import machines
with connected(sys.argv[1]) as ray:
    print(*sorted(machine.address for machine in machines(ray)))
"""


def commands(model):
    """Return the page's commands, of Ray and of intact, with another model."""
    section = PAGE.read_text().partition("## From one machine to three\n")[2].partition("\n## ")[0]
    lines = [re.sub(r"\s+#.*", "", line).split() for line in section.splitlines() if line.startswith("    ")]
    programs = {"ray": "ray.scripts.scripts", "intact": "intact.cli"}
    found = {"ray": [], "intact": []}
    for program, *words in lines:
        words = [str(model) if word.startswith("qwen") else word for word in words]
        found[program].append([sys.executable, "-m", programs[program], *words])
    return found["ray"], found["intact"]


def test_the_page_has_a_command_for_each_of_three_machines_and_two_that_use_them(tmp_path):
    started, (evaluation, server) = commands("tiny.gguf")
    assert len(started) == 3
    assert (evaluation[3], server[3]) == ("eval", "serve")


@pytest.mark.slow
@pytest.mark.nightly
@in_own_network
def test_the_commands_of_the_page_make_one_cluster_of_three_machines(tmp_path):
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    tasks = tmp_path / "data" / "gsm8k"
    tasks.mkdir(parents=True)
    rows = [{"question": f"What is {i} + {i}?", "answer": f"#### {5 + i % 3}"} for i in range(12)]
    (tasks / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    variables = environment() | {"INTACT_DATA": str(tmp_path / "data"), "HOME": str(tmp_path)}  # without a token of Ray
    model = write_tiny(tmp_path / "tiny.gguf")
    started, (evaluation, server) = commands(model)
    homes = [tmp_path / f"home{number}" for number in range(3)]
    with network_of(3) as machines:
        first = machines[0]
        for machine, home, line in zip(machines, homes, started, strict=True):
            home.mkdir()
            if machine is not first:  # which alone has the model
                machine.run("mount", "--bind", "/dev/null", str(model))
            machine.run(*line, **variables, INTACT_HOME=str(home))
        alive = [sys.executable, "-c", ALIVE, "10.0.0.1:6379"]
        wait_until(
            lambda: first.run(*alive, **variables).split() == [machine.address for machine in machines],
            "three machines",
            pause=2,
        )
        options = ["--max-tokens", "8", "--out"]
        first.run(*evaluation, *options, str(tmp_path / "spread.jsonl"), **variables)
        alone = evaluation[: evaluation.index("--ray")]
        first.run(*alone, *options, str(tmp_path / "alone.jsonl"), **variables)
        assert (tmp_path / "spread.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()

        log = tmp_path / "server.log"
        serving = first.start([*server, "--port", "8000"], log, **variables)
        here = "http://127.0.0.1:8000"
        wait_until(lambda: serving.poll() is not None or "8000" in log.read_text(), "the server")
        count = [sys.executable, "-c", COUNT, f"{here}/metrics"]
        wait_until(lambda: "intact_replicas 3.0" in first.run(*count, **variables), "three replicas", pause=2)
        said = json.loads(first.run(sys.executable, "-c", ASK, f"{here}/v1/completions", "tiny", QUESTION))
        with intact.load(model, threads=1) as loaded:
            expected = loaded.generate(QUESTION, max_tokens=8, temperature=0)[0][0].text
        assert said["choices"][0]["text"] == expected
        serving.terminate()
        serving.wait(300)
        pulled = [[file.name for file in home.rglob("tiny.gguf") if file.is_file()] for home in homes]
        assert pulled == [[], ["tiny.gguf"], ["tiny.gguf"]]
