#include "runtime/model.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <stdexcept>
#include <utility>

#include "runtime/exact.h"
#include "runtime/plan.h"
#include "runtime/step.h"
#include "tiers/tiers.h"

namespace intact {
namespace {

std::int64_t round_up(std::int64_t x, std::int64_t to) { return (x + to - 1) / to * to; }

}  // namespace

void ensure(Buffer& buffer, std::int64_t bytes) {
    if (static_cast<std::int64_t>(buffer.size()) >= bytes) return;
    buffer = Buffer();  // first gives the old memory back
    buffer = Buffer(static_cast<std::size_t>(bytes));
}

Activations lay_out(Buffer& buffer, std::int64_t rows, std::int64_t columns) {
    Activations a{};
    a.blocks = round_up(columns, 32) / 32;
    a.stride = a.blocks * 32 + 64;  // rows never a multiple of 4,096 bytes apart
    a.minima_stride = round_up(a.blocks, 2);
    std::int64_t total = 0;
    const auto place = [&](std::int64_t bytes) {
        const std::int64_t offset = total;
        total += round_up(bytes, 64);
        return offset;
    };
    const std::int64_t codes = place(rows * a.stride), scale = place(rows * a.blocks * 4),
                       sums = place(rows * a.blocks * 8);
    const std::int64_t minima32 = place(rows * a.minima_stride * 2), minima16 = place(rows * a.minima_stride * 4);
    const std::int64_t scratch = place(rows * a.blocks * 8), exponents = place(rows * 12);
    ensure(buffer, total);
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

Model::Model(Profile profile_, const std::string& tier, int threads, int layers_, int kv_heads_,
             std::int64_t head_width_, std::int64_t page_size_, bool pinned)
    : profile(profile_),
      kernel(&find_tier(tier).kernels()),
      float_kernel(&find_tier(tier).fp32),
      layers(layers_),
      kv_heads(kv_heads_),
      head_width(head_width_),
      depth(round_up(head_width_, 16)),
      page_size(page_size_),
      pool(threads, pinned),
      scratch(static_cast<std::size_t>(threads)),
      own(static_cast<std::size_t>(threads)) {
    if (threads < 1) throw std::invalid_argument("threads must be positive");
    if (page_size < 16 || page_size % 16) throw std::invalid_argument("page_size must be a multiple of 16");
    if (head_width < 2 || head_width > 512 || head_width % 2)
        throw std::invalid_argument("head width must be even and at most 512");
}

void Model::set_kv(KvBits bits) {
    const auto known = [](int count) { return count == 8 || count == 4; };
    if (profile != Profile::kInt8 || !pages.empty() || !known(bits.key) || !known(bits.value))
        throw std::invalid_argument("integer profiles keep keys and values of 8 or 4 bits, in all pages alike");
    if (head_width % 8) throw std::invalid_argument("coded heads are a multiple of 8 wide");
    kv = bits;
    codecs.clear();
    for (int thread = 0; thread < pool.size(); thread++) codecs.emplace_back(*kernel, kv, head_width, page_size);
}

int Model::add_buffer(std::int64_t width, bool wide) {
    buffers.push_back({width, wide});
    memory.emplace_back();
    return static_cast<int>(buffers.size()) - 1;
}

std::int64_t Model::matrix_rows(int weight) const {
    const MatrixWeight& w = *at(weights, weight);
    return profile == Profile::kFp32 ? w.floats.rows : w.packed.rows;
}

std::int64_t Model::matrix_columns(int weight) const {
    const MatrixWeight& w = *at(weights, weight);
    return profile == Profile::kFp32 ? w.floats.columns : w.packed.columns;
}

std::int64_t Model::page_bytes() const { return scan_offset(static_cast<int>(scans.size())); }

std::int64_t Model::convolution_offset(int layer) const {
    const std::int64_t rows = std::int64_t{layers} * kv_heads * page_size;
    std::int64_t bytes = profile == Profile::kInt8 ? rows * kv.position_bytes(depth) : rows * head_width * 8;
    for (int i = 0; i < layer; i++)
        bytes += page_size * (profile == Profile::kInt8 ? 2 * at(convolutions, i) + 4 : 4 * at(convolutions, i));
    return bytes;
}

std::int64_t Model::scan_offset(int layer) const {
    std::int64_t bytes = convolution_offset(static_cast<int>(convolutions.size()));
    for (int i = 0; i < layer; i++) bytes += scan_pages(i).bytes;
    return bytes;
}

std::int64_t Model::weight_bytes() const {
    std::int64_t total = 0;
    for (const auto& w : weights) total += static_cast<std::int64_t>(w->packed.nbytes());
    return total;
}

std::int64_t Model::head_bytes() const {
    return profile == Profile::kFp32 ? head.width * 4 : round_up(head.width, 32) / 32 * 34 + 4;
}

void Model::copy_head(std::int64_t i, std::uint8_t* to) const {
    if (profile == Profile::kFp32) {
        std::memcpy(to, head.floats.data() + i * head_bytes() / 4, static_cast<std::size_t>(head_bytes()));
        return;
    }
    copy_activations(head.codes, i, to);
}

void copy_activations(const Activations& a, std::int64_t i, std::uint8_t* to) {
    to = std::copy_n(reinterpret_cast<const std::uint8_t*>(a.codes + i * a.stride), a.blocks * 32, to);
    const auto put = [&](std::int32_t value, int bytes) {  // little-endian
        for (int b = 0; b < bytes; b++) *to++ = static_cast<std::uint8_t>(static_cast<std::uint32_t>(value) >> 8 * b);
    };
    for (std::int64_t b = 0; b < a.blocks; b++) put(a.scale[i * a.blocks + b], 2);
    put(a.exponent[i], 4);
}

void Model::reserve_pages(std::int64_t count) {
    std::vector<Buffer> fresh;
    for (auto i = static_cast<std::int64_t>(pages.size()); i < count; i++)
        fresh.push_back(Buffer::packed(static_cast<std::size_t>(page_bytes())));
    // The system allocates memory on first write, which in a virtual machine takes longer than the work that follows,
    // so every thread touches its own part.
    pool.run([&](int thread) {
        const Span mine = span(static_cast<std::int64_t>(fresh.size()), thread, pool.size());
        for (std::int64_t i = mine.begin; i < mine.end; i++)
            std::fill_n(at(fresh, i).data(), at(fresh, i).size(), std::uint8_t{0});
    });
    pages.insert(pages.end(), std::make_move_iterator(fresh.begin()), std::make_move_iterator(fresh.end()));
}

void Model::copy_page(std::int64_t from, std::int64_t to) {
    std::copy_n(pages.at(static_cast<std::size_t>(from)).data(), page_bytes(),
                pages.at(static_cast<std::size_t>(to)).data());
}

void Model::move(const std::vector<std::uint8_t*>& table, std::int64_t from, std::int64_t to) {
    std::uint8_t* const source = at(table, from / page_size);
    std::uint8_t* const target = at(table, to / page_size);
    const std::int64_t s = from % page_size, t = to % page_size;
    for (std::int64_t head = 0; head < std::int64_t{layers} * kv_heads; head++) {
        if (profile == Profile::kFp32) {
            const std::int64_t width = head_width * 4, base = head * page_size * width;
            for (const std::int64_t part : {base, base + page_values() * 4})
                std::copy_n(source + part + s * width, width, target + part + t * width);
            continue;
        }
        move_slot(kv, head_cache(nullptr, head), source, s, target, t);
    }
    for (int i = 0; i < static_cast<int>(convolutions.size()); i++) {
        const std::int64_t row = at(convolutions, i) * (profile == Profile::kInt8 ? 2 : 4);
        const std::int64_t rows = convolution_offset(i), exponents = rows + page_size * row;
        std::copy_n(source + rows + s * row, row, target + rows + t * row);
        if (profile == Profile::kInt8) std::copy_n(source + exponents + s * 4, 4, target + exponents + t * 4);
    }
    for (int i = 0; i < static_cast<int>(scans.size()); i++) {  // the states behind blocks stay
        const std::int64_t offset = scan_offset(i);
        for (const auto& [start, row] : scan_pages(i).rows())
            std::copy_n(source + offset + start + s * row, row, target + offset + start + t * row);
        if (at(scans, i).by_positions())  // but those behind positions, which are of other rows now
            for (std::uint8_t* const page : {source, target})
                std::fill(page + offset + scan_pages(i).counts, page + offset + scan_pages(i).bytes, std::uint8_t{0});
    }
}

HeadCache Model::head_cache(std::uint8_t* const* table, std::int64_t head) const {
    return kv.head(table, page_size, depth, head);
}

void make_input_room(Model& model, const Step& step, const Op& op) {
    if (model.profile == Profile::kFp32) return;
    const std::int64_t width = at(model.buffers, op.source).width;
    lay_out(model.quantized, std::max(step.rows, step.wanted_count), width);
    if (has_wide_codes(model.scheme)) ensure(model.wide_rows, step.rows * WideRow::ints(width) * 4);
    for (Own& o : model.own) {
        lay_out(o.quantized, 1, width);
        ensure(o.row, width * 4);
        if (model.scheme || op.scale.mantissa) ensure(o.wide, width * 8);
    }
}

void Model::step(const std::int32_t* tokens, std::int64_t rows, const std::vector<Chunk>& chunks,
                 const std::int64_t* wanted, std::int64_t wanted_count, std::int32_t* logits) {
    const bool fp32 = profile == Profile::kFp32;
    head.rows = 0;  // should memory run out on the way, for nothing of the step before can be told any more
    if (!fp32 && plan.size() != ops.size()) plan = make_plan(*this);
    Step s{tokens, rows, &chunks, wanted, wanted_count, logits};
    for (std::size_t c = 0; c < chunks.size(); c++) {
        const Chunk& chunk = chunks[c];
        const auto first = static_cast<std::int64_t>(s.slot.size());
        for (std::int64_t i = 0; i < chunk.count; i++) {
            const int parent = chunk.parents.empty() ? static_cast<int>(i) - 1 : at(chunk.parents, i);
            s.position.push_back(parent < 0 ? chunk.position : at(s.position, first + parent) + 1);
            s.slot.push_back(chunk.position + i);
            s.chunk.push_back(static_cast<std::int64_t>(c));
            std::uint64_t line = 0;
            if (!chunk.parents.empty())
                line = std::uint64_t{1} << i | (parent < 0 ? 0 : at(s.ancestors, first + parent));
            s.ancestors.push_back(line);
        }
        if (!chunk.parents.empty()) counters.tree_rows += chunk.count;
    }
    if (!fp32) {
        s.forest = grow_forest(chunks, page_size);
        counters.shared_positions += s.forest.shared;
        s.narrows = wanted_count < rows && std::is_sorted(wanted, wanted + wanted_count, std::less_equal<>());
        if (s.narrows) {
            counters.ended_rows += rows - wanted_count;
            std::vector<bool> kept(static_cast<std::size_t>(rows));
            for (std::int64_t i = 0; i < wanted_count; i++) kept[static_cast<std::size_t>(wanted[i])] = true;
            s.wanted_forest = only(s.forest, kept);
        }
    }
    for (std::size_t i = 0; i < buffers.size(); i++)
        ensure(memory[i], rows * buffers[i].width * (buffers[i].wide && !fp32 ? 8 : 4));
    for (const Rotation& rotation : rotations) {
        const auto n = rotation.turns.size() * static_cast<std::size_t>(rows);
        s.sine.emplace_back(n);
        s.cosine.emplace_back(n);
        s.float_sine.emplace_back(fp32 ? n : 0);
        s.float_cosine.emplace_back(fp32 ? n : 0);
    }
    for (const Op& op : ops) op.kind->make_room(*this, s, op);
    if (!fp32) {
        std::size_t shares = 0;
        for (const Op& op : ops) shares += op.kind->shares(op);
        s.shares = std::vector<Share::Taken>(shares * static_cast<std::size_t>(pool.size()));
    }
    head.rows = wanted_count;
    for (const Chunk& chunk : chunks) {
        if (!fp32) break;
        auto& keys = s.keys.emplace_back();
        auto& values = s.values.emplace_back();
        for (const std::uint8_t* page : chunk.pages) {
            keys.push_back(reinterpret_cast<const float*>(page));
            values.push_back(keys.back() + page_values());
        }
    }
    if (pager) pager->start(wanted_count);
    if (profiling) stopwatch.start();
    pool.run([&](int thread) { fp32 ? run_fp32(*this, s, thread) : run_int8(*this, s, thread); });
    if (profiling) stopwatch.mark(Stopwatch::kWait);
    counters.steps++;
    counters.rows += rows;
    counters.largest_step = std::max(counters.largest_step, rows);
    counters.chunks += static_cast<std::int64_t>(chunks.size());
}

}  // namespace intact
