// Sixteen lanes on 64-bit ARM with SDOT: four products of bytes into 32 bits at once.
#pragma once
#include "asimd.inl"

namespace solvent { namespace {

// acc[lane] += Σ w[4·lane + i] · x[i], i = 0..3. w unsigned, x signed, exact.
inline I dot_u8(I acc, B w, const int8_t* x) {
    const int8x16_t four = four_bytes(x);
    const int32x4_t less = vdotq_s32(vdupq_n_s32(0), vdupq_n_s8(-128), four);  // −128·Σx
    SOLVENT_EACH(I, vdotq_s32(vsubq_s32(acc.part[i], less), less_128(w.part[i]), four));
}
// acc[lane] += Σ w[4·lane + i] · x[i], i = 0..3. w signed and above −128, x below 128, exact.
inline I dot_s8(I acc, B w, const uint8_t* x) {
    const int8x16_t four = four_bytes(reinterpret_cast<const int8_t*>(x));
    SOLVENT_EACH(I, vdotq_s32(acc.part[i], vreinterpretq_s8_u8(w.part[i]), four));
}
// dot_u8 where w < 128.
inline I dot_u7(I acc, B w, const int8_t* x) {
    const int8x16_t four = four_bytes(x);
    SOLVENT_EACH(I, vdotq_s32(acc.part[i], vreinterpretq_s8_u8(w.part[i]), four));
}

#undef SOLVENT_EACH

}}  // namespace solvent::(anonymous)
