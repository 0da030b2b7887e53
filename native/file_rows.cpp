#include "file_rows.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "half.hpp"

namespace solvent {

namespace {

using Kind = FileKind;

constexpr FileType kTypes[] = {
    {"f32", Kind::f32, 1, 4, 0, -1},          {"f16", Kind::f16, 1, 2, 0, -1},
    {"bf16", Kind::bf16, 1, 2, 0, -1},        {"q8_0", Kind::q8_0, 32, 34, 128, -1},
    {"q4_0", Kind::q4_0, 32, 18, 8, -1},      {"q4_1", Kind::q4_1, 32, 20, 0, -1},
    {"q4_k", Kind::q4_k, 256, 144, 0, -1},    {"q5_k", Kind::q5_k, 256, 176, 0, -1},
    {"q6_k", Kind::q6_k, 256, 210, 32, -1},   {"tq1_0", Kind::tq1_0, 256, 54, 1, 52},
    {"tq2_0", Kind::tq2_0, 256, 66, 1, 64},   {"q2_0_g64", Kind::q2_0, 64, 18, 1, 0},
    {"q2_0_g128", Kind::q2_0, 128, 34, 1, 0}, {"i2_s", Kind::i2_s, 128, 32, 1, -1},
    {"i2_s_arm", Kind::i2_s, 64, 16, 1, -1},  {"hf_ternary", Kind::hf_ternary, 4, 1, 1, -1},
};

float half_at(const uint8_t* p) {
    uint16_t bits;
    std::memcpy(&bits, p, 2);
    return half_to_float(bits);
}

// Each reader fills one block: codes, scales per 16, minima per 32.
void read_q8_0(const uint8_t* p, uint8_t* codes, float* scale) {
    scale[0] = scale[1] = half_at(p);
    for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(p[2 + i] ^ 0x80);
}

void read_nibbles(const uint8_t* p, uint8_t* codes) {
    for (int i = 0; i < 16; ++i) {
        codes[i] = p[i] & 15;
        codes[i + 16] = p[i] >> 4;
    }
}

// Where a block of 256 of a K-quant puts its scales: parts of RowCodes.
struct FineScales {
    float *scale, *minimum;
    int8_t *fine, *fine_minimum;
    uint16_t *above, *above_minimum;
    FineScales(RowCodes& row, int i)
        : scale(row.scale.data() + i / 16),
          minimum(row.minimum.data() + i / 32),
          fine(row.fine.data() + i / 16),
          fine_minimum(row.fine_minimum.data() + i / 32),
          above(row.above.data() + i / 256),
          above_minimum(row.above_minimum.data() + i / 256) {}
};

// Six-bit scales and minima of the eight sub-blocks of q4_k and q5_k.
void k_scales(const uint8_t* p, const FineScales& out) {
    const float d = half_at(p), d_min = half_at(p + 2);
    std::memcpy(out.above, p, 2);
    std::memcpy(out.above_minimum, p + 2, 2);
    *out.above_minimum ^= 0x8000;
    const uint8_t* q = p + 4;
    for (int j = 0; j < 8; ++j) {
        const int s = j < 4 ? q[j] & 63 : (q[j + 4] & 15) | ((q[j - 4] >> 6) << 4);
        const int m = j < 4 ? q[j + 4] & 63 : (q[j + 4] >> 4) | ((q[j] >> 6) << 4);
        out.scale[2 * j] = out.scale[2 * j + 1] = d * static_cast<float>(s);
        out.minimum[j] = -(d_min * static_cast<float>(m));
        out.fine[2 * j] = out.fine[2 * j + 1] = static_cast<int8_t>(s);
        out.fine_minimum[j] = static_cast<int8_t>(m);
    }
}

void read_q4_k(const uint8_t* p, uint8_t* codes, const FineScales& out) {
    k_scales(p, out);
    for (int i = 0; i < 128; ++i) {
        const int at = i / 32 * 64 + i % 32;
        codes[at] = p[16 + i] & 15;
        codes[at + 32] = p[16 + i] >> 4;
    }
}

void read_q5_k(const uint8_t* p, uint8_t* codes, const FineScales& out) {
    k_scales(p, out);
    const uint8_t *high = p + 16, *low = p + 48;
    for (int i = 0; i < 128; ++i) {
        const int pair = i / 32, at = pair * 64 + i % 32;
        codes[at] = static_cast<uint8_t>((low[i] & 15) | ((high[i % 32] >> (2 * pair) & 1) << 4));
        codes[at + 32] = static_cast<uint8_t>((low[i] >> 4) | ((high[i % 32] >> (2 * pair + 1) & 1) << 4));
    }
}

void read_q6_k(const uint8_t* p, uint8_t* codes, const FineScales& out) {
    const float d = half_at(p + 208);
    std::memcpy(out.above, p + 208, 2);
    std::memcpy(out.fine, p + 192, 16);
    for (int j = 0; j < 16; ++j) out.scale[j] = d * static_cast<float>(out.fine[j]);
    for (int half = 0; half < 2; ++half) {
        const uint8_t *low = p + 64 * half, *high = p + 128 + 32 * half;
        uint8_t* to = codes + 128 * half;
        for (int i = 0; i < 32; ++i) {
            to[i] = static_cast<uint8_t>((low[i] & 15) | ((high[i] & 3) << 4));
            to[i + 32] = static_cast<uint8_t>((low[i + 32] & 15) | ((high[i] >> 2 & 3) << 4));
            to[i + 64] = static_cast<uint8_t>((low[i] >> 4) | ((high[i] >> 4 & 3) << 4));
            to[i + 96] = static_cast<uint8_t>((low[i + 32] >> 4) | ((high[i] >> 6) << 4));
        }
    }
}

// Five trits a byte as a fixed-point fraction of 243: digit n is the top of byte · 3ⁿ, times 3.
uint8_t trit(uint8_t byte, int n) {
    static constexpr uint8_t kPowers[] = {1, 3, 9, 27, 81};
    const uint8_t shifted = static_cast<uint8_t>(byte * kPowers[n]);
    return static_cast<uint8_t>((static_cast<uint16_t>(shifted) * 3) >> 8);
}

void read_tq1_0(const uint8_t* p, uint8_t* codes, float* scale) {
    for (int n = 0; n < 5; ++n) {
        for (int i = 0; i < 32; ++i) codes[32 * n + i] = trit(p[i], n);
        for (int i = 0; i < 16; ++i) codes[160 + 16 * n + i] = trit(p[32 + i], n);
    }
    for (int n = 0; n < 4; ++n)
        for (int i = 0; i < 4; ++i) codes[240 + 4 * n + i] = trit(p[48 + i], n);
    for (int j = 0; j < 16; ++j) scale[j] = half_at(p + 52);
}

void read_tq2_0(const uint8_t* p, uint8_t* codes, float* scale) {
    for (int i = 0; i < 256; ++i) codes[i] = p[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3;
    for (int j = 0; j < 16; ++j) scale[j] = half_at(p + 64);
}

void read_q2_0(const uint8_t* p, int n, uint8_t* codes, float* scale) {
    for (int i = 0; i < n; ++i) codes[i] = p[2 + i / 4] >> (2 * (i % 4)) & 3;
    for (int j = 0; j < n / 16; ++j) scale[j] = half_at(p);
}

// Quarters of the block in bits 6–7, 4–5, 2–3, 0–1.
void read_i2_s(const uint8_t* p, int n, uint8_t* codes) {
    const int quarter = n / 4;
    for (int i = 0; i < n; ++i) codes[i] = p[i % quarter] >> (6 - 2 * (i / quarter)) & 3;
}

}  // namespace

const FileType* file_type(const std::string& name) {
    for (const auto& type : kTypes)
        if (name == type.name) return &type;
    return nullptr;
}

size_t file_bytes(const FileType& type, int64_t n_rows, int64_t n_cols) {
    const size_t weights = static_cast<size_t>(n_rows) * static_cast<size_t>(n_cols);
    return weights / static_cast<size_t>(type.weights) * static_cast<size_t>(type.bytes);
}

OpenFile::OpenFile(int descriptor) : descriptor_(fcntl(descriptor, F_DUPFD_CLOEXEC, 0)) {}

OpenFile::~OpenFile() {
    if (descriptor_ >= 0) close(descriptor_);
}

bool OpenFile::read(size_t offset, size_t n, uint8_t* out) const {
    while (n > 0) {
        const ssize_t got = pread(descriptor_, out, n, static_cast<off_t>(offset));
        if (got <= 0) return false;
        out += got, offset += static_cast<size_t>(got), n -= static_cast<size_t>(got);
    }
    return true;
}

size_t FileMatrix::row_bytes() const { return file_bytes(*type, 1, n_cols); }

const uint8_t* FileMatrix::row(int index, std::vector<uint8_t>& buffer) const {
    const size_t n = row_bytes(), at = static_cast<size_t>(index) * n;
    if (!file) return data + at;
    buffer.resize(n);
    return file->read(offset + at, n, buffer.data()) ? buffer.data() : data + at;
}

void read_row(const FileMatrix& m, int row, RowCodes& out) {
    const FileType& type = *m.type;
    const int n = m.n_cols;
    if (type.kind == Kind::hf_ternary) {  // byte row r holds rows r, r+R, r+2R, r+3R in bits 0–1, 2–3, 4–5, 6–7
        const int quarter = m.n_rows / 4;
        const uint8_t* p = m.data + static_cast<size_t>(row % quarter) * n;
        for (int i = 0; i < n; ++i) out.codes[i] = p[i] >> (2 * (row / quarter)) & 3;
        for (auto& s : out.scale) s = m.scale;
        return;
    }
    const uint8_t* p = m.row(row, out.bytes);
    for (int i = 0; i < n; i += type.weights, p += type.bytes) {
        uint8_t* codes = out.codes.data() + i;
        float *scale = out.scale.data() + i / 16, *minimum = out.minimum.data() + i / 32;
        switch (type.kind) {
            case Kind::q8_0: read_q8_0(p, codes, scale); break;
            case Kind::q4_0: read_nibbles(p + 2, codes); scale[0] = scale[1] = half_at(p); break;
            case Kind::q4_1: read_nibbles(p + 4, codes); scale[0] = scale[1] = half_at(p); minimum[0] = half_at(p + 2); break;
            case Kind::q4_k: read_q4_k(p, codes, FineScales(out, i)); break;
            case Kind::q5_k: read_q5_k(p, codes, FineScales(out, i)); break;
            case Kind::q6_k: read_q6_k(p, codes, FineScales(out, i)); break;
            case Kind::tq1_0: read_tq1_0(p, codes, scale); break;
            case Kind::tq2_0: read_tq2_0(p, codes, scale); break;
            case Kind::q2_0: read_q2_0(p, type.weights, codes, scale); break;
            default:
                read_i2_s(p, type.weights, codes);
                for (int j = 0; j < type.weights / 16; ++j) scale[j] = m.scale;
        }
    }
}

void read_floats(const FileMatrix& m, int row, RowCodes& scratch, float* out) {
    const int n = m.n_cols;
    if (!m.type->is_float()) {
        read_row(m, row, scratch);
        for (int i = 0; i < n; ++i) {
            const float weight = static_cast<float>(scratch.codes[i] - m.type->offset) * scratch.scale[i / 16];
            out[i] = weight + scratch.minimum[i / 32];
        }
        return;
    }
    const uint8_t* p = m.row(row, scratch.bytes);
    if (m.type->bytes == 4) {
        std::memcpy(out, p, static_cast<size_t>(n) * 4);
        return;
    }
    const bool half = m.type->kind == Kind::f16;
    for (int i = 0; i < n; ++i) {
        uint16_t bits;
        std::memcpy(&bits, p + 2 * static_cast<size_t>(i), 2);
        out[i] = half ? half_to_float(bits) : bf16_to_float(bits);
    }
}

}  // namespace solvent
