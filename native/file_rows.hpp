// Rows of a model file's tensors as integer codes with scales: what panels are packed from and embeddings read from.
// Not here: the panels. Enter at read_row().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace solvent {

// A tensor type: how many weights a block holds in how many bytes, and what codes it has.
enum class FileKind { f32, f16, bf16, q8_0, q4_0, q4_1, q4_k, q5_k, q6_k, tq1_0, tq2_0, q2_0, i2_s, hf_ternary };

struct FileType {
    const char* name;
    FileKind kind;
    int weights;   // per block, along a row
    int bytes;     // per block
    int offset;    // code − offset = integer weight
    int scale_at;  // of the ternary types: where in its block the f16 scale is, or −1 where it is outside
    bool ternary() const { return kind >= FileKind::tq1_0; }
    bool is_float() const { return kind <= FileKind::bf16; }
};

// The type with this name, or nullptr.
const FileType* file_type(const std::string& name);

// A row: weight[i] = (codes[i] − offset) · scale[i / 16] + minimum[i / 32].
// Of q4_k, q5_k and q6_k also what scale and minimum are the products of: scale[i / 16] = above[i / 256] · fine[i / 16],
// minimum[i / 32] = above_minimum[i / 256] · fine_minimum[i / 32], exactly.
struct RowCodes {
    std::vector<uint8_t> codes;
    std::vector<float> scale, minimum;
    std::vector<int8_t> fine, fine_minimum;
    std::vector<uint16_t> above, above_minimum;  // f16
    std::vector<uint8_t> bytes;                  // of the file, where they had to be read into memory
    explicit RowCodes(int n_cols) {
        const size_t n = static_cast<size_t>(n_cols);
        codes.resize(n + 32);
        scale.resize(n / 16 + 2);
        minimum.resize(n / 32 + 1);
        fine.resize(n / 16 + 2);
        fine_minimum.resize(n / 32 + 1);
        above.resize(n / 256 + 1);
        above_minimum.resize(n / 256 + 1);
    }
};

// A file that rows can be read from without a touch of its mapping, which would make the 64 KiB around them resident.
class OpenFile {
  public:
    explicit OpenFile(int descriptor);  // its own copy of it
    ~OpenFile();
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;
    bool read(size_t offset, size_t n, uint8_t* out) const;

  private:
    int descriptor_;
};

struct FileMatrix {
    const FileType* type;
    const uint8_t* data;
    int n_rows, n_cols;
    float scale;  // of the whole matrix, where its type keeps one outside the blocks; else 1
    bool mapped;  // the data lie in a file mapping: pages that were read can be given back and come again
    std::shared_ptr<const OpenFile> file{};  // where it is known: for rows that are wanted here and there
    size_t offset = 0;                       // of data in the file

    size_t row_bytes() const;
    // The bytes of one row, of a type whose rows are whole: read into buffer where the file is known, else mapped.
    const uint8_t* row(int index, std::vector<uint8_t>& buffer) const;
};

size_t file_bytes(const FileType& type, int64_t n_rows, int64_t n_cols);

void read_row(const FileMatrix& m, int row, RowCodes& out);

// Row `row` as floats, of any type.
void read_floats(const FileMatrix& m, int row, RowCodes& scratch, float* out);

}  // namespace solvent
