// Measures the first thread's time in steps: by operation of the program, and by part within each.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

namespace intact {

class Stopwatch {
public:
    enum Part { kRows, kProduct, kWait, kParts };  // by rows; a matrix product or attention; waiting for other threads
    using Times = std::array<std::int64_t, kParts>;  // nanoseconds

    // Clears all times; the last entry is for time that belongs to no operation.
    void reset(std::size_t operations) { times.assign(operations + 1, Times{}); }
    void start() {
        op_ = times.size() - 1;
        last_ = now();
    }
    // Attributes the following time to operation i.
    void enter(std::size_t i) { op_ = i; }
    // Attributes the time since the last mark to a part.
    void mark(Part part) {
        const std::int64_t time = now();
        times[op_][part] += time - last_;
        last_ = time;
    }

    std::vector<Times> times;

private:
    static std::int64_t now() {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
            .count();
    }

    std::size_t op_ = 0;
    std::int64_t last_ = 0;
};

}  // namespace intact
