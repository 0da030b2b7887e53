// How fast threads read memory here and now: the limit that a token's bytes are held against.
#pragma once

#include <cstddef>

namespace solvent {

// Bytes per second of the fastest of n_passes sequential reads of a fresh buffer, each thread reading its share.
double read_bandwidth(size_t bytes, int n_threads, int n_passes);

}  // namespace solvent
