"""Run the examples of agent frameworks under a cassette: record them, replay them without a server, measure drift.

    intact serve qwen=qwen2.5-coder-0.5b-instruct-q4_k_m.gguf --seeds fixed
    python benchmarks/clients/cassettes.py record --venvs VENVS --out OUT      # then stop the server
    python benchmarks/clients/cassettes.py replay --venvs VENVS --out OUT
    python benchmarks/clients/cassettes.py drift --out OUT                     # with the server again
    python benchmarks/clients/cassettes.py table --out OUT

VENVS has an environment for each framework (VENVS/langchain/bin/python, ...), where intact and pytest can be imported
too. Each example is attached twice: by base address (`intact cassette record -- python example.py`), and by the patch
of httpx (`pytest --intact-cassette`), where the example keeps the server's own address.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
EXAMPLES = {
    "langchain": ("langchain_agent.py", "langchain"),
    "llama_index": ("llama_index_agent.py", "llama-index-core"),
    "pydantic_ai": ("pydantic_ai_agent.py", "pydantic-ai-slim"),
    "openai_agents": ("openai_agents.py", "openai-agents"),
    "instructor": ("instructor_client.py", "instructor"),
    "smolagents": ("smolagents_agent.py", "smolagents"),
    "autogen": ("autogen_agent.py", "autogen-agentchat"),
    "crewai": ("crewai_agent.py", "crewai"),
    "dspy": ("dspy_agent.py", "dspy"),
    "haystack": ("haystack_agent.py", "haystack-ai"),
}
"""Script and distribution of each framework, by the name of its environment."""


def by_address(name: str, args: argparse.Namespace, file: Path) -> tuple[int, str]:
    """Run an example whose base address is the proxy; return its status and its output."""
    script, _ = EXAMPLES[name]
    how = ["record", "--upstream", args.url] if args.phase == "record" else ["replay"]
    program = [str(args.venvs / name / "bin" / "python"), str(HERE / script), "--model", args.model]
    return call([sys.executable, "-m", "intact", "cassette", *how[:1], str(file), *how[1:], "--", *program], args)


def by_httpx(name: str, args: argparse.Namespace, file: Path) -> tuple[int, str]:
    """Run an example under pytest, with the server's own address; return the status and the example's output."""
    script, _ = EXAMPLES[name]
    words = [str(HERE / script), "--url", args.url, "--model", args.model]
    output = file.with_suffix(".out")
    environment = {"EXAMPLE": json.dumps(words), "EXAMPLE_OUTPUT": str(output)}
    plugin = ["-p", "intact.serve.testing.plugin"] if args.plugin else []
    options = ["-q", "-p", "no:cacheprovider", *plugin, "--rootdir", str(HERE), "--intact-cassette", str(file)]
    mode = ["--intact-record-mode", "none"] if args.phase == "replay" else []
    python = str(args.venvs / name / "bin" / "python")
    status, text = call([python, "-m", "pytest", *options, *mode, str(HERE / "run_example.py")], args, environment)
    return status, output.read_text() if status == 0 else text


def call(words: list[str], args: argparse.Namespace, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a program; return its status and its standard output, or both outputs if it failed."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=args.timeout, cwd=HERE, check=False,
            env=os.environ | (environment or {}),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 124, f"not done within {args.timeout:g} s"
    return done.returncode, done.stdout if done.returncode == 0 else done.stdout[-3000:] + done.stderr[-3000:]


def run(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Record or replay an example in both ways."""
    found: dict[str, Any] = {}
    for how, work in (("base address", by_address), ("httpx", by_httpx)):
        file = args.out / f"{name}.{how.split()[0]}.json"
        if args.phase == "record":
            file.unlink(missing_ok=True)
        elif not file.exists():
            continue
        before, began = file.read_bytes() if file.exists() else b"", time.monotonic()
        status, text = work(name, args, file)
        found[how] = {"status": status, "output": text, "seconds": round(time.monotonic() - began, 1)}
        if args.phase == "replay":
            found[how]["unchanged"] = file.read_bytes() == before
    return found


def drift(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Measure the drift of an example's recording."""
    file = args.out / f"{name}.base.json"
    if not file.exists():
        return {}
    command = ["cassette", "drift", str(file), "--upstream", args.url, "--concurrency", "1", "--json"]
    done = subprocess.run([sys.executable, "-m", "intact", *command], capture_output=True, text=True, check=False)
    return {"status": done.returncode, **(json.loads(done.stdout) if done.stdout else {"error": done.stderr[-500:]})}


def show_table(args: argparse.Namespace) -> None:
    """Print the table of all phases in Markdown."""
    phases = {phase: json.loads((args.out / f"{phase}.json").read_text()) for phase in ("record", "replay", "drift")}
    print("| framework | requests | streamed | replayed equal, by base address | by httpx | drift |")
    print("|---|---|---|---|---|---|")
    for name, (_, distribution) in EXAMPLES.items():
        file = args.out / f"{name}.base.json"
        entries = json.loads(file.read_text())["entries"] if file.exists() else []
        streamed = sum("events" in one["answer"]["body"] or "lines" in one["answer"]["body"] for one in entries)
        cells = []
        for how in ("base address", "httpx"):
            one, two = (phases[phase].get(name, {}).get(how) for phase in ("record", "replay"))
            cells.append("not run" if one is None or two is None else _verdict(one, two))
        found = phases["drift"].get(name, {})
        changed = f"{found['changed']} of {found['compared']}" if "compared" in found else "not run"
        version = phases["record"].get(name, {}).get("version", "")
        print(f"| {distribution} {version} | {len(entries)} | {streamed} | {cells[0]} | {cells[1]} | {changed} |")


def _verdict(one: dict[str, Any], two: dict[str, Any]) -> str:
    if one["status"]:
        return "failed"
    return "yes" if two["status"] == 0 and two["unchanged"] and one["output"] == two["output"] else "no"


def main() -> None:
    """Run a phase for the named frameworks, and add to its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phase", choices=("record", "replay", "drift", "table"))
    parser.add_argument("names", nargs="*", help="frameworks; by default all")
    parser.add_argument("--venvs", type=Path, help="folder of environments")
    parser.add_argument("--out", type=Path, required=True, help="folder for cassettes and results")
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1", help="server address")
    parser.add_argument("--model", default="qwen", help="name of a served model")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for an example")
    parser.add_argument("--plugin", action="store_true", help="name the pytest plugin, if intact is not installed")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.phase == "table":
        show_table(args)
        return
    results = args.out / f"{args.phase}.json"
    found = json.loads(results.read_text()) if results.exists() else {}
    for name in args.names or EXAMPLES:
        found[name] = drift(name, args) if args.phase == "drift" else run(name, args)
        if args.phase == "record":
            code = f"from importlib.metadata import version; print(version({EXAMPLES[name][1]!r}))"
            python = args.venvs / name / "bin" / "python"
            found[name]["version"] = subprocess.check_output([python, "-c", code], text=True).strip()
        results.write_text(json.dumps(found, indent=1) + "\n")
        print(name, {how: one.get("status") if isinstance(one, dict) else one for how, one in found[name].items()})


if __name__ == "__main__":
    main()
