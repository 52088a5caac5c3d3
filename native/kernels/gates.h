// What gates apply to their input (docs/numerics.md, section 8).
#pragma once

#include <cstdint>

namespace intact {

// In the order of numerics.gate.GATES.
enum class GateKind : std::int32_t { kSilu, kGelu, kRelu, kSwigluOai, kSigmoid, kGeluErf };
constexpr int kGateKinds = 6;

}  // namespace intact
