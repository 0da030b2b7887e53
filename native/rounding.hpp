// A row's weights rounded to codes of 6 or 8 bits: a smaller head for a file that has a large one.
// Not here: panels. Enter at round_row().
#pragma once

#include "file_rows.hpp"
#include "kernels/contract.hpp"

namespace solvent {

// Fills codes and scales of `row` with those nearest to n_blocks · 32 weights. format: q6_k or q8_0.
// False for a row that holds what is no finite number, or too large a one for a half's scale.
bool round_row(const float* weights, int n_blocks, Format format, RowCodes& row);

}  // namespace solvent
