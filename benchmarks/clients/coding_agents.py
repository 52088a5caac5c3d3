"""Coding agents over each interface: one question about a file, in a fresh repository and home folder.

Instructions and tools are reduced to what the question needs: 10,000 prompt tokens take minutes on a small machine.

npm install @anthropic-ai/claude-code @openai/codex opencode-ai @qwen-code/qwen-code, in FOLDER; if npm runs no
scripts, also `node install.cjs` in the package of claude-code, and `node postinstall.mjs` in that of opencode-ai
python benchmarks/clients/coding_agents.py --model qwen --bin FOLDER/node_modules/.bin claude codex opencode qwen
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

QUESTION = "What does calc.py do? Read it first."
BRIEF = "You help with the code in this folder. Be brief. Read files with your tools."


class Launch(NamedTuple):
    """An agent's command and its environment variables."""

    command: list[str]
    environment: dict[str, str]


def claude(url: str, model: str, _: Path) -> Launch:
    """Claude Code, over Anthropic's messages API."""
    environment = {
        "ANTHROPIC_BASE_URL": url.removesuffix("/v1"),
        "ANTHROPIC_AUTH_TOKEN": "none",
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    options = ["--tools", "Read", "--max-turns", "3", "--system-prompt", BRIEF, "--no-session-persistence"]
    return Launch(["claude", "-p", QUESTION, *options], environment)


def codex(url: str, model: str, home: Path) -> Launch:
    """Codex, over OpenAI's responses API."""
    instructions = home / "instructions.md"
    instructions.write_text(BRIEF)
    settings = {
        "model_provider": "intact",
        "model_providers.intact.name": "intact",
        "model_providers.intact.base_url": url,
        "model_providers.intact.env_key": "INTACT_KEY",
        "model_providers.intact.wire_api": "responses",
        "model_providers.intact.stream_max_retries": 0,
        "model_instructions_file": str(instructions),
        "web_search": "disabled",
        "features.multi_agent": False,
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={json.dumps(value)}")]
    command = ["codex", "exec", "--skip-git-repo-check", "-s", "read-only", "-m", model, *options, QUESTION]
    return Launch(command, {"INTACT_KEY": "none"})


def opencode(url: str, model: str, _: Path) -> Launch:
    """Opencode, over OpenAI's chat API, with Vercel's AI SDK."""
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": url, "apiKey": "none"},
        "models": {model: {"tool_call": True, "limit": {"context": 32_768, "output": 512}}},
    }
    config = {
        "autoupdate": False,
        "model": f"intact/{model}",
        "small_model": f"intact/{model}",
        "provider": {"intact": provider},
        "agent": {"build": {"prompt": BRIEF, "tools": {"*": False, "read": True}}},
    }
    environment = {"OPENCODE_CONFIG_CONTENT": json.dumps(config), "OPENCODE_DISABLE_MODELS_FETCH": "1"}
    return Launch(["opencode", "run", QUESTION], environment)


def qwen(url: str, model: str, home: Path) -> Launch:
    """Qwen Code, over OpenAI's chat API."""
    instructions, settings = home / "system.md", home / ".qwen" / "settings.json"
    instructions.write_text(BRIEF)
    settings.parent.mkdir()
    generation = {"timeout": 600_000, "samplingParams": {"max_tokens": 200}}
    settings.write_text(json.dumps({"model": {"generationConfig": generation}}))
    environment = {
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY": "none",
        "OPENAI_MODEL": model,
        "QWEN_SYSTEM_MD": str(instructions),
    }
    options = ["--auth-type", "openai", "--core-tools", "read_file", "--max-session-turns", "3"]
    options += ["--exclude-tools", "agent,skill,tool_search,task_stop,send_message"]
    return Launch(["qwen", *options, "-p", QUESTION], environment)


AGENTS: dict[str, Callable[[str, str, Path], Launch]] = {
    "claude": claude,
    "codex": codex,
    "opencode": opencode,
    "qwen": qwen,
}


def main() -> None:
    """Run the agents; exit with an error if one of them fails or says nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1", help="server address")
    parser.add_argument("--model", default="qwen", help="name of a served model")
    parser.add_argument("--bin", type=Path, default=Path("node_modules/.bin"), help="folder of the agents' commands")
    parser.add_argument("--seconds", type=float, default=600, help="maximum number of seconds for an agent")
    parser.add_argument("agents", nargs="+", choices=AGENTS)
    args = parser.parse_args()
    failed = []
    for name in args.agents:
        with tempfile.TemporaryDirectory() as folder:
            home, repository = Path(folder, "home"), Path(folder, "repository")
            home.mkdir()
            repository.mkdir()
            (repository / "calc.py").write_text("def add(a, b):\n    return a - b\n")
            launch = AGENTS[name](args.url, args.model, home)
            command = [str(args.bin.resolve() / launch.command[0]), *launch.command[1:]]
            environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "dumb", **launch.environment}
            version = subprocess.run([command[0], "--version"], env=environment, capture_output=True, text=True)
            begun = time.monotonic()
            done = subprocess.run(
                command,
                cwd=repository,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=args.seconds,
            )
        seconds = time.monotonic() - begun
        print(f"{name} {version.stdout.strip()}: exit {done.returncode}, {seconds:.0f} s, {done.stdout.strip()!r}")
        if done.returncode or not done.stdout.strip():
            print(done.stderr)
            failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
