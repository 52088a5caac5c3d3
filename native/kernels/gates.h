// What gates apply to their input (docs/numerics.md, section 8).
#pragma once

#include <cstdint>

namespace intact {

// In the order of numerics.gate.GATES.
enum class GateKind : std::int32_t { kSilu, kGelu, kRelu, kSwigluOai };
constexpr int kGateKinds = 4;

}  // namespace intact
