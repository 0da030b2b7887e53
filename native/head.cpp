// The greedy token by the screen: three-bit codes of all rows estimate every logit; those of the best estimates are
// computed from the file's own bytes, bit for bit as the whole head would compute them, and so are those of all rows that
// may be larger yet.
// How far an estimate may be off: residual · |x̂| / √K is the standard deviation of row·x̂ − codes·x̂ if rounding errors
// are independent of the direction of x̂, and likewise length · |x − x̂| / √K for rounding x itself to x̂. A row is dropped
// where it falls short of a logit that is known exactly by more than kDeviations of each of the two, which a normal
// variable exceeds less than once in 10¹⁵; turned rows are as good as normal (docs/explanation/engine-experiments.md).
// Cauchy and Schwarz would prove it, but their bound is √K = 24 and leaves all rows in.
#include <algorithm>
#include <cmath>

#include "decoder.hpp"

namespace solvent {

namespace {

constexpr double kDeviations = 8.0;
// The best by estimate of so many stretches of rows, and of those so many, are known exactly from the start.
constexpr int kStretches = 256, kLeaders = 32;
constexpr int kPieceRows = 1024;    // taken by a thread at a time
constexpr size_t kRowsAhead = 4;

void fetch(const uint8_t* p, size_t n) {
    for (size_t line = 0; line < n; line += 64) __builtin_prefetch(p + line);
}

void take(Search& s, int32_t row, float logit) {
    s.no_number = s.no_number || std::isnan(logit);
    if (logit > s.best || (logit == s.best && (s.best_row < 0 || row < s.best_row))) s.best = logit, s.best_row = row;
}

}  // namespace

void forget_search(Search& s) {
    s.best = -HUGE_VALF;
    s.best_row = -1;
    s.no_number = false;
    s.n_rescored = 0;
}

void Decoder::ask_screen(int thread) {
    ScreenQuestion& ask = threads_[static_cast<size_t>(thread)].search.question;
    ActivationStore& store = activations(thread);
    const Activations x = store.view(head->wants());
    const size_t width = static_cast<size_t>(config.width);
    const bool floats = head->wants() == Wants::floats;
    ask.seen.resize(width);
    ask.scratch.resize(width);
    if (floats) {
        std::copy_n(x.x, width, ask.seen.begin());
    } else {
        store.values(0, config.width, ask.seen.data());
        if (has_second(*head)) {
            second(thread).values(0, config.width, ask.scratch.data());
            kernels_->add(ask.seen.data(), ask.scratch.data(), config.width);
        }
    }
    ask.turned = ask.seen;
    screen.turn(*kernels_, ask.turned.data(), ask.scratch.data());
    store.take(*kernels_, 0, ask.turned.data(), config.width, Wants::token);
    const Activations rounded = store.view(Wants::token);
    ask.d = rounded.d[0];
    ask.sum = rounded.sum[0];
    double length = 0.0, lost = 0.0, seen = 0.0, taken = 0.0;
    for (size_t i = 0; i < width; ++i) {
        const double value = static_cast<double>(rounded.q[i]) * static_cast<double>(ask.d), left = static_cast<double>(ask.turned[i]) - value;
        length += value * value;
        lost += left * left;
        seen += static_cast<double>(ask.seen[i]) * static_cast<double>(ask.seen[i]);
        taken += static_cast<double>(ask.seen[i]) * static_cast<double>(screen.mean[i]);
    }
    length = std::sqrt(length), lost = std::sqrt(lost), seen = std::sqrt(seen);
    // Sums in float32 round once or twice per block, floats' once per 16 columns and in turning: at most the sum of sizes
    // of their terms each time.
    const double slack = (4.0 * head->view.n_blocks + (floats ? config.width : 16)) * 0x1p-23;
    const double deviations = kDeviations / std::sqrt(static_cast<double>(config.width));
    ask.by_residual = static_cast<float>(deviations * length);
    ask.by_length = static_cast<float>(deviations * lost + slack * (length + lost));
    ask.taken = static_cast<float>(taken + slack * screen.mean_length * seen);
}

ScreenRows Decoder::screened_rows(int thread) const {
    const ScreenQuestion& asked = question(thread);
    return {logits_16_.data(), screen.scale.data(), screen.residual.data(), screen.length.data(),
            -0.5f * asked.d * static_cast<float>(asked.sum), asked.by_residual, asked.by_length};
}

void Decoder::rescore(int thread, const int32_t* rows, size_t n) {
    const FileMatrix& file = head->file;
    Thread& own = threads_[static_cast<size_t>(thread)];
    const Activations x = activations(thread).view(head->wants()), rest = second(thread).view(head->wants());
    const size_t row_bytes = file.row_bytes();
    for (size_t i = 0; i < n; ++i) {
        if (!file.file && i + kRowsAhead < n) fetch(file.data + static_cast<size_t>(rows[i + kRowsAhead]) * row_bytes, row_bytes);
        const uint8_t* row = file.row(rows[i], own.row.bytes);
        float logit = kernels_->row_dot(head->view.format, row, config.width, x);
        if (has_second(*head)) logit += kernels_->row_dot(head->view.format, row, config.width, rest);
        take(own.search, rows[i], logit);
    }
    own.search.n_rescored += static_cast<int>(n);
}

void Decoder::find_leaders(int thread) {
    const ScreenRows all = screened_rows(thread);
    const int n_threads = team_.n_active();
    const auto border = [&](int i) { return static_cast<int>(static_cast<int64_t>(config.n_vocab) * i / kStretches); };
    Search& own = threads_[static_cast<size_t>(thread)].search;
    own.leaders.clear();
    for (int i = kStretches * thread / n_threads; i < kStretches * (thread + 1) / n_threads; ++i) {
        const ScreenBest found = kernels_->screen_best(all, border(i), border(i + 1));
        if (found.row >= 0) own.leaders.push_back(found);
    }
    const size_t n = std::min(own.leaders.size(), static_cast<size_t>(std::max(1, kLeaders / n_threads)));
    std::partial_sort(own.leaders.begin(), own.leaders.begin() + static_cast<std::ptrdiff_t>(n), own.leaders.end(),
                      [](const ScreenBest& a, const ScreenBest& b) { return a.estimate > b.estimate; });
    own.leaders.resize(n);
    own.rows.clear();
    for (const ScreenBest& leader : own.leaders) own.rows.push_back(leader.row);
    rescore(thread, own.rows.data(), n);
    own.known = own.best;
}

// Rows that may be the largest for all that estimates tell.
void Decoder::settle(int thread) {
    const ScreenRows all = screened_rows(thread);
    Search& own = threads_[static_cast<size_t>(thread)].search;
    float floor = -HUGE_VALF;
    for (int t = 0; t < team_.n_active(); ++t) floor = std::max(floor, threads_[static_cast<size_t>(t)].search.known);
    floor -= question(thread).taken;
    std::atomic<int>& next = counter(config.n_layers * kPhasesPerLayer + 1, 0).next;
    own.rows.resize(kPieceRows + 16);
    own.known_rows.clear();
    for (int t = 0; t < team_.n_active(); ++t)
        for (const ScreenBest& leader : threads_[static_cast<size_t>(t)].search.leaders) own.known_rows.push_back(leader.row);
    std::sort(own.known_rows.begin(), own.known_rows.end());
    const auto known = [&](int32_t row) { return std::binary_search(own.known_rows.begin(), own.known_rows.end(), row); };
    for (int begin; (begin = next.fetch_add(kPieceRows, std::memory_order_relaxed)) < config.n_vocab;) {
        const int n = kernels_->screen_rows(all, begin, std::min(config.n_vocab, begin + kPieceRows), floor, own.rows.data());
        const auto end = std::remove_if(own.rows.begin(), own.rows.begin() + n, known);
        rescore(thread, own.rows.data(), static_cast<size_t>(end - own.rows.begin()));
    }
}

int Decoder::likeliest_found() const {
    Search best;
    forget_search(best);
    for (const Thread& thread : threads_) {
        if (thread.search.no_number) return kNoNumber;
        if (thread.search.best_row >= 0) take(best, thread.search.best_row, thread.search.best);
    }
    return std::isfinite(best.best) ? best.best_row : kNoNumber;
}

int Decoder::n_rescored() const {
    int n = 0;
    for (const Thread& thread : threads_) n += thread.search.n_rescored;
    return n;
}

void Decoder::screen_bounds(float* bound, float* margin) const {
    const ScreenRows all = screened_rows(0);
    for (int r = 0; r < config.n_vocab; ++r) {
        margin[r] = all.residual[r] * all.by_residual + all.length[r] * all.by_length;
        bound[r] = all.scale[r] * (all.sum[r] + all.shift) + margin[r] + question(0).taken;
    }
}

int Decoder::likeliest_of_all() const {
    const float* logits = logits_16_.data();
    bool comparable = true;
    for (int i = 0; i < config.n_vocab; ++i) comparable &= logits[i] == logits[i];
    const int best = kernels_->argmax(logits, config.n_vocab);
    return comparable && std::isfinite(logits[best]) ? best : kNoNumber;
}

}  // namespace solvent
