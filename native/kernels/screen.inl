// The head's screen: rows become codes of three bits, which estimate every logit.
// Not here: which rows are looked at again (native/head.cpp).

namespace solvent { namespace {

inline F estimate_at(const ScreenRows& s, int i, int n) {
    return f_mul(f_load_n(s.scale + i, n), f_add(f_load_n(s.sum + i, n), f_set1(s.shift)));
}

inline F highest_at(const ScreenRows& s, int i, int n) {
    const F margin = f_fma(f_load_n(s.residual + i, n), f_set1(s.by_residual), f_mul(f_load_n(s.length + i, n), f_set1(s.by_length)));
    return f_add(estimate_at(s, i, n), margin);
}

// The largest estimate and its row, the first of equals; no row where none is a number.
ScreenBest screen_best(const ScreenRows& s, int begin, int end) {
    const float none = -__builtin_inff();
    F highest = f_set1(none);
    for (int i = begin; i < end; i += 16) highest = f_max(f_first_n(estimate_at(s, i, end - i), end - i, none), highest);
    ScreenBest best = {f_largest(highest), -1};
    for (int i = begin; i < end; ++i)
        if (s.scale[i] * (s.sum[i] + s.shift) == best.estimate) {
            best.row = i;
            break;
        }
    return best;
}

// Writes the rows where estimate + margin isn't below floor, or is no number, to `rows`, in order; gives how many. Sixteen
// more may be written.
int screen_rows(const ScreenRows& s, int begin, int end, float floor, int32_t* rows) {
    const float bottom = -__FLT_MAX__;
    const F most = f_set1(__FLT_MAX__), none = f_set1(bottom), least = f_set1(floor > bottom ? floor : bottom);
    int found = 0;
    // Bits of what is 0 or more are no negative number. The smaller of a pair is the second where one is no number; with no
    // infinity on either side their difference always is one.
    for (int i = begin; i < end; i += 16) {
        const F highest = f_max(f_min(highest_at(s, i, end - i), most), none);
        found += list_above(i_bits(f_sub(highest, least)), i_set1(-1), i, rows + found);
    }
    while (found && rows[found - 1] >= end) --found;
    return found;
}

// Codes round(v / step + 3.5) from 0 to 7 of n floats, a multiple of 16, and the sums that their scale is made of.
void screen_codes(const float* v, int n, float by_step, uint8_t* codes, ScreenSums* sums) {
    const F by = f_set1(by_step), middle = f_set1(3.5f);
    F with = f_set1(0.0f), squares = with;
    for (int i = 0; i < n; i += 16) {
        const F w = f_load(v + i);
        const I code = i_round(f_max(f_min(f_fma(w, by, middle), f_set1(7.0f)), f_set1(0.0f)));
        i_store_bytes(reinterpret_cast<int8_t*>(codes + i), code);
        const F c = f_sub(f_from_i(code), middle);
        with = f_fma(w, c, with);
        squares = f_fma(c, c, squares);
    }
    *sums = {f_sum(with), f_sum(squares)};
}

}}  // namespace solvent::(anonymous)
