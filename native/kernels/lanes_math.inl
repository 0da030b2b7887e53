// Sums, maxima, exp and partial loads over sixteen lanes, in one fixed order for every instruction set.

namespace solvent { namespace {

inline int min_int(int a, int b) { return a < b ? a : b; }

// The first n of 16 floats, the rest 0; n may be more than 16.
inline F f_load_n(const float* p, int n) {
    if (n >= 16) return f_load(p);
    float lanes[16] = {};
    for (int i = 0; i < n; ++i) lanes[i] = p[i];
    return f_load(lanes);
}

inline void f_store_n(float* p, F v, int n) {
    if (n >= 16) return f_store(p, v);
    float lanes[16];
    f_store(lanes, v);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
}

#ifndef SOLVENT_OWN_REDUCTIONS
// ((l0+l8)+(l4+l12))+… : halves are added to each other.
inline float f_sum(F v) {
    float lane[16];
    f_store(lane, v);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
    return lane[0];
}

inline float f_largest(F v) {
    float lane[16];
    f_store(lane, v);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; ++i) lane[i] = lane[i] > lane[i + half] ? lane[i] : lane[i + half];
    return lane[0];
}

inline int32_t i_sum(I v) {
    int32_t lane[16];
    i_store(lane, v);
    int32_t sum = 0;
    for (int i = 0; i < 16; ++i) sum += lane[i];
    return sum;
}

inline int32_t i_largest(I v) {
    int32_t lane[16];
    i_store(lane, v);
    int32_t largest = lane[0];
    for (int i = 1; i < 16; ++i) largest = lane[i] > largest ? lane[i] : largest;
    return largest;
}

// 32 codes, and the sums of either half.
inline void i_store_codes(int8_t* q, I low, I high, int32_t* sums) {
    i_store_bytes(q, low);
    i_store_bytes(q + 16, high);
    sums[0] = i_sum(low);
    sums[1] = i_sum(high);
}

// Writes the places of lanes where v > bound, `first` and on, and gives how many. Sixteen may be written.
inline int list_above(I v, I bound, int first, int32_t* places) {
    int n = 0;
    for (unsigned bits = i_above(v, bound); bits; bits &= bits - 1) places[n++] = first + __builtin_ctz(bits);
    return n;
}
#endif

// e^x to 2 units in the last place on [−87, 88]; x outside is clamped. Range reduction by ln 2 in two parts
// (Cody and Waite), Taylor to the 7th power: |r| ≤ ln2/2, so the rest is below (0.347)⁸/8! = 5e-9.
inline F f_exp(F x) {
    x = f_min(f_set1(88.0f), f_max(f_set1(-87.0f), x));  // the second of a pair where one is no number
    const I n = i_round(f_mul(x, f_set1(1.44269504f)));
    const F whole = f_from_i(n);
    F r = f_fma(whole, f_set1(-0.693359375f), x);
    r = f_fma(whole, f_set1(2.12194440e-4f), r);
    F p = f_set1(1.0f / 5040.0f);
    p = f_fma(p, r, f_set1(1.0f / 720.0f));
    p = f_fma(p, r, f_set1(1.0f / 120.0f));
    p = f_fma(p, r, f_set1(1.0f / 24.0f));
    p = f_fma(p, r, f_set1(1.0f / 6.0f));
    p = f_fma(p, r, f_set1(0.5f));
    p = f_fma(p, r, f_set1(1.0f));
    p = f_fma(p, r, f_set1(1.0f));
    return f_scale2(p, n);
}

// The same for x ≤ 0 that weighs something: to 4e-7 (2e-7 where x > −10). A polynomial of the least relative error on
// |r| ≤ ln2/2, 9.2e-8; ln 2 in one part; x/ln 2 is rounded by the last place of 3·2²². What is no number stays so:
// low bits of its own would else be added to the exponent.
inline F f_exp_below(F x) {
    x = f_max(f_set1(-87.0f), x);
    const F rounder = f_set1(12582912.0f), placed = f_fma(x, f_set1(1.44269504f), rounder);
    const F whole = f_sub(placed, rounder), r = f_fma(whole, f_set1(-0.69314718f), x);
    F p = f_fma(f_set1(0.0082902722f), r, f_set1(0.0418981612f));
    p = f_fma(p, r, f_set1(0.1666763872f));
    p = f_fma(p, r, f_set1(0.4999914765f));
    p = f_fma(p, r, f_set1(0.9999997020f));
    p = f_fma(p, r, f_set1(1.0f));
    return f_scale2(p, i_round(whole));
}

}}  // namespace solvent::(anonymous)
