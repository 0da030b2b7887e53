// What a kernel gets and gives: plain records and one table of functions per CPU feature.
// Lanes are always 16: each table computes the same operations in the same order, so results are equal
// bit for bit across features. Layouts are described in docs/reference/weight-panels.md.
// Not here: threads, memory, models. Enter at Kernels.
#pragma once

#include <cstddef>
#include <cstdint>

namespace solvent {

// How a matrix lies in memory. Panel formats hold 16 rows side by side; row formats are the file's own bytes.
enum class Format : int32_t {
    q4_0,  // 4 bits, f16 scale per 32, codes offset by 8
    q4_1,  // 4 bits, f16 scale and minimum per 32
    q8_0,  // 8 bits (stored + 128), f16 scale per 32
    q4_k,  // 4 bits, int8 scale and minimum per 32 under an f16 each per 256
    q5_k,  // 5 bits, the same
    q6_k,  // 6 bits, codes offset by 32, int8 scale per 16 under an f16 per 256
    t2,    // 2 bits (code = weight + 1), one scale for the matrix; activations int8 per token
    t5,    // the same in 1.6 bits: five codes to a byte
    u3,    // 3 bits, no scale: sums of codes less 3, of which the head's screen makes estimates
    t2g,   // 2 bits, f16 scale per group of 32·n, times one for the matrix; activations int8 per 32
    f16,   // rows of the file
    bf16,
    f32,
};

constexpr int kRows = 16;   // rows of a panel
constexpr int kOutliers = 8;
constexpr int kBlock = 32;  // columns that share one activation scale
constexpr int kFineBlocks = 8;  // blocks whose int8 scales stand under one f16

struct MatrixView {
    Format format;
    int32_t n_rows;      // M
    int32_t n_cols;      // K
    int32_t n_panels;    // ceil(M / 16); row formats count 16 rows as a panel too
    int32_t n_blocks;    // ceil(K / 32)
    int32_t group_blocks;  // t2g: blocks per scale
    const uint8_t* data;
    size_t panel_bytes;  // panel formats: from one panel to the next; row formats: from one row to the next
    float scale;         // t2, t5, u3, t2g
};

// Activations of tokens: int8 per block of 32 (q, d, sum), int8 per token (q, d[0], sum[0]) or float (x).
struct Activations {
    const int8_t* q;
    const float* d;        // scale per block, or of the token
    const float* d_sum;    // d · Σq per block
    const int32_t* sum;    // Σq per block, or of the token
    const int32_t* sum_half;  // int8 per block: Σq per 16, two to a block; rows of 2·d_stride
    const float* x;
    size_t q_stride, d_stride, x_stride;  // from one token to the next, in elements
    // int8 per block: the token's kOutliers largest elements stand apart as floats, and as 0 in q. A few elements that
    // dwarf the rest would else set the scale of their blocks: SmolLM2's perplexity rises by 0.43% without, 0.004% with.
    const int32_t* outlier_at;
    const float* outlier;
};

constexpr int kMaxQueries = 8;     // query rows that attend together
constexpr int kKeyChunk = 256;     // tokens of a chunk of the cache, which share one softmax step
constexpr int kTileKeys = 128;     // tokens whose scales share an exponent; tokens of a tile share a centre
constexpr int kMaxTiles = 5;       // tiles of a chunk: the first has 16, 16, 32, 64 and 128 tokens, others 128 and 128
constexpr int kStoredTogether = 4;  // what waits in one vector's encoding is filled by the others'
constexpr int kLongestHead = 256;  // elements of a head that can be codes
constexpr int kWindow = 6;         // bits that pick an entry of a code book: a code's own, and older ones below them

// How elements become codes. docs/reference/turboquant-format.md
struct CodeBook {
    alignas(64) uint8_t table[64];  // by window: 128 + value/unit
    float value[64];                // by window: what the bytes stand for, of unit variance
    uint8_t nearest[256];           // by round(x/unit) + 128: the own bits of the nearest value; scalar books of 5 and 6 bits
    float border[16];               // scalar books of up to 4 bits: half-way from a value to the next; infinity behind
    float unit;                     // of the bytes
    int32_t bits;                   // 1 to 6, or 8: the byte is the code
    int32_t trellis;                // older bits matter
    float gain;                     // of a decoded vector: what makes products unbiased on the whole, or 1
};

// A vector x that becomes codes: own bits of each element of x · inverse.
struct Encoding {
    const CodeBook* book;
    const float* x;
    float inverse;  // 1/scale as it is kept, so that codes make up for its rounding; 0: zeros
    uint8_t* codes;
};

// One chunk of keys and values of one head of one layer. f16: k in blocks of 16 tokens [16][D][16], v in rows
// [256][D_padded]. Codes: blocks of 16 tokens, then a byte of scale for each token.
struct CacheView {
    const uint8_t* k;
    const uint8_t* v;
    const uint8_t* next_k;         // of the next chunk or head, to fetch ahead; this one's where there is none
    int32_t head_size;
    int32_t v_stride;              // f16: D rounded up to 16
    const CodeBook* key_book;      // null: f16
    const CodeBook* value_book;
    size_t key_block_bytes, value_block_bytes;  // of 16 tokens
    const uint8_t* k_scales;
    const uint8_t* v_scales;
    float k_base[2], v_base[2];    // per kTileKeys: 2^(e − 255/16)
    const uint16_t* centres;       // f16, D each; null: none
    const uint8_t* next_centres;
    const uint8_t* tile_of_block;  // which centre a block of 16 has
};

// A bias that isn't in the keys of a chunk. Of its head's n_turns pairs of elements, those listed have one.
struct BiasTurns {
    const int32_t* pairs;
    int32_t n_pairs;
    size_t n_turns;
    const float *even, *odd;          // rows of n_turns: what cos(tθ) and sin(tθ) are multiplied by
    const float *cos, *sin;           // [token from the chunk's first on][n_turns]
    const float *lane_cos, *lane_sin;  // [n_turns][16]: of turns by 0 to 15 tokens
};

// Running softmax of up to kMaxQueries rows: Σ exp(s − max)·v, its denominator and its maximum.
struct Attending {
    const float* q;        // rows of q_stride floats, already times 1/√D; turned where keys are codes
    size_t q_stride;
    int32_t n_rows;
    const int32_t* n_keys;  // per row: keys of the chunk that it may see
    float* out;            // rows of out_stride floats; where values are codes, turned and [D/16 elements][16 lanes]
    size_t out_stride;
    float* max;
    float* total;
    float* scores;         // scratch: kMaxQueries · kKeyChunk floats
    const int8_t* q_codes;  // rows of q_stride: q/q_unit, element j·D/4 + i at 4·i + j
    const float* q_unit;
    const int32_t* q_sum;   // Σ q_codes
    float* centre_scores;   // scratch: kMaxQueries · kMaxTiles
    const BiasTurns* bias = nullptr;  // null: keys are whole
};

// Where a token's int8 blocks are written to; as in Activations.
struct Quantised {
    int8_t* q;
    float* d;
    float* d_sum;
    int32_t* sum;
    int32_t* sum_half;
    int32_t* outlier_at;
    float* outlier;
};

// Rows of the head by their codes: estimate = scale · (sum + shift), off by residual · by_residual + length · by_length.
struct ScreenRows {
    const float *sum, *scale, *residual, *length;
    float shift, by_residual, by_length;
};

struct ScreenBest {
    float estimate;
    int32_t row;
};

// Of one row v and its codes c less 3.5: Σ v·c and Σ c².
struct ScreenSums {
    float with, squares;
};

// How far ahead codes are fetched into the second-level cache. The CPU's own prefetcher starts anew with every matrix
// and stops at pages: SmolLM2's layers ran at 15 GB/s without, 25 at 2 KiB, 26 at 4 KiB, 32 at 8 to 16 KiB, of 34.
constexpr std::ptrdiff_t kAhead = 12'288;

struct Kernels {
    const char* name;
    // What ternary weights of one scale are packed as: t5 where taking five apart costs less than the bytes that it saves,
    // else t2. Products of either run on every table.
    Format one_scale_ternary;
    // y[rows] = W·x for panels [begin, end) of w. y has room for whole panels. ahead: bytes from what is read to what is
    // fetched meanwhile, kAhead or the way to where the thread reads on.
    void (*gemv)(const MatrixView& w, int begin, int end, const Activations& x, float* y, std::ptrdiff_t ahead);
    // The same for n tokens, y rows of y_stride floats. scratch: gemm_scratch_bytes.
    void (*gemm)(const MatrixView& w, int begin, int end, const Activations& x, int n_tokens, float* y,
                 size_t y_stride, uint8_t* scratch);
    // One row of a file's q8_0, q6_k, f16, bf16 or f32, as gemv computes it, bit for bit.
    float (*row_dot)(Format format, const uint8_t* row, int n_cols, const Activations& x);
    // out = x · w / √(mean(x²) + eps)
    void (*rms_norm)(const float* x, const float* w, float eps, int n, float* out);
    void (*add)(float* x, const float* y, int n);
    void (*quantise_blocks)(const float* x, int n, const Quantised& out);
    void (*quantise_token)(const float* x, int n, int8_t* q, float* d, int32_t* sum);
    void (*silu_mul)(const float* gate, const float* up, int n, float* out);
    void (*relu2_mul)(const float* gate, const float* up, int n, float* out);
    // Rotates one head: x of n floats; cos and sin of n/2; pairs (2i, 2i+1) or (i, i+n/2).
    void (*rope)(float* x, const float* cos, const float* sin, int n, bool adjacent);
    void (*store_half)(const float* x, int n, uint16_t* out, size_t step);
    // The first n keys of one more chunk.
    void (*attend)(const CacheView& cache, int n, Attending& a);
    // y = H·(signs∘x)/√n by pieces that are powers of two, and back. x may be y. n a multiple of 16.
    void (*turn)(const float* x, const float* signs, int n, float* y);
    void (*turn_back)(const float* x, const float* signs, int n, float* y);
    void (*subtract_halves)(float* x, const uint16_t* y, int n);
    // Up to kStoredTogether vectors of n elements; two of trellis books are encoded side by side.
    void (*encode)(const Encoding* encodings, int n_encodings, int n);
    float (*square_sum)(const float* x, int n);
    // Σ_t scales[t] · key t of n elements, of the keys of n_blocks blocks, as their codes' bytes tell.
    void (*key_sums)(const CodeBook& book, const uint8_t* blocks, int n_blocks, int n, const float* scales, float* sums);
    // q_codes of one row: int8 in the order that keys have.
    void (*quantise_query)(const float* q, int n, int8_t* codes, float* unit, int32_t* sum);
    int (*argmax)(const float* x, int n);
    ScreenBest (*screen_best)(const ScreenRows& rows, int begin, int end);
    int (*screen_rows)(const ScreenRows& rows, int begin, int end, float floor, int32_t* found);
    void (*screen_codes)(const float* v, int n, float by_step, uint8_t* codes, ScreenSums* sums);
};

// Scratch of gemm for n tokens and matrices of at most n_cols columns. A panel: codes, scales and minima of a chunk, sums
// of all tokens and columns as floats. Two panels, and numbers that say which columns.
constexpr size_t kGemmCols = 1024;  // columns unpacked at a time
constexpr size_t gemm_panel_bytes(int n_tokens, int n_cols) {
    return kGemmCols * kRows + (2 * (kGemmCols / 16) + static_cast<size_t>(n_tokens) + static_cast<size_t>(n_cols)) * kRows * 4;
}
constexpr size_t gemm_scratch_bytes(int n_tokens, int n_cols) {
    return 2 * gemm_panel_bytes(n_tokens, n_cols) + (2 * static_cast<size_t>(n_cols) + static_cast<size_t>(n_tokens) * kOutliers) * 4 + 64;
}

const Kernels& kernels_scalar();
const Kernels& kernels_avx2();
const Kernels& kernels_avx_vnni();
const Kernels& kernels_avx512_vnni();
const Kernels& kernels_avx512vbmi();  // the same, and tables of 64 bytes
const Kernels& kernels_amx_int8();
const Kernels& kernels_asimd();
const Kernels& kernels_asimddp();

}  // namespace solvent
