#include "runtime/check.h"

#include <iterator>
#include <stdexcept>
#include <string>

#include "runtime/step.h"

namespace intact {

void add_op(Model& model, const Op& op) {
    if (op.bias != -1) check_index(op.bias, model.biases.size(), "bias");
    op.kind->check(model, op);
    op.kind->enter(model, op);
    model.ops.push_back(op);
}

void check_index(int i, std::size_t count, const char* what) {
    if (i < 0 || static_cast<std::size_t>(i) >= count)
        throw std::invalid_argument(std::string("an operation names no ") + what);
}

void check_buffers(const Model& model, std::initializer_list<int> buffers) {
    for (const int i : buffers) check_index(i, model.buffers.size(), "buffer");
}

void check_targets(const Model& model, const Op& op) {
    for (const LinearTarget& target : op.targets) {
        check_buffers(model, {target.buffer});
        check_index(target.weight, model.weights.size(), "weight");
        if (target.bias != -1) check_index(target.bias, model.biases.size(), "bias");
    }
}

void check_all_inputs(const Op& op) {
    if (op.scale.mantissa)
        throw std::invalid_argument("a product's rows have a fixed scale from 1 to 8191, and no other scheme");
    if (op.outliers)
        throw std::invalid_argument(
            "outliers are whole blocks, thrice at the end of all rows of a product that have one scale");
    if (op.keep) throw std::invalid_argument("a product keeps one to all of its inputs");
}

void check_taps(const Model& model, const Op& op) {
    check_index(op.bias, model.biases.size(), "weights");
    if (op.width < 1 || op.width > 4 || !has_numbers(model, op.bias, op.width * buffer_of(model, op.target).width))
        throw std::invalid_argument("a convolution has one to four weights for each channel");
    if (op.layer != std::ssize(model.convolutions) || !model.pages.empty())
        throw std::invalid_argument("convolutions take the parts of the cache in their order, before it has pages");
}

void check_convolved_scan(const Model& model, const Op& op, bool delta) {
    const ScanForm& form = op.scan;
    const auto buffer = [&](int i) -> const BufferSpec& { return buffer_of(model, i); };
    const auto holds = [&](int i, std::int64_t count) { return has_numbers(model, i, count); };
    if (form.by_positions() || form.heads < 1 || form.width < 1 || form.groups < 1 || form.heads % form.groups ||
        form.states < 1 || form.states > kMostScanStates || form.taps < 1 || form.taps > 4)
        throw std::invalid_argument(
            "a scan has heads in groups of one size, 1 to 256 columns of a state and one to four weights for each "
            "channel");
    if (buffer(op.source).wide || buffer(op.second).wide || buffer(op.target).wide ||
        buffer(op.source).width != form.channels() || buffer(op.second).width != form.heads ||
        buffer(op.target).width != form.inner() || op.source == op.target)
        throw std::invalid_argument("a scan reads x, B and C and steps, and writes a row of x's width, all narrow");
    if (delta && (!is_narrow(model, op.third, form.heads) || op.third == op.target))
        throw std::invalid_argument("the delta rule reads how much each head writes, narrow");
    if (form.delta != delta || !holds(op.bias, form.taps * form.channels()) || !holds(form.step_bias, form.heads) ||
        !holds(form.rate, form.heads) ||
        (!delta && (!holds(form.bias, form.channels()) || !holds(form.skip, form.heads))))
        throw std::invalid_argument("a scan has weights and a bias for each channel, and three numbers for each head");
    check_rates(model, form);
    check_scan_place(model, op);
}

void check_rates(const Model& model, const ScanForm& form) {
    for (const std::int64_t rate : at(model.biases, form.rate))
        if (rate < 0 || rate >= std::int64_t{1} << 30) throw std::invalid_argument("a rate lies in 0 to 2^30 - 1");
}

void check_scan_place(const Model& model, const Op& op) {
    if (op.layer != std::ssize(model.scans) || !model.pages.empty())
        throw std::invalid_argument("scans take the parts of the cache in their order, before it has pages");
}

const BufferSpec& buffer_of(const Model& model, int i) { return at(model.buffers, i); }

bool is_narrow(const Model& model, int i, std::int64_t width) {
    const BufferSpec& buffer = buffer_of(model, i);
    return !buffer.wide && buffer.width == width;
}

bool has_numbers(const Model& model, int i, std::int64_t count) {
    return i >= 0 && static_cast<std::size_t>(i) < model.biases.size() && std::ssize(at(model.biases, i)) == count;
}

}  // namespace intact
