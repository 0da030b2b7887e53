// Sixteen lanes on AVX2 with AVX-VNNI, FMA and F16C.
#pragma once
#include "avx2.inl"

namespace solvent { namespace {

constexpr int kTileTokens = 4;

// As assembly, since GCC 12 copies the sum around its intrinsic, in and out: two moves a product.
inline __m256i dot(__m256i acc, __m256i w, __m256i x) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(w), "x"(x));
    return acc;
}

// acc[lane] += Σ w[4·lane + i] · x[i], i = 0..3. w unsigned, x signed, exact.
inline I dot_u8(I acc, B w, const int8_t* x) {
    const __m256i four = four_bytes(x);
    return {dot(acc.a, w.a, four), dot(acc.b, w.b, four)};
}
// acc[lane] += Σ w[4·lane + i] · x[i], i = 0..3. w signed, x below 128, exact.
inline I dot_s8(I acc, B w, const uint8_t* x) {
    const __m256i four = four_bytes(reinterpret_cast<const int8_t*>(x));
    return {dot(acc.a, four, w.a), dot(acc.b, four, w.b)};
}
// dot_u8 where w < 128.
inline I dot_u7(I acc, B w, const int8_t* x) { return dot_u8(acc, w, x); }

}}  // namespace solvent::(anonymous)
