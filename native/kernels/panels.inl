// Where the parts of a panel lie and how its codes become bytes; shared by gemv and gemm.
// A panel: codes of all blocks, then scales of all, then minima of all, then the f16 above fine scales, and above minima.

namespace solvent { namespace {

template <Format format>
struct Panel;

// fine: a scale is an int8 under an f16 of kFineBlocks blocks, exactly their product; else an f16 of its own.
template <int bits_, bool fine_, int halves_, bool minimum, int offset_>
struct BlockPanel {
    static constexpr int bits = bits_;          // 4, 5, 6 or 8
    static constexpr bool fine = fine_;
    static constexpr int halves = halves_;      // scales per block
    static constexpr bool has_min = minimum;
    static constexpr int offset = offset_;      // code − offset = integer weight
    static constexpr int block_bytes = bits * 64;
    static constexpr int scale_bytes = fine ? 16 : 32;
    // Bytes of a block with its share of what stands behind the codes.
    static constexpr int all_bytes = block_bytes + (halves + has_min) * scale_bytes + (fine ? (1 + has_min) * 32 / kFineBlocks : 0);
};

template <> struct Panel<Format::q4_0> : BlockPanel<4, false, 1, false, 8> {};
template <> struct Panel<Format::q4_1> : BlockPanel<4, false, 1, true, 0> {};
template <> struct Panel<Format::q8_0> : BlockPanel<8, false, 1, false, 128> {};
template <> struct Panel<Format::q4_k> : BlockPanel<4, true, 1, true, 0> {};
template <> struct Panel<Format::q5_k> : BlockPanel<5, true, 1, true, 0> {};
template <> struct Panel<Format::q6_k> : BlockPanel<6, true, 2, false, 32> {};

// Bits moved down by n, or up by −n; what comes in from the next byte is masked by the caller.
template <int n>
inline B b_move(B a) {
    if constexpr (n > 0) return b_shift<n>(a);
    else if constexpr (n < 0) return b_shift_up<-n>(a);
    else return a;
}

inline B nibbles(const uint8_t* block, int j) {
    const B packed = b_load(block + 64 * (j % 4));
    return b_and(j < 4 ? packed : b_shift<4>(packed), 0x0F);
}

// Four columns of all rows: quad j of a block holds columns 4j … 4j+3, row r at bytes 4r … 4r+3.
template <int bits>
inline B quad(const uint8_t* block, int j) {
    if constexpr (bits == 8) return b_load(block + 64 * j);
    else if constexpr (bits == 4) return nibbles(block, j);
    else if constexpr (bits == 5) {  // bit j of a byte behind the nibbles is the fifth of quad j
        const B high = b_load(block + 256);
        const auto join = [&](auto moved) { return b_or_masked(nibbles(block, j), moved, 0x10); };
        switch (j) {
            case 0: return join(b_move<-4>(high));
            case 1: return join(b_move<-3>(high));
            case 2: return join(b_move<-2>(high));
            case 3: return join(b_move<-1>(high));
            case 4: return join(high);
            case 5: return join(b_move<1>(high));
            case 6: return join(b_move<2>(high));
            default: return join(b_move<3>(high));
        }
    } else if constexpr (bits == 6) {  // bits 2·(j mod 4) of the first or second 64 bytes behind the nibbles
        const B high = b_load(block + 256 + 64 * (j / 4));
        const auto join = [&](auto moved) { return b_or_masked(nibbles(block, j), moved, 0x30); };
        switch (j % 4) {
            case 0: return join(b_move<-4>(high));
            case 1: return join(b_move<-2>(high));
            case 2: return join(high);
            default: return join(b_move<2>(high));
        }
    } else if constexpr (bits == 3) {  // bit j of a byte behind the two lower bits is the third of quad j
        const B low = quad<2>(block, j), high = b_load(block + 128);
        switch (j) {
            case 0: return b_or_masked(low, b_move<-2>(high), 4);
            case 1: return b_or_masked(low, b_move<-1>(high), 4);
            case 2: return b_or_masked(low, high, 4);
            case 3: return b_or_masked(low, b_move<1>(high), 4);
            case 4: return b_or_masked(low, b_move<2>(high), 4);
            case 5: return b_or_masked(low, b_move<3>(high), 4);
            case 6: return b_or_masked(low, b_move<4>(high), 4);
            default: return b_or_masked(low, b_move<5>(high), 4);
        }
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
    const uint8_t *codes, *scales, *minima, *coarse, *coarse_minima;
    PanelParts(const MatrixView& w, int panel)
        : codes(w.data + static_cast<size_t>(panel) * w.panel_bytes),
          scales(codes + static_cast<size_t>(w.n_blocks) * P::block_bytes),
          minima(scales + static_cast<size_t>(w.n_blocks) * P::halves * P::scale_bytes),
          coarse(minima + static_cast<size_t>(w.n_blocks) * P::has_min * P::scale_bytes),
          coarse_minima(coarse + static_cast<size_t>((w.n_blocks + kFineBlocks - 1) / kFineBlocks) * 32) {}
    // What the fine scales of blocks from b on are multiplied by; b is a multiple of kFineBlocks.
    F scale_above(int b) const { return half_at(coarse, b / kFineBlocks); }
    F minimum_above(int b) const { return half_at(coarse_minima, b / kFineBlocks); }
    F scale(int b, int half, F above) const { return one(scales, b * P::halves + half, above); }
    F minimum(int b, F above) const { return one(minima, b, above); }
    F operator()(int k) const {
        const int b = k / kBlock, half = P::halves == 2 ? k % kBlock / 16 : 0;
        F above = f_set1(0.0f), above_minimum = above;
        if constexpr (P::fine) above = scale_above(b);
        const F weight = f_mul(codes_at<P::bits>(codes, k, P::offset), scale(b, half, above));
        if constexpr (P::fine && P::has_min) above_minimum = minimum_above(b);
        if constexpr (P::has_min) return f_add(weight, minimum(b, above_minimum));
        else return weight;
    }

  private:
    static F half_at(const uint8_t* p, int i) { return f_load_half(reinterpret_cast<const uint16_t*>(p + 32 * static_cast<size_t>(i))); }
    static F one(const uint8_t* p, int i, F above) {
        if constexpr (P::fine) return f_mul(above, f_from_i(i_load_signed(reinterpret_cast<const int8_t*>(p + 16 * static_cast<size_t>(i)))));
        else return half_at(p, i);
    }
};

// The same of a ternary panel with scales per group.
struct GroupParts {
    const uint8_t *codes, *scales;
    int group_blocks;
    float whole;
    GroupParts(const MatrixView& w, int panel)
        : codes(w.data + static_cast<size_t>(panel) * w.panel_bytes),
          scales(codes + static_cast<size_t>(w.n_blocks) * 128),
          group_blocks(w.group_blocks),
          whole(w.scale) {}
    F scale(int b) const {
        return f_mul(f_load_half(reinterpret_cast<const uint16_t*>(scales + 32 * static_cast<size_t>(b / group_blocks))), f_set1(whole));
    }
    F operator()(int k) const { return f_mul(codes_at<2>(codes, k, 1), scale(k / kBlock)); }
};

}}  // namespace solvent::(anonymous)
