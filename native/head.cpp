// The head in two passes: 4-bit codes of all rows estimate every logit; rows that may be the largest are computed again
// from the file's own bytes, bit for bit as the whole head would compute them.
// How far an estimate may be off: residual · |x̂| / √K is the standard deviation of row·x̂ − codes·x̂ if rounding errors
// are independent of the direction of x̂, and likewise length · |x − x̂| / √K for rounding x itself to x̂; a row is
// looked at again unless it falls short of another by more than kDeviations of each of the two: 8 deviations of their
// difference, which a normal variable exceeds less than once in 10¹⁵; the largest error of one row seen was 5.1 (see
// docs/explanation/experiments.md). Cauchy and Schwarz would prove it, but their bound is √K = 24 and leaves all rows in.
#include <algorithm>
#include <cmath>

#include "decoder.hpp"

namespace solvent {

namespace {

constexpr double kDeviations = 5.66;  // 8 / √2

constexpr size_t kRowsAhead = 4;

}  // namespace

void Decoder::choose_candidates(const Activations& x) {
    const Activations rounded = activations(0).view(Wants::blocks);
    const bool exact_reads_floats = head->wants() == Wants::floats;
    double length = 0.0, lost = 0.0;
    for (int i = 0; i < config.width; ++i) {
        double value = static_cast<double>(rounded.q[i]) * rounded.d[i / kBlock];
        for (int o = 0; o < kOutliers; ++o)
            if (rounded.outlier_at[o] == i) value += rounded.outlier[o];
        length += value * value;
        if (exact_reads_floats) lost += (x.x[i] - value) * (x.x[i] - value);
    }
    // Both sums also round once or twice per block in float32, at most the sum of sizes of their terms each time.
    const double slack = (4.0 * head->view.n_blocks + (exact_reads_floats ? config.width : 8)) * 0x1p-23;
    const double deviations = kDeviations / std::sqrt(static_cast<double>(config.width));
    const float by_residual = static_cast<float>(deviations * std::sqrt(length));
    const float by_length = static_cast<float>(deviations * std::sqrt(lost) + slack * (std::sqrt(length) + std::sqrt(lost)));
    const float floor = kernels_->screen_floor(logits_16_.data(), screen_residual.data(), screen_length.data(), by_residual, by_length, config.n_vocab);
    candidates_.resize(static_cast<size_t>(config.n_vocab));
    candidates_.resize(static_cast<size_t>(kernels_->screen_rows(logits_16_.data(), screen_residual.data(), screen_length.data(),
                                                                 by_residual, by_length, floor, config.n_vocab, candidates_.data())));
    rescored_.resize(candidates_.size());
}

void Decoder::rescore(int thread, const Activations& x) {
    const size_t n = candidates_.size(), n_threads = static_cast<size_t>(team_.n_active());
    const size_t row_bytes = file_bytes(*head->file.type, 1, head->file.n_cols);
    for (size_t i = n * static_cast<size_t>(thread) / n_threads; i < n * (static_cast<size_t>(thread) + 1) / n_threads; ++i) {
        const uint8_t* row = head->file.data + static_cast<size_t>(candidates_[i]) * row_bytes;
        if (i + kRowsAhead < n) {
            const uint8_t* next = head->file.data + static_cast<size_t>(candidates_[i + kRowsAhead]) * row_bytes;
            for (size_t line = 0; line < row_bytes; line += 64) __builtin_prefetch(next + line);
        }
        rescored_[i] = kernels_->row_dot(head->view.format, row, config.width, x);
    }
}

}  // namespace solvent
