// Sixteen lanes on AVX2 with AVX-VNNI, FMA and F16C.
#pragma once
#include "avx2.inl"

namespace solvent { namespace {

// acc[lane] += Σ w[4·lane + i] · x[i], i = 0..3. w unsigned, x signed, exact.
inline I dot_u8(I acc, B w, const int8_t* x) {
    const __m256i four = four_bytes(x);
    return {_mm256_dpbusd_avx_epi32(acc.a, w.a, four), _mm256_dpbusd_avx_epi32(acc.b, w.b, four)};
}
// The same where w < 128.
inline I dot_u7(I acc, B w, const int8_t* x) { return dot_u8(acc, w, x); }

}}  // namespace solvent::(anonymous)
