"""Open WebUI: a question in its page, in a real browser, once over the chat API and once over Ollama's interface.

pip install open-webui; pip install playwright (they may have separate environments), and Chromium
python benchmarks/clients/open_webui.py --model qwen --open-webui /path/to/open-webui

Open WebUI is started for each interface on a loopback port with a fresh folder; it downloads nothing. Its settings are
the defaults, except that it generates no titles, tags or follow-up questions.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

QUESTION = "What is the capital of France?"
SECONDS = 300
"""Maximum number of seconds to wait for Open WebUI to start, and for an answer."""


def free_port() -> int:
    """Return a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def open_webui(program: str, settings: dict[str, str]) -> Iterator[str]:
    """Start Open WebUI connected to a server and yield its address; stop it at the end."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | settings
        environment |= {
            "DATA_DIR": folder,
            "WEBUI_SECRET_KEY": "of this run only",
            "WEBUI_AUTH": "False",
            "OFFLINE_MODE": "True",
            "HF_HUB_OFFLINE": "1",
            "RAG_EMBEDDING_ENGINE": "openai",  # else it fetches a model
            "ENABLE_VERSION_UPDATE_CHECK": "False",
            "ENABLE_TITLE_GENERATION": "False",
            "ENABLE_TAGS_GENERATION": "False",
            "ENABLE_FOLLOW_UP_GENERATION": "False",
        }
        log = Path(folder, "log.txt")
        with log.open("wb") as out:
            command = [program, "serve", "--host", "127.0.0.1", "--port", str(port)]
            process = subprocess.Popen(command, env=environment, cwd=folder, stdout=out, stderr=out)
        url, end = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS
        try:
            while not answers(f"{url}/health"):
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"Open WebUI did not start:\n{log.read_text(errors='replace')[-3000:]}")
                time.sleep(1)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(url: str) -> bool:
    """Return true if a server answers at an address."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def ask(chromium: Any, url: str, model: str, shots: Path | None, name: str) -> str:
    """Enter the question in Open WebUI's page with a model selected, and return the answer's text on the page."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(SECONDS * 1000)
    page.goto(f"{url}/?models={model}")
    page.wait_for_selector("#chat-input")
    page.wait_for_timeout(2000)
    page.keyboard.press("Escape")  # its news
    page.click("#chat-input")
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    answer = page.locator(".chat-assistant").last
    answer.wait_for()
    page.wait_for_function(  # the buttons below an answer come with its end
        "() => [...document.querySelectorAll('.chat-assistant')].at(-1)?.closest('.message-container, [id^=message-]')"
        "?.querySelector('.copy-response-button')"
    )
    text: str = (answer.text_content() or "").strip()
    if shots:
        page.screenshot(path=str(shots / f"open-webui-{name}.png"))
    page.close()
    return text


def main() -> None:
    """Run each interface; exit with an error if no answer is shown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1", help="server address")
    parser.add_argument("--model", default="qwen", help="name of a served model")
    parser.add_argument("--open-webui", default="open-webui", help="Open WebUI's command")
    parser.add_argument("--screenshots", type=Path, help="folder for screenshots of the page")
    options = parser.parse_args()
    base = options.url.removesuffix("/v1")
    interfaces = {
        "chats": {"ENABLE_OLLAMA_API": "False", "OPENAI_API_BASE_URL": f"{base}/v1", "OPENAI_API_KEY": "none"},
        "ollama": {"ENABLE_OPENAI_API": "False", "OLLAMA_BASE_URL": base},
    }
    playwright = import_module("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    unboxed = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to run boxed as root
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=program, args=unboxed)
        for name, settings in interfaces.items():
            with open_webui(options.open_webui, settings) as url:
                text = ask(chromium, url, options.model, options.screenshots, name)
            print(f"{name}: {text!r}", flush=True)
            if not text:
                raise SystemExit(f"{name}: no answer was shown")
        chromium.close()


if __name__ == "__main__":
    main()
