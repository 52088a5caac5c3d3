// Scales and minima as products of two factors, where that is exact and takes less memory.
#pragma once

#include "formats/convert.h"

namespace intact {

// Stores a weight's plain scales, and its minima, in the smallest form that gives the same integers (BlockNumbers):
//     runs of 2^s pairs of blocks, or whole rows, with one number;
//     an int8 for each block times an int16 for 256 inputs, or for a row.
// All outputs have the same form. Numbers of which no form holds all stay as they are.
void factor_numbers(Weight& weight, const ParallelFor& parallel_for);

}  // namespace intact
