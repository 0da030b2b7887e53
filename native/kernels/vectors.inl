// What a token's vector goes through between matrices, but for quantisation: norm, activation, rotation.

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
        const F g = f_max(f_set1(0.0f), f_load_n(gate + i, n - i));
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

}}  // namespace solvent::(anonymous)
