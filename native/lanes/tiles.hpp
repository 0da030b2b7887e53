// The tile registers of AMX as gemm uses them: eight of at most 16 rows by 64 bytes, shaped once per thread and use.
// Without -mamx-int8 the same operations in plain C++, which trap where the manual faults: tests run those anywhere.
// Source: Intel SDM vol. 1 chapter 18 and vol. 2, LDTILECFG, TILELOADD, TILESTORED, TDPBSSD, TILERELEASE.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace solvent { namespace {

struct TileShape {
    int rows, row_bytes;
};

// What LDTILECFG reads.
struct alignas(64) TileConfig {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64, "the processor reads 64 bytes");

inline TileConfig tile_config(const TileShape (&shapes)[8]) {
    TileConfig config = {};
    config.palette = 1;
    for (int i = 0; i < 8; ++i) {
        config.rows[i] = static_cast<uint8_t>(shapes[i].rows);
        config.row_bytes[i] = static_cast<uint16_t>(shapes[i].row_bytes);
    }
    return config;
}

// Each byte less n.
template <int n>
inline B b_minus(B a) {
    if constexpr (n == 0) {
        return a;
    } else {
#if defined(__AVX512BW__)
        return _mm512_sub_epi8(a, _mm512_set1_epi8(static_cast<char>(n)));
#else
        uint8_t bytes[64];
        b_store(bytes, a);
        for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(byte - n);
        return b_load(bytes);
#endif
    }
}

#if defined(__AMX_INT8__)

// In assembly, since the intrinsics of GCC 12 don't tell the compiler what memory they read: it drops or moves
// the stores before them.
class Tiles {
  public:
    explicit Tiles(const TileShape (&shapes)[8]) {
        const TileConfig config = tile_config(shapes);
        __asm__ volatile("ldtilecfg %0" ::"m"(config));
    }
    ~Tiles() { __asm__ volatile("tilerelease"); }
    Tiles(const Tiles&) = delete;
    Tiles& operator=(const Tiles&) = delete;

    template <int t>
    void zero() {
        __asm__ volatile("tilezero %%tmm%c0" ::"i"(t));
    }
    template <int t>
    void load(const void* p, size_t stride) {
        __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(t) : "memory");
    }
    template <int t>
    void store(void* p, size_t stride) {
        __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(t) : "memory");
    }
    // c[m][n] += Σ a[m][4k + i] · b[k][4n + i] over k and i = 0..3; bytes signed, sums of 32 bits.
    template <int c, int a, int b>
    void dot() {
        __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(c), "i"(a), "i"(b));
    }
};

#else

class Tiles {
  public:
    explicit Tiles(const TileShape (&shapes)[8]) : config_(tile_config(shapes)) {
        for (int i = 0; i < 8; ++i)
            fault_if(config_.rows[i] > 16 || config_.row_bytes[i] > 64 || !config_.rows[i] != !config_.row_bytes[i]);
    }
    Tiles(const Tiles&) = delete;
    Tiles& operator=(const Tiles&) = delete;

    template <int t>
    void zero() {
        fault_if(!config_.rows[t]);
        std::memset(data_[t], 0, sizeof data_[t]);
    }
    template <int t>
    void load(const void* p, size_t stride) {
        zero<t>();
        for (int r = 0; r < config_.rows[t]; ++r)
            std::memcpy(data_[t][r], static_cast<const uint8_t*>(p) + r * stride, config_.row_bytes[t]);
    }
    template <int t>
    void store(void* p, size_t stride) {
        fault_if(!config_.rows[t]);
        for (int r = 0; r < config_.rows[t]; ++r)
            std::memcpy(static_cast<uint8_t*>(p) + r * stride, data_[t][r], config_.row_bytes[t]);
    }
    template <int c, int a, int b>
    void dot() {
        static_assert(c != a && c != b && a != b, "three tiles");
        fault_if(!config_.rows[c] || config_.rows[a] != config_.rows[c] || config_.row_bytes[b] != config_.row_bytes[c]);
        fault_if(config_.row_bytes[a] % 4 || config_.row_bytes[c] % 4 || config_.row_bytes[a] / 4 != config_.rows[b]);
        for (int m = 0; m < config_.rows[c]; ++m)
            for (int n = 0; n < config_.row_bytes[c] / 4; ++n) {
                int32_t sum;
                std::memcpy(&sum, data_[c][m] + 4 * n, 4);
                for (int k = 0; k < config_.rows[b]; ++k)
                    for (int i = 0; i < 4; ++i)
                        sum += static_cast<int8_t>(data_[a][m][4 * k + i]) * static_cast<int8_t>(data_[b][k][4 * n + i]);
                std::memcpy(data_[c][m] + 4 * n, &sum, 4);
            }
    }

  private:
    static void fault_if(bool wrong) {
        if (wrong) __builtin_trap();
    }
    TileConfig config_;
    uint8_t data_[8][16][64] = {};
};

#endif

}}  // namespace solvent::(anonymous)
