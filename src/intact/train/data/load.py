"""Load the data of a run: a file, or one of mlx-lm's folders, and its held-out rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from intact._base.errors import FormatError, ParameterError
from intact._base.suggest import unknown_name
from intact.text import Tokenizer
from intact.train.data.base import RowFormat
from intact.train.data.encoder import LOSS_ON, Encoder, LossOn, TooLongError
from intact.train.data.files import SUFFIXES, RawFile, read_file
from intact.train.data.registry import FORMATS
from intact.train.examples import DataSource, Row, sequences_of

TOO_LONG: Final = ("refuse", "drop", "cut")
MOST_TOKENS: Final = 1 << 30
"""Maximum number of tokens of all rows."""


@dataclass(frozen=True)
class DataSettings:
    """Options of reading rows.

    Attributes
    ----------
    format : str
        Row format (`intact.train.data.registry`), or "auto" to tell it by the members of the first row.
    loss_on : {"assistant", "last", "all"}
        Tokens that count: all turns of the assistant and completions, only its last turn, or every token.
    longest : int
        Maximum number of tokens of a sequence; 0 for the model's context.
    too_long : {"refuse", "drop", "cut"}
        Treatment of longer sequences.
    chat : bool or None
        If true, prompts and completions in plain text become turns of user and assistant. By default, this is done for
        folders, as in mlx-lm, but not for files, as in TRL.
    held_rows : int
        Number of rows at the end of the file that are not trained on, if there is no other file of held-out rows.

    Raises
    ------
    ParameterError
        If a setting is invalid.
    """

    format: str = "auto"
    loss_on: LossOn = "assistant"
    longest: int = 0
    too_long: str = "refuse"
    chat: bool | None = None
    held_rows: int = 0

    def __post_init__(self) -> None:
        if self.format != "auto" and self.format not in FORMATS:
            raise ParameterError(unknown_name(f"data.format {self.format!r:.40}", str(self.format), ["auto", *FORMATS]))
        for name, allowed in (("loss_on", LOSS_ON), ("too_long", TOO_LONG), ("chat", (None, True, False))):
            if getattr(self, name) not in allowed:
                raise ParameterError(
                    f"data.{name} must be one of {', '.join(map(str, allowed))}, got {getattr(self, name)!r:.40}"
                )
        for name in ("longest", "held_rows"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value < 1 << 31:
                raise ParameterError(f"data.{name} must be an integer from 0, got {value!r:.40}")


class Dataset(NamedTuple):
    """Rows of a run.

    Attributes
    ----------
    rows, held : list of Row
    sources : list of DataSource
        The files of `rows`, for the receipt.
    format : str
    dropped : int
        Number of rows that were too long and left out.
    """

    rows: list[Row]
    held: list[Row]
    sources: list[DataSource]
    format: str
    dropped: int

    @property
    def tokens(self) -> int:
        """Number of tokens of the rows to train on."""
        return sum(len(sequence.tokens) for row in self.rows for sequence in sequences_of(row))


def load_data(
    path: Path, tokenizer: Tokenizer, context: int, settings: DataSettings | None = None, held: Path | None = None
) -> Dataset:
    """Read and encode a run's data.

    Parameters
    ----------
    path : Path
        A ``.jsonl`` or ``.parquet`` file, or a folder with ``train.jsonl`` and perhaps ``valid.jsonl`` (held out) and
        ``test.jsonl`` (not read).
    tokenizer, context
        Tokenizer of the model, and the largest number of tokens that it can read.
    held : Path, optional
        File of held-out rows.

    Raises
    ------
    FormatError
        If a file is missing, damaged or too large.
    ParameterError
        If a row cannot be used; the message names file and line.
    """
    settings = settings or DataSettings()
    files, is_folder = _find(path, held)
    longest = min(settings.longest or context, context)
    as_chat = is_folder if settings.chat is None else settings.chat
    if as_chat and tokenizer.chat_template is None:
        if settings.chat:
            raise ParameterError("data.chat needs a model with a chat template")
        as_chat = False
    encoder = Encoder(tokenizer, longest, settings.loss_on, as_chat, cut=settings.too_long == "cut")
    raw = read_file(files[0])
    form = _format_of(raw, settings.format)
    rows, dropped = _encode(raw, form, encoder, drop=settings.too_long == "drop")
    kept = len(rows) - settings.held_rows if len(files) == 1 else len(rows)
    if kept <= 0:
        raise ParameterError(f"{raw.name} has {len(rows)} usable rows, so held_rows = {settings.held_rows} leaves none")
    other = rows[kept:]
    if len(files) > 1:
        other, more = _encode(read_file(files[1]), form, encoder, drop=settings.too_long == "drop")
        dropped += more
    return Dataset(
        rows[:kept], other, [DataSource(raw.name, raw.sha256, len(raw.rows), form.name)], form.name, dropped=dropped
    )


def _find(path: Path, held: Path | None) -> tuple[list[Path], bool]:
    """Return the file to train on and, if there is one, that of held-out rows; and whether `path` is a folder."""
    if not path.exists():
        raise FormatError(f"{path}: no such file or folder")
    if not path.is_dir():
        return [path, *([held] if held else [])], False
    found = {
        name: path / f"{name}{end}"
        for name in ("valid", "train")
        for end in SUFFIXES
        if (path / f"{name}{end}").is_file()
    }
    if "train" not in found:
        raise FormatError(f"{path} has no train.jsonl; expected a folder with train.jsonl and perhaps valid.jsonl")
    other = held or found.get("valid")
    return [found["train"], *([other] if other else [])], True


def _format_of(raw: RawFile, name: str) -> type[RowFormat]:
    """Return the format of a name, or that of the members of the first row."""
    if name != "auto":
        return FORMATS[name]
    members = set(raw.rows[0].value)
    found = [one for one in FORMATS.working().values() if members >= set(one.needs)]
    found.sort(key=lambda one: (one.name != "labelled", -len(one.needs), one.name))
    if not found or ("completion" in members and "label" in members):
        raise FormatError(
            f"{raw.rows[0].where} has the members {', '.join(sorted(members))[:120]}; expected "
            + "; ".join(f"{one.name}: {', '.join(one.needs)}" for one in FORMATS.working().values())
        )
    return found[0]


def _encode(raw: RawFile, form: type[RowFormat], encoder: Encoder, *, drop: bool) -> tuple[list[Row], int]:
    """Return the rows of a file, and the number of those left out."""
    rows: list[Row] = []
    long: list[tuple[str, TooLongError]] = []
    total = 0
    for where, value in raw.rows:
        if missing := [name for name in form.needs if name not in value]:
            raise ParameterError(f"{where} has no member {missing[0]}, which rows of the format {form.name} need")
        try:
            row = form.row(value, encoder)
        except TooLongError as error:
            long.append((where, error))
            continue
        except ParameterError as error:
            raise ParameterError(f"{where}: {error}") from error
        rows.append(row)
        total += sum(len(sequence.tokens) for sequence in sequences_of(row))
        if total > MOST_TOKENS:
            raise ParameterError(f"{raw.name} has more than {MOST_TOKENS:,} tokens; split it into several runs")
    if long and (not drop or not rows):
        where, first = long[0]
        raise ParameterError(
            f"{len(long)} of {len(raw.rows)} rows are too long; the first is {where}: {first}. Set data.longest, or "
            'data.too_long = "drop" or "cut"'
        )
    return rows, len(long)
