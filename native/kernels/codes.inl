// Attention on codes: keys and values stay packed; a code becomes an unsigned byte by a table of 64, and bytes are
// multiplied in integers. Blocks of 16 tokens; the layout: docs/reference/turboquant-format.md.
// A block's bytes come in units of `bits` vectors that hold 8 elements of each byte lane. An element's window is the
// six bits that end with its own; what is older than a lane's first bit lies in the lane before it.

namespace solvent { namespace {

template <int... i>
struct Each {};

alignas(64) constexpr float kSixteenths[16] = {  // 2^(i/16)
    1.0f,        1.04427378f, 1.09050773f, 1.13878863f, 1.18920712f, 1.24185781f, 1.29683955f, 1.35425555f,
    1.41421356f, 1.47682615f, 1.54221083f, 1.61049033f, 1.68179283f, 1.75625216f, 1.83400809f, 1.91520656f};
constexpr int kWeighed = 32;  // tokens whose weights share one scale: 7 bits of the largest

// At least n bits of each byte lane from bit `at` on, in the low end; what lies above them is anything.
template <int at, int n = kWindow>
inline B window(const B* v) {
    constexpr int byte = at / 8, shift = at % 8;
    if constexpr (shift == 0) return v[byte];
    else if constexpr (shift <= 8 - n) return b_shift<shift>(v[byte]);
    else return b_select(b_shift<shift>(v[byte]), b_shift_up<8 - shift>(v[byte + 1]), (1 << (8 - shift)) - 1);
}

// The window of an element whose own and later bits are `own` from bit 0 on, after n older ones, the top bits of `older`.
template <int n>
inline B window_after(B older, B own) {
    return b_select(b_shift<8 - n>(older), b_shift_up<n>(own), (1 << n) - 1);
}

// Element i of a unit; before: the vector that holds the bits before the unit's first.
template <int bits, int i>
inline B code_at(const B* v, B before) {
    constexpr int at = bits * (i + 1) - kWindow;
    if constexpr (bits == 8) return v[i];
    else if constexpr (at >= 0) return window<at>(v);
    else return window_after<-at>(before, v[0]);
}

// The bits before a group's first in the top of their bytes: those that end the group's elements in the lane before.
// n: elements of the unit up to the group's end.
template <int bits, int n>
inline B older_of(const B* v) {
    constexpr int end = bits * n;
    if constexpr (end % 8 == 0) return b_turn_lanes(v[end / 8 - 1]);
    else return b_turn_lanes(b_shift_up<8 - end % 8>(v[end / 8]));
}

template <int bits>
inline B byte_of(const Table& table, B code) {
    if constexpr (bits == 8) return code;
    else return table.at(code);
}

// 2^(e + (code − 255)/16) of 16 codes, 0 of code 0; base: 2^(e − 255/16).
inline F scales_of(const uint8_t* codes, float base) {
    const I c = i_load_bytes(codes);
    const F whole = f_scale2(f_pick(f_load(kSixteenths), c), i_shift<4>(c));
    return f_mul(f_mul(whole, f_set1(base)), f_from_i(i_min(c, i_set1(1))));
}

template <int bits, int R, int... i>
inline void score_unit(const B* v, B before, const Table& table, const int8_t* const* q, int at, I* acc, Each<i...>) {
    const auto one = [&](auto number) {
        constexpr int n = decltype(number)::value;
        const B bytes = byte_of<bits>(table, code_at<bits, n>(v, before));
        for (int r = 0; r < R; ++r) acc[r] = dot_u8(acc[r], bytes, q[r] + at + 4 * n);
    };
    (one(Count<i>{}), ...);
}

// Scores of R rows for the first n keys.
template <int bits, int R>
void score_codes(const CacheView& c, const Attending& a, int row, int n) {
    const int units = c.head_size / 32;
    const size_t block_bytes = static_cast<size_t>(c.head_size) * bits * 2;
    const Table table(c.key_book->table);
    const int8_t* q[R];
    F scale[R];
    for (int r = 0; r < R; ++r) {
        q[r] = a.q_codes + static_cast<size_t>(row + r) * a.q_stride;
        scale[r] = f_set1(a.q_unit[row + r] * c.key_book->unit * c.key_book->gain);
    }
    for (int t = 0; t < n; t += 16) {
        const uint8_t* block = c.k + static_cast<size_t>(t / 16) * block_bytes;
        const uint8_t* ahead = c.v + static_cast<size_t>(t / 16) * c.value_block_bytes;
        for (size_t line = 0; line < c.value_block_bytes; line += 64) __builtin_prefetch(ahead + line, 0, 2);
        I acc[R];
        for (int r = 0; r < R; ++r) acc[r] = i_set1(-128 * a.q_sum[row + r]);
        B before = b_turn_bytes(b_load(block + block_bytes - 64));
        for (int u = 0; u < units; ++u) {
            B v[bits];
            for (int i = 0; i < bits; ++i) v[i] = b_load(block + static_cast<size_t>(u * bits + i) * 64);
            score_unit<bits, R>(v, before, table, q, 32 * u, acc, Each<0, 1, 2, 3, 4, 5, 6, 7>{});
            before = v[bits - 1];
        }
        const F key_scale = scales_of(c.k_scales + t, c.k_base[t / kTileKeys]);
        const int tile = c.tile_of_block[t / 16];
        for (int r = 0; r < R; ++r) {
            const F score = f_mul(f_mul(f_from_i(acc[r]), scale[r]), key_scale);
            f_store(a.scores + (row + r) * kKeyChunk + t, f_add(score, f_set1(a.centre_scores[(row + r) * kMaxTiles + tile])));
        }
    }
}

// Weights of kWeighed tokens times their values' scales, as 7 bits of the largest; gives the largest.
inline float weigh(const CacheView& c, const float* scores, int t, int8_t* out, int32_t* sum) {
    const float base = c.v_base[t / kTileKeys];
    const F low = f_mul(f_load(scores), scales_of(c.v_scales + t, base));
    const F high = f_mul(f_load(scores + 16), scales_of(c.v_scales + t + 16, base));
    const float largest = f_largest(f_max(low, high));
    const F inverse = f_set1(largest > 0.0f ? 127.0f / largest : 0.0f);
    const I w_low = to_codes(f_mul(low, inverse)), w_high = to_codes(f_mul(high, inverse));
    i_store_bytes(out, w_low);
    i_store_bytes(out + 16, w_high);
    *sum = i_sum(i_add(w_low, w_high));
    return largest;
}

// Four elements, from `first` on, of the lanes of one group of four tokens. before: holds the bits before the unit's
// first in its top, or, where the group starts at `first`, the bits before the group's.
template <int bits, int first, bool starts>
inline void value_codes(const B* v, B before, B* out) {
    const auto one = [&](auto number) {
        constexpr int n = decltype(number)::value, at = bits * (first + n + 1) - kWindow;
        if constexpr (bits == 8) out[n] = v[first + n];
        else if constexpr (starts && bits * (n + 1) < kWindow) {
            constexpr int older = kWindow - bits * (n + 1), own = bits * first;
            out[n] = window_after<older>(before, window<own, kWindow - older>(v));
        } else if constexpr (at < 0) out[n] = window_after<-at>(before, v[0]);
        else out[n] = window<at>(v);
    };
    one(Count<0>{});
    one(Count<1>{});
    one(Count<2>{});
    one(Count<3>{});
}

template <int bits, int R>
inline void add_values(const B* codes, const Table& table, const int8_t* const* w, int group, I (*acc)[4]) {
    for (int k = 0; k < 4; ++k) {
        const B bytes = byte_of<bits>(table, codes[k]);
        for (int r = 0; r < R; ++r) acc[r][k] = dot_u8(acc[r][k], bytes, w[r] + 4 * group);
    }
}

// Heads of 64: a lane holds four elements, a unit two groups of tokens.
template <int bits, int R>
inline void sum_pairs(const uint8_t* blocks, const Table& table, const int8_t* const* w, I (*acc)[4]) {
    for (int pair = 0; pair < kWeighed / 8; ++pair) {
        B v[bits], codes[4];
        for (int i = 0; i < bits; ++i) v[i] = b_load(blocks + static_cast<size_t>(pair * bits + i) * 64);
        value_codes<bits, 0, true>(v, older_of<bits, 4>(v), codes);
        add_values<bits, R>(codes, table, w, 2 * pair, acc);
        value_codes<bits, 4, true>(v, older_of<bits, 8>(v), codes);
        add_values<bits, R>(codes, table, w, 2 * pair + 1, acc);
    }
}

// Heads of 128·n: a lane holds 8·n elements, a unit eight of one group. Elements 4·part to 4·part + 3.
template <int bits, int R>
inline void sum_groups(const uint8_t* blocks, int units, int part, const Table& table, const int8_t* const* w, I (*acc)[4]) {
    const int unit = part / 2;
    for (int group = 0; group < kWeighed / 4; ++group) {
        const uint8_t* from = blocks + static_cast<size_t>(group) * units * bits * 64;
        B v[bits], codes[4];
        for (int i = 0; i < bits; ++i) v[i] = b_load(from + static_cast<size_t>(unit * bits + i) * 64);
        if (part % 2 == 0) {
            const B last = b_load(from + static_cast<size_t>((unit ? unit : units) * bits - 1) * 64);
            value_codes<bits, 0, false>(v, unit ? last : b_turn_lanes(last), codes);
        } else {
            value_codes<bits, 4, false>(v, v[0], codes);
        }
        add_values<bits, R>(codes, table, w, group, acc);
    }
}

template <int bits, int R>
void sum_codes(const CacheView& c, Attending& a, int row, int n_keys) {
    const int parts = c.head_size / 64, units = c.head_size / 128;
    const Table table(c.value_book->table);
    int8_t weights[R][kWeighed];
    const int8_t* w[R];
    for (int r = 0; r < R; ++r) w[r] = weights[r];
    for (int t = 0; t < n_keys; t += kWeighed) {
        const uint8_t* blocks = c.v + static_cast<size_t>(t / 16) * c.value_block_bytes;
        const uint8_t* ahead = c.next_k + static_cast<size_t>(t / 16) * c.key_block_bytes;
        for (size_t line = 0; line < 2 * c.key_block_bytes; line += 64) __builtin_prefetch(ahead + line, 0, 2);
        int32_t sum[R];
        F factor[R];
        for (int r = 0; r < R; ++r)
            factor[r] = f_set1(weigh(c, a.scores + (row + r) * kKeyChunk + t, t, weights[r], &sum[r]) * (1.0f / 127.0f) * c.value_book->unit * c.value_book->gain);
        for (int part = 0; part < parts; ++part) {
            I acc[R][4];
            for (int r = 0; r < R; ++r)
                for (int k = 0; k < 4; ++k) acc[r][k] = i_set1(-128 * sum[r]);
            if (units == 0) sum_pairs<bits, R>(blocks, table, w, acc);
            else sum_groups<bits, R>(blocks, units, part, table, w, acc);
            for (int r = 0; r < R; ++r)
                for (int k = 0; k < 4; ++k) {
                    float* out = a.out + static_cast<size_t>(row + r) * a.out_stride + 16 * (4 * part + k);
                    f_store(out, f_fma(f_from_i(acc[r][k]), factor[r], f_load(out)));
                }
        }
    }
}

template <int R>
inline void score_packed(const CacheView& c, const Attending& a, int row, int n) {
    switch (c.key_book->bits) {
        case 1: return score_codes<1, R>(c, a, row, n);
        case 2: return score_codes<2, R>(c, a, row, n);
        case 3: return score_codes<3, R>(c, a, row, n);
        case 4: return score_codes<4, R>(c, a, row, n);
        case 5: return score_codes<5, R>(c, a, row, n);
        case 6: return score_codes<6, R>(c, a, row, n);
        default: return score_codes<8, R>(c, a, row, n);
    }
}

template <int R>
inline void sum_packed(const CacheView& c, Attending& a, int row, int n_keys) {
    switch (c.value_book->bits) {
        case 1: return sum_codes<1, R>(c, a, row, n_keys);
        case 2: return sum_codes<2, R>(c, a, row, n_keys);
        case 3: return sum_codes<3, R>(c, a, row, n_keys);
        case 4: return sum_codes<4, R>(c, a, row, n_keys);
        case 5: return sum_codes<5, R>(c, a, row, n_keys);
        case 6: return sum_codes<6, R>(c, a, row, n_keys);
        default: return sum_codes<8, R>(c, a, row, n_keys);
    }
}

}}  // namespace solvent::(anonymous)
