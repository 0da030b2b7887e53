// Where the parts of a panel lie and how its codes become bytes; shared by gemv and gemm.
// A panel: codes of all blocks, then scales of all blocks, then minima of all blocks.

namespace solvent { namespace {

template <Format format>
struct Panel;

template <int bits_, bool wide_scale, int halves_, bool minimum, int offset_>
struct BlockPanel {
    static constexpr int bits = bits_;          // 4 or 8
    static constexpr int halves = halves_;      // scales per block
    static constexpr bool has_min = minimum;
    static constexpr int offset = offset_;      // code − offset = integer weight
    static constexpr int block_bytes = bits * 64;
    static constexpr int scale_bytes = wide_scale ? 64 : 32;
    static F scale(const uint8_t* p) {
        if constexpr (wide_scale) return f_load(reinterpret_cast<const float*>(p));
        else return f_load_half(reinterpret_cast<const uint16_t*>(p));
    }
};

template <> struct Panel<Format::q4_0> : BlockPanel<4, false, 1, false, 8> {};
template <> struct Panel<Format::q4_1> : BlockPanel<4, false, 1, true, 0> {};
template <> struct Panel<Format::q8_0> : BlockPanel<8, false, 1, false, 128> {};
template <> struct Panel<Format::q4_k> : BlockPanel<4, true, 1, true, 0> {};
template <> struct Panel<Format::q5_k> : BlockPanel<8, true, 1, true, 0> {};
template <> struct Panel<Format::q6_k> : BlockPanel<8, true, 2, false, 32> {};

// Four columns of all rows: quad j of a block holds columns 4j … 4j+3, row r at bytes 4r … 4r+3.
template <int bits>
inline B quad(const uint8_t* block, int j) {
    if constexpr (bits == 8) return b_load(block + 64 * j);
    else if constexpr (bits == 4) {
        const B packed = b_load(block + 64 * (j % 4));
        return b_and(j < 4 ? packed : b_shift<4>(packed), 0x0F);
    } else {
        const B packed = b_load(block + 64 * (j / 4));
        switch (j % 4) {
            case 0: return b_and(packed, 3);
            case 1: return b_and(b_shift<2>(packed), 3);
            case 2: return b_and(b_shift<4>(packed), 3);
            default: return b_and(b_shift<6>(packed), 3);
        }
    }
}

template <int bits>
inline I dot(I acc, B w, const int8_t* x) {
    if constexpr (bits == 8) return dot_u8(acc, w, x);
    else return dot_u7(acc, w, x);
}

// Sixteen rows' integer weights at column k of a panel.
template <int bits>
inline F codes_at(const uint8_t* codes, int k, int offset) {
    const B four = quad<bits>(codes + static_cast<size_t>(k / kBlock) * bits * 64, k % kBlock / 4);
    return f_from_i(i_sub(i_byte(four, k % 4), i_set1(offset)));
}

// Σ weight · outlier of the token: what gemv and gemm both start a panel's sums from.
template <typename Column>
inline F outliers_dot(const int32_t* at, const float* outlier, const Column& column) {
    F acc = f_set1(0.0f);
    for (int o = 0; o < kOutliers; ++o) acc = f_fma(column(at[o]), f_set1(outlier[o]), acc);
    return acc;
}

// A panel of format's parts; its weights at a column as floats.
template <Format format>
struct PanelParts {
    using P = Panel<format>;
    const uint8_t *codes, *scales, *minima;
    PanelParts(const MatrixView& w, int panel)
        : codes(w.data + static_cast<size_t>(panel) * w.panel_bytes),
          scales(codes + static_cast<size_t>(w.n_blocks) * P::block_bytes),
          minima(scales + static_cast<size_t>(w.n_blocks) * P::halves * P::scale_bytes) {}
    F operator()(int k) const {
        const size_t b = static_cast<size_t>(k / kBlock), half = P::halves == 2 ? static_cast<size_t>(k % kBlock / 16) : 0;
        const F weight = f_mul(codes_at<P::bits>(codes, k, P::offset), P::scale(scales + (b * P::halves + half) * P::scale_bytes));
        if constexpr (P::has_min) return f_add(weight, P::scale(minima + b * P::scale_bytes));
        else return weight;
    }
};

// The same of a ternary panel with scales per group.
struct GroupParts {
    const uint8_t *codes, *scales;
    int group_blocks;
    GroupParts(const MatrixView& w, int panel)
        : codes(w.data + static_cast<size_t>(panel) * w.panel_bytes),
          scales(codes + static_cast<size_t>(w.n_blocks) * 128),
          group_blocks(w.group_blocks) {}
    F scale(int b) const { return f_load_half(reinterpret_cast<const uint16_t*>(scales + 32 * static_cast<size_t>(b / group_blocks))); }
    F operator()(int k) const { return f_mul(codes_at<2>(codes, k, 1), scale(k / kBlock)); }
};

}}  // namespace solvent::(anonymous)
