// The step: embedding, layers, head. All threads run run_layers() together and meet at barriers; a single token's
// vectors are short, so every thread keeps its own copy of them and barriers stand only around matrix products.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "decoder.hpp"

namespace solvent {

namespace {

int up_16(int n) { return (n + 15) / 16 * 16; }

// Panels that one int8 of int16 activations is multiplied by, and then the other: few enough that their weights are
// still in the second-level cache.
constexpr int kMostTogether = 16;
constexpr size_t kTogetherBytes = 384u << 10;

}  // namespace

Decoder::Decoder(const DecoderConfig& c, const Kernels& kernels, int n_threads)
    : config(c),
      kernels_(&kernels),
      team_(n_threads),
      width_16_(up_16(c.width)),
      ff_16_(up_16(c.ff_width)),
      q_16_(up_16(c.n_heads * c.head_size)),
      kv_16_(up_16(c.n_kv_heads * c.head_size)),
      group_(c.n_heads / c.n_kv_heads),
      threads_(static_cast<size_t>(n_threads)),
      counters_(static_cast<size_t>(c.n_layers * kPhasesPerLayer + 2) * static_cast<size_t>(n_threads)) {
    layers.resize(static_cast<size_t>(c.n_layers));
    const int widest = std::max({width_16_, ff_16_, q_16_});
    for (auto& own : threads_) {
        own.x.assign(static_cast<size_t>(width_16_), 0.0f);
        own.norm.assign(static_cast<size_t>(widest), 0.0f);
        own.query.assign(static_cast<size_t>(kMaxQueries) * up_16(c.head_size), 0.0f);
        own.turned.assign(4 * static_cast<size_t>(up_16(c.head_size)), 0.0f);
        own.q_codes.assign(static_cast<size_t>(kMaxQueries) * up_16(c.head_size), 0);
        own.q_unit.assign(kMaxQueries, 0.0f);
        own.q_sum.assign(kMaxQueries, 0);
        own.centre_scores.assign(static_cast<size_t>(kMaxQueries) * kMaxTiles, 0.0f);
        own.bias_even.assign(static_cast<size_t>(kMaxQueries) * (c.head_size / 2), 0.0f);
        own.bias_odd.assign(static_cast<size_t>(kMaxQueries) * (c.head_size / 2), 0.0f);
        own.scores.assign(static_cast<size_t>(kMaxQueries) * kKeyChunk, 0.0f);
        own.attended.assign(static_cast<size_t>(std::max(q_16_, kMaxQueries * up_16(c.head_size))), 0.0f);
        own.max.assign(kMaxQueries, 0.0f);
        own.total.assign(kMaxQueries, 0.0f);
        own.activations.reserve(1, static_cast<size_t>(widest));
        if (c.int16_activations) own.second.reserve(1, static_cast<size_t>(widest), true), own.rest.assign(static_cast<size_t>(widest), 0.0f);
        own.row = RowCodes(c.width);
    }
    reserve(1);
}

void Decoder::reserve(int n_tokens) {
    if (n_tokens <= reserved_) return;
    const size_t n = static_cast<size_t>(n_tokens);
    x_.assign(n * width_16_, 0.0f);
    qkv_.assign(n * (q_16_ + 2 * kv_16_), 0.0f);
    y_.assign(n * width_16_, 0.0f);
    gate_.assign(n * 2 * ff_16_, 0.0f);
    attended_.assign(n * q_16_, 0.0f);
    activations_.reserve(n, static_cast<size_t>(std::max({width_16_, ff_16_, q_16_})));
    if (config.int16_activations) {
        second_.reserve(n, static_cast<size_t>(std::max({width_16_, ff_16_, q_16_})), true);
        for (auto& own : threads_) own.second_y.assign(n * kMostTogether * kRows, 0.0f);
    }
    for (auto& own : threads_) own.scratch.assign(gemm_scratch_bytes(n_tokens, std::max({width_16_, ff_16_, q_16_})), 0);
    reserved_ = n_tokens;  // last: what couldn't be had is asked for again
}

void Decoder::grow_rope(int n_tokens) {
    if (n_tokens <= rope_tokens_) return;
    n_tokens = std::min(config.context, std::max(n_tokens, 2 * rope_tokens_ + 64));
    const size_t half = rope_frequency.size();
    cos_.resize(half * n_tokens);
    sin_.resize(half * n_tokens);
    for (int t = rope_tokens_; t < n_tokens; ++t)
        for (size_t i = 0; i < half; ++i) {
            cos_[t * half + i] = static_cast<float>(std::cos(t * rope_frequency[i]));
            sin_[t * half + i] = static_cast<float>(std::sin(t * rope_frequency[i]));
        }
    rope_tokens_ = n_tokens;
    if (!lane_cos_.empty()) return;
    lane_cos_.resize(half * 16);
    lane_sin_.resize(half * 16);
    for (size_t i = 0; i < half; ++i)
        for (int t = 0; t < 16; ++t) {
            lane_cos_[16 * i + t] = static_cast<float>(std::cos(t * rope_frequency[i]));
            lane_sin_[16 * i + t] = static_cast<float>(std::sin(t * rope_frequency[i]));
        }
}

// One row's norm, of the residual stream after y is added to it where asked, as activations of the readers.
void Decoder::normalise(int thread, int slot, int row, const Vector& weight, bool add_y,
                        std::initializer_list<const Matrix*> readers) {
    float* x = residual(thread, slot);
    if (add_y) kernels_->add(x, y_.data() + static_cast<size_t>(slot) * width_16_, config.width);
    float* norm = threads_[static_cast<size_t>(thread)].norm.data();
    kernels_->rms_norm(x, weight.data(), config.norm_eps, config.width, norm);
    take_activations(thread, row, norm, config.width, readers);
}

// In each form that a reader wants, once.
void Decoder::take_activations(int thread, int row, const float* x, int n, std::initializer_list<const Matrix*> readers) {
    bool done[5] = {};
    for (const Matrix* reader : readers) {
        if (!reader || done[static_cast<int>(reader->wants())]) continue;
        done[static_cast<int>(reader->wants())] = true;
        activations(thread).take(*kernels_, row, x, n, reader->wants());
        if (!has_second(*reader)) continue;
        float* rest = threads_[static_cast<size_t>(thread)].rest.data();
        activations(thread).values(row, n, rest);
        for (int i = 0; i < n; ++i) rest[i] = x[i] - rest[i];
        second(thread).take(*kernels_, row, rest, n, Wants::blocks);
    }
}

namespace {

size_t panel_bytes(const MatrixView& w) {
    const bool is_rows = w.format == Format::f16 || w.format == Format::bf16 || w.format == Format::f32;
    return is_rows ? w.panel_bytes * kRows : w.panel_bytes;
}

const uint8_t* panel_at(const MatrixView& w, int panel) { return w.data + panel_bytes(w) * static_cast<size_t>(panel); }

int panels_together(const MatrixView& w) {
    return static_cast<int>(std::clamp<size_t>(kTogetherBytes / panel_bytes(w), 1, kMostTogether));
}

int own_first(int thread, int n_threads, int total) { return static_cast<int>(static_cast<int64_t>(total) * thread / n_threads); }

// The panel that a thread begins with.
const uint8_t* first_panel(std::initializer_list<const Matrix*> matrices, int thread, int n_threads) {
    int total = 0;
    for (const Matrix* m : matrices)
        if (m) total += m->view.n_panels;
    int first = own_first(thread, n_threads, total);
    for (const Matrix* m : matrices) {
        if (!m) return nullptr;
        if (first < m->view.n_panels) return m->view.data ? panel_at(m->view, first) : nullptr;
        first -= m->view.n_panels;
    }
    return nullptr;
}

}  // namespace

// All panels of the products. Each thread reads a stretch of its own from its beginning, so that what it fetches ahead
// is what it reads next, in the next product or phase too; then it takes pieces of the others'.
void Decoder::multiply(int thread, int phase, int n_tokens, std::initializer_list<Product> products, std::initializer_list<const Matrix*> next) {
    int total = 0;
    for (const Product& p : products) total += p.w->view.n_panels;
    const int n_threads = team_.n_active();
    const uint8_t* then = first_panel(next, thread, n_threads);
    for (int i = 0; i < n_threads; ++i) {
        const int owner = (thread + i) % n_threads;
        const int first = own_first(owner, n_threads, total), end = own_first(owner + 1, n_threads, total);
        const int grain = n_threads == 1 ? total : std::max(1, (end - first) / 8);
        std::atomic<int>& taken = counter(phase, owner).next;
        for (int at; (at = taken.fetch_add(grain, std::memory_order_relaxed)) < end - first;)
            multiply_panels(thread, {first + at, std::min(end, first + at + grain), first, end}, n_tokens, products, then);
    }
}

void Decoder::multiply_panels(int thread, const Piece& piece, int n_tokens, std::initializer_list<Product> products, const uint8_t* then) {
    int offset = 0;
    for (const Product* p = products.begin(); p != products.end(); ++p) {
        const MatrixView& w = p->w->view;
        const auto within = [&](int panel) { return std::clamp(panel - offset, 0, w.n_panels); };
        const int first = within(piece.begin), last = within(piece.end), own_begin = within(piece.own_begin), own_end = within(piece.own_end);
        offset += w.n_panels;
        if (first >= last) continue;
        const Activations x = activations(thread).view(p->w->wants());
        // Products of panels, of the second int8 too where there is one.
        const auto both = [&](int from, int to, std::ptrdiff_t ahead) {
            const int step = has_second(*p->w) ? panels_together(w) : w.n_panels;
            for (int at = from; at < to; at += step) {
                const int end = std::min(to, at + step);
                if (n_tokens > 1) kernels_->gemm(w, at, end, x, n_tokens, p->y, p->y_stride, threads_[static_cast<size_t>(thread)].scratch.data());
                else kernels_->gemv(w, at, end, x, p->y, ahead);
                if (has_second(*p->w)) add_second(thread, w, at, end, n_tokens, *p, ahead);
            }
        };
        if (n_tokens > 1) {
            both(first, last, 0);
            continue;
        }
        // Whole panels are fetched ahead, so that the last ones of the stretch fetch just the first of what follows it.
        const uint8_t* after = offset < piece.own_end ? (p + 1)->w->view.data : then;
        const int n_ahead = static_cast<int>((kAhead - 1) / panel_bytes(w)) + 1;
        const int turn = after ? std::max(own_begin, own_end - n_ahead) : own_end, far = std::clamp(turn, first, last);
        if (first < far) both(first, far, static_cast<std::ptrdiff_t>(panel_bytes(w)) * n_ahead);
        if (far < last) both(far, last, after - panel_at(w, turn));
    }
}

void Decoder::add_second(int thread, const MatrixView& w, int begin, int end, int n_tokens, const Product& p, std::ptrdiff_t ahead) {
    Thread& own = threads_[static_cast<size_t>(thread)];
    const Activations x = second(thread).view(Wants::blocks);
    MatrixView part = w;
    part.data = panel_at(w, begin);
    part.n_panels = end - begin;
    part.n_rows = std::min(w.n_rows - begin * kRows, part.n_panels * kRows);
    const int n_rows = part.n_panels * kRows;
    if (n_tokens > 1) kernels_->gemm(part, 0, part.n_panels, x, n_tokens, own.second_y.data(), static_cast<size_t>(n_rows), own.scratch.data());
    else kernels_->gemv(part, 0, part.n_panels, x, own.second_y.data(), ahead);
    for (size_t t = 0; t < static_cast<size_t>(n_tokens); ++t)
        kernels_->add(p.y + t * p.y_stride + static_cast<size_t>(begin) * kRows, own.second_y.data() + t * static_cast<size_t>(n_rows), n_rows);
}

void Decoder::embed(int thread) {
    const int n = static_cast<int>(slots_->size());
    for (int s = own_begin(thread, n); s < own_end(thread, n); ++s)
        read_floats(embedding->file, (*slots_)[static_cast<size_t>(s)].token, threads_[static_cast<size_t>(thread)].row, residual(thread, s));
}

// h = activation(gate) · up, through the norm that BitNet has here, as activations of `down`.
void Decoder::feed_forward(int thread, const Layer& layer) {
    const int n = static_cast<int>(slots_->size());
    float* h = threads_[static_cast<size_t>(thread)].norm.data();
    for (int s = own_begin(thread, n); s < own_end(thread, n); ++s) {
        const float* gate = gate_.data() + static_cast<size_t>(s) * 2 * ff_16_;
        (config.relu2 ? kernels_->relu2_mul : kernels_->silu_mul)(gate, gate + ff_16_, config.ff_width, h);
        if (!layer.ffn_sub_norm.empty()) kernels_->rms_norm(h, layer.ffn_sub_norm.data(), config.norm_eps, config.ff_width, h);
        take_activations(thread, s, h, config.ff_width, {layer.down});
    }
}

bool Decoder::run_layers(int thread, const Matrix* last_read) {
    const int n = static_cast<int>(slots_->size());
    const size_t qkv = static_cast<size_t>(q_16_ + 2 * kv_16_), ff = static_cast<size_t>(2 * ff_16_), width = static_cast<size_t>(width_16_);
    embed(thread);
    for (int i = 0; i < config.n_layers; ++i) {
        const Layer& l = layers[static_cast<size_t>(i)];
        const int phase = i * kPhasesPerLayer;
        if (thread == 0 && *watch_) ended_ = (*watch_)();
        for (int s = own_begin(thread, n); s < own_end(thread, n); ++s) normalise(thread, s, s, l.attn_norm, i > 0, {l.q, l.k, l.v});
        meet();
        multiply(thread, phase, n, {{l.q, qkv_.data(), qkv}, {l.k, qkv_.data() + q_16_, qkv}, {l.v, qkv_.data() + q_16_ + kv_16_, qkv}}, {l.o});
        team_.barrier();
        if (ended_) return false;
        attention(thread, i, phase + 1);
        team_.barrier();
        finish_attention(thread, l);
        meet();
        multiply(thread, phase + 2, n, {{l.o, y_.data(), width}}, {l.gate, l.up});
        team_.barrier();
        for (int s = own_begin(thread, n); s < own_end(thread, n); ++s) normalise(thread, s, s, l.ffn_norm, true, {l.gate, l.up});
        meet();
        multiply(thread, phase + 3, n, {{l.gate, gate_.data(), ff}, {l.up, gate_.data() + ff_16_, ff}}, {l.down});
        team_.barrier();
        feed_forward(thread, l);
        meet();
        if (i + 1 < config.n_layers) {
            const Layer& next = layers[static_cast<size_t>(i + 1)];
            multiply(thread, phase + 4, n, {{l.down, y_.data(), width}}, {next.q, next.k, next.v});
        } else {
            multiply(thread, phase + 4, n, {{l.down, y_.data(), width}}, {last_read});
        }
        team_.barrier();
    }
    return true;
}

bool Decoder::better_alone(int n_tokens) {
    if (team_.n_threads() == 1) return true;
    Timed& timed = timed_[n_tokens > 1];
    // A first step of several tokens goes by what single ones have shown.
    const double* seconds = timed.n_steps == 0 ? timed_[0].seconds : timed.seconds;
    const bool slower = seconds[1] > 0.0 && seconds[1] < seconds[0];
    const int first_try = n_tokens > 1 ? 8 : 4, try_every = n_tokens > 1 ? 32 : 64;
    ++timed.n_steps;
    const bool other = timed.n_steps == first_try || timed.n_steps % try_every == 0;
    return slower != other;
}

void Decoder::took(int n_tokens, bool alone, double seconds) {
    double& known = timed_[n_tokens > 1].seconds[alone];
    const double found = seconds / n_tokens;
    // One step that something held up, as the very first ones are, says little: it may raise what is known by an eighth.
    // A faster one says how fast it goes.
    if (known > 0.0 && found > known) known += 0.125 * (std::min(found, 2.0 * known) - known);
    else known = found;
}

// Runs the layers, after which last_read is read, and the last norm, whose results are the activations that `finish` starts from.
bool Decoder::run(const std::vector<Slot>& slots, const Watch& watch, const Matrix* last_read, const std::function<void(int)>& finish) {
    slots_ = &slots;
    watch_ = &watch;
    ended_ = has_screened_ = false;
    alone_ = slots.size() == 1;
    reserve(static_cast<int>(slots.size()));
    int last = 0;
    logit_slots_.clear();
    for (size_t s = 0; s < slots.size(); ++s) {
        last = std::max(last, slots[s].position);
        if (slots[s].logits) logit_slots_.push_back(static_cast<int>(s));
    }
    grow_rope(last + 1);
    plan(slots);
    for (auto& counter : counters_) counter.next.store(0, std::memory_order_relaxed);
    logits_16_.resize(static_cast<size_t>(up_16(config.n_vocab)) * logit_slots_.size());
    const int n_tokens = static_cast<int>(slots.size());
    const bool alone = better_alone(n_tokens);
    const auto start = std::chrono::steady_clock::now();
    const auto work = [&](int thread) {
        if (!run_layers(thread, last_read)) return;
        const int n = static_cast<int>(logit_slots_.size());
        if (n == 0) return;
        for (int row = own_begin(thread, n); row < own_end(thread, n); ++row)
            normalise(thread, logit_slots_[static_cast<size_t>(row)], row, output_norm, true, {head});
        meet();
        finish(thread);
    };
    team_.run(work, alone);
    if (ended_) return false;
    took(n_tokens, alone, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    return true;
}

bool Decoder::step(const std::vector<Slot>& slots, float* logits, const Watch& watch) {
    const size_t vocab_16 = static_cast<size_t>(up_16(config.n_vocab)), n_vocab = static_cast<size_t>(config.n_vocab);
    for (const Slot& slot : slots)
        if (slot.logits) pack(*head, n_threads());
    const Layer& first = layers.front();
    const bool whole = run(slots, watch, head, [&](int thread) {
        const int n = static_cast<int>(logit_slots_.size());
        multiply(thread, config.n_layers * kPhasesPerLayer, n, {{head, logits_16_.data(), vocab_16}}, {first.q, first.k, first.v});
    });
    for (size_t i = 0; whole && i < logit_slots_.size(); ++i)
        std::memcpy(logits + i * n_vocab, logits_16_.data() + i * vocab_16, sizeof(float) * n_vocab);
    return whole;
}

int Decoder::greedy(const std::vector<Slot>& slots, const Watch& watch) {
    const int phase = config.n_layers * kPhasesPerLayer;
    const Matrix* codes = screen.codes.get();
    if (!codes) pack(*head, n_threads());
    for (Thread& own : threads_) forget_search(own.search);
    const Matrix* last = codes ? codes : head;
    const Layer& first = layers.front();
    const bool whole = run(slots, watch, last, [&](int thread) {
        if (codes && (alone_ || thread == 0)) ask_screen(thread);
        if (codes) meet();
        multiply(thread, phase, 1, {{last, logits_16_.data(), 0}}, {first.q, first.k, first.v});
        if (!codes) return;
        team_.barrier();
        find_leaders(thread);
        team_.barrier();
        settle(thread);
    });
    has_screened_ = whole && codes;
    return !whole ? kEnded : codes ? likeliest_found() : likeliest_of_all();
}

}  // namespace solvent
