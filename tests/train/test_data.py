"""Training data: formats of rows, the tokens that count, limits, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from intact._base.errors import FormatError, ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.text import Tokenizer
from intact.train.data import Dataset, DataSettings, files, load_data
from intact.train.data.registry import FORMATS
from intact.train.examples import Labelled, Pair, TrainExample
from support.tiny import TEMPLATE, write_tiny

MARKED = (
    "{% for message in messages %}\n<|im_start|>{{ message['role'] }}\n"
    "    {%- if message['role'] == 'assistant' %}\n\n"
    "    {% generation %}\n{{ message['content'] }}<|im_end|>{% endgeneration %}\n"
    "    {%- else %}\n\n{{ message['content'] }}<|im_end|>\n    {%- endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHORTENED = TEMPLATE.replace(
    "{{ message['content'] }}", "{{ message['content'] if loop.last or message['role'] == 'user' else '...' }}"
)
DIALOGUE = [
    {"role": "user", "content": "what is red"},
    {"role": "assistant", "content": "a colour"},
    {"role": "user", "content": "and two"},
    {"role": "assistant", "content": "a number"},
]


@pytest.fixture(scope="module")
def tokenizer_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tokenizer]:
    folder = tmp_path_factory.mktemp("models")

    def made(template: str) -> Tokenizer:
        path = folder / f"{abs(hash(template))}.gguf"
        if not path.exists():
            write_tiny(path, metadata={"tokenizer.chat_template": template})
        with open_checkpoint(path) as checkpoint:
            return Tokenizer.from_checkpoint(checkpoint)

    return made


@pytest.fixture
def tokenizer(tokenizer_of: Callable[[str], Tokenizer]) -> Tokenizer:
    return tokenizer_of(TEMPLATE)


def write(path: Path, *rows: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def load(tmp_path: Path, tokenizer: Tokenizer, *rows: object, **settings: Any) -> Dataset:
    return load_data(write(tmp_path / "rows.jsonl", *rows), tokenizer, 512, DataSettings(**settings))


def counted(tokenizer: Tokenizer, row: object) -> str:
    """The text of the tokens that count."""
    assert isinstance(row, TrainExample)
    return tokenizer.decode(row.tokens[row.weights > 0].tolist(), skip_special=False, continuation=True)


@pytest.mark.parametrize("template", [TEMPLATE, MARKED], ids=["differences", "marks"])
@pytest.mark.parametrize(
    ("loss_on", "expected"),
    [("assistant", "a colour<|im_end|>a number<|im_end|>"), ("last", "a number<|im_end|>")],
)
def test_the_assistants_turns_count_and_what_ends_them(
    tmp_path: Path, tokenizer_of: Callable[[str], Tokenizer], template: str, loss_on: str, expected: str
) -> None:
    tokenizer = tokenizer_of(template)
    (row,) = load(tmp_path, tokenizer, {"messages": DIALOGUE}, loss_on=loss_on).rows
    assert isinstance(row, TrainExample)
    assert counted(tokenizer, row) == expected
    assert row.tokens.tolist() == tokenizer.encode_chat(DIALOGUE, False)


def test_every_token_counts_if_asked(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (row,) = load(tmp_path, tokenizer, {"messages": DIALOGUE}, loss_on="all").rows
    assert isinstance(row, TrainExample)
    assert row.weights.tolist() == [0] + [1] * (len(row.tokens) - 1)


def test_marks_give_the_spans_although_the_template_alters_earlier_turns(
    tmp_path: Path, tokenizer_of: Callable[[str], Tokenizer]
) -> None:
    marked = MARKED.replace(
        "{{ message['content'] }}<|im_end|>{%", "{{ message['content'] if loop.last else '...' }}<|im_end|>{%"
    )
    tokenizer = tokenizer_of(marked)
    (row,) = load(tmp_path, tokenizer, {"messages": DIALOGUE}).rows
    assert counted(tokenizer, row) == "...<|im_end|>a number<|im_end|>"


def test_turns_that_the_template_alters_later_are_refused_but_the_last_turn_can_be_told(
    tmp_path: Path, tokenizer_of: Callable[[str], Tokenizer]
) -> None:
    tokenizer = tokenizer_of(SHORTENED)
    with pytest.raises(ParameterError, match=r'rows.jsonl, line 1: .*ends after turn 2 .*set loss_on = "last"'):
        load(tmp_path, tokenizer, {"messages": DIALOGUE})
    (row,) = load(tmp_path, tokenizer, {"messages": DIALOGUE}, loss_on="last").rows
    assert counted(tokenizer, row) == "a number<|im_end|>"


def test_control_tokens_spelled_by_the_data_end_no_turn(tmp_path: Path, tokenizer: Tokenizer) -> None:
    turns = [{"role": "user", "content": "x<|im_end|>"}, {"role": "assistant", "content": "y<|im_end|>z"}]
    (row,) = load(tmp_path, tokenizer, {"messages": turns}).rows
    assert isinstance(row, TrainExample)
    end = tokenizer.encode("<|im_end|>", bos=False)
    assert row.tokens.tolist().count(end[0]) == 2
    assert counted(tokenizer, row) == "y<|im_end|>z<|im_end|>"


def test_a_completion_counts_and_not_its_prompt(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (row,) = load(tmp_path, tokenizer, {"prompt": "two and", "completion": " three"}).rows
    assert isinstance(row, TrainExample)
    assert counted(tokenizer, row).startswith(" three")
    assert row.tokens[-1] == tokenizer.eos_id
    everything = load(tmp_path, tokenizer, {"prompt": "two and", "completion": " three"}, loss_on="all").rows[0]
    assert isinstance(everything, TrainExample)
    assert everything.weights.sum() == len(row.tokens) - 1


def test_messages_of_a_prompt_do_not_count(tmp_path: Path, tokenizer: Tokenizer) -> None:
    value = {"prompt": DIALOGUE[:3], "completion": DIALOGUE[3:]}
    (row,) = load(tmp_path, tokenizer, value).rows
    assert counted(tokenizer, row) == "a number<|im_end|>"


def test_preferences_with_and_without_a_prompt_are_the_same_pair(tmp_path: Path, tokenizer: Tokenizer) -> None:
    explicit = {"prompt": DIALOGUE[:1], "chosen": [DIALOGUE[1]], "rejected": [DIALOGUE[3]]}
    implicit = {"chosen": DIALOGUE[:2], "rejected": [DIALOGUE[0], DIALOGUE[3]]}
    pairs = [load(tmp_path, tokenizer, value).rows[0] for value in (explicit, implicit)]
    for pair in pairs:
        assert isinstance(pair, Pair)
        assert counted(tokenizer, pair.chosen) == "a colour<|im_end|>"
        assert counted(tokenizer, pair.rejected) == "a number<|im_end|>"
    assert len({tuple(pair.chosen.tokens.tolist()) for pair in pairs if isinstance(pair, Pair)}) == 1


def test_preferences_as_text_share_their_beginning(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (pair,) = load(tmp_path, tokenizer, {"chosen": "one two red", "rejected": "one two ten"}).rows
    assert isinstance(pair, Pair)
    assert counted(tokenizer, pair.chosen).startswith(" red")
    for value, message in (
        ({"chosen": "red", "rejected": "ten"}, "no common beginning"),
        ({"prompt": "a", "chosen": " b", "rejected": " b"}, "are the same"),
    ):
        with pytest.raises(ParameterError, match=message):
            load(tmp_path, tokenizer, value)


def test_labels_are_classes(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = load(tmp_path, tokenizer, {"text": "red", "label": 3}, {"messages": DIALOGUE[:1], "label": True}).rows
    assert [row.label for row in rows if isinstance(row, Labelled)] == [3, 1]


def test_folders_of_mlx_lm_hold_out_valid_and_make_turns_of_prompts(tmp_path: Path, tokenizer: Tokenizer) -> None:
    folder = tmp_path / "data"
    for name, count in (("train", 3), ("valid", 2), ("test", 1)):
        write(folder / f"{name}.jsonl", *[{"prompt": "what is red", "completion": "a colour"}] * count)
    found = load_data(folder, tokenizer, 512)
    assert (len(found.rows), len(found.held)) == (3, 2)
    row = found.rows[0]
    assert isinstance(row, TrainExample)
    assert row.tokens.tolist() == tokenizer.encode_chat(DIALOGUE[:2], False)
    assert counted(tokenizer, row) == "a colour<|im_end|>"
    plain = load_data(folder, tokenizer, 512, DataSettings(chat=False)).rows[0]
    assert isinstance(plain, TrainExample)
    assert "<|im_start|>" not in tokenizer.decode(plain.tokens.tolist(), skip_special=False)


def test_the_last_rows_are_held_out(tmp_path: Path, tokenizer: Tokenizer) -> None:
    found = load(tmp_path, tokenizer, *[{"text": f"number {i}"} for i in range(5)], held_rows=2)
    assert (len(found.rows), len(found.held), found.sources[0].rows) == (3, 2, 5)
    with pytest.raises(ParameterError, match="leaves none"):
        load(tmp_path, tokenizer, {"text": "one row"}, held_rows=1)


def test_too_long_rows_are_counted_dropped_or_cut(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [{"text": "red"}, {"text": "one two three " * 20}, {"text": "four five " * 30}]
    with pytest.raises(ParameterError, match=r"2 of 3 rows are too long; the first is rows.jsonl, line 2"):
        load(tmp_path, tokenizer, *rows, longest=24)
    dropped = load(tmp_path, tokenizer, *rows, longest=24, too_long="drop")
    assert (len(dropped.rows), dropped.dropped) == (1, 2)
    cut = load(tmp_path, tokenizer, *rows, longest=24, too_long="cut").rows
    assert max(len(row.tokens) for row in cut if isinstance(row, TrainExample)) == 24


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "rows.jsonl, line 2 is not valid JSON"),
        ("[1]", "rows.jsonl, line 2 is .*expected an object"),
        ('{"text": NaN}', "contains the number NaN"),
        ('{"text": "a", "text": "b"}', "duplicate member 'text'"),
        ('{"text": ' + "[" * 40 + "]" * 40 + "}", "nested too deeply"),
        ('{"text": 3}', "line 2: text is 3; expected text"),
        ('{"words": "a"}', "line 2 has no member text"),
        ('{"text": "\\ud800"}', "line 2: "),
    ],
)
def test_malformed_lines_are_refused_by_number(tmp_path: Path, tokenizer: Tokenizer, line: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises((FormatError, ParameterError), match=message):
        load_data(path, tokenizer, 512)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": []}, "expected a list of messages"),
        ({"messages": [{"content": "x"}]}, r"messages\[0\]"),
        ({"messages": DIALOGUE[:1]}, "no turn of the assistant"),
        ({"prompt": DIALOGUE[:1], "completion": DIALOGUE[:1]}, "completion must end with a message of the assistant"),
        ({"prompt": "x", "completion": 7}, "completion is 7"),
        ({"messages": DIALOGUE, "tools": "all"}, "tools is 'all'"),
        ({"messages": DIALOGUE, "chat_template_kwargs": {"now": 1}}, "not the row's to set"),
        ({"text": "x", "label": "spam"}, "expected the number of a class"),
        ({"prompt": "a", "completion": "b", "label": True}, "has the members"),
        ({"words": "x"}, "expected labelled: label"),
    ],
)
def test_rows_that_suit_no_format_are_refused(tmp_path: Path, tokenizer: Tokenizer, row: object, message: str) -> None:
    with pytest.raises((FormatError, ParameterError), match=message):
        load(tmp_path, tokenizer, row)


def test_files_are_bounded(tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "rows.jsonl", *[{"text": "a" * 50}] * 4)
    for name, limit, message in (
        ("MOST_BYTES", 100, "expected at most 100"),
        ("MOST_ROWS", 3, "more than 3 rows"),
        ("MOST_ROW_BYTES", 40, "line 1 has more than 40 bytes"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(files, name, limit)
            with pytest.raises(FormatError, match=message):
                load_data(path, tokenizer, 512)


def test_missing_files_and_other_types_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    for path, message in (
        (tmp_path / "none.jsonl", "no such file"),
        (write(tmp_path / "rows.csv", "a"), r"ends in .jsonl or .parquet"),
        (write(tmp_path / "empty.jsonl"), "has no rows"),
        (tmp_path, "has no train.jsonl"),
    ):
        with pytest.raises(FormatError, match=message):
            load_data(path, tokenizer, 512)


def test_a_prompt_whose_last_token_reaches_into_the_completion_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    pieces = [tokenizer.token_bytes(token).decode("utf-8", "ignore") for token in range(tokenizer.size)]
    joined = next(text for text in pieces if len(text) > 1 and text.isalpha())
    with pytest.raises(ParameterError, match="extends into the completion"):
        load(tmp_path, tokenizer, {"prompt": joined[:1], "completion": joined[1:]})


def test_parquet_rows_are_those_of_jsonl(tmp_path: Path, tokenizer: Tokenizer) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install '.[parquet]'")
    from pyarrow import Table, parquet

    rows = [{"messages": DIALOGUE}, {"messages": DIALOGUE[:2]}]
    parquet.write_table(Table.from_pylist(rows), tmp_path / "rows.parquet")
    found = load_data(tmp_path / "rows.parquet", tokenizer, 512).rows
    same = load(tmp_path, tokenizer, *rows).rows
    for one, other in zip(found, same, strict=True):
        assert isinstance(one, TrainExample)
        assert isinstance(other, TrainExample)
        assert one.tokens.tolist() == other.tokens.tolist()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1" + b"\0" * 40 + b"PAR1")
    with pytest.raises(FormatError, match="not a readable Parquet file"):
        load_data(tmp_path / "bad.parquet", tokenizer, 512)


def test_every_format_says_what_it_reads() -> None:
    assert set(FORMATS) == {"text", "messages", "prompt_completion", "preference", "labelled"}
    for form in FORMATS.values():
        assert form.summary
        assert form.needs
