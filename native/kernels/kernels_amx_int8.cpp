// Tests build this file without its flags too: then on plain lanes and tiles in plain C++.
#if defined(__AVX512VNNI__)
#include "../lanes/avx512_vnni.hpp"
#else
#include "../lanes/scalar.hpp"
#endif
#include "../lanes/tiles.hpp"

#define SOLVENT_TABLE kernels_amx_int8
#define SOLVENT_NAME "amx_int8"
#define SOLVENT_TILES
#include "table.inl"
