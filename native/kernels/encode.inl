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

// Unscaled Hadamard transform of n = 16·2^j floats, in place.
inline void hadamard(float* x, int n) {
    const F one = butterfly_signs<1>(), two = butterfly_signs<2>(), four = butterfly_signs<4>(), eight = butterfly_signs<8>();
    for (int i = 0; i < n; i += 16) {
        F v = butterfly<1>(f_load(x + i), one);
        v = butterfly<2>(v, two);
        v = butterfly<4>(v, four);
        f_store(x + i, butterfly<8>(v, eight));
    }
    for (int half = 16; half < n; half *= 2)
        for (int i = 0; i < n; i += 2 * half)
            for (int j = i; j < i + half; j += 16) {
                const F a = f_load(x + j), b = f_load(x + j + half);
                f_store(x + j, f_add(a, b));
                f_store(x + j + half, f_sub(a, b));
            }
}

// The largest power of two up to n: the next piece of what is left.
inline int piece_of(int n) {
    int piece = 16;
    while (2 * piece <= n) piece *= 2;
    return piece;
}

void turn(const float* x, const float* signs, int n, float* y) {
    for (int at = 0; at < n;) {
        const int piece = piece_of(n - at);
        const F scale = f_set1(1.0f / __builtin_sqrtf(static_cast<float>(piece)));
        for (int i = at; i < at + piece; i += 16) f_store(y + i, f_mul(f_mul(f_load(x + i), f_load(signs + i)), scale));
        hadamard(y + at, piece);
        at += piece;
    }
}

void turn_back(const float* x, const float* signs, int n, float* y) {
    for (int at = 0; at < n;) {
        const int piece = piece_of(n - at);
        const F scale = f_set1(1.0f / __builtin_sqrtf(static_cast<float>(piece)));
        for (int i = at; i < at + piece; i += 16) f_store(y + i, f_mul(f_load(x + i), scale));
        hadamard(y + at, piece);
        for (int i = at; i < at + piece; i += 16) f_store(y + i, f_mul(f_load(y + i), f_load(signs + i)));
        at += piece;
    }
}

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

// Sums over a chosen path, in one order for every instruction set.
inline void products_of(const CodeBook& book, const float* x, const uint8_t* windows, int n, float* products) {
    F both = f_set1(0.0f), own = f_set1(0.0f);
    for (int i = 0; i < n; i += 16) {
        float value[16];
        for (int j = 0; j < 16; ++j) value[j] = book.value[windows[i + j]];
        const F v = f_load(value);
        both = f_fma(v, f_load(x + i), both);
        own = f_fma(v, v, own);
    }
    products[0] = f_sum(both);
    products[1] = f_sum(own);
}

// Each element by itself: rounded to the bytes' unit, then looked up.
inline void encode_scalar(const CodeBook& book, const float* x, int n, uint8_t* codes, float* products) {
    const F inverse = f_set1(1.0f / book.unit);
    int8_t steps[kLongestHead];
    for (int i = 0; i < n; i += 16) i_store_bytes(steps + i, to_codes(f_mul(f_load(x + i), inverse)));
    if (book.bits == 8) {
        F both = f_set1(0.0f), own = f_set1(0.0f);
        for (int i = 0; i < n; i += 16) {
            const F v = f_mul(f_from_i(to_codes(f_mul(f_load(x + i), inverse))), f_set1(book.unit));
            both = f_fma(v, f_load(x + i), both);
            own = f_fma(v, v, own);
        }
        for (int i = 0; i < n; ++i) codes[i] = static_cast<uint8_t>(steps[i] + 128);
        products[0] = f_sum(both);
        products[1] = f_sum(own);
        return;
    }
    uint8_t windows[kLongestHead];
    for (int i = 0; i < n; ++i) {
        codes[i] = book.nearest[static_cast<uint8_t>(steps[i] + 128)];
        windows[i] = static_cast<uint8_t>(codes[i] << (kWindow - book.bits));
    }
    products_of(book, x, windows, n, products);
}

// One step of the path: cost of each window from the state that its older bits are, the least of each next state, and
// from which window that came. A window's number stands in the six lowest bits of its cost.
struct Trellis {
    F value[4];
    I number[4], keep;
    int bits;
    explicit Trellis(const CodeBook& book) : keep(i_set1(~63)), bits(book.bits) {
        for (int v = 0; v < 4; ++v) {
            value[v] = f_load(book.value + 16 * v);
            int32_t lane[16];
            for (int i = 0; i < 16; ++i) lane[i] = 16 * v + i;
            number[v] = i_load(lane);
        }
    }
    // metric: of state i mod 2^(6 − bits) in lane i. Writes the window of each next state; gives the next metric.
    F step(F metric, float x, uint8_t* from) const {
        I least[4];
        for (int v = 0; v < 4; ++v) {
            const F miss = f_sub(f_set1(x), value[v]);
            least[v] = i_or(i_and(i_bits(f_fma(miss, miss, metric)), keep), number[v]);
        }
        return next(least, from);
    }
    F next(I* least, uint8_t* from) const {
        int32_t lane[64];
        for (int v = 0; v < 4; ++v) {
            least[v] = i_min(least[v], i_bits(f_swap<1>(f_bits(least[v]))));
            if (bits > 1) least[v] = i_min(least[v], i_bits(f_swap<2>(f_bits(least[v]))));
            if (bits > 2) least[v] = i_min(least[v], i_bits(f_swap<4>(f_bits(least[v]))));
            if (bits > 3) least[v] = i_min(least[v], i_bits(f_swap<8>(f_bits(least[v]))));
        }
        if (bits > 4) {
            least[0] = least[1] = i_min(least[0], least[1]);
            least[2] = least[3] = i_min(least[2], least[3]);
        }
        for (int v = 0; v < 4; ++v) i_store(lane + 16 * v, least[v]);
        const int states = 1 << (kWindow - bits);
        int32_t metric[16];
        for (int s = 0; s < 16; ++s) metric[s] = lane[(s & (states - 1)) << bits];
        for (int s = 0; s < states; ++s) from[s] = static_cast<uint8_t>(metric[s] & 63);
        return f_bits(i_and(i_load(metric), keep));
    }
};

// The best path that ends in the state that it starts from. Where it should start is told by the path around the
// vector's end that is best without that bond.
inline void encode_trellis(const CodeBook& book, const float* x, int n, uint8_t* codes, float* products) {
    const Trellis trellis(book);
    const int states = 1 << (kWindow - book.bits), around = n < 32 ? n : 16;
    uint8_t from[kLongestHead][16];
    F metric = f_set1(0.0f);
    for (int i = 0; i < 2 * around; ++i) metric = trellis.step(metric, x[(n - around + i) % n], from[i]);
    float lane[16];
    f_store(lane, metric);
    int state = 0;
    for (int s = 1; s < states; ++s) state = lane[s] < lane[state] ? s : state;
    for (int i = 2 * around - 1; i >= around; --i) state = from[i][state] & (states - 1);
    const int start = state;
    for (int s = 0; s < 16; ++s) lane[s] = (s & (states - 1)) == start ? 0.0f : 1e30f;
    metric = f_load(lane);
    for (int i = 0; i < n; ++i) metric = trellis.step(metric, x[i], from[i]);
    uint8_t windows[kLongestHead];
    for (int i = n - 1; i >= 0; --i) {
        windows[i] = from[i][state];
        state = windows[i] & (states - 1);
    }
    for (int i = 0; i < n; ++i) codes[i] = static_cast<uint8_t>(windows[i] >> (kWindow - book.bits));
    products_of(book, x, windows, n, products);
}

void encode(const CodeBook& book, const float* x, int n, uint8_t* codes, float* found) {
    F squares = f_set1(0.0f);
    for (int i = 0; i < n; i += 16) squares = f_fma(f_load(x + i), f_load(x + i), squares);
    const float square = f_sum(squares);
    float u[kLongestHead];
    // What isn't finite is told by the square, and coded as zeros.
    const float inverse = square > 0.0f && square < __builtin_inff() ? 1.0f / __builtin_sqrtf(square / static_cast<float>(n)) : 0.0f;
    for (int i = 0; i < n; i += 16) f_store(u + i, inverse > 0.0f ? f_mul(f_load(x + i), f_set1(inverse)) : f_set1(0.0f));
    (book.trellis ? encode_trellis : encode_scalar)(book, u, n, codes, found);
    found[2] = square;
}

}}  // namespace solvent::(anonymous)
