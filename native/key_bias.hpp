// The bias of a projection of keys, where keys are codes: it stays out of them and comes to scores exactly, from a few
// pairs of elements, since RoPE only turns it: q·R(t)b = Σ over pairs of even·cos(tθ) + odd·sin(tθ).
// Not here: scores (kernels/key_bias.inl). Enter at split_bias().
#pragma once

#include <cstdint>
#include <vector>

namespace solvent {

// Of one head's bias: the pairs that are told exactly, and the rest, which goes into codes with the key.
struct KeyBias {
    std::vector<int32_t> pairs;
    std::vector<float> first, second;  // elements of all pairs, head_size / 2; 0 where a pair isn't told
    std::vector<float> rest;           // head_size
};

// The largest pairs, as few as leave at most kLeftOver of the bias's square in the rest.
constexpr double kLeftOver = 1e-4;
KeyBias split_bias(const float* bias, int head_size, bool adjacent);

// What multiplies cos(tθ) and sin(tθ) of each pair in the scores of a query, which RoPE has turned.
void bias_terms(const KeyBias& bias, const float* q, int head_size, bool adjacent, float* even, float* odd);

}  // namespace solvent
