// What a token's vector goes through between matrices: norm, quantisation, activation, rotation.

namespace solvent { namespace {

void rms_norm(const float* x, const float* w, float eps, int n, float* out) {
    F squares = f_set1(0.0f);
    for (int i = 0; i < n; i += 16) {
        const F v = f_load_n(x + i, n - i);
        squares = f_fma(v, v, squares);
    }
    const float mean = f_sum(squares) / static_cast<float>(n);
    const F scale = f_set1(1.0f / __builtin_sqrtf(mean + eps));
    for (int i = 0; i < n; i += 16) {
        const F v = f_mul(f_load_n(x + i, n - i), scale);
        f_store_n(out + i, f_mul(v, f_load_n(w + i, n - i)), n - i);
    }
}

void add(float* x, const float* y, int n) {
    for (int i = 0; i < n; i += 16) f_store_n(x + i, f_add(f_load_n(x + i, n - i), f_load_n(y + i, n - i)), n - i);
}

// A block of x, its outliers taken out of it once it has been looked into.
struct OpenBlock {
    int index;
    float rest[kBlock];
    float largest() const { return f_largest(f_max(f_abs(f_load(rest)), f_abs(f_load(rest + 16)))); }
};

inline void load_block(const float* x, int n, int b, float* out) {
    const int i = b * kBlock;
    f_store(out, f_load_n(x + i, n - i));
    f_store(out + 16, n - i > 16 ? f_load_n(x + i + 16, n - i - 16) : f_set1(0.0f));
}

// What is infinite or no number becomes 127, so that sums of codes stay in range.
inline I to_codes(F v) { return i_round(f_max(f_min(v, f_set1(127.0f)), f_set1(-127.0f))); }

inline void quantise_block(F low, F high, int b, const Quantised& out) {
    const float largest = f_largest(f_max(f_abs(low), f_abs(high)));
    const F inverse = f_set1(largest > 0.0f ? 127.0f / largest : 0.0f);
    const I q_low = to_codes(f_mul(low, inverse)), q_high = to_codes(f_mul(high, inverse));
    i_store_bytes(out.q + b * kBlock, q_low);
    i_store_bytes(out.q + b * kBlock + 16, q_high);
    out.sum_half[2 * b] = i_sum(q_low);
    out.sum_half[2 * b + 1] = i_sum(q_high);
    out.sum[b] = out.sum_half[2 * b] + out.sum_half[2 * b + 1];
    out.d[b] = largest / 127.0f;
    out.d_sum[b] = out.d[b] * static_cast<float>(out.sum[b]);
}

// Takes the kOutliers largest elements out, the first of equals, and lists them in order of their places.
// largest: of each block, overwritten. Gives how many blocks were opened.
inline int take_outliers(const float* x, int n, float* largest, OpenBlock* open, const Quantised& out) {
    const int n_blocks = (n + kBlock - 1) / kBlock;
    int n_open = 0;
    for (int o = 0; o < kOutliers; ++o) {
        int b = 0;
        for (int i = 1; i < n_blocks; ++i) b = largest[i] > largest[b] ? i : b;
        int slot = 0;
        while (slot < n_open && open[slot].index != b) ++slot;
        if (slot == n_open) {
            open[n_open++].index = b;
            load_block(x, n, b, open[slot].rest);
        }
        float* rest = open[slot].rest;
        int best = 0;
        while (best < kBlock - 1 && __builtin_fabsf(rest[best]) != largest[b]) ++best;
        int place = o;
        const int at = b * kBlock + best;
        for (; place > 0 && out.outlier_at[place - 1] > at; --place) {
            out.outlier_at[place] = out.outlier_at[place - 1];
            out.outlier[place] = out.outlier[place - 1];
        }
        out.outlier_at[place] = at < n ? at : 0;
        out.outlier[place] = rest[best];
        rest[best] = 0.0f;
        largest[b] = open[slot].largest();
    }
    return n_open;
}

void quantise_blocks(const float* x, int n, const Quantised& out) {
    for (int i = 0; i < n; i += kBlock) {
        const F low = f_load_n(x + i, n - i);
        const F high = n - i > 16 ? f_load_n(x + i + 16, n - i - 16) : f_set1(0.0f);
        out.d[i / kBlock] = f_largest(f_max(f_abs(low), f_abs(high)));
    }
    OpenBlock open[kOutliers];
    const int n_open = take_outliers(x, n, out.d, open, out);
    for (int i = 0; i < n; i += kBlock) {
        const F high = n - i > 16 ? f_load_n(x + i + 16, n - i - 16) : f_set1(0.0f);
        quantise_block(f_load_n(x + i, n - i), high, i / kBlock, out);
    }
    for (int slot = 0; slot < n_open; ++slot)
        quantise_block(f_load(open[slot].rest), f_load(open[slot].rest + 16), open[slot].index, out);
}

// q = round(x · 127 / max(|x|, 1e-5)), half to even, and 1/that factor: arXiv:2402.17764 §2 as trained (BitLinear).
void quantise_token(const float* x, int n, int8_t* q, float* d, int32_t* sum) {
    F largest = f_set1(1e-5f);
    for (int i = 0; i < n; i += 16) largest = f_max(largest, f_abs(f_load_n(x + i, n - i)));
    const float s = 127.0f / f_largest(largest);
    I total = i_zero();
    // To the end of the last block, where something longer may have been before.
    const int end = (n + kBlock - 1) / kBlock * kBlock;
    for (int i = 0; i < end; i += 16) {
        const I v = to_codes(f_mul(f_load_n(x + i, n - i), f_set1(s)));
        i_store_bytes(q + i, v);
        total = i_add(total, v);
    }
    *d = 1.0f / s;
    *sum = i_sum(total);
}

void silu_mul(const float* gate, const float* up, int n, float* out) {
    const F one = f_set1(1.0f);
    for (int i = 0; i < n; i += 16) {
        const F g = f_load_n(gate + i, n - i);
        const F denominator = f_add(one, f_exp(f_sub(f_set1(0.0f), g)));
        f_store_n(out + i, f_mul(f_div(g, denominator), f_load_n(up + i, n - i)), n - i);
    }
}

void relu2_mul(const float* gate, const float* up, int n, float* out) {
    for (int i = 0; i < n; i += 16) {
        const F g = f_max(f_load_n(gate + i, n - i), f_set1(0.0f));
        f_store_n(out + i, f_mul(f_mul(g, g), f_load_n(up + i, n - i)), n - i);
    }
}

void rope(float* x, const float* cos, const float* sin, int n, bool adjacent) {
    const int half = n / 2;
    if (adjacent) {
        for (int i = 0; i < half; ++i) {
            const float a = x[2 * i], b = x[2 * i + 1];
            x[2 * i] = a * cos[i] - b * sin[i];
            x[2 * i + 1] = a * sin[i] + b * cos[i];
        }
        return;
    }
    for (int i = 0; i < half; ++i) {
        const float a = x[i], b = x[i + half];
        x[i] = a * cos[i] - b * sin[i];
        x[i + half] = a * sin[i] + b * cos[i];
    }
}

void store_half(const float* x, int n, uint16_t* out, size_t step) {
    uint16_t lanes[16];
    for (int i = 0; i < n; i += 16) {
        f_store_half(lanes, f_load_n(x + i, n - i));
        for (int j = 0; j < min_int(16, n - i); ++j) out[static_cast<size_t>(i + j) * step] = lanes[j];
    }
}

int argmax(const float* x, int n) {
    F largest = f_set1(-__builtin_inff());
    for (int i = 0; i + 16 <= n; i += 16) largest = f_max(f_load(x + i), largest);
    float best = f_largest(largest);
    for (int i = n / 16 * 16; i < n; ++i) best = x[i] > best ? x[i] : best;
    for (int i = 0; i < n; ++i)
        if (x[i] == best) return i;
    return 0;
}

inline F margin_at(const float* residual, const float* length, float a, float b, int i, int n) {
    return f_fma(f_load_n(residual + i, n - i), f_set1(a), f_mul(f_load_n(length + i, n - i), f_set1(b)));
}

float screen_floor(const float* x, const float* residual, const float* length, float a, float b, int n) {
    const float none = -__builtin_inff();
    F floor = f_set1(none);
    for (int i = 0; i < n; i += 16) {
        const F low = f_sub(f_load_n(x + i, n - i), margin_at(residual, length, a, b, i, n));
        floor = f_max(f_first_n(low, n - i, none), floor);
    }
    return f_largest(floor);
}

int screen_rows(const float* x, const float* residual, const float* length, float a, float b, float floor, int n,
                int32_t* rows) {
    constexpr int kStretch = 128;  // most stretches hold none and are left after one look
    int found = 0;
    for (int begin = 0; begin < n; begin += kStretch) {
        const int end = min_int(n, begin + kStretch);
        F highest = f_set1(-__builtin_inff());
        for (int i = begin; i < end; i += 16)
            highest = f_max(f_add(f_load_n(x + i, n - i), margin_at(residual, length, a, b, i, n)), highest);
        if (f_largest(highest) < floor) continue;
        for (int i = begin; i < end; ++i)
            if (!(x[i] + __builtin_fmaf(residual[i], a, length[i] * b) < floor)) rows[found++] = i;
    }
    return found;
}

}}  // namespace solvent::(anonymous)
