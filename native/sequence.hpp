// The keys and values of one sequence, as f16 or as codes, in chunks of 256 tokens that hold all layers and heads.
// Full chunks may be shared by sequences with a common beginning; what is written to is a sequence's own.
// First and newest chunks may stay in half precision though others are codes; what is newest no more becomes codes.
// Not here: attention (attention.cpp), the bytes of codes (codes.cpp). The layout: docs/reference/turboquant-format.md.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "matrix.hpp"

namespace solvent {

struct CacheShape {
    int n_layers, n_kv_heads, head_size, context;
};

// What keys and values are kept as. Books by index; −1 is f16.
struct CacheFormat {
    struct Kept {
        int key, value;
    };
    std::vector<CodeBook> books;
    std::vector<Kept> layers;
    std::vector<float> signs;  // ±1 per element of a head
    bool centred = true;
    int n_sinks = 0, n_tail = 0;  // chunks that stay in half precision: the first, and the newest before the one being filled

    const CodeBook* key_book(int layer) const { return book(layers[static_cast<size_t>(layer)].key); }
    const CodeBook* value_book(int layer) const { return book(layers[static_cast<size_t>(layer)].value); }

  private:
    const CodeBook* book(int index) const { return index < 0 ? nullptr : &books[static_cast<size_t>(index)]; }
};

// Where the parts of one layer's head lie in a chunk, in bytes.
struct HeadPlan {
    size_t key_block, value_block;  // of 16 tokens
    size_t k_scales, v, centres, bytes;
};

// A key or value and its token.
struct Stored {
    bool value;
    int t;
    const float* x;
};

class Sequence {
  public:
    Sequence(const CacheShape& shape, std::shared_ptr<const CacheFormat> format);
    // What another sequence holds, shared but for a last chunk that isn't full.
    Sequence(const Sequence& other) = default;

    int n_tokens = 0;
    std::atomic<bool>& not_finite() { return *not_finite_; }

    int context() const { return shape_.context; }
    const CacheShape& shape() const { return shape_; }
    const CacheFormat& format() const { return *format_; }
    const std::shared_ptr<const CacheFormat>& shared_format() const { return format_; }

    // Room for the tokens from n_tokens up to `end`, in chunks of this sequence's own. Chunks that leave the tail become
    // codes first: of a chunk's tokens all see the same ones, if no step begins in one chunk and ends in another.
    void reserve(const Kernels& kernels, int end);
    void truncate(int n_tokens);
    // Room for n tokens that are about to be written as bytes, of which chunks before coded_end are codes, but for sinks.
    void reset(int n_tokens, int coded_end);
    // Chunks from here on are in half precision, and sinks; kAllCoded where no tail is kept.
    int coded_end() const { return coded_end_; }
    static constexpr int kAllCoded = 1 << 30;
    CacheView view(int layer, int head, int chunk) const;
    // Up to kStoredTogether vectors of one head, keys in order of their tokens. scratch: as many · head_size floats.
    void store(const Kernels& kernels, int layer, int head, const Stored* vectors, int n, float* scratch);
    size_t chunk_bytes(int chunk) const { return bytes_[kind(chunk, coded_end_)]; }
    // As it would be if chunks before coded_end were codes.
    size_t chunk_bytes(int chunk, int coded_end) const { return bytes_[kind(chunk, format_->n_tail ? coded_end : kAllCoded)]; }
    int n_chunks() const { return static_cast<int>(chunks_.size()); }
    uint8_t* chunk_data(int chunk) const { return chunks_[static_cast<size_t>(chunk)]->data(); }
    // Whether a chunk belongs to several sequences.
    bool is_shared(int chunk) const { return chunks_[static_cast<size_t>(chunk)].use_count() > 1; }

  private:
    enum Kind { kFirst, kLater, kFull, kKinds };  // how a chunk is laid out
    bool is_full(int chunk) const { return kind(chunk, coded_end_) == kFull; }
    Kind kind(int chunk, int coded_end) const { return chunk < format_->n_sinks || chunk >= coded_end ? kFull : chunk > 0 ? kLater : kFirst; }
    struct Place {
        uint8_t* head;
        int8_t* exponents;  // of scales: keys' of two tiles, values' of two tiles
        const HeadPlan* plan;
    };
    Place place(int layer, int head, int chunk) const { return place_in(chunk_data(chunk), kind(chunk, coded_end_), layer, head); }
    Place place_in(uint8_t* data, Kind kind, int layer, int head) const;
    void store_half(const Kernels& kernels, const Place& place, const Stored& one);
    // A turned vector that stays in half precision.
    void store_turned(const Kernels& kernels, const Place& place, const Stored& one, const float* turned);
    // Turned vectors become codes; keys lose their centre in place.
    void code(const Kernels& kernels, int layer, int head, const Stored* const* vectors, int n, float* turned);
    void code_chunk(const Kernels& kernels, int chunk);
    void code_side(const Kernels& kernels, int layer, int head, int chunk, bool value, const Place& full);
    void centre(const Kernels& kernels, int layer, int head, const Stored& one, float* turned);
    void set_centre(const Kernels& kernels, int layer, int head, int t, const float* turned, uint16_t* centre);
    void keep(const Encoding& encoding, int scale_steps, const Place& place, const Stored& one);

    CacheShape shape_;
    std::shared_ptr<const CacheFormat> format_;
    std::vector<HeadPlan> plans_[kKinds];  // per layer
    std::vector<size_t> layer_at_[kKinds];
    size_t bytes_[kKinds];
    std::vector<std::shared_ptr<Pages>> chunks_;
    int coded_end_;
    std::shared_ptr<std::atomic<bool>> not_finite_ = std::make_shared<std::atomic<bool>>(false);
};

// A query as the keys of a layer ask for it, in place: where those are codes, turned, and as int8 in their order.
void prepare_query(const Kernels& kernels, const CacheFormat& format, int layer, int n, float* q, int8_t* codes, float* unit, int32_t* sum);
// A row's sum of values as it is without codes, in place: elements in order, and turned back.
void finish_sum(const Kernels& kernels, const CacheFormat& format, int layer, int n, float* out, float* scratch);

// What rows of one layer's queries attend to, without a model around it.
struct Queries {
    const float* q;        // [n_tokens][n_heads][head_size], already times 1/√D
    int n_tokens, n_heads;
    const int32_t* n_keys;  // per token: the first keys that it sees
    float* out;            // as q
};
void attend(const Kernels& kernels, const Sequence& sequence, int layer, const Queries& queries);

}  // namespace solvent
