// Sixteen lanes as four 128-bit registers of 64-bit ARM; the includer says how four bytes are multiplied into 32 bits.
#include <arm_neon.h>

#include <cstdint>

namespace solvent { namespace {

constexpr int kTileTokens = 4;
constexpr int kTilePanels = 1;

struct F {
    float32x4_t part[4];
};
struct I {
    int32x4_t part[4];
};
struct B {
    uint8x16_t part[4];
};

#define SOLVENT_EACH(type, expression)                       \
    type r;                                                  \
    for (int i = 0; i < 4; ++i) r.part[i] = (expression);    \
    return r

inline F f_set1(float v) { SOLVENT_EACH(F, vdupq_n_f32(v)); }
inline F f_load(const float* p) { SOLVENT_EACH(F, vld1q_f32(p + 4 * i)); }
inline void f_store(float* p, F v) {
    for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, v.part[i]);
}
inline F f_load_half(const uint16_t* p) { SOLVENT_EACH(F, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i)))); }
inline F f_load_bf16(const uint16_t* p) { SOLVENT_EACH(F, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16))); }
inline void f_store_half(uint16_t* p, F v) {
    for (int i = 0; i < 4; ++i) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(v.part[i])));
}
inline F f_add(F a, F b) { SOLVENT_EACH(F, vaddq_f32(a.part[i], b.part[i])); }
inline F f_sub(F a, F b) { SOLVENT_EACH(F, vsubq_f32(a.part[i], b.part[i])); }
inline F f_mul(F a, F b) { SOLVENT_EACH(F, vmulq_f32(a.part[i], b.part[i])); }
inline F f_div(F a, F b) { SOLVENT_EACH(F, vdivq_f32(a.part[i], b.part[i])); }
inline F f_fma(F a, F b, F c) { SOLVENT_EACH(F, vfmaq_f32(c.part[i], a.part[i], b.part[i])); }
// Compared and selected: fmax would keep a NaN, and would take +0 before −0.
inline F f_max(F a, F b) { SOLVENT_EACH(F, vbslq_f32(vcgtq_f32(a.part[i], b.part[i]), a.part[i], b.part[i])); }
inline F f_min(F a, F b) { SOLVENT_EACH(F, vbslq_f32(vcltq_f32(a.part[i], b.part[i]), a.part[i], b.part[i])); }
inline F f_abs(F a) { SOLVENT_EACH(F, vabsq_f32(a.part[i])); }
inline F f_from_i(I a) { SOLVENT_EACH(F, vcvtq_f32_s32(a.part[i])); }
// Half to even. Beyond int32 it saturates where x86 gives INT32_MIN: callers bring numbers in range.
inline I i_round(F a) { SOLVENT_EACH(I, vcvtnq_s32_f32(a.part[i])); }
// v · 2^n for n in [-126, 127] and results that stay normal
inline F f_scale2(F v, I n) {
    SOLVENT_EACH(F, vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(v.part[i]), vshlq_n_s32(n.part[i], 23))));
}
// Lanes from n on become fill.
inline F f_first_n(F v, int n, float fill) {
    const int32x4_t lane = {0, 1, 2, 3};
    SOLVENT_EACH(F, vbslq_f32(vcgtq_s32(vdupq_n_s32(n - 4 * i), lane), v.part[i], vdupq_n_f32(fill)));
}

inline uint32x4_t lane_bits(int part) {
    const uint32x4_t four = {1, 2, 4, 8};
    return vshlq_u32(four, vdupq_n_s32(4 * part));
}
// Lanes whose bit is set become 0.
inline F f_without(F v, unsigned bits) {
    SOLVENT_EACH(F, vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(v.part[i]), vtstq_u32(vdupq_n_u32(bits), lane_bits(i)))));
}

inline I i_zero() { SOLVENT_EACH(I, vdupq_n_s32(0)); }
inline I i_set1(int32_t v) { SOLVENT_EACH(I, vdupq_n_s32(v)); }
inline I i_load(const int32_t* p) { SOLVENT_EACH(I, vld1q_s32(p + 4 * i)); }
inline void i_store(int32_t* p, I v) {
    for (int i = 0; i < 4; ++i) vst1q_s32(p + 4 * i, v.part[i]);
}
inline I i_add(I a, I b) { SOLVENT_EACH(I, vaddq_s32(a.part[i], b.part[i])); }
inline I i_sub(I a, I b) { SOLVENT_EACH(I, vsubq_s32(a.part[i], b.part[i])); }
// The low byte of each lane.
inline void i_store_bytes(int8_t* p, I v) {
    const int16x8_t low = vcombine_s16(vmovn_s32(v.part[0]), vmovn_s32(v.part[1]));
    const int16x8_t high = vcombine_s16(vmovn_s32(v.part[2]), vmovn_s32(v.part[3]));
    vst1q_s8(p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}
// Sixteen signed bytes, one to a lane.
inline I i_load_signed(const int8_t* p) {
    const int8x16_t bytes = vld1q_s8(p);
    const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
    return {{vmovl_s16(vget_low_s16(low)), vmovl_s16(vget_high_s16(low)), vmovl_s16(vget_low_s16(high)), vmovl_s16(vget_high_s16(high))}};
}

inline B b_load(const uint8_t* p) { SOLVENT_EACH(B, vld1q_u8(p + 16 * i)); }
inline void b_store(uint8_t* p, B v) {
    for (int i = 0; i < 4; ++i) vst1q_u8(p + 16 * i, v.part[i]);
}
inline B b_and(B a, int mask) { SOLVENT_EACH(B, vandq_u8(a.part[i], vdupq_n_u8(static_cast<uint8_t>(mask)))); }
template <int n>
inline B b_shift(B a) {
    SOLVENT_EACH(B, vshrq_n_u8(a.part[i], n));
}
// a | (b & mask)
inline B b_or_masked(B a, B b, int mask) {
    SOLVENT_EACH(B, vorrq_u8(a.part[i], vandq_u8(b.part[i], vdupq_n_u8(static_cast<uint8_t>(mask)))));
}
// Byte n of each lane, n = 0..3.
inline I i_byte(B v, int n) {
    SOLVENT_EACH(I, vreinterpretq_s32_u32(vandq_u32(vshlq_u32(vreinterpretq_u32_u8(v.part[i]), vdupq_n_s32(-8 * n)), vdupq_n_u32(255))));
}

// Each byte's bits where mask has ones, from a; the rest from b.
inline B b_select(B a, B b, int mask) { SOLVENT_EACH(B, vbslq_u8(vdupq_n_u8(static_cast<uint8_t>(mask)), a.part[i], b.part[i])); }
template <int n>
inline B b_shift_up(B a) {
    if constexpr (n == 0) return a;
    else { SOLVENT_EACH(B, vshlq_n_u8(a.part[i], n)); }
}
// The top bit of each byte turned over: c − 128 as a signed byte.
inline B b_flip(B a) { SOLVENT_EACH(B, veorq_u8(a.part[i], vdupq_n_u8(128))); }
// Byte i of a lane from byte i − 1, byte 0 from byte 3.
inline B b_turn_bytes(B v) {
    SOLVENT_EACH(B, vreinterpretq_u8_u32(vsliq_n_u32(vshrq_n_u32(vreinterpretq_u32_u8(v.part[i]), 24), vreinterpretq_u32_u8(v.part[i]), 8)));
}
// Lane i from lane i − 1, lane 0 from lane 15.
inline B b_turn_lanes(B v) { SOLVENT_EACH(B, vextq_u8(v.part[(i + 3) & 3], v.part[i], 12)); }

// 64 bytes, looked up by the low 6 bits of each byte.
struct Table {
    uint8x16x4_t all;
    explicit Table(const uint8_t* p) : all(vld1q_u8_x4(p)) {}
    B at(B index) const { SOLVENT_EACH(B, vqtbl4q_u8(all, vandq_u8(index.part[i], vdupq_n_u8(63)))); }
};

// Lane i from lane i ^ n.
template <int n>
inline F f_swap(F v) {
    if constexpr (n == 1) { SOLVENT_EACH(F, vrev64q_f32(v.part[i])); }
    else if constexpr (n == 2) { SOLVENT_EACH(F, vextq_f32(v.part[i], v.part[i], 2)); }
    else { SOLVENT_EACH(F, v.part[i ^ (n / 4)]); }
}
inline I i_bits(F v) { SOLVENT_EACH(I, vreinterpretq_s32_f32(v.part[i])); }
inline F f_bits(I v) { SOLVENT_EACH(F, vreinterpretq_f32_s32(v.part[i])); }
inline I i_and(I a, I b) { SOLVENT_EACH(I, vandq_s32(a.part[i], b.part[i])); }
inline I i_or(I a, I b) { SOLVENT_EACH(I, vorrq_s32(a.part[i], b.part[i])); }
inline I i_max(I a, I b) { SOLVENT_EACH(I, vmaxq_s32(a.part[i], b.part[i])); }
// A bit for each lane where a > b.
inline unsigned i_above(I a, I b) {
    uint32x4_t bits = vdupq_n_u32(0);
    for (int i = 0; i < 4; ++i) bits = vorrq_u32(bits, vandq_u32(vcgtq_s32(a.part[i], b.part[i]), lane_bits(i)));
    return vaddvq_u32(bits);
}
inline I i_min(I a, I b) { SOLVENT_EACH(I, vminq_s32(a.part[i], b.part[i])); }
// 16 unsigned bytes.
inline I i_load_bytes(const uint8_t* p) {
    const uint8x16_t v = vld1q_u8(p);
    const uint16x8_t low = vmovl_u8(vget_low_u8(v)), high = vmovl_u8(vget_high_u8(v));
    return {{vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))), vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(low))),
             vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))), vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(high)))}};
}
// v >> n, of lanes that aren't negative.
template <int n>
inline I i_shift(I v) { SOLVENT_EACH(I, vshrq_n_s32(v.part[i], n)); }
// Bits of a where mask has ones, else of b.
inline I i_select(I mask, I a, I b) { SOLVENT_EACH(I, vbslq_s32(vreinterpretq_u32_s32(mask.part[i]), a.part[i], b.part[i])); }
// i + n where a > b, else i.
inline I i_add_where(F a, F b, I v, I n) {
    SOLVENT_EACH(I, vaddq_s32(v.part[i], vandq_s32(n.part[i], vreinterpretq_s32_u32(vcgtq_f32(a.part[i], b.part[i])))));
}
// Lane i of the table at the low 4 bits of index's lane i.
inline F f_pick(F table, I index) {
    float from[16], to[16];
    int32_t at[16];
    f_store(from, table);
    i_store(at, index);
    for (int i = 0; i < 16; ++i) to[i] = from[at[i] & 15];
    return f_load(to);
}

inline int8x16_t four_bytes(const int8_t* x) {
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}
// No instruction before i8mm multiplies unsigned by signed bytes: w − 128 is signed, and Σ w·x = Σ (w − 128)·x + 128·Σx.
inline int8x16_t less_128(uint8x16_t w) { return vreinterpretq_s8_u8(veorq_u8(w, vdupq_n_u8(0x80))); }

}}  // namespace solvent::(anonymous)
