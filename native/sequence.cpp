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

constexpr float kBeyondHalf = 65520.0f;  // rounds to infinity

size_t up_64(size_t n) { return (n + 63) / 64 * 64; }

HeadPlan plan_of(const CacheShape& shape, const CacheFormat& format, int layer, bool full, bool first) {
    const size_t n = static_cast<size_t>(shape.head_size);
    const CodeBook *key = full ? nullptr : format.key_book(layer), *value = full ? nullptr : format.value_book(layer);
    HeadPlan plan{};
    plan.key_block = key ? n * static_cast<size_t>(key->bits) * 2 : n * 32;
    plan.value_block = value ? n * static_cast<size_t>(value->bits) * 2 : (n + 15) / 16 * 16 * 32;
    plan.k_scales = plan.key_block * kBlocks;
    plan.v = plan.k_scales + (key ? kKeyChunk : 0);
    plan.centres = plan.v + plan.value_block * kBlocks + (value ? kKeyChunk : 0);
    plan.bytes = up_64(plan.centres + (key && format.centred ? (first ? kMaxTiles : 2) * n * 2 : 0));
    return plan;
}

// The mean of a chunk's second tile of keys in half precision.
void mean_of_halves(const uint16_t* keys, int n, uint16_t* centre) {
    for (int j = 0; j < n; ++j) {
        float sum = 0.0f;
        for (int t = kTileKeys; t < kKeyChunk; ++t) sum += half_to_float(keys[(t / 16 * n + j) * 16 + t % 16]);
        centre[j] = float_to_half(sum / static_cast<float>(kTileKeys));
    }
}

}  // namespace

Sequence::Sequence(const CacheShape& shape, std::shared_ptr<const CacheFormat> format)
    : shape_(shape), format_(std::move(format)), coded_end_(format_->n_tail ? format_->n_sinks : kAllCoded) {
    for (int kind = 0; kind < kKinds; ++kind) {
        size_t at = up_64(kExponents * static_cast<size_t>(shape.n_layers * shape.n_kv_heads));
        for (int layer = 0; layer < shape.n_layers; ++layer) {
            plans_[kind].push_back(plan_of(shape, *format_, layer, kind == kFull, kind == kFirst));
            layer_at_[kind].push_back(at);
            at += plans_[kind].back().bytes * static_cast<size_t>(shape.n_kv_heads);
        }
        bytes_[kind] = at;
    }
}

void Sequence::reserve(const Kernels& kernels, int end) {
    const int last = (end + kKeyChunk - 1) / kKeyChunk;
    const int own = n_tokens / kKeyChunk;
    while (coded_end_ < own - format_->n_tail) code_chunk(kernels, coded_end_);
    if (own < n_chunks() && is_shared(own)) {
        auto copy = std::make_shared<Pages>(chunk_bytes(own), false);
        std::memcpy(copy->data(), chunk_data(own), chunk_bytes(own));
        chunks_[static_cast<size_t>(own)] = std::move(copy);
    }
    // Small pages for a short text, which fills few of them; a long one is read faster through huge ones.
    while (n_chunks() < last) chunks_.push_back(std::make_shared<Pages>(chunk_bytes(n_chunks()), n_chunks() > 0));
}

// A chunk that became codes stays so: half precision can't be had back.
void Sequence::truncate(int n) {
    n_tokens = n;
    chunks_.resize(static_cast<size_t>((n + kKeyChunk - 1) / kKeyChunk));
    if (format_->n_tail) coded_end_ = std::max(format_->n_sinks, std::min(coded_end_, n_chunks()));
}

void Sequence::reset(int n, int coded_end) {
    truncate(0);
    if (format_->n_tail) coded_end_ = std::max(format_->n_sinks, coded_end);
    while (n_chunks() < (n + kKeyChunk - 1) / kKeyChunk) chunks_.push_back(std::make_shared<Pages>(chunk_bytes(n_chunks()), n_chunks() > 0));
    n_tokens = n;
}

Sequence::Place Sequence::place_in(uint8_t* data, Kind kind, int layer, int head) const {
    const HeadPlan& plan = plans_[kind][static_cast<size_t>(layer)];
    auto* exponents = reinterpret_cast<int8_t*>(data) + kExponents * static_cast<size_t>(layer * shape_.n_kv_heads + head);
    return {data + layer_at_[kind][static_cast<size_t>(layer)] + plan.bytes * static_cast<size_t>(head), exponents, &plan};
}

CacheView Sequence::view(int layer, int head, int chunk) const {
    const Kind own = kind(chunk, coded_end_);
    const Place p = place_in(chunk_data(chunk), own, layer, head);
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
    view.key_book = own == kFull ? nullptr : format_->key_book(layer);
    view.value_book = own == kFull ? nullptr : format_->value_book(layer);
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
    const Stored* coded[kStoredTogether];
    int n_coded = 0;
    for (int i = 0; i < n_vectors; ++i) {
        const Stored& one = vectors[i];
        const int chunk = one.t / kKeyChunk;
        if (!(one.value ? format_->value_book(layer) : format_->key_book(layer))) {
            store_half(kernels, place(layer, head, chunk), one);
            continue;
        }
        float* turned = scratch + n_coded * n;
        kernels.turn(one.x, format_->signs.data(), n, turned);
        if (is_full(chunk)) store_turned(kernels, place(layer, head, chunk), one, turned);
        else coded[n_coded++] = &one;
    }
    if (n_coded) code(kernels, layer, head, coded, n_coded, scratch);
}

void Sequence::code(const Kernels& kernels, int layer, int head, const Stored* const* vectors, int n_vectors, float* turned) {
    const int n = shape_.head_size;
    Encoding encodings[kStoredTogether];
    uint8_t codes[kStoredTogether][kLongestHead];
    int steps[kStoredTogether];
    // Each step is a chain of things that wait for each other: side by side, one vector's fill the others' gaps.
    float square[kStoredTogether];
    for (int i = 0; i < n_vectors; ++i) centre(kernels, layer, head, *vectors[i], turned + i * n);
    for (int i = 0; i < n_vectors; ++i) square[i] = kernels.square_sum(turned + i * n, n);
    for (int i = 0; i < n_vectors; ++i) {
        if (!std::isfinite(square[i])) not_finite_->store(true, std::memory_order_relaxed);
        steps[i] = std::isfinite(square[i]) ? scale_steps(std::sqrt(square[i] / static_cast<float>(n))) : kNoScale;
        const float scale = scale_from_steps(steps[i]);
        const CodeBook* book = vectors[i]->value ? format_->value_book(layer) : format_->key_book(layer);
        encodings[i] = {book, turned + i * n, scale > 0.0f ? 1.0f / scale : 0.0f, codes[i]};
    }
    kernels.encode(encodings, n_vectors, n);
    for (int i = 0; i < n_vectors; ++i) keep(encodings[i], steps[i], place(layer, head, vectors[i]->t / kKeyChunk), *vectors[i]);
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

// As sums of codes lie: element l·D/16 + i of a value at 16·i + l.
void Sequence::store_turned(const Kernels& kernels, const Place& p, const Stored& one, const float* turned) {
    const int n = shape_.head_size, own = n / 16;
    for (int i = 0; i < n; ++i)
        if (!(std::fabs(turned[i]) < kBeyondHalf)) not_finite_->store(true, std::memory_order_relaxed);
    float ordered[kLongestHead];
    if (one.value)
        for (int i = 0; i < n; ++i) ordered[i] = turned[i % 16 * own + i / 16];
    store_half(kernels, p, {one.value, one.t, one.value ? ordered : turned});
}

// A chunk of half precision becomes one of codes; others that share it keep theirs.
void Sequence::code_chunk(const Kernels& kernels, int chunk) {
    const std::shared_ptr<Pages> full = chunks_[static_cast<size_t>(chunk)];
    chunks_[static_cast<size_t>(chunk)] = std::make_shared<Pages>(bytes_[chunk > 0 ? kLater : kFirst], chunk > 0);
    coded_end_ = chunk + 1;
    for (int layer = 0; layer < shape_.n_layers; ++layer)
        for (int head = 0; head < shape_.n_kv_heads; ++head)
            for (const bool value : {false, true}) code_side(kernels, layer, head, chunk, value, place_in(full->data(), kFull, layer, head));
}

void Sequence::code_side(const Kernels& kernels, int layer, int head, int chunk, bool value, const Place& full) {
    const int n = shape_.head_size, own = n / 16;
    const uint8_t* from = full.head + (value ? full.plan->v : 0);
    if (!(value ? format_->value_book(layer) : format_->key_book(layer))) {
        const Place to = place(layer, head, chunk);
        std::memcpy(to.head + (value ? to.plan->v : 0), from, (value ? full.plan->value_block : full.plan->key_block) * kBlocks);
        return;
    }
    const auto* halves = reinterpret_cast<const uint16_t*>(from);
    float turned[kStoredTogether * kLongestHead];
    for (int t = 0; t < kKeyChunk; t += kStoredTogether) {
        Stored vectors[kStoredTogether];
        const Stored* all[kStoredTogether];
        for (int k = 0; k < kStoredTogether; ++k) {
            const int at = t + k;
            for (int i = 0; i < n; ++i)
                turned[k * n + (value ? i % 16 * own + i / 16 : i)] = half_to_float(halves[value ? at * n + i : (at / 16 * n + i) * 16 + at % 16]);
            vectors[k] = {value, chunk * kKeyChunk + at, nullptr};
            all[k] = &vectors[k];
        }
        code(kernels, layer, head, all, kStoredTogether, turned);
    }
}

// Takes a turned key's centre off, which it sets where the key begins a tile.
void Sequence::centre(const Kernels& kernels, int layer, int head, const Stored& one, float* turned) {
    if (one.value || !format_->centred) return;
    const int n = shape_.head_size, chunk = one.t / kKeyChunk, block = one.t % kKeyChunk / 16;
    const uint8_t* tiles = chunk ? kLaterTiles : kFirstTiles;
    const Place p = place(layer, head, chunk);
    auto* centre = reinterpret_cast<uint16_t*>(p.head + p.plan->centres) + static_cast<size_t>(tiles[block]) * static_cast<size_t>(n);
    if (one.t % 16 == 0 && (block == 0 || tiles[block - 1] != tiles[block])) set_centre(kernels, layer, head, one.t, turned, centre);
    kernels.subtract_halves(turned, centre, n);
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
    if (is_full((t - 1) / kKeyChunk)) return mean_of_halves(reinterpret_cast<const uint16_t*>(p.head), n, centre);
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
        for (int i = 0; i < n; ++i) all.out[place(r) + static_cast<size_t>(i)] = row[i] / total[r];  // every row sees a key
    }
}

}  // namespace

void attend(const Kernels& kernels, const Sequence& sequence, int layer, const Queries& queries) {
    const int n_rows = queries.n_tokens * (queries.n_heads / sequence.shape().n_kv_heads);
    for (int head = 0; head < sequence.shape().n_kv_heads; ++head)
        for (int first = 0; first < n_rows; first += kMaxQueries) attend_rows(kernels, sequence, layer, head, first, queries);
}

}  // namespace solvent
