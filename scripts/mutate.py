#!/usr/bin/env python3
"""Alter kernels and the code behind receipts by one unit in the last place, one change at a time: the tests must fail.

    scripts/mutate.py BUILD_FOLDER [--all] [--part I/N] [--list] [NAME...]

Each mutation changes a copy of one source, compiles only that unit (of tier scalar; of avx2, vbmi2 and amx for sources
specific to them), links it with the other objects of the build folder and runs the tests of the affected kernels on
that tier. First, the unaltered sources go through the same steps and must pass (with --trust only one of them, if the
tests have passed before). Without --all, one mutation of each kind is run. --part 2/6 runs the second sixth; parts can
run in parallel. A mutation whose text is no longer in the source is an error: the list below has to follow the kernels.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
HEAD, EXPERTS, ADAPTERS, CONVOLUTIONS, SCAN, SELECTIVE, RECURRENCE, DELTA, GATHER, MAPPED, CODECS, MULTIPLY = (
    f"tests/executors/test_{name}.py"
    for name in (
        *("head_inputs", "experts", "adapters", "convolutions", "scan", "selective", "recurrence"),
        *("delta", "gather", "mapped_weights", "kv_codecs", "multiply"),
    )
)
MATMUL, ROWS, ATTENTION, SAMPLING, FLOAT = (
    f"tests/native/test_{name}.py"
    for name in ("kernels_matmul", "kernels_rows", "kernels_attention", "kernels_sampling", "no_float")
)


PRODUCTS = ("product.inl", "matmul.inl", "tiles.inl")
"""Sources that only the matrix products include."""
GENERATED = ("_products1.cpp", "_products2.cpp", "_products3.cpp")
"""Suffixes of the files that the build generates for the products (cmake/Tiers.cmake)."""


class Mutation(NamedTuple):
    """Replace the only occurrence of `old` in `source` by `new`; `tests` must then fail."""

    name: str
    source: str
    old: str
    new: str
    tests: str
    short: bool = False
    """If true, it is one of the few that run without --all."""
    unit: str = "tier_scalar.cpp"


def of(
    source: str, tests: str, *changes: tuple[str, str, str] | tuple[str, str, str, bool], unit: str = "tier_scalar.cpp"
) -> list[Mutation]:
    return [Mutation(name, source, old, new, tests, bool(short), unit) for name, old, new, *short in changes]


MUTATIONS = [
    *of(
        "integer.inl", ROWS,
        ("a rounded shift by one less than half",
         "T round_shift(T x, S s) { return (x + ((all<T>(1) << s) >> 1)) >> s; }",
         "T round_shift(T x, S s) { return (x + ((all<T>(1) << s) >> 1) - (s > 0)) >> s; }"),
        ("a product rounds", "(c << s) + (std::int64_t{1} << (s - 1))", "(c << s) + (std::int64_t{1} << (s - 1)) - 1"),
        ("a saturation one lower", "constexpr std::int64_t kLimit = (std::int64_t{1} << 31) - 1;",
         "constexpr std::int64_t kLimit = (std::int64_t{1} << 31) - 2;"),
        ("log2(e)", "kLog2E = 1549082005;", "kLog2E = 1549082006;"),
        ("a square root that is not the floor", "(lower = next(root)) < root;", "(lower = next(root)) + 1 < root;"),
    ),
    *of(
        "integer.inl", ATTENTION,
        ("a rounded shift by a constant, one less than half", "(std::int64_t{1} << (S - 1))) >> S",
         "(std::int64_t{1} << (S - 1)) - 1) >> S"),
    ),
    *of(
        "integer.inl", SAMPLING,
        ("exp2, coefficient 5", "all<T>(-1014583)", "all<T>(-1014582)"),
        ("exp2, coefficient 4", "9884650", "9884651"),
        ("exp2, coefficient 3", "59375086", "59375085"),
        ("exp2, coefficient 2", "257891465", "257891466"),
        ("exp2, coefficient 1", "744257403", "744257402"),
    ),
    *of(
        "narrow.inl", ROWS,
        ("exp2, coefficient 5", "split_all(-1014583)", "split_all(-1014582)"),
        ("exp2, coefficient 4", "9884650", "9884651"),
        ("exp2, coefficient 3", "-59375086", "-59375085"),
        ("exp2, coefficient 2", "257891465", "257891466"),
        ("exp2, coefficient 1", "-744257403", "-744257402", True),
        ("exp2 rounds", "((twice >> (Unsigned)whole) + 1) >> 1", "(twice >> (Unsigned)whole) >> 1"),
        ("a quotient that is not the floor", "return times(q, d) < 0 ? q + 1 : q;", "return q;"),
        ("a quotient without the square of its error", "h + (dot_pairs(Narrow{}, high, high) >> 13)", "h"),
        ("a sigmoid that ends too soon", "splat(22 << 16)", "splat(21 << 16)"),
        ("a mirrored sigmoid", "x < 0 ? (1 << 30) + minus", "x < 0 ? (1 << 30) - 1 + minus"),
    ),
    *of(
        "integer.inl", MATMUL,
        ("a left shift of 30 at most", "all<T>(31));", "all<T>(30));"),
    ),
    *of(
        "product.inl", MATMUL,
        ("folding minima rounds", "broadcast(1 << (kMinimaFold<BLOCK> - 1));",
         "broadcast((1 << (kMinimaFold<BLOCK> - 1)) - 1);"),
        ("the shift of a block rounds", "const std::int32_t half = (1 << w.shift) >> 1;",
         "const std::int32_t half = ((1 << w.shift) >> 1) - (w.shift > 0);"),
        ("the zero point", "half - zero * sum;", "half - zero * sum + 1;"),
        ("the zero point, blocks of 16", "BLOCK == 16 ? sums[2 * p + i]", "BLOCK == 16 ? sums[2 * p]"),
        ("the zero point, blocks of 32", "sums[2 * b] + sums[2 * b + 1];", "sums[2 * b] + sums[2 * b + 1] - 1;"),
        ("the scale of a pair's second block", "smaller(2 * pair + 1, a.blocks", "smaller(2 * pair, a.blocks"),
        ("the position of the point", "(22 + w.shift + out.fraction", "(21 + w.shift + out.fraction"),
        ("a shift of 8-bit codes", "BITS == 8 ? 4 :", "BITS == 8 ? 3 :"),
        ("a rescaling in 32 bits that cuts off", "down), broadcast(1)));", "down), broadcast(0)));"),
        ("a rescaling in 32 bits where it does not fit",
         "lost = bit_or(lost, subtract(signed_right_each(high, shift), x));", "(void)lost;"),
        ("a rescaling that goes one bit too far", "right + left_ + high <= 29)", "right + left_ + high <= 33)"),
    ),
    *of("factors.inl", MATMUL, ("groups of another size", "kGroupPairs = 128 / BLOCK;", "kGroupPairs = 96 / BLOCK;")),
    *of(
        "matmul.inl", MATMUL,
        ("folding rounds", "group[t] = broadcast(64);", "group[t] = broadcast(63);", True),
        ("the other block's shift", "shift_left<16 - kShift<BITS>>", "shift_left<15 - kShift<BITS>>"),
        ("groups of minima of another size", "p < last; p += 4)", "p < last; p += 3)"),
    ),
    *of(
        "simd_scalar.h", MATMUL,
        ("a scale's product rounds", "(x.v[i] * y.v[i] + (1 << 14)) >> 15", "(x.v[i] * y.v[i] + (1 << 14) - 1) >> 15"),
        ("unsigned codes", "sum += c.v[j] * a.v[j];", "sum += c.v[j] * a.v[j] - (c.v[j] == 255);"),
    ),
    *of(
        "rows.inl", MATMUL,
        ("the largest row", "constexpr std::int64_t kLargest = 127 * 8191;",
         "constexpr std::int64_t kLargest = 127 * 8190;"),
        ("a narrow row's rounding", "(v >> right) + ((v >> (right - 1)) & 1)", "(v >> right)"),
        ("a wide row's rounding", "std::int64_t{1} << (right - 1), right)", "0, right)"),
        ("a scale is the next integer", "+ 126) / 127", "+ 125) / 127"),
        ("a reciprocal rounds", "reciprocal[j] = ((1 << 24) + (s >> 1)) / s;", "reciprocal[j] = (1 << 24) / s;"),
        ("a code rounds", "* reciprocal[j] + (1 << 23)) >> 24,",
         "* reciprocal[j] + (1 << 23) - 1) >> 24,"),
        ("the largest block sum", "> 8191) e++;", "> 8190) e++;"),
        ("a block sum rounds", "const std::int32_t half = (1 << e) >> 1;",
         "const std::int32_t half = ((1 << e) - 1) >> 1;"),
    ),
    *of(
        "rows.inl", ROWS,
        ("gpt-oss's factor of a gate", "split(splat(111542))", "split(splat(111543))"),
        ("gpt-oss's limit of a gate", "kLimit7 = 7 << 16;", "kLimit7 = 6 << 16;"),
        ("squares of 19 bits", "larger(length - 20, 0), t =", "larger(length - 19, 0), t ="),
        ("a norm in 32 bits where it does not fit", "if (u.t == 0 && u.r <= kLimit)", "if (u.r <= kLimit)"),
        ("an epsilon twice as fine", "round_shift_any(epsilon, 2 * s), 1)", "round_shift_any(epsilon, 2 * s + 1), 1)"),
        ("the least sum is 1", "2 * s), 1);", "2 * s), 2);"),
        ("an inverse square root", "(std::int64_t{1} << 61) / root, 31", "(std::int64_t{1} << 61) / root + 1, 31"),
        ("a head's point", "60 - g.exponent - fraction, 62)", "60 - g.exponent - fraction, 61)"),
        ("sine, last coefficient", "s = 332,", "s = 333,"),
        ("cosine, last coefficient", "c = 3790;", "c = 3791;"),
        ("sine, first coefficient", "+ 843314857;", "+ 843314858;"),
        ("cosine is 1", "+ 1073741824;\n        s =", "+ 1073741823;\n        s ="),
        ("an angle rounds", "(angle - (quadrant << 62)), 31)", "(angle - (quadrant << 62)) - (1 << 30), 31)"),
        ("a rotation rounds", "saturate(round_shift(a * c - b * s, 30))", "saturate((a * c - b * s) >> 30)"),
        ("a soft cap's slope rounds", "round_shift_by<24>(load_wide(x + i + j, some) * cap.slope)",
         "((load_wide(x + i + j, some) * cap.slope) >> 24)"),
        ("a soft cap rounds", "round_shift_by<29>(load_wide(share + j, some) * cap.limit)",
         "((load_wide(share + j, some) * cap.limit) >> 29)"),
        ("a scaled result's limit", "kMost = std::int64_t{1} << 42;", "kMost = std::int64_t{1} << 41;"),
        ("a scaled result rounds", "round_shift_by<18>(clipped * std::int64_t{factor})",
         "((clipped * std::int64_t{factor}) >> 18)"),
        ("several gates, the last one's place", "out + i + j * kNarrow", "out + i + j * kNarrow - (j == 3)"),
        ("GELU, the linear part", "1713444047", "1713444048"),
        ("GELU, the cubic part", "76616651", "76616652"),
        ("GELU that ends too soon", "splat(-376832)), splat(376832)", "splat(-330000)), splat(330000)"),
        ("GELU by the error function, the cubic part", "19579033", "19579034"),
        ("the same that ends too soon", "splat(-425984)), splat(425984)", "splat(-380000)), splat(380000)"),
    ),
    *of(
        "rows.inl", FLOAT,
        ("a division in floating point that gives the same integers", "reciprocal[j] = ((1 << 24) + (s >> 1)) / s;",
         "reciprocal[j] = static_cast<std::int32_t>(static_cast<double>((1 << 24) + (s >> 1)) / s);", True),
    ),
    *of(
        "embed.cpp", FLOAT,
        ("an embedding by a product in floating point",
         "x[k] += (at(codes, k) * (at(scales, k / w.block) * factor) + half) >> shift;",
         "x[k] += static_cast<std::int64_t>(double(at(codes, k)) * double(at(scales, k / w.block))) >> shift;"),
        unit="embed.cpp",
    ),
    *of(
        "attend.cpp", FLOAT,
        ("shares of attention by a quotient in floating point", "(seen - at(seen_, r)) * group / (",
         "static_cast<std::int64_t>(static_cast<double>((seen - at(seen_, r)) * group)) / ("),
        unit="attend.cpp",
    ),
    *of(
        "kv_codec.cpp", CODECS,
        ("a step of four bits that is tried", "{17, 16, 15, 14, 13, 12}", "{18, 16, 15, 14, 13, 12}"),
        ("a scale of four bits rounds", "step + 8) >> 4", "step + 7) >> 4"),
        ("a code of eight bits rounds", "(y + half) >> unit", "y >> unit"),
        ("keys of four bits", "& 15) ^ 8) * 256 - 1920)", "& 15) ^ 8) * 256 - 2048)", True),
        ("values of four bits", "<< 4 | 0x08080808", "<< 4 | 0x04040404"),
        ("a rotation rounds", "(wide_[i] + half) >> shift", "wide_[i] >> shift"),
        ("a slot that moves to another column", "(to / 4 * values + d) * 4 + to % 4]", "(to / 4 * values + d) * 4]"),
        unit="kv_codec.cpp",
    ),
    *of(
        "convert.cpp", FLOAT,
        ("a weight's error in single precision", "const std::int64_t error = squares +",
         "const std::int64_t error = static_cast<std::int64_t>(static_cast<float>(squares)) +"),
        unit="convert.cpp",
    ),
    *of(
        "tiles.inl", FLOAT,
        ("a tile's products of bfloat16", 'tdpbssd %%tmm%c2', 'tdpbf16ps %%tmm%c2'),
        unit="tier_amx.cpp",
    ),
    *of(
        "attention.inl", ATTENTION,
        ("a key's largest code", "quantize_head<8, 2047, 48>", "quantize_head<8, 2046, 48>"),
        ("a value's largest code", "quantize_head<6, 127, 50>", "quantize_head<6, 126, 50>", True),
        ("a head's scale is the next integer", "(amax << BITS) + LARGEST - 1)", "(amax << BITS) + LARGEST - 2)"),
        ("a query's reciprocal", "(std::int64_t{2047} << 48) /", "(std::int64_t{2046} << 48) /"),
        ("a query's mantissa has 14 bits", "bits - 15);", "bits - 14) << 1;"),
        ("a weight's largest value", "broadcast(4095)", "broadcast(4094)"),
        ("weights of 11 bits", "more = larger(bit_length(all) - 13, 0);", "more = larger(bit_length(all) - 12, 0);"),
        ("a sink has no mass", "row.mass = sink == kNoSink ? 0 :", "row.mass = sink != 0 ? 0 :"),
        ("small weights below a sink", "drop < 0 ? 2 * x :", "drop < 0 ? x :"),
        ("products below a sink beyond 31 bits", "shift + (gap > 0 ? less - 1 : 1);",
         "shift + (gap > 0 ? less + 9 : 1);"),
        ("the mass has 22 bits", "bit_length(row.mass) - 23;", "bit_length(row.mass) - 22;"),
        ("an inverse mass", "(std::int64_t{1} << 46) / round_shift(row.mass, s)",
         "(std::int64_t{1} << 46) / (round_shift(row.mass, s) + 1)"),
        ("a score's second rounding", "(std::int64_t{1} << row.drop) >> 1,", "(std::int64_t{1} << row.drop) >> 2,"),
        ("a weight's rounding", "add(twice, broadcast(1))", "twice"),
        ("a weight's other bits", "shift_left<kLowBits>(acc", "shift_left<kLowBits - 1>(acc"),
        ("a slot after the last", "(below(q.end) &", "(below(q.end + 1) &"),
    ),
    *of("simd_scalar.h", ATTENTION, ("a weight's low bits", "((1 << kLowBits) - 1)", "((1 << kLowBits) - 2)")),
    *of("integer.inl", SAMPLING, ("exp2 ends at 30", "whole >= 31 ?", "whole >= 30 ?")),
    *of(
        "attention.inl", SAMPLING,
        ("a gap's product rounds", "exp2_neg(round_shift_by<30>(gap * slope))", "exp2_neg((gap * slope) >> 30)"),
    ),
    *of(
        "sampling.inl", SAMPLING,
        ("a gap's half", "half = broadcast_pair(std::int64_t{1} << 29)", "half = broadcast_pair(0)"),
        ("a step's half", "(std::int64_t{1} << 15) + c", "(std::int64_t{1} << 14) + c"),
        ("the exponential's constant", "9884650, -59375086", "9884651, -59375086"),
        ("a weight beyond the limit", "{31} << 46) -", "{30} << 46) -"),
        ("the lanes of a run's end", "last[lane] = i + lane < end ?", "last[lane] = i + lane + 1 < end ?"),
        unit="tier_avx2.cpp",
    ),
    *of(
        "sample.cpp", SAMPLING,
        ("log2(e)", "kLog2E = 1549082005", "kLog2E = 1549082004", True),
        ("ln(2)", "kLn2 = 744261118", "kLn2 = 744261119"),
        ("a logarithm rounds", "(std::int64_t{1} << 33)) >> 34", "(std::int64_t{1} << 32)) >> 34"),
        ("a logarithm of 27 bits", "for (int i = 0; i < 28; i++) {", "for (int i = 0; i < 27; i++) {"),
        ("nine rounds of Philox", "round < 10;", "round < 9;"),
        ("a Philox constant", "0xD2511F53", "0xD2511F51"),
        ("a portion that is not the next integer", "+ kMillion - 1) / kMillion", "+ kMillion - 2) / kMillion"),
        ("ties by the larger id", "row.logits[b] : a < b;", "row.logits[b] : a > b;"),
        ("a run that is one short", "needed > 0)", "needed > 1)"),
        ("a bucket too early", "buckets[last_bucket] < needed", "buckets[last_bucket] <= needed"),
        ("min_p, exclusive", "scratch.weight[static_cast<std::size_t>(i)] >= weight",
         "scratch.weight[static_cast<std::size_t>(i)] > weight"),
        ("a draw at the edge", "mass()), i = 0;\n        while ((target -= weight[i]) >= 0)",
         "mass()), i = 0;\n        while ((target -= weight[i]) > 0)"),
        ("a run of weights at the edge", "while (target >= sums[run])", "while (target > sums[run])"),
        ("a positive logit's rounding", "(2 * z * kMillion + r) / (2 * r)", "(2 * z * kMillion + r - 1) / (2 * r)"),
        ("a negative logit's rounding", "2 * z * r + kMillion, 2", "2 * z * r + kMillion - 1, 2"),
        ("a penalty that is not rounded", "2 * penalty + kMillion, 2", "2 * penalty, 2"),
        ("an entropy of fewer bits", "surprisal(gap(i))) >> 8;", "surprisal(gap(i))) >> 9;"),
        ("bits beyond the vocabulary", "if (n % 32) words", "if (n % 31) words"),
        unit="sample.cpp",
    ),
    *of(
        "model.cpp", HEAD,
        ("a code that enters the head", "a.blocks * 32, to);", "a.blocks * 32, to); to[-1]++;", True),
        ("a scale that enters the head", "put(a.scale[i * a.blocks + b], 2);",
         "put(a.scale[i * a.blocks + b] + (b + 1 == a.blocks), 2);"),
        ("an exponent that enters the head", "put(a.exponent[i], 4);", "put(a.exponent[i] + 1, 4);"),
        ("a float that enters the head", "static_cast<std::size_t>(head_bytes()));",
         "static_cast<std::size_t>(head_bytes())); to[0]++;"),
        unit="model.cpp",
    ),
    *of(
        "routing.cpp", EXPERTS,
        ("an expert's weight is not rounded", "routing.factor / mass;", "(routing.factor + 1) / mass;", True),
        ("a softmax over other scores", "softmax(chosen.data(), used, kernel,", "softmax(scores, used, kernel,"),
        ("an expert's scale is rounded", "+ kHalf) >> 24, -kMost", "+ kHalf - 1) >> 24, -kMost"),
        ("rows of one expert too many", "from += most)", "from += most + 1)"),
        ("the least sum of sigmoids", "kLeastSum = 1074;", "kLeastSum = 1073;"),
        ("experts are chosen without their biases", "sums(bias, bias + n);", "sums(shares.size(), bias[0]);"),
        unit="routing.cpp",
    ),
    *of(
        "routing.h", EXPERTS,
        ("ties by the larger number", "scores[e] > scores[best]", "scores[e] >= scores[best]"),
        ("a group by its largest score alone", "biased ? first + second : first", "first"),
        ("an expert of another group", "group * size + place % size", "place"),
        unit="routing.cpp",
    ),
    *of(
        "pager.cpp", MAPPED,
        ("a cap that is exceeded", "counts.here + bytes > cap_)", "counts.here > cap_)", True),
        ("more is read ahead than the room for that", "ahead_(cap / 8)", "ahead_(cap)"),
        unit="pager.cpp",
    ),
    *of(
        "gather.cpp", GATHER,
        ("a column that stays is cleared", "else if (!op.accumulate)", "else"),
        unit="gather.cpp",
    ),
    *of(
        "norm.cpp", EXPERTS,
        ("a mean rounds", "std::int64_t{0}) + g.n;", "std::int64_t{0});"),
        ("a layer norm rounds", "(value + 8) >> 4", "value >> 4"),
        unit="norm.cpp",
    ),
    *of(
        "experts.cpp", EXPERTS,
        ("a row of minima that stays", "if (!from.skip_minima32) copy(from.minima32_exp",
         "if (false) copy(from.minima32_exp"),
        unit="experts.cpp",
    ),
    *of(
        "multiply.cpp", MULTIPLY,
        ("a multiplied row rounds", "* op.multiplier + half) >> 24", "* op.multiplier) >> 24"),
        ("columns of a row from the first", "run.wide(op.source, m) + op.first", "run.wide(op.source, m)"),
        unit="multiply.cpp",
    ),
    *of(
        "adapt.cpp", ADAPTERS,
        ("a change of another row", "add_row(op.target, at(rows, k), sums", "add_row(op.target, k, sums", True),
        ("an inner row of another fraction", "kNarrow, inner, nullptr", "kNarrow + 1, inner, nullptr"),
        unit="adapt.cpp",
    ),
    *of(
        "convolve.cpp", CONVOLUTIONS,
        ("a convolution rounds", "saturate((at(sum, i) + kHalf) >> 20)", "saturate(at(sum, i) >> 20)"),
        ("a convolution's result rounds", "* gate[i] + (1 << 11)) >> 12", "* gate[i]) >> 12"),
        ("a kept code rounds", "std::int64_t half = (std::int64_t{1} << exponent) >> 1;", "std::int64_t half = 0;"),
        ("kept codes have 15 bits", "std::bit_width(bits)) - 15", "std::bit_width(bits)) - 14"),
        unit="convolve.cpp",
    ),
    *of(
        "run_int8.cpp", SCAN,
        ("a scan's inputs round", "((at(sum, i) + (1 << 19)) >> 20) + (added", "(at(sum, i) >> 20) + (added"),
        ("a scan's bias", ">> 20) + (added ? added[i] : 0)", ">> 20)"),
        unit="run_int8.cpp",
    ),
    *of(
        "scan_block.cpp", SCAN,
        ("the state before a block", "kept = exp2_neg(last);", "kept = kOne;"),
        ("the decay to a row", "exp2_neg(last - decay_[i]) * std::int64_t{rows_[i].steps[head]}",
         "exp2_neg(last) * std::int64_t{rows_[i].steps[head]}"),
        ("a state's exponent", "both.see(most_old, old_place);", "", True),
        ("a step's rounding", "rshift(log * kLn2, 32)", "((log * kLn2) >> 32)"),
        ("a row's codes round", "(x[i] + half) >> exponent", "x[i] >> exponent"),
        unit="scan_block.cpp",
    ),
    *of(
        "selective_block.cpp", SELECTIVE,
        ("a step times x rounds", "added = rshift(whole, drop)", "added = whole >> drop"),
        ("a state's exponent follows what is kept", "both.see(bits, old);", ""),
        ("what a row adds has its own place", "from_new = exponent_ - place", "from_new = from_old"),
        unit="selective_block.cpp",
    ),
    *of("scan_block.cpp", SELECTIVE, ("D x rounds", "rshift(through, 12)", "(through >> 12)"), unit="scan_block.cpp"),
    *of(
        "trapezoidal_block.cpp", SELECTIVE,
        ("a position's part decays once it is another's", "rshift(rshift((kOne30 - own) * step, 30) * kept, 30)",
         "rshift((kOne30 - own) * step, 30)"),
        ("a state's exponent follows the position before",
         "all.see(std::abs(from_old.value) * old.most, from_old.place);", ""),
        ("an angle rounds", "* step, 25));", "* step >> 25, 0));"),
        ("keys have a bias", "sat32(from[n] + bias[head * states + n])", "sat32(from[n])"),
        unit="trapezoidal_block.cpp",
    ),
    *of(
        "recurrence_block.cpp", RECURRENCE,
        ("a state rounds", "((rest + lower + (std::int64_t{1} << 29)) >> 30)", "((rest + lower) >> 30)"),
        ("a state keeps its lower bits", "(h[i] & 0xffff) * kept", "std::int64_t{0}"),
        ("a sum's upper part is exact", "(upper & 0x3fff) << 16", "std::int64_t{0}"),
        ("a result rounds", "(h + (1 << 15)) >> 16", "h >> 16"),
        ("a state goes on behind a block", "if (!before_.mantissas)", "if (true)"),
        unit="recurrence_block.cpp",
    ),
    *of(
        "recurrence.cpp", RECURRENCE,
        ("a bound leaves less of a share", "rounded(room[i] * (kOne30 - at(sigmoid, i)))", "kOne30 - at(sigmoid, i)"),
        unit="recurrence.cpp",
    ),
    *of(
        "scan_run.h", SELECTIVE,
        ("a state on the way is that of the position before", "last.counts[channels.begin] == p - start",
         "last.counts[channels.begin] > 0"),
        unit="selective.cpp",
    ),
    *of(
        "delta_block.cpp", DELTA,
        ("a row of the block enters the one before", "if (s < own) keys_", "if (s <= own) keys_"),
        ("the decay from a row that wrote", "exp2_neg(decay_[own] - decay_[s])", "exp2_neg(decay_[own])", True),
        ("what is wanted saturates", "row.strengths[head] * sat32(wanted)", "row.strengths[head] * wanted"),
        ("a state's decay rounds", "rshift(before_.mantissas[at + p] * kept, 30)",
         "((before_.mantissas[at + p] * kept) >> 30)"),
        ("the epsilon of a key", "rshift(kEpsilon, 2 * exponent)", "0"),
        unit="delta_block.cpp",
    ),
    *of(
        "weighted.inl", DELTA,
        ("the second vector of a sum", "split(load_narrow(rows[r] + i + j * kNarrow, columns))",
         "split(load_narrow(rows[r] + i, columns))"),
    ),
    *of(
        "simd_avx2.h", MATMUL,
        ("the middle of bytes", "_mm256_xor_si256(codes, _mm256_set1_epi8(-128))",
         "_mm256_xor_si256(codes, _mm256_set1_epi8(-127))"),
        ("bytes without their sign", "_mm256_sign_epi8(x, centred)", "x"),
        ("a scale's product rounds", "_mm256_mulhrs_epi16(x.b, y.b)",
         "_mm256_mulhi_epi16(_mm256_slli_epi16(x.b, 1), y.b)"),
        ("sums of 16 bits that are too long, 6 bits", "BITS == 6 ? 2", "BITS == 6 ? 4", True),
        ("sums of 16 bits that are too long, 5 bits", "BITS == 5 ? 4", "BITS == 5 ? 8"),
        unit="tier_avx2.cpp",
    ),
    *of(
        "simd_avx2.h", ROWS,
        ("a shift to the right that forgets its sign", "_mm256_srl_epi64(top, n)", "_mm256_setzero_si256()"),
        unit="tier_avx2.cpp",
    ),
    *of(
        "simd_avx2.h", MATMUL,
        ("halves of a row that change places", "_mm256_permute4x64_epi64(pairs, 0xD8)", "pairs"),
        unit="tier_avx2.cpp",
    ),
    *of(
        "matmul.inl", MATMUL,
        ("a panel that is unpacked a block short", "0, w.pairs * BLOCK / 16, b", "0, w.pairs * BLOCK / 16 - 1, b"),
        unit="tier_avx2.cpp",
    ),
    *of(
        "simd_avx512.h", ATTENTION,
        ("a weight's bytes", "_mm_setr_epi8(0, 4, 8, 12, 1,", "_mm_setr_epi8(0, 4, 8, 13, 1,"),
        unit="tier_vbmi2.cpp",
    ),
    *of(
        "horner_ifma.inl", ROWS,
        ("2^52 that stays", "NEGATIVE ? std::int64_t{1} << 52 : 0;", "NEGATIVE ? std::int64_t{1} << 48 : 0;"),
        unit="tier_vbmi2.cpp",
    ),
    *of(
        "horner_ifma.inl", ATTENTION,
        ("a fraction at an odd place", "0x8080808080800504", "0x8080808080800501"),
        ("a fraction at an even place", "_mm512_set1_epi64(0xFFFF)", "_mm512_set1_epi64(0xFFFE)"),
        unit="tier_vbmi2.cpp",
    ),
    *of(
        "product.inl", MATMUL,
        ("the bias of joined sums", "to->start[0] + kJoinedBias)", "to->start[0] + kJoinedBias + 1)"),
        unit="tier_vbmi2.cpp",
    ),
    *of(
        "tiles.inl", MATMUL,
        ("a tile's shift rounds", "half_(broadcast((1 << shift_) >> 1))", "half_(broadcast((1 << shift_) >> 2))"),
        ("a tile's zero point", "w.zero * 0x01010101", "w.zero * 0x01010100", True),
        ("a tile's first group", "k + 1 == pairs, p == 0}", "k + 1 == pairs, false}"),
        ("a tile's groups of another size", "kGroup = kGroupPairs<BLOCK>;", "kGroup = 64 / BLOCK;"),
        ("a tile's groups of minima of another size", "smaller<std::int64_t>(4, w.pairs - p)",
         "smaller<std::int64_t>(3, w.pairs - p)"),
        unit="tier_amx.cpp",
    ),
]  # fmt: skip


class Build(NamedTuple):
    """A built extension whose units can be replaced one at a time."""

    folder: Path
    scratch: Path
    commands: dict[str, list[str]]

    @classmethod
    def open(cls, folder: Path, scratch: Path) -> Build:
        entries = json.loads((folder / "compile_commands.json").read_text())
        commands = {
            Path(entry["file"]).name: shlex.split(entry["command"]) for entry in entries if "/native/" in entry["file"]
        }
        site = scratch / "site" / "intact"
        site.mkdir(parents=True)
        for entry in (ROOT / "src/intact").iterdir():
            if not entry.name.startswith("_native.") and entry.name != "__pycache__":
                (site / entry.name).symlink_to(entry)
        shutil.copytree(ROOT / "native", scratch / "native")
        return cls(folder, scratch, commands)

    def extension(self, units: Sequence[str]) -> None:
        """Compile the scratch copies of units and link them with the other objects."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made = dict(pool.map(self._object, units))
        objects = [words[words.index("-o") + 1] for words in self.commands.values()]
        linked = [str(made.get(name, self.folder / name)) for name in objects]
        suffix = _output([sys.executable, "-c", "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"])
        library = self.scratch / "site/intact" / f"_native{suffix}"
        static = [str(path) for path in self.folder.glob("libnanobind-static*.a")]
        compiler = self.commands[units[0]][0]
        _run([compiler, "-shared", "-pthread", "-o", str(library), *linked, *static], cwd=self.folder)

    def _object(self, unit: str) -> tuple[str, Path]:
        """Compile the scratch copy of a unit; return the object's name in the build, and the file."""
        command = list(self.commands[unit])
        output = command[command.index("-o") + 1]
        made = self.scratch / output
        made.parent.mkdir(parents=True, exist_ok=True)
        command[command.index("-o") + 1] = str(made)
        if not unit.endswith(GENERATED):  # those of the build include what is in the scratch folder
            command[command.index("-c") + 1] = str(native_file(self.scratch, unit))
        command = [word.replace(f"-I{ROOT}/native", f"-I{self.scratch}/native") for word in command]
        for option in ("-MD", "-MT", "-MF"):
            at = command.index(option) if option in command else -1
            if at >= 0:
                del command[at : at + (1 if option == "-MD" else 2)]
        # A mutation may leave something unused; -O1 is faster to compile.
        command = [word for word in command if word not in ("-Werror", "-O3")]
        launcher = os.environ.get("CMAKE_CXX_COMPILER_LAUNCHER", "").split()  # a cache knows last time's mutations
        _run([*launcher, *command, "-O1"], cwd=self.folder)
        return output, made

    def passes(self, tests: str, tier: str) -> bool:
        """Return true if the tests pass on that tier with the current extension."""
        environment = os.environ | {"PYTHONPATH": str(self.scratch / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
        environment["INTACT_BUILD"] = str(self.scratch)  # whose only object is the altered one
        where = _output([sys.executable, "-c", "import intact._native as native; print(native.__file__)"], environment)
        if not where.startswith(str(self.scratch)):
            raise SystemExit(f"mutate: the tests would see {where} instead of the altered extension")
        chosen = [] if tests in (FLOAT, MAPPED, CODECS) else ["-k", f"{tier} or refused"]  # those have all tiers in one
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not nightly", *chosen, tests]  # slow ones too
        command += ["-p", "no:cacheprovider"]
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        ran = " passed" in result.stdout or " failed" in result.stdout
        if result.returncode not in (0, 1) or not ran:
            raise SystemExit(f"mutate: no tests ran:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
        return result.returncode == 0


@contextmanager
def _empty(folder: Path) -> Iterator[Path]:
    """Provide a temporary folder whose path is always the same, so that the compiler cache recognises its contents."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _run(command: list[str], cwd: Path) -> None:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"mutate: {shlex.join(command)}\n{result.stderr[-3000:]}")


def _output(command: list[str], environment: dict[str, str] | None = None) -> str:
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def native_file(root: Path, name: str) -> Path:
    """Return the file with this name in any folder of native/; names are unique."""
    (path,) = (root / "native").rglob(name)
    return path


def tier_of(mutation: Mutation) -> str:
    match = re.fullmatch(r"tier_(\w+)\.cpp", mutation.unit)
    return match[1] if match else "scalar"


def units_of(mutation: Mutation) -> tuple[str, ...]:
    """Return the files to compile; if products are mutated, the parts in which a tier compiles them."""
    if mutation.source in PRODUCTS or (mutation.tests == MATMUL and mutation.source != "rows.inl"):
        return tuple(f"tier_{tier_of(mutation)}{part}" for part in GENERATED)
    return (mutation.unit,)


def altered(mutation: Mutation) -> str:
    text = native_file(ROOT, mutation.source).read_text()
    # Independent of the source's layout: any whitespace may separate two tokens.
    pattern = r"\s*".join(re.escape(token) for token in re.findall(r"\w+|[^\w\s]", mutation.old))
    places = list(re.finditer(pattern, text))
    if len(places) != 1:
        found = f"stands there {len(places)} times, not once: {mutation.old}"
        raise SystemExit(f"mutate: {mutation.source}: {mutation.name}: {found}")
    return text[: places[0].start()] + mutation.new + text[places[0].end() :]


FLAGS = {"avx2": "avx2", "vbmi2": "avx512_vbmi2", "amx": "amx_int8"}
"""The system's names for the instructions that a tier needs."""


def usable(mutation: Mutation) -> bool:
    if mutation.tests == FLOAT:  # which looks into objects of any tier
        return tier_of(mutation) == "scalar" or platform.machine() in ("x86_64", "AMD64")
    flag = FLAGS.get(tier_of(mutation))
    return flag is None or (
        platform.machine() in ("x86_64", "AMD64") and flag in Path("/proc/cpuinfo").read_text().split()
    )


def part(text: str) -> tuple[int, int]:
    """Parse "2/6", the second of six parts."""
    number, parts = map(int, text.split("/"))
    if not 1 <= number <= parts:
        raise ValueError(text)
    return number, parts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="a folder in which CMake has built this checkout")
    parser.add_argument("names", nargs="*", help="take the mutations whose name holds one of these")
    parser.add_argument("--all", action="store_true", help="take all mutations: hours of processor time")
    parser.add_argument("--part", type=part, default=(1, 1), metavar="I/N", help="take the Ith of N parts")
    parser.add_argument("--trust", action="store_true", help="that the tests pass without mutations")
    parser.add_argument("--list", action="store_true", help="show them and stop")
    options = parser.parse_args()
    chosen = [m for m in MUTATIONS if (options.all or options.names or m.short) and usable(m)]
    if options.names:
        chosen = [m for m in chosen if any(name in f"{m.source}: {m.name}" for name in options.names)]
    for mutation in MUTATIONS:
        altered(mutation)
    number, parts = options.part
    chosen.sort(key=lambda m: (m.unit, m.tests))  # so that a part has few units
    chosen = chosen[len(chosen) * (number - 1) // parts : len(chosen) * number // parts]
    if options.list:
        print(*(f"{m.source}: {m.name}" for m in chosen), sep="\n")
        return 0
    if not (options.build / "compile_commands.json").is_file():
        parser.error(f"{options.build}: CMake has built nothing there")
    began, survivors = time.monotonic(), []
    with _empty(options.build.resolve() / f"mutate-{number}-{parts}") as scratch:
        build = Build.open(options.build.resolve(), scratch)
        if absent := sorted({unit for m in chosen for unit in units_of(m)} - build.commands.keys()):
            print(f"mutate: {', '.join(absent)} not built in {options.build} (INTACT_TIERS=all builds them): left out")
            chosen = [m for m in chosen if build.commands.keys() >= set(units_of(m))]
        unaltered = sorted({(units_of(m), tier_of(m), m.tests) for m in chosen})
        for units, tier, tests in unaltered[:1] if options.trust else unaltered:
            build.extension(units)
            if not build.passes(tests, tier):
                raise SystemExit(f"mutate: {tests} fails without any mutation, on tier {tier}")
        for mutation in chosen:
            copy = native_file(build.scratch, mutation.source)
            copy.write_text(altered(mutation))
            build.extension(units_of(mutation))
            survived = build.passes(mutation.tests, tier_of(mutation))
            shutil.copyfile(native_file(ROOT, mutation.source), copy)
            print(f"{'SURVIVED' if survived else 'found':8} {mutation.source}: {mutation.name}", flush=True)
            survivors += [mutation] if survived else []
    print(f"mutate: {len(chosen) - len(survivors)} of {len(chosen)} mutations found, {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
