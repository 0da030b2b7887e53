// The head in three bits a weight, for greedy tokens: an estimate of every logit, which leaves few rows in question.
// A row less the mean row, turned, becomes codes of one step.
// Taking a row away from all shifts all logits alike; turning (Hadamard transforms of pieces of up to 256 columns of random
// sign, twice, with columns put far apart between them) spreads what a few columns hold over all.
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
    std::vector<float> mean, signs;  // signs of both transforms
    std::vector<int32_t> apart;      // where the second one takes its columns from
    double mean_length = 0.0;

    // v becomes its turn; scratch: as many floats.
    void turn(const Kernels& kernels, float* v, float* scratch) const;

    size_t bytes() const;
};

// Columns are a multiple of 32.
Screen make_screen(const FileMatrix& head, const Kernels& kernels, int n_threads);

}  // namespace solvent
