// The keys and values of one sequence, f16: per layer and head, keys in blocks of 16 tokens, values in rows.
// Memory is reserved for the whole context and becomes real as tokens fill it.
#pragma once

#include "matrix.hpp"

namespace solvent {

struct CacheShape {
    int n_layers, n_kv_heads, head_size, context;
};

class Sequence {
  public:
    explicit Sequence(const CacheShape& shape)
        : shape_(shape),
          context_16_((shape.context + 15) / 16 * 16),
          v_stride_((shape.head_size + 15) / 16 * 16),
          k_head_(static_cast<size_t>(context_16_) * shape.head_size),
          v_head_(static_cast<size_t>(context_16_) * v_stride_),
          pages_((k_head_ + v_head_) * shape.n_kv_heads * shape.n_layers * 2, false) {}

    int n_tokens = 0;

    int context() const { return shape_.context; }
    const CacheShape& shape() const { return shape_; }

    CacheView view(int layer, int head) const {
        const uint16_t* k = base(layer, head);
        return {k, k + k_head_, shape_.head_size, v_stride_};
    }
    // Where element i of the key at t lies: key(…)[16·i].
    uint16_t* key(int layer, int head, int t) {
        return base(layer, head) + static_cast<size_t>(t / 16) * shape_.head_size * 16 + t % 16;
    }
    uint16_t* value(int layer, int head, int t) {
        return base(layer, head) + k_head_ + static_cast<size_t>(t) * v_stride_;
    }

  private:
    uint16_t* base(int layer, int head) const {
        const size_t index = static_cast<size_t>(layer) * shape_.n_kv_heads + head;
        return reinterpret_cast<uint16_t*>(pages_.data()) + index * (k_head_ + v_head_);
    }

    CacheShape shape_;
    int context_16_, v_stride_;
    size_t k_head_, v_head_;
    Pages pages_;
};

}  // namespace solvent
