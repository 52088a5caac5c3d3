// Written by scripts/js_definitions.py from the Python package; do not edit.

export default {
  "numerics": "1",
  "gates": [
    "silu",
    "gelu",
    "relu",
    "swiglu_oai",
    "sigmoid",
    "gelu_erf"
  ],
  "most_context": 524288,
  "formats": [
    {
      "name": "F32",
      "gguf": 0,
      "values": 1,
      "bytes": 4
    },
    {
      "name": "F16",
      "gguf": 1,
      "values": 1,
      "bytes": 2
    },
    {
      "name": "Q4_0",
      "gguf": 2,
      "values": 32,
      "bytes": 18
    },
    {
      "name": "Q4_1",
      "gguf": 3,
      "values": 32,
      "bytes": 20
    },
    {
      "name": "Q5_0",
      "gguf": 6,
      "values": 32,
      "bytes": 22
    },
    {
      "name": "Q5_1",
      "gguf": 7,
      "values": 32,
      "bytes": 24
    },
    {
      "name": "Q8_0",
      "gguf": 8,
      "values": 32,
      "bytes": 34
    },
    {
      "name": "Q2_K",
      "gguf": 10,
      "values": 256,
      "bytes": 84
    },
    {
      "name": "Q3_K",
      "gguf": 11,
      "values": 256,
      "bytes": 110
    },
    {
      "name": "Q4_K",
      "gguf": 12,
      "values": 256,
      "bytes": 144
    },
    {
      "name": "Q5_K",
      "gguf": 13,
      "values": 256,
      "bytes": 176
    },
    {
      "name": "Q6_K",
      "gguf": 14,
      "values": 256,
      "bytes": 210
    },
    {
      "name": "IQ2_XXS",
      "gguf": 16,
      "values": 256,
      "bytes": 66
    },
    {
      "name": "IQ2_XS",
      "gguf": 17,
      "values": 256,
      "bytes": 74
    },
    {
      "name": "IQ3_XXS",
      "gguf": 18,
      "values": 256,
      "bytes": 98
    },
    {
      "name": "IQ1_S",
      "gguf": 19,
      "values": 256,
      "bytes": 50
    },
    {
      "name": "IQ4_NL",
      "gguf": 20,
      "values": 32,
      "bytes": 18
    },
    {
      "name": "IQ3_S",
      "gguf": 21,
      "values": 256,
      "bytes": 110
    },
    {
      "name": "IQ2_S",
      "gguf": 22,
      "values": 256,
      "bytes": 82
    },
    {
      "name": "IQ4_XS",
      "gguf": 23,
      "values": 256,
      "bytes": 136
    },
    {
      "name": "IQ1_M",
      "gguf": 29,
      "values": 256,
      "bytes": 56
    },
    {
      "name": "BF16",
      "gguf": 30,
      "values": 1,
      "bytes": 2
    },
    {
      "name": "TQ1_0",
      "gguf": 34,
      "values": 256,
      "bytes": 54
    },
    {
      "name": "TQ2_0",
      "gguf": 35,
      "values": 256,
      "bytes": 66
    },
    {
      "name": "MXFP4",
      "gguf": 39,
      "values": 32,
      "bytes": 17
    }
  ],
  "float_formats": [
    "BF16",
    "F16",
    "F32"
  ],
  "pretokenizers": {
    "default": {
      "patterns": [
        "[\\p{P}\\$\\+<=>\\^~\\|]+",
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
        "\\p{N}+",
        "[0-9][0-9][0-9]"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "gpt-2": {
      "patterns": [
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "olmo": {
      "patterns": [
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "mpt": {
      "patterns": [
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "exaone4": {
      "patterns": [
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "smollm": {
      "patterns": [
        "\\p{N}",
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "starcoder": {
      "patterns": [
        "\\p{N}",
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "refact": {
      "patterns": [
        "\\p{N}",
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "command-r": {
      "patterns": [
        "\\p{N}",
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "codeshell": {
      "patterns": [
        "\\p{N}",
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "exaone": {
      "patterns": [
        "\\p{N}",
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "minerva-7b": {
      "patterns": [
        "\\p{N}",
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "llama-bpe": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": true,
      "bos": true,
      "nfc": false
    },
    "llama3": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": true,
      "bos": true,
      "nfc": false
    },
    "llama-v3": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": true,
      "bos": true,
      "nfc": false
    },
    "falcon3": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": true,
      "bos": true,
      "nfc": false
    },
    "falcon-h1": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": true,
      "bos": true,
      "nfc": false
    },
    "pixtral": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": true,
      "bos": true,
      "nfc": false
    },
    "lfm2": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": true,
      "bos": true,
      "nfc": false
    },
    "dbrx": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "smaug-bpe": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "glm4": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "chatglm-bpe": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "qwen2": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": true
    },
    "qwen35": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": true
    },
    "deepseek-r1-qwen": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "megrez": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "stablelm2": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "hunyuan": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "solar-open": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "seed-coder": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "gpt-4o": {
      "patterns": [
        "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "llama4": {
      "patterns": [
        "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "minimax-m2": {
      "patterns": [
        "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "exaone-moe": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "bailingmoe": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "bailingmoe2": {
      "patterns": [
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "deepseek-llm": {
      "patterns": [
        "[\\r\\n]",
        "\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376-\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183-\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2-\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\ud801\udc00-\ud801\udc4f\ud801\udcb0-\ud801\udcd3\ud801\udcd8-\ud801\udcfb\ud803\udc80-\ud803\udcb2\ud803\udcc0-\ud803\udcf2\ud806\udca0-\ud806\udcdf\ud83a\udd00-\ud83a\udd43]+",
        "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
        "\\s+$",
        "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
        "\\p{N}"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "deepseek-coder": {
      "patterns": [
        "[\\r\\n]",
        "\\s?\\p{L}+",
        "\\s?\\p{P}+",
        "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
        "\\p{N}"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "deepseek-v3": {
      "patterns": [
        "\\p{N}{1,3}",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "hunyuan-dense": {
      "patterns": [
        "\\p{N}{1,3}",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "afmoe": {
      "patterns": [
        "\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))",
        "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": false,
      "bos": false,
      "nfc": false
    },
    "tekken": {
      "patterns": [
        "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      ],
      "whole_words": true,
      "bos": true,
      "nfc": false
    }
  },
  "profiles": {
    "plain": [
      "int8",
      "int8_row",
      "int4",
      "mxint8",
      "mxfp4",
      "mxfp6",
      "mxfp8",
      "mxfp8e5m2",
      "int8_static",
      "llm_int8",
      "fp32"
    ],
    "sparse": [
      "int8",
      "int8_row",
      "int4",
      "mxint8",
      "mxfp4",
      "mxfp6",
      "int8_static"
    ],
    "rules": [
      "wina",
      "teal",
      "random"
    ],
    "codecs": [
      "int4",
      "int8",
      "int84"
    ]
  },
  "turn_ends": [
    "<end_of_turn>",
    "<end_of_utterance>",
    "<|call|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|im_end|>",
    "<|return|>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>"
  ],
  "constraints": [
    "json_schema",
    "regex",
    "grammar"
  ],
  "json_space": " |\\r?\\n[ \\t]{0,40}",
  "contract": {
    "operations": "29f28e246cf81f19407c51ff4f02c80620ebb07e01234eca73df5c0ed4551974",
    "layouts": "7fccbf351f8be9b96fd5611036cf7a1232fb495b776e4314c0df8d1b526e3bac",
    "profiles": "bbca7cf9013134be433a21b982e32117aa8d87703ad1417bf8490a4fbdc7da1b"
  },
  "refused": {
    "expert_count": [
      0
    ],
    "attn_logit_softcapping": [
      0.0
    ],
    "final_logit_softcapping": [
      0.0
    ],
    "attention.causal": [
      true
    ],
    "attention.clamp_kqv": [
      0.0
    ],
    "attention.max_alibi_bias": [
      0.0
    ],
    "attention.scale": [
      0.0
    ],
    "attention.temperature_length": [
      0
    ],
    "embedding_scale": [
      0.0,
      1.0
    ],
    "logit_scale": [
      0.0,
      1.0
    ],
    "residual_scale": [
      0.0,
      1.0
    ],
    "use_parallel_residual": [
      false
    ],
    "pooling_type": [
      0,
      3,
      4
    ]
  }
};
