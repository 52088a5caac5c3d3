"""LiteLLM: its SDK over chat, completions, Anthropic's messages and Ollama's chat APIs, and its proxy.

pip install 'litellm[proxy]'
python benchmarks/clients/litellm_proxy.py --model qwen
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import httpx
import litellm
import openai
from common import QUESTION, Calls, options

ASKED = {"messages": [{"role": "user", "content": "Why is the sky blue?"}], "max_tokens": 20, "temperature": 0}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city for some days.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}


def use_sdk(url: str, model: str) -> None:
    """Send requests over each interface, unstreamed and streamed; then call a tool."""
    root = url.removesuffix("/v1")
    texts = {}
    for name, base in ((f"openai/{model}", url), (f"anthropic/{model}", root), (f"ollama_chat/{model}", root)):
        to = {"model": name, "api_base": base, "api_key": "none", **ASKED}
        text = litellm.completion(**to).choices[0].message.content
        stream = "".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(**to, stream=True))
        if stream != text:
            raise SystemExit(f"{name}: the streamed text differs from the unstreamed one: {stream!r}, {text!r}")
        texts[name] = text
    if len(set(texts.values())) > 1:
        raise SystemExit(f"interfaces give different texts: {texts}")
    print(f"litellm {version('litellm')}: {texts}")
    to = {"api_base": url, "api_key": "none"}
    text = litellm.text_completion(model=f"text-completion-openai/{model}", prompt="def add(a, b):", max_tokens=8, **to)
    print(f"text completion: {text.choices[0].text!r}")
    question = [{"role": "user", "content": QUESTION}]
    answer = litellm.completion(f"openai/{model}", question, tools=[TOOL], temperature=0, max_tokens=200, **to)
    calls = Calls()
    for call in answer.choices[0].message.tool_calls or ():
        calls.weather(**json.loads(call.function.arguments))
    calls.report("tools", answer.choices[0].message.content)


def use_proxy(url: str, model: str) -> None:
    """Start the proxy, and send requests to it with OpenAI's client."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    to = {"model": f"openai/{model}", "api_base": url, "api_key": "none"}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(json.dumps({"model_list": [{"model_name": "local", "litellm_params": to}]}))
        key = f"sk-{secrets.token_hex(32)}"
        command = [str(Path(sys.executable).with_name("litellm")), "--config", str(config), "--port", str(port)]
        environment = os.environ | {"LITELLM_MASTER_KEY": key}
        proxy = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/health/readiness", proxy)
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0)
            text = client.chat.completions.create(model="local", **ASKED).choices[0].message.content
            chunks = client.chat.completions.create(model="local", **ASKED, stream=True)
            stream = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            if stream != text or not text:
                raise SystemExit(f"proxy: the streamed text differs from the unstreamed one: {stream!r}, {text!r}")
            print(f"proxy: {text!r}")
        finally:
            proxy.terminate()
            proxy.wait(30)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    """Wait until an address answers; exit with an error if its process ends or does not start in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(1)
    raise SystemExit(f"the proxy did not start (status {process.poll()})")


def main() -> None:
    """Use the SDK and the proxy."""
    args = options(__doc__)
    use_sdk(args.url, args.model)
    use_proxy(args.url, args.model)


if __name__ == "__main__":
    main()
