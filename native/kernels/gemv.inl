// One token: y = W·x for whole panels of 16 rows, codes straight from memory.
// First the outliers; then per block: Σ code·q exact in 32 bits, then acc = fma(Σ, d_w·d_x, acc) and acc = fma(min, d_x·Σq, acc).

namespace solvent { namespace {

template <int bytes>
inline void fetch_ahead(const uint8_t* p, std::ptrdiff_t ahead) {
    for (int line = 0; line < bytes; line += 64) __builtin_prefetch(p + ahead + line, 0, 2);
}

// Where a token's activations begin.
inline Activations token_of(const Activations& x, int token) {
    const size_t t = static_cast<size_t>(token);
    Activations one = x;
    one.q = x.q + t * x.q_stride;
    one.d = x.d + t * x.d_stride;
    one.d_sum = x.d_sum ? x.d_sum + t * x.d_stride : nullptr;
    one.sum = x.sum + t * x.d_stride;
    one.sum_half = x.sum_half ? x.sum_half + 2 * t * x.d_stride : nullptr;
    one.outlier_at = x.outlier_at ? x.outlier_at + t * kOutliers : nullptr;
    one.outlier = x.outlier ? x.outlier + t * kOutliers : nullptr;
    return one;
}

// One panel by T tokens from `token` on. fetch: the codes come from memory, not from a tile before.
template <Format format, int T>
inline void gemv_panel(const MatrixView& w, int panel, const Activations& x, int token, bool fetch, std::ptrdiff_t ahead, float* y, size_t y_stride) {
    using P = Panel<format>;
    constexpr int per_half = 8 / P::halves, sums = T == 1 ? 2 : 1;  // one token alone would wait for its own sum
    const PanelParts<format> parts(w, panel);
    const uint8_t* codes = parts.codes;
    F above = f_set1(0.0f), above_minimum = above;
    Activations own[T];
    F acc[T];
    for (int t = 0; t < T; ++t) {
        own[t] = token_of(x, token + t);
        acc[t] = outliers_dot(own[t].outlier_at, own[t].outlier, parts);
    }
    for (int b = 0; b < w.n_blocks; ++b, codes += P::block_bytes) {
        if (fetch) fetch_ahead<P::all_bytes>(parts.codes + static_cast<size_t>(b) * P::all_bytes, ahead);
        if constexpr (P::fine)
            if (b % kFineBlocks == 0) {
                above = parts.scale_above(b);
                if constexpr (P::has_min) above_minimum = parts.minimum_above(b);
            }
        for (int half = 0; half < P::halves; ++half) {
            I total[T][sums];
            for (int t = 0; t < T; ++t) {
                const int32_t taken = P::halves == 2 ? own[t].sum_half[2 * b + half] : own[t].sum[b];
                for (int s = 0; s < sums; ++s) total[t][s] = s ? i_zero() : i_set1(-P::offset * taken);
            }
#pragma GCC unroll 8
            for (int j = 0; j < per_half; ++j) {
                const int at = half * per_half + j;
                const B four = quad<P::bits>(codes, at);
#pragma GCC unroll 8
                for (int t = 0; t < T; ++t)
                    total[t][j % sums] = dot<P::bits>(total[t][j % sums], four, own[t].q + b * kBlock + 4 * at);
            }
            const F scale = parts.scale(b, half, above);
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                const I sum = sums == 2 ? i_add(total[t][0], total[t][sums - 1]) : total[t][0];
                acc[t] = f_fma(f_from_i(sum), f_mul(scale, f_set1(own[t].d[b])), acc[t]);
            }
        }
        if constexpr (P::has_min) {
            const F minimum = parts.minimum(b, above_minimum);
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) acc[t] = f_fma(minimum, f_set1(own[t].d_sum[b]), acc[t]);
        }
    }
    for (int t = 0; t < T; ++t) f_store(y + t * y_stride + static_cast<size_t>(panel) * kRows, acc[t]);
}

// One scale for all: the whole row is one integer sum. 2 or 3 bits.
template <int bits, int T>
inline void gemv_sum_panel(const MatrixView& w, int panel, const Activations& x, int token, bool fetch, std::ptrdiff_t ahead, float* y, size_t y_stride) {
    constexpr int sums = T == 1 ? 4 : 2, block_bytes = 64 * bits, offset = bits == 3 ? 3 : 1;
    const uint8_t* codes = w.data + static_cast<size_t>(panel) * w.panel_bytes;
    Activations own[T];
    I acc[T][sums];
    for (int t = 0; t < T; ++t) {
        own[t] = token_of(x, token + t);
        for (int s = 0; s < sums; ++s) acc[t][s] = s ? i_zero() : i_set1(-offset * own[t].sum[0]);
    }
    for (int b = 0; b < w.n_blocks; ++b, codes += block_bytes) {
        if (fetch) fetch_ahead<block_bytes>(codes, ahead);
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) {
            const B four = quad<bits>(codes, j);
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) acc[t][j % sums] = dot_u7(acc[t][j % sums], four, own[t].q + kBlock * b + 4 * j);
        }
    }
    for (int t = 0; t < T; ++t) {
        I total = acc[t][0];
        for (int s = 1; s < sums; ++s) total = i_add(total, acc[t][s]);
        f_store(y + t * y_stride + static_cast<size_t>(panel) * kRows, f_mul(f_from_i(total), f_set1(w.scale * own[t].d[0])));
    }
}

// The same from five codes to a byte, 20 columns in 64 bytes. One token sums each code where it stands in its byte: 4, 16,
// 64 and 81 times itself, which the sums are divided by at last. Behind the last block's columns nothing is read.
template <int T>
inline void gemv_t5_panel(const MatrixView& w, int panel, const Activations& x, int token, bool fetch, std::ptrdiff_t ahead, float* y, size_t y_stride) {
    constexpr bool in_place = T == 1;
    constexpr int sums = in_place ? kFive : 2;
    const uint8_t* codes = w.data + static_cast<size_t>(panel) * w.panel_bytes;
    Activations own[T];
    I acc[T][sums];
    for (int t = 0; t < T; ++t) {
        own[t] = token_of(x, token + t);
        for (int s = 0; s < sums; ++s) acc[t][s] = s ? i_zero() : i_set1(-own[t].sum[0]);
    }
    const auto add = [&](int unit, int n_quads) {
        if (fetch) fetch_ahead<64>(codes, ahead);
        const Fives five(codes);
        codes += 64;
#pragma GCC unroll 5
        for (int j = 0; j < kFive; ++j) {
            if (j >= n_quads) break;
            const B four = in_place ? five.in_place(j) : five.quad(j);
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                I& sum = acc[t][j % sums];
                const int8_t* q = own[t].q + 4 * (kFive * unit + j);
                sum = in_place ? dot_u8(sum, four, q) : dot_u7(sum, four, q);
            }
        }
    };
    const int n_quads = kBlock / 4 * w.n_blocks, n_whole = n_quads / kFive;
    for (int u = 0; u < n_whole; ++u) add(u, kFive);
    if (n_quads % kFive) add(n_whole, n_quads % kFive);
    for (int t = 0; t < T; ++t) {
        I total;
        if constexpr (in_place) total = sum_of_places(acc[t]);
        else total = i_add(acc[t][0], acc[t][1]);
        f_store(y + t * y_stride + static_cast<size_t>(panel) * kRows, f_mul(f_from_i(total), f_set1(w.scale * own[t].d[0])));
    }
}

// Ternary with a scale per group: activations are int8 per block, so the sum turns to floats at every block.
template <int T>
inline void gemv_t2g_panel(const MatrixView& w, int panel, const Activations& x, int token, bool fetch, std::ptrdiff_t ahead, float* y, size_t y_stride) {
    const GroupParts parts(w, panel);
    const uint8_t* codes = parts.codes;
    Activations own[T];
    F acc[T];
    for (int t = 0; t < T; ++t) {
        own[t] = token_of(x, token + t);
        acc[t] = outliers_dot(own[t].outlier_at, own[t].outlier, parts);
    }
    for (int b = 0; b < w.n_blocks; ++b, codes += 128) {
        if (fetch) fetch_ahead<128>(codes, ahead);
        I total[T];
        for (int t = 0; t < T; ++t) total[t] = i_set1(-own[t].sum[b]);
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) {
            const B four = quad<2>(codes, j);
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) total[t] = dot_u7(total[t], four, own[t].q + b * kBlock + 4 * j);
        }
        const F scale = parts.scale(b);
        for (int t = 0; t < T; ++t) acc[t] = f_fma(f_from_i(total[t]), f_mul(scale, f_set1(own[t].d[b])), acc[t]);
    }
    for (int t = 0; t < T; ++t) f_store(y + t * y_stride + static_cast<size_t>(panel) * kRows, acc[t]);
}

template <Format format, int T>
inline void any_panel(const MatrixView& w, int panel, const Activations& x, int token, bool fetch, std::ptrdiff_t ahead, float* y, size_t y_stride) {
    if constexpr (format == Format::t2 || format == Format::u3) gemv_sum_panel<format == Format::t2 ? 2 : 3, T>(w, panel, x, token, fetch, ahead, y, y_stride);
    else if constexpr (format == Format::t5) gemv_t5_panel<T>(w, panel, x, token, fetch, ahead, y, y_stride);
    else if constexpr (format == Format::t2g) gemv_t2g_panel<T>(w, panel, x, token, fetch, ahead, y, y_stride);
    else gemv_panel<format, T>(w, panel, x, token, fetch, ahead, y, y_stride);
}

// A few tokens: each panel comes from memory once, in tiles of four tokens, the codes straight into registers.
template <Format format>
inline void gemv_tokens(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y, size_t y_stride, std::ptrdiff_t ahead) {
    for (int panel = begin; panel < end; ++panel) {
        int t = 0;
        if constexpr (kTileTokens >= 8)
            for (; t + 8 <= n_tokens; t += 8) any_panel<format, 8>(w, panel, x, t, t == 0, ahead, y + t * y_stride, y_stride);
        for (; t + 4 <= n_tokens; t += 4) any_panel<format, 4>(w, panel, x, t, t == 0, ahead, y + t * y_stride, y_stride);
        for (; t + 2 <= n_tokens; t += 2) any_panel<format, 2>(w, panel, x, t, t == 0, ahead, y + t * y_stride, y_stride);
        if (t < n_tokens) any_panel<format, 1>(w, panel, x, t, t == 0, ahead, y + t * y_stride, y_stride);
    }
}

inline void gemv_few(const MatrixView& w, int begin, int end, const Activations& x, int n, float* y, size_t y_stride, std::ptrdiff_t ahead = kAhead) {
    switch (w.format) {
        case Format::q4_0: return gemv_tokens<Format::q4_0>(w, begin, end, x, n, y, y_stride, ahead);
        case Format::q4_1: return gemv_tokens<Format::q4_1>(w, begin, end, x, n, y, y_stride, ahead);
        case Format::q8_0: return gemv_tokens<Format::q8_0>(w, begin, end, x, n, y, y_stride, ahead);
        case Format::q4_k: return gemv_tokens<Format::q4_k>(w, begin, end, x, n, y, y_stride, ahead);
        case Format::q5_k: return gemv_tokens<Format::q5_k>(w, begin, end, x, n, y, y_stride, ahead);
        case Format::q6_k: return gemv_tokens<Format::q6_k>(w, begin, end, x, n, y, y_stride, ahead);
        case Format::t2: return gemv_tokens<Format::t2>(w, begin, end, x, n, y, y_stride, ahead);
        case Format::t5: return gemv_tokens<Format::t5>(w, begin, end, x, n, y, y_stride, ahead);
        case Format::u3: return gemv_tokens<Format::u3>(w, begin, end, x, n, y, y_stride, ahead);
        case Format::t2g: return gemv_tokens<Format::t2g>(w, begin, end, x, n, y, y_stride, ahead);
        case Format::f16: return rows_dot<Format::f16>(w, begin, end, x, n, y, y_stride);
        case Format::bf16: return rows_dot<Format::bf16>(w, begin, end, x, n, y, y_stride);
        case Format::f32: return rows_dot<Format::f32>(w, begin, end, x, n, y, y_stride);
    }
}

void gemv(const MatrixView& w, int begin, int end, const Activations& x, float* y, std::ptrdiff_t ahead) { gemv_few(w, begin, end, x, 1, y, 0, ahead); }

}}  // namespace solvent::(anonymous)
