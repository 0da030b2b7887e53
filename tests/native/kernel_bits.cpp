// Runs every operation of one table of kernels on pseudo-random data and prints a checksum of the bits of each result:
// what two tables print is the same text, on whatever processor. Built with -DTABLE=kernels_<feature>, and with
// -DBEFORE=<function> where something must be called first.
//   kernel_bits MOST_TOKENS
// Not here: whether results are right, which the scalar table's own tests say. Enter at main().
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <vector>

#include "random_products.hpp"

using namespace solvent;

namespace {

const Kernels& kernels = TABLE();

uint64_t checksum(const void* p, size_t n, uint64_t seed = 0xCBF29CE484222325u) {
    for (size_t i = 0; i < n; ++i) seed = (seed ^ static_cast<const uint8_t*>(p)[i]) * 0x100000001B3u;
    return seed;
}

// Processors differ in the sign of the NaN that an operation makes.
template <typename T>
void print(const char* what, int n, std::vector<T> v) {
    if constexpr (std::is_same_v<T, float>)
        for (float& x : v)
            if (x != x) x = __builtin_nanf("");
    std::printf("%s %d %016llx\n", what, n, static_cast<unsigned long long>(checksum(v.data(), v.size() * sizeof(T))));
}

// gemv of each token, and gemm of 1 … most tokens, whose every row must be gemv's.
void products(const char* name, const MatrixView& w, const Tokens& tokens, int most) {
    const size_t width = static_cast<size_t>(w.n_panels) * kRows;
    std::vector<float> one(width * static_cast<size_t>(most));
    for (int t = 0; t < most; ++t) kernels.gemv(w, 0, w.n_panels, tokens.one(t), one.data() + width * static_cast<size_t>(t), kAhead);
    print(name, w.n_cols, one);
    for (int n = 1; n <= most; ++n) {
        std::vector<float> many(width * static_cast<size_t>(n));
        std::vector<uint8_t> scratch(gemm_scratch_bytes(n, w.n_cols));
        // One panel, then the rest: panels may go by twos.
        kernels.gemm(w, 0, 1, tokens.view, n, many.data(), width, scratch.data());
        kernels.gemm(w, 1, w.n_panels, tokens.view, n, many.data(), width, scratch.data());
        if (std::memcmp(many.data(), one.data(), many.size() * sizeof(float)) != 0) {
            std::printf("%s %d: gemm of %d tokens differs from gemv\n", name, w.n_cols, n);
            std::exit(1);
        }
    }
}

void panel_products(Random& random, int most) {
    for (const Shape& s : kShapes)
        for (const int n_cols : {32, 64, 96, 1056, 1088})
            for (const int group : {1, 2, 3}) {
                if (group > 1 && s.format != Format::t2g) break;
                const int n_blocks = n_cols / kBlock;
                MatrixView w = {s.format, 4 * kRows, n_cols, 4, n_blocks, group, nullptr, 0, 0.375f};
                const std::vector<uint8_t> data = panels(random, s, w);
                products(s.name, w, Tokens(random, most, n_cols, is_one_scale(s.format)), most);
            }
}

void row_products(Random& random, int most) {
    for (const Format format : {Format::f16, Format::bf16, Format::f32})
        for (const int n_cols : {1, 15, 16, 17, 100}) {
            const char* name = format == Format::f16 ? "f16" : format == Format::bf16 ? "bf16" : "f32";
            const size_t size = format == Format::f32 ? 4 : 2;
            const int n_rows = 23;
            std::vector<uint8_t> data(static_cast<size_t>(n_rows * n_cols) * size);
            for (size_t i = 0; i < data.size() / size; ++i) {
                const float v = random.number(i % 5 == 0 ? -14 : 0);  // some are subnormal halves
                const uint32_t bits = format == Format::f32 ? float_to_bits(v) : format == Format::f16 ? float_to_half(v) : float_to_bits(v) >> 16;
                std::memcpy(data.data() + i * size, &bits, size);
            }
            const MatrixView w = {format, n_rows, n_cols, 2, (n_cols + kBlock - 1) / kBlock, 1, data.data(), static_cast<size_t>(n_cols) * size, 1.0f};
            const Tokens tokens(random, most, n_cols, false);
            products(name, w, tokens, most);
            std::vector<float> dots;
            for (int r = 0; r < n_rows; ++r) dots.push_back(kernels.row_dot(format, data.data() + static_cast<size_t>(r) * w.panel_bytes, n_cols, tokens.view));
            print("row_dot", n_cols, dots);
        }
    std::vector<uint8_t> row(34 * 3);
    for (uint8_t& byte : row) byte = static_cast<uint8_t>(random.below(256));
    for (size_t b = 0; b < 3; ++b) row[34 * b + 1] &= 0x3F;
    print("row_dot q8_0", 96, std::vector<float>{kernels.row_dot(Format::q8_0, row.data(), 96, Tokens(random, 1, 96, false).view)});
}

void quantise(std::vector<float> x) {
    const int n = static_cast<int>(x.size());
    const size_t width = static_cast<size_t>((n + 31) / 32 * 32), n_blocks = width / 32;
    std::vector<int8_t> q(width), q_token(width);
    std::vector<float> d(n_blocks), d_sum(n_blocks), outlier(kOutliers), d_token(1);
    std::vector<int32_t> sum(n_blocks), sum_half(2 * n_blocks), at(kOutliers), sum_token(1);
    kernels.quantise_blocks(x.data(), n, {q.data(), d.data(), d_sum.data(), sum.data(), sum_half.data(), at.data(), outlier.data()});
    print("quantise_blocks q", n, q);
    print("quantise_blocks d", n, d);
    print("quantise_blocks d_sum", n, d_sum);
    print("quantise_blocks sum", n, sum);
    print("quantise_blocks sum_half", n, sum_half);
    print("quantise_blocks outliers", n, at);
    print("quantise_blocks outliers", n, outlier);
    kernels.quantise_token(x.data(), n, q_token.data(), d_token.data(), sum_token.data());
    print("quantise_token q", n, q_token);
    print("quantise_token d", n, d_token);
    print("quantise_token sum", n, sum_token);
}

void vectors(Random& random) {
    for (const int n : {1, 2, 15, 16, 17, 32, 33, 63, 64, 100, 1056}) {
        const std::vector<float> x = random.numbers(n, 3), w = random.numbers(n);
        std::vector<float> out(static_cast<size_t>(n));
        kernels.rms_norm(x.data(), w.data(), 1e-5f, n, out.data());
        print("rms_norm", n, out);
        kernels.silu_mul(x.data(), w.data(), n, out.data());
        print("silu_mul", n, out);
        kernels.relu2_mul(x.data(), w.data(), n, out.data());
        print("relu2_mul", n, out);
        kernels.add(out.data(), x.data(), n);
        print("add", n, out);
        std::vector<uint16_t> half(static_cast<size_t>(n) * 3);
        kernels.store_half(x.data(), n, half.data(), 3);
        print("store_half", n, half);
        for (const bool adjacent : {false, true}) {
            out = x;
            kernels.rope(out.data(), w.data(), w.data() + n / 2, n / 2 * 2, adjacent);
            print(adjacent ? "rope adjacent" : "rope halves", n, out);
        }
        print("argmax", n, std::vector<int>{kernels.argmax(x.data(), n)});
        quantise(x);
    }
    // What e^x clamps, what a half rounds to 0, to a subnormal, to a tie and to infinity, and no number.
    std::vector<float> ends = {-0.0f, 0.0f, 1e-8f, 3e-8f, 6e-5f, -6.1e-5f, 65504.0f, 65519.0f, 65520.0f, 1e30f, -1e30f, 1.00048828125f, __builtin_nanf(""), -200.0f, 87.5f, -87.5f};
    const std::vector<float> ones(ends.size(), 1.0f);
    std::vector<uint16_t> half(ends.size());
    std::vector<float> out(ends.size());
    kernels.store_half(ends.data(), 16, half.data(), 1);
    print("store_half", 0, half);
    kernels.silu_mul(ends.data(), ones.data(), 16, out.data());
    print("silu_mul", 0, out);
    kernels.relu2_mul(ends.data(), ones.data(), 16, out.data());
    print("relu2_mul", 0, out);
    std::vector<float> ties(64, 0.5f);
    for (size_t i = 0; i < ties.size(); ++i) ties[i] += static_cast<float>(static_cast<int>(i) - 32);
    ties[5] = 127.0f;
    quantise(ties);
    quantise(std::vector<float>(300, -0.25f));
    std::vector<float> rising(700);
    for (size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<float>(i / 3);
    quantise(rising);
    // Infinities times 0 are no numbers; more of them than outliers take.
    std::vector<float> infinite = random.numbers(64);
    for (size_t i = 3; i < 60; i += 5) infinite[i] = i % 2 ? __builtin_inff() : -__builtin_inff();
    quantise(infinite);
}

void screens(Random& random) {
    for (const int n : {1, 15, 16, 17, 500}) {
        std::vector<float> sum = random.numbers(n), scale = random.numbers(n), residual = random.numbers(n), length = random.numbers(n);
        for (std::vector<float>* one : {&scale, &residual, &length})
            for (float& v : *one) v = __builtin_fabsf(v);
        const ScreenRows rows = {sum.data(), scale.data(), residual.data(), length.data(), 0.125f, 0.25f, 0.0625f};
        for (const int begin : {0, n / 3}) {
            const ScreenBest best = kernels.screen_best(rows, begin, n);
            print("screen_best", n, std::vector<float>{best.estimate, static_cast<float>(best.row)});
            if (n > 16) sum[static_cast<size_t>(n / 2)] = __builtin_nanf(""), sum[static_cast<size_t>(n - 2)] = -__builtin_inff();
            for (const float floor : {0.5f * best.estimate, __builtin_inff(), -__builtin_inff(), __builtin_nanf("")}) {
                std::vector<int32_t> found(static_cast<size_t>(n - begin) + 16);
                found.resize(static_cast<size_t>(kernels.screen_rows(rows, begin, n, floor, found.data())));
                print("screen_rows", n, found);
            }
        }
    }
    for (const int n : {32, 96, 576}) {
        std::vector<uint8_t> codes(static_cast<size_t>(n));
        const std::vector<float> v = random.numbers(n);
        for (const float by_step : {0.0f, 1.0f, 4.0f, 1e30f}) {
            ScreenSums sums;
            kernels.screen_codes(v.data(), n, by_step, codes.data(), &sums);
            print("screen_codes", n, codes);
            print("screen_sums", n, std::vector<float>{sums.with, sums.squares});
        }
    }
}

void attention(Random& random) {
    for (const int head_size : {16, 64, 72})
        for (int n_rows = 1; n_rows <= kMaxQueries; ++n_rows) {
            const int most_keys = 600;
            const size_t v_stride = static_cast<size_t>((head_size + 15) / 16 * 16);
            const int chunks = (most_keys + kKeyChunk - 1) / kKeyChunk, blocks = chunks * kKeyChunk / 16;
            std::vector<uint16_t> k(static_cast<size_t>(blocks * 16 * head_size)), v(static_cast<size_t>(blocks) * 16 * v_stride);
            for (uint16_t& half : k) half = float_to_half(random.number());
            for (uint16_t& half : v) half = float_to_half(random.number());
            const std::vector<float> q = random.numbers(n_rows * head_size);
            std::vector<float> out(static_cast<size_t>(n_rows) * v_stride), max(kMaxQueries, -__builtin_inff()), total(kMaxQueries), scores(kMaxQueries * kKeyChunk);
            std::vector<int32_t> n_keys;
            for (int r = 0; r < n_rows; ++r) n_keys.push_back(most_keys - 40 * (n_rows - 1 - r) - random.below(30));
            Attending a = {q.data(), static_cast<size_t>(head_size), n_rows, n_keys.data(), out.data(), v_stride, max.data(), total.data(), scores.data(), nullptr, nullptr, nullptr, nullptr};
            const int all_keys = n_keys.back();
            for (int begin = 0; begin < all_keys; begin += kKeyChunk) {
                CacheView cache{};
                cache.k = cache.next_k = reinterpret_cast<const uint8_t*>(&k[static_cast<size_t>(begin * head_size)]);
                cache.v = reinterpret_cast<const uint8_t*>(&v[static_cast<size_t>(begin) * v_stride]);
                cache.head_size = head_size;
                cache.v_stride = static_cast<int32_t>(v_stride);
                kernels.attend(cache, std::min(kKeyChunk, all_keys - begin), a);
                for (int32_t& keys : n_keys) keys -= kKeyChunk;
            }
            print("attend out", head_size, out);
            print("attend max", head_size, max);
            print("attend total", head_size, total);
        }
}

CodeBook random_book(Random& random, int bits, bool trellis) {
    CodeBook book{};
    book.bits = bits;
    book.trellis = trellis;
    book.unit = 0.03125f;
    book.gain = 1.0f;
    const int shift = trellis ? 0 : kWindow - std::min(bits, kWindow);
    for (int i = 0; i < 64; ++i) book.table[i] = i >> shift << shift == i ? static_cast<uint8_t>(1 + random.below(255)) : book.table[i - 1];
    for (int i = 0; i < 64; ++i) book.value[i] = static_cast<float>(book.table[i] - 128) * book.unit;
    for (int i = 0; i < 16; ++i) book.border[i] = i < (1 << std::min(bits, 4)) - 1 ? 0.25f * static_cast<float>(i - 7) : __builtin_inff();
    for (uint8_t& code : book.nearest) code = static_cast<uint8_t>(random.below(1 << std::min(bits, kWindow)));
    return book;
}

void codes(Random& random) {
    const uint8_t tiles[16] = {0, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4};
    for (const int head_size : {64, 128, 256})
        for (const int bits : {1, 2, 3, 4, 5, 6, 8})
            for (int n_rows = 1; n_rows <= kMaxQueries; ++n_rows) {
                const CodeBook book = random_book(random, bits, bits > 1 && bits < 6 && n_rows % 2);
                const size_t block = static_cast<size_t>(head_size * bits * 2);
                std::vector<uint8_t> k(block * 16 + 256), v(block * 16 + 256);
                for (uint8_t& byte : k) byte = static_cast<uint8_t>(random.next());
                for (uint8_t& byte : v) byte = static_cast<uint8_t>(random.next());
                std::vector<uint16_t> centres(static_cast<size_t>(kMaxTiles * head_size));
                for (uint16_t& half : centres) half = float_to_half(random.number());
                const std::vector<float> q = random.numbers(n_rows * head_size);
                std::vector<int8_t> q_codes(q.size());
                std::vector<float> q_unit(kMaxQueries), out(q.size()), max(kMaxQueries, -__builtin_inff()), total(kMaxQueries), scores(kMaxQueries * kKeyChunk), centre_scores(kMaxQueries * kMaxTiles);
                std::vector<int32_t> q_sum(kMaxQueries), n_keys;
                for (int r = 0; r < n_rows; ++r) {
                    const size_t at = static_cast<size_t>(r * head_size);
                    kernels.quantise_query(&q[at], head_size, &q_codes[at], &q_unit[static_cast<size_t>(r)], &q_sum[static_cast<size_t>(r)]);
                    n_keys.push_back(210 - 20 * (n_rows - 1 - r) - random.below(15));
                }
                Attending a = {q.data(), static_cast<size_t>(head_size), n_rows, n_keys.data(), out.data(), static_cast<size_t>(head_size), max.data(), total.data(), scores.data(), q_codes.data(), q_unit.data(), q_sum.data(), centre_scores.data()};
                CacheView cache{};
                cache.k = cache.next_k = k.data();
                cache.v = v.data();
                cache.head_size = head_size;
                cache.key_book = cache.value_book = &book;
                cache.key_block_bytes = cache.value_block_bytes = block;
                cache.k_scales = k.data() + 16 * block;
                cache.v_scales = v.data() + 16 * block;
                for (int tile = 0; tile < 2; ++tile) cache.k_base[tile] = cache.v_base[tile] = 1.59343534e-05f;
                cache.centres = n_rows % 3 ? centres.data() : nullptr;
                cache.tile_of_block = tiles;
                kernels.attend(cache, n_keys.back(), a);
                print("codes out", head_size, out);
                print("codes max", bits, max);
                print("codes total", n_rows, total);
                print("query", head_size, q_codes);
                const std::vector<float> scales = random.numbers(kTileKeys);
                std::vector<float> sums(static_cast<size_t>(head_size));
                kernels.key_sums(book, k.data(), 1 + random.below(8), head_size, scales.data(), sums.data());
                print("key_sums", bits, sums);
            }
}

void encodes(Random& random) {
    for (const int head_size : {64, 80, 128, 256}) {
        std::vector<float> signs, x = random.numbers(head_size), y(x.size());
        for (int i = 0; i < head_size; ++i) signs.push_back(random.below(2) ? 1.0f : -1.0f);
        kernels.turn(x.data(), signs.data(), head_size, y.data());
        print("turn", head_size, y);
        kernels.turn_back(y.data(), signs.data(), head_size, x.data());
        print("turn_back", head_size, x);
        if (head_size == 80) continue;
        for (const int bits : {1, 2, 3, 4, 5, 6, 8})
            for (int trellis = 0; trellis <= (bits > 1 && bits < 6); ++trellis)
                for (int special = 0; special < 2; ++special) {
                    const CodeBook book = random_book(random, bits, trellis);
                    std::vector<float> z = special == 1 ? std::vector<float>(static_cast<size_t>(head_size)) : random.numbers(head_size);
                    std::vector<uint8_t> own(z.size()), other(z.size());
                    const std::vector<float> reversed(z.rbegin(), z.rend());
                    const Encoding two[2] = {{&book, z.data(), 2.0f, own.data()}, {&book, reversed.data(), 1.5f, other.data()}};
                    kernels.encode(two, 1, head_size);
                    print("encode", bits, own);
                    print("square_sum", bits, std::vector<float>{kernels.square_sum(z.data(), head_size)});
                    kernels.encode(two, 2, head_size);
                    print("encode first of two", bits, own);
                    print("encode second of two", bits, other);
                }
    }
}

}  // namespace

#if defined(BEFORE)
void BEFORE();
#endif

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    const int most = std::atoi(argv[1]);
#if defined(BEFORE)
    BEFORE();
#endif
    Random random = {20};
    panel_products(random, most);
    row_products(random, std::min(most, 9));
    vectors(random);
    screens(random);
    attention(random);
    codes(random);
    encodes(random);
    return 0;
}
