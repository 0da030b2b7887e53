#include "matrix.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <mutex>
#include <new>
#include <stdexcept>
#include <thread>
#include <utility>

#include "half.hpp"
#include "kernels/fives.hpp"
#include "rounding.hpp"

namespace solvent {

namespace {

constexpr size_t kHugePage = 2u << 20, kMapping = 256u << 20;

std::shared_ptr<uint8_t> map_memory(size_t bytes, bool huge) {
    const size_t mapped = bytes + (huge ? kHugePage : 0);
    void* p = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    auto* start = static_cast<uint8_t*>(p);
    if (huge) start = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(p) + kHugePage - 1) / kHugePage * kHugePage);
#ifdef MADV_HUGEPAGE
    if (huge) madvise(start, bytes, MADV_HUGEPAGE);
#endif
    return {start, [p, mapped](uint8_t*) { munmap(p, mapped); }};
}

}  // namespace

Pages::Pages(size_t bytes, bool huge) : bytes_((bytes + 63) / 64 * 64) {
    static std::mutex mutex;
    static std::weak_ptr<uint8_t> current;
    static size_t used = 0;
    if (!huge || bytes_ > kMapping / 2) {
        mapping_ = map_memory(bytes_, huge);
        data_ = mapping_.get();
        return;
    }
    std::lock_guard<std::mutex> lock(mutex);
    mapping_ = current.lock();
    if (!mapping_ || used + bytes_ > kMapping) {
        mapping_ = map_memory(kMapping, true);
        current = mapping_;
        used = 0;
    }
    data_ = mapping_.get() + used;
    used += bytes_;
}

// What lies in a mapping that others use goes back to the system now, but for pages that it shares with them.
Pages::~Pages() {
    if (mapping_.use_count() < 2) return;
    const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)), at = reinterpret_cast<uintptr_t>(data_);
    const uintptr_t begin = (at + page - 1) / page * page, end = (at + bytes_) / page * page;
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

Wants Matrix::wants() const {
    switch (view.format) {
        case Format::t2:
        case Format::t5:
        case Format::u3: return Wants::token;
        case Format::f16:
        case Format::bf16:
        case Format::f32: return per_token ? Wants::rounded : Wants::floats;
        default: return per_token ? Wants::spread : Wants::blocks;
    }
}

namespace {

// How a panel of blocks is laid out: docs/reference/weight-panels.md.
struct PanelShape {
    int bits;
    bool fine;    // scales are int8 under an f16 of kFineBlocks blocks
    int halves;   // scales per block
    bool has_min;
    size_t scale_bytes() const { return fine ? kRows : 2 * kRows; }
    size_t above_bytes(int n_blocks) const { return fine ? static_cast<size_t>((n_blocks + kFineBlocks - 1) / kFineBlocks) * 2 * kRows : 0; }
    size_t panel_bytes(int n_blocks) const {
        const size_t n = static_cast<size_t>(n_blocks);
        return n * (64 * static_cast<size_t>(bits) + (halves + has_min) * scale_bytes()) + (1 + has_min) * above_bytes(n_blocks);
    }
};

PanelShape shape_of(Format format) {
    switch (format) {
        case Format::q4_0: return {4, false, 1, false};
        case Format::q4_1: return {4, false, 1, true};
        case Format::q8_0: return {8, false, 1, false};
        case Format::q4_k: return {4, true, 1, true};
        case Format::q5_k: return {5, true, 1, true};
        default: return {6, true, 2, false};
    }
}

void put_half(uint8_t* p, int lane, uint16_t half) { std::memcpy(p + 2 * lane, &half, 2); }

// One row's codes of a block: quads in nibbles with what is above them behind, or whole bytes.
void pack_codes(const uint8_t* codes, int bits, int lane, uint8_t* block) {
    uint8_t* out = block + 4 * lane;
    for (int j = 0; j < 8; ++j)
        for (int i = 0; i < 4; ++i) {
            const int code = codes[4 * j + i];
            if (bits == 8) {
                out[64 * j + i] = static_cast<uint8_t>(code);
                continue;
            }
            // Pages begin as zeros.
            out[64 * (j % 4) + i] = static_cast<uint8_t>(out[64 * (j % 4) + i] | (code & 15) << (j < 4 ? 0 : 4));
            uint8_t& high = out[256 + (bits == 6 ? 64 * (j / 4) : 0) + i];
            if (bits == 5) high = static_cast<uint8_t>(high | (code >> 4) << j);
            if (bits == 6) high = static_cast<uint8_t>(high | (code >> 4) << (2 * (j % 4)));
        }
}

// Puts one row's codes and scales into its lane of a panel.
void pack_row(const RowCodes& row, int lane, const PanelShape& s, int n_blocks, uint8_t* panel) {
    const size_t n = static_cast<size_t>(n_blocks), halves = static_cast<size_t>(s.halves);
    uint8_t* scales = panel + n * 64 * static_cast<size_t>(s.bits);
    uint8_t* minima = scales + n * halves * s.scale_bytes();
    uint8_t* above = minima + n * s.has_min * s.scale_bytes();
    for (size_t b = 0; b < n; ++b) {
        pack_codes(row.codes.data() + kBlock * b, s.bits, lane, panel + b * 64 * static_cast<size_t>(s.bits));
        for (size_t h = 0; h < halves; ++h) {
            uint8_t* scale = scales + (b * halves + h) * s.scale_bytes();
            if (s.fine) scale[lane] = static_cast<uint8_t>(row.fine[2 * b + h]);
            else put_half(scale, lane, float_to_half(row.scale[2 * b + h]));
        }
        if (!s.has_min) continue;
        uint8_t* minimum = minima + b * s.scale_bytes();
        if (s.fine) minimum[lane] = static_cast<uint8_t>(row.fine_minimum[b]);
        else put_half(minimum, lane, float_to_half(row.minimum[b]));
    }
    for (size_t i = 0; s.fine && i < (n + kFineBlocks - 1) / kFineBlocks; ++i) {
        put_half(above + i * 2 * kRows, lane, row.above[i]);
        if (s.has_min) put_half(above + s.above_bytes(n_blocks) + i * 2 * kRows, lane, row.above_minimum[i]);
    }
}

void pack_ternary_row(const RowCodes& row, int lane, int n_blocks, uint8_t* panel) {
    for (int u = 0; u < 2 * n_blocks; ++u) {
        const uint8_t* c = row.codes.data() + 16 * u;
        uint8_t* out = panel + 64 * static_cast<size_t>(u) + 4 * lane;
        for (int i = 0; i < 4; ++i)
            out[i] = static_cast<uint8_t>(c[i] | c[4 + i] << 2 | c[8 + i] << 4 | c[12 + i] << 6);
    }
}

// The same, five codes to a byte.
void pack_fives(const RowCodes& row, int lane, int n_cols, uint8_t* panel) {
    for (int first = 0; first < n_cols; first += 4 * kFive)
        for (int i = 0; i < 4; ++i) {
            int code[kFive];
            for (int j = 0; j < kFive; ++j) code[j] = first + 4 * j < n_cols ? row.codes[static_cast<size_t>(first + 4 * j + i)] : 0;
            panel[static_cast<size_t>(first / (4 * kFive)) * 64 + static_cast<size_t>(4 * lane + i)] =
                five_in_byte(code[0], code[1], code[2], code[3], code[4]);
        }
}

size_t ternary_codes_bytes(Format format, int n_blocks) {
    const size_t n = static_cast<size_t>(n_blocks) * kBlock;
    return format == Format::t5 ? (n + 4 * kFive - 1) / (4 * kFive) * 64 : n * 4;
}

void set_panel_bytes(Matrix& m, size_t panel_bytes) {
    m.view.panel_bytes = panel_bytes;
    m.bytes_per_pass = static_cast<size_t>(m.view.n_panels) * panel_bytes;
}

std::unique_ptr<Matrix> start(const FileMatrix& file, Format format, size_t panel_bytes) {
    auto m = std::make_unique<Matrix>();
    m->file = file;
    m->view.format = format;
    m->view.n_rows = file.n_rows;
    m->view.n_cols = file.n_cols;
    m->view.n_panels = (file.n_rows + kRows - 1) / kRows;
    m->view.n_blocks = (file.n_cols + kBlock - 1) / kBlock;
    m->view.group_blocks = 1;
    m->view.scale = 1.0f;
    set_panel_bytes(*m, panel_bytes);
    return m;
}

std::unique_ptr<Matrix> make_floats(const FileMatrix& file) {
    const Format format = file.type->kind == FileKind::f32 ? Format::f32 : file.type->kind == FileKind::f16 ? Format::f16 : Format::bf16;
    auto m = start(file, format, static_cast<size_t>(file.n_cols) * file.type->bytes);
    m->view.data = file.data;
    m->bytes_per_pass = static_cast<size_t>(file.n_rows) * m->view.panel_bytes;
    return m;
}

constexpr size_t kBroughtAlong = 64u << 10;  // Linux's fault_around_bytes

// Gives back the memory of mapped bytes [begin, end); a later read takes them from the file again.
void forget(const FileMatrix& file, size_t begin, size_t end) {
#ifdef MADV_DONTNEED
    constexpr uintptr_t kPage = 4096;
    // A touch brings the pages around it: those before, of bytes that were given back already, are given back again.
    const size_t back = std::min(kBroughtAlong, file.offset + begin);
    const uintptr_t first = (reinterpret_cast<uintptr_t>(file.data) + begin - back + kPage - 1) / kPage * kPage;
    const uintptr_t last = (reinterpret_cast<uintptr_t>(file.data) + end) / kPage * kPage;
    if (file.mapped && last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
#endif
}

constexpr int kStretchRows = 512;  // rows that are packed before their bytes are given back

// What is no number would be lost on the way to int8 activations, or turn up as some logit far from here.
bool all_finite(const float* values, size_t n) {
    return std::all_of(values, values + n, [](float v) { return std::isfinite(v); });
}

}  // namespace

void put_three_bits(const uint8_t* codes, int lane, int n_blocks, uint8_t* panel) {
    for (int b = 0; b < n_blocks; ++b, codes += kBlock, panel += 192)
        for (int i = 0; i < 4; ++i) {
            int low[2] = {0, 0}, high = 0;
            for (int j = 0; j < 8; ++j) {
                low[j / 4] |= (codes[4 * j + i] & 3) << 2 * (j % 4);
                high |= (codes[4 * j + i] >> 2) << j;
            }
            uint8_t* out = panel + 4 * lane + i;
            out[0] = static_cast<uint8_t>(low[0]), out[64] = static_cast<uint8_t>(low[1]), out[128] = static_cast<uint8_t>(high);
        }
}

void each_row(const FileMatrix& file, int n_rows, int n_threads, const std::function<bool(int, RowCodes&)>& pack) {
    const size_t row_bytes = file_bytes(*file.type, 1, file.n_cols);
    const bool in_order = file.type->kind != FileKind::hf_ternary;  // whose bytes each hold four rows
    std::atomic<int> next{0};
    std::atomic<bool> finite{true};
    const auto work = [&] {
        RowCodes scratch(file.n_cols);
        for (int begin; (begin = next.fetch_add(kStretchRows)) < n_rows;) {
            const int end = std::min(n_rows, begin + kStretchRows);
            for (int r = begin; r < end; ++r)
                if (!pack(r, scratch)) finite.store(false, std::memory_order_relaxed);
            if (in_order) forget(file, begin * row_bytes, std::min(end, file.n_rows) * row_bytes);
        }
    };
    std::vector<std::thread> threads;
    for (int i = 1; i < std::min(n_threads, n_rows / kStretchRows + 1); ++i) threads.emplace_back(work);
    work();
    for (auto& thread : threads) thread.join();
    if (!in_order) forget(file, 0, row_bytes * static_cast<size_t>(file.n_rows));
    if (!finite) throw std::invalid_argument("the scale of a block is no finite number");
}

namespace {

// Whether all blocks have one scale, and which.
bool one_scale(const FileMatrix& file, float& scale) {
    const size_t n = file_bytes(*file.type, file.n_rows, file.n_cols), step = static_cast<size_t>(file.type->bytes);
    const uint8_t* first = file.data + file.type->scale_at;
    for (size_t i = 0; i < n; i += step)
        if (std::memcmp(first, first + i, 2) != 0) return false;
    uint16_t half;
    std::memcpy(&half, first, 2);
    scale = half_to_float(half);
    return true;
}

std::unique_ptr<Matrix> plan_ternary(const FileMatrix& file, bool per_token, Format one_scale_ternary) {
    float scale = file.scale;
    const bool outside = file.type->scale_at < 0;
    const bool single = per_token && (outside || one_scale(file, scale));
    if (single && !std::isfinite(scale)) throw std::invalid_argument("the scale of all blocks is no finite number");
    const int n_blocks = (file.n_cols + kBlock - 1) / kBlock;
    const int group = std::max(1, outside ? n_blocks : file.type->weights / kBlock);
    const size_t n_groups = single ? 0 : static_cast<size_t>((n_blocks + group - 1) / group);
    const Format format = !single ? Format::t2g : file.n_cols > kMostFiveCols ? Format::t2 : one_scale_ternary;
    auto m = start(file, format, ternary_codes_bytes(format, n_blocks) + n_groups * 32);
    m->view.group_blocks = group;
    // One scale outside the blocks is a float32: the halves, which don't hold it, are 1 then.
    m->view.scale = single || outside ? scale : 1.0f;
    return m;
}

// Gives whether all codes were below 3; where they aren't, t5 doesn't hold them.
bool pack_ternary(const Matrix& m, uint8_t* data, int n_threads) {
    const FileMatrix& file = m.file;
    std::atomic<bool> ternary{true};
    const bool grouped = m.view.format == Format::t2g, outside = file.type->scale_at < 0;
    const int n_blocks = m.view.n_blocks, group = m.view.group_blocks;
    each_row(file, m.view.n_panels * kRows, n_threads, [&](int r, RowCodes& row) {
        const bool known = r < file.n_rows;
        if (known) read_row(file, r, row);
        const size_t n_known = known ? static_cast<size_t>(file.n_cols) : 0;
        std::memset(row.codes.data() + n_known, 1, row.codes.size() - n_known);
        uint8_t* panel = data + static_cast<size_t>(r / kRows) * m.view.panel_bytes;
        if (m.view.format == Format::t5) {
            pack_fives(row, r % kRows, n_blocks * kBlock, panel);
            if (*std::max_element(row.codes.begin(), row.codes.end()) > 2) ternary.store(false, std::memory_order_relaxed);
            return true;
        }
        pack_ternary_row(row, r % kRows, n_blocks, panel);
        uint8_t* scales = panel + static_cast<size_t>(n_blocks) * 128;
        bool finite = true;
        for (int g = 0; grouped && g * group < n_blocks; ++g) {
            const float scale = !known ? 0.0f : outside ? 1.0f : row.scale[static_cast<size_t>(2 * g * group)];
            put_half(scales + 32 * static_cast<size_t>(g), r % kRows, float_to_half(scale));
            finite = finite && std::isfinite(scale);
        }
        return finite;
    });
    return ternary;
}

Format block_format(FileKind kind) {
    switch (kind) {
        case FileKind::q4_0: return Format::q4_0;
        case FileKind::q4_1: return Format::q4_1;
        case FileKind::q8_0: return Format::q8_0;
        case FileKind::q4_k: return Format::q4_k;
        case FileKind::q5_k: return Format::q5_k;
        default: return Format::q6_k;
    }
}

}  // namespace

std::unique_ptr<Matrix> plan_matrix(const FileMatrix& file, bool per_token, Format one_scale_ternary) {
    std::unique_ptr<Matrix> m;
    if (file.type->is_float()) {
        m = make_floats(file);
    } else if (file.type->ternary()) {
        m = plan_ternary(file, per_token, one_scale_ternary);
    } else {
        const Format format = block_format(file.type->kind);
        m = start(file, format, shape_of(format).panel_bytes(file.n_cols / kBlock));
    }
    m->per_token = per_token;
    return m;
}

void pack(Matrix& m, int n_threads) {
    if (m.packed()) return;
    auto pages = std::make_unique<Pages>(m.bytes_per_pass, true);
    uint8_t* data = pages->data();
    Matrix in_order{};  // reads the mapping, ahead and in large pieces
    in_order.view = m.view;
    in_order.file = m.file;
    in_order.file.file = nullptr;
    if (m.file.type->ternary()) {
        if (!pack_ternary(in_order, data, n_threads)) {
            m.view.format = Format::t2;
            set_panel_bytes(m, ternary_codes_bytes(Format::t2, m.view.n_blocks));
            pages.reset();
            return pack(m, n_threads);
        }
    } else {
        const PanelShape s = shape_of(m.view.format);
        each_row(in_order.file, m.file.n_rows, n_threads, [&](int r, RowCodes& row) {
            read_row(in_order.file, r, row);
            pack_row(row, r % kRows, s, m.view.n_blocks, data + static_cast<size_t>(r / kRows) * m.view.panel_bytes);
            const size_t n = static_cast<size_t>(m.view.n_cols);
            return all_finite(row.scale.data(), n / 16) && all_finite(row.minimum.data(), n / kBlock);
        });
    }
    m.pages = std::move(pages);
    m.view.data = data;
}

Rounded round_matrix(const FileMatrix& file, Format format, int n_threads) {
    const PanelShape s = shape_of(format);
    const int n_blocks = file.n_cols / kBlock;
    Rounded out{start(file, format, s.panel_bytes(n_blocks))};
    Matrix& m = *out.matrix;
    m.pages = std::make_unique<Pages>(m.bytes_per_pass, true);
    uint8_t* data = m.pages->data();
    FileMatrix in_order = file;
    in_order.file = nullptr;
    std::atomic<bool> finite{true};
    each_row(in_order, file.n_rows, n_threads, [&](int r, RowCodes& row) {
        thread_local std::vector<float> weights;
        weights.resize(static_cast<size_t>(file.n_cols));
        read_floats(in_order, r, row, weights.data());
        if (!round_row(weights.data(), n_blocks, format, row)) finite.store(false, std::memory_order_relaxed);
        pack_row(row, r % kRows, s, n_blocks, data + static_cast<size_t>(r / kRows) * m.view.panel_bytes);
        return true;  // the caller says what is wrong
    });
    m.view.data = data;
    out.finite = finite;
    return out;
}

std::unique_ptr<Matrix> plan_three_bits(const FileMatrix& file) {
    return start(file, Format::u3, static_cast<size_t>((file.n_cols + kBlock - 1) / kBlock) * 192);
}

}  // namespace solvent
