#include "../lanes/asimd.hpp"

#define SOLVENT_TABLE kernels_asimd
#define SOLVENT_NAME "asimd"
#include "table.inl"
