// A token's vector as int8: per block of 32 with its outliers apart, or per token. What is no number is the largest of
// all, so that it stays one in the outliers or the scale, and in every sum that it is part of.

namespace solvent { namespace {

// |v| as bits: they have the order of what they stand for, and what is no number stands above infinity.
inline I sizes(F v) { return i_and(i_bits(v), i_set1(0x7FFFFFFF)); }

inline float of_size(int32_t bits) {
    float v;
    __builtin_memcpy(&v, &bits, 4);
    return v;
}

// What is infinite or no number becomes 127, so that sums of codes stay in range.
inline I to_codes(F v) { return i_round(f_max(f_min(v, f_set1(127.0f)), f_set1(-127.0f))); }

inline void quantise_block(F low, F high, int b, Quantised out) {
    const float largest = of_size(i_largest(i_max(sizes(low), sizes(high))));
    const F inverse = f_set1(largest > 0.0f ? 127.0f / largest : 0.0f);
    int32_t* half = out.sum_half + 2 * b;
    i_store_codes(out.q + b * kBlock, to_codes(f_mul(low, inverse)), to_codes(f_mul(high, inverse)), half);
    const int32_t sum = half[0] + half[1];
    const float d = largest / 127.0f;
    out.sum[b] = sum;
    out.d[b] = d;
    out.d_sum[b] = d * static_cast<float>(sum);
}

// Places of elements that may be among the largest, in order.
constexpr int kListed = 64;
struct Listed {
    int32_t at[kListed + kRows];
    int n;
};

// Keeps the kOutliers largest of those listed, the first of equals, and gives the size of the least of them.
inline int32_t keep_largest(const float* x, int n, Listed& l) {
    int32_t size[kListed + kRows];  // −1 behind
    const int padded = (l.n + kRows - 1) / kRows * kRows;
    for (int i = 0; i < padded; ++i) {
        const float v = i < l.n && l.at[i] < n ? __builtin_fabsf(x[l.at[i]]) : 0.0f;
        __builtin_memcpy(&size[i], &v, 4);
        if (i >= l.n) size[i] = -1;
    }
    int kept = 0;
    int32_t least = 0;
    for (int i = 0; i < l.n; ++i) {
        int larger = 0;
        for (int j = 0; j < padded; ++j) larger += (size[j] > size[i]) | ((size[j] == size[i]) & (j < i));
        l.at[kept] = l.at[i];
        kept += larger < kOutliers;
        if (larger == kOutliers - 1) least = size[i];
    }
    l.n = kept;
    return least;
}

// The kOutliers largest elements. Each of eight groups has one that is at least as large as the least of the groups'
// maxima, so that what is smaller isn't among them; about twenty are left to compare.
inline void list_outliers(const float* x, int n, Listed& l) {
    static_assert(kOutliers == 8, "sixteen lanes make eight groups");
    I most = i_zero();
    for (int i = 0; i < n; i += 16) most = i_max(sizes(f_load_n(x + i, n - i)), most);
    const I groups = i_max(most, i_bits(f_swap<8>(f_bits(most))));
    int32_t below = -i_largest(i_sub(i_zero(), groups)) - 1;
    l.n = 0;
    for (int i = 0; i < n; i += 16) {
        if (l.n >= kListed) below = keep_largest(x, n, l);
        l.n += list_above(sizes(f_load_n(x + i, n - i)), i_set1(below), i, l.at + l.n);
    }
    keep_largest(x, n, l);
}

void quantise_blocks(const float* x, int n, const Quantised& to) {
    const Quantised out = to;  // in registers: what is stored could else be part of it
    Listed l;
    list_outliers(x, n, l);
    int32_t* taken = out.sum;  // bits of a block's outliers, until its sum is known
    for (int b = 0; b * kBlock < n; ++b) taken[b] = 0;
    for (int o = 0; o < kOutliers; ++o) {
        const bool known = o < l.n && l.at[o] < n;  // fewer where the vector is shorter
        const int at = known ? l.at[o] : 0;
        out.outlier_at[o] = at;
        out.outlier[o] = known ? x[at] : 0.0f;
        if (known) taken[at / kBlock] |= static_cast<int32_t>(1u << at % kBlock);
    }
    for (int i = 0; i < n; i += kBlock) {
        const uint32_t bits = static_cast<uint32_t>(taken[i / kBlock]);
        const F low = f_load_n(x + i, n - i), high = n - i > 16 ? f_load_n(x + i + 16, n - i - 16) : f_set1(0.0f);
        quantise_block(f_without(low, bits & 0xFFFF), f_without(high, bits >> 16), i / kBlock, out);
    }
}

// q = round(x · 127 / max(|x|, 1e-5)), half to even, and 1/that factor: arXiv:2402.17764 §2 as trained (BitLinear).
void quantise_token(const float* x, int n, int8_t* q, float* d, int32_t* sum) {
    I largest = i_bits(f_set1(1e-5f));
    for (int i = 0; i < n; i += 16) largest = i_max(largest, sizes(f_load_n(x + i, n - i)));
    const float s = 127.0f / of_size(i_largest(largest));
    I total = i_zero();
    // To the end of the last block, where something longer may have been before.
    const int end = (n + kBlock - 1) / kBlock * kBlock;
    for (int i = 0; i < end; i += 16) {
        const I v = to_codes(f_mul(f_load_n(x + i, n - i), f_set1(s)));
        i_store_bytes(q + i, v);
        total = i_add(total, v);
    }
    *d = 1.0f / s;
    *sum = i_sum(total);
}

}}  // namespace solvent::(anonymous)
