// A matrix as the kernels read it: packed into panels of 16 rows, or the file's own rows where they are floats.
// Not here: arithmetic. Enter at plan_matrix() and pack(). The layouts: docs/reference/weight-panels.md.
#pragma once

#include <functional>
#include <memory>

#include "file_rows.hpp"
#include "kernels/contract.hpp"

namespace solvent {

// Zeroed memory. Huge: in pages of 2 MiB where the system has them, several matrices to a mapping, since neither
// address translation nor the CPU's prefetcher likes to cross small pages. Else it becomes real as it is touched.
class Pages {
  public:
    explicit Pages(size_t bytes, bool huge);
    ~Pages();
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;
    uint8_t* data() const { return data_; }
    size_t bytes() const { return bytes_; }

  private:
    std::shared_ptr<uint8_t> mapping_;  // shared by what lies in it
    uint8_t* data_ = nullptr;
    size_t bytes_ = 0;
};

// What a matrix wants its activations as: int8 per 32, int8 per token, or floats. BitNet's layers take int8 per token
// whatever their weights are. rounded: floats of int8 per token, for float weights.
// spread: the same for other blocks: int8 per token, its scale repeated for every 32, nothing apart.
enum class Wants { blocks, token, floats, rounded, spread };

struct Matrix {
    MatrixView view{};
    FileMatrix file{};             // stays mapped: embeddings and exact rescoring read its rows
    std::unique_ptr<Pages> pages;  // null where view.data is the file's, or nothing is packed yet
    size_t bytes_per_pass = 0;     // that one token's product reads
    bool per_token = false;        // activations are int8 per token, whatever the weights
    bool packed() const { return view.data != nullptr; }
    Wants wants() const;
};

// All but the panels: sizes are known, products are not possible yet.
// per_token: activations are int8 per token, as BitNet is trained.   one_scale_ternary: t2 or t5, as its kernels want it.
std::unique_ptr<Matrix> plan_matrix(const FileMatrix& file, bool per_token, Format one_scale_ternary);

// Fills the panels, where they aren't yet. A matrix that isn't ternary though its type is (code 3) becomes t2.
void pack(Matrix& m, int n_threads);

// The file's weights rounded to other codes: q6_k or q8_0.   Columns are a multiple of 32.
struct Rounded {
    std::unique_ptr<Matrix> matrix;
    bool finite = true;  // no row holds what is no finite number, or too large a one
};
Rounded round_matrix(const FileMatrix& file, Format format, int n_threads);

// For the head's screen, which makes codes of its own: a matrix of u3 in the file's shape, not packed, and one row's codes
// into its lane of a panel.
std::unique_ptr<Matrix> plan_three_bits(const FileMatrix& file);
void put_three_bits(const uint8_t* codes, int lane, int n_blocks, uint8_t* panel);

// Calls pack(row, scratch) for every row on n threads, each with rows of its own panels. pack gives whether the row's
// scales are finite. What was read of a mapping is given back.   Throws: std::invalid_argument (they aren't)
void each_row(const FileMatrix& file, int n_rows, int n_threads, const std::function<bool(int, RowCodes&)>& pack);

}  // namespace solvent
