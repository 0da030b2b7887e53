#include "codes.hpp"

#include <cmath>
#include <cstring>

#include "half.hpp"
#include "kernels/contract.hpp"

namespace solvent {

namespace {

// Eight codes, a byte each, as 8·bits bits: neighbours are joined, then pairs, then fours.
template <int bits>
uint64_t join(const uint8_t* codes) {
    uint64_t x;
    std::memcpy(&x, codes, 8);
    if constexpr (bits == 8) return x;
    constexpr uint64_t one = (uint64_t{1} << bits) - 1, two = (uint64_t{1} << (2 * bits)) - 1, four = (uint64_t{1} << (4 * bits % 64)) - 1;
    x = (x & (one * 0x0001000100010001u)) | ((x >> (8 - bits)) & (one * 0x0001000100010001u) << bits);
    x = (x & (two * 0x0000000100000001u)) | ((x >> (16 - 2 * bits)) & (two * 0x0000000100000001u) << (2 * bits));
    return (x & four) | ((x >> (32 - 4 * bits)) & four << (4 * bits % 64));
}

// Four of them.
template <int bits>
uint32_t join_four(const uint8_t* codes) {
    uint32_t x;
    std::memcpy(&x, codes, 4);
    if constexpr (bits == 8) return x;
    constexpr uint32_t one = (1u << bits) - 1, two = (1u << (2 * bits)) - 1;
    x = (x & (one * 0x00010001u)) | ((x >> (8 - bits)) & (one * 0x00010001u) << bits);
    return (x & two) | ((x >> (16 - 2 * bits)) & two << (2 * bits));
}

template <int bits>
void pack_key_of(const uint8_t* codes, int n, int t, uint8_t* block) {
    const int quarter = n / 4;
    for (int unit = 0; unit < quarter / 8; ++unit) {
        uint64_t stream[4];
        for (int j = 0; j < 4; ++j) stream[j] = join<bits>(codes + j * quarter + 8 * unit);
        for (int i = 0; i < bits; ++i) {
            uint8_t lane[4];
            for (int j = 0; j < 4; ++j) lane[j] = static_cast<uint8_t>(stream[j] >> (8 * i));
            std::memcpy(block + static_cast<size_t>(unit * bits + i) * 64 + 4 * static_cast<size_t>(t), lane, 4);
        }
    }
}

// A head of 64: a lane holds four elements, half of a unit's bits.
template <int bits, int odd>
void pack_short_value(const uint8_t* codes, int byte, uint8_t* unit) {
    constexpr int shift = odd * 4 * bits, end = shift + 4 * bits;
    constexpr uint64_t mask = ((uint64_t{1} << (4 * bits)) - 1) << shift;
    for (int lane = 0; lane < 16; ++lane) {
        const uint64_t stream = static_cast<uint64_t>(join_four<bits>(codes + 4 * lane)) << shift;
        for (int i = shift / 8; i < (end + 7) / 8; ++i) {
            const uint8_t own = static_cast<uint8_t>(mask >> (8 * i));
            uint8_t& to = unit[static_cast<size_t>(i) * 64 + 4 * static_cast<size_t>(lane) + static_cast<size_t>(byte)];
            to = static_cast<uint8_t>((to & ~own) | ((stream >> (8 * i)) & own));
        }
    }
}

template <int bits>
void pack_value_of(const uint8_t* codes, int n, int t, uint8_t* block) {
    const int own = n / 16, group = t / 4, byte = t % 4, units = own / 8;
    if (own == 4) return (group % 2 ? pack_short_value<bits, 1> : pack_short_value<bits, 0>)(codes, byte, block + static_cast<size_t>(group / 2 * bits) * 64);
    for (int lane = 0; lane < 16; ++lane)
        for (int unit = 0; unit < units; ++unit) {
            const uint64_t stream = join<bits>(codes + lane * own + 8 * unit);
            uint8_t* to = block + static_cast<size_t>((group * units + unit) * bits) * 64 + 4 * lane + byte;
            for (int i = 0; i < bits; ++i) to[static_cast<size_t>(i) * 64] = static_cast<uint8_t>(stream >> (8 * i));
        }
}

// Sixteenths of an octave, and the mantissas half-way between them: at most one in each 32nd of the mantissas.
struct Sixteenths {
    float power[16];
    uint32_t border[32];  // in a 32nd of the mantissas, or one that none reaches
    int32_t below[32];    // borders below it
    Sixteenths() {
        for (int i = 0; i < 16; ++i) power[i] = static_cast<float>(std::exp2(i / 16.0));
        for (int i = 0, next = 0; i < 32; ++i) {
            const uint32_t end = static_cast<uint32_t>(i + 1) << 18;
            const auto half_way = static_cast<uint32_t>(std::ceil((std::exp2((next + 0.5) / 16.0) - 1.0) * 8388608.0));
            const bool here = next < 16 && half_way < end;
            below[i] = next;
            border[i] = here ? half_way : end;
            next += here;
        }
    }
};
const Sixteenths kSixteenthSteps;  // made once, before any cache

}  // namespace

void pack_key(const uint8_t* codes, int n, int bits, int t, uint8_t* block) {
    switch (bits) {
        case 1: return pack_key_of<1>(codes, n, t, block);
        case 2: return pack_key_of<2>(codes, n, t, block);
        case 3: return pack_key_of<3>(codes, n, t, block);
        case 4: return pack_key_of<4>(codes, n, t, block);
        case 5: return pack_key_of<5>(codes, n, t, block);
        case 6: return pack_key_of<6>(codes, n, t, block);
        default: return pack_key_of<8>(codes, n, t, block);
    }
}

void pack_value(const uint8_t* codes, int n, int bits, int t, uint8_t* block) {
    switch (bits) {
        case 1: return pack_value_of<1>(codes, n, t, block);
        case 2: return pack_value_of<2>(codes, n, t, block);
        case 3: return pack_value_of<3>(codes, n, t, block);
        case 4: return pack_value_of<4>(codes, n, t, block);
        case 5: return pack_value_of<5>(codes, n, t, block);
        case 6: return pack_value_of<6>(codes, n, t, block);
        default: return pack_value_of<8>(codes, n, t, block);
    }
}

float scale_base(int exponent) {
    // 2^(−255/16) = 1.044… · 2^−16, whose exponent field is 127 − 16; what is below 2^−126 is 0.
    const int field = 127 - 16 + exponent;
    return field > 0 ? bits_to_float(static_cast<uint32_t>(field) << 23 | 0x05AAC3u) : 0.0f;
}

int scale_steps(float scale) {
    if (!(scale > 0.0f)) return kNoScale;
    const uint32_t bits = float_to_bits(scale), mantissa = bits & 0x7FFFFFu;
    if (bits >> 23 == 0) return static_cast<int>(std::nearbyint(16.0f * std::log2(scale)));
    const uint32_t part = mantissa >> 18;
    return 16 * (static_cast<int>(bits >> 23) - 127) + kSixteenthSteps.below[part] + (mantissa >= kSixteenthSteps.border[part]);
}

float scale_from_steps(int steps) {
    if (steps == kNoScale) return 0.0f;
    const int octave = (steps + 16 * 1000) / 16 - 1000;
    if (octave < -126 || octave > 127) return std::exp2(static_cast<float>(steps) / 16.0f);
    return kSixteenthSteps.power[steps - 16 * octave] * bits_to_float(static_cast<uint32_t>(octave + 127) << 23);
}

float scale_of(uint8_t code, int exponent) { return code == 0 ? 0.0f : scale_from_steps(16 * exponent + code - 255); }

void store_scale(int steps, uint8_t* codes, int first, int t, int8_t* exponent) {
    codes[t] = 0;
    if (steps == kNoScale) return;
    const int octaves = (steps + 15 + 16 * 1000) / 16 - 1000;  // rounded up
    if (*exponent == kNoExponent) *exponent = static_cast<int8_t>(octaves + 2 < -100 ? -100 : octaves + 2 > 100 ? 100 : octaves + 2);
    int code = 255 + steps - 16 * *exponent;
    if (code > 255) {
        const int grown = (code - 255 + 15) / 16;
        *exponent = static_cast<int8_t>(*exponent + grown > 120 ? 120 : *exponent + grown);
        for (int i = first; i < t; ++i) codes[i] = static_cast<uint8_t>(codes[i] > 16 * grown ? codes[i] - 16 * grown : 0);
        code -= 16 * grown;
    }
    codes[t] = static_cast<uint8_t>(code < 0 ? 0 : code > 255 ? 255 : code);
}

}  // namespace solvent
