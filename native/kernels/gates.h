// Activation functions of gates (docs/spec/numerics.md, section 8).
#pragma once

#include <cstdint>

namespace intact {

// Same order as numerics.gate.GATES.
enum class GateKind : std::int32_t { kSilu, kGelu, kRelu, kSwigluOai, kSigmoid, kGeluErf };
constexpr int kGateKinds = 6;

}  // namespace intact
