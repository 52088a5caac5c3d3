"""llm: its model configuration file; a prompt, a stream, a tool, a schema, a conversation.

pip install llm
python benchmarks/clients/llm_command.py --model qwen
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from common import QUESTION, options

TOOL = '''
def get_weather(city: str, days: int) -> str:
    """Get the weather of a city for some days."""
    return f"{city}, {days} days: rain, 7 degrees"
'''
MODEL = """
- model_id: local
  model_name: {model}
  api_base: {url}
  supports_tools: true
  supports_schema: true
"""


def main() -> None:
    """Run the command."""
    args = options(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "extra-openai-models.yaml").write_text(MODEL.format(model=args.model, url=args.url))
        environment = os.environ | {"LLM_USER_PATH": folder, "OPENAI_API_KEY": "none"}

        def llm(*words: str) -> str:
            command = [sys.executable, "-m", "llm", "-m", "local", *words, "-o", "temperature", "0"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
            # A model with half a billion parameters keeps calling after it has a result, up to the limit.
            if done.returncode and "Chain limit" not in done.stderr:
                raise SystemExit(f"llm {words} failed: {done.stderr}")
            return (done.stdout + done.stderr).strip()

        print(f"llm {version('llm')}")
        asked = ("Why is the sky blue?", "-o", "max_tokens", "20")
        streamed, whole = llm(*asked), llm(*asked, "--no-stream")
        if streamed != whole:
            raise SystemExit(f"the streamed text differs from the unstreamed one: {streamed!r}, {whole!r}")
        print(f"prompt: {whole!r}")
        print(f"conversation: {llm('-c', 'And at night?', '-o', 'max_tokens', '20')!r}")
        output = llm(QUESTION, "--functions", TOOL, "--tools-debug", "--chain-limit", "2", "-o", "max_tokens", "200")
        if "rain, 7 degrees" not in output:
            raise SystemExit(f"the tool was not called: {output!r}")
        print(f"tool: {output!r}")
        trip = json.loads(llm("I go to Oslo for 3 days.", "--schema", "city, days int", "-o", "max_tokens", "100"))
        print(f"schema: {trip}")


if __name__ == "__main__":
    main()
