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
constexpr int kWeighed = 64;  // tokens whose weights share one scale: 7 bits of the largest

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

// A book's bytes as signed ones.
struct SignedTable {
    uint8_t byte[64];
    explicit SignedTable(const CodeBook& book) {
        for (int i = 0; i < 64; ++i) byte[i] = static_cast<uint8_t>(book.table[i] - 128);
    }
};

template <int bits>
inline B signed_byte_of(const Table& table, B code) {
    if constexpr (bits == 8) return b_flip(code);
    else return table.at(code);
}

// 2^(e + (code − 255)/16) of 16 codes, 0 of code 0; base: 2^(e − 255/16).
inline F scales_of(const uint8_t* codes, float base) {
    const I c = i_load_bytes(codes);
    const F whole = f_scale2(f_pick(f_load(kSixteenths), c), i_shift<4>(c));
    return f_mul(f_mul(whole, f_set1(base)), f_from_i(i_min(c, i_set1(1))));
}

template <int bits, int R, int N, int... i>
inline void score_unit(const B (*v)[bits], const B* before, const Table& table, const int8_t* const* q, int at, I (*acc)[N][2], Each<i...>) {
    const auto one = [&](auto number) {
        constexpr int k = decltype(number)::value;
        for (int n = 0; n < N; ++n) {
            const B bytes = byte_of<bits>(table, code_at<bits, k>(v[n], before[n]));
            // Two sums in turn: a product takes longer than until the next could start.
            for (int r = 0; r < R; ++r) acc[r][n][k % 2] = dot_u8(acc[r][n][k % 2], bytes, q[r] + at + 4 * k);
        }
    };
    (one(Count<i>{}), ...);
}

// Scores of R rows for N blocks from key t on.
template <int bits, int R, int N>
inline void score_code_blocks(const CacheView& c, const Attending& a, int row, int t, const Table& table) {
    const size_t block_bytes = static_cast<size_t>(c.head_size) * bits * 2;
    const uint8_t* block = c.k + static_cast<size_t>(t / 16) * block_bytes;
    const uint8_t* ahead = c.v + static_cast<size_t>(t / 16) * c.value_block_bytes;
    for (size_t line = 0; line < N * c.value_block_bytes; line += 64) __builtin_prefetch(ahead + line, 0, 2);
    const int8_t* q[R];
    I acc[R][N][2];
    B before[N], v[N][bits];
    for (int r = 0; r < R; ++r) {
        q[r] = a.q_codes + static_cast<size_t>(row + r) * a.q_stride;
        for (int n = 0; n < N; ++n) acc[r][n][0] = i_set1(-128 * a.q_sum[row + r]), acc[r][n][1] = i_zero();
    }
    for (int n = 0; n < N; ++n) before[n] = b_turn_bytes(b_load(block + (n + 1) * block_bytes - 64));
    for (int u = 0; u < c.head_size / 32; ++u) {
        for (int n = 0; n < N; ++n)
            for (int i = 0; i < bits; ++i) v[n][i] = b_load(block + n * block_bytes + static_cast<size_t>(u * bits + i) * 64);
        score_unit<bits, R, N>(v, before, table, q, 32 * u, acc, Each<0, 1, 2, 3, 4, 5, 6, 7>{});
        for (int n = 0; n < N; ++n) before[n] = v[n][bits - 1];
    }
    for (int n = 0; n < N; ++n, t += 16) {
        const F key_scale = scales_of(c.k_scales + t, c.k_base[t / kTileKeys]);
        const int tile = c.tile_of_block[t / 16];
        for (int r = 0; r < R; ++r) {
            const F scale = f_set1(a.q_unit[row + r] * c.key_book->unit * c.key_book->gain);
            const F score = f_mul(f_mul(f_from_i(i_add(acc[r][n][0], acc[r][n][1])), scale), key_scale);
            f_store(a.scores + (row + r) * kKeyChunk + t, f_add(score, f_set1(a.centre_scores[(row + r) * kMaxTiles + tile])));
        }
    }
}

template <int bits, int R>
void score_codes(const CacheView& c, const Attending& a, int row, int n) {
    const Table table(c.key_book->table);
    int t = 0;
    for (; t + 32 <= n; t += 32) score_code_blocks<bits, R, 2>(c, a, row, t, table);
    for (; t < n; t += 16) score_code_blocks<bits, R, 1>(c, a, row, t, table);
}

// What a chunk's values are multiplied by: weights times scales, as 7 bits of the largest of kWeighed tokens.
template <int R>
struct Weights {
    uint8_t byte[R][kKeyChunk];
    float unit[R][kKeyChunk / kWeighed];

    Weights(const CacheView& c, const Attending& a, int row, int n_keys) {
        for (int t = 0; t < n_keys; t += kWeighed) {
            const float base = c.v_base[t / kTileKeys];
            constexpr int kParts = kWeighed / 16;
            F scale[kParts], weight[kParts];
            for (int i = 0; i < kParts; ++i) scale[i] = scales_of(c.v_scales + t + 16 * i, base);
            for (int r = 0; r < R; ++r) {
                const float* scores = a.scores + (row + r) * kKeyChunk + t;
                F most = f_set1(0.0f);
                for (int i = 0; i < kParts; ++i) {
                    weight[i] = f_mul(f_load(scores + 16 * i), scale[i]);
                    most = f_max(weight[i], most);
                }
                const float largest = f_largest(most);
                const F inverse = f_set1(largest > 0.0f ? 127.0f / largest : 0.0f);
                // No weight is below 0, and none above 127 after this.
                for (int i = 0; i < kParts; ++i)
                    i_store_bytes(reinterpret_cast<int8_t*>(byte[r] + t + 16 * i), i_round(f_min(f_mul(weight[i], inverse), f_set1(127.0f))));
                unit[r][t / kWeighed] = largest * (1.0f / 127.0f) * c.value_book->unit * c.value_book->gain;
            }
        }
    }
};

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
inline void add_values(const B* codes, const Table& table, const Weights<R>& w, int t, I (*acc)[4]) {
    for (int k = 0; k < 4; ++k) {
        const B bytes = signed_byte_of<bits>(table, codes[k]);
        for (int r = 0; r < R; ++r) acc[r][k] = dot_s8(acc[r][k], bytes, w.byte[r] + t);
    }
}

// Heads of 64: a lane holds four elements, a unit two groups of tokens.
template <int bits, int R>
inline void sum_pairs(const uint8_t* blocks, const Table& table, const Weights<R>& w, int t, I (*acc)[4]) {
    for (int pair = 0; pair < kWeighed / 8; ++pair) {
        B v[bits], codes[4];
        for (int i = 0; i < bits; ++i) v[i] = b_load(blocks + static_cast<size_t>(pair * bits + i) * 64);
        value_codes<bits, 0, true>(v, older_of<bits, 4>(v), codes);
        add_values<bits, R>(codes, table, w, t + 8 * pair, acc);
        value_codes<bits, 4, true>(v, older_of<bits, 8>(v), codes);
        add_values<bits, R>(codes, table, w, t + 8 * pair + 4, acc);
    }
}

// Heads of 128·n: a lane holds 8·n elements, a unit eight of one group. Elements 4·part to 4·part + 3.
template <int bits, int R>
inline void sum_groups(const uint8_t* blocks, int units, int part, const Table& table, const Weights<R>& w, int t, I (*acc)[4]) {
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
        add_values<bits, R>(codes, table, w, t + 4 * group, acc);
    }
}

template <int bits, int R>
void sum_codes(const CacheView& c, Attending& a, int row, int n_keys) {
    const int parts = c.head_size / 64, units = c.head_size / 128;
    const SignedTable bytes(*c.value_book);
    const Table table(bytes.byte);
    const Weights<R> w(c, a, row, n_keys);
    for (int t = 0; t < n_keys; t += kWeighed) {
        const uint8_t* blocks = c.v + static_cast<size_t>(t / 16) * c.value_block_bytes;
        const uint8_t* ahead = c.next_k + static_cast<size_t>(t / 16) * c.key_block_bytes;
        for (size_t line = 0; line < kWeighed / 16 * c.key_block_bytes; line += 64) __builtin_prefetch(ahead + line, 0, 2);
        for (int part = 0; part < parts; ++part) {
            I acc[R][4];
            for (int r = 0; r < R; ++r)
                for (int k = 0; k < 4; ++k) acc[r][k] = i_zero();
            if (units == 0) sum_pairs<bits, R>(blocks, table, w, t, acc);
            else sum_groups<bits, R>(blocks, units, part, table, w, t, acc);
            for (int r = 0; r < R; ++r)
                for (int k = 0; k < 4; ++k) {
                    float* out = a.out + static_cast<size_t>(row + r) * a.out_stride + 16 * (4 * part + k);
                    f_store(out, f_fma(f_from_i(acc[r][k]), f_set1(w.unit[r][t / kWeighed]), f_load(out)));
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
