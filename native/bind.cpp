// The door between Python and the native core: the only file that knows nanobind. It checks shapes and ranges again,
// keeps what native code points to alive, and lets other Python threads run meanwhile.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>
#include <stdexcept>

#include "bandwidth.hpp"
#include "codes.hpp"
#include "cpu.hpp"
#include "decoder.hpp"
#include "dispatch.hpp"
#include "rounding.hpp"

namespace nb = nanobind;
using namespace solvent;

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Doubles = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Cube = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Tokens = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

namespace {

template <typename... T>
void need(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

nb::tuple words(bool only_present) {
    nb::list found;
    for (const auto& feature : kFeatureWords)
        if (!only_present || cpu_features().*feature.present) found.append(feature.word);
    return nb::tuple(found);
}

nb::tuple kernel_names() {
    nb::list found;
    for (const Kernels* k : runnable_kernels()) found.append(k->name);
    return nb::tuple(found);
}

const Kernels& kernels_named(const std::string& name) {
    for (const Kernels* k : runnable_kernels())
        if (name == k->name) return *k;
    throw std::invalid_argument("no such kernels on this CPU");
}

nb::ndarray<nb::numpy, float> new_array(size_t rows, size_t columns) {
    float* data = new float[rows * columns];
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<float*>(p); });
    return nb::ndarray<nb::numpy, float>(data, {rows, columns}, owner);
}

// A matrix with the bytes that it may still point to.
struct BoundMatrix {
    std::unique_ptr<Matrix> matrix;
    nb::object bytes;
};

// Matrices whose single rows are read through their mapping, though each touch makes 64 KiB of it resident. Reading a row
// from the open file costs half a microsecond more, which a head of a gigabyte is worth, and one of 30 MB isn't: with 3,000
// rows wanted for a token it was slower than all rows at once.
constexpr size_t kMappedRows = 64u << 20;

// source: where the bytes lie in an open file (descriptor, offset), or None.   by_rows: rows are read one at a time later,
// for which the file stays open.
FileMatrix file_matrix(const std::string& type, int n_rows, int n_cols, const Bytes& data, float scale, const nb::object& source, bool by_rows) {
    const FileType* known = file_type(type);
    need(known, "unknown tensor type");
    need(n_rows > 0 && n_cols > 0 && n_cols % known->weights * (type != "hf_ternary") == 0, "columns don't fill whole blocks");
    need(type != "hf_ternary" || n_rows % 4 == 0, "rows are no multiple of 4");
    size_t bytes = file_bytes(*known, n_rows, n_cols);
    const bool trailing = type == "i2_s" || type == "i2_s_arm";
    need(data.size() >= bytes + (trailing ? 4 : 0), "the bytes are fewer than the shape needs");
    if (trailing) std::memcpy(&scale, data.data() + bytes, 4);
    need(std::isfinite(scale), "the scale of the matrix is no finite number");
    FileMatrix file{known, data.data(), n_rows, n_cols, scale, !source.is_none()};
    if (!source.is_none()) {
        const auto [descriptor, offset] = nb::cast<std::pair<int, size_t>>(source);
        if (by_rows && bytes > kMappedRows) file.file = std::make_shared<const OpenFile>(descriptor);
        file.offset = offset;
    }
    return file;
}

// packed_for: kernels whose layout ternary weights of one scale get; empty: two bits a weight.
BoundMatrix new_matrix(const std::string& type, int n_rows, int n_cols, nb::object bytes, float scale, bool per_token, nb::object source,
                       int n_threads, bool lazy, const std::string& packed_for) {
    const Format one_scale_ternary = packed_for.empty() ? Format::t2 : kernels_named(packed_for).one_scale_ternary;
    const FileMatrix file = file_matrix(type, n_rows, n_cols, nb::cast<Bytes>(bytes), scale, source, lazy);
    std::unique_ptr<Matrix> made;
    {
        nb::gil_scoped_release release;
        made = plan_matrix(file, per_token, one_scale_ternary);
        if (!lazy) pack(*made, n_threads);
    }
    return {std::move(made), bytes};
}

Format rounded_format(const Matrix& m, int bits) {
    need(bits == 6 || bits == 8, "codes of other than 6 or 8 bits");
    need(m.view.n_cols % kBlock == 0, "columns don't fill whole blocks");
    return bits == 6 ? Format::q6_k : Format::q8_0;
}

// Y = X·Wᵀ by named kernels, n_together tokens at a time: what tests and benchmarks of kernels call.
nb::ndarray<nb::numpy, float> multiply(const BoundMatrix& bound, nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu> x,
                                       const std::string& name, int n_together, int n_passes) {
    const Kernels& kernels = kernels_named(name);
    pack(*bound.matrix, 1);
    const Matrix& m = *bound.matrix;
    const MatrixView& w = m.view;
    const int n_tokens = static_cast<int>(x.shape(0)), n_cols = w.n_cols;
    need(x.shape(1) == static_cast<size_t>(n_cols) && n_tokens > 0 && n_together > 0 && n_passes > 0, "x has other columns than W");
    auto out = new_array(static_cast<size_t>(n_tokens), static_cast<size_t>(w.n_rows));
    nb::gil_scoped_release release;
    const size_t stride = static_cast<size_t>(w.n_panels) * kRows;
    ActivationStore store;
    store.reserve(static_cast<size_t>(n_together), static_cast<size_t>(n_cols));
    std::vector<float> y(stride * static_cast<size_t>(n_together));
    std::vector<uint8_t> scratch(gemm_scratch_bytes(n_together, n_cols));
    for (int first = 0; first < n_tokens; first += n_together) {
        const int n = std::min(n_together, n_tokens - first);
        for (int t = 0; t < n; ++t) store.take(kernels, t, x.data() + static_cast<size_t>(first + t) * n_cols, n_cols, m.wants());
        for (int pass = 0; pass < n_passes; ++pass) {
            if (n == 1) kernels.gemv(w, 0, w.n_panels, store.view(m.wants()), y.data(), kAhead);
            else kernels.gemm(w, 0, w.n_panels, store.view(m.wants()), n, y.data(), stride, scratch.data());
        }
        for (int t = 0; t < n; ++t)
            std::memcpy(out.data() + static_cast<size_t>(first + t) * w.n_rows, y.data() + static_cast<size_t>(t) * stride, sizeof(float) * w.n_rows);
    }
    return out;
}

// A table of 64 values by window, as the kernels have it.
CodeBook book_from(nb::dict d) {
    CodeBook book{};
    book.bits = nb::cast<int>(d["bits"]);
    book.trellis = nb::cast<bool>(d["trellis"]);
    book.gain = nb::cast<float>(d["gain"]);
    need(std::isfinite(book.gain) && book.gain > 0.0f, "a book's gain is above 0");
    const auto values = nb::cast<Floats>(d["values"]);
    need((book.bits >= 1 && book.bits <= kWindow) || book.bits == 8, "codes have 1 to 6 bits, or 8");
    need(!book.trellis || (book.bits >= 2 && book.bits < kWindow), "a trellis has 2 to 5 bits");
    need(values.size() == 64, "a book has 64 values");
    float most = 0.0f;
    for (size_t i = 0; i < 64; ++i) most = std::fmax(most, std::fabs(values(i)));
    need(std::isfinite(most) && most > 0.0f, "a book's values are finite, and not all 0");
    book.unit = most / 127.0f;
    for (size_t i = 0; i < 64; ++i) {
        const float step = std::nearbyint(values(i) / book.unit);
        book.table[i] = static_cast<uint8_t>(step + 128.0f);
        book.value[i] = step * book.unit;
    }
    const int shift = book.bits == 8 ? 0 : kWindow - book.bits;
    for (int step = -128; step < 128; ++step) {
        int best = 0;
        for (int code = 0; code < 64 >> shift; ++code)
            if (std::abs(book.table[code << shift] - 128 - step) < std::abs(book.table[best << shift] - 128 - step)) best = code;
        book.nearest[step + 128] = static_cast<uint8_t>(best);
    }
    for (int i = 0; i < 16; ++i) {
        const bool there = book.bits <= 4 && i < 1 << book.bits, next = there && i + 1 < 1 << book.bits;
        book.border[i] = next ? 0.5f * (book.value[i << shift] + book.value[(i + 1) << shift]) : std::numeric_limits<float>::infinity();
    }
    return book;
}

std::shared_ptr<CacheFormat> format_from(nb::list books, const std::vector<int>& keys, const std::vector<int>& values, Floats signs, bool centred,
                                         int sink_tok, int tail_tok) {
    auto format = std::make_shared<CacheFormat>();
    for (auto one : books) format->books.push_back(book_from(nb::cast<nb::dict>(one)));
    need(!keys.empty() && keys.size() == values.size(), "one book of keys and of values per layer");
    const int n = static_cast<int>(format->books.size());
    for (size_t i = 0; i < keys.size(); ++i) {
        need(keys[i] >= -1 && keys[i] < n && values[i] >= -1 && values[i] < n, "no such book");
        format->layers.push_back({keys[i], values[i]});
    }
    for (size_t i = 0; i < signs.size(); ++i) need(signs(i) == 1.0f || signs(i) == -1.0f, "signs are 1 or −1");
    format->signs.assign(signs.data(), signs.data() + signs.size());
    format->centred = centred;
    for (const int n_tok : {sink_tok, tail_tok}) need(n_tok >= 0 && n_tok <= 1 << 24 && n_tok % kKeyChunk == 0, "sinks and tail are whole chunks");
    format->n_sinks = sink_tok / kKeyChunk;
    format->n_tail = tail_tok / kKeyChunk;
    return format;
}

void check_format(const CacheFormat& format, int n_layers, int head_size) {
    need(format.layers.size() == static_cast<size_t>(n_layers), "a cache format for another number of layers");
    bool codes = false;
    for (const auto& kept : format.layers) codes = codes || kept.key >= 0 || kept.value >= 0;
    need(!codes || (packs(head_size) && head_size <= kLongestHead), "heads of this size can't be kept as codes");
    need(!codes || format.signs.size() == static_cast<size_t>(head_size), "one sign per element of a head");
}

void check_finite(Sequence& sequence) {
    if (!sequence.not_finite().exchange(false)) return;
    throw std::invalid_argument("keys or values that are no finite numbers can't be kept as codes");
}

// Looked at while the decoder is locked: another thread may be filling the same sequence.
constexpr const char* kFull = "the context is full";

// Keys and values (T, n_kv_heads, D) of one layer's next tokens. `advance` makes them the sequence's, after all layers.
void store(Sequence& s, int layer, Cube keys, Cube values, const std::string& name) {
    const Kernels& kernels = kernels_named(name);
    const CacheShape& shape = s.shape();
    need(layer >= 0 && layer < shape.n_layers, "no such layer");
    for (const Cube& part : {keys, values})
        need(part.shape(0) == keys.shape(0) && part.shape(1) == static_cast<size_t>(shape.n_kv_heads) && part.shape(2) == static_cast<size_t>(shape.head_size), "not of the shape (T, n_kv_heads, D)");
    need(keys.shape(0) <= static_cast<size_t>(s.context() - s.n_tokens), kFull);
    const int n_tokens = static_cast<int>(keys.shape(0));
    nb::gil_scoped_release release;
    s.reserve(kernels, s.n_tokens + n_tokens);
    std::vector<float> scratch(4 * static_cast<size_t>(shape.head_size) + 64);
    for (int head = 0; head < shape.n_kv_heads; ++head)
        for (const bool value : {false, true})
            for (int t = 0; t < n_tokens; t += kStoredTogether) {
                Stored vectors[kStoredTogether];
                const int n = std::min(kStoredTogether, n_tokens - t);
                for (int i = 0; i < n; ++i)
                    vectors[i] = {value, s.n_tokens + t + i, (value ? values : keys).data() + (static_cast<size_t>(t + i) * shape.n_kv_heads + head) * shape.head_size};
                s.store(kernels, layer, head, vectors, n, scratch.data());
            }
    check_finite(s);
}

// Softmax(q·K)·V for queries (T, n_heads, D), already times 1/√D; n_keys: how many of the first keys each token sees.
nb::ndarray<nb::numpy, float> attend_queries(const Sequence& s, int layer, Cube q, Tokens n_keys, const std::string& name) {
    const Kernels& kernels = kernels_named(name);
    const CacheShape& shape = s.shape();
    need(layer >= 0 && layer < shape.n_layers, "no such layer");
    need(q.shape(1) > 0 && q.shape(1) % static_cast<size_t>(shape.n_kv_heads) == 0 && q.shape(2) == static_cast<size_t>(shape.head_size), "not of the shape (T, n_heads, D)");
    need(n_keys.size() == q.shape(0), "one number of keys per token");
    for (size_t t = 0; t < n_keys.size(); ++t) need(n_keys(t) > 0 && n_keys(t) <= s.n_chunks() * kKeyChunk, "more keys than there are, or none");
    const size_t n = q.shape(0) * q.shape(1) * q.shape(2);
    float* data = new float[n];
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<float*>(p); });
    {
        nb::gil_scoped_release release;
        attend(kernels, s, layer, {q.data(), static_cast<int>(q.shape(0)), static_cast<int>(q.shape(1)), n_keys.data(), data});
    }
    return nb::ndarray<nb::numpy, float>(data, {q.shape(0), q.shape(1), q.shape(2)}, owner);
}


class BoundDecoder {
  public:
    BoundDecoder(const DecoderConfig& config, const std::string& kernels, int n_threads)
        : decoder(config, kernels_named(kernels), n_threads) {}

    void set_layer(int index, nb::dict parts) {
        need(index >= 0 && index < decoder.config.n_layers, "no such layer");
        const DecoderConfig& c = decoder.config;
        const int q = c.n_heads * c.head_size, kv = c.n_kv_heads * c.head_size;
        Layer& l = decoder.layers[static_cast<size_t>(index)];
        l.q = matrix(parts, "attn_q.weight", q, c.width);
        l.k = matrix(parts, "attn_k.weight", kv, c.width);
        l.v = matrix(parts, "attn_v.weight", kv, c.width);
        l.o = matrix(parts, "attn_output.weight", c.width, q);
        l.gate = matrix(parts, "ffn_gate.weight", c.ff_width, c.width);
        l.up = matrix(parts, "ffn_up.weight", c.ff_width, c.width);
        l.down = matrix(parts, "ffn_down.weight", c.width, c.ff_width);
        l.attn_norm = vector(parts, "attn_norm.weight", c.width, true);
        l.ffn_norm = vector(parts, "ffn_norm.weight", c.width, true);
        l.q_norm = vector(parts, "attn_q_norm.weight", c.head_size, false);
        l.k_norm = vector(parts, "attn_k_norm.weight", c.head_size, false);
        l.attn_sub_norm = vector(parts, "attn_sub_norm.weight", q, false);
        l.ffn_sub_norm = vector(parts, "ffn_sub_norm.weight", c.ff_width, false);
        l.q_bias = vector(parts, "attn_q.bias", q, false);
        l.k_bias = vector(parts, "attn_k.bias", kv, false);
        l.v_bias = vector(parts, "attn_v.bias", kv, false);
        l.key_biases.clear();
        if (!l.k_bias.empty() && l.k_norm.empty())
            for (int head = 0; head < c.n_kv_heads; ++head) l.key_biases.push_back(split_bias(l.k_bias.data() + head * c.head_size, c.head_size, c.rope_adjacent));
    }

    void set_ends(nb::dict parts, Doubles rope_frequency, bool screened) {
        const DecoderConfig& c = decoder.config;
        Matrix* embedding = matrix(parts, "token_embd.weight", c.n_vocab, c.width);
        decoder.embedding = embedding;
        decoder.head = parts.contains("output.weight") ? matrix(parts, "output.weight", c.n_vocab, c.width) : embedding;
        decoder.output_norm = vector(parts, "output_norm.weight", c.width, true);
        need(rope_frequency.size() == static_cast<size_t>(c.head_size / 2), "one frequency per pair of the head");
        decoder.rope_frequency.assign(rope_frequency.data(), rope_frequency.data() + rope_frequency.size());
        need(!screened || c.width % kBlock == 0, "rows that aren't whole blocks can't be screened");
        nb::gil_scoped_release release;
        if (screened) decoder.screen = make_screen(decoder.head->file, decoder.kernels(), decoder.n_threads());
        else pack(*decoder.head, decoder.n_threads());
    }

    // Logits of the last token, or of all, of one sequence's next tokens; every step but the last is without.
    // Raises what a signal's handler raises: the sequence then holds the steps that were complete.
    nb::ndarray<nb::numpy, float> extend(Sequence& sequence, Tokens tokens, int n_logits) {
        const size_t n = tokens.size();
        need(n > 0 && n_logits >= 0 && static_cast<size_t>(n_logits) <= n, "no tokens, or more logits than tokens");
        check_sequence(sequence);
        for (size_t i = 0; i < n; ++i) check_token(tokens(i));
        auto out = new_array(static_cast<size_t>(n_logits), static_cast<size_t>(decoder.config.n_vocab));
        nb::gil_scoped_release release;
        std::lock_guard<std::mutex> lock(busy);
        need(n <= static_cast<size_t>(sequence.context() - sequence.n_tokens), kFull);
        float* to = out.data();
        const auto watch = watch_for_signals();
        for (size_t first = 0, taken; first < n; first += taken) {
            const auto slots = next_slots(sequence, tokens, first, n - static_cast<size_t>(n_logits));
            taken = slots.size();
            sequence.reserve(decoder.kernels(), sequence.n_tokens + static_cast<int>(slots.size()));
            end_if(!decoder.step(slots, to, watch));
            check_finite(sequence);
            for (const Slot& slot : slots) to += slot.logits ? decoder.config.n_vocab : 0;
            sequence.n_tokens += static_cast<int>(slots.size());
        }
        return out;
    }

    // One token for each of several sequences.
    nb::ndarray<nb::numpy, float> decode(std::vector<Sequence*> sequences, Tokens tokens) {
        need(!sequences.empty() && sequences.size() == tokens.size() && sequences.size() <= kMaxStep, "one token per sequence");
        for (size_t i = 0; i < sequences.size(); ++i) {
            need(sequences[i], "a sequence is None");
            check_sequence(*sequences[i]);
            check_token(tokens(i));
            for (size_t j = 0; j < i; ++j) need(sequences[i] != sequences[j], "a sequence occurs twice");
        }
        auto out = new_array(sequences.size(), static_cast<size_t>(decoder.config.n_vocab));
        nb::gil_scoped_release release;
        std::lock_guard<std::mutex> lock(busy);
        for (const Sequence* s : sequences) need(s->n_tokens < s->context(), kFull);
        std::vector<Slot> slots;
        for (size_t i = 0; i < sequences.size(); ++i) slots.push_back({sequences[i], tokens(i), sequences[i]->n_tokens, true});
        for (Sequence* s : sequences) s->reserve(decoder.kernels(), s->n_tokens + 1);
        decoder.step(slots, out.data());
        for (Sequence* s : sequences) check_finite(*s);
        for (Sequence* s : sequences) ++s->n_tokens;
        return out;
    }

    // The likeliest token after one sequence's next ones; negative where the logits are no numbers.
    int greedy(Sequence& sequence, Tokens tokens) {
        const size_t n = tokens.size();
        need(n > 0, "no tokens");
        check_sequence(sequence);
        for (size_t i = 0; i < n; ++i) check_token(tokens(i));
        nb::gil_scoped_release release;
        std::lock_guard<std::mutex> lock(busy);
        need(n <= static_cast<size_t>(sequence.context() - sequence.n_tokens), kFull);
        const auto watch = n > 1 ? watch_for_signals() : Decoder::Watch{};
        for (size_t first = 0, taken; first < n; first += taken) {
            const auto slots = next_slots(sequence, tokens, first, n - 1);
            taken = slots.size();
            sequence.reserve(decoder.kernels(), sequence.n_tokens + static_cast<int>(slots.size()));
            const bool last = first + slots.size() == n;
            const int next = last ? decoder.greedy(slots, watch) : decoder.step(slots, nullptr, watch) ? 0 : Decoder::kEnded;
            end_if(next == Decoder::kEnded);
            check_finite(sequence);
            sequence.n_tokens += static_cast<int>(slots.size());
            if (last) return next;
        }
        return Decoder::kNoNumber;
    }

    Sequence* new_sequence(int context, std::shared_ptr<CacheFormat> format) {
        const DecoderConfig& c = decoder.config;
        need(context > 0 && context <= c.context, "context outside what the model was made for");
        check_format(*format, c.n_layers, c.head_size);
        return new Sequence({c.n_layers, c.n_kv_heads, c.head_size, context}, std::move(format));
    }

    Decoder decoder;

    nb::ndarray<nb::numpy, float> screen_bounds() {
        std::lock_guard<std::mutex> lock(busy);
        need(decoder.has_screened(), "the last step wasn't greedy by a screen");
        const size_t n_vocab = static_cast<size_t>(decoder.config.n_vocab);
        auto found = new_array(2, n_vocab);
        decoder.screen_bounds(found.data(), found.data() + n_vocab);
        return found;
    }

  private:
    // Tokens from `first` on, as many as a step takes; those from first_with_logits on ask for logits. With a tail a step
    // ends where a chunk does, so that what it sees as codes doesn't depend on where it began.
    static std::vector<Slot> next_slots(Sequence& sequence, const Tokens& tokens, size_t first, size_t first_with_logits) {
        std::vector<Slot> slots;
        const size_t most = static_cast<size_t>(sequence.format().n_tail ? kKeyChunk - sequence.n_tokens % kKeyChunk : kMaxStep);
        for (size_t i = first; i < std::min(tokens.size(), first + most); ++i)
            slots.push_back({&sequence, tokens(i), sequence.n_tokens + static_cast<int>(i - first), i >= first_with_logits});
        return slots;
    }

    // Looks now and then whether a signal (Ctrl-C) has come and its handler raises; only Python's main thread has any.
    static Decoder::Watch watch_for_signals() {
        return [last = std::chrono::steady_clock::now()]() mutable {
            const auto now = std::chrono::steady_clock::now();
            if (now - last < std::chrono::milliseconds(50)) return false;
            last = now;
            nb::gil_scoped_acquire acquire;
            return PyErr_CheckSignals() != 0;
        };
    }

    static void end_if(bool ended) {
        if (!ended) return;
        nb::gil_scoped_acquire acquire;
        throw nb::python_error();
    }

    Matrix* matrix(const nb::dict& parts, const char* name, int n_rows, int n_cols) {
        need(parts.contains(name), name);
        const auto& bound = nb::cast<const BoundMatrix&>(parts[name]);
        const MatrixView& view = bound.matrix->view;
        need(view.n_rows == n_rows && view.n_cols == n_cols, name);
        alive.append(parts[name]);
        return bound.matrix.get();
    }

    Vector vector(const nb::dict& parts, const char* name, int n, bool required) {
        if (!parts.contains(name)) {
            need(!required, name);
            return {};
        }
        const auto values = nb::cast<Floats>(parts[name]);
        need(values.size() == static_cast<size_t>(n), name);
        Vector v(static_cast<size_t>((n + 15) / 16 * 16), 0.0f);
        std::memcpy(v.data(), values.data(), sizeof(float) * static_cast<size_t>(n));
        return v;
    }

    void check_token(int token) const { need(token >= 0 && token < decoder.config.n_vocab, "token outside the vocabulary"); }
    void check_sequence(const Sequence& s) const {
        const CacheShape& shape = s.shape();
        const DecoderConfig& c = decoder.config;
        need(shape.n_layers == c.n_layers && shape.n_kv_heads == c.n_kv_heads && shape.head_size == c.head_size && shape.context <= c.context,
             "a sequence of another model");
    }

    std::mutex busy;
    nb::list alive;
};

DecoderConfig config_from(nb::dict d) {
    const auto integer = [&](const char* key, int most) {
        const auto value = nb::cast<int64_t>(d[key]);
        need(value > 0 && value <= most, key);
        return static_cast<int>(value);
    };
    DecoderConfig c{};
    c.n_layers = integer("n_layers", 4096);
    c.width = integer("width", 1 << 20);
    c.n_heads = integer("n_heads", 4096);
    c.n_kv_heads = integer("n_kv_heads", 4096);
    c.head_size = integer("head_size", 4096);
    c.ff_width = integer("ff_width", 1 << 22);
    c.n_vocab = integer("n_vocab", 1 << 24);
    c.context = integer("context", 1 << 24);
    c.norm_eps = nb::cast<float>(d["norm_eps"]);
    c.rope_adjacent = nb::cast<std::string>(d["rope_pairs"]) == "adjacent";
    c.relu2 = nb::cast<std::string>(d["activation"]) == "relu2";
    c.int16_activations = nb::cast<bool>(d["int16_activations"]);
    need(c.n_heads % c.n_kv_heads == 0, "n_heads is no multiple of n_kv_heads");
    need(c.head_size % 2 == 0, "head_size is odd");
    return c;
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "Native core of solvent; reached through solvent.machine.native.";
    m.def("cpu_features", [] { return words(true); }, "Words of the features that this CPU has and its system permits.");
    m.def("feature_words", [] { return words(false); }, "Words of all features that detection knows.");
    m.def("kernel_names", &kernel_names, "Kernels that this CPU can run, best first.");
    m.def("packs_fives", [](const std::string& name) { return kernels_named(name).one_scale_ternary == Format::t5; }, nb::arg("kernels"),
          "Whether ternary weights of one scale lie five to a byte where these kernels run.");
    m.def("read_bandwidth", &read_bandwidth, nb::arg("n_bytes"), nb::arg("n_threads") = 1, nb::arg("n_passes") = 5,
          nb::call_guard<nb::gil_scoped_release>(), "Bytes per second of the fastest sequential read of a fresh buffer.");

    nb::class_<BoundMatrix>(m, "Matrix")
        .def("__init__",
             [](BoundMatrix* self, const std::string& type, int n_rows, int n_cols, nb::object data, float scale, bool per_token, nb::object source,
                int n_threads, bool lazy, const std::string& packed_for) {
                 new (self) BoundMatrix(new_matrix(type, n_rows, n_cols, data, scale, per_token, source, n_threads, lazy, packed_for));
             },
             nb::arg("type"), nb::arg("n_rows"), nb::arg("n_cols"), nb::arg("data"), nb::arg("scale") = 1.0f, nb::arg("per_token") = false,
             nb::arg("source") = nb::none(), nb::arg("n_threads") = 1, nb::arg("lazy") = false, nb::arg("packed_for") = "")
        .def("rounded",
             [](const BoundMatrix& b, int bits, int n_threads) {
                 const Format format = rounded_format(*b.matrix, bits);
                 Rounded made;
                 {
                     nb::gil_scoped_release release;
                     made = round_matrix(b.matrix->file, format, n_threads);
                 }
                 need(made.finite, "a row that holds no finite numbers, or too large ones to round");
                 return BoundMatrix{std::move(made.matrix), b.bytes};
             },
             nb::arg("bits"), nb::arg("n_threads") = 1)
        .def("multiply", &multiply, nb::arg("x"), nb::arg("kernels"), nb::arg("n_together") = 1, nb::arg("n_passes") = 1)
        .def_prop_ro("n_bytes", [](const BoundMatrix& b) { return b.matrix->bytes_per_pass; })
        .def_prop_ro("is_packed", [](const BoundMatrix& b) { return b.matrix->packed(); })
        .def_prop_ro("is_copy", [](const BoundMatrix& b) { return b.matrix->pages != nullptr; });

    nb::class_<CacheFormat>(m, "CacheFormat")
        .def(nb::new_(&format_from), nb::arg("books"), nb::arg("keys"), nb::arg("values"), nb::arg("signs"), nb::arg("centred"), nb::arg("sink_tok") = 0, nb::arg("tail_tok") = 0);

    nb::class_<Sequence>(m, "Sequence")
        .def_ro("n_tokens", &Sequence::n_tokens)
        .def_prop_ro("context", &Sequence::context)
        .def("truncate", [](Sequence& s, int n_tokens) {
            need(n_tokens >= 0 && n_tokens <= s.n_tokens, "a sequence can only become shorter");
            s.truncate(n_tokens);
        })
        .def("__init__",
             [](Sequence* self, int n_layers, int n_kv_heads, int head_size, int context, std::shared_ptr<CacheFormat> format) {
                 need(n_layers > 0 && n_layers <= 4096 && n_kv_heads > 0 && n_kv_heads <= 4096 && head_size > 0 && head_size <= 4096, "no such shape");
                 need(context > 0 && context <= 1 << 24, "no such context");
                 check_format(*format, n_layers, head_size);
                 new (self) Sequence({n_layers, n_kv_heads, head_size, context}, std::move(format));
             },
             nb::arg("n_layers"), nb::arg("n_kv_heads"), nb::arg("head_size"), nb::arg("context"), nb::arg("format"))
        .def("store", &store, nb::arg("layer"), nb::arg("keys"), nb::arg("values"), nb::arg("kernels"))
        .def("attend", &attend_queries, nb::arg("layer"), nb::arg("queries"), nb::arg("n_keys"), nb::arg("kernels"))
        .def("advance", [](Sequence& s, int n) {
            need(n >= 0 && n <= s.n_chunks() * kKeyChunk - s.n_tokens, "more tokens than were stored");
            s.n_tokens += n;
        })
        .def("fork", [](const Sequence& s) { return new Sequence(s); }, nb::rv_policy::take_ownership)
        .def_prop_ro("n_bytes", [](const Sequence& s) {
            size_t n = 0;
            for (int i = 0; i < s.n_chunks(); ++i) n += s.chunk_bytes(i);
            return n;
        })
        .def_prop_ro("n_chunks", &Sequence::n_chunks)
        .def("chunk_bytes", [](const Sequence& s, int i) { return s.chunk_bytes(i); })
        .def("sizes", [](const Sequence& s, int n_tokens, int coded_tok) {
            need(n_tokens >= 0 && n_tokens <= s.context() && coded_tok >= 0, "more tokens than the context");
            std::vector<size_t> found;
            for (int i = 0; i * kKeyChunk < n_tokens; ++i) found.push_back(s.chunk_bytes(i, coded_tok / kKeyChunk));
            return found;
        }, nb::arg("n_tokens"), nb::arg("coded_tok"))
        .def("chunk", [](const Sequence& s, int i) {
            need(i >= 0 && i < s.n_chunks(), "no such chunk");
            return nb::bytes(s.chunk_data(i), s.chunk_bytes(i));
        })
        .def_prop_ro("coded_tok", [](const Sequence& s) { return std::min(s.coded_end(), s.n_chunks()) * kKeyChunk; })
        .def("restore", [](Sequence& s, int n_tokens, const std::vector<nb::bytes>& chunks, int coded_tok) {
            need(n_tokens >= 0 && n_tokens <= s.context(), "more tokens than the context");
            const int n_chunks = (n_tokens + kKeyChunk - 1) / kKeyChunk;
            need(chunks.size() == static_cast<size_t>(n_chunks), "chunks for other tokens");
            need(coded_tok >= 0 && coded_tok <= n_chunks * kKeyChunk && coded_tok % kKeyChunk == 0, "codes of other tokens");
            const int coded_end = coded_tok / kKeyChunk;
            for (int i = 0; i < n_chunks; ++i) need(chunks[static_cast<size_t>(i)].size() == s.chunk_bytes(i, coded_end), "a chunk of another size");
            s.reset(n_tokens, coded_end);
            for (int i = 0; i < n_chunks; ++i) std::memcpy(s.chunk_data(i), chunks[static_cast<size_t>(i)].data(), chunks[static_cast<size_t>(i)].size());
        }, nb::arg("n_tokens"), nb::arg("chunks"), nb::arg("coded_tok"));

    nb::class_<BoundDecoder>(m, "Decoder")
        .def("__init__",
             [](BoundDecoder* self, nb::dict config, const std::string& kernels, int n_threads) {
                 need(n_threads > 0 && n_threads <= 1024, "n_threads outside 1 to 1024");
                 new (self) BoundDecoder(config_from(config), kernels, n_threads);
             },
             nb::arg("config"), nb::arg("kernels"), nb::arg("n_threads"))
        .def("set_layer", &BoundDecoder::set_layer)
        .def("set_ends", &BoundDecoder::set_ends, nb::arg("parts"), nb::arg("rope_frequency"), nb::arg("screened"))
        .def("new_sequence", &BoundDecoder::new_sequence, nb::rv_policy::take_ownership, nb::arg("context"), nb::arg("format"))
        .def("extend", &BoundDecoder::extend, nb::arg("sequence"), nb::arg("tokens"), nb::arg("n_logits"))
        .def("decode", &BoundDecoder::decode, nb::arg("sequences"), nb::arg("tokens"))
        .def("greedy", &BoundDecoder::greedy, nb::arg("sequence"), nb::arg("tokens"))
        .def_prop_ro("n_rescored", [](const BoundDecoder& b) { return b.decoder.n_rescored(); })
        .def("screen_bounds", &BoundDecoder::screen_bounds,
             "What each row's logit was taken to lie below in the last greedy step, and how far above its estimate that is: (2, rows).")
        .def_prop_ro("screen_bytes", [](const BoundDecoder& b) { return b.decoder.screen.bytes(); });
}
