#include "runtime/run.h"

namespace intact {

void Run::angles() {
    for (std::size_t r = 0; r < model.rotations.size(); r++) {
        const auto& turns = model.rotations[r].turns;
        const auto n = static_cast<std::int64_t>(turns.size());
        for (std::int64_t m = mine.begin; m < mine.end; m++) {
            std::int32_t *sine = &at(step.sine[r], m * n), *cosine = &at(step.cosine[r], m * n);
            model.kernel->sine_cosine(at(step.position, m), turns.data(), n, sine, cosine);
            const std::int64_t factor = model.rotations[r].factor, half = std::int64_t{1} << 29;
            if (factor == 2 * half) continue;
            for (std::int64_t i = 0; i < n; i++) {
                sine[i] = static_cast<std::int32_t>((sine[i] * factor + half) >> 30);
                cosine[i] = static_cast<std::int32_t>((cosine[i] * factor + half) >> 30);
            }
        }
    }
}

}  // namespace intact
