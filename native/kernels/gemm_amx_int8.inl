// Many tokens on tiles: 16 tokens by 16 rows a product, activations straight from q, a panel's weights unpacked to
// signed bytes (code − offset), which lie as a tile wants them: quad k holds columns 4k … 4k+3 of 16 rows. Integer
// sums are exact and floats are added as gemm adds them, so results are equal bit for bit. Tokens left over are the last
// rows of a tile that begins 16 tokens before the end; what it repeats is thrown away.
//
// Why it pays, counted for 16 tokens by 16 rows on Golden Cove (a TDPBSSD every 16 cycles whatever its depth, its result
// after 52; two 512-bit ports, two loads and one store of 512 bits a cycle; a tile is loaded or stored row by row):
//   t2, 64 columns: 256 VPDPBUSD = 128 cycles; one TDPBSSD = 16. Two panels by two tiles of tokens hide its 52, and load
//   four tiles for four products: 32 cycles of 64.
//   Blocks of 32: VNNI 8 products, 1 start, 3 of scaling a token = 12 · 16 / 2 = 96 cycles. Tiles use half their
//   depth: 16 for the product, 3 · 16 / 2 = 24 for scaling, (16 + 8 + 16 + 16) / 2 = 28 for loads, the limit.
//   q6_k, scales per 16: a quarter of the depth, yet VNNI also scales twice, and sums q by halves: 2 · 26 against
//   2 · (4 + 1 + 3) · 16 / 2 = 128.
// Not here: float matrices and few tokens, which stay with gemm. Enter at tiled_gemm().

namespace solvent { namespace {

// Tiles: 0–3 sums of 16 tokens by 16 rows, 4 and 5 activations of 16 tokens, 6 and 7 weights.
constexpr int kTokenTile = 16, kTileBytes = 64, kTileSums = kTokenTile * kRows;
constexpr int kSums = 0, kTokens = 4, kWeights = 6;
static_assert(kFewTokens >= kTokenTile, "the last tile begins 16 tokens before the end");

struct TiledShapes {
    TileShape of[8];
    // depth: columns of one product
    explicit TiledShapes(int depth) {
        for (int i = 0; i < 4; ++i) of[kSums + i] = {kTokenTile, kTileBytes};
        for (int i = 0; i < 2; ++i) {
            of[kTokens + i] = {kTokenTile, depth};
            of[kWeights + i] = {depth / 4, kTileBytes};
        }
    }
};

template <int N, typename One>
inline void each_of(const One& one) {
    one(Count<0>{});
    if constexpr (N > 1) one(Count<1>{});
}

// Blocks of 8 quads of codes as signed weights. fetched: their share of a panel's bytes, a block's at a time, which are
// fetched `ahead` of it meanwhile.
template <int bits, int offset, int block_bytes>
inline void unpack_signed(const uint8_t* codes, int n_blocks, const uint8_t* fetched, size_t ahead, uint8_t* out) {
    for (int b = 0; b < n_blocks; ++b, codes += 64 * bits, fetched += block_bytes, out += 512) {
        fetch_ahead<block_bytes>(fetched, static_cast<std::ptrdiff_t>(ahead));
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) b_store(out + 64 * j, b_minus<offset>(quad<bits>(codes, j)));
    }
}

// Where a product of tokens comes from and goes to: n_steps products of `depth` columns add to sums (16 tokens, 16 rows).
struct TokenTile {
    const int8_t* q;
    int32_t* sums[2];  // per panel
};

// N panels by T tiles of tokens.
template <int N, int T>
inline void t2_tiles(Tiles& tiles, const Unpacked* w, int n_steps, int depth, const TokenTile* at, size_t q_stride) {
    const auto each_sum = [&](auto one) {
        each_of<N>([&](auto p) { each_of<T>([&](auto t) { one(Count<kSums + 2 * p.value + t.value>{}, at[t.value].sums[p.value]); }); });
    };
    each_sum([&](auto tile, int32_t* sums) { tiles.load<tile.value>(sums, kTileBytes); });
    for (int s = 0; s < n_steps; ++s) {
        each_of<T>([&](auto t) { tiles.load<kTokens + t.value>(at[t.value].q + s * depth, q_stride); });
        each_of<N>([&](auto p) {
            tiles.load<kWeights + p.value>(w[p.value].codes + s * depth * kRows, kTileBytes);
            each_of<T>([&](auto t) { tiles.dot<kSums + 2 * p.value + t.value, kTokens + t.value, kWeights + p.value>(); });
        });
    }
    each_sum([&](auto tile, int32_t* sums) { tiles.store<tile.value>(sums, kTileBytes); });
}

// N panels from `panel` on; depth: columns of one product. The last tile's tokens are summed apart: it may repeat others.
template <Format format, int N>
inline void tiled_t2_panels(Tiles& tiles, const MatrixView& w, int panel, const Activations& x, int n_tokens, int depth, float* y,
                            size_t y_stride, uint8_t* scratch) {
    const Unpacked u[2] = {unpacked_in(scratch, 0, n_tokens, w.n_cols), unpacked_in(scratch, 1, n_tokens, w.n_cols)};
    alignas(64) int32_t last[2][kTileSums] = {};
    const int last_token = n_tokens - kTokenTile;
    for (int p = 0; p < N; ++p)
        for (int t = 0; t < n_tokens; ++t) i_store(u[p].sums + kRows * t, i_zero());
    const int n_whole = (n_tokens - 1) / kTokenTile;  // tiles before the last
    for (int first = 0; first < w.n_blocks; first += TernaryChunk<format>::blocks) {
        int steps = 0;
        for (int p = 0; p < N; ++p) {
            const TernaryChunk<format> chunk(w, panel + p, first);
            steps = chunk.n * kBlock / depth;
            if constexpr (format == Format::t5) unpack_t5(chunk.codes, chunk.n_units, N * w.panel_bytes, u[p].codes, b_minus<1>);
            else unpack_signed<2, 1, 128>(chunk.codes, chunk.n, chunk.codes, N * w.panel_bytes, u[p].codes);
        }
        const auto tile = [&](int i) {
            const bool whole = i < n_whole;
            const int t = whole ? i * kTokenTile : last_token;
            TokenTile at = {x.q + static_cast<size_t>(t) * x.q_stride + static_cast<size_t>(first) * kBlock, {}};
            for (int p = 0; p < N; ++p) at.sums[p] = whole ? u[p].sums + kRows * t : last[p];
            return at;
        };
        int i = 0;
        for (; i < n_whole; i += 2) {
            const TokenTile two[2] = {tile(i), tile(i + 1)};
            t2_tiles<N, 2>(tiles, u, steps, depth, two, x.q_stride);
        }
        if (i == n_whole) {
            const TokenTile one = tile(i);
            t2_tiles<N, 1>(tiles, u, steps, depth, &one, x.q_stride);
        }
    }
    for (int p = 0; p < N; ++p)
        for (int t = 0; t < n_tokens; ++t) {
            const int32_t* sum = t < n_whole * kTokenTile ? u[p].sums + kRows * t : last[p] + kRows * (t - last_token);
            f_store(y + t * y_stride + (panel + p) * kRows, f_mul(f_from_i(i_load(sum)), f_set1(w.scale * x.d[t * x.d_stride])));
        }
}

template <Format format>
inline void tiled_t2(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y,
                     size_t y_stride, uint8_t* scratch) {
    const int depth = w.n_blocks % 2 ? kBlock : 2 * kBlock;
    Tiles tiles(TiledShapes(depth).of);
    int panel = begin;
    for (; panel + 2 <= end; panel += 2) tiled_t2_panels<format, 2>(tiles, w, panel, x, n_tokens, depth, y, y_stride, scratch);
    for (; panel < end; ++panel) tiled_t2_panels<format, 1>(tiles, w, panel, x, n_tokens, depth, y, y_stride, scratch);
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

// 16 tokens from `token` on, of which the first n_done have their results, by a chunk of a panel whose first block is
// `first`. Products run two steps ahead of their scaling, which hides how long a tile takes to be multiplied and stored.
// Their sums take 4 KiB: no load waits for a store that only lies at the same place in another page.
template <int halves, bool has_min>
inline void block_tiles(Tiles& tiles, const Unpacked& w, int n_blocks, const Activations& x, int token, int n_done,
                        int first, float* y, size_t y_stride) {
    static_assert(halves == 1 || !has_min, "a minimum belongs to a whole block");
    constexpr int depth = kBlock / halves;
    const int n_steps = n_blocks * halves;
    const int8_t* q = x.q + static_cast<size_t>(token) * x.q_stride + static_cast<size_t>(first) * kBlock;
    const float* d = x.d + static_cast<size_t>(token) * x.d_stride + first;
    const float* d_sum = x.d_sum + static_cast<size_t>(token) * x.d_stride + first;
    alignas(64) int32_t totals[4][kTileSums];
    const auto multiply_two = [&](int step) {
        each_of<2>([&](auto i) {
            const int s = step + i.value;
            if (s >= n_steps) return;
            tiles.zero<kSums + i.value>();
            tiles.load<kTokens + i.value>(q + s * depth, x.q_stride);
            tiles.load<kWeights + i.value>(w.codes + static_cast<size_t>(s) * depth * kRows, kTileBytes);
            tiles.dot<kSums + i.value, kTokens + i.value, kWeights + i.value>();
            tiles.store<kSums + i.value>(totals[s % 4], kTileBytes);
        });
    };
    F acc[kTokenTile];
#pragma GCC unroll 16
    for (int t = 0; t < kTokenTile; ++t) acc[t] = f_load(y + t * y_stride);
    multiply_two(0);
    for (int s = 0; s < n_steps; ++s) {
        if (s % 2 == 0) multiply_two(s + 2);
        const int32_t* total = totals[s % 4];
        const F scale = f_load(w.scales + s * kRows);
#pragma GCC unroll 16
        for (int t = 0; t < kTokenTile; ++t)
            acc[t] = f_fma(f_from_i(i_load(total + kRows * t)), f_mul(scale, f_set1(d[t * x.d_stride + s / halves])), acc[t]);
        if constexpr (has_min) {
            const F minimum = f_load(w.minima + s * kRows);
#pragma GCC unroll 16
            for (int t = 0; t < kTokenTile; ++t) acc[t] = f_fma(minimum, f_set1(d_sum[t * x.d_stride + s]), acc[t]);
        }
    }
#pragma GCC unroll 16
    for (int t = 0; t < kTokenTile; ++t)
        if (t >= n_done) f_store(y + t * y_stride, acc[t]);
}

template <int halves, bool has_min>
inline void block_token_tiles(Tiles& tiles, const Unpacked& w, int n_blocks, const Activations& x, int n_tokens,
                              int first, float* y, size_t y_stride) {
    for (int t = 0; t < n_tokens; t += kTokenTile) {
        const int token = min_int(t, n_tokens - kTokenTile);
        block_tiles<halves, has_min>(tiles, w, n_blocks, x, token, t - token, first, y + token * y_stride, y_stride);
    }
}

template <Format format>
inline void tiled_blocks(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y,
                         size_t y_stride, uint8_t* scratch) {
    using P = Panel<format>;
    const Unpacked u = unpacked_in(scratch, 0, n_tokens, w.n_cols);
    const OutlierColumns c = list_columns(x, n_tokens, w.n_cols, numbers_in(scratch, n_tokens, w.n_cols));
    const int chunk = static_cast<int>(kGemmCols) / kBlock;
    Tiles tiles(TiledShapes(kBlock / P::halves).of);
    for (int panel = begin; panel < end; ++panel) {
        const PanelParts<format> parts(w, panel);
        for (int first = 0; first < w.n_blocks; first += chunk) {
            const int n = min_int(chunk, w.n_blocks - first);
            const size_t at = static_cast<size_t>(first);
            unpack_signed<P::bits, P::offset, P::all_bytes>(parts.codes + at * P::block_bytes, n, parts.codes + at * P::all_bytes, w.panel_bytes, u.codes);
            unpack_scales(parts, first, n, u);
            if (first == 0) start_sums(parts, c, x, n_tokens, u, y + panel * kRows, y_stride);
            block_token_tiles<P::halves, P::has_min>(tiles, u, n, x, n_tokens, first, y + panel * kRows, y_stride);
        }
    }
}

inline void tiled_t2g(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y,
                      size_t y_stride, uint8_t* scratch) {
    const Unpacked u = unpacked_in(scratch, 0, n_tokens, w.n_cols);
    const OutlierColumns c = list_columns(x, n_tokens, w.n_cols, numbers_in(scratch, n_tokens, w.n_cols));
    const int chunk = static_cast<int>(kGemmCols) / kBlock;
    Tiles tiles(TiledShapes(kBlock).of);
    for (int panel = begin; panel < end; ++panel) {
        const GroupParts parts(w, panel);
        for (int first = 0; first < w.n_blocks; first += chunk) {
            const int n = min_int(chunk, w.n_blocks - first);
            const uint8_t* codes = parts.codes + static_cast<size_t>(first) * 128;
            unpack_signed<2, 1, 128>(codes, n, codes, w.panel_bytes, u.codes);
            for (int b = 0; b < n; ++b) f_store(u.scales + b * kRows, parts.scale(first + b));
            if (first == 0) start_sums(parts, c, x, n_tokens, u, y + panel * kRows, y_stride);
            block_token_tiles<1, false>(tiles, u, n, x, n_tokens, first, y + panel * kRows, y_stride);
        }
    }
}

void tiled_gemm(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y, size_t y_stride,
                uint8_t* scratch) {
    if (n_tokens < kFewTokens) return gemm(w, begin, end, x, n_tokens, y, y_stride, scratch);
    switch (w.format) {
        case Format::q4_0: return tiled_blocks<Format::q4_0>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q4_1: return tiled_blocks<Format::q4_1>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q8_0: return tiled_blocks<Format::q8_0>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q4_k: return tiled_blocks<Format::q4_k>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q5_k: return tiled_blocks<Format::q5_k>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::q6_k: return tiled_blocks<Format::q6_k>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::t2: return tiled_t2<Format::t2>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::t5: return tiled_t2<Format::t5>(w, begin, end, x, n_tokens, y, y_stride, scratch);
        case Format::t2g: return tiled_t2g(w, begin, end, x, n_tokens, y, y_stride, scratch);
        default: return gemm(w, begin, end, x, n_tokens, y, y_stride, scratch);
    }
}

}}  // namespace solvent::(anonymous)
