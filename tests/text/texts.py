"""Texts on which tokenizers are compared with the reference, and the models whose vocabularies are used."""

import json
from pathlib import Path
from typing import Any

_SMOLLM, _QWEN, _GEMMA = "smollm2-135m", "qwen-coder-0.5b", "gemma3-270m"

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    _SMOLLM: (_SMOLLM, {}),
    _QWEN: (_QWEN, {}),
    _GEMMA: (_GEMMA, {}),
    "smollm2-135m as gpt-2": (_SMOLLM, {"tokenizer.ggml.pre": "gpt-2"}),
    "smollm2-135m as default": (_SMOLLM, {"tokenizer.ggml.pre": "default"}),
    "qwen-coder-0.5b as llama-bpe": (_QWEN, {"tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.add_bos_token": True}),
    "qwen-coder-0.5b as tekken": (_QWEN, {"tokenizer.ggml.pre": "tekken", "tokenizer.ggml.add_bos_token": False}),
    "gemma3-270m with a leading space": (_GEMMA, {"tokenizer.ggml.add_space_prefix": True}),
}
"""Model and changed settings of each vocabulary."""

COMPOSING = (_QWEN,)
"""Models whose own tokenizer brings text into Unicode's composed form first, which llama.cpp does not."""

SHORT = (
    "",
    " ",
    "Hello, world!",
    " Hello  world ",
    "I'm you're WE'LL they'D it'S can't",
    "a\nb\n\nc\r\nd\r\n\r\n e\n \n  f",
    "tabs\tand\t\ttabs\t \t",
    "   three,     five,                 seventeen spaces                                                 end   ",
    "\n\n\n\n\n   \n\t\n",
    "0 12 345 6789 12345678901234567890 3.14159 -1e-9 1,000,000 0xFF",
    "١٢٣ ४५६ Ⅷ ½ ² ㊿ 一二三",
    "def f(x):\n    return [i ** 2 for i in range(x)]  # squares\n\n\nclass A(B):\n\t'''doc'''\n",
    '#include <stdio.h>\nint main(void) { printf("%d\\n", 1 << 3); return 0; }',
    '{"a": [1, 2, {"b": null}], "c": "\\u00e9"}',
    "Größe, café, naïve, ŝtrüñg, İstanbul, ǅ",
    "Привет, мир! Ещё раз.",
    "שלום עולם. مرحبا بالعالم",
    "你好，世界！吾輩は猫である。안녕하세요 세계",
    "नमस्ते दुनिया ภาษาไทย தமிழ் ქართული",
    "😀😃 👩‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 ❤️ ☃",
    "\u200b\u200d\u2060\ufeff zero width\u00a0no-break\u2009thin\u3000ideographic\u2028line\u2029par\u0085nel",
    "\u0000\u0001\u0007\u001b[31m\u007f\u0080\u009f",
    "\ufffd\ufffe\uffff\ue000\U0010ffff\U000f0000\U0001d400\U00020000",
    "ａｂｃ１２３ ﬁ ﬂ ™ © ® ª º µ Å",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "----------------------------------------==========================================",
    "................................................!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!????",
    "ababababababababababab hahahahahahahaha lalalalala",
    "https://example.org/a/b?c=d&e=%20f#g user@example.com /usr/local/lib C:\\Windows",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|><|endoftext|> <|im_start|> <|im_end|>x",
    "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n<bos><eos><unk><pad>",
    "<table><tr><td>x</td></tr></table> <h1>y</h1> <code>z</code> a</b> > </ >\u2581</ \u2581\u2581",
    "<0x41><0x0A> <0x> <|im_start <|im_end|",
    "[PAD151935] [multimodal] <unused0> <tool_call>{}</tool_call>",
    "The $E = mc^2$ of \\(a\\) \\frac{1}{2} \u2211\u222b\u221e \u2260 \u2264",
    "snake_case camelCase PascalCase SCREAMING_CASE kebab-case x1y2z3 McDonald's",
    "\u2018quoted\u2019 \u201ctext\u201d \u2013 \u2014 \u2026 \u00ab\u00bb \u00bf\u00a1",
    "Zalgo: Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349\u035a\u032f\u031e\u0320A",
    "e\u0301 o\u0308 n\u0303 \u1100\u1161\u11a8 \u212b \u2126 \u0958",
    "Supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "'\u017f long s, \u212aelvin, 'T 'RE 'Ve",
)
"""Short texts, awkward ones among them."""

LONG = ("wikitext2", "humaneval", "gsm8k", "c4")


def long_text(data: Path, name: str) -> str:
    """Read some tens of thousands of characters from the data folder."""
    match name:
        case "wikitext2":
            return (data / "wikitext2" / "test.txt").read_text()[:200_000]
        case "humaneval":
            rows = (data / "humaneval" / "HumanEval.jsonl").read_text().splitlines()
            return "".join(row["prompt"] + row["canonical_solution"] + row["test"] for row in map(json.loads, rows))
        case "gsm8k":
            rows = (data / "gsm8k" / "test.jsonl").read_text().splitlines()[:300]
            return "\n".join(row["question"] + "\n" + row["answer"] for row in map(json.loads, rows))
        case "c4":
            return "\n".join(row["text"] for row in json.loads((data / "c4" / "c4_demo.json").read_text())[:100])
        case _:
            raise ValueError(name)
