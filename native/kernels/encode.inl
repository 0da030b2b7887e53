// Vectors become codes: turned by signs and a Hadamard transform, each element then the nearest of a book's values, or
// all of them the best path through its trellis. docs/reference/turboquant-format.md; arXiv:2504.19874 §3.

namespace solvent { namespace {

template <int n>
inline F butterfly(F v, F signs) { return f_fma(v, signs, f_swap<n>(v)); }

// Lane i of ±1: − where i has bit n.
template <int n>
inline F butterfly_signs() {
    float lane[16];
    for (int i = 0; i < 16; ++i) lane[i] = i & n ? -1.0f : 1.0f;
    return f_load(lane);
}

// Unscaled Hadamard transform of 16·P floats, in registers.
template <int P>
inline void hadamard(F* v) {
    const F one = butterfly_signs<1>(), two = butterfly_signs<2>(), four = butterfly_signs<4>(), eight = butterfly_signs<8>();
    for (int i = 0; i < P; ++i) v[i] = butterfly<8>(butterfly<4>(butterfly<2>(butterfly<1>(v[i], one), two), four), eight);
    for (int half = 1; half < P; half *= 2)
        for (int i = 0; i < P; i += 2 * half)
            for (int j = i; j < i + half; ++j) {
                const F a = v[j], b = v[j + half];
                v[j] = f_add(a, b);
                v[j + half] = f_sub(a, b);
            }
}

// y = H·x/√n of n = 16·P floats, x times signs before or after.
template <int P, bool back>
inline void turn_piece(const float* x, const float* signs, float* y) {
    const F scale = f_set1(1.0f / __builtin_sqrtf(16.0f * P));
    F v[P];
#pragma GCC unroll 16
    for (int i = 0; i < P; ++i) v[i] = f_mul(back ? f_load(x + 16 * i) : f_mul(f_load(x + 16 * i), f_load(signs + 16 * i)), scale);
    hadamard<P>(v);
#pragma GCC unroll 16
    for (int i = 0; i < P; ++i) f_store(y + 16 * i, back ? f_mul(v[i], f_load(signs + 16 * i)) : v[i]);
}

// The largest power of two up to n and kLongestHead: the next piece of what is left.
inline int piece_of(int n) {
    int piece = 16;
    while (2 * piece <= n && 2 * piece <= kLongestHead) piece *= 2;
    return piece;
}

template <bool back>
inline void turn_pieces(const float* x, const float* signs, int n, float* y) {
    for (int at = 0; at < n;) {
        const int piece = piece_of(n - at);
        switch (piece) {
            case 16: turn_piece<1, back>(x + at, signs + at, y + at); break;
            case 32: turn_piece<2, back>(x + at, signs + at, y + at); break;
            case 64: turn_piece<4, back>(x + at, signs + at, y + at); break;
            case 128: turn_piece<8, back>(x + at, signs + at, y + at); break;
            default: turn_piece<16, back>(x + at, signs + at, y + at); break;
        }
        at += piece;
    }
}

void turn(const float* x, const float* signs, int n, float* y) { turn_pieces<false>(x, signs, n, y); }

void turn_back(const float* x, const float* signs, int n, float* y) { turn_pieces<true>(x, signs, n, y); }

void quantise_query(const float* q, int n, int8_t* codes, float* unit, int32_t* sum) {
    F largest = f_set1(0.0f);
    for (int i = 0; i < n; i += 16) largest = f_max(f_abs(f_load(q + i)), largest);
    const float most = f_largest(largest);
    const F inverse = f_set1(most > 0.0f ? 127.0f / most : 0.0f);
    I total = i_zero();
    int8_t in_order[16];
    const int quarter = n / 4;
    for (int i = 0; i < n; i += 16) {
        const I v = to_codes(f_mul(f_load(q + i), inverse));
        total = i_add(total, v);
        i_store_bytes(in_order, v);
        for (int j = 0; j < 16; ++j) codes[4 * ((i + j) % quarter) + (i + j) / quarter] = in_order[j];
    }
    *unit = most / 127.0f;
    *sum = i_sum(total);
}

void subtract_halves(float* x, const uint16_t* y, int n) {
    for (int i = 0; i < n; i += 16) f_store(x + i, f_sub(f_load(x + i), f_load_half(y + i)));
}

// Up to 16 levels: the borders below an element are counted by halving.
inline void encode_few(const CodeBook& book, const float* x, int n, uint8_t* codes) {
    const F border = f_load(book.border);
    for (int i = 0; i < n; i += 16) {
        const F v = f_load(x + i);
        I code = i_zero();
        for (int step = 8; step; step /= 2) code = i_add_where(v, f_pick(border, i_add(code, i_set1(step - 1))), code, i_set1(step));
        i_store_bytes(reinterpret_cast<int8_t*>(codes + i), code);
    }
}

// Rounded to the bytes' unit, then looked up.
inline void encode_many(const CodeBook& book, const float* x, int n, uint8_t* codes) {
    const F inverse = f_set1(1.0f / book.unit);
    for (int i = 0; i < n; i += 16) {
        int8_t steps[16];
        i_store_bytes(steps, to_codes(f_mul(f_load(x + i), inverse)));
        for (int j = 0; j < 16; ++j) codes[i + j] = book.nearest[static_cast<uint8_t>(steps[j] + 128)];
    }
}

inline void encode_bytes(const CodeBook& book, const float* x, int n, uint8_t* codes) {
    const F inverse = f_set1(1.0f / book.unit);
    for (int i = 0; i < n; i += 16) {
        const I step = to_codes(f_mul(f_load(x + i), inverse));
        i_store_bytes(reinterpret_cast<int8_t*>(codes + i), i_add(step, i_set1(128)));
    }
}

// Steps along a trellis: the cost of each window from the state that its older bits are, the least of each next state,
// and from which window that came. A window's number stands in the six lowest bits of its cost.
struct Trellis {
    F value[4];
    I number[4], chosen[3], place, keep;
    int bits, states;
    explicit Trellis(const CodeBook& book) : keep(i_set1(~63)), bits(book.bits), states(1 << (kWindow - book.bits)) {
        int32_t lane[4][16];
        for (int v = 0; v < 4; ++v) {
            value[v] = f_load(book.value + 16 * v);
            for (int i = 0; i < 16; ++i) lane[v][i] = 16 * v + i;
            number[v] = i_load(lane[v]);
        }
        // The least of next state s stands in the lanes of its windows, s << bits and on, of 64.
        for (int i = 0; i < 16; ++i) {
            const int first = (i & (states - 1)) << bits;
            lane[3][i] = first & 15;
            for (int v = 0; v < 3; ++v) lane[v][i] = first >> 4 == v ? -1 : 0;
        }
        for (int v = 0; v < 3; ++v) chosen[v] = i_load(lane[v]);
        place = i_load(lane[3]);
    }
    // metric: of state i mod `states` in lane i. Writes the window that led to each next state; gives the next metric.
    F step(F metric, float x, uint8_t* from) const {
        I least[4];
        for (int v = 0; v < 4; ++v) {
            const F miss = f_sub(f_set1(x), value[v]);
            least[v] = i_select(keep, i_bits(f_fma(miss, miss, metric)), number[v]);
            least[v] = i_min(least[v], i_bits(f_swap<1>(f_bits(least[v]))));
            least[v] = i_min(least[v], i_bits(f_swap<2>(f_bits(least[v]))));
            if (bits > 2) least[v] = i_min(least[v], i_bits(f_swap<4>(f_bits(least[v]))));
            if (bits > 3) least[v] = i_min(least[v], i_bits(f_swap<8>(f_bits(least[v]))));
        }
        if (bits > 4) {
            least[0] = i_min(least[0], least[1]);
            least[2] = i_min(least[2], least[3]);
        }
        I next = moved(least[3]);
        for (int v = 0; v < 3; ++v) next = i_select(chosen[v], moved(least[v]), next);
        i_store_bytes(reinterpret_cast<int8_t*>(from), i_and(next, i_set1(63)));
        return f_bits(i_and(next, keep));
    }
    I moved(I least) const { return i_bits(f_pick(f_bits(least), place)); }
};

// The best paths that end in the state that they start from. Where one should start is told by the path around the
// vector's end that is best without that bond.
template <int N>
inline void encode_trellis(const Encoding* encodings, const float (*x)[kLongestHead], int n) {
    const Trellis trellis[2] = {Trellis(*encodings[0].book), Trellis(*encodings[N - 1].book)};
    constexpr int kAround = 8;
    uint8_t from[N][kLongestHead][16];
    F metric[N];
    int state[N];
    float lane[16];
    for (int e = 0; e < N; ++e) metric[e] = f_set1(0.0f);
    for (int i = 0; i < 2 * kAround; ++i)
        for (int e = 0; e < N; ++e) metric[e] = trellis[e].step(metric[e], x[e][i < kAround ? n - kAround + i : i - kAround], from[e][i]);
    for (int e = 0; e < N; ++e) {
        const int states = trellis[e].states;
        f_store(lane, metric[e]);
        state[e] = 0;
        for (int s = 1; s < states; ++s) state[e] = lane[s] < lane[state[e]] ? s : state[e];
        for (int i = 2 * kAround - 1; i >= kAround; --i) state[e] = from[e][i][state[e]] & (states - 1);
        for (int s = 0; s < 16; ++s) lane[s] = (s & (states - 1)) == state[e] ? 0.0f : 1e30f;
        metric[e] = f_load(lane);
    }
    for (int i = 0; i < n; ++i)
        for (int e = 0; e < N; ++e) metric[e] = trellis[e].step(metric[e], x[e][i], from[e][i]);
    for (int e = 0; e < N; ++e)
        for (int i = n - 1; i >= 0; --i) {
            const uint8_t window = from[e][i][state[e]];
            state[e] = window & (trellis[e].states - 1);
            encodings[e].codes[i] = static_cast<uint8_t>(window >> (kWindow - trellis[e].bits));
        }
}

float square_sum(const float* x, int n) {
    F squares = f_set1(0.0f);
    for (int i = 0; i < n; i += 16) squares = f_fma(f_load(x + i), f_load(x + i), squares);
    return f_sum(squares);
}

void encode(const Encoding* encodings, int n_encodings, int n) {
    float u[kStoredTogether][kLongestHead];
    for (int e = 0; e < n_encodings; ++e) {
        const F inverse = f_set1(encodings[e].inverse);
        for (int i = 0; i < n; i += 16) f_store(u[e] + i, encodings[e].inverse > 0.0f ? f_mul(f_load(encodings[e].x + i), inverse) : f_set1(0.0f));
    }
    for (int e = 0; e < n_encodings; ++e) {
        const CodeBook& book = *encodings[e].book;
        if (book.trellis && e + 1 < n_encodings && encodings[e + 1].book->trellis) {
            encode_trellis<2>(encodings + e, u + e, n);
            ++e;
        } else if (book.trellis) {
            encode_trellis<1>(encodings + e, u + e, n);
        } else {
            (book.bits == 8 ? encode_bytes : book.bits > 4 ? encode_many : encode_few)(book, u[e], n, encodings[e].codes);
        }
    }
}

}}  // namespace solvent::(anonymous)
