// The cache of one layer for programs that run the rest of the model themselves: keys and values in, attention out.
// Not here: masks but the causal one, threads. A Sequence of one layer holds the bytes.
#pragma once

#include "sequence.hpp"

namespace solvent {

class LayerCache {
  public:
    LayerCache(int n_kv_heads, int head_size, int context, std::shared_ptr<const CacheFormat> format)
        : sequence_({1, n_kv_heads, head_size, context}, std::move(format)) {}
    // Shares full chunks; a chunk that either adds to becomes its own.
    LayerCache(const LayerCache& other) = default;

    Sequence& sequence() { return sequence_; }
    const Sequence& sequence() const { return sequence_; }

    // keys, values: [n tokens][KV heads][D], positions already in the keys. False: one of them isn't finite, nothing is kept.
    bool append(const Kernels& kernels, const float* keys, const float* values, int n);
    // Attention of the last n tokens, each to itself and those before. queries: [n][heads][D], already times 1/√D; out alike.
    void attend(const Kernels& kernels, const float* queries, int n, int n_heads, float* out) const;

  private:
    Sequence sequence_;
};

}  // namespace solvent
