// All operations of one instruction set. The includer has included its lanes; it defines SOLVENT_TABLE and
// SOLVENT_NAME, the function that gives its table and the word that lscpu prints. Where it also includes tiles, it
// defines SOLVENT_TILES: products of many tokens then run on those.
#include "../half.hpp"
#include "contract.hpp"
#include "fives.hpp"

namespace solvent { namespace {

template <int n>
struct Count {
    static constexpr int value = n;
};

}}  // namespace solvent::(anonymous)

#include "lanes_math.inl"
#include "vectors.inl"
#include "quantise.inl"
#include "screen.inl"
#include "codes.inl"
#include "key_bias.inl"
#include "attend.inl"
#include "encode.inl"
#include "key_sums.inl"
#include "panels.inl"
#include "fives.inl"
#include "rows.inl"
#include "gemv.inl"
#include "gemm.inl"
#if defined(SOLVENT_TILES)
#include "gemm_amx_int8.inl"
#define SOLVENT_GEMM tiled_gemm
#else
#define SOLVENT_GEMM gemm
#endif

namespace solvent {

const Kernels& SOLVENT_TABLE() {
    static constexpr Kernels table = {SOLVENT_NAME, kOneScaleTernary, gemv, SOLVENT_GEMM, row_dot, rms_norm, add, quantise_blocks, quantise_token,
                                      silu_mul, relu2_mul, rope, store_half, attend,
                                      turn, turn_back, subtract_halves, encode, square_sum, key_sums, quantise_query, argmax,
                                      screen_best, screen_rows, screen_codes};
    return table;
}

}  // namespace solvent
