#include "../lanes/avx512_vnni.hpp"

#define SOLVENT_TABLE kernels_avx512_vnni
#define SOLVENT_NAME "avx512_vnni"
#include "table.inl"
