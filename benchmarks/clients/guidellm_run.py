"""guidellm: its benchmark over chat, completions and responses APIs, one and two concurrent requests, fixed lengths.

pip install guidellm
python benchmarks/clients/guidellm_run.py --model smollm2

Its prompts come from a file and its token counts from the server, so it needs no tokenizer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common import options

TOKENS = 16
PROMPTS = ["Why is the sky blue?", "Name a river.", "What is 17 * 23?", "Write a line about rain."]
ROUTES = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
PROFILES = ("kind=synchronous", "kind=concurrent,streams=2")


def benchmark(url: str, model: str, route: str, profile: str, folder: Path) -> dict[str, Any]:
    """Run one benchmark with guidellm and return its report; exit with an error if it fails."""
    prompts, report = folder / "prompts.jsonl", folder / "report.json"
    rows = ({"prompt": prompt, "output_tokens_count": TOKENS} for prompt in PROMPTS)
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "backend": f"kind=openai_http,target={url.removesuffix('/v1')},model={model},request_format={route}",
        "profile": profile,
        "constraint": f"kind=max_requests,count={len(PROMPTS)}",
        "data": f"kind=json_file,path={prompts}",
        "output": f"kind=json,path={report}",
    }
    given = [word for name, value in settings.items() for word in (f"--{name}", value)]
    command = [str(Path(sys.executable).with_name("guidellm")), "run", "--disable-console", *given]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise SystemExit(f"{route}, {profile}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(report.read_text())["benchmarks"][0]
    return found


def main() -> None:
    """Run each interface with each profile; exit with an error if a request fails or a text has the wrong length.

    One text may be missing: on a busy machine, guidellm once omitted the last of two concurrent requests, which had
    been answered.
    """
    args = options(__doc__)
    for route in ROUTES:
        for profile in PROFILES:
            with tempfile.TemporaryDirectory() as folder:
                found = benchmark(args.url, args.model, route, profile, Path(folder))
            totals, done = found["metrics"]["request_totals"], found["requests"]["successful"]
            lengths = [request["output_tokens"] for request in done]
            seconds = [round(request["request_latency"], 2) for request in done]
            print(f"guidellm {version('guidellm')}, {route}, {profile}: {totals}, {lengths} tokens, {seconds} s")
            if totals["errored"] or set(lengths) != {TOKENS} or len(lengths) < len(PROMPTS) - 1:
                raise SystemExit(f"failed: {[request['info'] for request in found['requests']['errored']]}")


if __name__ == "__main__":
    main()
