// Attention of a step: which tokens attend together, which keys make one piece of work, and how pieces are merged.
// A few tokens split their keys into spans, so that threads share a long context; many tokens don't.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "decoder.hpp"

namespace solvent {

namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

size_t up_16(int n) { return static_cast<size_t>((n + 15) / 16 * 16); }

}  // namespace

void Decoder::plan(const std::vector<Slot>& slots) {
    tiles_.clear();
    pieces_.clear();
    const int n = static_cast<int>(slots.size());
    const int together = std::max(1, kMaxQueries / group_);
    separate_ = true;
    for (int s = 0; s < n;) {
        int end = s + 1;
        while (end < n && end - s < together && slots[static_cast<size_t>(end)].sequence == slots[static_cast<size_t>(s)].sequence) ++end;
        if (s > 0 && slots[static_cast<size_t>(s)].sequence == slots[static_cast<size_t>(s - 1)].sequence) separate_ = false;
        if (end - s > 1) separate_ = false;
        tiles_.push_back({s, end - s, 0, 1});
        s = end;
    }
    spread_ = static_cast<int>(tiles_.size()) <= kFewTiles;
    for (size_t i = 0; i < tiles_.size(); ++i) {
        Tile& tile = tiles_[i];
        const int n_keys = slots[static_cast<size_t>(tile.first + tile.n_tokens - 1)].position + 1;
        tile.first_span = static_cast<int>(pieces_.size());
        tile.n_spans = spread_ ? (n_keys + kSpanKeys - 1) / kSpanKeys : 1;
        for (int span = 0; span < tile.n_spans; ++span) pieces_.emplace_back(static_cast<int>(i), span);
    }
    // Long tiles first, so that the threads end together.
    if (!spread_) std::reverse(pieces_.begin(), pieces_.end());
    // Per piece and query row: the weighted sum, its maximum and its denominator.
    if (spread_) {
        const size_t row = up_16(config.head_size) + 2;
        partial_.resize(pieces_.size() * static_cast<size_t>(config.n_heads * together) * row);
    }
}

// Row `row` of the queries; where keys are codes, turned as they are, and as int8 in their order.
void Decoder::load_query(Thread& own, int layer_index, int slot, int head, int row, const CacheFormat& format) {
    const Layer& layer = layers[static_cast<size_t>(layer_index)];
    const int n = config.head_size;
    const size_t place = up_16(n) * static_cast<size_t>(row), r = static_cast<size_t>(row);
    float* out = own.query.data() + place;
    const float* q = qkv_.data() + static_cast<size_t>(slot) * static_cast<size_t>(q_16_ + 2 * kv_16_) + static_cast<size_t>(head * n);
    std::memcpy(out, q, sizeof(float) * static_cast<size_t>(n));
    if (!layer.q_bias.empty()) kernels_->add(out, layer.q_bias.data() + head * n, n);
    if (!layer.q_norm.empty()) kernels_->rms_norm(out, layer.q_norm.data(), config.norm_eps, n, out);
    const size_t at = static_cast<size_t>((*slots_)[static_cast<size_t>(slot)].position) * rope_frequency.size();
    kernels_->rope(out, cos_.data() + at, sin_.data() + at, n, config.rope_adjacent);
    const float scale = 1.0f / std::sqrt(static_cast<float>(n));
    for (int i = 0; i < n; ++i) out[i] *= scale;
    if (const KeyBias* bias = bias_apart(layer_index, head / group_, format)) {
        const size_t terms = r * static_cast<size_t>(n / 2);
        bias_terms(*bias, out, n, config.rope_adjacent, own.bias_even.data() + terms, own.bias_odd.data() + terms);
    }
    prepare_query(*kernels_, format, layer_index, n, out, own.q_codes.data() + place, &own.q_unit[r], &own.q_sum[r]);
}

const KeyBias* Decoder::bias_apart(int layer, int head, const CacheFormat& format) const {
    const auto& biases = layers[static_cast<size_t>(layer)].key_biases;
    return biases.empty() || !format.key_book(layer) ? nullptr : &biases[static_cast<size_t>(head)];
}

Stored Decoder::load_key(int layer_index, int slot, int head, float* out) {
    const Layer& layer = layers[static_cast<size_t>(layer_index)];
    const int n = config.head_size;
    const int position = (*slots_)[static_cast<size_t>(slot)].position;
    const KeyBias* apart = bias_apart(layer_index, head, (*slots_)[static_cast<size_t>(slot)].sequence->format());
    const float* k = qkv_.data() + static_cast<size_t>(slot) * static_cast<size_t>(q_16_ + 2 * kv_16_) + static_cast<size_t>(q_16_ + head * n);
    std::memcpy(out, k, sizeof(float) * static_cast<size_t>(n));
    if (!layer.k_bias.empty()) kernels_->add(out, apart ? apart->rest.data() : layer.k_bias.data() + head * n, n);
    if (!layer.k_norm.empty()) kernels_->rms_norm(out, layer.k_norm.data(), config.norm_eps, n, out);
    const size_t at = static_cast<size_t>(position) * rope_frequency.size();
    kernels_->rope(out, cos_.data() + at, sin_.data() + at, n, config.rope_adjacent);
    return {false, position, out};
}

Stored Decoder::load_value(int layer_index, int slot, int head, float* out) {
    const Layer& layer = layers[static_cast<size_t>(layer_index)];
    const int n = config.head_size;
    const float* v = qkv_.data() + static_cast<size_t>(slot) * static_cast<size_t>(q_16_ + 2 * kv_16_) + static_cast<size_t>(q_16_ + kv_16_ + head * n);
    std::memcpy(out, v, sizeof(float) * static_cast<size_t>(n));
    if (!layer.v_bias.empty()) kernels_->add(out, layer.v_bias.data() + head * n, n);
    return {true, (*slots_)[static_cast<size_t>(slot)].position, out};
}

// Keys and values of all slots. A head's tokens go in order, since a centre follows from the tokens before it; a few of
// a sequence go together.
void Decoder::store_all(int thread, int layer) {
    Thread& own = threads_[static_cast<size_t>(thread)];
    const int n = static_cast<int>(slots_->size());
    const auto load = [&](int s, int item, float* out) { return item % 2 ? load_value(layer, s, item / 2, out) : load_key(layer, s, item / 2, out); };
    for (int item = thread; item < 2 * config.n_kv_heads; item += team_.n_active())
        for (int s = 0; s < n;) {
            Sequence& sequence = *(*slots_)[static_cast<size_t>(s)].sequence;
            Stored vectors[kStoredTogether];
            int n_vectors = 0;
            for (; n_vectors < kStoredTogether && s < n && (*slots_)[static_cast<size_t>(s)].sequence == &sequence; ++n_vectors, ++s)
                vectors[n_vectors] = load(s, item, own.query.data() + static_cast<size_t>(n_vectors) * up_16(config.head_size));
            sequence.store(*kernels_, layer, item / 2, vectors, n_vectors, own.turned.data());
        }
}

void Decoder::attention(int thread, int layer, int phase) {
    if (!separate_) {
        store_all(thread, layer);
        team_.barrier();
    }
    const int total = static_cast<int>(pieces_.size()) * config.n_kv_heads;
    for (;;) {
        const int item = counter(phase, 0).next.fetch_add(1, std::memory_order_relaxed);
        if (item >= total) return;
        attend(thread, layer, item);
    }
}

// One key-value head of one tile over one span of keys.
void Decoder::attend(int thread, int layer, int item) {
    Thread& own = threads_[static_cast<size_t>(thread)];
    const auto [tile_index, span] = pieces_[static_cast<size_t>(item / config.n_kv_heads)];
    const int head = item % config.n_kv_heads;
    const Tile& tile = tiles_[static_cast<size_t>(tile_index)];
    const int last_slot = tile.first + tile.n_tokens - 1;
    const int all_keys = (*slots_)[static_cast<size_t>(last_slot)].position + 1;
    const int begin = spread_ ? span * kSpanKeys : 0, end = spread_ ? std::min(all_keys, begin + kSpanKeys) : all_keys;
    if (separate_ && end == all_keys) {
        const Stored two[2] = {load_key(layer, tile.first, head, own.query.data()), load_value(layer, tile.first, head, own.query.data() + up_16(config.head_size))};
        (*slots_)[static_cast<size_t>(tile.first)].sequence->store(*kernels_, layer, head, two, 2, own.turned.data());
    }
    const Sequence& sequence = *(*slots_)[static_cast<size_t>(tile.first)].sequence;
    const CacheFormat& format = sequence.format();
    CacheView cache = sequence.view(layer, head, begin / kKeyChunk);
    const size_t d_16 = up_16(config.head_size);
    const int n_rows = tile.n_tokens * group_;
    for (int row = 0; row < n_rows; row += kMaxQueries) {
        const int n = std::min(kMaxQueries, n_rows - row);
        int32_t n_keys[kMaxQueries];
        std::fill(own.attended.begin(), own.attended.begin() + static_cast<std::ptrdiff_t>(d_16) * n, 0.0f);
        for (int r = 0; r < n; ++r) {
            const int slot = tile.first + (row + r) / group_;
            n_keys[r] = (*slots_)[static_cast<size_t>(slot)].position + 1 - begin;
            own.max[static_cast<size_t>(r)] = kNone;
            own.total[static_cast<size_t>(r)] = 0.0f;
            load_query(own, layer, slot, head * group_ + (row + r) % group_, r, format);
        }
        Attending a{own.query.data(), d_16, n, n_keys, own.attended.data(), d_16, own.max.data(), own.total.data(), own.scores.data(),
                    own.q_codes.data(), own.q_unit.data(), own.q_sum.data(), own.centre_scores.data()};
        BiasTurns turns{};
        const size_t n_turns = rope_frequency.size();
        if (const KeyBias* bias = bias_apart(layer, head, format)) {
            turns = {bias->pairs.data(), static_cast<int32_t>(bias->pairs.size()), n_turns, own.bias_even.data(), own.bias_odd.data(),
                     nullptr, nullptr, lane_cos_.data(), lane_sin_.data()};
            a.bias = &turns;
        }
        for (int t = begin; t < end; t += kKeyChunk) {
            turns.cos = cos_.data() + static_cast<size_t>(t) * n_turns;
            turns.sin = sin_.data() + static_cast<size_t>(t) * n_turns;
            if (t > begin || row > 0) cache = sequence.view(layer, head, t / kKeyChunk);
            kernels_->attend(cache, std::min(end - t, kKeyChunk), a);
            for (int r = 0; r < n; ++r) n_keys[r] -= kKeyChunk;
        }
        for (int r = 0; r < n; ++r) {
            float* out = own.attended.data() + d_16 * static_cast<size_t>(r);
            finish_sum(*kernels_, format, layer, config.head_size, out, own.turned.data());
            const int slot = tile.first + (row + r) / group_, query = head * group_ + (row + r) % group_;
            if (spread_) {
                const size_t place = static_cast<size_t>(tile.first_span + span) * static_cast<size_t>(config.n_heads) * static_cast<size_t>(std::max(1, kMaxQueries / group_)) +
                                     static_cast<size_t>((slot - tile.first) * config.n_heads + query);
                float* p = partial_.data() + place * (d_16 + 2);
                std::memcpy(p, out, sizeof(float) * d_16);
                p[d_16] = own.max[static_cast<size_t>(r)];
                p[d_16 + 1] = own.total[static_cast<size_t>(r)];
            } else {
                float* to = attended_.data() + static_cast<size_t>(slot) * static_cast<size_t>(q_16_) + static_cast<size_t>(query * config.head_size);
                for (int i = 0; i < config.head_size; ++i) to[i] = out[i] / own.total[static_cast<size_t>(r)];
            }
        }
    }
}

// Attention's result of one token, from the pieces that its keys were split into.
void Decoder::merge_spans(const Tile& tile, int slot, float* out) {
    const size_t d_16 = up_16(config.head_size), row = d_16 + 2;
    const size_t per_piece = static_cast<size_t>(config.n_heads) * static_cast<size_t>(std::max(1, kMaxQueries / group_));
    for (int head = 0; head < config.n_heads; ++head) {
        const float* first = partial_.data() +
                             (static_cast<size_t>(tile.first_span) * per_piece + static_cast<size_t>((slot - tile.first) * config.n_heads + head)) * row;
        float largest = kNone, total = 0.0f;
        for (int span = 0; span < tile.n_spans; ++span) largest = std::max(largest, first[static_cast<size_t>(span) * per_piece * row + d_16]);
        float* to = out + head * config.head_size;
        for (int i = 0; i < config.head_size; ++i) to[i] = 0.0f;
        for (int span = 0; span < tile.n_spans; ++span) {
            const float* p = first + static_cast<size_t>(span) * per_piece * row;
            if (p[d_16] == kNone) continue;
            const float weight = std::exp(p[d_16] - largest);
            total += weight * p[d_16 + 1];
            for (int i = 0; i < config.head_size; ++i) to[i] += weight * p[i];
        }
        for (int i = 0; i < config.head_size; ++i) to[i] /= total;
    }
}

// Attention's output, through the norm that BitNet has here, as activations of `o`.
void Decoder::finish_attention(int thread, const Layer& layer) {
    const int n_out = config.n_heads * config.head_size;
    for (size_t i = 0; i < tiles_.size(); ++i) {
        const Tile& tile = tiles_[i];
        for (int s = tile.first; s < tile.first + tile.n_tokens; ++s) {
            const int n = static_cast<int>(slots_->size());
            if (s < own_begin(thread, n) || s >= own_end(thread, n)) continue;
            float* out = alone_ ? threads_[static_cast<size_t>(thread)].attended.data() : attended_.data() + static_cast<size_t>(s) * static_cast<size_t>(q_16_);
            if (spread_) merge_spans(tile, s, out);
            if (!layer.attn_sub_norm.empty()) kernels_->rms_norm(out, layer.attn_sub_norm.data(), config.norm_eps, n_out, out);
            take_activations(thread, s, out, n_out, {layer.o});
        }
    }
}

}  // namespace solvent
