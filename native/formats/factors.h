// Stores scales and minima as products of two factors where that is exact and saves memory.
#pragma once

#include "formats/convert.h"

namespace intact {

// Stores a weight's plain scales, and its minima, in the smallest form that gives the same integers (BlockNumbers):
//     one number per run of 2^s pairs of blocks, or per row;
//     an int8 for each block times an int16 for 256 inputs, or for a row.
// All outputs have the same form. Numbers that no form can represent stay unchanged.
void factor_numbers(Weight& weight, const ParallelFor& parallel_for);

}  // namespace intact
