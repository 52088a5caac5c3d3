#!/usr/bin/env python3
"""Run one evaluation on several Pythons, NumPys, SciPys, dates, hash seeds, time zones and locales; compare the bytes.

    scripts/matrix.py [--work FOLDER] [--python PATH]... [--out FILE]

Every Python from 3.11 to 3.13 that is found (on PATH, under ~/.pyenv, by --python) gets two environments: one with the
oldest NumPy and SciPy that pyproject.toml allows and that have a wheel for it, and one with the newest. In each, the
same commands run twice, with opposite settings (`SETTINGS`). Combinations that are missing or do not install are
printed as not run, with the reason. The exit status is 1 if any two runs gave different bytes, 2 if none could run.

Needs a package index and the real model SmolLM2-135M ($INTACT_MODELS); dates are changed by libfaketime (Debian's
package of that name). $PYTHON is an interpreter with the test dependencies: it makes the small model whose template
writes the date.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from support.pythons import interpreters  # noqa: E402

MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
TEMPLATE = (
    "{{ strftime_now('%d %b %Y') }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n"
    "{% endfor %}"
)
SAMPLING = ("--temperature", "0.8", "--max-tokens", "40")
COMMANDS = {
    "votes": (
        "eval", "smollm2.gguf", "reasoning_gym:dataset=word_ladder,size=2", "reasoning_gym:dataset=ransom_note,size=2",
        "gsm_ranges:size=2", "procbench:size=1", "--method", "rpc", "-n", "4", *SAMPLING,
        "--receipt", "votes.receipts", "--out", "votes.jsonl",
    ),
    "dated": ("eval", "dated.gguf", "gsm_ranges:size=3", "--method", "self_consistency", "-n", "3", *SAMPLING,
              "--out", "dated.jsonl"),
    "programs": ("eval", "smollm2.gguf", "humaneval:style=base", "--method", "self_consistency", "-n", "3", *SAMPLING,
                 "--limit", "2", "--out", "programs.jsonl"),
    "lock": ("lock", "new", "solve.lock", "--", "solve", "deepconf", "What is 17 * 23?", "--model", "smollm2.gguf",
             "-n", "3", *SAMPLING, "--json"),
}  # fmt: skip
SLOW_CPU = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V3 X86_V4"
"""Names of features that AVX2 and AVX-512 bring, in NumPy 1.26 to 2.5; a version warns about names it doesn't know."""
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "A": {
        "date": "2026-02-03 04:05:06", "PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8", "INTACT_THREADS": "1",
    },
    "B": {
        "date": "2031-12-31 23:59:50", "PYTHONHASHSEED": "4242", "TZ": "Pacific/Auckland", "LC_ALL": "C",
        "INTACT_THREADS": "2", "INTACT_ISA": "avx2", "NPY_DISABLE_CPU_FEATURES": SLOW_CPU,
        "OPENBLAS_CORETYPE": "Haswell",
    },
}  # fmt: skip


PAGE = """# The same bytes on other software

Each row is a run of the commands below; each column has the
first digits of the SHA-256 of what they wrote. All rows of a column must agree; those of `receipts` must for each
version of Python, which receipts of runs state (`method.source`: it may decide how programs are read).

{table}

Settings:

{settings}

Commands:

{commands}

`votes` and `dated` are result files with their traces, `receipts` those of the first, `lock` the digest of a result in
its lock. `programs` leaves out the line of the manifest, which names the Python that ran the programs. `dated.gguf`
is a random model whose chat template writes the date.
"""


class Cell(NamedTuple):
    """An environment: a Python with versions of NumPy and SciPy, or the reason why it could not be made."""

    python: str
    numpy: str
    scipy: str
    command: Path | None
    why: str = ""

    @property
    def minor(self) -> str:
        """Python's version without the patch number."""
        return self.python.rpartition(".")[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "matrix")
    parser.add_argument("--python", action="append", type=Path, default=[])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    models = make_models(options.work)
    rows = []
    for cell in cells(options.work, options.python):
        for name, settings in SETTINGS.items():
            found = run(cell, settings, models) if cell.command else {}
            rows.append((cell, name, found))
            print(*row(cell, name, found), sep="  ", flush=True)
    text = page(rows)
    if options.out:
        options.out.write_text(text, "utf-8")
    print(text)
    digests = defaultdict[tuple[str, str], set[str]](set)
    for cell, _, found in rows:
        for name, digest in found.items():
            digests[name, cell.minor if name == "receipts" else ""].add(digest)
    return int(any(len(alike) > 1 for alike in digests.values())) if digests else 2


def make_models(work: Path) -> Path:
    """Create a folder with the models under the names that the commands use."""
    folder = work / "models"
    folder.mkdir(exist_ok=True)
    real = Path(os.environ.get("INTACT_MODELS", "~/.cache/intact-test-models")).expanduser() / MODEL
    if not real.is_file():
        raise SystemExit(f"matrix: needs the model file {real} (INTACT_MODELS names the folder)")
    (folder / "smollm2.gguf").unlink(missing_ok=True)
    (folder / "smollm2.gguf").symlink_to(real)
    code = (
        "import sys; from pathlib import Path; from support.tiny import tokenizer_metadata, write_tiny\n"
        "metadata = {**tokenizer_metadata(301), 'tokenizer.chat_template': sys.argv[2]}\n"
        "write_tiny(Path(sys.argv[1]), context=1024, metadata=metadata)"
    )
    python = os.environ.get("PYTHON", sys.executable)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    subprocess.run([python, "-c", code, str(folder / "dated.gguf"), TEMPLATE], check=True, env=environment)
    return folder


def cells(work: Path, named: list[Path]) -> Iterator[Cell]:
    """Create the environments, one after the other."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    floors = {
        name: floor
        for requirement in [*extras["dependencies"], *extras["optional-dependencies"]["evaluate"]]
        for name, floor in re.findall(r"^(numpy|scipy)>=([\d.]+)", requirement)
    }
    wheel: Path | None = None
    for python in [*named, *map(Path, interpreters().values())]:
        version = output_of(python, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])")
        base = work / version
        try:
            wheel = build_wheel(python, base, wheel)
        except subprocess.CalledProcessError as error:
            yield Cell(version, "", "", None, f"the package does not build: {last(error)}")
            continue
        wheels = {name: available(base / "build", name, floor) for name, floor in floors.items()}
        for order in (1, -1):
            chosen = {name: first(base / "build", name, versions[::order]) for name, versions in wheels.items()}
            try:
                command = install(python, base / f"numpy-{chosen['numpy']}-scipy-{chosen['scipy']}", wheel, chosen)
            except subprocess.CalledProcessError as error:
                yield Cell(version, chosen["numpy"], chosen["scipy"], None, last(error))
            else:
                yield Cell(version, chosen["numpy"], chosen["scipy"], command)


def build_wheel(python: Path, base: Path, before: Path | None) -> Path:
    """Build the package for a Python, once; if the previous wheel has the stable ABI, return it instead."""
    if not (base / "build").exists():
        subprocess.run([python, "-m", "venv", base / "build"], check=True, capture_output=True)
    if before is not None and any(".abi3." in name for name in ZipFile(before).namelist()):
        return before
    found = sorted((base / "wheel").glob("*.whl"))
    if not found:
        pip(base / "build", "wheel", "-q", "--no-deps", "-w", str(base / "wheel"), str(ROOT))
        found = sorted((base / "wheel").glob("*.whl"))
    return found[0]


def available(venv: Path, name: str, floor: str) -> list[str]:
    """List the releases of a package from the floor upwards that have a wheel for this Python, oldest first."""
    text = pip(venv, "index", "versions", name, "--only-binary=:all:")
    versions = next(line for line in text.splitlines() if line.startswith("Available versions:")).split(":")[1]
    plain = [v for v in versions.replace(" ", "").split(",") if re.fullmatch(r"\d+(\.\d+)*", v)]  # no 1.9.0.post2
    return sorted([v for v in plain if ordered(v) >= ordered(floor)], key=ordered)


def first(venv: Path, name: str, versions: Sequence[str]) -> str:
    """Return the first version for which pip finds a wheel; an index may list others."""
    for version in versions:
        with contextlib.suppress(subprocess.CalledProcessError):
            pip(venv, "install", "-q", "--dry-run", "--no-deps", "--only-binary=:all:", f"{name}=={version}")
            return version
    return ""


def ordered(version: str) -> tuple[int, ...]:
    """Return a version as numbers."""
    return tuple(map(int, version.split(".")))


def install(python: Path, venv: Path, wheel: Path, versions: Mapping[str, str]) -> Path:
    """Create an environment, once, and return its `intact`."""
    command = venv / "bin" / "intact"
    if not command.exists():
        subprocess.run([python, "-m", "venv", venv], check=True, capture_output=True)
        wanted = [f"{name}=={version}" for name, version in versions.items()]
        pip(venv, "install", "-q", "--only-binary=:all:", *wanted)
        extras = "[evaluate,reasoning-gym,receipts]"
        pip(venv, "install", "-q", "-c", str(constraints_without(venv, versions)), f"{wheel}{extras}", *wanted)
    return command


def constraints_without(venv: Path, names: Mapping[str, str]) -> Path:
    """Write the project's constraints without some packages and those that need a specific version of them."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    path = venv / "constraints.txt"
    left_out = {*names, "pandas", "patsy", "pyarrow", "scikit-learn", "statsmodels"}
    path.write_text("\n".join(line for line in lines if line.split("==")[0].strip() not in left_out) + "\n", "utf-8")
    return path


def run(cell: Cell, settings: Mapping[str, str], models: Path) -> dict[str, str]:
    """Run the commands in an empty folder; return a digest of each output."""
    assert cell.command is not None
    own = {name: value for name, value in settings.items() if name != "date"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LC_", "LANG"))}
    environment |= own | {"INTACT_DATA": os.environ.get("INTACT_DATA", str(ROOT.parent / "shared" / "data"))}
    environment |= {"LD_PRELOAD": str(faketime()), "FAKETIME": f"@{settings['date']}", "DONT_FAKE_MONOTONIC": "1"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in models.iterdir():
            (folder / model.name).symlink_to(model.resolve())
        for arguments in COMMANDS.values():
            done = subprocess.run(
                [cell.command, *arguments], cwd=folder, env=environment, capture_output=True, text=True
            )
            if done.returncode:
                raise SystemExit(f"matrix: {cell.python}: intact {' '.join(arguments)}: {done.stderr[-2000:]}")
        return {
            "votes": sha256((folder / "votes.jsonl").read_bytes() + (folder / "votes.traces.jsonl").read_bytes()),
            "receipts": sha256((folder / "votes.receipts").read_bytes()),
            "dated": sha256((folder / "dated.jsonl").read_bytes() + (folder / "dated.traces.jsonl").read_bytes()),
            "programs": sha256(b"".join((folder / "programs.jsonl").read_bytes().splitlines(keepends=True)[1:])),
            "lock": json.loads((folder / "solve.lock").read_text("utf-8"))["run"]["result"],
        }


def faketime() -> Path:
    """Find libfaketime, or exit."""
    for path in sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")):
        return path
    raise SystemExit("matrix: needs libfaketime (Debian: apt install libfaketime)")


def sha256(data: bytes) -> str:
    """Return the digest in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def pip(venv: Path, *arguments: str) -> str:
    """Run pip in an environment."""
    return output_of(venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", *arguments)


def output_of(program: Path, *arguments: str) -> str:
    """Run a program and return its output."""
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def last(error: subprocess.CalledProcessError) -> str:
    """Return the last line of a failed program's error output."""
    text = error.stderr if isinstance(error.stderr, str) else (error.stderr or b"").decode()
    return (text.strip().splitlines() or [str(error)])[-1][:200]


def row(cell: Cell, setting: str, found: Mapping[str, str]) -> tuple[str, ...]:
    """Return the fields of a table row."""
    digests = tuple(f"`{digest[:16]}`" for digest in found.values()) or (f"not run: {cell.why}", "", "", "", "")
    return (cell.python, cell.numpy, cell.scipy, setting, *digests)


def page(rows: list[tuple[Cell, str, dict[str, str]]]) -> str:
    """Render the table as a page."""
    names = ("Python", "NumPy", "SciPy", "settings", "votes", "receipts", "dated", "programs", "lock")
    table = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    table += [f"| {' | '.join(row(*one))} |" for one in rows]
    settings = []
    for name, values in SETTINGS.items():
        settings += [f"- **{name}**: " + ", ".join(f"`{key}={value}`" for key, value in values.items())]
    commands = [f"    intact {' '.join(arguments)}" for arguments in COMMANDS.values()]
    parts = {"table": table, "settings": settings, "commands": commands}
    return PAGE.format(**{name: "\n".join(lines) for name, lines in parts.items()})


if __name__ == "__main__":
    sys.exit(main())
