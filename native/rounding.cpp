#include "rounding.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "half.hpp"

namespace solvent {

namespace {

float as_half(float v) { return half_to_float(float_to_half(v)); }
float inverse(float v) { return v != 0.0f ? 1.0f / v : 0.0f; }

float extreme_of(const float* w, int n) {
    float extreme = 0.0f;
    for (int i = 0; i < n; ++i)
        if (std::fabs(w[i]) > std::fabs(extreme)) extreme = w[i];
    return extreme;
}

// codes[i] = round(w[i] / scale) + offset, at most 2·offset − 1.
void to_codes(const float* w, int n, float scale, int offset, uint8_t* codes) {
    const float by = inverse(scale), middle = static_cast<float>(offset) + 0.5f;
    for (int i = 0; i < n; ++i) codes[i] = static_cast<uint8_t>(std::min(2 * offset - 1, std::max(0, static_cast<int>(w[i] * by + middle))));
}

// An f16 scale per 32: the weight of greatest size becomes −offset exactly, but for the scale's own rounding.
void round_blocks(const float* w, int n_blocks, int offset, RowCodes& row) {
    for (int b = 0; b < n_blocks; ++b) {
        const float scale = as_half(extreme_of(w + kBlock * b, kBlock) / static_cast<float>(-offset));
        row.scale[static_cast<size_t>(2 * b)] = row.scale[static_cast<size_t>(2 * b + 1)] = scale;
        to_codes(w + kBlock * b, kBlock, scale, offset, row.codes.data() + kBlock * b);
    }
}

// An int8 scale per 16 under an f16 per 256: six bits.
void round_fine(const float* w, int n_blocks, RowCodes& row) {
    constexpr int offset = 32;
    for (int first = 0; first < n_blocks; first += kFineBlocks) {
        const int n = 2 * std::min(kFineBlocks, n_blocks - first);
        float scales[2 * kFineBlocks], largest = 0.0f;
        for (int g = 0; g < n; ++g) {
            scales[g] = extreme_of(w + kBlock * first + 16 * g, 16) / static_cast<float>(-offset);
            largest = std::max(largest, std::fabs(scales[g]));
        }
        const size_t super = static_cast<size_t>(first / kFineBlocks);
        row.above[super] = float_to_half(largest / 127.0f);
        const float above = half_to_float(row.above[super]), by = inverse(above);
        for (int g = 0; g < n; ++g) {
            const size_t at = static_cast<size_t>(2 * first + g);
            row.fine[at] = static_cast<int8_t>(std::min(127.0f, std::max(-127.0f, std::nearbyint(scales[g] * by))));
            row.scale[at] = above * static_cast<float>(row.fine[at]);
            to_codes(w + 16 * at, 16, row.scale[at], offset, row.codes.data() + 16 * at);
        }
    }
}

}  // namespace

bool round_row(const float* w, int n_blocks, Format format, RowCodes& row) {
    const int n = n_blocks * kBlock, offset = format == Format::q6_k ? 32 : 128;
    std::fill(row.minimum.begin(), row.minimum.end(), 0.0f);
    // A half holds scales below 65,504: of the largest weight over 128, and over 32 · 127.
    const float largest = std::fabs(extreme_of(w, n));
    bool finite = largest < 65'000.0f * static_cast<float>(offset);
    for (int i = 0; i < n; ++i) finite = finite && std::fabs(w[i]) <= largest;  // false for what is no number
    if (!finite) return false;
    if (format == Format::q6_k) round_fine(w, n_blocks, row);
    else round_blocks(w, n_blocks, offset, row);
    return true;
}

}  // namespace solvent
