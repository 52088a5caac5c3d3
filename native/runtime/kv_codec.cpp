#include "runtime/kv_codec.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>

#include "runtime/step.h"

namespace intact {
namespace {

constexpr int kSteps[] = {17, 16, 15, 14, 13, 12};  // of four bits, in sixteenths of the one that holds the largest
constexpr int kKeyUnit = 4, kValueUnit = 0;         // bits of what an 8-bit code counts, in codes of no codec

std::int64_t end_of(const Query& q) { return q.end + std::bit_width(q.more); }

std::int32_t scaled(std::int32_t scale, int step) {
    return static_cast<std::int32_t>(std::max<std::int64_t>((std::int64_t{scale} * step + 8) >> 4, 1));
}

// The 4-bit code of y for a step: floor(y / step), clipped to -8..7; |y| <= 11 step.
struct Divider {
    explicit Divider(std::int32_t by) : step(by), factor((1 << 24) / by + 1) {}
    std::int32_t operator()(std::int32_t y) const {
        const auto n = static_cast<std::uint32_t>(y + 11 * step);
        return std::clamp(static_cast<std::int32_t>(n * static_cast<std::uint32_t>(factor) >> 24) - 11, -8, 7);
    }
    std::int32_t step, factor;
};

// Narrows uncoded numbers in place; returns the scale of the narrow codes.
std::int32_t narrow(std::vector<std::int32_t>& codes, int bits, int unit, std::int32_t scale) {
    if (bits == 8) {
        const std::int32_t half = (1 << unit) >> 1;
        for (std::int32_t& y : codes) y = std::clamp((y + half) >> unit, -127, 127);
        return scale;
    }
    std::int64_t least = INT64_MAX;
    int best = 0;
    for (const int step : kSteps) {
        const Divider divide(step << unit);
        std::int64_t error = 0;
        for (const std::int32_t y : codes) {
            const std::int32_t off = 2 * y - (2 * divide(y) + 1) * divide.step;
            error += std::int64_t{off} * off;
        }
        if (error < least) least = error, best = step;
    }
    const Divider divide(best << unit);
    for (std::int32_t& y : codes) y = divide(y);
    return scaled(scale, best);
}

std::uint8_t pair(std::int32_t first, std::int32_t second) {
    return static_cast<std::uint8_t>((first & 15) | (second & 15) << 4);
}

// Widens 8-bit keys to uncoded ones.
void widen_keys8(const std::int8_t* __restrict from, std::int16_t* __restrict to, std::int64_t count) {
    for (std::int64_t i = 0; i < count; i++) to[i] = static_cast<std::int16_t>(from[i] * (1 << kKeyUnit));
}

// Widens 4-bit keys, two per byte: (2 q + 1) 128, where a nibble is q modulo 16.
void widen_keys4(const std::uint8_t* __restrict from, std::int16_t* __restrict to, std::int64_t bytes) {
    for (std::int64_t i = 0; i < bytes; i++) {
        to[2 * i] = static_cast<std::int16_t>(((from[i] & 15) ^ 8) * 256 - 1920);
        to[2 * i + 1] = static_cast<std::int16_t>(((from[i] >> 4) ^ 8) * 256 - 1920);
    }
}

// Widens 4-bit values, with four positions of two columns in four bytes: (2 q + 1) 8.
void widen_values4(const std::uint8_t* __restrict from, std::uint8_t* __restrict to, std::int64_t bytes) {
    for (std::int64_t i = 0; i < bytes; i += 4) {
        std::uint32_t four;
        std::memcpy(&four, from + i, 4);
        const std::uint32_t low = (four & 0x0F0F0F0F) << 4 | 0x08080808, high = (four & 0xF0F0F0F0) | 0x08080808;
        std::memcpy(to + 2 * i, &low, 4);
        std::memcpy(to + 2 * i + 4, &high, 4);
    }
}

}  // namespace

HeadCache KvBits::head(std::uint8_t* const* pages, std::int64_t page_size, std::int64_t depth,
                       std::int64_t head) const {
    const std::int64_t keys = head * page_size * position_bytes(depth), values = keys + page_size * key_bytes(depth);
    const std::int64_t scales = values + page_size * value_bytes(depth);
    return {pages, page_size, depth, keys, values, scales, scales + page_size * 4};
}

void move_slot(KvBits bits, const HeadCache& cache, const std::uint8_t* source, std::int64_t from, std::uint8_t* target,
               std::int64_t to) {
    const std::int64_t two = bits.key / 4, keys = bits.key_bytes(cache.depth) / two;  // bytes of a pair; pairs
    for (std::int64_t d = 0; d < keys; d++)
        std::copy_n(source + cache.keys + ((from / 16 * keys + d) * 16 + from % 16) * two, two,
                    target + cache.keys + ((to / 16 * keys + d) * 16 + to % 16) * two);
    const std::int64_t values = bits.value_bytes(cache.depth);
    for (std::int64_t d = 0; d < values; d++)
        target[cache.values + (to / 4 * values + d) * 4 + to % 4] =
            source[cache.values + (from / 4 * values + d) * 4 + from % 4];
    for (const std::int64_t scales : {cache.key_scales, cache.value_scales})
        std::copy_n(source + scales + from * 4, 4, target + scales + to * 4);
}

CodecRoom::CodecRoom(const Kernels& kernel, KvBits bits, std::int64_t width, std::int64_t page_size)
    : kernel_(kernel),
      bits_(bits),
      width_(width),
      depth_((width + 15) / 16 * 16),
      page_size_(page_size),
      block_(std::min<std::int64_t>(width & -width, 256)),
      position_(static_cast<std::size_t>(16 * KvBits().position_bytes(depth_))) {
    const int log = std::bit_width(static_cast<std::uint64_t>(block_)) - 1;
    query_shift_ = log / 2, kept_shift_ = log - query_shift_;
    const auto n = static_cast<std::size_t>(width);
    wide_.resize(n), key_.resize(n), value_.resize(n), codes_.resize(n);
}

// H x, rounded and shifted right; H H is the block's size times the identity.
void CodecRoom::rotate(const std::int32_t* from, std::int32_t* to, int shift) {
    std::copy_n(from, width_, wide_.data());
    kernel_.hadamard(wide_.data(), width_, block_);
    const std::int64_t half = (std::int64_t{1} << shift) >> 1;
    for (std::size_t i = 0; i < wide_.size(); i++)
        to[i] = static_cast<std::int32_t>(std::clamp<std::int64_t>((wide_[i] + half) >> shift, -INT32_MAX, INT32_MAX));
}

void CodecRoom::append(const std::int32_t* key, const std::int32_t* value, const HeadCache& cache,
                       std::int64_t position) {
    rotate(key, key_.data(), kept_shift_);
    rotate(value, value_.data(), kept_shift_);
    std::uint8_t* const plain_page = position_.data();
    const HeadCache plain = KvBits().head(&plain_page, 16, depth_, 0);
    kernel_.append(key_.data(), value_.data(), width_, plain, 0);
    const auto* keys = reinterpret_cast<const std::int16_t*>(plain_page + plain.keys);
    const auto* values = reinterpret_cast<const std::int8_t*>(plain_page + plain.values);
    const auto scale_of = [&](std::int64_t at) { return *reinterpret_cast<const std::int32_t*>(plain_page + at); };

    std::uint8_t* const page = cache.pages[position / page_size_];
    const std::int64_t at = position % page_size_;
    const auto put_scale = [&](std::int64_t to, std::int32_t scale) { std::memcpy(page + to + at * 4, &scale, 4); };
    for (std::size_t i = 0; i < codes_.size(); i++) codes_[i] = keys[i / 2 * 32 + i % 2];
    put_scale(cache.key_scales, narrow(codes_, bits_.key, kKeyUnit, scale_of(plain.key_scales)));
    const std::int64_t two = bits_.key / 4;
    std::uint8_t* to = page + cache.keys + (at / 16 * depth_ / 2 * 16 + at % 16) * two;
    for (std::size_t i = 0; i < codes_.size(); i += 2, to += 16 * two) {
        if (two == 1) {
            *to = pair(codes_[i], codes_[i + 1]);
        } else {
            to[0] = static_cast<std::uint8_t>(codes_[i]), to[1] = static_cast<std::uint8_t>(codes_[i + 1]);
        }
    }
    for (std::size_t i = 0; i < codes_.size(); i++) codes_[i] = values[i * 4];
    put_scale(cache.value_scales, narrow(codes_, bits_.value, kValueUnit, scale_of(plain.value_scales)));
    to = page + cache.values + at / 4 * 4 * bits_.value_bytes(depth_) + at % 4;
    for (std::size_t i = 0; i < codes_.size(); i += bits_.value == 4 ? 2 : 1, to += 4)
        *to = bits_.value == 4 ? pair(codes_[i], codes_[i + 1]) : static_cast<std::uint8_t>(codes_[i]);
}

// Finds the parts of pages that queries see, each page once.
void CodecRoom::find_parts(const std::vector<Query>& queries, const std::vector<Segment>& segments) {
    parts_.clear();
    for (const Segment& s : segments) {
        std::int64_t first = s.end, last = s.begin;
        for (int q = s.first; q < s.last; q++) {
            first = std::min(first, at(queries, q).first / 16 * 16);
            last = std::max(last, (end_of(at(queries, q)) + 15) / 16 * 16);
        }
        first = std::max(first, s.begin), last = std::min(last, s.end);
        for (std::int64_t slot = first; slot < last;) {
            const std::int64_t number = slot / page_size_, start = number * page_size_;
            const std::int64_t end = std::min(last, start + page_size_);
            parts_.push_back({at(queries, s.first).pages[number], slot - start, end - start});
            slot = end;
        }
    }
    std::sort(parts_.begin(), parts_.end(),
              [](const Part& a, const Part& b) { return std::less<const std::uint8_t*>()(a.page, b.page); });
    std::size_t count = 0;
    for (const Part& part : parts_) {
        if (count == 0 || parts_[count - 1].page != part.page) {
            parts_[count++] = part;
        } else {
            Part& known = parts_[count - 1];
            known.begin = std::min(known.begin, part.begin), known.end = std::max(known.end, part.end);
        }
    }
    parts_.resize(count);
}

std::uint8_t* CodecRoom::room_of(const std::uint8_t* page) const {
    const auto found = std::lower_bound(
        parts_.begin(), parts_.end(), page,
        [](const Part& part, const std::uint8_t* other) { return std::less<const std::uint8_t*>()(part.page, other); });
    if (found == parts_.end() || found->page != page) return nullptr;
    return pages_.data() + (found - parts_.begin()) * page_size_ * KvBits().position_bytes(depth_);
}

CodecRoom::Table& CodecRoom::table_of(std::uint8_t* const* coded) {
    if (last_table_ < tables_used_ && tables_[last_table_].coded == coded) return tables_[last_table_];
    for (last_table_ = 0; last_table_ < tables_used_; last_table_++)
        if (tables_[last_table_].coded == coded) return tables_[last_table_];
    if (tables_used_ == tables_.size()) tables_.emplace_back();
    Table& fresh = tables_[tables_used_++];
    fresh.coded = coded;
    fresh.pages.clear();
    return fresh;
}

HeadCache CodecRoom::open(std::vector<Query>& queries, const std::vector<Segment>& segments, const HeadCache& cache) {
    find_parts(queries, segments);
    ensure(pages_, page_size_ * KvBits().position_bytes(depth_) * std::max<std::int64_t>(std::ssize(parts_), 1));
    const HeadCache plain = KvBits().head(nullptr, page_size_, depth_, 0);
    for (const Part& part : parts_) unpack(cache, part, room_of(part.page), plain);

    // Attention walks over all pages of a segment, but reads only those that are decoded here.
    std::int64_t reach = 0;
    for (const Segment& s : segments) reach = std::max(reach, (s.end + page_size_ - 1) / page_size_);
    tables_used_ = 0;
    for (const Segment& s : segments)
        for (int q = s.first; q < s.last; q++) {
            std::uint8_t* const* const coded = at(queries, q).pages;
            if (q > s.first && coded == at(queries, q - 1).pages) continue;
            std::vector<std::uint8_t*>& table = table_of(coded).pages;
            table.resize(static_cast<std::size_t>(reach), pages_.data());
            for (std::int64_t i = s.begin / page_size_; i * page_size_ < s.end; i++)
                if (std::uint8_t* const room = room_of(coded[i])) at(table, i) = room;
        }
    const auto count = queries.size(), width = static_cast<std::size_t>(width_);
    if (queries_.size() < count * width) queries_.resize(count * width), results_.resize(count * width);
    targets_.clear();
    for (std::size_t q = 0; q < count; q++) {
        rotate(queries[q].x, queries_.data() + q * width, query_shift_);
        targets_.push_back(queries[q].out);
        queries[q].x = queries_.data() + q * width;
        queries[q].out = results_.data() + q * width;
        queries[q].pages = table_of(queries[q].pages).pages.data();
    }
    return plain;
}

void CodecRoom::finish() {
    for (std::size_t q = 0; q < targets_.size(); q++)
        rotate(results_.data() + q * static_cast<std::size_t>(width_), targets_[q], query_shift_);
}

void CodecRoom::unpack(const HeadCache& cache, const Part& part, std::uint8_t* to, const HeadCache& plain) const {
    const std::int64_t begin = part.begin, slots = part.end - begin;
    const std::uint8_t* keys = part.page + cache.keys + begin * bits_.key_bytes(depth_);
    auto* plain_keys = reinterpret_cast<std::int16_t*>(to + plain.keys) + begin * depth_;
    if (bits_.key == 8)
        widen_keys8(reinterpret_cast<const std::int8_t*>(keys), plain_keys, slots * depth_);
    else
        widen_keys4(keys, plain_keys, slots * depth_ / 2);
    const std::uint8_t* values = part.page + cache.values + begin * bits_.value_bytes(depth_);
    std::uint8_t* plain_values = to + plain.values + begin * depth_;
    if (bits_.value == 8)
        std::copy_n(values, slots * depth_, plain_values);
    else
        widen_values4(values, plain_values, slots * depth_ / 2);
    std::copy_n(part.page + cache.key_scales + begin * 4, slots * 4, to + plain.key_scales + begin * 4);
    std::copy_n(part.page + cache.value_scales + begin * 4, slots * 4, to + plain.value_scales + begin * 4);
}

}  // namespace intact
