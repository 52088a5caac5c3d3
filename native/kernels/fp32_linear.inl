// Matrix product: tiles of kTileRows rows by kTileOutputs outputs, over stretches of K that stay in the first-level
// cache.
constexpr int kTileOutputs = 4;
constexpr int kStretch = 1024;  // a multiple of every format's block
constexpr int kChunkRows = 32;

struct Stretch {
    const float* weights[kTileOutputs];
    int64_t steps;  // of 16 inputs
    bool rest;      // one more step, whose weights follow padded by zeros
};

// sums[row][output][lane] += products, for rows of x and, in the padded last step, of x_rest.
template <int Rows>
inline void tile(const Stretch& stretch, const float* x, int64_t x_stride, const float* x_rest, float* sums) {
    for (int part = 0; part < kLanes; part += kWidth) {
        Vector acc[Rows][kTileOutputs];
        for (int r = 0; r < Rows; r++) {
            for (int c = 0; c < kTileOutputs; c++) acc[r][c] = load(sums + (r * kTileOutputs + c) * kLanes + part);
        }
        const auto step = [&](int64_t at, const float* row, int64_t stride) {
            Vector w[kTileOutputs];
            for (int c = 0; c < kTileOutputs; c++) w[c] = load(stretch.weights[c] + at);
            for (int r = 0; r < Rows; r++) {
                const Vector v = load(row + r * stride);
                for (int c = 0; c < kTileOutputs; c++) acc[r][c] += w[c] * v;
            }
        };
        for (int64_t s = 0; s < stretch.steps; s++) step(s * kLanes + part, x + s * kLanes + part, x_stride);
        if (stretch.rest) step(stretch.steps * kLanes + part, x_rest + part, kLanes);
        for (int r = 0; r < Rows; r++) {
            for (int c = 0; c < kTileOutputs; c++) store(sums + (r * kTileOutputs + c) * kLanes + part, acc[r][c]);
        }
    }
}

// Returns inputs k to k + count - 1 of outputs n onwards, decoded into `buffer` unless they can be read directly.
inline Stretch stretch_of(const FloatWeight& weight, int64_t n, int outputs, int64_t k, int64_t count,
                          float (*buffer)[kStretch + kLanes]) {
    Stretch stretch{{}, count / kLanes, count % kLanes != 0};
    const bool direct = weight.kind == WeightKind::F32 && !stretch.rest &&
                        reinterpret_cast<std::uintptr_t>(weight.data) % alignof(float) == 0;
    for (int c = 0; c < kTileOutputs; c++) {
        if (c >= outputs) {
            stretch.weights[c] = stretch.weights[0];  // computed once more, and dropped
        } else if (direct) {
            stretch.weights[c] = reinterpret_cast<const float*>(weight.data) + (n + c) * weight.columns + k;
        } else {
            decode_part(weight.kind, weight.data, weight.columns, n + c, k, count, buffer[c]);
            for (int64_t i = count; i % kLanes != 0; i++) buffer[c][i] = 0.0f;
            stretch.weights[c] = buffer[c];
        }
    }
    return stretch;
}

inline void linear_chunk(const FloatWeight& weight, const float* x, int64_t m, int64_t x_stride, float* y,
                         int64_t y_stride, int64_t n0, int64_t n1) {
    alignas(64) float buffer[kTileOutputs][kStretch + kLanes];
    alignas(64) float sums[kChunkRows][kTileOutputs][kLanes];
    alignas(64) float x_rest[kChunkRows][kLanes];
    const int64_t whole = weight.columns / kLanes * kLanes;
    if (whole != weight.columns) {
        std::memset(x_rest, 0, sizeof x_rest);
        const auto size = static_cast<std::size_t>(weight.columns - whole) * sizeof(float);
        for (int64_t r = 0; r < m; r++) std::memcpy(x_rest[r], x + r * x_stride + whole, size);
    }
    for (int64_t n = n0; n < n1; n += kTileOutputs) {
        const int outputs = static_cast<int>(n1 - n < kTileOutputs ? n1 - n : kTileOutputs);
        std::memset(sums, 0, static_cast<std::size_t>(m) * sizeof sums[0]);
        for (int64_t k = 0; k < weight.columns; k += kStretch) {
            const int64_t count = weight.columns - k < kStretch ? weight.columns - k : kStretch;
            const Stretch stretch = stretch_of(weight, n, outputs, k, count, buffer);
            int64_t r = 0;
            for (; r + kTileRows <= m; r += kTileRows) {
                tile<kTileRows>(stretch, x + r * x_stride + k, x_stride, x_rest[r], sums[r][0]);
            }
            switch (m - r) {
                case 3:
                    tile<3>(stretch, x + r * x_stride + k, x_stride, x_rest[r], sums[r][0]);
                    break;
                case 2:
                    tile<2>(stretch, x + r * x_stride + k, x_stride, x_rest[r], sums[r][0]);
                    break;
                case 1:
                    tile<1>(stretch, x + r * x_stride + k, x_stride, x_rest[r], sums[r][0]);
                    break;
                default:
                    break;
            }
        }
        for (int64_t r = 0; r < m; r++) {
            for (int c = 0; c < outputs; c++) {
                const float sum = tree(sums[r][c]);
                y[r * y_stride + n + c] = weight.bias == nullptr ? sum : sum + weight.bias[n + c];
            }
        }
    }
}

[[gnu::noinline]] void linear(const FloatWeight& weight, const float* x, int64_t m, int64_t x_stride, float* y,
                              int64_t y_stride, int64_t n0, int64_t n1) {
    const int64_t chunks = (m + kChunkRows - 1) / kChunkRows;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int64_t m0 = m * chunk / chunks, m1 = m * (chunk + 1) / chunks;
        linear_chunk(weight, x + m0 * x_stride, m1 - m0, x_stride, y + m0 * y_stride, y_stride, n0, n1);
    }
}
