// What a bias of the keys adds to scores, where it isn't in the keys: even·cos(tθ) + odd·sin(tθ) of each of its pairs.
// A block of 16 tokens begins at T and lane l is token T + l: both terms are turned to T once, and lanes by l.

namespace solvent { namespace {

template <int R>
inline void add_key_bias(const BiasTurns& bias, const Attending& a, int row, int n) {
    float even[R][kLongestHead / 2], odd[R][kLongestHead / 2];
    for (int t = 0; t < n; t += 16) {
        const float *cos = bias.cos + static_cast<size_t>(t) * bias.n_turns, *sin = bias.sin + static_cast<size_t>(t) * bias.n_turns;
        for (size_t i = 0; i < bias.n_turns; i += 16) {
            const F c = f_load(cos + i), s = f_load(sin + i);
            for (int r = 0; r < R; ++r) {
                const size_t at = static_cast<size_t>(row + r) * bias.n_turns + i;
                const F e = f_load(bias.even + at), o = f_load(bias.odd + at);
                f_store(even[r] + i, f_fma(e, c, f_mul(o, s)));
                f_store(odd[r] + i, f_sub(f_mul(o, c), f_mul(e, s)));
            }
        }
        F score[R];
        for (int r = 0; r < R; ++r) score[r] = f_load(a.scores + (row + r) * kKeyChunk + t);
        for (int p = 0; p < bias.n_pairs; ++p) {
            const size_t i = static_cast<size_t>(bias.pairs[p]);
            const F c = f_load(bias.lane_cos + 16 * i), s = f_load(bias.lane_sin + 16 * i);
            for (int r = 0; r < R; ++r) score[r] = f_fma(f_set1(even[r][i]), c, f_fma(f_set1(odd[r][i]), s, score[r]));
        }
        for (int r = 0; r < R; ++r) f_store(a.scores + (row + r) * kKeyChunk + t, score[r]);
    }
}

}}  // namespace solvent::(anonymous)
