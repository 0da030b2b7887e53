// Sixteen lanes as two 256-bit registers; the includer says how four bytes are multiplied into 32 bits.
#include <immintrin.h>

#include <cstdint>

namespace solvent { namespace {

constexpr int kTilePanels = 1;

struct F {
    __m256 a, b;
};
struct I {
    __m256i a, b;
};
using B = I;

inline F f_set1(float v) { return {_mm256_set1_ps(v), _mm256_set1_ps(v)}; }
inline F f_load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void f_store(float* p, F v) {
    _mm256_storeu_ps(p, v.a);
    _mm256_storeu_ps(p + 8, v.b);
}
inline __m128i half_load(const uint16_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline F f_load_half(const uint16_t* p) {
    return {_mm256_cvtph_ps(half_load(p)), _mm256_cvtph_ps(half_load(p + 8))};
}
inline __m256 bf16_wide(__m128i v) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16)); }
inline F f_load_bf16(const uint16_t* p) { return {bf16_wide(half_load(p)), bf16_wide(half_load(p + 8))}; }
inline void f_store_half(uint16_t* p, F v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(v.b, _MM_FROUND_TO_NEAREST_INT));
}
inline F f_add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline F f_sub(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline F f_mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline F f_div(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline F f_fma(F x, F y, F z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
inline F f_max(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline F f_min(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline F f_abs(F x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline F f_from_i(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline I i_round(F x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
inline __m256 scale2(__m256 v, __m256i n) {
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v), _mm256_slli_epi32(n, 23)));
}
// v · 2^n for n in [-126, 127] and results that stay normal
inline F f_scale2(F v, I n) { return {scale2(v.a, n.a), scale2(v.b, n.b)}; }
// Lanes from n on become fill.
inline F f_first_n(F v, int n, float fill) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256 f = _mm256_set1_ps(fill);
    const __m256 low = _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane));
    const __m256 high = _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n - 8), lane));
    return {_mm256_blendv_ps(f, v.a, low), _mm256_blendv_ps(f, v.b, high)};
}

// Lanes whose bit is set become 0.
inline F f_without(F v, unsigned bits) {
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128), zero = _mm256_setzero_si256();
    const auto keep = [&](unsigned eight) { return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(eight)), lane), zero)); };
    return {_mm256_and_ps(v.a, keep(bits)), _mm256_and_ps(v.b, keep(bits >> 8))};
}

inline I i_zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline I i_set1(int32_t v) { return {_mm256_set1_epi32(v), _mm256_set1_epi32(v)}; }
inline __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline I i_load(const int32_t* p) { return {load256(p), load256(p + 8)}; }
inline void i_store(int32_t* p, I v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v.a);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), v.b);
}
inline I i_add(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
inline I i_sub(I x, I y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
// The low byte of each lane.
inline void i_store_bytes(int8_t* p, I v) {
    int32_t lanes[16];
    i_store(lanes, v);
    for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(lanes[i]);
}
// Sixteen signed bytes, one to a lane.
inline I i_load_signed(const int8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))};
}

inline B b_load(const uint8_t* p) { return {load256(p), load256(p + 32)}; }
inline void b_store(uint8_t* p, B v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v.a);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), v.b);
}
inline B b_and(B x, int mask) {
    const __m256i m = _mm256_set1_epi8(static_cast<char>(mask));
    return {_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)};
}
template <int n>
inline B b_shift(B x) {
    return {_mm256_srli_epi16(x.a, n), _mm256_srli_epi16(x.b, n)};
}
// x | (y & mask)
inline B b_or_masked(B x, B y, int mask) {
    const B kept = b_and(y, mask);
    return {_mm256_or_si256(x.a, kept.a), _mm256_or_si256(x.b, kept.b)};
}
// Byte i of each lane, i = 0..3.
inline I i_byte(B v, int i) {
    const __m128i by = _mm_cvtsi32_si128(8 * i);
    const __m256i low = _mm256_set1_epi32(255);
    return {_mm256_and_si256(_mm256_srl_epi32(v.a, by), low), _mm256_and_si256(_mm256_srl_epi32(v.b, by), low)};
}
// Each byte's bits where mask has ones, from x; the rest from y.
inline B b_select(B x, B y, int mask) {
    const __m256i m = _mm256_set1_epi8(static_cast<char>(mask));
    return {_mm256_or_si256(_mm256_and_si256(m, x.a), _mm256_andnot_si256(m, y.a)),
            _mm256_or_si256(_mm256_and_si256(m, x.b), _mm256_andnot_si256(m, y.b))};
}
template <int n>
inline B b_shift_up(B x) {
    return {_mm256_slli_epi16(x.a, n), _mm256_slli_epi16(x.b, n)};
}
inline __m256i turn_bytes(__m256i v) { return _mm256_or_si256(_mm256_slli_epi32(v, 8), _mm256_srli_epi32(v, 24)); }
// The top bit of each byte turned over: c − 128 as a signed byte.
inline B b_flip(B x) {
    const __m256i top = _mm256_set1_epi8(-128);
    return {_mm256_xor_si256(x.a, top), _mm256_xor_si256(x.b, top)};
}
// Byte i of a lane from byte i − 1, byte 0 from byte 3.
inline B b_turn_bytes(B x) { return {turn_bytes(x.a), turn_bytes(x.b)}; }
// Lane i from lane i − 1, lane 0 from lane 15.
inline B b_turn_lanes(B x) {
    const __m256i down = _mm256_setr_epi32(7, 0, 1, 2, 3, 4, 5, 6);
    const __m256i a = _mm256_permutevar8x32_epi32(x.a, down), b = _mm256_permutevar8x32_epi32(x.b, down);
    return {_mm256_blend_epi32(a, b, 1), _mm256_blend_epi32(b, a, 1)};
}

// 64 bytes, looked up by the low 6 bits of each byte.
struct Table {
    __m256i part[4];
    explicit Table(const uint8_t* p) {
        for (int i = 0; i < 4; ++i) part[i] = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * i)));
    }
    __m256i half(__m256i index) const {
        const __m256i low = _mm256_and_si256(index, _mm256_set1_epi8(15));
        const __m256i bit4 = _mm256_slli_epi16(index, 3), bit5 = _mm256_slli_epi16(index, 2);  // to the sign, for blendv
        const __m256i first = _mm256_blendv_epi8(_mm256_shuffle_epi8(part[0], low), _mm256_shuffle_epi8(part[1], low), bit4);
        const __m256i second = _mm256_blendv_epi8(_mm256_shuffle_epi8(part[2], low), _mm256_shuffle_epi8(part[3], low), bit4);
        return _mm256_blendv_epi8(first, second, bit5);
    }
    B at(B index) const { return {half(index.a), half(index.b)}; }
};

template <int n>
inline __m256 swap(__m256 v) {
    if constexpr (n == 1) return _mm256_permute_ps(v, 0xB1);
    else if constexpr (n == 2) return _mm256_permute_ps(v, 0x4E);
    else return _mm256_permute2f128_ps(v, v, 1);
}
// Lane i from lane i ^ n.
template <int n>
inline F f_swap(F x) {
    if constexpr (n == 8) return {x.b, x.a};
    else return {swap<n>(x.a), swap<n>(x.b)};
}
inline I i_bits(F x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
inline F f_bits(I x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
inline I i_and(I x, I y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
inline I i_or(I x, I y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
inline I i_max(I x, I y) { return {_mm256_max_epi32(x.a, y.a), _mm256_max_epi32(x.b, y.b)}; }
// A bit for each lane where x > y.
inline unsigned i_above(I x, I y) {
    const auto eight = [](__m256i a, __m256i b) { return _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b))); };
    return static_cast<unsigned>(eight(x.a, y.a) | eight(x.b, y.b) << 8);
}
inline I i_min(I x, I y) { return {_mm256_min_epi32(x.a, y.a), _mm256_min_epi32(x.b, y.b)}; }
// 16 unsigned bytes.
inline I i_load_bytes(const uint8_t* p) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepu8_epi32(v), _mm256_cvtepu8_epi32(_mm_srli_si128(v, 8))};
}
// v >> n, of lanes that aren't negative.
template <int n>
inline I i_shift(I x) {
    return {_mm256_srli_epi32(x.a, n), _mm256_srli_epi32(x.b, n)};
}
inline __m256i select(__m256i m, __m256i x, __m256i y) { return _mm256_or_si256(_mm256_and_si256(m, x), _mm256_andnot_si256(m, y)); }
// Bits of x where mask has ones, else of y.
inline I i_select(I mask, I x, I y) { return {select(mask.a, x.a, y.a), select(mask.b, x.b, y.b)}; }
inline __m256i add_where(__m256 x, __m256 y, __m256i i, __m256i n) {
    return _mm256_add_epi32(i, _mm256_and_si256(n, _mm256_castps_si256(_mm256_cmp_ps(x, y, _CMP_GT_OQ))));
}
// i + n where x > y, else i.
inline I i_add_where(F x, F y, I i, I n) { return {add_where(x.a, y.a, i.a, n.a), add_where(x.b, y.b, i.b, n.b)}; }
inline __m256 pick(F table, __m256i index) {
    const __m256 low = _mm256_permutevar8x32_ps(table.a, index), high = _mm256_permutevar8x32_ps(table.b, index);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}
// Lane i of the table at the low 4 bits of index's lane i.
inline F f_pick(F table, I index) { return {pick(table, index.a), pick(table, index.b)}; }

inline __m256i four_bytes(const int8_t* x) {
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    return _mm256_set1_epi32(four);
}

}}  // namespace solvent::(anonymous)
