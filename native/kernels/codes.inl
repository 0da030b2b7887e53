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
constexpr int kBlocksOfChunk = kKeyChunk / 16;
constexpr int kWeighed = 64;  // tokens whose weights share one scale: 7 bits of the largest

// Bytes that are fetched while others are worked on, a share at each call: all at once would hold up the work.
class Ahead {
  public:
    Ahead(const uint8_t* p, size_t n, int n_calls) : next_(p), due_(p), share_((n + static_cast<size_t>(n_calls) - 1) / static_cast<size_t>(n_calls)) {}
    void fetch() {
        for (due_ += share_; next_ < due_; next_ += 64) __builtin_prefetch(next_, 0, 2);
    }

  private:
    const uint8_t *next_, *due_;
    size_t share_;
};

// What is fetched during a chunk: its values while keys and weights are worked on, the next chunk's keys while weights
// and values are, so that memory never waits.
struct Fetches {
    Ahead values, keys;
    explicit Fetches(const CacheView& c)
        : values(c.v, c.value_block_bytes * kBlocksOfChunk, 1 + kBlocksOfChunk * c.head_size / 24),
          keys(c.next_k, c.key_block_bytes * kBlocksOfChunk, kBlocksOfChunk + kKeyChunk / 8 * ((c.head_size + 63) / 64)) {
        if (c.key_book) Ahead(c.next_k + c.key_block_bytes * kBlocksOfChunk, kKeyChunk, 1).fetch();
        if (c.centres) Ahead(c.next_centres, static_cast<size_t>(c.head_size) * 2 * sizeof(uint16_t), 1).fetch();
    }
};

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
inline void score_unit(const B (*v)[bits], const B* before, const Table& table, const int8_t* const* q, int at, I (*acc)[N], Each<i...>) {
    const auto one = [&](auto number) {
        constexpr int k = decltype(number)::value;
        for (int n = 0; n < N; ++n) {
            const B bytes = byte_of<bits>(table, code_at<bits, k>(v[n], before[n]));
            for (int r = 0; r < R; ++r) acc[r][n] = dot_u8(acc[r][n], bytes, q[r] + at + 4 * k);
        }
    };
    (one(Count<i>{}), ...);
}

// Scores of R rows for N blocks from key t on.
template <int bits, int R, int N>
inline void score_code_blocks(const CacheView& c, const Attending& a, int row, int t, const Table& table, Ahead& ahead) {
    const size_t block_bytes = static_cast<size_t>(c.head_size) * bits * 2;
    const uint8_t* block = c.k + static_cast<size_t>(t / 16) * block_bytes;
    const int8_t* q[R];
    I acc[R][N];
    B before[N], v[N][bits];
    for (int r = 0; r < R; ++r) {
        q[r] = a.q_codes + static_cast<size_t>(row + r) * a.q_stride;
        for (int n = 0; n < N; ++n) acc[r][n] = i_set1(-128 * a.q_sum[row + r]);
    }
    for (int n = 0; n < N; ++n) before[n] = b_turn_bytes(b_load(block + (n + 1) * block_bytes - 64));
    for (int u = 0; u < c.head_size / 32; ++u) {
        for (int n = 0; n < N; ++n)
            for (int i = 0; i < bits; ++i) v[n][i] = b_load(block + n * block_bytes + static_cast<size_t>(u * bits + i) * 64);
        for (int n = 0; n < N; ++n) ahead.fetch();
        score_unit<bits, R, N>(v, before, table, q, 32 * u, acc, Each<0, 1, 2, 3, 4, 5, 6, 7>{});
        for (int n = 0; n < N; ++n) before[n] = v[n][bits - 1];
    }
    F scale[R];
    for (int r = 0; r < R; ++r) scale[r] = f_set1(a.q_unit[row + r] * c.key_book->unit * c.key_book->gain);
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
        const F key_scale = scales_of(c.k_scales + t + 16 * n, c.k_base[t / kTileKeys]);
        const float* centre = a.centre_scores + row * kMaxTiles + c.tile_of_block[t / 16 + n];
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            const F score = f_fma(f_from_i(acc[r][n]), f_mul(scale[r], key_scale), f_set1(centre[r * kMaxTiles]));
            f_store(a.scores + (row + r) * kKeyChunk + t + 16 * n, score);
        }
    }
}

template <int bits, int R>
void score_codes(const CacheView& c, const Attending& a, int row, int n, Ahead& ahead) {
    constexpr int N = R < 4 ? 4 : 2;  // as many sums as registers hold
    const Table table(c.key_book->table);
    Ahead(c.v_scales, kKeyChunk, 1).fetch();
    int t = 0;
    for (; t + 16 * N <= n; t += 16 * N) score_code_blocks<bits, R, N>(c, a, row, t, table, ahead);
    for (; t < n; t += 16) score_code_blocks<bits, R, 1>(c, a, row, t, table, ahead);
}

// What a chunk's values are multiplied by: weights times scales, as 7 bits of the largest of kWeighed tokens.
template <int R>
struct Weights {
    uint8_t byte[R][kKeyChunk];
    float unit[R][kKeyChunk / kWeighed];
};

// Scores of R rows, each less its maximum, into weights times scales, in place; gives the largest of each lane.
template <int R>
inline void weigh_values(const CacheView& c, Attending& a, int row, const int* n_keys, int most, const F* now, float (*largest)[R][16], Fetches& fetches) {
    F total[R];
    for (int r = 0; r < R; ++r) total[r] = f_set1(0.0f);
    for (int t = 0; t < most; t += kWeighed) {
        const float base = c.v_base[t / kTileKeys];
        F lanes[R];
        for (int r = 0; r < R; ++r) lanes[r] = f_set1(0.0f);
        for (int at = t; at < t + kWeighed; at += 16) {
            const F scale = scales_of(c.v_scales + at, base);
            for (int unit = 0; unit < c.head_size; unit += 64) fetches.values.fetch();
            fetches.keys.fetch();
            for (int r = 0; r < R; ++r) {
                float* score = a.scores + (row + r) * kKeyChunk + at;
                F weight = f_exp_below(f_sub(f_load(score), now[r]));
                if (at + 16 > n_keys[r]) weight = f_first_n(weight, n_keys[r] - at, 0.0f);
                total[r] = f_add(total[r], weight);
                weight = f_mul(weight, scale);
                f_store(score, weight);
                lanes[r] = f_max(weight, lanes[r]);
            }
        }
        for (int r = 0; r < R; ++r) f_store(largest[t / kWeighed][r], lanes[r]);
    }
    for (int r = 0; r < R; ++r) a.total[row + r] += f_sum(total[r]);
}

template <int R>
inline void weigh_codes(const CacheView& c, Attending& a, int row, const int* n_keys, int most, const F* now, Weights<R>& w, Fetches& fetches) {
    // One after the other: what waits for a sum over lanes would hold up the rest.
    float largest[kKeyChunk / kWeighed][R][16];
    weigh_values<R>(c, a, row, n_keys, most, now, largest, fetches);
    const float unit = (1.0f / 127.0f) * c.value_book->unit * c.value_book->gain;
    for (int part = 0; part * kWeighed < most; ++part)
        for (int r = 0; r < R; ++r) w.unit[r][part] = f_largest(f_load(largest[part][r]));
    for (int part = 0; part * kWeighed < most; ++part)
        for (int r = 0; r < R; ++r) {
            const float of_part = w.unit[r][part];
            const F inverse = f_set1(of_part > 0.0f ? 127.0f / of_part : 0.0f);
            const float* weight = a.scores + (row + r) * kKeyChunk + part * kWeighed;
            uint8_t* to = w.byte[r] + part * kWeighed;
            // No weight is below 0, and none above 127 after this.
            for (int i = 0; i < kWeighed; i += 16)
                i_store_bytes(reinterpret_cast<int8_t*>(to + i), i_round(f_min(f_mul(f_load(weight + i), inverse), f_set1(127.0f))));
            w.unit[r][part] = of_part * unit;
        }
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
inline void add_values(const B* codes, const Table& table, const Weights<R>& w, int t, I (*acc)[4]) {
    for (int k = 0; k < 4; ++k) {
        const B bytes = signed_byte_of<bits>(table, codes[k]);
        for (int r = 0; r < R; ++r) acc[r][k] = dot_s8(acc[r][k], bytes, w.byte[r] + t);
    }
}

// Heads of 64: a lane holds four elements, a unit two groups of tokens.
template <int bits, int R>
inline void sum_pairs(const uint8_t* blocks, const Table& table, const Weights<R>& w, int t, I (*acc)[4], Ahead& ahead) {
    for (int pair = 0; pair < kWeighed / 8; ++pair) {
        ahead.fetch();
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
inline void sum_groups(const uint8_t* blocks, int units, int part, const Table& table, const Weights<R>& w, int t, I (*acc)[4], Ahead& ahead) {
    const int unit = part / 2;
    for (int group = 0; group < kWeighed / 4; ++group) {
        if (group % 2 == 0) ahead.fetch();
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
void sum_codes(const CacheView& c, Attending& a, int row, int n_keys, const Weights<R>& w, Ahead& ahead) {
    const int parts = c.head_size / 64, units = c.head_size / 128;
    const SignedTable bytes(*c.value_book);
    const Table table(bytes.byte);
    for (int t = 0; t < n_keys; t += kWeighed) {
        const uint8_t* blocks = c.v + static_cast<size_t>(t / 16) * c.value_block_bytes;
        for (int part = 0; part < parts; ++part) {
            I acc[R][4];
            for (int r = 0; r < R; ++r)
                for (int k = 0; k < 4; ++k) acc[r][k] = i_zero();
            if (units == 0) sum_pairs<bits, R>(blocks, table, w, t, acc, ahead);
            else sum_groups<bits, R>(blocks, units, part, table, w, t, acc, ahead);
            for (int r = 0; r < R; ++r) {
                float* out = a.out + static_cast<size_t>(row + r) * a.out_stride + 64 * part;
                const F unit = f_set1(w.unit[r][t / kWeighed]);
                for (int k = 0; k < 4; ++k) f_store(out + 16 * k, f_fma(f_from_i(acc[r][k]), unit, f_load(out + 16 * k)));
            }
        }
    }
}

template <int R>
inline void score_packed(const CacheView& c, const Attending& a, int row, int n, Ahead& ahead) {
    switch (c.key_book->bits) {
        case 1: return score_codes<1, R>(c, a, row, n, ahead);
        case 2: return score_codes<2, R>(c, a, row, n, ahead);
        case 3: return score_codes<3, R>(c, a, row, n, ahead);
        case 4: return score_codes<4, R>(c, a, row, n, ahead);
        case 5: return score_codes<5, R>(c, a, row, n, ahead);
        case 6: return score_codes<6, R>(c, a, row, n, ahead);
        default: return score_codes<8, R>(c, a, row, n, ahead);
    }
}

template <int R>
inline void sum_packed(const CacheView& c, Attending& a, int row, int n_keys, const Weights<R>& w, Ahead& ahead) {
    switch (c.value_book->bits) {
        case 1: return sum_codes<1, R>(c, a, row, n_keys, w, ahead);
        case 2: return sum_codes<2, R>(c, a, row, n_keys, w, ahead);
        case 3: return sum_codes<3, R>(c, a, row, n_keys, w, ahead);
        case 4: return sum_codes<4, R>(c, a, row, n_keys, w, ahead);
        case 5: return sum_codes<5, R>(c, a, row, n_keys, w, ahead);
        case 6: return sum_codes<6, R>(c, a, row, n_keys, w, ahead);
        default: return sum_codes<8, R>(c, a, row, n_keys, w, ahead);
    }
}

}}  // namespace solvent::(anonymous)
