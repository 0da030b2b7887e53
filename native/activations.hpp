// Vectors of tokens as matrices take them: rounded to int8 by block or by token, or floats.
// Not here: the rounding itself, kernels/quantise.inl. Enter at ActivationStore.
#pragma once

#include <vector>

#include "matrix.hpp"

namespace solvent {

// Activations of up to n tokens in each of the forms that a matrix may want.
struct ActivationStore {
    std::vector<int8_t> q, q_token;
    std::vector<float> d, d_sum, d_token, x, outlier;
    std::vector<int32_t> sum, sum_half, sum_token, outlier_at;
    size_t cols = 0, blocks = 0;
    // blocks_only: for Wants::blocks and no other.
    void reserve(size_t n_tokens, size_t n_cols, bool blocks_only = false);
    // Puts n floats into row `row`, in the form asked for.
    void take(const Kernels& kernels, int row, const float* from, int n, Wants wants);
    // What the int8 blocks of a row stand for, outliers too.
    void values(int row, int n, float* to) const;
    Activations view(Wants wants) const;
};

}  // namespace solvent
