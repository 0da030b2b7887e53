// Many tokens: a panel's codes are unpacked once into cache, then multiplied with tile after tile of tokens.
// The order of every sum is gemv's, so a token's result doesn't depend on how many run together.

namespace solvent { namespace {

// What a chunk of columns of one panel unpacks to, and what else is kept of the panel meanwhile.
struct Unpacked {
    uint8_t* codes;   // [block][8][64]
    float* scales;    // [block][halves][16]
    float* minima;    // [block][16]
    int32_t* sums;    // [token][16]
    float* columns;   // [place in OutlierColumns][16]: whole weights
};

// The columns that outliers of any token are in, each once: a few hundred, which many tokens share.
struct OutlierColumns {
    const int32_t* column;  // n of them
    const int32_t* place;   // [token][kOutliers]: where in that list
    int n;
};

// scratch: n_cols · 2 + n_tokens · kOutliers numbers.
inline OutlierColumns list_columns(const Activations& x, int n_tokens, int n_cols, int32_t* scratch) {
    int32_t *known = scratch, *column = scratch + n_cols, *place = scratch + 2 * n_cols;  // known: 1 + a column's place, or 0
    for (int k = 0; k < n_cols; ++k) known[k] = 0;
    int n = 0;
    for (int i = 0; i < n_tokens * kOutliers; ++i) {
        const int32_t at = x.outlier_at[i];
        if (known[at] == 0) {
            column[n] = at;
            known[at] = ++n;
        }
        place[i] = known[at] - 1;
    }
    return {column, place, n};
}

template <typename Parts>
inline void unpack_columns(const Parts& parts, const OutlierColumns& c, const Unpacked& u) {
    for (int i = 0; i < c.n; ++i) f_store(u.columns + static_cast<size_t>(i) * kRows, parts(c.column[i]));
}

// N panels by T tokens: a quad of activations is read once for N products. The first chunk's sums begin with outliers,
// the others' are in y.
template <int bits, int halves, bool has_min, int offset, int N, int T>
inline void block_tile(const Unpacked* w, int n_blocks, const Activations& x, const OutlierColumns& c, int token, int first, float* y,
                       size_t y_stride) {
    constexpr int per_half = 8 / halves;
    F acc[N][T];
    const int8_t* q[T];
    for (int t = 0; t < T; ++t) {
        for (int p = 0; p < N; ++p) {
            const auto column = [&](int place) { return f_load(w[p].columns + static_cast<size_t>(place) * kRows); };
            const size_t outliers = static_cast<size_t>(token + t) * kOutliers;
            if (first == 0) acc[p][t] = outliers_dot(c.place + outliers, x.outlier + outliers, column);
            else acc[p][t] = f_load(y + t * y_stride + p * kRows);
        }
        q[t] = x.q + (token + t) * x.q_stride + static_cast<size_t>(first) * kBlock;
    }
    const float* d = x.d + token * x.d_stride + first;
    const float* d_sum = x.d_sum + token * x.d_stride + first;
    const int32_t* sum = halves == 2 ? x.sum_half + 2 * (token * x.d_stride + first) : x.sum + token * x.d_stride + first;
    for (int b = 0; b < n_blocks; ++b) {
        for (int half = 0; half < halves; ++half) {
            I total[N][T];
            for (int t = 0; t < T; ++t) {
                int32_t taken = 0;
                if constexpr (offset != 0) taken = sum[halves * (t * x.d_stride + b) + half];
                for (int p = 0; p < N; ++p) total[p][t] = i_set1(-offset * taken);
            }
#pragma GCC unroll 8
            for (int j = half * per_half; j < (half + 1) * per_half; ++j) {
                B packed[N];
#pragma GCC unroll 2
                for (int p = 0; p < N; ++p) packed[p] = b_load(w[p].codes + static_cast<size_t>(b) * 512 + 64 * j);
#pragma GCC unroll 8
                for (int t = 0; t < T; ++t)
#pragma GCC unroll 2
                    for (int p = 0; p < N; ++p) total[p][t] = dot<bits>(total[p][t], packed[p], q[t] + kBlock * b + 4 * j);
            }
#pragma GCC unroll 2
            for (int p = 0; p < N; ++p) {
                const F scale = f_load(w[p].scales + (b * halves + half) * 16);
#pragma GCC unroll 8
                for (int t = 0; t < T; ++t)
                    acc[p][t] = f_fma(f_from_i(total[p][t]), f_mul(scale, f_set1(d[t * x.d_stride + b])), acc[p][t]);
            }
        }
        if constexpr (has_min) {
#pragma GCC unroll 2
            for (int p = 0; p < N; ++p) {
                const F minimum = f_load(w[p].minima + b * 16);
#pragma GCC unroll 8
                for (int t = 0; t < T; ++t) acc[p][t] = f_fma(minimum, f_set1(d_sum[t * x.d_stride + b]), acc[p][t]);
            }
        }
    }
    for (int t = 0; t < T; ++t)
        for (int p = 0; p < N; ++p) f_store(y + t * y_stride + p * kRows, acc[p][t]);
}

template <int bits, int halves, bool has_min, int offset, int N>
inline void block_tokens(const Unpacked* w, int n_blocks, const Activations& x, const OutlierColumns& c, int n_tokens, int first, float* y,
                         size_t y_stride) {
    constexpr int T = kTileTokens / N;
    int t = 0;
    for (; t + T <= n_tokens; t += T)
        block_tile<bits, halves, has_min, offset, N, T>(w, n_blocks, x, c, t, first, y + t * y_stride, y_stride);
    for (; t < n_tokens; ++t)
        block_tile<bits, halves, has_min, offset, N, 1>(w, n_blocks, x, c, t, first, y + t * y_stride, y_stride);
}

// Tokens below which unpacking a panel costs more than it saves.
constexpr int kFewTokens = 24;

// Panel 0's or 1's share of scratch.
inline Unpacked unpacked_in(uint8_t* scratch, int panel, int n_tokens, int n_cols) {
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(scratch) + 63) / 64 * 64;
    uint8_t* codes = reinterpret_cast<uint8_t*>(begin + static_cast<size_t>(panel) * gemm_panel_bytes(n_tokens, n_cols));
    float* scales = reinterpret_cast<float*>(codes + kGemmCols * kRows);
    float* minima = scales + kGemmCols / 16 * kRows;
    float* sums = minima + kGemmCols / 16 * kRows;
    return {codes, scales, minima, reinterpret_cast<int32_t*>(sums), sums + static_cast<size_t>(n_tokens) * kRows};
}

// What belongs to no panel, behind theirs.
inline int32_t* numbers_in(uint8_t* scratch, int n_tokens, int n_cols) {
    return reinterpret_cast<int32_t*>(unpacked_in(scratch, 2, n_tokens, n_cols).codes);
}

// Scales and minima of blocks [first, first + n) of a panel as floats; first is a multiple of kFineBlocks.
template <Format format>
inline void unpack_scales(const PanelParts<format>& parts, int first, int n, const Unpacked& u) {
    using P = Panel<format>;
    F above = f_set1(0.0f), above_minimum = above;
    for (int b = 0; b < n; ++b) {
        if constexpr (P::fine)
            if (b % kFineBlocks == 0) {
                above = parts.scale_above(first + b);
                if constexpr (P::has_min) above_minimum = parts.minimum_above(first + b);
            }
        for (int half = 0; half < P::halves; ++half)
            f_store(u.scales + (b * P::halves + half) * kRows, parts.scale(first + b, half, above));
        if constexpr (P::has_min) f_store(u.minima + b * kRows, parts.minimum(first + b, above_minimum));
    }
}

// The same, and their codes as bytes. ahead: from this panel to one that is unpacked later, fetched meanwhile.
template <Format format>
inline void unpack_blocks(const PanelParts<format>& parts, int first, int n, size_t ahead, const Unpacked& u) {
    using P = Panel<format>;
    for (int b = 0; b < n; ++b) {
        fetch_ahead<P::all_bytes>(parts.codes + static_cast<size_t>(first + b) * P::all_bytes, static_cast<std::ptrdiff_t>(ahead));
        const uint8_t* codes = parts.codes + static_cast<size_t>(first + b) * P::block_bytes;
        for (int j = 0; j < 8; ++j) b_store(u.codes + 512 * b + 64 * j, quad<P::bits>(codes, j));
    }
    unpack_scales(parts, first, n, u);
}

// N panels from `panel` on.
template <Format format, int N>
inline void gemm_panels(const MatrixView& w, int panel, const Activations& x, const OutlierColumns& c, int n_tokens, float* y, size_t y_stride,
                        uint8_t* scratch) {
    using P = Panel<format>;
    const Unpacked u[2] = {unpacked_in(scratch, 0, n_tokens, w.n_cols), unpacked_in(scratch, 1, n_tokens, w.n_cols)};
    const int chunk = static_cast<int>(kGemmCols) / kBlock;
    for (int first = 0; first < w.n_blocks; first += chunk) {
        const int n = min_int(chunk, w.n_blocks - first);
        for (int p = 0; p < N; ++p) unpack_blocks(PanelParts<format>(w, panel + p), first, n, N * w.panel_bytes, u[p]);
        for (int p = 0; p < N && first == 0; ++p) unpack_columns(PanelParts<format>(w, panel + p), c, u[p]);
        block_tokens<P::bits, P::halves, P::has_min, P::offset, N>(u, n, x, c, n_tokens, first, y + panel * kRows, y_stride);
    }
}

template <Format format>
inline void gemm_blocks(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y,
                        size_t y_stride, uint8_t* scratch) {
    const OutlierColumns c = list_columns(x, n_tokens, w.n_cols, numbers_in(scratch, n_tokens, w.n_cols));
    int panel = begin;
    for (; panel + kTilePanels <= end; panel += kTilePanels)
        gemm_panels<format, kTilePanels>(w, panel, x, c, n_tokens, y, y_stride, scratch);
    for (; panel < end; ++panel) gemm_panels<format, 1>(w, panel, x, c, n_tokens, y, y_stride, scratch);
}

inline void unpack_t2(const uint8_t* codes, int n_blocks, size_t ahead, uint8_t* out) {
    for (int b = 0; b < n_blocks; ++b, codes += 128) {
        fetch_ahead<128>(codes, static_cast<std::ptrdiff_t>(ahead));
        for (int j = 0; j < 8; ++j) b_store(out + 512 * b + 64 * j, quad<2>(codes, j));
    }
}

// The same of five codes to a byte: n_units of 20 columns as quads of `made` bytes.
template <typename Made>
inline void unpack_t5(const uint8_t* codes, int n_units, size_t ahead, uint8_t* out, const Made& made) {
    for (int u = 0; u < n_units; ++u, codes += 64, out += 64 * kFive) {
        fetch_ahead<64>(codes, static_cast<std::ptrdiff_t>(ahead));
        const Fives five(codes);
#pragma GCC unroll 5
        for (int j = 0; j < kFive; ++j) b_store(out + 64 * j, made(five.quad(j)));
    }
}

// Where a chunk of columns of ternary weights of one scale begins and ends.
template <Format format>
struct TernaryChunk {
    // Blocks, of whole units of 20 columns, too; an even number, as two make a tile.
    static constexpr int blocks = format == Format::t5 ? static_cast<int>(kGemmCols) / 160 * 5 : static_cast<int>(kGemmCols) / kBlock;
    static constexpr int cols_of_64_bytes = format == Format::t5 ? 4 * kFive : 16;
    const uint8_t* codes;
    int n;        // blocks
    int n_units;  // of 64 bytes
    TernaryChunk(const MatrixView& w, int panel, int first)
        : codes(w.data + static_cast<size_t>(panel) * w.panel_bytes + static_cast<size_t>(first * kBlock / cols_of_64_bytes) * 64),
          n(min_int(blocks, w.n_blocks - first)),
          n_units((n * kBlock + cols_of_64_bytes - 1) / cols_of_64_bytes) {}
};
static_assert(TernaryChunk<Format::t5>::blocks * kBlock % (4 * kFive) == 0 && TernaryChunk<Format::t5>::blocks % 2 == 0, "chunks are whole units and tiles");

inline void gemm_t2g(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y,
                     size_t y_stride, uint8_t* scratch) {
    const Unpacked u = unpacked_in(scratch, 0, n_tokens, w.n_cols);
    const OutlierColumns c = list_columns(x, n_tokens, w.n_cols, numbers_in(scratch, n_tokens, w.n_cols));
    const int chunk = static_cast<int>(kGemmCols) / kBlock;
    for (int panel = begin; panel < end; ++panel) {
        const GroupParts parts(w, panel);
        unpack_columns(parts, c, u);
        for (int first = 0; first < w.n_blocks; first += chunk) {
            const int n = min_int(chunk, w.n_blocks - first);
            unpack_t2(parts.codes + static_cast<size_t>(first) * 128, n, w.panel_bytes, u.codes);
            for (int b = 0; b < n; ++b) f_store(u.scales + b * 16, parts.scale(first + b));
            block_tokens<2, 1, false, 1, 1>(&u, n, x, c, n_tokens, first, y + panel * kRows, y_stride);
        }
    }
}

// N panels' chunk by T tokens: nothing but integer products in the loop. sums: per panel, 16 a token.
template <int N, int T>
inline void t2_tile(const Unpacked* w, int n_blocks, const Activations& x, int token, int first, int32_t* const* sums) {
    I acc[N * T];
    const int8_t* q[T];
    for (int t = 0; t < T; ++t) {
        for (int p = 0; p < N; ++p) acc[p * T + t] = i_load(sums[p] + 16 * (token + t));
        q[t] = x.q + (token + t) * x.q_stride + static_cast<size_t>(first) * kBlock;
    }
    for (int j = 0; j < 8 * n_blocks; ++j) {
        B codes[N];
#pragma GCC unroll 2
        for (int p = 0; p < N; ++p) codes[p] = b_load(w[p].codes + 64 * static_cast<size_t>(j));
#pragma GCC unroll 16
        for (int t = 0; t < T; ++t)
#pragma GCC unroll 2
            for (int p = 0; p < N; ++p) acc[p * T + t] = dot_u7(acc[p * T + t], codes[p], q[t] + 4 * j);
    }
    for (int t = 0; t < T; ++t)
        for (int p = 0; p < N; ++p) i_store(sums[p] + 16 * (token + t), acc[p * T + t]);
}

template <Format format, int N>
inline void t2_panels(const MatrixView& w, int panel, const Activations& x, int n_tokens, float* y, size_t y_stride,
                      uint8_t* scratch) {
    const Unpacked u[2] = {unpacked_in(scratch, 0, n_tokens, w.n_cols), unpacked_in(scratch, 1, n_tokens, w.n_cols)};
    int32_t* const sums[2] = {u[0].sums, u[1].sums};
    for (int p = 0; p < N; ++p)
        for (int t = 0; t < n_tokens; ++t) i_store(sums[p] + 16 * t, i_set1(-x.sum[t * x.d_stride]));
    for (int first = 0; first < w.n_blocks; first += TernaryChunk<format>::blocks) {
        int n = 0;
        for (int p = 0; p < N; ++p) {
            const TernaryChunk<format> chunk(w, panel + p, first);
            n = chunk.n;
            if constexpr (format == Format::t5) unpack_t5(chunk.codes, chunk.n_units, N * w.panel_bytes, u[p].codes, [](B quad) { return quad; });
            else unpack_t2(chunk.codes, n, N * w.panel_bytes, u[p].codes);
        }
        int t = 0;
        for (; t + kTileTokens <= n_tokens; t += kTileTokens) t2_tile<N, kTileTokens>(u, n, x, t, first, sums);
        for (; t < n_tokens; ++t) t2_tile<N, 1>(u, n, x, t, first, sums);
    }
    for (int p = 0; p < N; ++p)
        for (int t = 0; t < n_tokens; ++t)
            f_store(y + t * y_stride + (panel + p) * kRows,
                    f_mul(f_from_i(i_load(sums[p] + 16 * t)), f_set1(w.scale * x.d[t * x.d_stride])));
}

template <Format format>
inline void gemm_t2(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y,
                    size_t y_stride, uint8_t* scratch) {
    int panel = begin;
    for (; panel + kTilePanels <= end; panel += kTilePanels) t2_panels<format, kTilePanels>(w, panel, x, n_tokens, y, y_stride, scratch);
    for (; panel < end; ++panel) t2_panels<format, 1>(w, panel, x, n_tokens, y, y_stride, scratch);
}

void gemm(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y, size_t y_stride,
          uint8_t* scratch) {
    if (n_tokens < kFewTokens) return gemv_few(w, begin, end, x, n_tokens, y, y_stride);
    switch (w.format) {
        case Format::q4_0: return gemm_blocks<Format::q4_0>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q4_1: return gemm_blocks<Format::q4_1>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q8_0: return gemm_blocks<Format::q8_0>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q4_k: return gemm_blocks<Format::q4_k>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q5_k: return gemm_blocks<Format::q5_k>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q6_k: return gemm_blocks<Format::q6_k>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::t2: return gemm_t2<Format::t2>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::t5: return gemm_t2<Format::t5>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::u3: return gemv_few(w, begin, end, x, n_tokens, y, y_stride);  // one token's, in practice
        case Format::t2g: return gemm_t2g(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::f16: return rows_dot<Format::f16>(w, begin, end, x, n_tokens, y, y_stride);
        case Format::bf16: return rows_dot<Format::bf16>(w, begin, end, x, n_tokens, y, y_stride);
        case Format::f32: return rows_dot<Format::f32>(w, begin, end, x, n_tokens, y, y_stride);
    }
}

}}  // namespace solvent::(anonymous)
