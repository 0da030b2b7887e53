#include "key_bias.hpp"

#include <algorithm>
#include <numeric>

namespace solvent {

namespace {

struct Pair {
    int first, second;
};

Pair pair_at(int i, int head_size, bool adjacent) { return adjacent ? Pair{2 * i, 2 * i + 1} : Pair{i, i + head_size / 2}; }

}  // namespace

KeyBias split_bias(const float* bias, int head_size, bool adjacent) {
    const size_t half = static_cast<size_t>(head_size / 2);
    KeyBias split{{}, std::vector<float>(half, 0.0f), std::vector<float>(half, 0.0f), std::vector<float>(bias, bias + head_size)};
    std::vector<double> square(half);
    for (size_t i = 0; i < half; ++i) {
        const Pair p = pair_at(static_cast<int>(i), head_size, adjacent);
        square[i] = static_cast<double>(bias[p.first]) * bias[p.first] + static_cast<double>(bias[p.second]) * bias[p.second];
    }
    std::vector<int32_t> order(half);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return square[static_cast<size_t>(a)] > square[static_cast<size_t>(b)]; });
    // Summed from the smallest, so that what is left over is known without a difference.
    std::vector<double> left(half + 1, 0.0);
    for (size_t i = half; i-- > 0;) left[i] = left[i + 1] + square[static_cast<size_t>(order[i])];
    for (size_t i = 0; i < half && left[i] > kLeftOver * left[0]; ++i) {
        const Pair p = pair_at(order[i], head_size, adjacent);
        split.pairs.push_back(order[i]);
        split.first[static_cast<size_t>(order[i])] = bias[p.first];
        split.second[static_cast<size_t>(order[i])] = bias[p.second];
        split.rest[static_cast<size_t>(p.first)] = split.rest[static_cast<size_t>(p.second)] = 0.0f;
    }
    return split;
}

void bias_terms(const KeyBias& bias, const float* q, int head_size, bool adjacent, float* even, float* odd) {
    for (int i = 0; i < head_size / 2; ++i) {
        const Pair p = pair_at(i, head_size, adjacent);
        const float first = bias.first[static_cast<size_t>(i)], second = bias.second[static_cast<size_t>(i)];
        even[i] = q[p.first] * first + q[p.second] * second;
        odd[i] = q[p.second] * first - q[p.first] * second;
    }
}

}  // namespace solvent
