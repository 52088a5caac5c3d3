// Validation of operations that come from outside the core, from Python or JavaScript.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "runtime/model.h"

namespace intact {

// Validates an operation and adds it to a program; throws std::invalid_argument.
void add_op(Model& model, const Op& op);

// Each of these throws std::invalid_argument if something is missing or does not fit.
void check_index(int i, std::size_t count, const char* what);
void check_buffers(const Model& model, std::initializer_list<int> buffers);
// The buffers, weights and biases of an operation's targets.
void check_targets(const Model& model, const Op& op);
// An operation other than a product, which must read all inputs of its rows.
void check_all_inputs(const Op& op);
// A convolution's weights, and its part of the cache.
void check_taps(const Model& model, const Op& op);
// A scan after a convolution: its sizes and parameters must fit its buffers and the proven bounds.
void check_convolved_scan(const Model& model, const Op& op, bool delta);
// The rates of a scan.
void check_rates(const Model& model, const ScanForm& form);
// A scan's part of the cache.
void check_scan_place(const Model& model, const Op& op);

const BufferSpec& buffer_of(const Model& model, int i);
bool is_narrow(const Model& model, int i, std::int64_t width);
// If true, entry i of the biases has `count` numbers.
bool has_numbers(const Model& model, int i, std::int64_t count);

}  // namespace intact
