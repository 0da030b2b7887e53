// Attention of a few query rows to one chunk of keys and values, in the manner of arXiv:2205.14135 §3.1: scores,
// a running maximum and denominator, and the weighted sum of values. Each key and value is read once for all rows.

namespace solvent { namespace {

// Halves ahead that keys and values are fetched: 16 KiB. A chunk's values follow its keys, and those the next chunk's.
constexpr size_t kCacheAhead = 8192;

inline const uint16_t* halves(const uint8_t* p) { return reinterpret_cast<const uint16_t*>(p); }

// What lies kCacheAhead after `at` of a part of n halves that `next` follows.
inline const uint16_t* half_ahead(const uint16_t* part, size_t at, size_t n, const uint16_t* next) {
    return at + kCacheAhead < n ? part + at + kCacheAhead : next + (at + kCacheAhead - n);
}

template <int R, int N>
inline void score_blocks(const CacheView& c, const Attending& a, int row, int begin, float* scores) {
    F acc[R][N];
    for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) acc[r][n] = f_set1(0.0f);
    const size_t block = static_cast<size_t>(c.head_size) * 16;
    const size_t at = static_cast<size_t>(begin / 16) * block;
    const uint16_t* k = halves(c.k) + at;
    const uint16_t* ahead = half_ahead(halves(c.k), at, kKeyChunk / 16 * block, halves(c.v));
    const float* q = a.q + static_cast<size_t>(row) * a.q_stride;
    for (int i = 0; i < c.head_size; ++i) {
        for (int line = 0; line < N * 16; line += 32) __builtin_prefetch(ahead + static_cast<size_t>(i) * 16 * N + line, 0, 2);
        F key[N];
        for (int n = 0; n < N; ++n) key[n] = f_load_half(k + n * block + static_cast<size_t>(i) * 16);
        for (int r = 0; r < R; ++r) {
            const F factor = f_set1(q[r * a.q_stride + i]);
            for (int n = 0; n < N; ++n) acc[r][n] = f_fma(key[n], factor, acc[r][n]);
        }
    }
    for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) f_store(scores + r * kKeyChunk + 16 * n, acc[r][n]);
}

// Scores of R rows from `row` on for the first n keys.
template <int R>
inline void score_rows(const CacheView& c, const Attending& a, int row, int n) {
    float* scores = a.scores + row * kKeyChunk;
    int t = 0;
    for (; t + 64 <= n; t += 64) score_blocks<R, 4>(c, a, row, t, scores + t);
    for (; t + 32 <= n; t += 32) score_blocks<R, 2>(c, a, row, t, scores + t);
    for (; t < n; t += 16) score_blocks<R, 1>(c, a, row, t, scores + t);
}

// The maximum of R rows' scores, of the chunk and before; what was summed before is shrunk to it.
// Rows go side by side: a maximum over lanes takes long, and nothing of a row waits for another.
template <int R>
inline void find_max(Attending& a, int row, const int* n_keys, int head_size, F* now) {
    const float* scores = a.scores + row * kKeyChunk;
    const float none = -__builtin_inff();
    F largest[R];
    int most = 0;
    for (int r = 0; r < R; ++r) {
        largest[r] = f_set1(none);
        most = n_keys[r] > most ? n_keys[r] : most;
    }
    for (int i = 0; i < most; i += 16)
        for (int r = 0; r < R; ++r) {
            const F score = f_load(scores + r * kKeyChunk + i);
            largest[r] = f_max(i + 16 <= n_keys[r] ? score : f_first_n(score, n_keys[r] - i, none), largest[r]);
        }
    for (int r = 0; r < R; ++r) {
        const float before = a.max[row + r], chunk = f_largest(largest[r]);
        const float most_yet = chunk > before ? chunk : before;
        now[r] = f_set1(most_yet == none ? 0.0f : most_yet);
        if (most_yet == before) continue;
        float lanes[16];
        f_store(lanes, f_exp(f_set1(before - most_yet)));
        const float shrink = before == none ? 0.0f : lanes[0];
        a.max[row + r] = most_yet;
        a.total[row + r] *= shrink;
        float* out = a.out + static_cast<size_t>(row + r) * a.out_stride;
        for (int j = 0; j < head_size; j += 16) f_store(out + j, f_mul(f_load(out + j), f_set1(shrink)));
    }
}

// Scores of R rows, each less its maximum, into weights in place; 0 for keys up to `end` that a row doesn't see.
template <int R>
inline void weigh_halves(Attending& a, int row, const int* n_keys, int end, const F* now) {
    float* scores = a.scores + row * kKeyChunk;
    F total[R];
    for (int r = 0; r < R; ++r) total[r] = f_set1(0.0f);
    for (int i = 0; i < end; i += 16)
        for (int r = 0; r < R; ++r) {
            F weight = f_exp_below(f_sub(f_load(scores + r * kKeyChunk + i), now[r]));
            if (i + 16 > n_keys[r]) weight = f_first_n(weight, n_keys[r] - i, 0.0f);
            f_store(scores + r * kKeyChunk + i, weight);
            total[r] = f_add(total[r], weight);
        }
    for (int r = 0; r < R; ++r) a.total[row + r] += f_sum(total[r]);
}

template <int R, int N>
inline void sum_values(const CacheView& c, const Attending& a, int row, int column, int n_keys) {
    F acc[R][N];
    float* out = a.out + static_cast<size_t>(row) * a.out_stride + column;
    for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) acc[r][n] = f_load(out + r * a.out_stride + 16 * n);
    const size_t stride = static_cast<size_t>(c.v_stride), part = kKeyChunk * stride;
    const uint16_t* v = halves(c.v) + column;
    const float* weights = a.scores + row * kKeyChunk;
    for (int t = 0; t < n_keys; ++t, v += stride) {
        const uint16_t* ahead = half_ahead(halves(c.v), static_cast<size_t>(t) * stride + static_cast<size_t>(column), part, halves(c.next_k));
        for (int line = 0; line < N * 16; line += 32) __builtin_prefetch(ahead + line, 0, 2);
        F value[N];
        for (int n = 0; n < N; ++n) value[n] = f_load_half(v + 16 * n);
        for (int r = 0; r < R; ++r) {
            const F weight = f_set1(weights[r * kKeyChunk + t]);
            for (int n = 0; n < N; ++n) acc[r][n] = f_fma(value[n], weight, acc[r][n]);
        }
    }
    for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) f_store(out + r * a.out_stride + 16 * n, acc[r][n]);
}

// ⟨q, centre⟩ of each tile of the first n keys: what centring took from their scores.
inline void score_centres(const CacheView& c, const Attending& a, int row, int n) {
    float* scores = a.centre_scores + row * kMaxTiles;
    const float* q = a.q + static_cast<size_t>(row) * a.q_stride;
    for (int tile = 0; tile <= c.tile_of_block[(n - 1) / 16]; ++tile) {
        F sum = f_set1(0.0f);
        if (c.centres) {
            const uint16_t* centre = c.centres + static_cast<size_t>(tile) * static_cast<size_t>(c.head_size);
            for (int i = 0; i < c.head_size; i += 16) sum = f_fma(f_load_half(centre + i), f_load(q + i), sum);
        }
        scores[tile] = f_sum(sum);
    }
}

template <int R>
inline void attend_rows(const CacheView& c, int n, Attending& a, int row) {
    Fetches fetches(c);
    if (c.key_book) {
        for (int r = row; r < row + R; ++r) score_centres(c, a, r, n);
        score_packed<R>(c, a, row, n, fetches.values);
    } else {
        score_rows<R>(c, a, row, n);
    }
    if (a.bias) add_key_bias<R>(*a.bias, a, row, n);
    int n_keys[R], most = 0;
    for (int r = 0; r < R; ++r) {
        n_keys[r] = min_int(a.n_keys[row + r], n);
        if (n_keys[r] < 0) n_keys[r] = 0;
        if (n_keys[r] > most) most = n_keys[r];
    }
    if (most == 0) return;
    F now[R];
    find_max<R>(a, row, n_keys, c.head_size, now);
    if (c.value_book) {
        Weights<R> w;
        weigh_codes<R>(c, a, row, n_keys, most, now, w, fetches);
        return sum_packed<R>(c, a, row, most, w, fetches.keys);
    }
    weigh_halves<R>(a, row, n_keys, most, now);
    int column = 0;
    for (; column + 64 <= c.v_stride; column += 64) sum_values<R, 4>(c, a, row, column, most);
    for (; column < c.v_stride; column += 16) sum_values<R, 1>(c, a, row, column, most);
}

void attend(const CacheView& c, int n, Attending& a) {
    int row = 0;
    for (; row + 4 <= a.n_rows; row += 4) attend_rows<4>(c, n, a, row);
    switch (a.n_rows - row) {
        case 3: attend_rows<3>(c, n, a, row); break;
        case 2: attend_rows<2>(c, n, a, row); break;
        case 1: attend_rows<1>(c, n, a, row); break;
        default: break;
    }
}

}}  // namespace solvent::(anonymous)
