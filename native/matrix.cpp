#include "matrix.hpp"

#include <sys/mman.h>

#include <cmath>
#include <cstring>
#include <mutex>
#include <new>
#include <string>

#include "half.hpp"

namespace solvent {

namespace {

constexpr size_t kHugePage = 2u << 20, kMapping = 32u << 20;

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

Wants Matrix::wants() const {
    switch (view.format) {
        case Format::t2: return Wants::token;
        case Format::f16:
        case Format::bf16:
        case Format::f32: return Wants::floats;
        default: return Wants::blocks;
    }
}

namespace {

struct PanelShape {
    int bits;
    bool wide_scale;
    int halves;
    bool has_min;
};

PanelShape shape_of(Format format) {
    switch (format) {
        case Format::q4_0: return {4, false, 1, false};
        case Format::q4_1: return {4, false, 1, true};
        case Format::q8_0: return {8, false, 1, false};
        case Format::q4_k: return {4, true, 1, true};
        case Format::q5_k: return {8, true, 1, true};
        default: return {8, true, 2, false};
    }
}

void put_scale(uint8_t* p, int lane, float value, bool wide) {
    if (wide) {
        std::memcpy(p + 4 * lane, &value, 4);
    } else {
        const uint16_t half = float_to_half(value);
        std::memcpy(p + 2 * lane, &half, 2);
    }
}

// Puts one row's codes and scales into its lane of a panel.
void pack_row(const RowCodes& row, int lane, const PanelShape& s, int n_blocks, uint8_t* panel) {
    const int block_bytes = 64 * s.bits, scale_bytes = s.wide_scale ? 64 : 32;
    uint8_t* scales = panel + static_cast<size_t>(n_blocks) * block_bytes;
    uint8_t* minima = scales + static_cast<size_t>(n_blocks) * s.halves * scale_bytes;
    for (int b = 0; b < n_blocks; ++b) {
        const uint8_t* codes = row.codes.data() + kBlock * b;
        uint8_t* out = panel + static_cast<size_t>(b) * block_bytes + 4 * lane;
        for (int j = 0; j < (s.bits == 8 ? 8 : 4); ++j)
            for (int i = 0; i < 4; ++i)
                out[64 * j + i] = s.bits == 8 ? codes[4 * j + i]
                                              : static_cast<uint8_t>(codes[4 * j + i] | codes[16 + 4 * j + i] << 4);
        for (int h = 0; h < s.halves; ++h)
            put_scale(scales + (static_cast<size_t>(b) * s.halves + h) * scale_bytes, lane, row.scale[2 * b + h], s.wide_scale);
        if (s.has_min) put_scale(minima + static_cast<size_t>(b) * scale_bytes, lane, row.minimum[b], s.wide_scale);
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

std::unique_ptr<Matrix> start(const FileMatrix& file, Format format, size_t panel_bytes) {
    auto m = std::make_unique<Matrix>();
    m->file = file;
    m->view.format = format;
    m->view.n_rows = file.n_rows;
    m->view.n_cols = file.n_cols;
    m->view.n_panels = (file.n_rows + kRows - 1) / kRows;
    m->view.n_blocks = (file.n_cols + kBlock - 1) / kBlock;
    m->view.group_blocks = 1;
    m->view.panel_bytes = panel_bytes;
    m->view.scale = 1.0f;
    return m;
}

void allocate(Matrix& m) {
    m.bytes_per_pass = static_cast<size_t>(m.view.n_panels) * m.view.panel_bytes;
    m.pages = std::make_unique<Pages>(m.bytes_per_pass, true);
    m.view.data = m.pages->data();
}

std::unique_ptr<Matrix> make_floats(const FileMatrix& file) {
    const std::string name = file.type->name;
    const Format format = name == "f32" ? Format::f32 : name == "f16" ? Format::f16 : Format::bf16;
    auto m = start(file, format, static_cast<size_t>(file.n_cols) * file.type->bytes);
    m->view.data = file.data;
    m->bytes_per_pass = static_cast<size_t>(file.n_rows) * m->view.panel_bytes;
    return m;
}

bool one_scale(const FileMatrix& file, RowCodes& row, float& scale) {
    bool any = false;
    for (int r = 0; r < file.n_rows; ++r) {
        read_row(file, r, row);
        for (int i = 0; i < file.n_cols / 16; ++i) {
            if (!any) scale = row.scale[i];
            any = true;
            if (row.scale[i] != scale) return false;
        }
    }
    return true;
}

// One scale outside the blocks is a float32, which t2g's halves don't hold. Where activations are int8 per 32, which
// no model file asks for today, bytes with a float32 for each 16 do.
std::unique_ptr<Matrix> make_wide_ternary(const FileMatrix& file) {
    const PanelShape s = shape_of(Format::q6_k);
    const int n_blocks = (file.n_cols + kBlock - 1) / kBlock;
    auto m = start(file, Format::q6_k, static_cast<size_t>(n_blocks) * (64 * s.bits + 2 * 64));
    allocate(*m);
    RowCodes row(file.n_cols);
    for (int r = 0; r < file.n_rows; ++r) {
        read_row(file, r, row);
        for (int i = 0; i < file.n_cols; ++i) row.codes[i] = static_cast<uint8_t>(row.codes[i] + 31);
        pack_row(row, r % kRows, s, n_blocks, m->pages->data() + static_cast<size_t>(r / kRows) * m->view.panel_bytes);
    }
    return m;
}

std::unique_ptr<Matrix> make_ternary(const FileMatrix& file, bool per_token) {
    RowCodes row(file.n_cols);
    float scale = file.scale;
    const bool outside = file.type->weights == 4 || file.type->bytes * 4 == file.type->weights;  // i2_s, hf_ternary
    if (outside && !per_token) return make_wide_ternary(file);
    const bool single = per_token && (outside || one_scale(file, row, scale));
    const int n_blocks = (file.n_cols + kBlock - 1) / kBlock;
    int group = outside ? n_blocks : file.type->weights / kBlock;
    if (group < 1) group = 1;
    const int n_groups = (n_blocks + group - 1) / group;
    const size_t codes_bytes = static_cast<size_t>(n_blocks) * 128;
    auto m = start(file, single ? Format::t2 : Format::t2g, codes_bytes + (single ? 0 : static_cast<size_t>(n_groups) * 32));
    m->view.group_blocks = group;
    m->view.scale = scale;
    allocate(*m);
    for (int r = 0; r < m->view.n_panels * kRows; ++r) {
        uint8_t* panel = m->pages->data() + static_cast<size_t>(r / kRows) * m->view.panel_bytes;
        std::memset(row.codes.data(), 1, row.codes.size());
        if (r < file.n_rows) read_row(file, r, row);
        std::memset(row.codes.data() + file.n_cols, 1, row.codes.size() - static_cast<size_t>(file.n_cols));
        pack_ternary_row(row, r % kRows, n_blocks, panel);
        if (!single)
            for (int g = 0; g < n_groups; ++g)
                put_scale(panel + codes_bytes + 32 * static_cast<size_t>(g), r % kRows, r < file.n_rows ? row.scale[2 * g * group] : 0.0f, false);
    }
    return m;
}

}  // namespace

std::unique_ptr<Matrix> make_matrix(const FileMatrix& file, bool per_token) {
    if (file.type->is_float) return make_floats(file);
    if (file.type->ternary) return make_ternary(file, per_token);
    const std::string name = file.type->name;
    const Format format = name == "q4_0"   ? Format::q4_0
                          : name == "q4_1" ? Format::q4_1
                          : name == "q8_0" ? Format::q8_0
                          : name == "q4_k" ? Format::q4_k
                          : name == "q5_k" ? Format::q5_k
                                           : Format::q6_k;
    const PanelShape s = shape_of(format);
    const size_t n_blocks = static_cast<size_t>(file.n_cols) / kBlock, scale_bytes = s.wide_scale ? 64 : 32;
    auto m = start(file, format, n_blocks * (64 * s.bits + (s.halves + s.has_min) * scale_bytes));
    allocate(*m);
    RowCodes row(file.n_cols);
    for (int r = 0; r < file.n_rows; ++r) {
        read_row(file, r, row);
        pack_row(row, r % kRows, s, static_cast<int>(n_blocks), m->pages->data() + static_cast<size_t>(r / kRows) * m->view.panel_bytes);
    }
    return m;
}

std::unique_ptr<Matrix> make_screen(const FileMatrix& file, std::vector<float>& residual, std::vector<float>& length) {
    const PanelShape s = shape_of(Format::q4_0);
    const int n_blocks = file.n_cols / kBlock;
    auto m = start(file, Format::q4_0, static_cast<size_t>(n_blocks) * 288);
    allocate(*m);
    residual.assign(static_cast<size_t>(file.n_rows), 0.0f);
    length.assign(static_cast<size_t>(file.n_rows), 0.0f);
    RowCodes source(file.n_cols), row(file.n_cols);
    std::vector<float> weights(static_cast<size_t>(file.n_cols));
    for (int r = 0; r < file.n_rows; ++r) {
        read_floats(file, r, source, weights.data());
        double squares = 0.0, own = 0.0;
        for (int b = 0; b < n_blocks; ++b) {
            const float* w = weights.data() + kBlock * b;
            float extreme = 0.0f;
            for (int i = 0; i < kBlock; ++i)
                if (std::fabs(w[i]) > std::fabs(extreme)) extreme = w[i];
            // The weight of greatest size becomes −8 exactly, but for the scale's own rounding.
            const float scale = half_to_float(float_to_half(extreme / -8.0f));
            row.scale[2 * b] = row.scale[2 * b + 1] = scale;
            for (int i = 0; i < kBlock; ++i) {
                int code = scale != 0.0f ? static_cast<int>(std::nearbyint(w[i] / scale)) + 8 : 8;
                code = code < 0 ? 0 : code > 15 ? 15 : code;
                row.codes[kBlock * b + i] = static_cast<uint8_t>(code);
                const double left = static_cast<double>(w[i]) - static_cast<double>(code - 8) * scale;
                squares += left * left;
                own += static_cast<double>(w[i]) * w[i];
            }
        }
        residual[static_cast<size_t>(r)] = static_cast<float>(std::sqrt(squares) * (1.0 + 1e-6));
        length[static_cast<size_t>(r)] = static_cast<float>(std::sqrt(own) * (1.0 + 1e-6));
        pack_row(row, r % kRows, s, n_blocks, m->pages->data() + static_cast<size_t>(r / kRows) * m->view.panel_bytes);
    }
    return m;
}

}  // namespace solvent
