// Rows of a model file's tensors as integer codes with scales: what panels are packed from and embeddings read from.
// Not here: the panels. Enter at read_row().
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace solvent {

// A tensor type: how many weights a block holds in how many bytes, and what codes it has.
struct FileType {
    const char* name;
    int weights;   // per block, along a row
    int bytes;     // per block
    int offset;    // code − offset = integer weight
    bool ternary;
    bool is_float;
};

// The type with this name, or nullptr.
const FileType* file_type(const std::string& name);

// A row: weight[i] = (codes[i] − offset) · scale[i / 16] + minimum[i / 32].
struct RowCodes {
    std::vector<uint8_t> codes;
    std::vector<float> scale;
    std::vector<float> minimum;
    explicit RowCodes(int n_cols)
        : codes(static_cast<size_t>(n_cols) + 32), scale(static_cast<size_t>(n_cols) / 16 + 2), minimum(static_cast<size_t>(n_cols) / 32 + 1) {}
};

struct FileMatrix {
    const FileType* type;
    const uint8_t* data;
    int n_rows, n_cols;
    float scale;  // of the whole matrix, where its type keeps one outside the blocks; else 1
};

size_t file_bytes(const FileType& type, int64_t n_rows, int64_t n_cols);

void read_row(const FileMatrix& m, int row, RowCodes& out);

// Row `row` as floats, of any type.
void read_floats(const FileMatrix& m, int row, RowCodes& scratch, float* out);

}  // namespace solvent
