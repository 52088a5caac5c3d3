// Storage formats of weights, by name and by number.
#pragma once

#include <cstdint>
#include <string_view>

#include "formats/list.inl"

namespace intact {

#define INTACT_NAME(name) name,
enum class WeightKind : std::int32_t { F32, F16, BF16, INTACT_BLOCK_FORMATS(INTACT_NAME) };
#undef INTACT_NAME

struct WeightFormat {
    std::string_view name;
    WeightKind kind;
    int values;  // values of one block, 1 for floats; a row holds a whole number of blocks
    int bytes;   // bytes of one block
};

const WeightFormat* find_format(std::string_view name) noexcept;  // null if unknown
const WeightFormat& format_of(WeightKind kind) noexcept;
bool is_float(const WeightFormat& format) noexcept;

// Size in bytes of a tensor in that format.
std::int64_t source_bytes(const WeightFormat& format, std::int64_t rows, std::int64_t columns) noexcept;

}  // namespace intact
