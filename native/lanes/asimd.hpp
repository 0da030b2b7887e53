// Sixteen lanes on any 64-bit ARM: bytes are multiplied to 16 bits and added pairwise to 32.
#pragma once
#include "asimd.inl"

namespace solvent { namespace {

// Products of bytes below 128 with signed ones: two stay above −2¹⁵ (127·−128·2 = −32,512), so 16 bits hold their sum.
inline int32x4_t dot7(int32x4_t acc, uint8x16_t w, int8x16_t x) {
    const int8x16_t s = vreinterpretq_s8_u8(w);
    const int16x8_t low = vmull_s8(vget_low_s8(s), vget_low_s8(x));
    return vpadalq_s16(acc, vpaddq_s16(low, vmull_high_s8(s, x)));
}
// Two products of −128 with −128 would not fit in 16 bits: each pair is added in 32.
inline int32x4_t dot8(int32x4_t acc, uint8x16_t w, int8x16_t x) {
    const int8x16_t s = less_128(w);
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(s), vget_low_s8(x)));
    const int32x4_t high = vpaddlq_s16(vmull_high_s8(s, x));
    return vaddq_s32(acc, vpaddq_s32(low, high));
}
// acc[lane] += Σ w[4·lane + i] · x[i], i = 0..3. w unsigned, x signed, exact.
inline I dot_u8(I acc, B w, const int8_t* x) {
    const int8x16_t four = four_bytes(x);
    const int32x4_t left = vdupq_n_s32(128 * (x[0] + x[1] + x[2] + x[3]));
    SOLVENT_EACH(I, dot8(vaddq_s32(acc.part[i], left), w.part[i], four));
}
// acc[lane] += Σ w[4·lane + i] · x[i], i = 0..3. w signed and above −128, x below 128, exact.
inline I dot_s8(I acc, B w, const uint8_t* x) {
    const int8x16_t four = four_bytes(reinterpret_cast<const int8_t*>(x));
    SOLVENT_EACH(I, dot7(acc.part[i], w.part[i], four));
}
// dot_u8 where w < 128.
inline I dot_u7(I acc, B w, const int8_t* x) {
    const int8x16_t four = four_bytes(x);
    SOLVENT_EACH(I, dot7(acc.part[i], w.part[i], four));
}

#undef SOLVENT_EACH

}}  // namespace solvent::(anonymous)
