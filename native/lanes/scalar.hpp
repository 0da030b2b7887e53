// Sixteen lanes in plain C++: the truth that every other instruction set is compared with.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "../half.hpp"

namespace solvent { namespace {

constexpr int kTileTokens = 4;
constexpr int kTilePanels = 1;

struct F {
    float lane[16];
};
struct I {
    int32_t lane[16];
};
struct B {
    uint8_t byte[64];
};

#define SOLVENT_EACH(type, expression)          \
    type r;                                     \
    for (int i = 0; i < 16; ++i) r.lane[i] = (expression); \
    return r

inline F f_set1(float v) { SOLVENT_EACH(F, v); }
inline F f_load(const float* p) {
    F r;
    std::memcpy(r.lane, p, sizeof r.lane);
    return r;
}
inline void f_store(float* p, F v) { std::memcpy(p, v.lane, sizeof v.lane); }
// A file's rows may lie at odd addresses.
struct Halves {
    uint16_t lane[16];
    explicit Halves(const uint16_t* p) { std::memcpy(lane, p, sizeof lane); }
};
inline F f_load_half(const uint16_t* p) {
    const Halves h(p);
    SOLVENT_EACH(F, half_to_float(h.lane[i]));
}
inline F f_load_bf16(const uint16_t* p) {
    const Halves h(p);
    SOLVENT_EACH(F, bf16_to_float(h.lane[i]));
}
inline void f_store_half(uint16_t* p, F v) {
    for (int i = 0; i < 16; ++i) p[i] = float_to_half(v.lane[i]);
}
inline F f_add(F a, F b) { SOLVENT_EACH(F, a.lane[i] + b.lane[i]); }
inline F f_sub(F a, F b) { SOLVENT_EACH(F, a.lane[i] - b.lane[i]); }
inline F f_mul(F a, F b) { SOLVENT_EACH(F, a.lane[i] * b.lane[i]); }
inline F f_div(F a, F b) { SOLVENT_EACH(F, a.lane[i] / b.lane[i]); }
inline F f_fma(F a, F b, F c) { SOLVENT_EACH(F, std::fma(a.lane[i], b.lane[i], c.lane[i])); }
// The second where the two are equal or one is no number, as on x86.
inline F f_max(F a, F b) { SOLVENT_EACH(F, a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]); }
inline F f_min(F a, F b) { SOLVENT_EACH(F, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
inline F f_abs(F a) { SOLVENT_EACH(F, std::fabs(a.lane[i])); }
inline F f_from_i(I a) { SOLVENT_EACH(F, static_cast<float>(a.lane[i])); }
// Half to even; what no int32 holds becomes INT32_MIN, as on x86.
inline I i_round(F a) {
    SOLVENT_EACH(I, std::fabs(a.lane[i]) < 2147483648.0f ? static_cast<int32_t>(std::nearbyint(a.lane[i])) : INT32_MIN);
}
// v · 2^n for n in [-126, 127] and results that stay normal
inline F f_scale2(F v, I n) {
    F r;
    for (int i = 0; i < 16; ++i) {
        uint32_t bits;
        std::memcpy(&bits, &v.lane[i], 4);
        bits += static_cast<uint32_t>(n.lane[i]) << 23;
        std::memcpy(&r.lane[i], &bits, 4);
    }
    return r;
}
// Lanes from n on become fill.
inline F f_first_n(F v, int n, float fill) { SOLVENT_EACH(F, i < n ? v.lane[i] : fill); }

// Lanes whose bit is set become 0.
inline F f_without(F v, unsigned bits) { SOLVENT_EACH(F, bits >> i & 1 ? 0.0f : v.lane[i]); }

inline I i_zero() { SOLVENT_EACH(I, 0); }
inline I i_set1(int32_t v) { SOLVENT_EACH(I, v); }
inline I i_load(const int32_t* p) { SOLVENT_EACH(I, p[i]); }
inline void i_store(int32_t* p, I v) { std::memcpy(p, v.lane, sizeof v.lane); }
inline I i_add(I a, I b) { SOLVENT_EACH(I, a.lane[i] + b.lane[i]); }
inline I i_sub(I a, I b) { SOLVENT_EACH(I, a.lane[i] - b.lane[i]); }
// The low byte of each lane.
inline void i_store_bytes(int8_t* p, I v) {
    for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(v.lane[i]);
}
// Sixteen signed bytes, one to a lane.
inline I i_load_signed(const int8_t* p) { SOLVENT_EACH(I, p[i]); }

inline B b_load(const uint8_t* p) {
    B r;
    std::memcpy(r.byte, p, 64);
    return r;
}
inline void b_store(uint8_t* p, B v) { std::memcpy(p, v.byte, 64); }
inline B b_and(B a, int mask) {
    for (auto& byte : a.byte) byte = static_cast<uint8_t>(byte & mask);
    return a;
}
// Bits that come in from the neighbouring byte differ from the vector forms; every caller masks them.
template <int n>
inline B b_shift(B a) {
    for (auto& byte : a.byte) byte = static_cast<uint8_t>(byte >> n);
    return a;
}
// a | (b & mask)
inline B b_or_masked(B a, B b, int mask) {
    for (int i = 0; i < 64; ++i) a.byte[i] = static_cast<uint8_t>(a.byte[i] | (b.byte[i] & mask));
    return a;
}

// Byte i of each lane, i = 0..3.
inline I i_byte(B v, int n) {
    I r;
    for (int i = 0; i < 16; ++i) r.lane[i] = v.byte[4 * i + n];
    return r;
}

// acc[lane] += Σ w[4·lane + i] · x[i], i = 0..3. w unsigned, x signed, exact.
inline I dot_u8(I acc, B w, const int8_t* x) {
    for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 4; ++j) acc.lane[i] += w.byte[4 * i + j] * x[j];
    return acc;
}
// acc[lane] += Σ w[4·lane + i] · x[i], i = 0..3. w signed and above −128, x below 128, exact.
inline I dot_s8(I acc, B w, const uint8_t* x) {
    for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 4; ++j) acc.lane[i] += static_cast<int8_t>(w.byte[4 * i + j]) * x[j];
    return acc;
}
// dot_u8 where w < 128.
inline I dot_u7(I acc, B w, const int8_t* x) { return dot_u8(acc, w, x); }

// Each byte's bits where mask has ones, from a; the rest from b.
inline B b_select(B a, B b, int mask) {
    for (int i = 0; i < 64; ++i) a.byte[i] = static_cast<uint8_t>((a.byte[i] & mask) | (b.byte[i] & ~mask));
    return a;
}
template <int n>
inline B b_shift_up(B a) {
    for (auto& byte : a.byte) byte = static_cast<uint8_t>(byte << n);
    return a;
}
// The top bit of each byte turned over: c − 128 as a signed byte.
inline B b_flip(B a) {
    for (auto& byte : a.byte) byte ^= 128;
    return a;
}
// Byte i of a lane from byte i − 1, byte 0 from byte 3.
inline B b_turn_bytes(B v) {
    B r;
    for (int i = 0; i < 64; ++i) r.byte[i] = v.byte[(i & ~3) + ((i + 3) & 3)];
    return r;
}
// Lane i from lane i − 1, lane 0 from lane 15.
inline B b_turn_lanes(B v) {
    B r;
    for (int i = 0; i < 64; ++i) r.byte[i] = v.byte[(i + 60) & 63];
    return r;
}

// 64 bytes, looked up by the low 6 bits of each byte.
struct Table {
    uint8_t all[64];
    explicit Table(const uint8_t* p) { std::memcpy(all, p, 64); }
    B at(B index) const {
        for (auto& byte : index.byte) byte = all[byte & 63];
        return index;
    }
};

// Lane i from lane i ^ n.
template <int n>
inline F f_swap(F v) { SOLVENT_EACH(F, v.lane[i ^ n]); }
inline I i_bits(F v) {
    I r;
    std::memcpy(r.lane, v.lane, sizeof r.lane);
    return r;
}
inline F f_bits(I v) {
    F r;
    std::memcpy(r.lane, v.lane, sizeof r.lane);
    return r;
}
inline I i_and(I a, I b) { SOLVENT_EACH(I, a.lane[i] & b.lane[i]); }
inline I i_or(I a, I b) { SOLVENT_EACH(I, a.lane[i] | b.lane[i]); }
inline I i_max(I a, I b) { SOLVENT_EACH(I, a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]); }
// A bit for each lane where a > b.
inline unsigned i_above(I a, I b) {
    unsigned bits = 0;
    for (int i = 0; i < 16; ++i) bits |= static_cast<unsigned>(a.lane[i] > b.lane[i]) << i;
    return bits;
}
inline I i_min(I a, I b) { SOLVENT_EACH(I, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
// 16 unsigned bytes.
inline I i_load_bytes(const uint8_t* p) { SOLVENT_EACH(I, p[i]); }
// v >> n, of lanes that aren't negative.
template <int n>
inline I i_shift(I v) { SOLVENT_EACH(I, v.lane[i] >> n); }
// Bits of a where mask has ones, else of b.
inline I i_select(I mask, I a, I b) { SOLVENT_EACH(I, (a.lane[i] & mask.lane[i]) | (b.lane[i] & ~mask.lane[i])); }
// i + n where a > b, else i.
inline I i_add_where(F a, F b, I v, I n) { SOLVENT_EACH(I, v.lane[i] + (a.lane[i] > b.lane[i] ? n.lane[i] : 0)); }
// Lane i of the table at the low 4 bits of index's lane i.
inline F f_pick(F table, I index) { SOLVENT_EACH(F, table.lane[index.lane[i] & 15]); }

#undef SOLVENT_EACH

}}  // namespace solvent::(anonymous)
