#include "formats/factors.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <optional>

namespace intact {
namespace {

constexpr int kPanel = Weight::kPanel;

// The stored form of numbers: with or without a factor per block, and log2 of the number of block pairs per run.
struct Form {
    bool fine;
    int span;
};

std::int64_t runs_of(std::int64_t pairs, int span) { return (pairs + (std::int64_t{1} << span) - 1) >> span; }

std::int64_t panel_bytes(std::int64_t pairs, Form form) {
    return (form.fine ? pairs * 2 * kPanel : 0) + runs_of(pairs, form.span) * kPanel * 2;
}

// Finds a common factor of int16 numbers such that each quotient fits in an int8; there may be none. It is the greatest
// common divisor, negated if only then the largest quotient, 128, fits.
class Divisor {
public:
    void add(std::int16_t x) {
        const int size = std::abs(int{x});
        divisor_ = std::gcd(divisor_, size);
        least_ = std::min<int>(least_, x);
        most_ = std::max<int>(most_, x);
    }

    std::optional<std::int16_t> factor() const {
        if (divisor_ == 0) return std::int16_t{1};
        const auto fits = [&](int by) {
            const int a = least_ / by, b = most_ / by;
            return by >= INT16_MIN && by <= INT16_MAX && std::min(a, b) >= INT8_MIN && std::max(a, b) <= INT8_MAX;
        };
        for (const int by : {divisor_, -divisor_})
            if (fits(by)) return static_cast<std::int16_t>(by);
        return std::nullopt;
    }

private:
    int divisor_ = 0, least_ = 0, most_ = 0;
};

// The numbers of one panel, [pairs][16][2].
struct Panel {
    const std::int16_t* numbers;
    std::int64_t pairs;

    // Calls f(run, output, common factor) for every run of 2^span pairs; returns false if a run has no common factor.
    template <class F> bool each_factor(int span, F f) const {
        for (std::int64_t run = 0; run < runs_of(pairs, span); ++run) {
            Divisor divisors[kPanel];
            const std::int64_t end = std::min(pairs, (run + 1) << span);
            for (std::int64_t p = run << span; p < end; ++p)
                for (int i = 0; i < 2 * kPanel; ++i) divisors[i / 2].add(numbers[p * 2 * kPanel + i]);
            for (int i = 0; i < kPanel; ++i) {
                const auto factor = divisors[i].factor();
                if (!factor) return false;
                f(run, i, *factor);
            }
        }
        return true;
    }

    // The largest span, up to `most`, for which each run has a single number; -1 if there is none.
    int equal_span(int most) const {
        for (std::int64_t p = 0; p < pairs && most >= 0; ++p) {
            for (int i = 0; i < kPanel; ++i)
                if (numbers[p * 2 * kPanel + 2 * i] != numbers[p * 2 * kPanel + 2 * i + 1]) return -1;
            // Pairs p - 1 and p are in the same run if the run's length exceeds the lowest set bit of p.
            if (p > 0 &&
                !std::equal(numbers + p * 2 * kPanel, numbers + (p + 1) * 2 * kPanel, numbers + (p - 1) * 2 * kPanel))
                most = std::min(most, std::countr_zero(static_cast<std::uint64_t>(p)));
        }
        return most;
    }
};

class Factoring {
public:
    Factoring(const Weight& weight, const BlockNumbers& from, const ParallelFor& parallel_for)
        : panels_(weight.panels()), pairs_(weight.pairs()), from_(from.plain), parallel_for_(parallel_for) {
        const int row = std::bit_width(static_cast<std::uint64_t>(pairs_ - 1));  // the least span of whole rows
        const int group = std::countr_zero(128u / static_cast<unsigned>(weight.block));
        const int equal = least_of([&](const Panel& panel) { return panel.equal_span(row); }, row);
        if (equal >= 0) offer({false, equal});
        for (const int span : {std::min(group, row), row}) {
            if (form_ && panel_bytes(pairs_, {true, span}) >= panel_bytes(pairs_, *form_)) continue;
            const auto none = [](std::int64_t, int, std::int16_t) {};
            if (least_of([&](const Panel& panel) { return panel.each_factor(span, none) ? 0 : -1; }, 0) < 0) break;
            offer({true, span});
        }
    }

    std::int64_t bytes() const { return panels_ * (form_ ? panel_bytes(pairs_, *form_) : pairs_ * 4 * kPanel); }

    // Stores the numbers at `to`, which must have bytes() bytes.
    BlockNumbers store(std::uint8_t* to) const {
        BlockNumbers out;
        if (!form_) {
            out.plain = reinterpret_cast<std::int16_t*>(to);
            std::copy_n(from_, panels_ * pairs_ * 2 * kPanel, out.plain);
            return out;
        }
        out.span = form_->span;
        out.runs = runs_of(pairs_, out.span);
        out.coarse = reinterpret_cast<std::int16_t*>(to);
        if (form_->fine) out.fine = reinterpret_cast<std::int8_t*>(to + panels_ * out.runs * kPanel * 2);
        parallel_for_(panels_, [&](std::int64_t n) {
            const Panel panel = this->panel(n);
            std::int16_t* coarse = out.coarse + n * out.runs * kPanel;
            if (out.fine == nullptr) {
                for (std::int64_t run = 0; run < out.runs; ++run)
                    for (int i = 0; i < kPanel; ++i)
                        coarse[run * kPanel + i] = panel.numbers[((run << out.span) * kPanel + i) * 2];
                return;
            }
            panel.each_factor(out.span,
                              [&](std::int64_t run, int i, std::int16_t by) { coarse[run * kPanel + i] = by; });
            std::int8_t* fine = out.fine + n * pairs_ * 2 * kPanel;
            for (std::int64_t p = 0; p < pairs_; ++p)
                for (int i = 0; i < 2 * kPanel; ++i)
                    fine[p * 2 * kPanel + i] = static_cast<std::int8_t>(panel.numbers[p * 2 * kPanel + i] /
                                                                        coarse[(p >> out.span) * kPanel + i / 2]);
        });
        return out;
    }

private:
    Panel panel(std::int64_t n) const { return {from_ + n * pairs_ * 2 * kPanel, pairs_}; }

    void offer(Form form) {
        const std::int64_t least = form_ ? panel_bytes(pairs_, *form_) : pairs_ * 4 * kPanel;
        if (panel_bytes(pairs_, form) < least) form_ = form;
    }

    // The minimum of f over all panels and `most`; once it is negative, the remaining panels are skipped.
    template <class F> int least_of(F f, int most) const {
        std::atomic<int> least{most};
        parallel_for_(panels_, [&](std::int64_t n) {
            if (least.load() < 0) return;
            const int own = f(panel(n));
            int seen = least.load();
            while (own < seen && !least.compare_exchange_weak(seen, own)) {
            }
        });
        return least.load();
    }

    std::int64_t panels_, pairs_;
    const std::int16_t* from_;
    const ParallelFor& parallel_for_;
    std::optional<Form> form_;
};

}  // namespace

void factor_numbers(Weight& w, const ParallelFor& parallel_for) {
    if (w.panels() == 0 || w.pairs() == 0) return;
    const Factoring scales(w, w.scales, parallel_for);
    std::optional<Factoring> minima;
    if (w.has_min) minima.emplace(w, w.minima, parallel_for);
    const std::size_t scale_bytes = Weight::round(scales.bytes());
    Buffer numbers = Buffer::packed(scale_bytes + (minima ? Weight::round(minima->bytes()) : 0));
    w.scales = scales.store(numbers.data());
    if (minima) w.minima = minima->store(numbers.data() + scale_bytes);
    w.numbers = std::move(numbers);
}

}  // namespace intact
