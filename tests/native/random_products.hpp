// Pseudo-random matrices in panels and activations, for programs that compare tables of kernels: codes and activations at
// their extremes first. Not here: what is done with them. Enter at panels() and Tokens.
#pragma once
#include <algorithm>
#include <cstring>
#include <vector>

#include "../../native/half.hpp"
#include "../../native/kernels/contract.hpp"

namespace solvent { namespace {

// SplitMix64; floats come from integers by exact steps, so they are the same everywhere.
struct Random {
    uint64_t state;
    uint64_t next() {
        uint64_t z = state += 0x9E3779B97F4A7C15u;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }
    int below(int n) { return static_cast<int>(next() % static_cast<uint64_t>(n)); }
    // In (−2^exponent, 2^exponent), of 24 bits.
    float number(int exponent = 0) {
        const int32_t whole = static_cast<int32_t>(next() >> 39) - (1 << 24);
        return static_cast<float>(whole) * bits_to_float(static_cast<uint32_t>(127 + exponent - 24) << 23);
    }
    std::vector<float> numbers(int n, int exponent = 0) {
        std::vector<float> v(static_cast<size_t>(n));
        for (float& x : v) x = number(exponent);
        return v;
    }
};

struct Shape {
    const char* name;
    Format format;
    int bits, scale_bytes, halves, has_min;
};

const Shape kShapes[] = {
    {"q4_0", Format::q4_0, 4, 32, 1, 0}, {"q4_1", Format::q4_1, 4, 32, 1, 1}, {"q8_0", Format::q8_0, 8, 32, 1, 0},
    {"q4_k", Format::q4_k, 4, 16, 1, 1}, {"q5_k", Format::q5_k, 5, 16, 1, 1}, {"q6_k", Format::q6_k, 6, 16, 2, 0},
    {"t2", Format::t2, 2, 32, 0, 0},     {"t2g", Format::t2g, 2, 32, 1, 0},
    {"t5", Format::t5, 2, 32, 0, 0},     {"u3", Format::u3, 3, 32, 0, 0},
};

// One scale a matrix, and activations of one a token.
inline bool is_one_scale(Format format) { return format == Format::t2 || format == Format::t5 || format == Format::u3; }

inline void put_halves(Random& random, uint8_t* p, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i += 2) {
        const uint16_t half = float_to_half(random.number(-3));
        std::memcpy(p + i, &half, 2);
    }
}

inline std::vector<uint8_t> panels(Random& random, const Shape& s, MatrixView& w) {
    const int n_blocks = w.n_blocks, n_groups = (n_blocks + w.group_blocks - 1) / w.group_blocks;
    const bool fives = s.format == Format::t5;
    const size_t codes = fives ? static_cast<size_t>(n_blocks * kBlock + 19) / 20 * 64 : static_cast<size_t>(n_blocks) * s.bits * 64;
    const int n_scales = s.format == Format::t2g ? n_groups : n_blocks * (s.halves + s.has_min);
    const size_t scales = is_one_scale(s.format) ? 0 : static_cast<size_t>(n_scales) * s.scale_bytes;
    // Scales of 16 bytes are int8, under an f16 for every kFineBlocks blocks.
    const bool fine = s.scale_bytes == 16;
    const size_t above = fine ? static_cast<size_t>((n_blocks + kFineBlocks - 1) / kFineBlocks) * 32 * (1 + s.has_min) : 0;
    w.panel_bytes = codes + scales + above;
    std::vector<uint8_t> data(w.panel_bytes * static_cast<size_t>(w.n_panels));
    for (int panel = 0; panel < w.n_panels; ++panel) {
        uint8_t* p = data.data() + w.panel_bytes * static_cast<size_t>(panel);
        // The first panel holds the largest codes only, the second the smallest: what 16 bits might not hold shows there.
        for (size_t i = 0; i < codes; ++i) {
            p[i] = static_cast<uint8_t>(panel == 0 ? 255 : panel == 1 ? 0 : random.below(256));
            if (fives) {
                p[i] = static_cast<uint8_t>(panel == 0 ? 242 : panel == 1 ? 0 : random.below(243));
            } else if (s.bits == 2) {
                p[i] = 0;
                for (int j = 0; j < 4; ++j) p[i] = static_cast<uint8_t>(p[i] | (panel == 0 ? 2 : random.below(3)) << 2 * j);
            }
        }
        if (fine)
            for (size_t i = 0; i < scales; ++i) p[codes + i] = static_cast<uint8_t>(random.below(256));
        else put_halves(random, p + codes, scales);
        put_halves(random, p + codes + scales, above);
    }
    w.data = data.data();
    return data;
}

// Activations of n tokens in memory that is no longer than they are.
struct Tokens {
    std::vector<int8_t> q;
    std::vector<float> d, d_sum, x, outlier;
    std::vector<int32_t> sum, sum_half, outlier_at;
    Activations view{};

    Tokens(Random& random, int n_tokens, int n_cols, bool per_token) {
        const int n_blocks = (n_cols + kBlock - 1) / kBlock, width = n_blocks * kBlock, n_d = per_token ? 1 : n_blocks;
        q.resize(static_cast<size_t>(n_tokens) * width);
        sum.resize(static_cast<size_t>(n_tokens) * n_d);
        sum_half.resize(static_cast<size_t>(n_tokens) * n_blocks * 2);
        outlier_at.resize(static_cast<size_t>(n_tokens) * kOutliers);
        x = random.numbers(n_tokens * n_cols);
        outlier = random.numbers(n_tokens * kOutliers, 4);
        for (int t = 0; t < n_tokens; ++t) {
            int8_t* row = q.data() + static_cast<size_t>(t) * width;
            // The first token is −128 throughout, the second 127.
            for (int i = 0; i < width; ++i) row[i] = static_cast<int8_t>(t == 0 ? -128 : t == 1 ? 127 : random.below(256) - 128);
            int32_t* at = outlier_at.data() + t * kOutliers;
            for (int o = 0; o < kOutliers; ++o) at[o] = t % 3 == 1 ? at[o - kOutliers] : random.below(n_cols);
            std::sort(at, at + kOutliers);
            for (int i = 0; i < width; ++i) sum[static_cast<size_t>(t) * n_d + (per_token ? 0 : i / kBlock)] += row[i];
            for (int i = 0; i < width; ++i) sum_half[static_cast<size_t>(t) * n_blocks * 2 + i / 16] += row[i];
        }
        d = random.numbers(n_tokens * n_d);
        for (size_t i = 0; i < d.size(); ++i) d_sum.push_back(d[i] * static_cast<float>(sum[i]));
        const auto row = [](int n) { return static_cast<size_t>(n); };
        view = {q.data(), d.data(), d_sum.data(), sum.data(), per_token ? nullptr : sum_half.data(), x.data(), row(width), row(n_d), row(n_cols), outlier_at.data(), outlier.data()};
    }
    Activations one(int t) const {
        const size_t i = static_cast<size_t>(t);
        Activations a = view;
        a.q += i * a.q_stride;
        a.d += i * a.d_stride, a.d_sum += i * a.d_stride, a.sum += i * a.d_stride;
        if (a.sum_half) a.sum_half += 2 * i * a.d_stride;
        a.x += i * a.x_stride;
        a.outlier_at += i * kOutliers, a.outlier += i * kOutliers;
        return a;
    }
};

}}  // namespace solvent::(anonymous)
