// Sixteen lanes on AVX2 with FMA and F16C.
#pragma once
#include "avx2.inl"

namespace solvent { namespace {

constexpr int kTileTokens = 3;

// Unsigned bytes below 128 times signed ones: two products stay below 2¹⁵ (127·128·2 = 32,512), so 16 bits hold them.
inline __m256i dot7(__m256i acc, __m256i w, __m256i x) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
}
// All unsigned bytes: even and odd ones apart, as 16-bit numbers, since maddubs would saturate.
inline __m256i dot8(__m256i acc, __m256i w, __m256i x) {
    const __m256i even_w = _mm256_and_si256(w, _mm256_set1_epi16(0xFF));
    const __m256i odd_w = _mm256_srli_epi16(w, 8);
    const __m256i even_x = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8);
    const __m256i odd_x = _mm256_srai_epi16(x, 8);
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(even_w, even_x));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(odd_w, odd_x));
}
// acc[lane] += Σ w[4·lane + i] · x[i], i = 0..3. w unsigned, x signed, exact.
inline I dot_u8(I acc, B w, const int8_t* x) {
    const __m256i four = four_bytes(x);
    return {dot8(acc.a, w.a, four), dot8(acc.b, w.b, four)};
}
// acc[lane] += Σ w[4·lane + i] · x[i], i = 0..3. w signed and above −128, x below 128, exact.
inline I dot_s8(I acc, B w, const uint8_t* x) {
    const __m256i four = four_bytes(reinterpret_cast<const int8_t*>(x));
    return {dot7(acc.a, four, w.a), dot7(acc.b, four, w.b)};
}
// dot_u8 where w < 128.
inline I dot_u7(I acc, B w, const int8_t* x) {
    const __m256i four = four_bytes(x);
    return {dot7(acc.a, w.a, four), dot7(acc.b, w.b, four)};
}

}}  // namespace solvent::(anonymous)
