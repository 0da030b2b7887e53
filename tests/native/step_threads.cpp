// Steps of small random models by one thread and by several, for a build with sanitizers: prompts, single tokens,
// batches and greedy steps. The bits must be the same. Arguments: seed, models. A difference ends the program with 1.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../../native/decoder.hpp"

using namespace solvent;

namespace {

uint64_t state;

// splitmix64
uint64_t word() {
    uint64_t z = (state += 0x9E3779B97F4A7C15ull);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}
int below(int n) { return static_cast<int>(word() % static_cast<uint64_t>(n)); }
float unit() { return static_cast<float>(static_cast<int64_t>(word() >> 40)) / 8388608.0f - 1.0f; }

// The bytes of a model's matrices and what is packed from them.
struct Weights {
    std::vector<std::vector<uint8_t>> bytes;
    std::vector<std::unique_ptr<Matrix>> matrices;
    Format one_scale_ternary = Format::t2;

    Matrix* make(const char* type_name, int n_rows, int n_cols, bool per_token) {
        const FileType* type = file_type(type_name);
        bytes.emplace_back(file_bytes(*type, n_rows, n_cols));
        std::vector<uint8_t>& data = bytes.back();
        for (auto& byte : data) byte = static_cast<uint8_t>(word());
        if (type->kind == FileKind::hf_ternary)  // no code 3
            for (auto& byte : data) byte = static_cast<uint8_t>(byte & ~(byte & byte >> 1 & 0x55));
        const float scale = 1.0f / std::sqrt(static_cast<float>(n_cols));
        if (type->kind == FileKind::f32)
            for (size_t i = 0; i < data.size(); i += 4) {
                const float value = unit() * scale;
                std::memcpy(&data[i], &value, 4);
            }
        if (type->kind == FileKind::q8_0)
            for (size_t i = 0; i < data.size(); i += 34) data[i] = 0, data[i + 1] = 0x10;  // 2⁻¹¹
        matrices.push_back(plan_matrix({type, data.data(), n_rows, n_cols, scale, false}, per_token, one_scale_ternary));
        pack(*matrices.back(), 2);
        return matrices.back().get();
    }
};

Vector vector(int n, float middle) {
    Vector v(static_cast<size_t>((n + 15) / 16 * 16), 0.0f);
    for (int i = 0; i < n; ++i) v[static_cast<size_t>(i)] = middle + unit() / 2;
    return v;
}

struct Model {
    Weights weights;
    std::unique_ptr<Decoder> decoder;
};

void fill(Model& m, const DecoderConfig& c, const Kernels& kernels, int n_threads, int variant) {
    const char* type = variant % 3 == 0 ? "f32" : variant % 3 == 1 ? "q8_0" : "hf_ternary";
    const bool bitnet = variant % 3 == 2;
    m.decoder = std::make_unique<Decoder>(c, kernels, n_threads);
    m.weights.one_scale_ternary = kernels.one_scale_ternary;
    Decoder& d = *m.decoder;
    const int q = c.n_heads * c.head_size, kv = c.n_kv_heads * c.head_size;
    for (Layer& l : d.layers) {
        l.q = m.weights.make(type, q, c.width, bitnet), l.k = m.weights.make(type, kv, c.width, bitnet);
        l.v = m.weights.make(type, kv, c.width, bitnet), l.o = m.weights.make(type, c.width, q, bitnet);
        l.gate = m.weights.make(type, c.ff_width, c.width, bitnet), l.up = m.weights.make(type, c.ff_width, c.width, bitnet);
        l.down = m.weights.make(type, c.width, c.ff_width, bitnet);
        l.attn_norm = vector(c.width, 1), l.ffn_norm = vector(c.width, 1);
        if (bitnet) l.attn_sub_norm = vector(q, 1), l.ffn_sub_norm = vector(c.ff_width, 1);
        if (variant % 4 == 1) l.q_norm = vector(c.head_size, 1), l.k_norm = vector(c.head_size, 1);
        if (variant % 2) l.q_bias = vector(q, 0), l.k_bias = vector(kv, 0), l.v_bias = vector(kv, 0);
        if (variant % 4 == 3)
            for (int head = 0; head < c.n_kv_heads; ++head) l.key_biases.push_back(split_bias(l.k_bias.data() + head * c.head_size, c.head_size, c.rope_adjacent));
    }
    d.embedding = d.head = m.weights.make(variant % 2 ? "q8_0" : "f32", c.n_vocab, c.width, false);
    d.output_norm = vector(c.width, 1);
    for (int i = 0; i < c.head_size / 2; ++i) d.rope_frequency.push_back(std::pow(10000.0, -2.0 * i / c.head_size));
    if (c.width % 32 == 0) d.screen = make_screen(d.head->file, kernels, n_threads);
}

// Half floats, or codes of every number of bits where heads have a size for them.
std::shared_ptr<const CacheFormat> format_for(const DecoderConfig& c) {
    auto format = std::make_shared<CacheFormat>();
    for (int i = 0; i < c.n_layers; ++i) format->layers.push_back({-1, -1});
    if (c.head_size != 64) return format;
    for (const int bits : {1, 2, 3, 4, 5, 6, 8}) {
        CodeBook book{};
        book.bits = bits;
        book.trellis = bits > 1 && bits < 6 && below(2);
        book.unit = 3.0f / 127.0f;
        book.gain = 1.0f;
        for (int i = 0; i < 64; ++i) {
            book.table[i] = static_cast<uint8_t>(128 + (i * 2 - 63) * 2);
            book.value[i] = static_cast<float>(book.table[i] - 128) * book.unit;
        }
        for (int i = 0; i < 256; ++i) book.nearest[i] = static_cast<uint8_t>(i >> (8 - std::min(bits, kWindow)));
        format->books.push_back(book);
    }
    for (auto& kept : format->layers) kept = {below(8) - 1, below(8) - 1};
    for (int i = 0; i < c.head_size; ++i) format->signs.push_back(below(2) ? 1.0f : -1.0f);
    format->centred = below(3) > 0;
    if (c.context > 540 && below(2)) format->n_sinks = below(2), format->n_tail = below(2);
    return format;
}

// Everything that the model is asked, and all the logits that it gave.
std::vector<float> answers(Decoder& d, uint64_t seed) {
    state = seed;
    const DecoderConfig& c = d.config;
    const size_t n_vocab = static_cast<size_t>(c.n_vocab);
    std::vector<float> all;
    std::vector<std::unique_ptr<Sequence>> sequences;
    const int n_sequences = 1 + below(7);
    for (int i = 0; i < n_sequences; ++i) sequences.push_back(std::make_unique<Sequence>(CacheShape{c.n_layers, c.n_kv_heads, c.head_size, c.context}, format_for(c)));
    for (int turn = 0; turn < 12; ++turn) {
        std::vector<Slot> slots;
        if (turn % 3 == 0) {
            Sequence& s = *sequences[static_cast<size_t>(below(n_sequences))];
            // Long where a chunk is to leave the tail.
            const bool tail = s.format().n_tail > 0 && turn == 0;
            const int n = std::min(tail ? 515 : 1 + below(40), s.context() - s.n_tokens);
            s.reserve(d.kernels(), s.n_tokens + n);
            for (int i = 0; i < n; ++i) slots.push_back({&s, below(c.n_vocab), s.n_tokens + i, below(2) == 0});
            s.n_tokens += n;
        } else if (turn % 3 == 1) {
            for (auto& s : sequences) s->reserve(d.kernels(), std::min(s->n_tokens + 1, s->context()));
            for (auto& s : sequences)
                if (s->n_tokens < s->context()) slots.push_back({s.get(), below(c.n_vocab), s->n_tokens++, true});
        } else {
            Sequence& s = *sequences[0];
            // One token, which every thread takes alone, or several.
            const int n = std::min(1 + below(3), s.context() - s.n_tokens);
            s.reserve(d.kernels(), s.n_tokens + n);
            std::vector<Slot> asked;
            for (int i = 0; i < n; ++i) asked.push_back({&s, below(c.n_vocab), s.n_tokens++, i + 1 == n});
            if (n > 0) all.push_back(static_cast<float>(d.greedy(asked)));
            // Another that shares what stays takes its place.
            s.truncate(s.n_tokens - below(s.n_tokens + 1));
            sequences.push_back(std::make_unique<Sequence>(s));
            std::swap(sequences[0], sequences.back());
        }
        if (slots.empty()) continue;
        size_t n_logits = 0;
        for (const Slot& slot : slots) n_logits += slot.logits;
        std::vector<float> logits(n_logits * n_vocab);
        d.step(slots, logits.data());
        all.insert(all.end(), logits.begin(), logits.end());
    }
    return all;
}

}  // namespace

int main(int argc, char** argv) {
    const uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0;
    const int n = argc > 2 ? std::atoi(argv[2]) : 10;
    for (int i = 0; i < n; ++i) {
        std::vector<std::vector<float>> found;
        for (const int n_threads : {1, 2, 3}) {
            state = seed + static_cast<uint64_t>(i);
            DecoderConfig c{};
            c.n_kv_heads = 1 + below(3), c.n_heads = c.n_kv_heads * (1 + below(4)), c.head_size = 2 * (1 + below(12));
            // q8_0 has blocks of 32: heads together must fill them.
            if (i % 3 == 1) c.head_size = i % 2 ? 64 : 32;
            c.width = 32 * (1 + below(3)) + (i % 3 == 2 && i % 2 == 0 ? 8 : 0), c.ff_width = i % 3 == 1 ? 64 : 4 * (1 + below(30));
            if (i % 3 == 2) c.head_size = 4 * (1 + below(6));
            c.n_layers = 1 + below(2), c.n_vocab = 4 * (1 + below(80)), c.context = c.head_size == 64 ? 500 + below(200) : 1 + below(700);
            // Rows enough that threads share the screen's second pass.
            if (i % 4 == 1) c.n_vocab = 4 * (300 + below(500));
            c.norm_eps = 1e-5f, c.rope_adjacent = below(2), c.relu2 = below(2), c.int16_activations = below(2);
            Model m;
            fill(m, c, kernels_scalar(), n_threads, i);
            found.push_back(answers(*m.decoder, seed + static_cast<uint64_t>(i)));
        }
        for (const auto& one : found)
            if (one.size() != found[0].size() || std::memcmp(one.data(), found[0].data(), one.size() * 4) != 0) {
                std::printf("model %d differs with several threads\n", i);
                return 1;
            }
    }
    std::printf("%d models\n", n);
}
