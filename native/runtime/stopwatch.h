// Where the first thread's time goes in steps: by operation of the program, and within one by part.
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

    // Forgets all; the last entry is what belongs to no operation.
    void reset(std::size_t operations) { times.assign(operations + 1, Times{}); }
    void start() {
        op_ = times.size() - 1;
        last_ = now();
    }
    // What follows belongs to operation i.
    void enter(std::size_t i) { op_ = i; }
    // What was since the last mark was this part.
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
