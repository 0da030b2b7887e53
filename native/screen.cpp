#include "screen.hpp"

#include <algorithm>
#include <cmath>

namespace solvent {

namespace {

constexpr int kSamples = 32, kSampledRows = 32;  // so many stretches of so many rows
constexpr double kFarRow = 4.0;    // rows so many times the median's length aren't of the mean
constexpr double kStepOfRms = 0.586;  // leaves the least of a normal row out
constexpr float kUnbounded = 1e30f;  // residual of a row that no codes stand for: it is always in question
constexpr float kRounded = 1.001f;  // lengths from sums in float32, rounded up

// ±1 of each column by a hash of its number.
std::vector<float> random_signs(int n) {
    std::vector<float> signs(static_cast<size_t>(n));
    for (size_t i = 0; i < signs.size(); ++i) {
        uint64_t z = (i + 1) * 0x9E3779B97F4A7C15u;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        signs[i] = z >> 63 ? -1.0f : 1.0f;
    }
    return signs;
}

// The mean of stretches of rows, but for rows that are far out or no numbers. Any row will do to be taken away, so a sample
// is enough.
std::vector<float> mean_row(const FileMatrix& head) {
    const size_t width = static_cast<size_t>(head.n_cols);
    const int step = std::max(kSampledRows, head.n_rows / kSamples);
    RowCodes scratch(head.n_cols);
    std::vector<float> rows;
    std::vector<double> lengths;
    for (int r = 0; r < head.n_rows; r += r % step == kSampledRows - 1 ? step - kSampledRows + 1 : 1) {
        rows.resize(rows.size() + width);
        float* row = rows.data() + rows.size() - width;
        read_floats(head, r, scratch, row);
        double squares = 0.0;
        for (size_t i = 0; i < width; ++i) squares += static_cast<double>(row[i]) * static_cast<double>(row[i]);
        lengths.push_back(std::isfinite(squares) ? std::sqrt(squares) : HUGE_VAL);
    }
    std::vector<double> ordered = lengths;
    std::nth_element(ordered.begin(), ordered.begin() + static_cast<std::ptrdiff_t>(ordered.size() / 2), ordered.end());
    const double most = kFarRow * ordered[ordered.size() / 2];
    std::vector<double> sum(width, 0.0);
    double n = 0.0;
    for (size_t r = 0; r < lengths.size(); ++r) {
        if (!(lengths[r] <= most) || !std::isfinite(lengths[r])) continue;
        ++n;
        for (size_t i = 0; i < width; ++i) sum[i] += static_cast<double>(rows[r * width + i]);
    }
    std::vector<float> mean(width, 0.0f);
    for (size_t i = 0; n > 0.0 && i < width; ++i) mean[i] = static_cast<float>(sum[i] / n);
    return mean;
}

}  // namespace

size_t Screen::bytes() const { return codes ? codes->bytes_per_pass + length.size() * 3 * sizeof(float) : 0; }

Screen make_screen(const FileMatrix& head, const Kernels& kernels, int n_threads) {
    Screen s;
    const size_t rows = static_cast<size_t>(head.n_rows), width = static_cast<size_t>(head.n_cols);
    s.codes = plan_three_bits(head);
    MatrixView& view = s.codes->view;
    s.codes->pages = std::make_unique<Pages>(s.codes->bytes_per_pass, true);
    uint8_t* data = s.codes->pages->data();
    for (std::vector<float>* one : {&s.scale, &s.residual, &s.length}) one->assign(rows, 0.0f);
    s.signs = random_signs(head.n_cols);
    FileMatrix in_order = head;  // reads the mapping, ahead and in large pieces
    in_order.file = nullptr;
    s.mean = mean_row(in_order);
    for (const float v : s.mean) s.mean_length += static_cast<double>(v) * static_cast<double>(v);
    s.mean_length = std::sqrt(s.mean_length);
    each_row(in_order, head.n_rows, n_threads, [&](int r, RowCodes& row) {
        thread_local std::vector<float> v;
        v.resize(width);
        const size_t at = static_cast<size_t>(r);
        read_floats(in_order, r, row, v.data());
        for (size_t i = 0; i < width; ++i) v[i] -= s.mean[i];
        kernels.turn(v.data(), s.signs.data(), head.n_cols, v.data());
        const double squares = static_cast<double>(kernels.square_sum(v.data(), head.n_cols));
        if (!(squares < 1e30)) {
            s.residual[at] = s.length[at] = kUnbounded;
            return true;
        }
        const double step = kStepOfRms * std::sqrt(squares / static_cast<double>(width));
        ScreenSums sums;
        kernels.screen_codes(v.data(), head.n_cols, step > 0.0 ? static_cast<float>(1.0 / step) : 0.0f, row.codes.data(), &sums);
        put_three_bits(row.codes.data(), r % kRows, view.n_blocks, data + static_cast<size_t>(r / kRows) * view.panel_bytes);
        // By this scale what codes leave out is at right angles to the row, whose logits are then right in the mean.
        const double scale = sums.with > 0.0f ? squares / static_cast<double>(sums.with) : 0.0;
        const double left = scale * scale * static_cast<double>(sums.squares) - squares;
        s.scale[at] = static_cast<float>(scale);
        s.residual[at] = kRounded * static_cast<float>(std::sqrt(std::max(left, 1e-4 * squares)));
        s.length[at] = kRounded * static_cast<float>(std::sqrt(squares));
        return true;
    });
    view.data = data;
    return s;
}

}  // namespace solvent
