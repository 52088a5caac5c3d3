// The kernels of the fp32 profile (docs/spec/numerics_fp32.md), written once for every tier. A tier's translation unit
// includes fp32_tier.h, and then this file inside namespace intact and an anonymous namespace.
//
// Every sum has 16 lanes by index mod 16. A tier's vectors hold kWidth of them, and the lanes are independent: kParts
// consecutive vectors make up the 16. Multiplications and additions must not be fused: -ffp-contract=off.
namespace fp32 {

static_assert(FLT_EVAL_METHOD == 0, "float arithmetic must round to float");
#if defined(__FAST_MATH__)
#    error "fast-math breaks the fixed order"
#endif

using std::int32_t;
using std::int64_t;
using std::int8_t;
using std::uint16_t;
using std::uint32_t;
using std::uint8_t;

constexpr int kLanes = 16;
#if defined(__AVX512F__)
constexpr int kWidth = 16;
constexpr int kTileRows = 4;
#elif defined(__AVX2__)
constexpr int kWidth = 8;
constexpr int kTileRows = 2;
#elif defined(__aarch64__)
constexpr int kWidth = 4;
constexpr int kTileRows = 4;
#else
constexpr int kWidth = 4;
constexpr int kTileRows = 2;
#endif
constexpr int kParts = kLanes / kWidth;

typedef float Vector __attribute__((vector_size(kWidth * 4)));
typedef uint32_t Bits __attribute__((vector_size(kWidth * 4)));
typedef float Quad __attribute__((vector_size(16)));

template <class V = Vector> inline V load(const float* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
template <class V> inline void store(float* p, const V& v) { std::memcpy(p, &v, sizeof v); }
inline Vector broadcast(float x) { return x - Vector{}; }

// Sums 16 lanes: l + (l + 8), then + 4, + 2, + 1.
inline float tree(const float* lanes) {
    const Quad four = (load<Quad>(lanes) + load<Quad>(lanes + 8)) + (load<Quad>(lanes + 4) + load<Quad>(lanes + 12));
    return (four[0] + four[2]) + (four[1] + four[3]);
}

inline float square_root(float x) {
#if defined(__x86_64__)
    return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
#elif defined(__aarch64__)
    return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0);
#else
    return __builtin_sqrtf(x);
#endif
}

// Sums f(x[i], y[i]) over i by lanes and tree; f(0, 0) must be +0.
template <class F> inline float lane_sum(const float* x, const float* y, int64_t n, F f) {
    Vector sums[kParts] = {};
    const int64_t whole = n / kLanes * kLanes;
    for (int64_t i = 0; i < whole; i += kLanes) {
        for (int p = 0; p < kParts; p++) {
            sums[p] += f(load(x + i + p * kWidth), load(y + i + p * kWidth));
        }
    }
    alignas(64) float rest[2][kLanes] = {};
    std::memcpy(rest[0], x + whole, static_cast<std::size_t>(n - whole) * sizeof(float));
    std::memcpy(rest[1], y + whole, static_cast<std::size_t>(n - whole) * sizeof(float));
    alignas(64) float lanes[kLanes];
    for (int p = 0; p < kParts; p++) {
        store(lanes + p * kWidth, sums[p] + f(load(rest[0] + p * kWidth), load(rest[1] + p * kWidth)));
    }
    return tree(lanes);
}

// out[i] = f(x[i], y[i]).
template <class F> inline void each(const float* x, const float* y, float* out, int64_t n, F f) {
    int64_t i = 0;
    for (; i + kWidth <= n; i += kWidth) store(out + i, f(load(x + i), load(y + i)));
    if (i == n) return;
    alignas(64) float rest[2][kWidth] = {};
    const auto size = static_cast<std::size_t>(n - i) * sizeof(float);
    std::memcpy(rest[0], x + i, size);
    std::memcpy(rest[1], y + i, size);
    store(rest[0], f(load(rest[0]), load(rest[1])));
    std::memcpy(out + i, rest[0], size);
}

#include "formats/dequantize.inl"
#include "kernels/fp32_linear.inl"

// Computes exp by Cody and Waite's reduction, a polynomial of degree 6 and the exponent field: +0 below -87, infinity
// above 88.72283.
inline Vector exp_vector(const Vector& x) {
    const Vector low = broadcast(-87.0f), high = broadcast(0x1.62e42ep6f), rounder = broadcast(12582912.0f);
    Vector clipped = x < low ? low : x;
    clipped = x > high ? high : clipped;
    const Vector shifted = clipped * broadcast(0x1.715476p0f) + rounder;
    const Vector n = shifted - rounder;
    const Vector r = (clipped - n * broadcast(0x1.63p-1f)) - n * broadcast(-0x1.bd0106p-13f);
    Vector terms = broadcast(0x1.6a23cep-10f);
    terms = terms * r + broadcast(0x1.123a2p-7f);
    terms = terms * r + broadcast(0x1.5558f2p-5f);
    terms = terms * r + broadcast(0x1.555492p-3f);
    terms = terms * r + broadcast(0x1.fffffcp-2f);
    Vector y = (terms * (r * r) + r) + broadcast(1.0f);
    y = (Vector)((Bits)y + ((Bits)shifted << 23));  // the rounder's own bits leave at the top
    y = x < low ? Vector{} : y;
    y = x > high ? broadcast(__builtin_inff()) : y;
    return x != x ? x : y;
}

inline Vector sigmoid_vector(const Vector& x) {
    const Vector one = broadcast(1.0f);
    const Vector e = exp_vector((Vector)((Bits)x | 0x80000000u));
    return (x < Vector{} ? e : one) / (one + e);
}

[[gnu::noinline]] void rmsnorm(const float* x, int64_t m, int64_t x_stride, int64_t slices, int64_t width,
                               const float* gain, float epsilon, float* y, int64_t y_stride) {
    for (int64_t i = 0; i < m * slices; i++) {
        const float* from = x + i / slices * x_stride + i % slices * width;
        float* to = y + i / slices * y_stride + i % slices * width;
        const float sum = lane_sum(from, from, width, [](const Vector& a, const Vector& b) { return a * b; });
        const Vector r = broadcast(1.0f / square_root(sum / static_cast<float>(width) + epsilon));
        each(from, gain, to, width, [&](const Vector& a, const Vector& g) { return (a * r) * g; });
    }
}

[[gnu::noinline]] void layer_norm(const float* x, int64_t n, const float* gain, const float* bias, float epsilon,
                                  float* y) {
    const float sum = lane_sum(x, x, n, [](const Vector& a, const Vector&) { return a; });
    const Vector mean = broadcast(sum / static_cast<float>(n));
    each(x, x, y, n, [&](const Vector& a, const Vector&) { return a - mean; });
    rmsnorm(y, 1, n, 1, n, gain, epsilon, y, n);
    if (bias) each(y, bias, y, n, [](const Vector& a, const Vector& b) { return a + b; });
}

inline void rotate(float& a, float& b, float c, float s) {
    const float first = a * c - b * s;
    b = b * c + a * s;
    a = first;
}

[[gnu::noinline]] void rope(float* x, int64_t m, int64_t x_stride, int64_t heads, int64_t width, const float* cosine,
                            const float* sine, int64_t pairs, bool interleaved) {
    for (int64_t i = 0; i < m; i++) {
        const float* c = cosine + i * pairs;
        const float* s = sine + i * pairs;
        for (int64_t h = 0; h < heads; h++) {
            float* a = x + i * x_stride + h * width;
            if (interleaved) {
                for (int64_t j = 0; j < pairs; j++) rotate(a[2 * j], a[2 * j + 1], c[j], s[j]);
            } else {
                for (int64_t j = 0; j < pairs; j++) rotate(a[j], a[pairs + j], c[j], s[j]);
            }
        }
    }
}

[[gnu::noinline]] void soft_cap(const float* x, float cap, float* y, int64_t n) {
    const Vector slope = broadcast(2.0f / cap);
    each(x, x, y, n, [&](const Vector& a, const Vector&) {
        return (sigmoid_vector(a * slope) * broadcast(2.0f) - broadcast(1.0f)) * broadcast(cap);
    });
}

#include "kernels/fp32_attend.inl"

[[gnu::noinline]] void gate(GateKind kind, const float* g, const float* u, float* y, int64_t n) {
    if (kind == GateKind::kSilu) {
        each(g, u, y, n, [](const Vector& a, const Vector& b) { return (a * sigmoid_vector(a)) * b; });
    } else if (kind == GateKind::kRelu) {
        each(g, u, y, n, [](const Vector& a, const Vector& b) { return (a > Vector{} ? a : Vector{}) * b; });
    } else if (kind == GateKind::kSigmoid) {
        each(g, u, y, n, [](const Vector& a, const Vector& b) { return sigmoid_vector(a) * b; });
    } else if (kind == GateKind::kSwigluOai) {
        each(g, u, y, n, [](const Vector& a, const Vector& b) {
            const Vector most = broadcast(7.0f), x = a > most ? most : a;
            const Vector up = b > most ? most : b < -most ? -most : b;
            return (x * sigmoid_vector(x * broadcast(1.702f))) * (up + broadcast(1.0f));
        });
    } else if (kind == GateKind::kGeluErf) {
        each(g, u, y, n, [](const Vector& a, const Vector& b) {
            const Vector most = broadcast(6.5f), square = a * a;
            Vector slope = broadcast(0x1.f29ba2p-29f);
            slope = slope * square + broadcast(-0x1.1f4c0ap-22f);
            slope = slope * square + broadcast(0x1.0ab1fep-17f);
            slope = slope * square + broadcast(-0x1.cfaaacp-14f);
            slope = slope * square + broadcast(-0x1.150c62p-14f);
            slope = slope * square + broadcast(0x1.29a63cp-4f);
            slope = slope * square + broadcast(0x1.98844ap0f);
            const Vector share = sigmoid_vector(a * slope);
            return (a > most ? a : a < -most ? Vector{} : a * share) * b;
        });
    } else {
        each(g, u, y, n, [](const Vector& a, const Vector& b) {
            const Vector inner = a * (broadcast(0x1.988454p0f) + broadcast(0x1.2444f2p-4f) * (a * a));
            return (a * sigmoid_vector(inner)) * b;
        });
    }
}

[[gnu::noinline]] void sigmoid(const float* x, float* y, int64_t n) {
    each(x, x, y, n, [](const Vector& a, const Vector&) { return sigmoid_vector(a); });
}

[[gnu::noinline]] void softmax(const float* x, float* y, int64_t n) {
    float most = x[0];
    for (int64_t i = 1; i < n; i++) most = x[i] > most ? x[i] : most;
    each(x, x, y, n, [&](const Vector& a, const Vector&) { return exp_vector(a - broadcast(most)); });
    const float sum = lane_sum(y, y, n, [](const Vector& a, const Vector&) { return a; });
    each(y, y, y, n, [&](const Vector& a, const Vector&) { return a / broadcast(sum); });
}

[[gnu::noinline]] void divide_by_sum(const float* x, float least, float* y, int64_t n) {
    const float sum = lane_sum(x, x, n, [](const Vector& a, const Vector&) { return a; }) + least;
    each(x, x, y, n, [&](const Vector& a, const Vector&) { return a / broadcast(sum); });
}

[[gnu::noinline]] void add_scaled(const float* x, float factor, float* y, int64_t n) {
    each(x, y, y, n, [&](const Vector& a, const Vector& b) { return b + a * broadcast(factor); });
}

[[gnu::noinline]] void hadamard(float* x, int64_t n, int64_t size) {
    for (int64_t half = 1; half < size; half *= 2)
        for (int64_t first = 0; first < n; first += 2 * half)
            for (int64_t i = first; i < first + half; i++) {
                const float a = x[i], b = x[i + half];
                x[i] = a + b;
                x[i + half] = a - b;
            }
}

[[gnu::noinline]] void add(const float* a, const float* b, float* y, int64_t n) {
    each(a, b, y, n, [](const Vector& u, const Vector& v) { return u + v; });
}

[[gnu::noinline]] void multiply(const float* a, const float* b, float* y, int64_t n) {
    each(a, b, y, n, [](const Vector& u, const Vector& v) { return u * v; });
}

[[gnu::noinline]] void embed(const FloatWeight& weight, const int32_t* ids, int64_t m, float scale, float* y,
                             int64_t y_stride) {
    for (int64_t i = 0; i < m; i++) {
        float* row = y + i * y_stride;
        decode_row(weight.kind, weight.data, weight.columns, ids[i], row);
        each(row, row, row, weight.columns, [&](const Vector& a, const Vector&) { return a * broadcast(scale); });
    }
}

[[gnu::noinline]] void exp(const float* x, float* y, int64_t n) {
    each(x, x, y, n, [](const Vector& a, const Vector&) { return exp_vector(a); });
}

[[gnu::noinline]] void from_q30(const int32_t* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = static_cast<float>(x[i]) * 0x1p-30f;
}

// Enables rounding to nearest and subnormals during its lifetime, whatever another library has set in this thread.
class Environment {
public:
    Environment() : saved_(get()) {
        if (wanted() != saved_) set(wanted());
    }
    ~Environment() {
        if (wanted() != saved_) set(saved_);
    }
    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;

private:
#if defined(__x86_64__)
    using Word = uint32_t;
    static Word get() { return _mm_getcsr(); }
    static void set(Word word) { _mm_setcsr(word); }
    Word wanted() const { return (saved_ & 0x3fu) | 0x1f80u; }  // flags as they are, all exceptions masked
#elif defined(__aarch64__)
    using Word = std::uint64_t;
    static Word get() {
        Word word;
        asm volatile("mrs %0, fpcr" : "=r"(word)::"memory");
        return word;
    }
    static void set(Word word) { asm volatile("msr fpcr, %0" ::"r"(word) : "memory"); }
    Word wanted() const { return 0; }
#else
    using Word = int;
    static Word get() { return 0; }
    static void set(Word) {}
    Word wanted() const { return 0; }
#endif
    Word saved_;
};

template <auto Kernel> struct Guarded;
template <class... Arguments, void (*Kernel)(Arguments...)> struct Guarded<Kernel> {
    static void call(Arguments... arguments) {
        const Environment environment;
        Kernel(arguments...);
    }
};

constexpr Fp32Kernels kTable = {
    .linear = Guarded<linear>::call,
    .rmsnorm = Guarded<rmsnorm>::call,
    .layer_norm = Guarded<layer_norm>::call,
    .rope = Guarded<rope>::call,
    .attend = Guarded<attend>::call,
    .gate = Guarded<gate>::call,
    .sigmoid = Guarded<sigmoid>::call,
    .soft_cap = Guarded<soft_cap>::call,
    .softmax = Guarded<softmax>::call,
    .divide_by_sum = Guarded<divide_by_sum>::call,
    .add_scaled = Guarded<add_scaled>::call,
    .add = Guarded<add>::call,
    .multiply = Guarded<multiply>::call,
    .hadamard = Guarded<hadamard>::call,
    .embed = Guarded<embed>::call,
    .exp = Guarded<exp>::call,
    .from_q30 = Guarded<from_q30>::call,
    .dequantize = Guarded<dequantize>::call,
};

}  // namespace fp32
