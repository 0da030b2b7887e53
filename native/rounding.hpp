// A row's weights rounded to codes of 4, 6 or 8 bits: the head's screen, and a smaller head for a file that has a large one.
// Not here: panels. Enter at round_row().
#pragma once

#include "file_rows.hpp"
#include "kernels/contract.hpp"

namespace solvent {

constexpr float kUnbounded = 1e30f;  // length of a row that no codes stand for

struct RowLengths {
    float left_out;  // √Σ(weight − code's)²
    float own;       // √Σ weight²
};

// Fills codes and scales of `row` with those nearest to n_blocks · 32 weights. format: q4_0, q6_k or q8_0.
// A row that holds what is no finite number, or too large for a half's scale, becomes zeros with a length that says so.
RowLengths round_row(const float* weights, int n_blocks, Format format, RowCodes& row);

}  // namespace solvent
