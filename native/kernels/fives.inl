// Five ternary codes to a byte as quads: 64 bytes hold 20 columns of 16 rows, quad j the j-th code of each byte.
// Lanes that take bytes apart by one look-up define SOLVENT_OWN_FIVES; those want weights packed so. Enter at Fives.

namespace solvent { namespace {

#if defined(SOLVENT_OWN_FIVES)
constexpr Format kOneScaleTernary = Format::t5;
#else
constexpr Format kOneScaleTernary = Format::t2;

inline void take_fives(const uint8_t* p, B& four, B& fifth) {
    uint8_t fours[64], fifths[64];
    for (int i = 0; i < 64; ++i) {
        int rest = p[i];
        for (int twice = 0; twice < 2; ++twice) rest -= rest >= kFifth ? kFifth : 0;
        fours[i] = kFourOfRest.at[rest];
        fifths[i] = static_cast<uint8_t>(p[i] - rest);
    }
    four = b_load(fours);
    fifth = b_load(fifths);
}
#endif

struct Fives {
    B four, fifth;
    explicit Fives(const uint8_t* p) { take_fives(p, four, fifth); }
    // Code j of each byte; 81 and 162 end in the bits 1 and 2.
    B quad(int j) const {
        switch (j) {
            case 0: return b_and(four, 3);
            case 1: return b_and(b_shift<2>(four), 3);
            case 2: return b_and(b_shift<4>(four), 3);
            case 3: return b_and(b_shift<6>(four), 3);
            default: return b_and(fifth, 3);
        }
    }
    // The same times 4^j, the last times 81: what saves moving them.
    B in_place(int j) const { return j < kFive - 1 ? b_and(four, 3 << 2 * j) : fifth; }
};

// Sums of products with in_place's bytes, divided by what those were times; exact, as the inverse of 81 modulo 2^32 is.
inline I sum_of_places(const I* sums) {
    constexpr uint32_t inverse = 0x781948B1u;
    static_assert(inverse * kFifth == 1u, "81 times its inverse is 1");
    int32_t place[kFive][kRows], total[kRows];
    for (int j = 0; j < kFive; ++j) i_store(place[j], sums[j]);
    for (int r = 0; r < kRows; ++r) {
        const uint32_t fifth = static_cast<uint32_t>(place[kFive - 1][r]) * inverse;
        total[r] = place[0][r] + (place[1][r] >> 2) + (place[2][r] >> 4) + (place[3][r] >> 6) + static_cast<int32_t>(fifth);
    }
    return i_load(total);
}

}}  // namespace solvent::(anonymous)
