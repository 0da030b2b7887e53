// A matrix as the kernels read it: packed into panels of 16 rows, or the file's own rows where they are floats.
// Not here: arithmetic. Enter at make_matrix(). The layouts: docs/reference/weight-panels.md.
#pragma once

#include <memory>

#include "file_rows.hpp"
#include "kernels/contract.hpp"

namespace solvent {

// Zeroed memory. Huge: in pages of 2 MiB where the system has them, several matrices to a mapping, since neither
// address translation nor the CPU's prefetcher likes to cross small pages. Else it becomes real as it is touched.
class Pages {
  public:
    explicit Pages(size_t bytes, bool huge);
    uint8_t* data() const { return data_; }
    size_t bytes() const { return bytes_; }

  private:
    std::shared_ptr<uint8_t> mapping_;  // shared by what lies in it
    uint8_t* data_ = nullptr;
    size_t bytes_ = 0;
};

// What a matrix wants its activations as: int8 per 32, int8 per token, floats, or floats rounded to int8 per token,
// for BitNet's layers where the file keeps their weights as floats.
enum class Wants { blocks, token, floats, rounded };

struct Matrix {
    MatrixView view{};
    FileMatrix file{};             // stays mapped: embeddings and exact rescoring read its rows
    std::unique_ptr<Pages> pages;  // null where view.data is the file's
    size_t bytes_per_pass = 0;     // that one token's product reads
    bool per_token = false;        // activations are int8 per token, whatever the weights
    Wants wants() const;
};

// per_token: ternary weights with one scale take activations that are int8 per token, as BitNet is trained.
std::unique_ptr<Matrix> make_matrix(const FileMatrix& file, bool per_token, int n_threads);

// Codes of 4 bits for another matrix's rows; per row, the length of what they leave out and its own length:
// |row·x − code·x| ≤ residual · |x|.
std::unique_ptr<Matrix> make_screen(const FileMatrix& file, int n_threads, std::vector<float>& residual, std::vector<float>& length);

}  // namespace solvent
