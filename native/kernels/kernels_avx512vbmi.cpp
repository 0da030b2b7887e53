#include "../lanes/avx512_vnni.hpp"

#define SOLVENT_TABLE kernels_avx512vbmi
#define SOLVENT_NAME "avx512vbmi"
#include "table.inl"
