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
    const float floor = kernels_->screen_floor(logits_16_.data(), screen.residual.data(), screen.length.data(), by_residual, by_length, config.n_vocab);
    candidates_.resize(static_cast<size_t>(config.n_vocab));
    candidates_.resize(static_cast<size_t>(kernels_->screen_rows(logits_16_.data(), screen.residual.data(), screen.length.data(),
                                                                 by_residual, by_length, floor, config.n_vocab, candidates_.data())));
    rescored_.resize(candidates_.size());
    n_rescored_ = static_cast<int>(candidates_.size());
}

void Decoder::rescore(int thread, const Activations& x) {
    const FileMatrix& file = head->file;
    std::vector<uint8_t>& buffer = threads_[static_cast<size_t>(thread)].row.bytes;
    const size_t n = candidates_.size(), n_threads = static_cast<size_t>(team_.n_active()), row_bytes = file.row_bytes();
    for (size_t i = n * static_cast<size_t>(thread) / n_threads; i < n * (static_cast<size_t>(thread) + 1) / n_threads; ++i) {
        if (!file.file && i + kRowsAhead < n) {
            const uint8_t* next = file.data + static_cast<size_t>(candidates_[i + kRowsAhead]) * row_bytes;
            for (size_t line = 0; line < row_bytes; line += 64) __builtin_prefetch(next + line);
        }
        rescored_[i] = kernels_->row_dot(head->view.format, file.row(candidates_[i], buffer), config.width, x);
    }
}

int Decoder::likeliest_candidate() const {
    size_t best = 0;
    for (size_t i = 0; i < rescored_.size(); ++i) {
        if (std::isnan(rescored_[i])) return kNoNumber;
        if (rescored_[i] > rescored_[best]) best = i;
    }
    return std::isfinite(rescored_[best]) ? candidates_[best] : kNoNumber;
}

int Decoder::likeliest_of_all() const {
    const float* logits = logits_16_.data();
    bool comparable = true;
    for (int i = 0; i < config.n_vocab; ++i) comparable &= logits[i] == logits[i];
    const int best = kernels_->argmax(logits, config.n_vocab);
    return comparable && std::isfinite(logits[best]) ? best : kNoNumber;
}

}  // namespace solvent
