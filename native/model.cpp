#include "model.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "convert.h"

namespace intact {
namespace {

struct Span {
    std::int64_t begin, end;
};
Span span(std::int64_t total, int thread, int threads) { return {total * thread / threads, total * (thread + 1) / threads}; }

std::int64_t round_up(std::int64_t x, std::int64_t to) { return (x + to - 1) / to * to; }

void ensure(Buffer& buffer, std::int64_t bytes) {
    if (static_cast<std::int64_t>(buffer.size()) < bytes) {
        buffer = Buffer();
        buffer = Buffer(static_cast<std::size_t>(bytes));
    }
}

const Kernels* require(const Kernels* table, const std::string& tier) {
    if (!table) throw std::invalid_argument("tier " + tier + " is not available on this machine");
    return table;
}

// Activations for `rows` rows of `columns` values, laid out in one buffer, which grows if it must.
Activations lay_out(Buffer& buffer, std::int64_t rows, std::int64_t columns) {
    Activations a{};
    a.blocks = round_up(columns, 32) / 32;
    a.stride = a.blocks * 32 + 64;  // rows never a multiple of 4,096 bytes apart
    a.minima_stride = round_up(a.blocks, 2);
    std::int64_t at = 0;
    const auto place = [&](std::int64_t bytes) {
        const std::int64_t offset = at;
        at += round_up(bytes, 64);
        return offset;
    };
    const std::int64_t codes = place(rows * a.stride), scale = place(rows * a.blocks * 4), sums = place(rows * a.blocks * 8);
    const std::int64_t minima32 = place(rows * a.minima_stride * 2), minima16 = place(rows * a.minima_stride * 4);
    const std::int64_t scratch = place(rows * a.blocks * 8), exponents = place(rows * 12);
    ensure(buffer, at);
    std::uint8_t* base = buffer.data();
    a.codes = reinterpret_cast<std::int8_t*>(base + codes);
    a.scale = reinterpret_cast<std::int32_t*>(base + scale);
    a.half_sums = reinterpret_cast<std::int32_t*>(base + sums);
    a.minima32 = reinterpret_cast<std::int16_t*>(base + minima32);
    a.minima16 = reinterpret_cast<std::int16_t*>(base + minima16);
    a.minima_scratch = reinterpret_cast<std::int32_t*>(base + scratch);
    a.exponent = reinterpret_cast<std::int32_t*>(base + exponents);
    a.minima32_exp = a.exponent + rows;
    a.minima16_exp = a.exponent + 2 * rows;
    return a;
}

void skip_less(Activations& a, const Matrix& w) {
    if (w.has_min) (w.block == 16 ? a.skip_minima16 : a.skip_minima32) = false;
}

}  // namespace

struct Model::Step {
    const std::int32_t* tokens;
    std::int64_t rows;
    const std::vector<Chunk>* chunks;
    const std::int64_t* wanted;
    std::int64_t wanted_count;
    std::int32_t* logits;
    std::vector<std::int64_t> position;                       // of every row
    std::vector<std::int64_t> chunk;                          // of every row
    std::vector<std::vector<std::int32_t>> sine, cosine;      // [rotation][row * n + i]
    std::vector<std::vector<float>> float_sine, float_cosine;
    std::vector<std::vector<const float*>> keys, values;      // profile fp32: [chunk][page]
    std::vector<float> gathered;
};

Model::Model(Profile profile_, const std::string& tier, int threads, int layers_, int kv_heads_, std::int64_t head_width_,
             std::int64_t page_size_)
    : profile(profile_),
      kernel(require(kernels(tier.c_str()), tier)),
      float_kernel(fp32_kernels(tier)),
      pool(threads),
      layers(layers_),
      kv_heads(kv_heads_),
      head_width(head_width_),
      depth(round_up(head_width_, 16)),
      page_size(page_size_),
      scratch_(static_cast<std::size_t>(threads)) {
    if (page_size < 16 || page_size % 16) throw std::invalid_argument("page_size must be a multiple of 16");
    if (head_width < 2 || head_width > 512 || head_width % 2) throw std::invalid_argument("head width must be even and at most 512");
}

int Model::add_buffer(std::int64_t width, bool wide) {
    buffers_.push_back({width, wide});
    memory_.emplace_back();
    return static_cast<int>(buffers_.size()) - 1;
}

void Model::add_op(Op op) { ops_.push_back(std::move(op)); }

std::int64_t Model::vocabulary() const {
    for (const Op& op : ops_)
        if (op.kind == Op::kEmbed) {
            const MatrixWeight& w = *weights.at(static_cast<std::size_t>(op.weight));
            return profile == Profile::kInt8 ? w.packed.rows : w.floats.rows;
        }
    return 0;
}

std::int64_t Model::outputs() const {
    for (const Op& op : ops_)
        if (op.kind == Op::kLogits) {
            const MatrixWeight& w = *weights.at(static_cast<std::size_t>(op.weight));
            return profile == Profile::kInt8 ? w.packed.rows : w.floats.rows;
        }
    return 0;
}

std::int64_t Model::page_bytes() const {
    const std::int64_t heads = std::int64_t{layers} * kv_heads;
    return profile == Profile::kInt8 ? heads * page_size * (3 * depth + 8) : heads * page_size * head_width * 8;
}

std::int64_t Model::weight_bytes() const {
    std::int64_t total = 0;
    for (const auto& w : weights) total += static_cast<std::int64_t>(w->packed.nbytes());
    return total;
}

void Model::reserve_pages(std::int64_t count) {
    while (static_cast<std::int64_t>(pages.size()) < count) {
        pages.emplace_back(static_cast<std::size_t>(page_bytes()));
        std::memset(pages.back().data(), 0, pages.back().size());
    }
}

void Model::copy_page(std::int64_t from, std::int64_t to) {
    std::memcpy(pages.at(static_cast<std::size_t>(to)).data(), pages.at(static_cast<std::size_t>(from)).data(),
                static_cast<std::size_t>(page_bytes()));
}

HeadCache Model::head_cache(int layer, int head) const {
    const std::int64_t base = (std::int64_t{layer} * kv_heads + head) * page_size * (3 * depth + 8);
    const std::int64_t values = base + page_size * depth * 2, scales = values + page_size * depth;
    return {nullptr, page_size, depth, base, values, scales, scales + page_size * 4};
}

void Model::step(const std::int32_t* tokens, std::int64_t rows, std::vector<Chunk>& chunks, const std::int64_t* wanted,
                 std::int64_t wanted_count, std::int32_t* logits) {
    Step step{tokens, rows, &chunks, wanted, wanted_count, logits, {}, {}, {}, {}, {}, {}, {}, {}, {}};
    for (std::size_t c = 0; c < chunks.size(); c++)
        for (std::int64_t i = 0; i < chunks[c].count; i++) {
            step.position.push_back(chunks[c].position + i);
            step.chunk.push_back(static_cast<std::int64_t>(c));
        }
    for (std::size_t i = 0; i < buffers_.size(); i++)
        ensure(memory_[i], rows * buffers_[i].width * (buffers_[i].wide && profile == Profile::kInt8 ? 8 : 4));
    if (profile == Profile::kInt8)
        for (const Op& op : ops_)
            if (op.kind == Op::kLinear || op.kind == Op::kLogits)
                lay_out(quantized_, rows, buffers_[static_cast<std::size_t>(op.source)].width);
    for (const Rotation& rotation : rotations) {
        const auto n = rotation.turns.size() * static_cast<std::size_t>(rows);
        step.sine.emplace_back(n);
        step.cosine.emplace_back(n);
    }
    if (profile == Profile::kFp32) {
        for (const Chunk& chunk : chunks) {
            auto& keys = step.keys.emplace_back();
            auto& values = step.values.emplace_back();
            for (std::uint8_t* page : chunk.pages) {
                keys.push_back(reinterpret_cast<const float*>(page));
                values.push_back(keys.back() + std::int64_t{layers} * kv_heads * page_size * head_width);
            }
        }
        for (const auto& table : step.sine) {
            step.float_sine.emplace_back(table.size());
            step.float_cosine.emplace_back(table.size());
        }
    }
    pool.run([&](int thread) { profile == Profile::kInt8 ? run_int8(step, thread) : run_fp32(step, thread); });
    counters.steps++;
    counters.rows += rows;
    counters.largest_step = std::max(counters.largest_step, rows);
    counters.chunks += static_cast<std::int64_t>(chunks.size());
}

void Model::run_int8(Step& step, int thread) {
    const int threads = pool.size();
    const Span mine = span(step.rows, thread, threads);
    Buffer& scratch = scratch_[static_cast<std::size_t>(thread)];
    const auto narrow = [&](int buffer, std::int64_t row) {
        return reinterpret_cast<std::int32_t*>(memory_[static_cast<std::size_t>(buffer)].data()) + row * buffers_[static_cast<std::size_t>(buffer)].width;
    };
    const auto wide = [&](int buffer, std::int64_t row) {
        return reinterpret_cast<std::int64_t*>(memory_[static_cast<std::size_t>(buffer)].data()) + row * buffers_[static_cast<std::size_t>(buffer)].width;
    };
    const auto spec = [&](int buffer) { return buffers_[static_cast<std::size_t>(buffer)]; };
    std::vector<int> fraction(buffers_.size(), 16);
    for (std::size_t r = 0; r < rotations.size(); r++) {
        const auto& turns = rotations[r].turns;
        const auto n = static_cast<std::int64_t>(turns.size());
        for (std::int64_t m = mine.begin; m < mine.end; m++)
            kernel->sine_cosine(step.position[static_cast<std::size_t>(m)], turns.data(), n, step.sine[r].data() + m * n, step.cosine[r].data() + m * n);
    }
    const auto multiply = [&](const Matrix& w, const Activations& a, std::int64_t rows, const Output& out) {
        ensure(scratch, matmul_scratch(w.blocks) * 4);
        // Pairs of panels, so that no thread is left with half a tile.
        const std::int64_t panels = (w.rows + 15) / 16;
        const Span pairs = span((panels + 1) / 2, thread, threads);
        kernel->matmul(w, a, 0, rows, pairs.begin * 2, std::min(pairs.end * 2, panels), out, reinterpret_cast<std::int32_t*>(scratch.data()));
    };
    // Most operations treat each row by itself, and a row always belongs to the same thread: only products and attention,
    // which read rows of other threads, wait for them, before and after.
    for (const Op& op : ops_) {
        switch (op.kind) {
            case Op::kEmbed: {
                const MatrixWeight& table = *weights[static_cast<std::size_t>(op.weight)];
                const Weight& w = table.packed;
                std::vector<std::int32_t> codes(static_cast<std::size_t>(w.blocks() * 32));
                std::vector<std::int16_t> scales(static_cast<std::size_t>(w.scale_blocks())), minima(scales.size());
                for (std::int64_t m = mine.begin; m < mine.end; m++) {
                    const std::int64_t token = step.tokens[m];
                    unpack_row(w, token, codes.data(), scales.data(), w.has_min ? minima.data() : nullptr);
                    const auto rounded = [](std::int64_t x, std::int64_t s) { return s ? (x + (std::int64_t{1} << (s - 1))) >> s : x; };
                    std::int64_t* x = wide(op.target, m);
                    for (std::int64_t k = 0; k < w.columns; k++) {
                        const auto b = static_cast<std::size_t>(k / w.block);
                        x[k] = rounded(codes[static_cast<std::size_t>(k)] * scales[b] * op.multiplier, 4 - w.scale_exp[token]);
                        if (w.has_min) x[k] += rounded(minima[b] * op.multiplier, 4 - w.minimum_exp[token]);
                    }
                }
                break;
            }
            case Op::kNorm: {
                const NormGain& norm = gains[static_cast<std::size_t>(op.weight)];
                const Gain gain{norm.factor.data(), static_cast<std::int64_t>(norm.factor.size()), norm.exponent, norm.epsilon};
                const bool to_wide = spec(op.target).wide;
                for (std::int64_t m = mine.begin; m < mine.end; m++) {
                    if (op.heads)
                        for (int h = 0; h < op.heads; h++)
                            kernel->norm_narrow(narrow(op.source, m) + h * gain.n, gain, 16, narrow(op.target, m) + h * gain.n);
                    else
                        kernel->norm_wide(wide(op.source, m), gain, to_wide ? nullptr : narrow(op.target, m),
                                          to_wide ? wide(op.target, m) : nullptr, op.accumulate);
                }
                fraction[static_cast<std::size_t>(op.target)] = op.heads ? 16 : 30 - norm.exponent;
                break;
            }
            case Op::kLinear: {
                const BufferSpec from = spec(op.source);
                Activations a = lay_out(quantized_, step.rows, from.width);
                a.skip_minima32 = a.skip_minima16 = true;
                for (const LinearTarget& target : op.targets) skip_less(a, weights[static_cast<std::size_t>(target.weight)]->matrix);
                for (std::int64_t m = mine.begin; m < mine.end; m++) {
                    if (from.wide)
                        kernel->quantize_wide(wide(op.source, m), from.width, a, m);
                    else
                        kernel->quantize_narrow(narrow(op.source, m), from.width, fraction[static_cast<std::size_t>(op.source)], a, m);
                }
                pool.barrier();
                for (const LinearTarget& target : op.targets) {
                    const BufferSpec to = spec(target.buffer);
                    const std::int64_t* bias = target.bias < 0 ? nullptr : biases[static_cast<std::size_t>(target.bias)].data();
                    multiply(weights[static_cast<std::size_t>(target.weight)]->matrix, a, step.rows,
                             to.wide ? Output{20, nullptr, wide(target.buffer, 0), target.accumulate, to.width, bias}
                                     : Output{16, narrow(target.buffer, 0), nullptr, false, to.width, bias});
                    fraction[static_cast<std::size_t>(target.buffer)] = 16;
                }
                pool.barrier();
                break;
            }
            case Op::kRope: {
                const auto r = static_cast<std::size_t>(op.weight);
                const auto half = static_cast<std::int64_t>(rotations[r].turns.size());
                for (std::int64_t m = mine.begin; m < mine.end; m++)
                    for (int h = 0; h < op.heads; h++)
                        kernel->rotate(narrow(op.source, m) + h * op.width, step.sine[r].data() + m * half, step.cosine[r].data() + m * half, half, op.interleaved);
                break;
            }
            case Op::kAttend: {
                for (std::int64_t m = mine.begin; m < mine.end; m++)
                    for (int h = 0; h < op.kv_heads; h++) {
                        HeadCache cache = head_cache(op.layer, h);
                        cache.pages = (*step.chunks)[static_cast<std::size_t>(step.chunk[static_cast<std::size_t>(m)])].pages.data();
                        kernel->append(narrow(op.second, m) + h * op.width, narrow(op.third, m) + h * op.width, op.width, cache, step.position[static_cast<std::size_t>(m)]);
                    }
                pool.barrier();
                const int group = op.heads / op.kv_heads, most = kernel->query_rows;
                std::int64_t unit = 0, row = 0;
                for (const Chunk& chunk : *step.chunks) {
                    const std::int64_t queries = chunk.count * group, tiles = (queries + most - 1) / most;
                    for (int h = 0; h < op.kv_heads; h++)
                        for (std::int64_t tile = 0; tile < tiles; tile++) {
                            if (unit++ % threads != thread) continue;
                            Query list[16];
                            const std::int64_t begin = queries * tile / tiles, end = queries * (tile + 1) / tiles;
                            for (std::int64_t q = begin; q < end; q++) {
                                const std::int64_t m = row + q / group, head = h * group + q % group;
                                const std::int64_t last = step.position[static_cast<std::size_t>(m)];
                                const std::int64_t first = op.window ? std::max<std::int64_t>(0, last - op.window + 1) : 0;
                                list[q - begin] = {narrow(op.source, m) + head * op.width, first, last, narrow(op.target, m) + head * op.width};
                            }
                            HeadCache cache = head_cache(op.layer, h);
                            cache.pages = chunk.pages.data();
                            const std::int64_t positions = step.position[static_cast<std::size_t>(row + chunk.count - 1)] + 32;
                            ensure(scratch, most * depth * 8 + positions * 8 + most * positions * 6 + 64);
                            kernel->attend(list, static_cast<int>(end - begin), op.width, op.scale, cache, reinterpret_cast<std::int64_t*>(scratch.data()));
                        }
                    row += chunk.count;
                }
                fraction[static_cast<std::size_t>(op.target)] = 16;
                pool.barrier();
                break;
            }
            case Op::kGate:
                for (std::int64_t m = mine.begin; m < mine.end; m++)
                    kernel->gate(narrow(op.source, m), narrow(op.second, m), spec(op.source).width, op.gelu, wide(op.target, m));
                break;
            case Op::kLogits: {
                const BufferSpec from = spec(op.source);
                pool.barrier();
                Activations a = lay_out(quantized_, step.wanted_count, from.width);
                a.skip_minima32 = a.skip_minima16 = true;
                skip_less(a, weights[static_cast<std::size_t>(op.weight)]->matrix);
                const Span part = span(step.wanted_count, thread, threads);
                for (std::int64_t i = part.begin; i < part.end; i++)
                    kernel->quantize_narrow(narrow(op.source, step.wanted[i]), from.width, fraction[static_cast<std::size_t>(op.source)], a, i);
                pool.barrier();
                const Matrix& w = weights[static_cast<std::size_t>(op.weight)]->matrix;
                if (step.wanted_count) multiply(w, a, step.wanted_count, {16, step.logits, nullptr, false, w.rows, nullptr});
                break;
            }
        }
    }
}

void Model::run_fp32(Step& step, int thread) {
    const int threads = pool.size();
    const Span mine = span(step.rows, thread, threads);
    const std::int64_t count = mine.end - mine.begin;
    const auto data = [&](int buffer, std::int64_t row) {
        return reinterpret_cast<float*>(memory_[static_cast<std::size_t>(buffer)].data()) + row * buffers_[static_cast<std::size_t>(buffer)].width;
    };
    const auto width = [&](int buffer) { return buffers_[static_cast<std::size_t>(buffer)].width; };
    for (std::size_t r = 0; r < rotations.size(); r++) {
        const auto& turns = rotations[r].turns;
        const auto n = static_cast<std::int64_t>(turns.size());
        for (std::int64_t m = mine.begin; m < mine.end; m++)
            kernel->sine_cosine(step.position[static_cast<std::size_t>(m)], turns.data(), n, step.sine[r].data() + m * n, step.cosine[r].data() + m * n);
        float_kernel->from_q30(step.sine[r].data() + mine.begin * n, step.float_sine[r].data() + mine.begin * n, count * n);
        float_kernel->from_q30(step.cosine[r].data() + mine.begin * n, step.float_cosine[r].data() + mine.begin * n, count * n);
    }
    std::vector<float> scratch;
    for (const Op& op : ops_) {
        switch (op.kind) {
            case Op::kEmbed:
                float_kernel->embed(weights[static_cast<std::size_t>(op.weight)]->floats, step.tokens + mine.begin, count, op.float_scale,
                                    data(op.target, mine.begin), width(op.target));
                break;
            case Op::kNorm: {
                const NormGain& gain = gains[static_cast<std::size_t>(op.weight)];
                const auto n = static_cast<std::int64_t>(gain.values.size());
                if (!op.accumulate) {
                    for (std::int64_t m = mine.begin; m < mine.end; m++)
                        float_kernel->rmsnorm(data(op.source, m), 1, n, op.heads ? op.heads : 1, n, gain.values.data(), gain.float_epsilon, data(op.target, m), n);
                } else {
                    scratch.resize(static_cast<std::size_t>(n));
                    for (std::int64_t m = mine.begin; m < mine.end; m++) {
                        float_kernel->rmsnorm(data(op.source, m), 1, n, 1, n, gain.values.data(), gain.float_epsilon, scratch.data(), n);
                        float_kernel->add(data(op.target, m), scratch.data(), data(op.target, m), n);
                    }
                }
                break;
            }
            case Op::kLinear:
                for (const LinearTarget& target : op.targets) {
                    FloatWeight w = weights[static_cast<std::size_t>(target.weight)]->floats;
                    w.bias = target.bias < 0 ? nullptr : float_biases[static_cast<std::size_t>(target.bias)].data();
                    const Span part = span(w.rows, thread, threads);
                    const std::int64_t n = part.end - part.begin;
                    if (!target.accumulate) {
                        float_kernel->linear(w, data(op.source, 0), step.rows, width(op.source), data(target.buffer, 0), width(target.buffer), part.begin, part.end);
                    } else {
                        scratch.resize(static_cast<std::size_t>(step.rows * w.rows));
                        float_kernel->linear(w, data(op.source, 0), step.rows, width(op.source), scratch.data(), w.rows, part.begin, part.end);
                        for (std::int64_t m = 0; m < step.rows; m++) {
                            float* to = data(target.buffer, m) + part.begin;
                            float_kernel->add(to, scratch.data() + m * w.rows + part.begin, to, n);
                        }
                    }
                }
                break;
            case Op::kRope: {
                const auto r = static_cast<std::size_t>(op.weight);
                const auto half = static_cast<std::int64_t>(rotations[r].turns.size());
                if (count)
                    float_kernel->rope(data(op.source, mine.begin), count, width(op.source), op.heads, op.width, step.float_cosine[r].data() + mine.begin * half,
                                       step.float_sine[r].data() + mine.begin * half, half, op.interleaved);
                break;
            }
            case Op::kAttend: {
                const std::int64_t values = std::int64_t{layers} * kv_heads * page_size * head_width;
                for (std::int64_t m = mine.begin; m < mine.end; m++) {
                    const std::int64_t p = step.position[static_cast<std::size_t>(m)];
                    const auto& pages_of = (*step.chunks)[static_cast<std::size_t>(step.chunk[static_cast<std::size_t>(m)])].pages;
                    auto* page = reinterpret_cast<float*>(pages_of[static_cast<std::size_t>(p / page_size)]);
                    for (int h = 0; h < op.kv_heads; h++) {
                        float* at = page + ((std::int64_t{op.layer} * kv_heads + h) * page_size + p % page_size) * head_width;
                        std::memcpy(at, data(op.second, m) + h * op.width, static_cast<std::size_t>(op.width) * 4);
                        std::memcpy(at + values, data(op.third, m) + h * op.width, static_cast<std::size_t>(op.width) * 4);
                    }
                }
                pool.barrier();
                const int group = op.heads / op.kv_heads;
                for (std::int64_t m = 0; m < step.rows; m++) {
                    if (m % threads != thread) continue;
                    const auto c = static_cast<std::size_t>(step.chunk[static_cast<std::size_t>(m)]);
                    const std::int64_t last = step.position[static_cast<std::size_t>(m)];
                    const std::int64_t first = op.window ? std::max<std::int64_t>(0, last - op.window + 1) : 0;
                    scratch.resize(static_cast<std::size_t>(attend_scratch(group, first, last + 1)));
                    for (int h = 0; h < op.kv_heads; h++) {
                        const FloatPages list{step.keys[c].data(), step.values[c].data(), (std::int64_t{op.layer} * kv_heads + h) * page_size * head_width, page_size};
                        float_kernel->attend(data(op.source, m) + h * group * op.width, group, op.width, list, first, last + 1, op.float_scale, scratch.data(),
                                             data(op.target, m) + h * group * op.width);
                    }
                }
                break;
            }
            case Op::kGate:
                float_kernel->gate(op.gelu ? FloatGate::kGeluTanh : FloatGate::kSilu, data(op.source, mine.begin), data(op.second, mine.begin),
                                   data(op.target, mine.begin), count * width(op.source));
                break;
            case Op::kLogits: {
                const std::int64_t n = width(op.source);
                if (thread == 0) {
                    step.gathered.resize(static_cast<std::size_t>(step.wanted_count * n));
                    for (std::int64_t i = 0; i < step.wanted_count; i++)
                        std::memcpy(step.gathered.data() + i * n, data(op.source, step.wanted[i]), static_cast<std::size_t>(n) * 4);
                }
                pool.barrier();
                const FloatWeight& w = weights[static_cast<std::size_t>(op.weight)]->floats;
                const Span part = span(w.rows, thread, threads);
                if (step.wanted_count)
                    float_kernel->linear(w, step.gathered.data(), step.wanted_count, n, reinterpret_cast<float*>(step.logits), w.rows, part.begin, part.end);
                break;
            }
        }
        pool.barrier();
    }
}

}  // namespace intact
