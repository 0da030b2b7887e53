// Many tokens on tiles: 16 tokens by 16 rows a product, activations straight from q, a panel's weights unpacked to
// signed bytes (code − offset), which lie as a tile wants them: quad k holds columns 4k … 4k+3 of 16 rows. Integer
// sums are exact and floats are added as gemm adds them, so results are equal bit for bit.
//
// Why it pays, counted for 16 tokens by 16 rows on Golden Cove (a TDPBSSD every 16 cycles whatever its depth, two
// 512-bit ports; measured ceilings of one core: 5.3 TOP/s in tiles, 0.66 with VNNI, 8 to 1):
//   t2, 64 columns: 256 VPDPBUSD = 128 cycles; one TDPBSSD = 16, its loads (16 + 16/4 rows, two a cycle) beside it.
//   Blocks of 32: VNNI 8 products, 1 start, 3 of scaling a token = 12 · 16 / 2 = 96 cycles. Tiles use half their
//   depth: 16 for the product, 16 for the store of sums, 3 · 16 / 2 = 24 for scaling, on different ports: 24 to 56.
//   q6_k, scales per 16: a quarter of the depth, yet VNNI also scales twice, and sums q by halves: 2 · 24 to 2 · 56
//   against 2 · (4 + 1 + 3) · 16 / 2 = 128.
// Not here: float matrices, which stay with gemm. Enter at tiled_gemm().

namespace solvent { namespace {

// Tiles: 0–3 sums and 4 activations of 16 tokens, 5 weights, 6 sums and 7 activations of the tokens left over.
constexpr int kTokenTile = 16, kTileBytes = 64;
constexpr int kSums = 0, kTokens = 4, kWeights = 5, kSumsLeft = 6, kTokensLeft = 7;

struct TiledShapes {
    TileShape of[8];
    // depth: columns of one product
    TiledShapes(int n_tokens, int depth) {
        const int left = n_tokens % kTokenTile;
        for (int i = 0; i < 4; ++i) of[kSums + i] = {kTokenTile, kTileBytes};
        of[kTokens] = {kTokenTile, depth};
        of[kWeights] = {depth / 4, kTileBytes};
        of[kSumsLeft] = {left, left ? kTileBytes : 0};
        of[kTokensLeft] = {left, left ? depth : 0};
    }
};

// Blocks of 8 quads of codes as signed weights.
template <int bits, int offset>
inline void unpack_signed(const uint8_t* codes, int n_blocks, uint8_t* out) {
    for (int b = 0; b < n_blocks; ++b, codes += 64 * bits, out += 512) {
        for (int j = 0; j < 8; ++j) b_store(out + 64 * j, quad<bits>(codes, j));
        if constexpr (offset != 0)
            for (int i = 0; i < 512; ++i) out[i] = static_cast<uint8_t>(out[i] - offset);
    }
}

// N times 16 tokens, or those left over, by a chunk of a panel: sums (tokens, 16) grow by n_steps products.
template <int N, int sums_tile, int tokens_tile>
inline void t2_tiles(Tiles& tiles, const uint8_t* weights, int n_steps, int depth, const int8_t* q, size_t q_stride, int32_t* sums) {
    const auto each = [&](auto one) {
        one(Count<0>{});
        if constexpr (N > 1) one(Count<1>{});
        if constexpr (N > 2) one(Count<2>{});
        if constexpr (N > 3) one(Count<3>{});
    };
    each([&](auto i) { tiles.load<sums_tile + i.value>(sums + i.value * kTokenTile * kRows, kTileBytes); });
    for (int s = 0; s < n_steps; ++s, weights += depth * kRows, q += depth) {
        tiles.load<kWeights>(weights, kTileBytes);
        each([&](auto i) {
            tiles.load<tokens_tile>(q + i.value * kTokenTile * q_stride, q_stride);
            tiles.dot<sums_tile + i.value, tokens_tile, kWeights>();
        });
    }
    each([&](auto i) { tiles.store<sums_tile + i.value>(sums + i.value * kTokenTile * kRows, kTileBytes); });
}

inline void tiled_t2(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y,
                     size_t y_stride, uint8_t* scratch) {
    const Unpacked u = unpacked_in(scratch, 0, n_tokens, w.n_cols);
    int32_t* sums = u.sums;
    const int chunk = static_cast<int>(kGemmCols) / kBlock;
    const int depth = w.n_blocks % 2 ? kBlock : 2 * kBlock;
    const int whole = n_tokens / kTokenTile * kTokenTile;
    Tiles tiles(TiledShapes(n_tokens, depth).of);
    for (int panel = begin; panel < end; ++panel) {
        for (int t = 0; t < n_tokens; ++t) i_store(sums + kRows * t, i_zero());
        for (int first = 0; first < w.n_blocks; first += chunk) {
            const int n = min_int(chunk, w.n_blocks - first), steps = n * kBlock / depth;
            unpack_signed<2, 1>(w.data + static_cast<size_t>(panel) * w.panel_bytes + static_cast<size_t>(first) * 128, n, u.codes);
            const int8_t* q = x.q + static_cast<size_t>(first) * kBlock;
            const auto at = [&](int t) { return q + static_cast<size_t>(t) * x.q_stride; };
            int t = 0;
            for (; t + 64 <= whole; t += 64)
                t2_tiles<4, kSums, kTokens>(tiles, u.codes, steps, depth, at(t), x.q_stride, sums + kRows * t);
            for (; t + 32 <= whole; t += 32)
                t2_tiles<2, kSums, kTokens>(tiles, u.codes, steps, depth, at(t), x.q_stride, sums + kRows * t);
            for (; t < whole; t += 16)
                t2_tiles<1, kSums, kTokens>(tiles, u.codes, steps, depth, at(t), x.q_stride, sums + kRows * t);
            if (t < n_tokens)
                t2_tiles<1, kSumsLeft, kTokensLeft>(tiles, u.codes, steps, depth, at(t), x.q_stride, sums + kRows * t);
        }
        for (int t = 0; t < n_tokens; ++t)
            f_store(y + t * y_stride + panel * kRows,
                    f_mul(f_from_i(i_load(sums + kRows * t)), f_set1(w.scale * x.d[t * x.d_stride])));
    }
}

// y = Σ weight · outlier for every token.
template <typename Parts>
inline void start_sums(const Parts& parts, const OutlierColumns& c, const Activations& x, int n_tokens, const Unpacked& u, float* y,
                       size_t y_stride) {
    unpack_columns(parts, c, u);
    const auto column = [&](int place) { return f_load(u.columns + static_cast<size_t>(place) * kRows); };
    for (int t = 0; t < n_tokens; ++t)
        f_store(y + t * y_stride, outliers_dot(c.place + t * kOutliers, x.outlier + t * kOutliers, column));
}

// 16 tokens from `token` on, or the n_left left over, by a chunk of a panel whose first block is `first`.
template <int halves, bool has_min, bool whole>
inline void block_tiles(Tiles& tiles, const Unpacked& w, int n_blocks, const Activations& x, int token, int n_left,
                        int first, float* y, size_t y_stride) {
    constexpr int depth = kBlock / halves, sums_tile = whole ? kSums : kSumsLeft, tokens_tile = whole ? kTokens : kTokensLeft;
    const int n = whole ? kTokenTile : n_left;
    const int8_t* q = x.q + static_cast<size_t>(token) * x.q_stride + static_cast<size_t>(first) * kBlock;
    const float* d = x.d + static_cast<size_t>(token) * x.d_stride + first;
    const float* d_sum = x.d_sum + static_cast<size_t>(token) * x.d_stride + first;
    alignas(64) int32_t totals[2][kTokenTile * kRows];
    F acc[kTokenTile];
#pragma GCC unroll 16
    for (int t = 0; t < n; ++t) acc[t] = f_load(y + t * y_stride);
    for (int b = 0; b < n_blocks; ++b) {
        for (int half = 0; half < halves; ++half) {
            int32_t* total = totals[(b * halves + half) % 2];
            tiles.zero<sums_tile>();
            tiles.load<tokens_tile>(q + b * kBlock + half * depth, x.q_stride);
            tiles.load<kWeights>(w.codes + (static_cast<size_t>(b) * kBlock + half * depth) * kRows, kTileBytes);
            tiles.dot<sums_tile, tokens_tile, kWeights>();
            tiles.store<sums_tile>(total, kTileBytes);
            const F scale = f_load(w.scales + (b * halves + half) * kRows);
#pragma GCC unroll 16
            for (int t = 0; t < n; ++t)
                acc[t] = f_fma(f_from_i(i_load(total + kRows * t)), f_mul(scale, f_set1(d[t * x.d_stride + b])), acc[t]);
        }
        if constexpr (has_min) {
            const F minimum = f_load(w.minima + b * kRows);
#pragma GCC unroll 16
            for (int t = 0; t < n; ++t) acc[t] = f_fma(minimum, f_set1(d_sum[t * x.d_stride + b]), acc[t]);
        }
    }
#pragma GCC unroll 16
    for (int t = 0; t < n; ++t) f_store(y + t * y_stride, acc[t]);
}

template <int halves, bool has_min>
inline void block_token_tiles(Tiles& tiles, const Unpacked& w, int n_blocks, const Activations& x, int n_tokens,
                              int first, float* y, size_t y_stride) {
    int t = 0;
    for (; t + kTokenTile <= n_tokens; t += kTokenTile)
        block_tiles<halves, has_min, true>(tiles, w, n_blocks, x, t, 0, first, y + t * y_stride, y_stride);
    if (t < n_tokens)
        block_tiles<halves, has_min, false>(tiles, w, n_blocks, x, t, n_tokens - t, first, y + t * y_stride, y_stride);
}

template <Format format>
inline void tiled_blocks(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y,
                         size_t y_stride, uint8_t* scratch) {
    using P = Panel<format>;
    const Unpacked u = unpacked_in(scratch, 0, n_tokens, w.n_cols);
    const OutlierColumns c = list_columns(x, n_tokens, w.n_cols, numbers_in(scratch, n_tokens, w.n_cols));
    const int chunk = static_cast<int>(kGemmCols) / kBlock;
    Tiles tiles(TiledShapes(n_tokens, kBlock / P::halves).of);
    for (int panel = begin; panel < end; ++panel) {
        const PanelParts<format> parts(w, panel);
        start_sums(parts, c, x, n_tokens, u, y + panel * kRows, y_stride);
        for (int first = 0; first < w.n_blocks; first += chunk) {
            const int n = min_int(chunk, w.n_blocks - first);
            unpack_signed<P::bits, P::offset>(parts.codes + static_cast<size_t>(first) * P::block_bytes, n, u.codes);
            unpack_scales(parts, first, n, u);
            block_token_tiles<P::halves, P::has_min>(tiles, u, n, x, n_tokens, first, y + panel * kRows, y_stride);
        }
    }
}

inline void tiled_t2g(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y,
                      size_t y_stride, uint8_t* scratch) {
    const Unpacked u = unpacked_in(scratch, 0, n_tokens, w.n_cols);
    const OutlierColumns c = list_columns(x, n_tokens, w.n_cols, numbers_in(scratch, n_tokens, w.n_cols));
    const int chunk = static_cast<int>(kGemmCols) / kBlock;
    Tiles tiles(TiledShapes(n_tokens, kBlock).of);
    for (int panel = begin; panel < end; ++panel) {
        const GroupParts parts(w, panel);
        start_sums(parts, c, x, n_tokens, u, y + panel * kRows, y_stride);
        for (int first = 0; first < w.n_blocks; first += chunk) {
            const int n = min_int(chunk, w.n_blocks - first);
            unpack_signed<2, 1>(parts.codes + static_cast<size_t>(first) * 128, n, u.codes);
            for (int b = 0; b < n; ++b) f_store(u.scales + b * kRows, parts.scale(first + b));
            block_token_tiles<1, false>(tiles, u, n, x, n_tokens, first, y + panel * kRows, y_stride);
        }
    }
}

void tiled_gemm(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y, size_t y_stride,
                uint8_t* scratch) {
    switch (w.format) {
        case Format::q4_0: return tiled_blocks<Format::q4_0>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q4_1: return tiled_blocks<Format::q4_1>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q8_0: return tiled_blocks<Format::q8_0>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q4_k: return tiled_blocks<Format::q4_k>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q5_k: return tiled_blocks<Format::q5_k>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q6_k: return tiled_blocks<Format::q6_k>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::t2: return tiled_t2(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::t2g: return tiled_t2g(w, begin, end, x, n_tokens, y, y_stride, scratch);
        default: return gemm(w, begin, end, x, n_tokens, y, y_stride, scratch);
    }
}

}}  // namespace solvent::(anonymous)
