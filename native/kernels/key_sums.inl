// The sum of a tile's keys, straight from their codes: what the next tile's centre follows from.

namespace solvent { namespace {

// Elements `first` to `first` + 3 of each lane's unit, over all blocks. from: the unit in the first block.
template <int bits, int first, int... i>
inline void sum_key_elements(const Table& table, const uint8_t* from, int before, size_t block_bytes, int n_blocks, const float* scales, float* sums, int quarter,
                             Each<i...>) {
    F acc[4][4];
    for (int k = 0; k < 4; ++k)
        for (int j = 0; j < 4; ++j) acc[k][j] = f_set1(0.0f);
    for (int b = 0; b < n_blocks; ++b, from += block_bytes) {
        const F scale = f_load(scales + 16 * b);
        B v[bits];
        for (int n = 0; n < bits; ++n) v[n] = b_load(from + 64 * n);
        // A vector's first elements follow its last ones, which the lane's byte before this one holds.
        const B last = b_load(from + before);
        const B older = before > 0 ? b_turn_bytes(last) : last;
        const auto one = [&](auto number) {
            constexpr int k = decltype(number)::value;
            const B bytes = byte_of<bits>(table, code_at<bits, first + k>(v, older));
            for (int j = 0; j < 4; ++j) acc[k][j] = f_fma(f_from_i(i_byte(bytes, j)), scale, acc[k][j]);
        };
        (one(Count<i>{}), ...);
    }
    for (int k = 0; k < 4; ++k)
        for (int j = 0; j < 4; ++j) sums[j * quarter + first + k] = f_sum(acc[k][j]);
}

template <int bits>
inline void key_sums_of(const CodeBook& book, const uint8_t* blocks, int n_blocks, int n, const float* scales, float* sums) {
    const Table table(book.table);
    const int quarter = n / 4;
    const size_t block_bytes = static_cast<size_t>(n) * bits * 2;
    for (int u = 0; u < quarter / 8; ++u) {
        const uint8_t* unit = blocks + static_cast<size_t>(u * bits) * 64;
        // Bytes from the unit to the vector before it: the one before, or the block's last.
        const int before = u > 0 ? -64 : static_cast<int>(block_bytes) - 64;
        sum_key_elements<bits, 0>(table, unit, before, block_bytes, n_blocks, scales, sums + 8 * u, quarter, Each<0, 1, 2, 3>{});
        sum_key_elements<bits, 4>(table, unit, before, block_bytes, n_blocks, scales, sums + 8 * u, quarter, Each<0, 1, 2, 3>{});
    }
    F total = f_set1(0.0f);
    for (int b = 0; b < n_blocks; ++b) total = f_add(total, f_load(scales + 16 * b));
    // A byte is 128 above what it stands for.
    const F above = f_set1(128.0f * f_sum(total)), unit = f_set1(book.unit * book.gain);
    for (int i = 0; i < n; i += 16) f_store(sums + i, f_mul(f_sub(f_load(sums + i), above), unit));
}

void key_sums(const CodeBook& book, const uint8_t* blocks, int n_blocks, int n, const float* scales, float* sums) {
    switch (book.bits) {
        case 1: return key_sums_of<1>(book, blocks, n_blocks, n, scales, sums);
        case 2: return key_sums_of<2>(book, blocks, n_blocks, n, scales, sums);
        case 3: return key_sums_of<3>(book, blocks, n_blocks, n, scales, sums);
        case 4: return key_sums_of<4>(book, blocks, n_blocks, n, scales, sums);
        case 5: return key_sums_of<5>(book, blocks, n_blocks, n, scales, sums);
        case 6: return key_sums_of<6>(book, blocks, n_blocks, n, scales, sums);
        default: return key_sums_of<8>(book, blocks, n_blocks, n, scales, sums);
    }
}

}}  // namespace solvent::(anonymous)
