#include "codes.hpp"

#include <cmath>
#include <cstring>

#include "half.hpp"
#include "kernels/contract.hpp"

namespace solvent {

namespace {

// Eight codes, a byte each, as 8·bits bits: neighbours are joined, then pairs, then fours.
uint64_t join(const uint8_t* codes, int bits) {
    uint64_t x;
    std::memcpy(&x, codes, 8);
    if (bits == 8) return x;
    const uint64_t one = (uint64_t{1} << bits) - 1, two = (uint64_t{1} << (2 * bits)) - 1, four = (uint64_t{1} << (4 * bits)) - 1;
    x = (x & (one * 0x0001000100010001u)) | ((x >> (8 - bits)) & (one * 0x0001000100010001u) << bits);
    x = (x & (two * 0x0000000100000001u)) | ((x >> (16 - 2 * bits)) & (two * 0x0000000100000001u) << (2 * bits));
    return (x & four) | ((x >> (32 - 4 * bits)) & four << (4 * bits));
}

void part(uint64_t x, int n, int bits, uint8_t* codes) {
    for (int i = 0; i < n; ++i) codes[i] = static_cast<uint8_t>((x >> (i * bits)) & ((1u << bits) - 1));
}

// Bits of a head of 64 that one token has in a lane: half of a unit's.
struct Half {
    int shift;
    uint64_t mask;
};

Half half_of(int bits, int group) {
    const uint64_t mask = (uint64_t{1} << (4 * bits)) - 1;
    return group % 2 ? Half{4 * bits, mask << (4 * bits)} : Half{0, mask};
}

}  // namespace

void pack_key(const uint8_t* codes, int n, int bits, int t, uint8_t* block) {
    const int quarter = n / 4;
    for (int unit = 0; unit < quarter / 8; ++unit) {
        uint64_t stream[4];
        for (int j = 0; j < 4; ++j) stream[j] = join(codes + j * quarter + 8 * unit, bits);
        for (int i = 0; i < bits; ++i) {
            uint8_t* to = block + static_cast<size_t>(unit * bits + i) * 64 + 4 * static_cast<size_t>(t);
            for (int j = 0; j < 4; ++j) to[j] = static_cast<uint8_t>(stream[j] >> (8 * i));
        }
    }
}

void unpack_key(const uint8_t* block, int n, int bits, int t, uint8_t* codes) {
    const int quarter = n / 4;
    for (int unit = 0; unit < quarter / 8; ++unit) {
        uint64_t stream[4] = {};
        for (int i = 0; i < bits; ++i) {
            const uint8_t* from = block + static_cast<size_t>(unit * bits + i) * 64 + 4 * static_cast<size_t>(t);
            for (int j = 0; j < 4; ++j) stream[j] |= static_cast<uint64_t>(from[j]) << (8 * i);
        }
        for (int j = 0; j < 4; ++j) part(stream[j], 8, bits, codes + j * quarter + 8 * unit);
    }
}

void pack_value(const uint8_t* codes, int n, int bits, int t, uint8_t* block) {
    const int own = n / 16, group = t / 4, byte = t % 4;
    if (own == 4) {
        uint8_t* unit = block + static_cast<size_t>(group / 2 * bits) * 64 + byte;
        const Half half = half_of(bits, group);
        for (int lane = 0; lane < 16; ++lane) {
            uint8_t eight[8] = {};
            std::memcpy(eight, codes + 4 * lane, 4);
            const uint64_t stream = join(eight, bits) << half.shift;
            for (int i = 0; i < bits; ++i) {
                const uint8_t mask = static_cast<uint8_t>(half.mask >> (8 * i));
                uint8_t& to = unit[static_cast<size_t>(i) * 64 + 4 * lane];
                if (mask) to = static_cast<uint8_t>((to & ~mask) | ((stream >> (8 * i)) & mask));
            }
        }
        return;
    }
    const int units = own / 8;
    for (int lane = 0; lane < 16; ++lane)
        for (int unit = 0; unit < units; ++unit) {
            const uint64_t stream = join(codes + lane * own + 8 * unit, bits);
            uint8_t* to = block + static_cast<size_t>((group * units + unit) * bits) * 64 + 4 * lane + byte;
            for (int i = 0; i < bits; ++i) to[static_cast<size_t>(i) * 64] = static_cast<uint8_t>(stream >> (8 * i));
        }
}

void unpack_value(const uint8_t* block, int n, int bits, int t, uint8_t* codes) {
    const int own = n / 16, group = t / 4, byte = t % 4, units = own == 4 ? 1 : own / 8;
    const size_t first = own == 4 ? static_cast<size_t>(group / 2) : static_cast<size_t>(group * units);
    for (int lane = 0; lane < 16; ++lane)
        for (int unit = 0; unit < units; ++unit) {
            const uint8_t* from = block + (first + static_cast<size_t>(unit)) * bits * 64 + 4 * lane + byte;
            uint64_t stream = 0;
            for (int i = 0; i < bits; ++i) stream |= static_cast<uint64_t>(from[static_cast<size_t>(i) * 64]) << (8 * i);
            if (own == 4) part(stream >> half_of(bits, group).shift, 4, bits, codes + 4 * lane);
            else part(stream, 8, bits, codes + lane * own + 8 * unit);
        }
}

void values_of(const CodeBook& book, const uint8_t* codes, int n, float* values) {
    if (book.bits == 8) {
        for (int i = 0; i < n; ++i) values[i] = static_cast<float>(codes[i] - 128) * book.unit * book.gain;
        return;
    }
    unsigned window = 0;
    const auto next = [&](int i) { return (window >> book.bits | static_cast<unsigned>(codes[i]) << (kWindow - book.bits)) & 63u; };
    for (int i = n - kWindow; i < n; ++i) window = next(i);
    for (int i = 0; i < n; ++i) {
        window = next(i);
        values[i] = book.value[window] * book.gain;
    }
}

float scale_base(int exponent) {
    // 2^(−255/16) = 1.044… · 2^−16, whose exponent field is 127 − 16; what is below 2^−126 is 0.
    const int field = 127 - 16 + exponent;
    return field > 0 ? bits_to_float(static_cast<uint32_t>(field) << 23 | 0x05AAC3u) : 0.0f;
}

float scale_of(uint8_t code, int exponent) {
    return code == 0 ? 0.0f : std::exp2(static_cast<float>(exponent) + static_cast<float>(code - 255) / 16.0f);
}

int scale_steps(float scale) { return scale > 0.0f ? static_cast<int>(std::nearbyint(16.0f * std::log2(scale))) : kNoScale; }

float scale_from_steps(int steps) { return steps == kNoScale ? 0.0f : std::exp2(static_cast<float>(steps) / 16.0f); }

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
