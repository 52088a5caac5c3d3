#include "runtime/check.h"

#include <cstdlib>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>

#include "runtime/exact.h"

namespace intact {
namespace {

// Refuses adapters whose matrices do not lead from the source to the target.
void check_adapters(const Model& model, const Op& op) {
    const auto shape = [&](int i) {
        const MatrixWeight& w = *model.weights.at(static_cast<std::size_t>(i));
        return model.profile == Profile::kFp32 ? std::pair(w.floats.rows, w.floats.columns)
                                               : std::pair(w.packed.rows, w.packed.columns);
    };
    const std::int64_t from = model.buffers[static_cast<std::size_t>(op.source)].width,
                       to = model.buffers[static_cast<std::size_t>(op.target)].width;
    if (op.source == op.target || op.targets.size() % 2 || has_wide_codes(model.scheme))
        throw std::invalid_argument("an adapter has two matrices, leads to another buffer, and takes codes of bytes");
    for (std::size_t i = 0; i < op.targets.size(); i += 2) {
        const int down = op.targets[i].weight, up = op.targets[i + 1].weight;
        if (down == -1 && up == -1) continue;
        if (shape(down).second != from || shape(up).first != to || shape(down).first != shape(up).second)
            throw std::invalid_argument("an adapter's matrices do not lead from its source to its target");
    }
}

// Refuses vectors that are no rows of the target.
void check_vectors(const Model& model, const Op& op) {
    const BufferSpec& to = model.buffers[static_cast<std::size_t>(op.target)];
    for (const LinearTarget& target : op.targets)
        if (target.bias != -1 &&
            (!to.wide || std::ssize(model.biases.at(static_cast<std::size_t>(target.bias))) != to.width))
            throw std::invalid_argument("an adapter's vector is a row of a wide buffer");
}

// Refuses what an embedding adds that is not of its width.
void check_embed(const Model& model, const Op& op) {
    const std::int64_t width = model.buffers.at(static_cast<std::size_t>(op.target)).width;
    if (op.positions != -1) {
        const MatrixWeight& w = *model.weights.at(static_cast<std::size_t>(op.positions));
        const bool fp32 = model.profile == Profile::kFp32;
        if ((fp32 ? w.floats.columns : w.packed.columns) != width || op.first < 0 ||
            op.first >= (fp32 ? w.floats.rows : w.packed.rows))
            throw std::invalid_argument("an embedding's positions are rows of its width");
    }
    for (const int bias : {op.bias, op.second_bias})
        if (bias != -1 && std::ssize(model.biases.at(static_cast<std::size_t>(bias))) != width)
            throw std::invalid_argument("an embedding adds rows of its width");
    if ((op.separator < 0) != (op.second_bias < 0))
        throw std::invalid_argument("an embedding has a separator and a second row behind it, or neither");
}

void check_rates(const Model& model, const ScanForm& form) {
    for (const std::int64_t rate : model.biases[static_cast<std::size_t>(form.rate)])
        if (rate < 0 || rate >= std::int64_t{1} << 30) throw std::invalid_argument("a rate lies in 0 to 2^30 - 1");
}

bool is_narrow(const Model& model, int i, std::int64_t width) {
    const BufferSpec& buffer = model.buffers[static_cast<std::size_t>(i)];
    return !buffer.wide && buffer.width == width;
}

// Whether there are so many numbers at a place among the biases.
bool has_numbers(const Model& model, int i, std::int64_t count) {
    return i >= 0 && static_cast<std::size_t>(i) < model.biases.size() &&
           std::ssize(model.biases[static_cast<std::size_t>(i)]) == count;
}

void check_place(const Model& model, const Op& op) {
    if (op.layer != std::ssize(model.scans) || !model.pages.empty())
        throw std::invalid_argument("scans take the parts of the cache in their order, before it has pages");
}

// Refuses a selective scan whose sizes and parameters do not fit its buffers or the proven bounds.
void check_selective(const Model& model, const Op& op) {
    const ScanForm& form = op.scan;
    const auto narrow = [&](int i, std::int64_t width) { return is_narrow(model, i, width); };
    const auto holds = [&](int i, std::int64_t count) { return has_numbers(model, i, count); };
    if (!form.selective || form.delta || form.angles || form.heads < 1 || form.width != 1 || form.groups != 1 ||
        form.states < 1 || form.states > kMostScanStates)
        throw std::invalid_argument("a selective scan has channels of 1 to 256 states");
    if (!narrow(op.source, form.heads) || !narrow(op.second, form.heads) || !narrow(op.third, form.states) ||
        !narrow(op.fourth, form.states) || !narrow(op.target, form.heads) || op.target == op.second)
        throw std::invalid_argument(
            "a selective scan reads x, steps, B and C, and writes a row of x's width, all narrow");
    if (!holds(form.rate, form.heads * form.states) || !holds(form.skip, form.heads))
        throw std::invalid_argument("a selective scan has a rate for each state, and D for each channel");
    check_rates(model, form);
    check_place(model, op);
}

// Refuses a trapezoidal scan whose sizes and parameters do not fit its buffers or the proven bounds.
void check_trapezoidal(const Model& model, const Op& op) {
    const ScanForm& form = op.scan;
    const auto narrow = [&](int i, std::int64_t width) { return is_narrow(model, i, width); };
    const auto holds = [&](int i, std::int64_t count) { return has_numbers(model, i, count); };
    if (form.selective || form.delta || form.tiled || form.heads < 1 || form.width < 1 || form.groups < 1 ||
        form.heads % form.groups || form.states < 1 || form.states > kMostScanStates || form.angles < 1 ||
        2 * form.angles > form.states)
        throw std::invalid_argument(
            "a trapezoidal scan has heads in groups of one size, 2 to 256 columns of a state and an angle for at most "
            "each pair of them");
    if (!narrow(op.source, form.inner()) || !narrow(op.second, form.columns()) || !narrow(op.third, form.columns()) ||
        !narrow(op.fourth, 3 * form.heads + form.angles) || !narrow(op.target, form.inner()))
        throw std::invalid_argument(
            "a trapezoidal scan reads x, B, C and what leads each position, and writes a row of x's width, all narrow");
    if (!holds(form.step_bias, form.heads) || !holds(form.skip, form.heads) ||
        !holds(form.b_bias, form.heads * form.states) || !holds(form.c_bias, form.heads * form.states) ||
        form.slowest < 0 || form.slowest >= std::int64_t{1} << 30)
        throw std::invalid_argument("a trapezoidal scan has a bias of dt, biases of B and C, and D for each head");
    check_place(model, op);
}

// Refuses a recurrence whose sizes and numbers do not fit its buffers or the proven bounds.
void check_recurrence(const Model& model, const Op& op) {
    const ScanForm& form = op.scan;
    for (const int i : {op.source, op.second, op.target})
        if (!is_narrow(model, i, form.heads))
            throw std::invalid_argument(
                "a recurrence leads from a number and a forget gate of each channel, all narrow");
    if (!form.selective || form.delta || form.angles || form.heads < 1 || form.width != 1 || form.groups != 0 ||
        form.states != 2)
        throw std::invalid_argument("a recurrence has channels of one state of 64 bits");
    if (!has_numbers(model, form.rate, form.heads))
        throw std::invalid_argument("a recurrence has a number for each channel that its bound leaves");
    for (const std::int64_t room : model.biases[static_cast<std::size_t>(form.rate)])
        if (room < 0 || room > std::int64_t{1} << 30)
            throw std::invalid_argument("what a bound leaves lies in 0 to 2^30");
    check_place(model, op);
}

// Refuses a scan whose sizes and parameters do not fit its buffers or the proven bounds.
void check_scan(const Model& model, const Op& op) {
    const ScanForm& form = op.scan;
    const auto buffer = [&](int i) -> const BufferSpec& { return model.buffers[static_cast<std::size_t>(i)]; };
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
    if (form.delta && (buffer(op.third).wide || buffer(op.third).width != form.heads || op.third == op.target))
        throw std::invalid_argument("the delta rule reads how much each head writes, narrow");
    if (form.delta != (op.kind == Op::kDelta) || !holds(op.bias, form.taps * form.channels()) ||
        !holds(form.step_bias, form.heads) || !holds(form.rate, form.heads) ||
        (!form.delta && (!holds(form.bias, form.channels()) || !holds(form.skip, form.heads))))
        throw std::invalid_argument("a scan has weights and a bias for each channel, and three numbers for each head");
    check_rates(model, form);
    check_place(model, op);
}

void check(const Model& model, const Op& op) {
    const auto demand = [](int i, std::size_t count, const char* what) {
        if (i < 0 || static_cast<std::size_t>(i) >= count)
            throw std::invalid_argument(std::string("an operation names no ") + what);
    };
    const auto buffer = [&](int i) { demand(i, model.buffers.size(), "buffer"); };
    if (op.kind != Op::kEmbed && op.kind != Op::kSteer && (op.kind != Op::kAllGather || op.source != -1))
        buffer(op.source);
    if (op.kind == Op::kEmbed || op.kind == Op::kNorm || op.kind == Op::kAttend || op.kind == Op::kGate ||
        op.kind == Op::kGather || op.kind == Op::kHadamard || op.kind == Op::kMultiply || op.kind == Op::kConvolve ||
        op.kind == Op::kConvolveSilu || op.kind == Op::kScan || op.kind == Op::kDelta || op.kind == Op::kSelective ||
        op.kind == Op::kRecurrence || op.kind == Op::kTrapezoidal || op.kind == Op::kExperts || op.kind == Op::kAdapt ||
        op.kind == Op::kSteer || op.kind == Op::kAllGather)
        buffer(op.target);
    if (op.kind == Op::kAttend || op.kind == Op::kExperts || op.kind == Op::kScan || op.kind == Op::kDelta ||
        op.kind == Op::kSelective || op.kind == Op::kRecurrence || op.kind == Op::kTrapezoidal ||
        (op.kind == Op::kGate && op.second != -1))
        buffer(op.second);
    if (op.kind == Op::kAttend || op.kind == Op::kDelta || op.kind == Op::kSelective || op.kind == Op::kTrapezoidal)
        buffer(op.third);
    if (op.kind == Op::kSelective || op.kind == Op::kTrapezoidal) buffer(op.fourth);
    if (op.kind == Op::kEmbed || (op.kind == Op::kLogits && op.weight != -1))
        demand(op.weight, model.weights.size(), "weight");
    if (op.kind == Op::kEmbed) check_embed(model, op);
    if (op.kind == Op::kAttend && !op.causal && op.window)
        throw std::invalid_argument("attention that sees a whole text has no window");
    if (op.kind == Op::kNorm) demand(op.weight, model.gains.size(), "gain");
    if (op.bias != -1) demand(op.bias, model.biases.size(), "bias");
    if (op.centered && op.heads) throw std::invalid_argument("layer norms are of whole rows");
    if (op.kind == Op::kNorm && op.groups != 1) {
        const std::int64_t width = model.buffers[static_cast<std::size_t>(op.source)].width;
        if (op.groups < 1 || width % op.groups || op.heads || op.centered)
            throw std::invalid_argument("groups of a norm are RMS norms of runs of one size of a whole row");
    }
    if (op.kind == Op::kAttend && op.bias != -1 &&
        std::ssize(model.biases[static_cast<std::size_t>(op.bias)]) != op.heads)
        throw std::invalid_argument("every head has a sink, or none");
    if (op.kind == Op::kRope) demand(op.weight, model.rotations.size(), "rotation");
    if (op.kind == Op::kGather) {
        const BufferSpec &from = model.buffers[static_cast<std::size_t>(op.source)],
                         &to = model.buffers[static_cast<std::size_t>(op.target)];
        if (op.source == op.target || from.wide != to.wide || std::ssize(op.index) != to.width)
            throw std::invalid_argument("a gather goes to another buffer of its source's kind, which its index fills");
        for (const std::int32_t column : op.index)
            if (column < -1 || column >= from.width)
                throw std::invalid_argument("a gather's index names no column of its source");
    }
    if (op.kind == Op::kAllGather) {
        if (!model.exchange) throw std::invalid_argument("columns are exchanged with other ranks, and there are none");
        if (op.source == -1) return;
        const BufferSpec &from = model.buffers[static_cast<std::size_t>(op.source)],
                         &to = model.buffers[static_cast<std::size_t>(op.target)];
        if (op.source == op.target || from.wide != to.wide || from.width > to.width)
            throw std::invalid_argument("an exchange goes to another buffer of its source's kind that is no narrower");
    }
    if (op.kind == Op::kHadamard) {
        const BufferSpec &from = model.buffers[static_cast<std::size_t>(op.source)],
                         &to = model.buffers[static_cast<std::size_t>(op.target)];
        if (op.source == op.target || !to.wide || from.width != to.width)
            throw std::invalid_argument("a rotation goes to a wide buffer of its source's width");
        if (op.width < 2 || op.width > 256 || (op.width & (op.width - 1)) || from.width % op.width)
            throw std::invalid_argument("a rotation's blocks are a power of two up to 256 that fills its rows");
    }
    if (op.kind == Op::kMultiply) {
        const BufferSpec &from = model.buffers[static_cast<std::size_t>(op.source)],
                         &to = model.buffers[static_cast<std::size_t>(op.target)];
        if (!from.wide || op.first < 0 || op.first > from.width || to.width > from.width - op.first ||
            (op.source == op.target && op.first))
            throw std::invalid_argument("columns of a wide row are multiplied, in place or to another row");
        if (op.multiplier <= -(std::int64_t{1} << 30) || op.multiplier >= std::int64_t{1} << 30)
            throw std::invalid_argument("rows are multiplied by numbers between -64 and 64");
    }
    if (op.kind == Op::kConvolve || op.kind == Op::kConvolveSilu) {
        const bool gated = op.kind == Op::kConvolve;
        const BufferSpec &from = model.buffers[static_cast<std::size_t>(op.source)],
                         &to = model.buffers[static_cast<std::size_t>(op.target)];
        if (gated && (from.wide || !to.wide || from.width != 3 * to.width))
            throw std::invalid_argument(
                "a convolution goes from a narrow buffer to a wide one of a third of its width");
        if (!gated && (from.wide || to.wide || from.width != to.width))
            throw std::invalid_argument("a convolution with SiLU goes from a narrow buffer to another of its width");
        if (!gated && op.added != -1) {
            demand(op.added, model.biases.size(), "numbers to add");
            if (std::ssize(model.biases[static_cast<std::size_t>(op.added)]) != to.width)
                throw std::invalid_argument("a convolution with SiLU adds a number to each channel, or none");
        }
        demand(op.bias, model.biases.size(), "weights");
        if (op.width < 1 || op.width > 4 ||
            std::ssize(model.biases[static_cast<std::size_t>(op.bias)]) != op.width * to.width)
            throw std::invalid_argument("a convolution has one to four weights for each channel");
        if (op.layer != std::ssize(model.convolutions) || !model.pages.empty())
            throw std::invalid_argument("convolutions take the parts of the cache in their order, before it has pages");
    }
    if (op.kind == Op::kScan || op.kind == Op::kDelta) check_scan(model, op);
    if (op.kind == Op::kSelective) check_selective(model, op);
    if (op.kind == Op::kRecurrence) check_recurrence(model, op);
    if (op.kind == Op::kTrapezoidal) check_trapezoidal(model, op);
    if (op.kind == Op::kLinear && op.scale.mantissa) {
        const bool fits = op.scale.mantissa >= 1 && op.scale.mantissa <= 8191 && std::abs(op.scale.exponent) <= 100;
        if (!fits || model.scheme)
            throw std::invalid_argument("a product's rows have a fixed scale from 1 to 8191, and no other scheme");
    }
    if (op.outliers) {
        const std::int64_t width = model.buffers[static_cast<std::size_t>(op.source)].width;
        const bool alone = model.scheme && model.scheme->whole_row && op.kind == Op::kLinear && !op.keep;
        if (!alone || op.outliers < 0 || op.outliers > width || width % 32 || 96 * op.outliers >= width)
            throw std::invalid_argument(
                "outliers are whole blocks, thrice at the end of all rows of a product that have one scale");
    }
    if (op.keep) {
        const std::int64_t width = model.buffers[static_cast<std::size_t>(op.source)].width;
        if (op.kind != Op::kLinear || op.keep < 1 || op.keep > width)
            throw std::invalid_argument("a product keeps one to all of its inputs");
        if (!op.norms.empty() && std::ssize(op.norms) != width)
            throw std::invalid_argument("norms are as many as a product's inputs");
        for (const std::int32_t norm : op.norms)
            if (norm < 0 || norm > 32767) throw std::invalid_argument("norms lie in 0 to 32767");
    }
    if (op.kind == Op::kExperts) {
        const std::int64_t count = std::ssize(op.targets) / 3, used = op.routing.used;
        const BufferSpec &scores = model.buffers[static_cast<std::size_t>(op.second)],
                         &to = model.buffers[static_cast<std::size_t>(op.target)];
        if (std::ssize(op.targets) != 3 * count || scores.wide || scores.width != count || !to.wide)
            throw std::invalid_argument("experts have three matrices and a narrow score each, and a wide target");
        if (op.bias != -1 && std::ssize(model.biases[static_cast<std::size_t>(op.bias)]) != count)
            throw std::invalid_argument("every expert has a bias, or none");
        if (op.added != -1) {
            demand(op.added, model.biases.size(), "scales");
            if (std::ssize(model.biases[static_cast<std::size_t>(op.added)]) != count)
                throw std::invalid_argument("every expert has a scale, or none");
        }
        if (used < 1 || used > count || op.width < 1 || op.routing.factor < 0 || op.routing.factor >= 1 << 20)
            throw std::invalid_argument("a row passes one to all of the experts, with weights below 4");
        const std::int64_t groups = op.routing.groups, some = op.routing.groups_used;
        if (groups < 1 || count % groups || some < 1 || some > groups || used > count / groups * some ||
            (some < groups && count / groups < 2))
            throw std::invalid_argument("experts form groups of one size, at least two, that hold those of a row");
        if (has_wide_codes(model.scheme) || op.keep)
            throw std::invalid_argument("this profile runs no mixtures of experts");
    }
    if (op.kind == Op::kAdapt || op.kind == Op::kSteer) {
        op.kind == Op::kAdapt ? check_adapters(model, op) : check_vectors(model, op);
        return;
    }
    for (const LinearTarget& target : op.targets) {
        buffer(target.buffer);
        demand(target.weight, model.weights.size(), "weight");
        if (target.bias != -1) demand(target.bias, model.biases.size(), "bias");
    }
}

}  // namespace

void add_op(Model& model, const Op& op) {
    check(model, op);
    if (op.kind == Op::kConvolve || op.kind == Op::kConvolveSilu)
        model.convolutions.push_back(model.buffers[static_cast<std::size_t>(op.target)].width);
    if (op.kind == Op::kScan || op.kind == Op::kDelta || op.kind == Op::kSelective || op.kind == Op::kRecurrence ||
        op.kind == Op::kTrapezoidal)
        model.scans.push_back(op.scan);
    model.ops.push_back(op);
}

}  // namespace intact
