#include "formats/formats.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace intact {
namespace {

#define INTACT_DEFINE_FORMATS
#include "formats/list.inl"

#define INTACT_ROW(name) {#name, WeightKind::name, formats::name::values, formats::name::bytes},
constexpr WeightFormat kFormats[] = {{"F32", WeightKind::F32, 1, 4},
                                     {"F16", WeightKind::F16, 1, 2},
                                     {"BF16", WeightKind::BF16, 1, 2},
                                     INTACT_BLOCK_FORMATS(INTACT_ROW)};
#undef INTACT_ROW

}  // namespace

const WeightFormat* find_format(std::string_view name) noexcept {
    const auto* const found =
        std::find_if(std::begin(kFormats), std::end(kFormats), [&](const WeightFormat& f) { return f.name == name; });
    return found == std::end(kFormats) ? nullptr : found;
}

const WeightFormat& format_of(WeightKind kind) noexcept { return kFormats[static_cast<std::size_t>(kind)]; }

bool is_float(const WeightFormat& format) noexcept { return format.values == 1; }

std::int64_t source_bytes(const WeightFormat& format, std::int64_t rows, std::int64_t columns) noexcept {
    return rows * (columns / format.values) * format.bytes;
}

}  // namespace intact
