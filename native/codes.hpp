// Codes of one vector in the bytes of a block of 16 tokens, and its scale as a byte. The layout: docs/reference/turboquant-format.md.
#pragma once

#include <cstddef>
#include <cstdint>

namespace solvent {

// Whether a head of n elements can be kept as codes: multiples of 32 whose values fill lanes in fours.
constexpr bool packs(int n) { return n == 64 || n % 128 == 0; }

void pack_key(const uint8_t* codes, int n, int bits, int t, uint8_t* block);
void pack_value(const uint8_t* codes, int n, int bits, int t, uint8_t* block);

// A scale as a byte: 2^(exponent + (code − 255)/16), 0 of code 0.
constexpr int kNoExponent = -128;
float scale_of(uint8_t code, int exponent);
// 2^(exponent − 255/16)
float scale_base(int exponent);
// A scale in sixteenths of octaves, the nearest; kNoScale where it is 0.
constexpr int kNoScale = -100000;
int scale_steps(float scale);
float scale_from_steps(int steps);
// The code of token t's scale. Where it is more than the exponent allows, the exponent grows and the codes of the tile's
// earlier tokens, from `first` on, shrink. An exponent that isn't yet leaves room for two octaves more.
void store_scale(int steps, uint8_t* codes, int first, int t, int8_t* exponent);

}  // namespace solvent
