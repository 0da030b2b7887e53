#include "screen.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace solvent {

namespace {

constexpr int kSamples = 32, kSampledRows = 32;  // so many stretches of so many rows
constexpr double kFarRow = 4.0;    // rows so many times the median's length aren't of the mean
constexpr double kStepOfRms = 0.586;  // leaves the least of a normal row out
constexpr float kUnbounded = HUGE_VALF;  // residual of a row that no codes stand for: it is always in question
constexpr float kRounded = 1.001f;  // lengths from sums in float32, rounded up
constexpr double kLeastSquares = 1e-20, kMostSquares = 1e30;  // of a row, so that float32 holds its sums

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

// 0.618·n or the next number after it that has no divisor in common with n, times i: neighbours come from far apart.
std::vector<int32_t> far_apart(int n) {
    int64_t stride = static_cast<int64_t>(0.618 * n) + 1;
    while (std::gcd(stride, static_cast<int64_t>(n)) != 1) ++stride;
    std::vector<int32_t> from(static_cast<size_t>(n));
    for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<int32_t>(static_cast<int64_t>(i) * stride % n);
    return from;
}

// The mean of stretches of rows, but for rows that are far out or no numbers. Any row will do to be taken away, so a sample
// is enough.
std::vector<float> mean_row(const FileMatrix& head) {
    const size_t width = static_cast<size_t>(head.n_cols);
    const int step = std::max(kSampledRows, head.n_rows / kSamples);
    RowCodes scratch(head.n_cols);
    std::vector<float> rows;
    rows.reserve(static_cast<size_t>(kSamples + 1) * kSampledRows * width);
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

void Screen::turn(const Kernels& kernels, float* v, float* scratch) const {
    const int n = static_cast<int>(apart.size());
    kernels.turn(v, signs.data(), n, scratch);
    for (size_t i = 0; i < apart.size(); ++i) v[i] = scratch[apart[i]];
    kernels.turn(v, signs.data() + n, n, v);
}

Screen make_screen(const FileMatrix& head, const Kernels& kernels, int n_threads) {
    Screen s;
    const size_t rows = static_cast<size_t>(head.n_rows), width = static_cast<size_t>(head.n_cols);
    s.codes = plan_three_bits(head);
    MatrixView& view = s.codes->view;
    s.codes->pages = std::make_unique<Pages>(s.codes->bytes_per_pass, true);
    uint8_t* data = s.codes->pages->data();
    for (std::vector<float>* one : {&s.scale, &s.residual, &s.length}) one->assign(rows, 0.0f);
    s.signs = random_signs(2 * head.n_cols);
    s.apart = far_apart(head.n_cols);
    FileMatrix in_order = head;  // reads the mapping, ahead and in large pieces
    in_order.file = nullptr;
    s.mean = mean_row(in_order);
    for (const float v : s.mean) s.mean_length += static_cast<double>(v) * static_cast<double>(v);
    s.mean_length = std::sqrt(s.mean_length);
    each_row(in_order, head.n_rows, n_threads, [&](int r, RowCodes& row) {
        thread_local std::vector<float> v, scratch;
        v.resize(width);
        scratch.resize(width);
        const size_t at = static_cast<size_t>(r);
        read_floats(in_order, r, row, v.data());
        for (size_t i = 0; i < width; ++i) v[i] -= s.mean[i];
        s.turn(kernels, v.data(), scratch.data());
        const double squares = static_cast<double>(kernels.square_sum(v.data(), head.n_cols));
        if (!(squares > kLeastSquares && squares < kMostSquares)) {
            s.residual[at] = s.length[at] = kUnbounded;
            return true;
        }
        const double step = kStepOfRms * std::sqrt(squares / static_cast<double>(width));
        ScreenSums sums;
        kernels.screen_codes(v.data(), head.n_cols, static_cast<float>(1.0 / step), row.codes.data(), &sums);
        put_three_bits(row.codes.data(), r % kRows, view.n_blocks, data + static_cast<size_t>(r / kRows) * view.panel_bytes);
        // By this scale what codes leave out is at right angles to the row, whose logits are then right in the mean.
        const double scale = squares / static_cast<double>(sums.with);
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
