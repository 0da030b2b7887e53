// One token: y = W·x for whole panels of 16 rows, codes straight from memory.
// First the outliers; then per block: Σ code·q exact in 32 bits, then acc = fma(Σ, d_w·d_x, acc) and acc = fma(min, d_x·Σq, acc).

namespace solvent { namespace {

// How far ahead codes are fetched into the second-level cache. The CPU's own prefetcher starts anew with every matrix
// and stops at pages: SmolLM2's layers ran at 15 GB/s without, 25 at 2 KiB, 26 at 4 KiB, 32 at 8 to 16 KiB, of 34.
constexpr int kAhead = 12'288;

template <int bytes>
inline void fetch_ahead(const uint8_t* p) {
    for (int line = 0; line < bytes; line += 64) __builtin_prefetch(p + kAhead + line, 0, 2);
}

template <Format format>
inline void gemv_blocks(const MatrixView& w, int begin, int end, const Activations& x, float* y) {
    using P = Panel<format>;
    constexpr int per_half = 8 / P::halves;
    constexpr int bytes = P::block_bytes + (P::halves + P::has_min) * P::scale_bytes;
    for (int panel = begin; panel < end; ++panel) {
        const PanelParts<format> parts(w, panel);
        const uint8_t *codes = parts.codes, *scales = parts.scales, *minima = parts.minima;
        F acc = outliers_dot(x.outlier_at, x.outlier, parts);
        for (int b = 0; b < w.n_blocks; ++b, codes += P::block_bytes) {
            fetch_ahead<bytes>(parts.codes + static_cast<size_t>(b) * bytes);
            const int8_t* q = x.q + static_cast<size_t>(b) * kBlock;
            const F d = f_set1(x.d[b]);
            for (int half = 0; half < P::halves; ++half, scales += P::scale_bytes) {
                int32_t taken = 0;
                if constexpr (P::halves == 2) {
                    for (int i = 0; i < 16; ++i) taken += q[16 * half + i];
                } else {
                    taken = x.sum[b];
                }
                I even = i_set1(-P::offset * taken), odd = i_zero();
#pragma GCC unroll 8
                for (int j = 0; j < per_half; j += 2) {
                    const int at = half * per_half + j;
                    even = dot<P::bits>(even, quad<P::bits>(codes, at), q + 4 * at);
                    odd = dot<P::bits>(odd, quad<P::bits>(codes, at + 1), q + 4 * at + 4);
                }
                acc = f_fma(f_from_i(i_add(even, odd)), f_mul(P::scale(scales), d), acc);
            }
            if constexpr (P::has_min) {
                acc = f_fma(P::scale(minima), f_set1(x.d_sum[b]), acc);
                minima += P::scale_bytes;
            }
        }
        f_store(y + static_cast<size_t>(panel) * kRows, acc);
    }
}

// Ternary with one scale: the whole row is one integer sum.
inline void gemv_t2(const MatrixView& w, int begin, int end, const Activations& x, float* y) {
    const F scale = f_set1(w.scale * x.d[0]);
    for (int panel = begin; panel < end; ++panel) {
        const uint8_t* codes = w.data + static_cast<size_t>(panel) * w.panel_bytes;
        I acc[4] = {i_set1(-x.sum[0]), i_zero(), i_zero(), i_zero()};
        const int8_t* q = x.q;
        for (int u = 0; u < 2 * w.n_blocks; ++u, codes += 64, q += 16) {
            fetch_ahead<64>(codes);
            const B packed = b_load(codes);
            acc[0] = dot_u7(acc[0], b_and(packed, 3), q);
            acc[1] = dot_u7(acc[1], b_and(b_shift<2>(packed), 3), q + 4);
            acc[2] = dot_u7(acc[2], b_and(b_shift<4>(packed), 3), q + 8);
            acc[3] = dot_u7(acc[3], b_and(b_shift<6>(packed), 3), q + 12);
        }
        const I total = i_add(i_add(acc[0], acc[1]), i_add(acc[2], acc[3]));
        f_store(y + static_cast<size_t>(panel) * kRows, f_mul(f_from_i(total), scale));
    }
}

// Ternary with a scale per group: activations are int8 per block, so the sum turns to floats at every block.
inline void gemv_t2g(const MatrixView& w, int begin, int end, const Activations& x, float* y) {
    for (int panel = begin; panel < end; ++panel) {
        const GroupParts parts(w, panel);
        const uint8_t* codes = parts.codes;
        F acc = outliers_dot(x.outlier_at, x.outlier, parts);
        for (int b = 0; b < w.n_blocks; ++b, codes += 128) {
            fetch_ahead<128>(codes);
            const int8_t* q = x.q + static_cast<size_t>(b) * kBlock;
            I even = i_set1(-x.sum[b]), odd = i_zero();
#pragma GCC unroll 8
            for (int j = 0; j < 8; j += 2) {
                even = dot_u7(even, quad<2>(codes, j), q + 4 * j);
                odd = dot_u7(odd, quad<2>(codes, j + 1), q + 4 * j + 4);
            }
            acc = f_fma(f_from_i(i_add(even, odd)), f_mul(parts.scale(b), f_set1(x.d[b])), acc);
        }
        f_store(y + static_cast<size_t>(panel) * kRows, acc);
    }
}

void gemv(const MatrixView& w, int begin, int end, const Activations& x, float* y) {
    switch (w.format) {
        case Format::q4_0: return gemv_blocks<Format::q4_0>(w, begin, end, x, y);
        case Format::q4_1: return gemv_blocks<Format::q4_1>(w, begin, end, x, y);
        case Format::q8_0: return gemv_blocks<Format::q8_0>(w, begin, end, x, y);
        case Format::q4_k: return gemv_blocks<Format::q4_k>(w, begin, end, x, y);
        case Format::q5_k: return gemv_blocks<Format::q5_k>(w, begin, end, x, y);
        case Format::q6_k: return gemv_blocks<Format::q6_k>(w, begin, end, x, y);
        case Format::t2: return gemv_t2(w, begin, end, x, y);
        case Format::t2g: return gemv_t2g(w, begin, end, x, y);
        case Format::f16: return rows_dot<Format::f16>(w, begin, end, x, 1, y, 0);
        case Format::bf16: return rows_dot<Format::bf16>(w, begin, end, x, 1, y, 0);
        case Format::f32: return rows_dot<Format::f32>(w, begin, end, x, 1, y, 0);
    }
}

}}  // namespace solvent::(anonymous)
