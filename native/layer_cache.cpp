#include "layer_cache.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace solvent {

namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

size_t up_16(int n) { return static_cast<size_t>((n + 15) / 16 * 16); }

bool all_finite(const float* x, size_t n) {
    for (size_t i = 0; i < n; ++i)
        if (!std::isfinite(x[i])) return false;
    return true;
}

// Up to kMaxQueries rows that attend together, and where their sums go.
struct Rows {
    explicit Rows(int head_size)
        : d_16(up_16(head_size)), query(d_16 * kMaxQueries), out(d_16 * kMaxQueries), turned(d_16), scores(static_cast<size_t>(kMaxQueries) * kKeyChunk),
          centre_scores(static_cast<size_t>(kMaxQueries) * kMaxTiles), codes(d_16 * kMaxQueries) {}

    size_t d_16;
    std::vector<float> query, out, turned, scores, centre_scores;
    std::vector<int8_t> codes;
    int32_t n_keys[kMaxQueries], sum[kMaxQueries];
    float max[kMaxQueries], total[kMaxQueries], unit[kMaxQueries];

    void load(const Kernels& kernels, const CacheFormat& format, int row, const float* q, int head_size, int keys) {
        float* to = query.data() + d_16 * static_cast<size_t>(row);
        std::memcpy(to, q, sizeof(float) * static_cast<size_t>(head_size));
        n_keys[row] = keys;
        max[row] = kNone;
        total[row] = 0.0f;
        if (!format.key_book(0)) return;
        kernels.turn(to, format.signs.data(), head_size, to);
        kernels.quantise_query(to, head_size, codes.data() + d_16 * static_cast<size_t>(row), &unit[row], &sum[row]);
    }

    // The weighted mean of values; of codes, its elements back in order, and turned back.
    void finish(const Kernels& kernels, const CacheFormat& format, int row, int head_size, float* to) {
        const float* from = out.data() + d_16 * static_cast<size_t>(row);
        const float share = 1.0f / total[row];
        if (!format.value_book(0)) {
            for (int i = 0; i < head_size; ++i) to[i] = from[i] * share;
            return;
        }
        const int own = head_size / 16;
        for (int i = 0; i < own; ++i)
            for (int lane = 0; lane < 16; ++lane) turned[static_cast<size_t>(lane * own + i)] = from[16 * i + lane] * share;
        kernels.turn_back(turned.data(), format.signs.data(), head_size, to);
    }
};

}  // namespace

bool LayerCache::append(const Kernels& kernels, const float* keys, const float* values, int n) {
    const CacheShape& shape = sequence_.shape();
    const size_t d = static_cast<size_t>(shape.head_size), token = d * static_cast<size_t>(shape.n_kv_heads);
    if (!all_finite(keys, token * static_cast<size_t>(n)) || !all_finite(values, token * static_cast<size_t>(n))) return false;
    std::vector<float> scratch(4 * d);
    sequence_.reserve(sequence_.n_tokens + n);
    for (int i = 0; i < n; ++i)
        for (int head = 0; head < shape.n_kv_heads; ++head) {
            const size_t at = static_cast<size_t>(i) * token + static_cast<size_t>(head) * d;
            sequence_.store_key(kernels, 0, head, sequence_.n_tokens + i, keys + at, scratch.data());
            sequence_.store_value(kernels, 0, head, sequence_.n_tokens + i, values + at, scratch.data());
        }
    const int before = sequence_.n_tokens;
    sequence_.n_tokens += n;
    if (!sequence_.not_finite().exchange(false)) return true;
    sequence_.truncate(before);
    return false;
}

void LayerCache::attend(const Kernels& kernels, const float* queries, int n, int n_heads, float* out) const {
    const CacheShape& shape = sequence_.shape();
    const CacheFormat& format = sequence_.format();
    const int d = shape.head_size, group = n_heads / shape.n_kv_heads, first = sequence_.n_tokens - n;
    Rows rows(d);
    const auto place = [&](int head, int row) { return static_cast<size_t>(row / group * n_heads + head * group + row % group) * static_cast<size_t>(d); };
    for (int head = 0; head < shape.n_kv_heads; ++head)
        for (int row = 0; row < n * group; row += kMaxQueries) {
            const int n_rows = std::min(kMaxQueries, n * group - row);
            std::fill(rows.out.begin(), rows.out.end(), 0.0f);
            for (int r = 0; r < n_rows; ++r) rows.load(kernels, format, r, queries + place(head, row + r), d, first + (row + r) / group + 1);
            Attending a{rows.query.data(), rows.d_16, n_rows, rows.n_keys, rows.out.data(), rows.d_16, rows.max, rows.total, rows.scores.data(),
                        rows.codes.data(), rows.unit, rows.sum, rows.centre_scores.data()};
            const int end = rows.n_keys[n_rows - 1];
            for (int t = 0; t < end; t += kKeyChunk) {
                kernels.attend(sequence_.view(0, head, t / kKeyChunk), std::min(end - t, kKeyChunk), a);
                for (int r = 0; r < n_rows; ++r) rows.n_keys[r] -= kKeyChunk;
            }
            for (int r = 0; r < n_rows; ++r) rows.finish(kernels, format, r, d, out + place(head, row + r));
        }
}

}  // namespace solvent
