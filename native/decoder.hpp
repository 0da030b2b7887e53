// A model as the step reads it, and the step: tokens in, logits out, all layers without leaving native code.
// Not here: files, sampling, Python. Enter at Decoder::step(); step.cpp holds it, attention.cpp its middle.
#pragma once

#include <functional>
#include <initializer_list>
#include <utility>
#include <vector>

#include "activations.hpp"
#include "key_bias.hpp"
#include "pool.hpp"
#include "screen.hpp"
#include "sequence.hpp"

namespace solvent {

struct DecoderConfig {
    int n_layers, width, n_heads, n_kv_heads, head_size, ff_width, n_vocab, context;
    float norm_eps;
    bool rope_adjacent;
    bool relu2;  // else SiLU
    bool int16_activations;  // of blocks of 32: a second int8 for what the first leaves, and products of both added
};

using Vector = std::vector<float>;  // padded to 16 with zeros; empty where the family has none

struct Layer {
    const Matrix *q = nullptr, *k = nullptr, *v = nullptr, *o = nullptr, *gate = nullptr, *up = nullptr, *down = nullptr;
    Vector attn_norm, ffn_norm, q_norm, k_norm, attn_sub_norm, ffn_sub_norm, q_bias, k_bias, v_bias;
    std::vector<KeyBias> key_biases;  // per key-value head, where there is a bias that nothing but RoPE follows
};

// One token of a step.
struct Slot {
    Sequence* sequence;
    int token;
    int position;
    bool logits;
};

// One matrix product of several that share their activations.
struct Product {
    const Matrix* w;
    float* y;
    size_t y_stride;
};

// What the screen is asked: a vector as the exact head takes it, turned; its int8 codes are among the activations.
struct ScreenQuestion {
    std::vector<float> seen, turned, scratch;
    float d = 0.0f;
    int32_t sum = 0;
    float by_residual = 0.0f, by_length = 0.0f;  // how far estimates may be off
    float taken = 0.0f;  // at most what all logits have on top of their estimates: that of the mean row
};

// One thread's part of the search for the largest logit.
struct Search {
    ScreenQuestion question;
    std::vector<int32_t> rows, known_rows;
    std::vector<ScreenBest> leaders;
    // The largest exact logit so far, of equals the smallest row.
    float best = 0.0f;
    float known = 0.0f;  // the same after the leaders, when others read it
    int32_t best_row = -1;
    bool no_number = false;
    int n_rescored = 0;
};
void forget_search(Search& s);

// Panels [begin, end) of several products, of the stretch that one thread reads first.
struct Piece {
    int begin, end, own_begin, own_end;
};

// Tokens of one sequence that attend together.
struct Tile {
    int first, n_tokens;  // slots
    int first_span, n_spans;
};

constexpr int kPhasesPerLayer = 5;
constexpr int kMaxStep = 512;      // tokens of one step
constexpr int kSpanKeys = 512;     // keys of one piece of work where few tokens attend to many keys
constexpr int kFewTiles = 4;

class Decoder {
  public:
    Decoder(const DecoderConfig& config, const Kernels& kernels, int n_threads);

    DecoderConfig config;
    std::vector<Layer> layers;
    const Matrix* embedding = nullptr;
    Matrix* head = nullptr;  // packed when all logits are first asked for
    Screen screen;           // of the head, or none
    Vector output_norm;
    std::vector<double> rope_frequency;  // radians per token, head_size / 2

    // Asked by one thread between layers; true ends the step, whose sequences are then as they were.
    using Watch = std::function<bool()>;
    // Runs the slots through all layers. Logits of the slots that ask go to `logits`, n_vocab each, in order.
    // False where it was ended.
    bool step(const std::vector<Slot>& slots, float* logits, const Watch& watch = {});
    // The id of the largest logit after the last slot, the only one that asks, as step() would give it: the smallest of
    // equals. kNoNumber where a logit isn't finite that is the largest or not comparable.
    int greedy(const std::vector<Slot>& slots, const Watch& watch = {});
    static constexpr int kNoNumber = -1, kEnded = -2;

    const Kernels& kernels() const { return *kernels_; }
    int n_threads() const { return team_.n_threads(); }
    // Head rows that were computed exactly in the last greedy step.
    int n_rescored() const;
    // Whether the last step was a greedy one by the screen; of that: what each row's logit was taken to lie below, and how far that is above its estimate.
    bool has_screened() const { return has_screened_; }
    void screen_bounds(float* bound, float* margin) const;

  private:
    struct Thread {
        std::vector<float> x, norm, query, turned, scores, attended, max, total, q_unit, centre_scores, bias_even, bias_odd;
        std::vector<int8_t> q_codes;
        std::vector<int32_t> q_sum;
        ActivationStore activations, second;
        std::vector<float> rest, second_y;  // what the first int8 leaves; the second one's products
        std::vector<uint8_t> scratch;
        RowCodes row{32};
        Search search;
    };

    int own_begin(int thread, int n) const { return alone_ ? 0 : n * thread / team_.n_active(); }
    int own_end(int thread, int n) const { return alone_ ? n : n * (thread + 1) / team_.n_active(); }
    // Tokens are shared out where there are several; where there is one, every thread does it for itself.
    float* residual(int thread, int slot) { return alone_ ? threads_[thread].x.data() : x_.data() + static_cast<size_t>(slot) * width_16_; }
    ActivationStore& activations(int thread) { return alone_ ? threads_[thread].activations : activations_; }
    // The second int8 of int16 activations.
    ActivationStore& second(int thread) { return alone_ ? threads_[thread].second : second_; }
    bool has_second(const Matrix& w) const { return config.int16_activations && w.wants() == Wants::blocks; }
    void meet() { if (!alone_) team_.barrier(); }

    // Whether a step is better run by one thread: on a busy machine threads wait for each other's turn.
    // Both ways are timed as they occur, the slower one is tried again now and then; results don't depend on it.
    bool better_alone(int n_tokens);
    void took(int n_tokens, bool alone, double seconds);
    void reserve(int n_tokens);
    void grow_rope(int context);
    void plan(const std::vector<Slot>& slots);
    bool run_layers(int thread, const Matrix* last_read);
    void embed(int thread);
    void normalise(int thread, int slot, int row, const Vector& weight, bool add_y, std::initializer_list<const Matrix*> readers);
    void take_activations(int thread, int row, const float* x, int n, std::initializer_list<const Matrix*> readers);
    // next: what is read after the products.
    void multiply(int thread, int phase, int n_tokens, std::initializer_list<Product> products, std::initializer_list<const Matrix*> next);
    void multiply_panels(int thread, const Piece& piece, int n_tokens, std::initializer_list<Product> products, const uint8_t* then);
    // Adds the second int8's products by panels [begin, end) to p.y.
    void add_second(int thread, const MatrixView& w, int begin, int end, int n_tokens, const Product& p, std::ptrdiff_t ahead);
    void attention(int thread, int layer, int phase);
    void attend(int thread, int layer, int item);
    void load_query(Thread& own, int layer, int slot, int head, int row, const CacheFormat& format);
    Stored load_key(int layer, int slot, int head, float* out);
    // The bias that a layer's codes leave out, or null.
    const KeyBias* bias_apart(int layer, int head, const CacheFormat& format) const;
    Stored load_value(int layer, int slot, int head, float* out);
    void store_all(int thread, int layer);
    void merge_spans(const Tile& tile, int slot, float* out);
    void finish_attention(int thread, const Layer& layer);
    void feed_forward(int thread, const Layer& layer);
    // The greedy token by the screen, step by step; between two of them all threads meet.
    void ask_screen(int thread);
    void find_leaders(int thread);
    void settle(int thread);
    const ScreenQuestion& question(int thread) const { return threads_[alone_ ? static_cast<size_t>(thread) : 0].search.question; }
    ScreenRows screened_rows(int thread) const;
    void rescore(int thread, const int32_t* rows, size_t n);
    bool run(const std::vector<Slot>& slots, const Watch& watch, const Matrix* last_read, const std::function<void(int)>& finish);
    int likeliest_of_all() const;
    int likeliest_found() const;

    const Kernels* kernels_;
    Team team_;
    int width_16_, ff_16_, q_16_, kv_16_, group_;
    bool alone_ = true;      // one token in the step
    bool separate_ = true;   // every tile is one token of a sequence of its own
    const std::vector<Slot>* slots_ = nullptr;
    std::vector<Tile> tiles_;
    std::vector<std::pair<int, int>> pieces_;  // tile, span: the work of attention but for heads
    std::vector<int> logit_slots_;
    bool spread_ = false;                      // keys are split into spans
    int reserved_ = 0;
    // Of steps of one token, and of several: seconds per token by all threads and by one, smoothed; 0 is unknown.
    struct Timed {
        double seconds[2] = {0.0, 0.0};
        int n_steps = 0;
    } timed_[2];
    std::vector<float> x_, qkv_, y_, gate_, attended_, partial_, logits_16_;
    ActivationStore activations_, second_;
    std::vector<Thread> threads_;
    std::vector<float> cos_, sin_;            // [token][pair]
    std::vector<float> lane_cos_, lane_sin_;  // [pair][16 tokens]
    int rope_tokens_ = 0;
    struct alignas(64) Counter {
        std::atomic<int> next{0};
    };
    std::vector<Counter> counters_;  // per phase and thread
    Counter& counter(int phase, int thread) { return counters_[static_cast<size_t>(phase * team_.n_threads() + thread)]; }
    const Watch* watch_ = nullptr;
    bool has_screened_ = false;
    bool ended_ = false;  // written by thread 0 between a layer's last barrier and the next one's first
};

}  // namespace solvent
