#include "sequence.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "codes.hpp"
#include "half.hpp"

namespace solvent {

namespace {

constexpr int kBlocks = kKeyChunk / 16;
constexpr size_t kExponents = 4;  // of a head in a chunk

// The centre of each block of 16 tokens: in the first chunk tiles grow.
constexpr uint8_t kFirstTiles[kBlocks] = {0, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4};
constexpr uint8_t kLaterTiles[kBlocks] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};

size_t up_64(size_t n) { return (n + 63) / 64 * 64; }

HeadPlan plan_of(const CacheShape& shape, const CacheFormat& format, int layer, bool first) {
    const size_t n = static_cast<size_t>(shape.head_size);
    const CodeBook *key = format.key_book(layer), *value = format.value_book(layer);
    HeadPlan plan{};
    plan.key_block = key ? n * static_cast<size_t>(key->bits) * 2 : n * 32;
    plan.value_block = value ? n * static_cast<size_t>(value->bits) * 2 : (n + 15) / 16 * 16 * 32;
    plan.k_scales = plan.key_block * kBlocks;
    plan.v = plan.k_scales + (key ? kKeyChunk : 0);
    plan.centres = plan.v + plan.value_block * kBlocks + (value ? kKeyChunk : 0);
    plan.bytes = up_64(plan.centres + (key && format.centred ? (first ? kMaxTiles : 2) * n * 2 : 0));
    return plan;
}

}  // namespace

Sequence::Sequence(const CacheShape& shape, std::shared_ptr<const CacheFormat> format) : shape_(shape), format_(std::move(format)) {
    for (int later = 0; later < 2; ++later) {
        size_t at = up_64(kExponents * static_cast<size_t>(shape.n_layers * shape.n_kv_heads));
        for (int layer = 0; layer < shape.n_layers; ++layer) {
            plans_[later].push_back(plan_of(shape, *format_, layer, later == 0));
            layer_at_[later].push_back(at);
            at += plans_[later].back().bytes * static_cast<size_t>(shape.n_kv_heads);
        }
        bytes_[later] = at;
    }
}

void Sequence::reserve(int end) {
    const int last = (end + kKeyChunk - 1) / kKeyChunk;
    const int own = n_tokens / kKeyChunk;
    if (own < n_chunks() && is_shared(own)) {
        auto copy = std::make_shared<Pages>(chunk_bytes(own), false);
        std::memcpy(copy->data(), chunk_data(own), chunk_bytes(own));
        chunks_[static_cast<size_t>(own)] = std::move(copy);
    }
    // Small pages for a short text, which fills few of them; a long one is read faster through huge ones.
    while (n_chunks() < last) chunks_.push_back(std::make_shared<Pages>(chunk_bytes(n_chunks()), n_chunks() > 0));
}

void Sequence::truncate(int n) {
    n_tokens = n;
    chunks_.resize(static_cast<size_t>((n + kKeyChunk - 1) / kKeyChunk));
}

Sequence::Place Sequence::place(int layer, int head, int chunk) const {
    const int later = chunk > 0;
    const HeadPlan& plan = plans_[later][static_cast<size_t>(layer)];
    uint8_t* data = chunk_data(chunk);
    auto* exponents = reinterpret_cast<int8_t*>(data) + kExponents * static_cast<size_t>(layer * shape_.n_kv_heads + head);
    return {data + layer_at_[later][static_cast<size_t>(layer)] + plan.bytes * static_cast<size_t>(head), exponents, &plan};
}

CacheView Sequence::view(int layer, int head, int chunk) const {
    const Place p = place(layer, head, chunk);
    CacheView view{};
    view.k = p.head;
    view.v = p.head + p.plan->v;
    const bool last = chunk + 1 == n_chunks();
    const Place next = !last ? place(layer, head, chunk + 1) : head + 1 < shape_.n_kv_heads ? place(layer, head + 1, 0) : p;
    view.next_k = next.head;
    view.next_centres = next.head + next.plan->centres;
    __builtin_prefetch(next.exponents);
    view.head_size = shape_.head_size;
    view.v_stride = (shape_.head_size + 15) / 16 * 16;
    view.key_book = format_->key_book(layer);
    view.value_book = format_->value_book(layer);
    view.key_block_bytes = p.plan->key_block;
    view.value_block_bytes = p.plan->value_block;
    view.k_scales = p.head + p.plan->k_scales;
    view.v_scales = view.v + p.plan->value_block * kBlocks;
    view.tile_of_block = chunk ? kLaterTiles : kFirstTiles;
    if (!view.key_book && !view.value_book) return view;
    for (int tile = 0; tile < 2; ++tile) {
        view.k_base[tile] = scale_base(p.exponents[tile]);
        view.v_base[tile] = scale_base(p.exponents[2 + tile]);
    }
    if (view.key_book && format_->centred) view.centres = reinterpret_cast<const uint16_t*>(p.head + p.plan->centres);
    return view;
}

void Sequence::store(const Kernels& kernels, int layer, int head, const Stored* vectors, int n_vectors, float* scratch) {
    // A key that begins a tile is centred by the key before it, once that is kept.
    for (int i = 1; i < n_vectors; ++i)
        if (vectors[i].t % 16 == 0 && vectors[i].t > vectors[i - 1].t) {
            store(kernels, layer, head, vectors, i, scratch);
            return store(kernels, layer, head, vectors + i, n_vectors - i, scratch);
        }
    const int n = shape_.head_size;
    Encoding encodings[kStoredTogether];
    const Stored* coded[kStoredTogether];
    uint8_t codes[kStoredTogether][kLongestHead];
    int n_coded = 0, steps[kStoredTogether];
    for (int i = 0; i < n_vectors; ++i) {
        const Stored& one = vectors[i];
        const CodeBook* book = one.value ? format_->value_book(layer) : format_->key_book(layer);
        if (!book) {
            store_half(kernels, place(layer, head, one.t / kKeyChunk), one);
            continue;
        }
        float* turned = scratch + n_coded * n;
        prepare(kernels, layer, head, one, turned);
        const float square = kernels.square_sum(turned, n);
        if (!std::isfinite(square)) not_finite_->store(true, std::memory_order_relaxed);
        steps[n_coded] = std::isfinite(square) ? scale_steps(std::sqrt(square / static_cast<float>(n))) : kNoScale;
        const float scale = scale_from_steps(steps[n_coded]);
        encodings[n_coded] = {book, turned, scale > 0.0f ? 1.0f / scale : 0.0f, codes[n_coded]};
        coded[n_coded++] = &one;
    }
    if (n_coded) kernels.encode(encodings, n_coded, n);
    for (int i = 0; i < n_coded; ++i) keep(encodings[i], steps[i], place(layer, head, coded[i]->t / kKeyChunk), *coded[i]);
}

void Sequence::store_half(const Kernels& kernels, const Place& p, const Stored& one) {
    const int n = shape_.head_size, t = one.t % kKeyChunk;
    if (one.value) {
        auto* values = reinterpret_cast<uint16_t*>(p.head + p.plan->v);
        return kernels.store_half(one.x, n, values + static_cast<size_t>(t) * static_cast<size_t>((n + 15) / 16 * 16), 1);
    }
    auto* block = reinterpret_cast<uint16_t*>(p.head + static_cast<size_t>(t / 16) * p.plan->key_block);
    kernels.store_half(one.x, n, block + t % 16, 16);
}

void Sequence::prepare(const Kernels& kernels, int layer, int head, const Stored& one, float* out) {
    const int n = shape_.head_size, chunk = one.t / kKeyChunk, block = one.t % kKeyChunk / 16;
    kernels.turn(one.x, format_->signs.data(), n, out);
    if (one.value || !format_->centred) return;
    const uint8_t* tiles = chunk ? kLaterTiles : kFirstTiles;
    const Place p = place(layer, head, chunk);
    auto* centre = reinterpret_cast<uint16_t*>(p.head + p.plan->centres) + static_cast<size_t>(tiles[block]) * static_cast<size_t>(n);
    if (one.t % 16 == 0 && (block == 0 || tiles[block - 1] != tiles[block])) set_centre(kernels, layer, head, one.t, out, centre);
    kernels.subtract_halves(out, centre, n);
}

// The first key is the first tile's centre; another tile's is the mean of what the tile before it holds, as its codes
// tell: so the bytes alone decide what follows them. The first key isn't taken into a mean: it often is like no other.
void Sequence::set_centre(const Kernels& kernels, int layer, int head, int t, const float* turned, uint16_t* centre) {
    const int n = shape_.head_size;
    if (t == 0) {
        for (int i = 0; i < n; ++i) centre[i] = float_to_half(turned[i]);
        return;
    }
    const int begin = t <= 16 ? 1 : t <= kTileKeys ? t / 2 : t - kTileKeys;
    const CodeBook& book = *format_->key_book(layer);
    // Not a view: that reads the values' exponents too, which another thread may be writing.
    const Place p = place(layer, head, (t - 1) / kKeyChunk);
    const int first = begin % kKeyChunk / 16, end = (t - 1) % kKeyChunk / 16 + 1;
    float scales[kTileKeys], sum[kLongestHead];
    for (int at = 16 * first; at < 16 * end; ++at)
        scales[at - 16 * first] = at < begin % kKeyChunk ? 0.0f : scale_of(p.head[p.plan->k_scales + static_cast<size_t>(at)], p.exponents[at / kTileKeys]);
    kernels.key_sums(book, p.head + static_cast<size_t>(first) * p.plan->key_block, end - first, n, scales, sum);
    const int tile = (t > kKeyChunk ? kLaterTiles : kFirstTiles)[end - 1];
    const auto* old = reinterpret_cast<const uint16_t*>(p.head + p.plan->centres) + static_cast<size_t>(tile) * static_cast<size_t>(n);
    for (int j = 0; j < n; ++j) centre[j] = float_to_half(half_to_float(old[j]) + sum[j] / static_cast<float>(t - begin));
}

void Sequence::keep(const Encoding& e, int steps, const Place& p, const Stored& one) {
    const int n = shape_.head_size, t = one.t % kKeyChunk, tile = t / kTileKeys;
    uint8_t* block = p.head + (one.value ? p.plan->v : 0) + static_cast<size_t>(t / 16) * (one.value ? p.plan->value_block : p.plan->key_block);
    (one.value ? pack_value : pack_key)(e.codes, n, e.book->bits, t % 16, block);
    int8_t* exponents = p.exponents + (one.value ? 2 : 0);
    if (t % kTileKeys == 0) exponents[tile] = kNoExponent;
    uint8_t* scales = p.head + (one.value ? p.plan->v + p.plan->value_block * kBlocks : p.plan->k_scales);
    store_scale(steps, scales, tile * kTileKeys, t, &exponents[tile]);
}

void prepare_query(const Kernels& kernels, const CacheFormat& format, int layer, int n, float* q, int8_t* codes, float* unit, int32_t* sum) {
    if (!format.key_book(layer)) return;
    kernels.turn(q, format.signs.data(), n, q);
    kernels.quantise_query(q, n, codes, unit, sum);
}

void finish_sum(const Kernels& kernels, const CacheFormat& format, int layer, int n, float* out, float* scratch) {
    if (!format.value_book(layer)) return;
    const int own = n / 16;
    for (int i = 0; i < own; ++i)
        for (int lane = 0; lane < 16; ++lane) scratch[lane * own + i] = out[16 * i + lane];
    kernels.turn_back(scratch, format.signs.data(), n, out);
}

namespace {

// kMaxQueries rows of one key-value head, from row `first` on; row r is query head r % group of token r / group.
void attend_rows(const Kernels& kernels, const Sequence& sequence, int layer, int head, int first, const Queries& all) {
    const int n = sequence.shape().head_size, group = all.n_heads / sequence.shape().n_kv_heads;
    const int n_rows = std::min(kMaxQueries, all.n_tokens * group - first);
    const size_t stride = static_cast<size_t>((n + 15) / 16 * 16);
    std::vector<float> q(stride * kMaxQueries), out(stride * kMaxQueries), scores(kMaxQueries * kKeyChunk), scratch(4 * stride);
    std::vector<int8_t> codes(stride * kMaxQueries);
    float unit[kMaxQueries], max[kMaxQueries], total[kMaxQueries] = {}, centre_scores[kMaxQueries * kMaxTiles];
    int32_t sum[kMaxQueries], n_keys[kMaxQueries], most = 0;
    const auto place = [&](int r) { return (static_cast<size_t>((first + r) / group) * all.n_heads + head * group + (first + r) % group) * n; };
    for (int r = 0; r < n_rows; ++r) {
        float* row = q.data() + stride * static_cast<size_t>(r);
        std::memcpy(row, all.q + place(r), sizeof(float) * static_cast<size_t>(n));
        prepare_query(kernels, sequence.format(), layer, n, row, codes.data() + stride * static_cast<size_t>(r), &unit[r], &sum[r]);
        n_keys[r] = all.n_keys[(first + r) / group];
        most = std::max(most, n_keys[r]);
        max[r] = -std::numeric_limits<float>::infinity();
    }
    Attending a{q.data(), stride, n_rows, n_keys, out.data(), stride, max, total, scores.data(), codes.data(), unit, sum, centre_scores};
    for (int begin = 0; begin < most; begin += kKeyChunk) {
        kernels.attend(sequence.view(layer, head, begin / kKeyChunk), std::min(kKeyChunk, most - begin), a);
        for (int r = 0; r < n_rows; ++r) n_keys[r] -= kKeyChunk;
    }
    for (int r = 0; r < n_rows; ++r) {
        float* row = out.data() + stride * static_cast<size_t>(r);
        finish_sum(kernels, sequence.format(), layer, n, row, scratch.data());
        for (int i = 0; i < n; ++i) all.out[place(r) + static_cast<size_t>(i)] = total[r] > 0.0f ? row[i] / total[r] : 0.0f;
    }
}

}  // namespace

void attend(const Kernels& kernels, const Sequence& sequence, int layer, const Queries& queries) {
    const int n_rows = queries.n_tokens * (queries.n_heads / sequence.shape().n_kv_heads);
    for (int head = 0; head < sequence.shape().n_kv_heads; ++head)
        for (int first = 0; first < n_rows; first += kMaxQueries) attend_rows(kernels, sequence, layer, head, first, queries);
}

}  // namespace solvent
