// The head in two passes: 4-bit codes of all rows bound every logit from both sides; rows that may be the largest are
// computed again from the file's own bytes, as the whole head would compute them. The winner is the same by proof:
// |row·x − codes·x̂| ≤ residual·|x̂| + length·(|x − x̂| + slack·|x|), x̂ being x as rounded to int8.
#include <algorithm>
#include <cmath>

#include "decoder.hpp"

namespace solvent {

void Decoder::choose_candidates(const Activations& x) {
    const Activations rounded = activations(0).view(Wants::blocks);
    const bool exact_reads_floats = head->wants() == Wants::floats;
    double length = 0.0, lost = 0.0;
    for (int i = 0; i < config.width; ++i) {
        const double value = static_cast<double>(rounded.q[i]) * rounded.d[i / kBlock];
        length += value * value;
        if (exact_reads_floats) lost += (x.x[i] - value) * (x.x[i] - value);
    }
    length = std::sqrt(length);
    // Both sums round once or twice per block in float32, at most the sum of sizes of their terms each time.
    const double slack = (4.0 * head->view.n_blocks + (exact_reads_floats ? config.width : 8)) * 0x1p-23;
    const float by_residual = static_cast<float>(length * (1.0 + 1e-6));
    const float by_length = static_cast<float>((std::sqrt(lost) * (1.0 + 1e-6)) + slack * (length + std::sqrt(lost)));
    const float* approximate = logits_16_.data();
    const auto margin = [&](int r) {
        return screen_residual[static_cast<size_t>(r)] * by_residual + screen_length[static_cast<size_t>(r)] * by_length;
    };
    float floor = -INFINITY;
    for (int r = 0; r < config.n_vocab; ++r) floor = std::max(floor, approximate[r] - margin(r));
    candidates_.clear();
    for (int r = 0; r < config.n_vocab; ++r)
        if (!(approximate[r] + margin(r) < floor)) candidates_.push_back(r);
    rescored_.resize(candidates_.size());
}

void Decoder::rescore(int thread, const Activations& x) {
    const size_t n = candidates_.size(), n_threads = static_cast<size_t>(team_.n_threads());
    const size_t row_bytes = file_bytes(*head->file.type, 1, head->file.n_cols);
    for (size_t i = n * static_cast<size_t>(thread) / n_threads; i < n * (static_cast<size_t>(thread) + 1) / n_threads; ++i) {
        const uint8_t* row = head->file.data + static_cast<size_t>(candidates_[i]) * row_bytes;
        rescored_[i] = kernels_->row_dot(head->view.format, row, config.width, x);
    }
}

}  // namespace solvent
