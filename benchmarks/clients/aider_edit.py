"""aider: one edit of a file in a fresh repository, unstreamed and streamed; its quality depends on the model.

pip install aider-chat
python benchmarks/clients/aider_edit.py --model qwen
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from common import options

BUG = "def add(a, b):\n    return a - b\n"
ERRORS = ("litellm.", "Traceback", "APIError", "BadRequest")
"""Texts that aider prints when a request failed; its exit status is 0 even then."""

ENDS = ("Tokens:", "hit a token limit")
"""Texts that aider prints after an answer, complete or cut at `max_tokens`."""


def main() -> None:
    """Run the command; exit with an error if a request failed or no answer came."""
    args = options(__doc__)
    for stream in ("--stream", "--no-stream"):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "calc.py")
            file.write_text(BUG)
            for words in (["init", "-q"], ["config", "user.name", "a"], ["config", "user.email", "a@example.org"]):
                subprocess.run(["git", *words], cwd=folder, check=True)
            settings = Path(folder, "settings.yml")
            settings.write_text(
                f"- name: openai/{args.model}\n  extra_params:\n    max_tokens: 200\n    temperature: 0\n"
            )
            command = [sys.executable, "-m", "aider", "--model", f"openai/{args.model}", "--edit-format", "whole"]
            command += ["--model-settings-file", str(settings), "--map-tokens", "0", stream, "--no-pretty"]
            command += ["--yes-always", "--no-check-update", "--no-analytics", "--no-show-model-warnings"]
            command += ["--no-detect-urls", "--no-auto-commits", "--message", "Mend add: it subtracts.", "calc.py"]
            environment = os.environ | {"OPENAI_API_BASE": args.url, "OPENAI_API_KEY": "none", "HOME": folder}
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
            )
            edited = file.read_text() != BUG
        print(f"aider {version('aider-chat')}, {stream}: the file was {'edited' if edited else 'left'}")
        if (
            done.returncode
            or any(word in done.stdout for word in ERRORS)
            or not any(word in done.stdout for word in ENDS)
        ):
            raise SystemExit(f"aider failed (status {done.returncode}):\n{done.stdout}")


if __name__ == "__main__":
    main()
