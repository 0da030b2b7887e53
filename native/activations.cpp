#include "activations.hpp"

#include <algorithm>
#include <cstring>

namespace solvent {

void ActivationStore::reserve(size_t n_tokens, size_t n_cols, bool blocks_only) {
    cols = (n_cols + 31) / 32 * 32;
    blocks = cols / 32;
    q.assign(n_tokens * cols, 0);
    d.assign(n_tokens * blocks, 0.0f);
    d_sum.assign(n_tokens * blocks, 0.0f);
    sum.assign(n_tokens * blocks, 0);
    sum_half.assign(2 * n_tokens * blocks, 0);
    outlier_at.assign(n_tokens * kOutliers, 0);
    outlier.assign(n_tokens * kOutliers, 0.0f);
    if (blocks_only) return;
    q_token.assign(n_tokens * cols, 0);
    x.assign(n_tokens * cols, 0.0f);
    d_token.assign(n_tokens, 0.0f);
    sum_token.assign(n_tokens, 0);
}

Activations ActivationStore::view(Wants wants) const {
    if (wants == Wants::token) return {q_token.data(), d_token.data(), nullptr, sum_token.data(), nullptr, x.data(), cols, 1, cols, nullptr, nullptr};
    return {q.data(), d.data(), d_sum.data(), sum.data(), sum_half.data(), x.data(), cols, blocks, cols, outlier_at.data(), outlier.data()};
}

void ActivationStore::take(const Kernels& kernels, int row, const float* from, int n, Wants wants) {
    const size_t at = static_cast<size_t>(row) * cols, block = static_cast<size_t>(row) * blocks, r = static_cast<size_t>(row);
    switch (wants) {
        case Wants::blocks: {
            const Quantised out = {&q[at], &d[block], &d_sum[block], &sum[block], &sum_half[2 * block], &outlier_at[r * kOutliers], &outlier[r * kOutliers]};
            return kernels.quantise_blocks(from, n, out);
        }
        case Wants::token: return kernels.quantise_token(from, n, &q_token[at], &d_token[r], &sum_token[r]);
        case Wants::floats: std::memcpy(&x[at], from, sizeof(float) * static_cast<size_t>(n)); return;
        case Wants::spread: {
            float scale;
            int32_t total;
            kernels.quantise_token(from, n, &q[at], &scale, &total);
            for (size_t b = 0; b < blocks; ++b) {
                const int8_t* codes = &q[at + b * kBlock];
                int32_t* half = &sum_half[2 * (block + b)];
                half[0] = half[1] = 0;
                for (int i = 0; i < kBlock && static_cast<int>(b) * kBlock < n; ++i) half[i / 16] += codes[i];
                sum[block + b] = half[0] + half[1];
                d[block + b] = scale;
                d_sum[block + b] = scale * static_cast<float>(sum[block + b]);
            }
            std::fill_n(&outlier_at[r * kOutliers], kOutliers, 0);
            std::fill_n(&outlier[r * kOutliers], kOutliers, 0.0f);
            return;
        }
        case Wants::rounded:
            take(kernels, row, from, n, Wants::token);
            for (size_t i = 0; i < static_cast<size_t>(n); ++i) x[at + i] = static_cast<float>(q_token[at + i]) * d_token[r];
    }
}

void ActivationStore::values(int row, int n, float* to) const {
    const size_t r = static_cast<size_t>(row), at = r * cols, block = r * blocks;
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) to[i] = static_cast<float>(q[at + i]) * d[block + i / kBlock];
    for (size_t o = r * kOutliers; o < (r + 1) * kOutliers; ++o) to[outlier_at[o]] += outlier[o];  // whose code is 0
}

}  // namespace solvent
