// The head in three bits a weight, for greedy tokens: an estimate of every logit, which leaves few rows in question.
// A row less the mean row, turned (a Hadamard transform over columns of random sign), becomes codes of one step.
// Taking a row away from all shifts all logits alike; turning spreads what a few columns hold over many.
// Not here: the search (head.cpp). Enter at make_screen(). Formulas: docs/reference/model-card.md.
#pragma once

#include <vector>

#include "kernels/contract.hpp"
#include "matrix.hpp"

namespace solvent {

struct Screen {
    std::unique_ptr<Matrix> codes;  // u3; null: no screen
    // Per row: what a code less 3.5 is multiplied by, the length of what codes leave out, and the row's, less the mean row.
    std::vector<float> scale, residual, length;
    std::vector<float> mean, signs;
    double mean_length = 0.0;

    size_t bytes() const;
};

// Columns are a multiple of 32.
Screen make_screen(const FileMatrix& head, const Kernels& kernels, int n_threads);

}  // namespace solvent
