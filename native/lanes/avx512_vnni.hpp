// Sixteen lanes on AVX-512 with VNNI: one register each.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "../kernels/fives.hpp"

namespace solvent { namespace {

constexpr int kTileTokens = 8;
constexpr int kTilePanels = 2;

using F = __m512;
using I = __m512i;
using B = __m512i;

inline F f_set1(float v) { return _mm512_set1_ps(v); }
inline F f_load(const float* p) { return _mm512_loadu_ps(p); }
inline void f_store(float* p, F v) { _mm512_storeu_ps(p, v); }
inline F f_load_half(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline F f_load_bf16(const uint16_t* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
inline void f_store_half(uint16_t* p, F v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
inline F f_add(F a, F b) { return _mm512_add_ps(a, b); }
inline F f_sub(F a, F b) { return _mm512_sub_ps(a, b); }
inline F f_mul(F a, F b) { return _mm512_mul_ps(a, b); }
inline F f_div(F a, F b) { return _mm512_div_ps(a, b); }
inline F f_fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
inline F f_max(F a, F b) { return _mm512_max_ps(a, b); }
inline F f_min(F a, F b) { return _mm512_min_ps(a, b); }
inline F f_abs(F a) { return _mm512_abs_ps(a); }
inline F f_from_i(I a) { return _mm512_cvtepi32_ps(a); }
inline I i_round(F a) { return _mm512_cvtps_epi32(a); }
// v · 2^n for n in [-126, 127] and results that stay normal
inline F f_scale2(F v, I n) {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(v), _mm512_slli_epi32(n, 23)));
}
// Lanes from n on become fill.
inline F f_first_n(F v, int n, float fill) {
    const __mmask16 keep = n >= 16 ? 0xFFFF : n > 0 ? static_cast<__mmask16>((1u << n) - 1) : 0;
    return _mm512_mask_blend_ps(keep, _mm512_set1_ps(fill), v);
}

inline I i_zero() { return _mm512_setzero_si512(); }
inline I i_set1(int32_t v) { return _mm512_set1_epi32(v); }
inline I i_load(const int32_t* p) { return _mm512_loadu_si512(p); }
inline void i_store(int32_t* p, I v) { _mm512_storeu_si512(p, v); }
inline I i_add(I a, I b) { return _mm512_add_epi32(a, b); }
inline I i_sub(I a, I b) { return _mm512_sub_epi32(a, b); }
// The low byte of each lane.
inline void i_store_bytes(int8_t* p, I v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
}
// Sixteen signed bytes, one to a lane.
inline I i_load_signed(const int8_t* p) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

inline B b_load(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline void b_store(uint8_t* p, B v) { _mm512_storeu_si512(p, v); }
inline B b_and(B a, int mask) { return _mm512_and_si512(a, _mm512_set1_epi8(static_cast<char>(mask))); }
template <int n>
inline B b_shift(B a) {
    return _mm512_srli_epi16(a, n);
}
// a | (b & mask)
inline B b_or_masked(B a, B b, int mask) {
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8(static_cast<char>(mask)), 0xF8);
}

// Byte i of each lane, i = 0..3.
inline I i_byte(B v, int i) {
    return _mm512_and_si512(_mm512_srl_epi32(v, _mm_cvtsi32_si128(8 * i)), _mm512_set1_epi32(255));
}

// Each byte's low bits where mask has ones, from a; the rest from b.
inline B b_select(B a, B b, int mask) {
    return _mm512_ternarylogic_epi32(_mm512_set1_epi8(static_cast<char>(mask)), a, b, 0xCA);
}
template <int n>
inline B b_shift_up(B a) {
    return _mm512_slli_epi16(a, n);
}
// The top bit of each byte turned over: c − 128 as a signed byte.
inline B b_flip(B a) { return _mm512_xor_si512(a, _mm512_set1_epi8(-128)); }
// Byte i of a lane from byte i − 1, byte 0 from byte 3.
inline B b_turn_bytes(B v) { return _mm512_rol_epi32(v, 8); }
// Lane i from lane i − 1, lane 0 from lane 15.
inline B b_turn_lanes(B v) { return _mm512_alignr_epi32(v, v, 15); }

// 64 bytes, looked up by the low 6 bits of each byte.
struct Table {
#if defined(__AVX512VBMI__)
    __m512i all;
    explicit Table(const uint8_t* p) : all(_mm512_loadu_si512(p)) {}
    B at(B index) const { return _mm512_permutexvar_epi8(index, all); }
#else
    __m512i part[4];
    explicit Table(const uint8_t* p) {
        for (int i = 0; i < 4; ++i) part[i] = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * i)));
    }
    B at(B index) const {
        const __m512i low = _mm512_and_si512(index, _mm512_set1_epi8(15));
        const __mmask64 bit4 = _mm512_test_epi8_mask(index, _mm512_set1_epi8(16)), bit5 = _mm512_test_epi8_mask(index, _mm512_set1_epi8(32));
        const __m512i first = _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(part[0], low), bit4, part[1], low);
        const __m512i second = _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(part[2], low), bit4, part[3], low);
        return _mm512_mask_blend_epi8(bit5, first, second);
    }
#endif
};

#if defined(__AVX512VBMI__)
#define SOLVENT_OWN_FIVES
// The first four codes of 64 bytes of five, in two bits each, and 81 times the fifth.
inline void take_fives(const uint8_t* p, B& four, B& fifth) {
    // What is below 81 wraps to a large byte, so the smaller of both is the rest.
    const __m512i all = b_load(p), one = _mm512_set1_epi8(kFifth);
    const __m512i once = _mm512_min_epu8(all, _mm512_sub_epi8(all, one)), rest = _mm512_min_epu8(once, _mm512_sub_epi8(once, one));
    four = _mm512_permutex2var_epi8(b_load(kFourOfRest.at), rest, b_load(kFourOfRest.at + 64));
    fifth = _mm512_sub_epi8(all, rest);
}
#endif

// Lane i from lane i ^ n.
template <int n>
inline F f_swap(F v) {
    if constexpr (n == 1) return _mm512_permute_ps(v, 0xB1);
    else if constexpr (n == 2) return _mm512_permute_ps(v, 0x4E);
    else if constexpr (n == 4) return _mm512_shuffle_f32x4(v, v, 0xB1);
    else return _mm512_shuffle_f32x4(v, v, 0x4E);
}
inline I i_bits(F v) { return _mm512_castps_si512(v); }
inline F f_bits(I v) { return _mm512_castsi512_ps(v); }
inline I i_and(I a, I b) { return _mm512_and_si512(a, b); }
inline I i_or(I a, I b) { return _mm512_or_si512(a, b); }
inline I i_min(I a, I b) { return _mm512_min_epi32(a, b); }
inline I i_max(I a, I b) { return _mm512_max_epi32(a, b); }
// 16 unsigned bytes.
inline I i_load_bytes(const uint8_t* p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
// v >> n, of lanes that aren't negative.
template <int n>
inline I i_shift(I v) {
    return _mm512_srli_epi32(v, n);
}
// Bits of a where mask has ones, else of b.
inline I i_select(I mask, I a, I b) { return _mm512_ternarylogic_epi32(mask, a, b, 0xCA); }
// i + n where a > b, else i.
inline I i_add_where(F a, F b, I i, I n) { return _mm512_mask_add_epi32(i, _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), i, n); }
// Lanes whose bit is set become 0.
inline F f_without(F v, unsigned bits) { return _mm512_maskz_mov_ps(static_cast<__mmask16>(~bits), v); }
// Lane i of the table at the low 4 bits of index's lane i.
inline F f_pick(F table, I index) { return _mm512_permutexvar_ps(index, table); }

#define SOLVENT_OWN_REDUCTIONS
// ((l0+l8)+(l4+l12))+… : halves are added to each other.
inline float f_sum(F v) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float f_largest(F v) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
inline int32_t i_sum(I v) { return _mm512_reduce_add_epi32(v); }
inline int32_t i_largest(I v) { return _mm512_reduce_max_epi32(v); }
// 32 codes, and the sums of either half: of unsigned bytes 128 larger.
inline void i_store_codes(int8_t* q, I low, I high, int32_t* sums) {
    const __m256i all = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm512_cvtepi32_epi8(low)), _mm512_cvtepi32_epi8(high), 1);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), all);
    const __m256i eights = _mm256_sad_epu8(_mm256_xor_si256(all, _mm256_set1_epi8(-128)), _mm256_setzero_si256());
    const __m256i halves = _mm256_add_epi32(eights, _mm256_shuffle_epi32(eights, 0x4E));
    sums[0] = _mm256_cvtsi256_si32(halves) - 16 * 128;
    sums[1] = _mm_cvtsi128_si32(_mm256_extracti128_si256(halves, 1)) - 16 * 128;
}
// Writes the places of lanes where v > bound, `first` and on, and gives how many. Sixteen may be written.
inline int list_above(I v, I bound, int first, int32_t* places) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __mmask16 above = _mm512_cmpgt_epi32_mask(v, bound);
    _mm512_storeu_si512(places, _mm512_maskz_compress_epi32(above, _mm512_add_epi32(lane, _mm512_set1_epi32(first))));
    return __builtin_popcount(above);
}

// acc[lane] += Σ w[4·lane + i] · x[i], i = 0..3. w unsigned, x signed, exact.
// As assembly, since GCC 12 copies the sum around its intrinsic, in and out: two moves a product.
inline I dot_u8(I acc, B w, const int8_t* x) {
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(_mm512_set1_epi32(four)));
    return acc;
}
// acc[lane] += Σ w[4·lane + i] · x[i], i = 0..3. w signed, x below 128, exact.
inline I dot_s8(I acc, B w, const uint8_t* x) {
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(_mm512_set1_epi32(four)), "v"(w));
    return acc;
}
// dot_u8 where w < 128.
inline I dot_u7(I acc, B w, const int8_t* x) { return dot_u8(acc, w, x); }

}}  // namespace solvent::(anonymous)
