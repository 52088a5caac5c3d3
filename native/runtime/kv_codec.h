// Codecs of the KV cache (numerics/kv_codecs): the number of bits of keys and values in pages, and the conversions.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/weight.h"

namespace intact {

// Bits per number in pages: 8 or 4; without a codec 16 and 8, which attention reads directly. A head's part of a page
// has the same layout as without a codec:
//   keys    [page_size / 16][depth / 2][16] pairs of numbers, in two bytes or in one
//   values  [page_size / 4][depth][4] numbers, or [page_size / 4][depth / 2][4] pairs in a byte
//   scales  int32 [page_size] of the keys, then of the values
// The first number of a pair in one byte is in the low nibble.
struct KvBits {
    int key = 16, value = 8;

    bool coded() const { return key != 16; }
    std::int64_t key_bytes(std::int64_t depth) const { return depth * key / 8; }  // of a position
    std::int64_t value_bytes(std::int64_t depth) const { return depth * value / 8; }
    std::int64_t position_bytes(std::int64_t depth) const { return key_bytes(depth) + value_bytes(depth) + 8; }
    // Head `head` in pages.
    HeadCache head(std::uint8_t* const* pages, std::int64_t page_size, std::int64_t depth, std::int64_t head) const;
};

// Copies a head's data from one slot of a page to a slot of another.
void move_slot(KvBits bits, const HeadCache& cache, const std::uint8_t* source, std::int64_t from, std::uint8_t* target,
               std::int64_t to);

// One thread's workspace for coded heads of a given width.
class CodecRoom {
public:
    CodecRoom(const Kernels& kernel, KvBits bits, std::int64_t width, std::int64_t page_size);

    // Encodes a key and a value into a slot.
    void append(const std::int32_t* key, const std::int32_t* value, const HeadCache& cache, std::int64_t position);

    // Converts queries of one head to the form that attention takes without a codec: rotated, with pages and results in
    // this workspace. Returns the head's location in those pages.
    HeadCache open(std::vector<Query>& queries, const std::vector<Segment>& segments, const HeadCache& cache);
    // Writes the results of the queries that were opened last.
    void finish();

private:
    struct Part {  // of a page that some query sees
        const std::uint8_t* page;
        std::int64_t begin, end;  // slots, multiples of 16
    };
    struct Table {  // of pages in this room, for queries that had another
        std::uint8_t* const* coded;
        std::vector<std::uint8_t*> pages;
    };

    void rotate(const std::int32_t* from, std::int32_t* to, int shift);
    // The location of a page in this workspace; null if no query sees it.
    std::uint8_t* room_of(const std::uint8_t* page) const;
    Table& table_of(std::uint8_t* const* coded);
    void find_parts(const std::vector<Query>& queries, const std::vector<Segment>& segments);
    void unpack(const HeadCache& cache, const Part& part, std::uint8_t* to, const HeadCache& plain) const;

    const Kernels& kernel_;
    KvBits bits_;
    std::int64_t width_, depth_, page_size_, block_;
    int query_shift_, kept_shift_;  // shifts of what is rotated
    Buffer position_, pages_;
    std::vector<std::int64_t> wide_;
    std::vector<std::int32_t> key_, value_, codes_, queries_, results_;
    std::vector<std::int32_t*> targets_;
    std::vector<Part> parts_;  // by their pages
    std::vector<Table> tables_;
    std::size_t tables_used_ = 0, last_table_ = 0;
};

}  // namespace intact
