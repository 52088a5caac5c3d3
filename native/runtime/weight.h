// An integer weight matrix packed into panels of 16 outputs (docs/spec/numerics.md, section 1).
//
// Element (n, k) of block b = k / block has the exact value
//     (T[code] - zero) * scale[n, b] * 2^scale_exp[n] + minimum[n, b] * 2^minimum_exp[n].
//
// codes: [panel][block32][bits * 64 bytes]. A group g in 0..7 of a block32 is its inputs 4g..4g+3; in a line of 64
// bytes, byte output * 4 + j belongs to input j of a group.
//     bits 8             line g holds group g, one code per byte
//     4-bit plane        (bits 4, 5, 6) line l in 0..3: low nibbles group 2l, high nibbles group 2l + 1
//     2-bit plane        (bits 2, 3) line l in 0..1: bits 2j, 2j+1 of a byte hold group 4l + j
//     high plane         after the base plane; bits 5 and 3: eight little-endian u64 masks, bit i of mask g is the top
//                        bit of code byte i of group g; bits 6: a 2-bit plane of the top two bits
// scales and minima: int16, [panel][ceil(columns / block / 2)][16][2], two consecutive blocks adjacent, zero padded; or
// two factors with this product (BlockNumbers), where they take less memory.
// Outputs beyond `rows` have zero codes, scales, minima and exponents.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "kernels/kernels.h"
#include "system.h"

namespace intact {

// Uninitialised, aligned, owned bytes; large buffers request huge pages to make the first touch cheap.
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(std::size_t size) : size_(size), alignment_(size >= kHuge ? kHuge : kLine) {
        if (size == 0) return;
        data_ = static_cast<std::uint8_t*>(::operator new(size, std::align_val_t{alignment_}));
        if (size >= kHuge) system::use_huge_pages(data_, size & ~(kHuge - 1));
    }
    // A buffer below the size of a huge page is allocated as part of a chunk of huge pages, so that many small matrices
    // cause as few TLB misses as a large one. The chunk is freed with its last buffer.
    static Buffer packed(std::size_t size);
    // Bytes with another owner, to which nothing writes.
    static Buffer borrowed(const std::uint8_t* data, std::size_t size) {
        Buffer buffer;
        buffer.data_ = const_cast<std::uint8_t*>(data);
        buffer.size_ = size;
        buffer.borrowed_ = true;
        return buffer;
    }

    Buffer(Buffer&& other) noexcept { swap(other); }
    Buffer& operator=(Buffer&& other) noexcept {
        swap(other);
        return *this;
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() {
        if (data_ != nullptr && !chunk_ && !borrowed_) ::operator delete(data_, std::align_val_t{alignment_});
    }

    std::uint8_t* data() const { return data_; }
    std::size_t size() const { return size_; }
    bool is_borrowed() const { return borrowed_; }

private:
    static constexpr std::size_t kLine = 64;
    static constexpr std::size_t kHuge = std::size_t{1} << 21;

    void swap(Buffer& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(alignment_, other.alignment_);
        std::swap(chunk_, other.chunk_);
        std::swap(borrowed_, other.borrowed_);
    }

    std::uint8_t* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t alignment_ = kLine;
    std::shared_ptr<Buffer> chunk_;  // which the data are part of
    bool borrowed_ = false;
};

// The smallest and the largest exponents of a matrix's outputs.
struct ExponentRanges {
    std::int32_t scale_low = 0, scale_high = 0, minimum_low = 0, minimum_high = 0;
};

// Scales or minima of all blocks in one of three forms that represent the same integers: plain; a factor for each block
// times one for each run of pairs of blocks; or only the latter, where it equals the number.
struct BlockNumbers {
    std::int16_t* plain = nullptr;   // [panel][pairs][16][2], or null
    std::int8_t* fine = nullptr;     // [panel][pairs][16][2], or null: all 1
    std::int16_t* coarse = nullptr;  // [panel][runs][16]; null where plain
    int span = 0;                    // log2 of the pairs of a run, which starts at a multiple of its length
    std::int64_t runs = 0;

    // The number of block b and output i of a panel.
    std::int16_t at(std::int64_t panel, std::int64_t pairs, std::int64_t b, int i) const {
        const std::int64_t place = panel * pairs * 32 + b / 2 * 32 + 2 * i + b % 2;
        if (plain != nullptr) return plain[place];
        const std::int16_t factor = coarse[(panel * runs + (b / 2 >> span)) * 16 + i];
        return fine == nullptr ? factor : static_cast<std::int16_t>(factor * fine[place]);
    }
};

struct Weight {
    static constexpr int kPanel = 16;   // outputs of a panel
    static constexpr int kBlock = 32;   // inputs of a block of codes
    static constexpr int kTable = 256;  // most entries of a table

    std::int64_t rows = 0;     // N: outputs
    std::int64_t columns = 0;  // K: inputs, before padding to a multiple of 32
    int bits = 0;              // 2, 3, 4, 5, 6 or 8
    int block = 0;             // inputs that share a scale: 32 or 16
    int zero = 0;
    int shift = 0;  // r: the block's sum is rounded right by it
    bool has_min = false;
    bool has_table = false;
    std::int16_t table[kTable] = {};              // T where has_table; otherwise T is the identity
    std::unique_ptr<std::uint8_t[]> table_bytes;  // its entries' low bytes, then their high ones
    bool table_is_wide = false;                   // whether any of these is not 0

    std::uint8_t* codes = nullptr;
    BlockNumbers scales, minima;          // no minima without has_min
    std::int32_t* scale_exp = nullptr;    // [panels() * 16]
    std::int32_t* minimum_exp = nullptr;  // [panels() * 16]; null without has_min

    Buffer storage, numbers;                  // of codes and exponents; of scales and minima
    std::optional<ExponentRanges> exponents;  // where they are known without reading the exponents

    Weight() = default;
    Weight(Weight&&) noexcept = default;
    Weight& operator=(Weight&&) noexcept = default;

    std::int64_t panels() const { return (rows + kPanel - 1) / kPanel; }
    std::int64_t blocks() const { return (columns + kBlock - 1) / kBlock; }    // blocks of 32 inputs
    std::int64_t scale_blocks() const { return blocks() * (kBlock / block); }  // blocks that own a scale
    std::int64_t pairs() const { return (scale_blocks() + 1) / 2; }            // of those
    std::int64_t block_bytes() const { return std::int64_t{bits} * 64; }       // codes of 16 x 32

    std::uint8_t* panel_codes(std::int64_t panel) const { return codes + panel * blocks() * block_bytes(); }
    std::int16_t* panel_scales(std::int64_t panel) const { return scales.plain + panel * pairs() * 2 * kPanel; }
    std::int16_t* panel_minima(std::int64_t panel) const { return minima.plain + panel * pairs() * 2 * kPanel; }

    // Index in panel_scales and panel_minima of block b (of `block` inputs) of the panel's output i.
    static std::int64_t pair_index(std::int64_t b, int i) { return (b / 2) * 2 * kPanel + 2 * i + b % 2; }

    std::size_t nbytes() const { return storage.size() + numbers.size(); }

    static std::size_t round(std::int64_t bytes) { return static_cast<std::size_t>((bytes + 63) & ~std::int64_t{63}); }

    // If true, there is a product for such codes; with a table, for tables with any number of entries.
    static bool has_product(int bits, int block, bool table);

    // Number of entries of a table for codes of this many bits: at least 16, also for 2 and 3 bits.
    static int entries(int bits) { return bits < 4 ? 16 : 1 << bits; }

    // Sets T from entries(bits) numbers, none negative.
    void set_table(const std::int16_t* values) {
        has_table = true;
        table_bytes = std::make_unique<std::uint8_t[]>(2 * kTable);
        for (int i = 0; i < entries(bits); i++) {
            table[i] = values[i];
            table_bytes[i] = static_cast<std::uint8_t>(values[i]);
            table_bytes[kTable + i] = static_cast<std::uint8_t>(values[i] >> 8);
            table_is_wide |= values[i] > 255;
        }
    }

    // If true, all values minus the zero point are signed bytes.
    bool signed_bytes() const {
        const auto fits = [&](int value) { return value - zero >= -128 && value - zero <= 127; };
        if (!has_table) return fits(0) && fits((1 << bits) - 1);
        for (int i = 0; i < 1 << bits; i++)
            if (!fits(table[i])) return false;
        return true;
    }

    // Allocates the storage for the fields above, with plain scales and minima; contents are undefined.
    void allocate() {
        // Kernels that take blocks in pairs read beyond an odd last one.
        const std::size_t code_bytes = round((panels() * blocks() + blocks() % 2) * block_bytes());
        const std::size_t scale_bytes = round(panels() * pairs() * 2 * kPanel * 2);
        const std::size_t exp_bytes = round(panels() * kPanel * 4);
        storage = Buffer::packed(code_bytes + exp_bytes * (has_min ? 2 : 1));
        numbers = Buffer(scale_bytes * (has_min ? 2 : 1));
        std::uint8_t* at = storage.data();
        const auto take = [&at](std::size_t size) { return std::exchange(at, at + size); };
        codes = take(code_bytes);
        scales.plain = reinterpret_cast<std::int16_t*>(numbers.data());
        minima.plain = has_min ? reinterpret_cast<std::int16_t*>(numbers.data() + scale_bytes) : nullptr;
        scale_exp = reinterpret_cast<std::int32_t*>(take(exp_bytes));
        minimum_exp = has_min ? reinterpret_cast<std::int32_t*>(take(exp_bytes)) : nullptr;
    }
};

inline bool Weight::has_product(int bits, int block, bool table) {
    if (table) return (block == 32 || block == 16) && ((bits >= 2 && bits <= 6) || bits == 8);
#define INTACT_IS_KIND(BITS, BLOCK, TABLE) \
    if (!TABLE && bits == BITS && block == BLOCK) return true;
    INTACT_KINDS(INTACT_IS_KIND)
#undef INTACT_IS_KIND
    return false;
}

}  // namespace intact
