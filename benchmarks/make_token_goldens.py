"""Write tests/text/goldens.json: llama.cpp's tokenisation of some texts, for the available models.

    python benchmarks/make_token_goldens.py [--check]

It needs the extras `bench` and `test`, the models (INTACT_MODELS) and the data (INTACT_DATA). In addition to the models
as they are, each vocabulary is written to a small file with other settings (another kind of pre-tokenizer, a leading
space), so that these are compared with llama.cpp on a real vocabulary, too.

llama.cpp is not followed where it departs from a model's own tokenizer: it omits the Unicode composition (NFC) of
Qwen 2, so for that model it is given text that is already composed.
"""

import argparse
import ctypes
import hashlib
import json
import os
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from intact.checkpoints.formats import open_checkpoint  # noqa: E402
from intact.checkpoints.formats.metadata import Strings  # noqa: E402
from support.models import FILES  # noqa: E402
from text.texts import COMPOSING, LONG, MODELS, SHORT, long_text  # noqa: E402

GOLDENS = ROOT / "tests" / "text" / "goldens.json"
DATA = Path(os.environ.get("INTACT_DATA", ROOT.parent / "shared" / "data"))


class Oracle:
    """llama.cpp's tokenizer of a GGUF file, without its weights."""

    def __init__(self, path: Path, *, composing: bool) -> None:
        self._form = "NFC" if composing else None
        self._quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p(0))
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise SystemExit(f"{path}: llama.cpp cannot load it")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)

    def encode(self, text: str, special: bool = True, add: bool = True) -> list[int]:
        data = (unicodedata.normalize(self._form, text) if self._form else text).encode()
        room = len(data) + 8
        ids = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self._vocab, data, len(data), ids, room, add, special)
        assert count >= 0, count
        return list(ids[:count])


def settings_of(path: Path) -> dict[str, Any]:
    with open_checkpoint(path) as checkpoint:
        return {
            name: value
            for name, value in checkpoint.metadata.items()
            if name.startswith("tokenizer.") or name == "general.architecture"
        }


def write_vocabulary(path: Path, settings: dict[str, Any]) -> None:
    """Write a GGUF file that contains only a vocabulary."""
    writer = gguf.GGUFWriter(path, settings["general.architecture"])
    for key, value in settings.items():
        match value:
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint32(key, value)
            case str() if key != "general.architecture":
                writer.add_string(key, value)
            case Strings() | np.ndarray():
                writer.add_array(key, value.tolist())
            case _:
                pass
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def variants(folder: Path) -> Iterator[tuple[str, Path]]:
    cache = Path(os.environ.get("INTACT_MODELS", "~/.cache/intact-test-models")).expanduser()
    for name, (model, changes) in MODELS.items():
        path = cache / FILES[model]
        if not path.exists():
            print(f"{name}: no {path}, left out")
            continue
        if changes:
            changed = folder / f"{name}.gguf"
            write_vocabulary(changed, settings_of(path) | changes)
            path = changed
        yield name, path


def digest(ids: list[int]) -> str:
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with intact's tokenizers, without writing")
    check = parser.parse_args().check
    goldens: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, path in variants(Path(folder)):
            oracle = Oracle(path, composing=name in COMPOSING)
            golden = goldens[name] = {
                "special": [oracle.encode(text) for text in SHORT],
                "plain": [oracle.encode(text, special=False, add=False) for text in SHORT],
                "long": {
                    key: {"tokens": len(ids), "sha256": digest(ids)}
                    for key in LONG
                    for ids in [oracle.encode(long_text(DATA, key), special=False, add=False)]
                },
            }
            if check:
                compare(name, path, golden, oracle)
    if not check:
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(golden)}" for name, golden in goldens.items())
        GOLDENS.write_text("{\n" + lines + "\n}\n")


def compare(name: str, path: Path, golden: dict[str, Any], oracle: Oracle) -> None:
    from intact.text import Tokenizer

    tokenizer = Tokenizer.from_gguf(settings_of(path), name)
    for i, text in enumerate(SHORT):
        for kind, ids in (("special", tokenizer.encode(text)), ("plain", tokenizer.encode(text, False, bos=False))):
            if ids != golden[kind][i]:
                print(f"{name}: {text!r} {kind}:\n  ours   {ids}\n  oracle {golden[kind][i]}")
    for key in LONG:
        text = long_text(DATA, key)
        ids = tokenizer.encode(text, special=False, bos=False)
        same = digest(ids) == golden["long"][key]["sha256"]
        print(f"{name}: {key}: {len(ids)} tokens, {'equal' if same else 'DIFFERENT'}")
        if not same:
            shown = 0
            for line in text.splitlines(keepends=True):
                ours, theirs = tokenizer.encode(line, False, False), oracle.encode(line, False, False)
                if ours != theirs and shown < 8:
                    shown += 1
                    print(f"  {line[:200]!r}\n  ours   {ours[:40]}\n  oracle {theirs[:40]}")


if __name__ == "__main__":
    main()
