// Attention of one row of queries over the pages of one key-value head.

// out[h][d] += sum over j of e[h][j] * v[j][d], in order of j, for Heads heads and Vectors vectors of d.
template <int Heads, int Vectors>
inline void weigh_tile(const float* e, int64_t e_stride, const float* v, int64_t count, int64_t width, float* out) {
    Vector acc[Heads][Vectors];
    for (int h = 0; h < Heads; h++) {
        for (int i = 0; i < Vectors; i++) acc[h][i] = load(out + h * width + i * kWidth);
    }
    for (int64_t j = 0; j < count; j++) {
        for (int h = 0; h < Heads; h++) {
            const Vector weight = broadcast(e[h * e_stride + j]);
            for (int i = 0; i < Vectors; i++) acc[h][i] += weight * load(v + j * width + i * kWidth);
        }
    }
    for (int h = 0; h < Heads; h++) {
        for (int i = 0; i < Vectors; i++) store(out + h * width + i * kWidth, acc[h][i]);
    }
}

template <int Heads>
inline void weigh(const float* e, int64_t e_stride, const float* v, int64_t count, int64_t width, float* out) {
    int64_t d = 0;
    for (; d + 4 * kWidth <= width; d += 4 * kWidth) {
        weigh_tile<Heads, 4>(e, e_stride, v + d, count, width, out + d);
    }
    for (; d + kWidth <= width; d += kWidth) weigh_tile<Heads, 1>(e, e_stride, v + d, count, width, out + d);
    for (; d < width; d++) {
        for (int h = 0; h < Heads; h++) {
            for (int64_t j = 0; j < count; j++) out[h * width + d] += e[h * e_stride + j] * v[j * width + d];
        }
    }
}

// Calls f(position, page index, row in page, count) for each run of positions within a page.
template <class F> inline void each_run(int64_t first, int64_t last, int64_t page_size, F f) {
    for (int64_t j = first; j < last;) {
        const int64_t row = j % page_size;
        const int64_t count = last - j < page_size - row ? last - j : page_size - row;
        f(j, j / page_size, row, count);
        j += count;
    }
}

// Replaces score[start] onwards by exp(score * scale - largest), after the soft cap; returns the sum over all, by
// lanes, including the sink's.
inline float soften(float* score, int64_t start, int64_t n, float scale, float cap, const float* sink) {
    for (int64_t j = 0; j < start; j++) score[j] = 0.0f;
    for (int64_t j = start; j < n; j++) score[j] = score[j] * scale;
    if (cap != 0.0f) soft_cap(score + start, cap, score + start, n - start);
    float largest = score[start];
    for (int64_t j = start; j < n; j++) largest = score[j] > largest ? score[j] : largest;
    if (sink) largest = *sink > largest ? *sink : largest;
    each(score + start, score + start, score + start, n - start,
         [&](const Vector& a, const Vector&) { return exp_vector(a - broadcast(largest)); });
    const float sum = lane_sum(score, score, n, [](const Vector& a, const Vector&) { return a; });
    return sink ? sum + exp_vector(broadcast(*sink - largest))[0] : sum;
}

[[gnu::noinline]] void attend(const float* q, int64_t heads, int64_t width, const FloatPages& pages, int64_t first,
                              int64_t last, float scale, float cap, const float* sinks, float* scratch, float* out) {
    const int64_t base = first / kLanes * kLanes;  // so that a position keeps its lane
    const int64_t stride = attend_scratch(1, first, last);
    each_run(first, last, pages.page_size, [&](int64_t j, int64_t page, int64_t row, int64_t count) {
        const float* keys = pages.keys[page] + pages.offset + row * width;
        const FloatWeight rows{WeightKind::F32, count, width, reinterpret_cast<const uint8_t*>(keys), nullptr};
        linear(rows, q, heads, width, scratch + (j - base), stride, 0, count);
    });
    for (int64_t i = 0; i < heads * width; i++) out[i] = 0.0f;
    float sums[kChunkRows];
    for (int64_t h0 = 0; h0 < heads; h0 += kChunkRows) {
        const int64_t h1 = heads - h0 < kChunkRows ? heads : h0 + kChunkRows;
        for (int64_t h = h0; h < h1; h++)
            sums[h - h0] =
                soften(scratch + h * stride, first - base, last - base, scale, cap, sinks ? sinks + h : nullptr);
        each_run(first, last, pages.page_size, [&](int64_t j, int64_t page, int64_t row, int64_t count) {
            const float* values = pages.values[page] + pages.offset + row * width;
            const float* e = scratch + (j - base);
            int64_t h = h0;
            for (; h + kTileRows <= h1; h += kTileRows) {
                weigh<kTileRows>(e + h * stride, stride, values, count, width, out + h * width);
            }
            for (; h < h1; h++) weigh<1>(e + h * stride, stride, values, count, width, out + h * width);
        });
        for (int64_t h = h0; h < h1; h++) {
            each(out + h * width, out, out + h * width, width,
                 [&](const Vector& a, const Vector&) { return a / broadcast(sums[h - h0]); });
        }
    }
}
