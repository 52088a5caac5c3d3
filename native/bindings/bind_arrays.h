// Helpers shared by a model's bindings: arrays for Python, and exclusive use of a model during a call.
#pragma once

#include <nanobind/ndarray.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "formats/convert.h"
#include "runtime/model.h"

namespace intact {

template <class T>
using Vector = nanobind::ndarray<const T, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;

template <class T> nanobind::ndarray<nanobind::numpy, T> make_array(std::vector<std::size_t> shape) {
    std::size_t count = 1;
    for (const std::size_t n : shape) count *= n;
    auto* data = new T[count];
    nanobind::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return {data, shape.size(), shape.data(), owner};
}

// Marks a model as in use for the duration of one call.
class Busy {
public:
    explicit Busy(Model& model) : model_(model) {
        if (model.busy.test_and_set()) throw std::invalid_argument("the model is already running in another thread");
    }
    ~Busy() { model_.busy.clear(); }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

private:
    Model& model_;
};

// A load performs a few hundred conversions of many panels each, so starting threads for each costs next to nothing.
inline ParallelFor on_threads(int threads) {
    return [threads](std::int64_t tasks, const std::function<void(std::int64_t)>& task) {
        std::atomic<std::int64_t> next{0};
        const auto work = [&] {
            for (std::int64_t i = next++; i < tasks; i = next++) task(i);
        };
        std::vector<std::jthread> others;
        for (std::int64_t i = 1; i < std::min<std::int64_t>(threads, tasks); ++i) others.emplace_back(work);
        work();
    };
}

}  // namespace intact
