// Random bytes of every number format and shape through packing, products and the vectors between them, for a build
// with sanitizers: every array is as long as the contract says and no longer. Each kernel set must give the bits of
// plain C++. Arguments: seed, executions. Prints how many products ran; a difference ends the program with 1.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "../../native/decoder.hpp"
#include "../../native/file_rows.hpp"

using namespace solvent;

namespace {

uint64_t state;

// splitmix64
uint64_t word() {
    uint64_t z = (state += 0x9E3779B97F4A7C15ull);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}
int below(int n) { return static_cast<int>(word() % static_cast<uint64_t>(n)); }

// Exactly n elements, on the heap: a step beyond them is seen.
template <typename T>
struct Exact {
    std::unique_ptr<T[]> data;
    size_t n;
    explicit Exact(size_t count) : data(new T[count ? count : 1]()), n(count) {}
    T* get() const { return data.get(); }
};

float number(int kind) {
    const float unit = static_cast<float>(static_cast<int64_t>(word() >> 40)) / 8388608.0f - 1.0f;
    if (kind < 6) return unit;
    if (kind == 6) return below(9) == 0 ? unit * 1e6f : unit;
    if (kind == 7) return unit * 1e-41f;
    const uint32_t bits = static_cast<uint32_t>(word());
    float any;
    std::memcpy(&any, &bits, 4);
    return any;
}

Exact<float> numbers(size_t n, int kind) {
    Exact<float> x(n);
    for (size_t i = 0; i < n; ++i) x.get()[i] = number(kind);
    return x;
}

// Equal bits, or no number on both sides.
bool same(const float* a, const float* b, size_t n) {
    for (size_t i = 0; i < n; ++i)
        if (std::memcmp(a + i, b + i, 4) != 0 && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
    return true;
}

const char* doing = "";
int rows_done, cols_done;

void need(bool holds, const char* what) {
    if (holds) return;
    std::printf("%s: %s, %d rows, %d columns\n", what, doing, rows_done, cols_done);
    std::exit(1);
}

std::vector<const Kernels*> tables() {
    std::vector<const Kernels*> found = {&kernels_scalar()};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&kernels_avx2());
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        found.push_back(&kernels_avx512_vnni());
#endif
    return found;
}

struct TypeName {
    const char* name;
    int columns;  // a row holds a multiple of
};
constexpr TypeName kNames[] = {{"f32", 1},      {"f16", 1},      {"bf16", 1},     {"q8_0", 32},     {"q4_0", 32},      {"q4_1", 32},
                               {"q4_k", 256},   {"q5_k", 256},   {"q6_k", 256},   {"tq1_0", 256},   {"tq2_0", 256},    {"q2_0_g64", 64},
                               {"q2_0_g128", 128}, {"i2_s", 128}, {"i2_s_arm", 64}, {"hf_ternary", 1}};

// y of n tokens together, or one by one.
Exact<float> product(const Kernels& kernels, const Matrix& m, const Exact<float>& x, int n_tokens, bool together) {
    const size_t n_cols = static_cast<size_t>(m.view.n_cols), stride = static_cast<size_t>(m.view.n_panels) * kRows;
    Exact<float> y(stride * static_cast<size_t>(n_tokens));
    Exact<uint8_t> scratch(gemm_scratch_bytes(n_tokens, m.view.n_cols));
    ActivationStore store;
    store.reserve(static_cast<size_t>(n_tokens), n_cols);
    if (together) {
        for (int t = 0; t < n_tokens; ++t) store.take(kernels, t, x.get() + static_cast<size_t>(t) * n_cols, m.view.n_cols, m.wants());
        kernels.gemm(m.view, 0, m.view.n_panels, store.view(m.wants()), n_tokens, y.get(), stride, scratch.get());
        return y;
    }
    for (int t = 0; t < n_tokens; ++t) {
        store.take(kernels, 0, x.get() + static_cast<size_t>(t) * n_cols, m.view.n_cols, m.wants());
        const int middle = below(m.view.n_panels + 1);
        kernels.gemv(m.view, 0, middle, store.view(m.wants()), y.get() + static_cast<size_t>(t) * stride, kAhead);
        kernels.gemv(m.view, middle, m.view.n_panels, store.view(m.wants()), y.get() + static_cast<size_t>(t) * stride, kAhead);
    }
    return y;
}

// The head in three bits: every kernel set makes the same of it, and multiplies it alike.
void fuzz_screen(const std::vector<const Kernels*>& all, const FileMatrix& file, const Exact<float>& x, int n_tokens) {
    const size_t n_rows = static_cast<size_t>(file.n_rows);
    const Screen truth = make_screen(file, *all[0], 1 + below(2));
    const size_t packed = static_cast<size_t>(truth.codes->view.n_panels) * truth.codes->view.panel_bytes;
    Exact<uint8_t> panels(packed);
    std::memcpy(panels.get(), truth.codes->view.data, packed);
    truth.codes->view.data = panels.get();
    const Exact<float> sums = product(*all[0], *truth.codes, x, n_tokens, false);
    for (const Kernels* kernels : all) {
        const Screen s = make_screen(file, *kernels, 1 + below(2));
        need(std::memcmp(s.codes->view.data, panels.get(), packed) == 0, "codes of the screen");
        need(same(s.scale.data(), truth.scale.data(), n_rows) && same(s.residual.data(), truth.residual.data(), n_rows) &&
             same(s.length.data(), truth.length.data(), n_rows), "rows of the screen");
        for (const bool together : {false, true}) {
            const Exact<float> y = product(*kernels, *truth.codes, x, n_tokens, together);
            need(same(y.get(), sums.get(), sums.n), "products of the screen");
        }
    }
}

int fuzz_product(const std::vector<const Kernels*>& all) {
    const TypeName& name = kNames[below(static_cast<int>(sizeof kNames / sizeof *kNames))];
    const FileType* type = file_type(name.name);
    const bool four = std::strcmp(name.name, "hf_ternary") == 0;
    const int n_rows = four ? 4 * (1 + below(10)) : 1 + below(40), n_cols = name.columns * (1 + below(name.columns == 1 ? 100 : 4));
    doing = name.name, rows_done = n_rows, cols_done = n_cols;
    const size_t n_bytes = file_bytes(*type, n_rows, n_cols), shift = static_cast<size_t>(below(8));
    Exact<uint8_t> bytes(n_bytes + shift);
    const bool sane = below(2);
    for (size_t i = 0; i < bytes.n; ++i) bytes.get()[i] = sane ? static_cast<uint8_t>(word() & 0x3B) : static_cast<uint8_t>(word());
    FileMatrix file = {type, bytes.get() + shift, n_rows, n_cols, number(below(9)), false};
    const bool per_token = below(2);
    const Format one_scale_ternary = below(2) ? Format::t5 : Format::t2;
    const auto packed_matrix = [&] {
        auto made = plan_matrix(file, per_token, one_scale_ternary);
        pack(*made, 1 + below(2));
        return made;
    };
    std::unique_ptr<Matrix> m;
    try {
        m = packed_matrix();
    } catch (const std::invalid_argument&) {  // a scale that is no finite number
        for (size_t i = 0; i < bytes.n; ++i) bytes.get()[i] &= 0x3B;
        file.scale = 0.5f;
        m = packed_matrix();
    }
    // Packed matrices share a mapping, where a step beyond one is into the next.
    const size_t packed = static_cast<size_t>(m->view.n_panels) * m->view.panel_bytes;
    Exact<uint8_t> panels(m->pages ? packed : 0);
    if (m->pages) {
        std::memcpy(panels.get(), m->view.data, packed);
        m->view.data = panels.get();
    }
    const int n_tokens = 1 + below(19);
    const Exact<float> x = numbers(static_cast<size_t>(n_tokens) * static_cast<size_t>(n_cols), below(9));
    const Exact<float> truth = product(*all[0], *m, x, n_tokens, false);
    for (const Kernels* kernels : all)
        for (const bool together : {false, true}) {
            const Exact<float> y = product(*kernels, *m, x, n_tokens, together);
            const size_t stride = static_cast<size_t>(m->view.n_panels) * kRows;
            for (int t = 0; t < n_tokens; ++t)
                need(same(y.get() + static_cast<size_t>(t) * stride, truth.get() + static_cast<size_t>(t) * stride, static_cast<size_t>(n_rows)), kernels->name);
        }
    RowCodes scratch(n_cols);
    Exact<float> row(static_cast<size_t>(n_cols));
    read_floats(file, below(n_rows), scratch, row.get());
    // The head's two passes.
    const bool by_row = std::strcmp(name.name, "q8_0") == 0 || std::strcmp(name.name, "q6_k") == 0;
    if (n_cols % 32 == 0 && (by_row || type->is_float())) {
        const Rounded codes = round_matrix(file, below(2) ? Format::q6_k : Format::q8_0, 1 + below(2));
        need(codes.matrix->packed(), "rounding");
        fuzz_screen(all, file, x, n_tokens);
        ActivationStore store;
        store.reserve(1, static_cast<size_t>(n_cols));
        const int r = below(n_rows);
        for (const Kernels* kernels : all) {
            store.take(*kernels, 0, x.get(), n_cols, m->wants());
            const size_t row_bytes = file_bytes(*type, 1, n_cols);
            const float y = kernels->row_dot(m->view.format, file.data + static_cast<size_t>(r) * row_bytes, n_cols, store.view(m->wants()));
            need(same(&y, truth.get() + r, 1), "row_dot");
        }
    }
    return 2 * static_cast<int>(all.size());
}

void fuzz_vectors(const std::vector<const Kernels*>& all) {
    const int n = 2 * (1 + below(150)), kind = below(9);
    doing = "vectors", rows_done = 1, cols_done = n;
    const size_t size = static_cast<size_t>(n);
    const Exact<float> a = numbers(size, kind), b = numbers(size, below(9)), c = numbers(size, below(6));
    std::vector<Exact<float>> truth;
    std::vector<uint16_t> halves;
    std::vector<int32_t> rows, rows_then;
    const float floor = number(0);
    int best = 0;
    for (const Kernels* k : all) {
        std::vector<Exact<float>> found;
        for (int i = 0; i < 6; ++i) found.emplace_back(size);
        for (int i = 4; i < 6; ++i) std::memcpy(found[static_cast<size_t>(i)].get(), a.get(), size * 4);
        k->rms_norm(a.get(), b.get(), 1e-5f, n, found[0].get());
        k->silu_mul(a.get(), b.get(), n, found[1].get());
        k->relu2_mul(a.get(), b.get(), n, found[2].get());
        const ScreenRows estimates = {a.get(), b.get(), c.get(), c.get(), 0.5f, 0.25f, 0.125f};
        const ScreenBest first = k->screen_best(estimates, 0, n);
        found[3].get()[0] = first.estimate;
        found[3].get()[1] = static_cast<float>(first.row);
        k->add(found[4].get(), b.get(), n);
        k->rope(found[5].get(), b.get(), c.get(), n, n % 4 == 0);
        const size_t step = n % 3 == 0 ? 16 : 1;
        Exact<uint16_t> half((size - 1) * step + 1);
        k->store_half(a.get(), n, half.get(), step);
        Exact<int32_t> chosen(size + 16);
        const int n_chosen = k->screen_rows(estimates, 0, n, floor, chosen.get());
        rows.assign(chosen.get(), chosen.get() + n_chosen);
        Exact<uint8_t> codes(size / 16 * 16);
        ScreenSums sums{0.0f, 0.0f};
        k->screen_codes(a.get(), n / 16 * 16, floor, codes.get(), &sums);
        rows.insert(rows.end(), codes.get(), codes.get() + size / 16 * 16);
        const int largest = k->argmax(a.get(), n);
        need(largest >= 0 && largest < n, "argmax");
        if (k == all[0]) {
            truth = std::move(found);
            rows_then = rows;
            best = largest;
            continue;
        }
        need(largest == best, k->name);
        need(rows == rows_then, k->name);
        for (size_t i = 0; i < 6; ++i) need(same(found[i].get(), truth[i].get(), size), k->name);
    }
}

void fuzz_attention(const std::vector<const Kernels*>& all) {
    const int head_size = 2 * (1 + below(70)), n_tokens = 1 + below(600), n_rows = 1 + below(kMaxQueries);
    const int n_chunks = (n_tokens + kKeyChunk - 1) / kKeyChunk;
    const size_t padded = static_cast<size_t>((head_size + 15) / 16 * 16), held = static_cast<size_t>(n_chunks * kKeyChunk);
    doing = "attention", rows_done = n_tokens, cols_done = head_size;
    Exact<uint16_t> k(held * static_cast<size_t>(head_size)), v(held * padded);
    const bool any = below(2);
    for (size_t i = 0; i < k.n; ++i) k.get()[i] = static_cast<uint16_t>(any ? word() : word() & 0xBBFF);
    for (size_t i = 0; i < v.n; ++i) v.get()[i] = static_cast<uint16_t>(any ? word() : word() & 0xBBFF);
    const uint8_t one_tile[kKeyChunk / 16] = {};
    const Exact<float> q = numbers(padded * static_cast<size_t>(n_rows), below(9));
    Exact<int32_t> n_keys(static_cast<size_t>(n_rows));
    for (int r = 0; r < n_rows; ++r) n_keys.get()[r] = std::max(1, n_tokens - (n_rows - 1 - r) / 2);
    Exact<float> truth(padded * static_cast<size_t>(n_rows));
    for (const Kernels* kernels : all) {
        Exact<float> out(truth.n), max(static_cast<size_t>(n_rows)), total(static_cast<size_t>(n_rows)), scores(static_cast<size_t>(n_rows) * kKeyChunk);
        for (int r = 0; r < n_rows; ++r) max.get()[r] = -INFINITY;
        Exact<int32_t> left(n_keys.n);
        std::memcpy(left.get(), n_keys.get(), n_keys.n * 4);
        Attending a = {q.get(), padded, n_rows, left.get(), out.get(), padded, max.get(), total.get(), scores.get(), nullptr, nullptr, nullptr, nullptr};
        for (int t = 0; t < n_tokens; t += kKeyChunk) {
            CacheView cache{};
            cache.k = cache.next_k = reinterpret_cast<const uint8_t*>(k.get() + static_cast<size_t>(t) * static_cast<size_t>(head_size));
            cache.v = reinterpret_cast<const uint8_t*>(v.get() + static_cast<size_t>(t) * padded);
            cache.head_size = head_size;
            cache.v_stride = static_cast<int32_t>(padded);
            cache.tile_of_block = one_tile;
            kernels->attend(cache, std::min(n_tokens - t, kKeyChunk), a);
            for (int r = 0; r < n_rows; ++r) left.get()[r] -= kKeyChunk;
        }
        if (kernels == all[0]) std::memcpy(truth.get(), out.get(), truth.n * 4);
        need(same(out.get(), truth.get(), truth.n), kernels->name);
    }
}

}  // namespace

int main(int argc, char** argv) {
    state = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0;
    const int n = argc > 2 ? std::atoi(argv[2]) : 1000;
    const std::vector<const Kernels*> all = tables();
    int done = 0;
    for (int i = 0; i < n; ++i) {
        done += fuzz_product(all);
        if (i % 4 == 0) fuzz_vectors(all);
        if (i % 16 == 0) fuzz_attention(all);
    }
    std::printf("%d products by %zu kernel sets\n", done, all.size());
}
