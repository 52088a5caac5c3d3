"""Write the task samples that ship with the package: the first problems of each file, compressed.

    python scripts/sample_tasks.py [FOLDER]

FOLDER holds the full files; the default is `$INTACT_DATA` or ../shared/data. The bytes depend only on the files and on
zlib: they contain no time and no file name. Licences and sources are stated in src/intact/tasks/samples/LICENSES.
"""

import gzip
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

from intact.tasks.data import SAMPLE_SIZE, SAMPLES, data_folder  # noqa: E402

FILES = ("gsm8k/test.jsonl", "humaneval/HumanEval.jsonl", "mbpp_sanitized/test.jsonl", "svamp/test.jsonl")


def sample(path: Path) -> bytes:
    """Return the first lines of a JSON Lines file."""
    lines = path.read_bytes().splitlines(keepends=True)
    if len(lines) < SAMPLE_SIZE:
        raise SystemExit(f"{path} has {len(lines)} problems; expected {SAMPLE_SIZE} or more")
    return b"".join(lines[:SAMPLE_SIZE])


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else data_folder()
    for name in FILES:
        target = SAMPLES / f"{name}.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(sample(folder / name), 9, mtime=0))
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
