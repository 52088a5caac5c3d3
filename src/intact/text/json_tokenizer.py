"""Tokenizers from the tokenizer.json of a safetensors folder, or from BERT's vocab.txt.

`json_loading` builds the tokenizers. The folder may also have tokenizer_config.json (BOS, EOS, the chat template),
chat_template.jinja and generation_config.json (the tokens that end generation).
"""

import json
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from intact._base.errors import FormatError
from intact.checkpoints.formats.metadata import Strings
from intact.checkpoints.formats.safetensors import read_json
from intact.checkpoints.formats.tensor import map_file
from intact.text import infill
from intact.text.json_loading import load
from intact.text.pairs import PairTemplate
from intact.text.parts import Parts
from intact.text.vocabulary import Tokens, TokenType, is_byte_token, spell_byte_level, spell_sentencepiece, turn_ends
from intact.text.wordpiece import document_of_vocabulary, spell_wordpiece

if TYPE_CHECKING:
    import tokenizers

VOCABULARY: Final = "vocab.txt"
"""BERT's vocabulary file, in folders without a tokenizer.json."""
_LONGEST_FILE: Final = 256 << 20
"""Maximum size of a tokenizer.json in bytes; the largest published ones have about 35 million."""
_LONGEST_TEMPLATE: Final = 4 << 20
_NAMED: Final = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Special tokens available to templates, as in Transformers."""
_UNUSED_IDS: Final = 1 << 16
"""Maximum number of unused ids in a vocabulary, beyond one for each token that it lists."""


def parts_from_folder(folder: str | PathLike[str], rows: int | None = None) -> Parts:
    """Build a tokenizer's parts from the files of a folder.

    Parameters
    ----------
    folder : path
        Folder with a tokenizer.json, or BERT's vocab.txt.
    rows : int, optional
        Rows of the model's embedding. Control tokens beyond them, which the model cannot read, are treated as plain
        text: the small Gemma 3 models do not accept images, but their tokenizer.json has an image token.

    Raises
    ------
    FormatError
        If tokenizer.json is missing or cannot be read, or another file contradicts it. The message names the file.
    """
    folder = Path(folder)
    config = _read(folder / "tokenizer_config.json")
    file = tokenizer_file(folder)
    if not file.exists():
        raise FormatError(f"{file}: no such file; expected the model's tokenizer.json next to its weights")
    written = file.name == VOCABULARY
    loaded = load(document_of_vocabulary(file, config) if written else _content(file, _LONGEST_FILE), file, rows)
    parsing, known = loaded.parsing, loaded.known
    spell, leading_space, byte_tokens = _decoding(parsing, file)
    literal = TokenType.USER_DEFINED if spell is spell_byte_level else TokenType.NORMAL  # Gemma's runs of U+2581
    types = {token: TokenType.CONTROL if one.special else literal for token, one in loaded.added.items()}
    texts = _texts(known, file)
    if byte_tokens:
        types |= {
            token: TokenType.BYTE
            for text, token in known.items()
            if is_byte_token(text) and types.get(token) is not TokenType.CONTROL
        }
    types |= dict.fromkeys(set(range(len(texts))) - set(known.values()), TokenType.UNUSED)

    bos_id = _named(config, "bos_token", known, folder)
    eos_id = _named(config, "eos_token", known, folder)
    ends = {token for token in (eos_id, *_listed(folder, len(texts))) if token is not None}
    prefix, suffix = _around(parsing, len(texts), file)
    if bos_id is None and prefix:
        bos_id = prefix[0]
    if (bos := _configured(config, "bos", bos_id, folder)) is not None:
        prefix = bos + tuple(token for token in prefix if token != bos_id)
    if (eos := _configured(config, "eos", eos_id, folder)) is not None:
        suffix = tuple(token for token in suffix if token != eos_id) + eos
    special = [(token, texts[token]) for token, kind in types.items() if kind is TokenType.CONTROL]
    return Parts(
        parsing=parsing,
        plain=loaded.plain,
        tokens=Tokens(texts, lambda token: types.get(token, TokenType.NORMAL), spell),
        bos_id=bos_id,
        eos_id=eos_id,
        eos_ids=frozenset(ends) | turn_ends(special),
        prefix=prefix,
        suffix=suffix,
        leading_space=leading_space,
        templates=_templates(folder, config),
        named=({} if bos_id is None else {"bos_token": texts[bos_id]})
        | {name: text for name in _NAMED if isinstance(text := _content_of(config.get(name)), str)},
        source=str(folder),
        infill=infill.find_by_name(known),
        pair=_pair(parsing, len(texts), file),
        aliases=loaded.aliases,
    )


def tokenizer_file(folder: Path) -> Path:
    """Return the vocabulary file of a folder: tokenizer.json, or BERT's vocab.txt if there is no such file."""
    file, vocabulary = folder / "tokenizer.json", folder / VOCABULARY
    return vocabulary if vocabulary.exists() and not file.exists() else file


def _content(file: Path, longest: int) -> bytes:
    """Read a file of at most `longest` bytes."""
    content = map_file(file)
    if len(content) > longest:
        raise FormatError(f"{file}: the file has {len(content)} bytes; expected at most {longest}")
    return content[:]


def _texts(known: Mapping[str, int], file: Path) -> Strings:
    """Return the texts of all tokens by id; unused ids get a generated name."""
    if not known:
        raise FormatError(f"{file}: its vocabulary is empty")
    last, most = max(known.values()), 2 * len(known) + _UNUSED_IDS
    if last > most:
        text = max(known, key=known.__getitem__)
        raise FormatError(
            f"{file}: token {text!r:.60} has the id {last}; expected at most {most} in a vocabulary of {len(known)}"
        )
    named = {token: text for text, token in known.items()}
    return Strings(named.get(token, f"[EMPTY_{token}]") for token in range(last + 1))


def _decoding(loaded: "tokenizers.Tokenizer", file: Path) -> tuple[Callable[[str], bytes], bool, bool]:
    """Return the tokens' spelling function, true if a leading space is removed, and true if there are byte tokens."""
    steps = _steps(loaded.decoder)
    kinds = {step["type"]: step for step in steps}
    if "ByteLevel" in kinds:
        return spell_byte_level, False, False
    if "WordPiece" in kinds:
        return spell_wordpiece, True, False
    if "Metaspace" in kinds or "ByteFallback" in kinds or "Replace" in kinds:
        metaspace = kinds.get("Metaspace", {"prepend_scheme": "never"})
        strips = "Strip" in kinds or metaspace.get("prepend_scheme", "always") != "never"
        return spell_sentencepiece, strips, "ByteFallback" in kinds
    raise FormatError(
        f"{file}: its decoder is {' + '.join(kinds) or 'missing'}; expected ByteLevel, Metaspace, Replace or WordPiece"
    )


def _steps(decoder: Any) -> list[dict[str, Any]]:
    if decoder is None:
        return []
    state: dict[str, Any] = json.loads(decoder.__getstate__())
    steps: list[dict[str, Any]] = state["decoders"] if state["type"] == "Sequence" else [state]
    return steps


def _around(loaded: "tokenizers.Tokenizer", size: int, file: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the tokens that the file puts before and after a text, determined by tokenizing one."""
    try:
        bare = loaded.encode("a", add_special_tokens=False).ids
        full = loaded.encode("a", add_special_tokens=True).ids
    except Exception as error:
        raise FormatError(f"{file}: cannot tokenize the text 'a': {str(error)[:300]}") from error
    extra = len(full) - len(bare)
    for start in range(extra + 1):
        if full[start : start + len(bare)] == bare:
            prefix, suffix = tuple(full[:start]), tuple(full[start + len(bare) :])
            if outside := [token for token in prefix + suffix if token >= size]:
                raise FormatError(
                    f"{file}: post_processor puts token {outside[0]} around a text; expected 0 to {size - 1}"
                )
            return prefix, suffix
    return (), ()


def _pair(loaded: "tokenizers.Tokenizer", size: int, file: Path) -> PairTemplate | None:
    """Return the tokens that the file puts around a pair of texts, found by tokenizing a pair; None if none."""
    if not loaded.num_special_tokens_to_add(True):
        return None
    made = loaded.encode("a", "a", add_special_tokens=True)
    ids, types, texts = made.ids, made.type_ids, made.sequence_ids
    if 0 not in texts or 1 not in texts:
        return None
    first, second = texts.index(0), texts.index(1)
    end = second + texts.count(1)
    template = PairTemplate(
        before=tuple(ids[:first]),
        between=tuple(ids[first + texts.count(0) : second]),
        after=tuple(ids[end:]),
        types=(types[first], types[second]),
    )
    around = template.before + template.between + template.after
    if max(around, default=0) >= size:
        raise FormatError(f"{file}: post_processor puts token {max(around)} around two texts; expected 0 to {size - 1}")
    fits = template.join(ids[first : first + texts.count(0)], ids[second:end]) == (ids, types)
    return template if fits and set(types) <= {0, 1} else None


def _read(file: Path) -> dict[str, Any]:
    """Read an optional file of a folder."""
    return read_json(file, "the file") if file.exists() else {}


def _named(config: Mapping[str, Any], key: str, known: Mapping[str, int], folder: Path) -> int | None:
    """Look up a token given in the configuration as a string, or as an object that contains it."""
    value = config.get(key)
    text = _content_of(value)
    if value is None:
        return None
    if not isinstance(text, str) or text not in known:
        raise FormatError(
            f"{folder / 'tokenizer_config.json'}: {key} is {value!r:.60}, which is not in the vocabulary; "
            "expected a token, or an object with it as content"
        )
    return known[text]


def _content_of(value: object) -> object:
    """Return a token's text from the configuration, where it is a string or inside an object."""
    return value.get("content") if isinstance(value, dict) else value


def _configured(config: Mapping[str, Any], name: str, token: int | None, folder: Path) -> tuple[int, ...] | None:
    """Return the BOS or EOS that the configuration adds to input text, or (); None if unspecified."""
    flag = config.get(f"add_{name}_token")
    if flag is None:
        return None
    if not isinstance(flag, bool):
        raise FormatError(
            f"{folder / 'tokenizer_config.json'}: add_{name}_token must be true or false, got {flag!r:.60}"
        )
    if flag and token is None:
        raise FormatError(
            f"{folder / 'tokenizer_config.json'}: {name}_token is missing, but add_{name}_token requires it"
        )
    return (token,) if flag and token is not None else ()


def _listed(folder: Path, size: int) -> list[int]:
    """Read the ids that end generation from generation_config.json, or else config.json."""
    for name in ("generation_config.json", "config.json"):
        value = _read(folder / name).get("eos_token_id")
        if value is None:
            continue
        ids = value if isinstance(value, list) else [value]
        for token in ids:
            if type(token) is not int or not 0 <= token < size:
                raise FormatError(
                    f"{folder / name}: eos_token_id {token!r:.60} is not a token; expected 0 to {size - 1}"
                )
        return ids
    return []


def _templates(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Find the chat templates by name: in their own files, or else one or several in the configuration."""
    files = {file.stem: file for file in sorted((folder / "additional_chat_templates").glob("*.jinja"))}
    if (default := folder / "chat_template.jinja").exists():
        files["default"] = default
    if files:
        return {name: _text(file) for name, file in files.items()}
    value = config.get("chat_template")
    if value is None:
        return {}
    entries = value if isinstance(value, list) else [{"name": "default", "template": value}]
    if not all(isinstance(item, dict) for item in entries):
        raise FormatError(
            f"{folder / 'tokenizer_config.json'}: chat_template is {value!r:.60}; "
            "expected a string, or a list of objects with name and template"
        )
    found: dict[str, Any] = {str(item.get("name")): item.get("template") for item in entries}
    for name, template in found.items():
        if not isinstance(template, str):
            where = f"chat_template {name!r:.40}" if isinstance(value, list) else "chat_template"
            raise FormatError(f"{folder / 'tokenizer_config.json'}: {where} must be a string, got {template!r:.60}")
    return found


def _text(file: Path) -> str:
    try:
        return _content(file, _LONGEST_TEMPLATE).decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{file}: not readable as text: {error}") from error
