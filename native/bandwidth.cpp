#include "bandwidth.hpp"

#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include "matrix.hpp"
#include "pool.hpp"

namespace solvent {

namespace {

// Eight independent sums of 64-bit words: loads are the limit, not additions.
uint64_t read_words(const uint8_t* p, size_t n) {
    uint64_t sum[8] = {};
    for (size_t i = 0; i + 64 <= n; i += 64) {
        uint64_t words[8];
        std::memcpy(words, p + i, 64);
        for (int j = 0; j < 8; ++j) sum[j] += words[j];
    }
    return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

}  // namespace

double read_bandwidth(size_t bytes, int n_threads, int n_passes) {
    Pages pages(bytes, true);
    std::memset(pages.data(), 1, pages.bytes());
    Team team(n_threads);
    const size_t share = pages.bytes() / static_cast<size_t>(n_threads) / 64 * 64;
    std::vector<uint64_t> sums(static_cast<size_t>(n_threads) * 8);
    double best = 0.0;
    for (int pass = 0; pass < n_passes; ++pass) {
        const auto start = std::chrono::steady_clock::now();
        team.run([&](int thread) {
            sums[static_cast<size_t>(thread) * 8] = read_words(pages.data() + share * static_cast<size_t>(thread), share);
        });
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        // The sums are known, so no compiler may leave the reads out.
        if (sums[0] != share / 8 * 0x0101010101010101ull) return 0.0;
        const double rate = static_cast<double>(share) * n_threads / took.count();
        if (rate > best) best = rate;
    }
    return best;
}

}  // namespace solvent
