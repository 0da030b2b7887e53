// Five ternary codes (0, 1, 2) in a byte: Σ code_j · 3^j, below 243. What takes it apart: four of the digits by a table
// of the rest modulo 81, the fifth as 81 times itself. Not here: where bytes lie (docs/reference/weight-panels.md).
#pragma once

#include <cstdint>

namespace solvent {

constexpr int kFive = 5;             // codes of a byte
constexpr int kFifth = 81;           // what the last of them counts
constexpr int kMostFiveCols = 1 << 18;  // int32 holds the sums of bytes taken apart up to 521,000 columns

// By the rest modulo 81: code j in bits 2·j and 2·j + 1. Rests end at 80; bytes that no packing makes reach up to 93.
struct FourOfRest {
    alignas(64) uint8_t at[128];
    constexpr FourOfRest() : at() {
        for (int rest = 0; rest < 128; ++rest)
            for (int j = 0, left = rest % kFifth; j < 4; ++j, left /= 3) at[rest] = static_cast<uint8_t>(at[rest] | (left % 3) << 2 * j);
    }
};
inline constexpr FourOfRest kFourOfRest;

constexpr uint8_t five_in_byte(int first, int second, int third, int fourth, int fifth) {
    return static_cast<uint8_t>(first + 3 * second + 9 * third + 27 * fourth + kFifth * fifth);
}

}  // namespace solvent
