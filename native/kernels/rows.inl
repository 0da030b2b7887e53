// Matrices whose rows lie as in the file: floats of any width, and single q8_0 and q6_k rows for exact rescoring.
// A row's sum runs over sixteen lanes in order of columns, then over the lanes.

namespace solvent { namespace {

template <Format format>
constexpr int float_bytes() {
    return format == Format::f32 ? 4 : 2;
}

// Sixteen weights at column i of n.
template <Format format>
inline F row_load(const uint8_t* row, int i, int n) {
    constexpr int size = float_bytes<format>();
    alignas(64) uint8_t padded[64] = {};
    const uint8_t* p = row + static_cast<size_t>(i) * size;
    if (n - i < 16) {
        __builtin_memcpy(padded, p, static_cast<size_t>(n - i) * size);
        p = padded;
    }
    if constexpr (format == Format::f32) return f_load(reinterpret_cast<const float*>(p));
    else if constexpr (format == Format::bf16) return f_load_bf16(reinterpret_cast<const uint16_t*>(p));
    else return f_load_half(reinterpret_cast<const uint16_t*>(p));
}

// R rows by T tokens.
template <Format format, int R, int T>
inline void rows_tile(const uint8_t* row, size_t row_bytes, int n, const float* x, size_t x_stride, float* y,
                      size_t y_stride) {
    F acc[R][T];
    for (int r = 0; r < R; ++r)
        for (int t = 0; t < T; ++t) acc[r][t] = f_set1(0.0f);
    for (int i = 0; i < n; i += 16) {
        F v[T];
        for (int t = 0; t < T; ++t) v[t] = f_load_n(x + t * x_stride + i, n - i);
        for (int r = 0; r < R; ++r) {
            const F w = row_load<format>(row + r * row_bytes, i, n);
            for (int t = 0; t < T; ++t) acc[r][t] = f_fma(w, v[t], acc[r][t]);
        }
    }
    for (int r = 0; r < R; ++r)
        for (int t = 0; t < T; ++t) y[t * y_stride + r] = f_sum(acc[r][t]);
}

template <Format format>
inline void rows_dot(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y,
                     size_t y_stride) {
    const int last = min_int(end * kRows, w.n_rows);
    int r = begin * kRows;
    const auto tile = [&](auto rows, int row) {
        constexpr int R = decltype(rows)::value;
        const uint8_t* p = w.data + static_cast<size_t>(row) * w.panel_bytes;
        int t = 0;
        for (; t + 4 <= n_tokens; t += 4)
            rows_tile<format, R, 4>(p, w.panel_bytes, w.n_cols, x.x + t * x.x_stride, x.x_stride, y + t * y_stride + row, y_stride);
        for (; t < n_tokens; ++t)
            rows_tile<format, R, 1>(p, w.panel_bytes, w.n_cols, x.x + t * x.x_stride, x.x_stride, y + t * y_stride + row, y_stride);
    };
    for (; r + 4 <= last; r += 4) tile(Count<4>{}, r);
    for (; r < last; ++r) tile(Count<1>{}, r);
}

// As gemv computes the row of a q8_0 panel: Σ code·q − 128·Σq is Σ weight·q, exact either way.
inline float row_dot_q8_0(const uint8_t* row, int n, const Activations& x) {
    float acc = 0.0f;
    for (int o = 0; o < kOutliers; ++o) {
        const uint8_t* block = row + static_cast<size_t>(x.outlier_at[o] / kBlock) * 34;
        uint16_t scale;
        __builtin_memcpy(&scale, block, 2);
        const float weight = static_cast<float>(static_cast<int8_t>(block[2 + x.outlier_at[o] % kBlock])) * half_to_float(scale);
        acc = __builtin_fmaf(weight, x.outlier[o], acc);
    }
    for (int b = 0; b < n / kBlock; ++b, row += 34) {
        uint16_t scale;
        __builtin_memcpy(&scale, row, 2);
        const int8_t* w = reinterpret_cast<const int8_t*>(row + 2);
        const int8_t* q = x.q + static_cast<size_t>(b) * kBlock;
        int32_t sum = 0;
        for (int i = 0; i < kBlock; ++i) sum += w[i] * q[i];
        acc = __builtin_fmaf(static_cast<float>(sum), half_to_float(scale) * x.d[b], acc);
    }
    return acc;
}

// Weight i of a q6_k block of 256, without its scale: four low bits, two high ones, less 32.
inline int32_t q6_k_weight(const uint8_t* block, int i) {
    const int half = i / 128, quarter = i / 32 % 4, lane = i % 32;
    const uint8_t low = block[64 * half + 32 * (quarter % 2) + lane], high = block[128 + 32 * half + lane];
    return ((low >> (4 * (quarter / 2)) & 15) | (high >> (2 * quarter) & 3) << 4) - 32;
}

inline float q6_k_scale(const uint8_t* block, int i) {
    uint16_t scale;
    __builtin_memcpy(&scale, block + 208, 2);
    return half_to_float(scale) * static_cast<float>(static_cast<int8_t>(block[192 + i / 16]));
}

// As gemv computes the row of a q6_k panel.
inline float row_dot_q6_k(const uint8_t* row, int n, const Activations& x) {
    float acc = 0.0f;
    for (int o = 0; o < kOutliers; ++o) {
        const uint8_t* block = row + static_cast<size_t>(x.outlier_at[o] / 256) * 210;
        const int i = x.outlier_at[o] % 256;
        acc = __builtin_fmaf(static_cast<float>(q6_k_weight(block, i)) * q6_k_scale(block, i), x.outlier[o], acc);
    }
    for (int k = 0; k < n; k += 16) {
        const uint8_t* block = row + static_cast<size_t>(k / 256) * 210;
        int32_t sum = 0;
        for (int i = 0; i < 16; ++i) sum += q6_k_weight(block, k % 256 + i) * x.q[k + i];
        acc = __builtin_fmaf(static_cast<float>(sum), q6_k_scale(block, k % 256) * x.d[k / kBlock], acc);
    }
    return acc;
}

float row_dot(Format format, const uint8_t* row, int n, const Activations& x) {
    float y = 0.0f;
    switch (format) {
        case Format::q6_k: return row_dot_q6_k(row, n, x);
        case Format::q8_0: return row_dot_q8_0(row, n, x);
        case Format::f16: rows_tile<Format::f16, 1, 1>(row, 0, n, x.x, 0, &y, 0); return y;
        case Format::bf16: rows_tile<Format::bf16, 1, 1>(row, 0, n, x.x, 0, &y, 0); return y;
        default: rows_tile<Format::f32, 1, 1>(row, 0, n, x.x, 0, &y, 0); return y;
    }
}

}}  // namespace solvent::(anonymous)
