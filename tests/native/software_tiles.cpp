// Runs AMX instructions on a processor without them: each raises SIGILL, and the handler does what the manual says,
// then steps over it. So the compiled kernel itself is tested, its instructions and the memory they read, but not its
// speed. A second reading of the manual, apart from native/lanes/tiles.hpp's. Linux on x86-64.
// Source: Intel SDM vol. 2: LDTILECFG, TILELOADD, TILESTORED, TILEZERO, TDPBSSD, TILERELEASE; 2.1.5 and 2.3 for the encoding.
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <sys/ucontext.h>
#include <unistd.h>

namespace {

struct Tile {
    int rows, row_bytes;
    uint8_t row[16][64];
};
Tile tile[8];
bool configured = false;
uint64_t executed = 0;

[[noreturn]] void fail(const char* why) {
    const char* parts[] = {"software_tiles: ", why, "\n"};
    for (const char* part : parts)
        if (write(2, part, std::strlen(part)) < 0) break;
    _exit(70);
}

void require(bool holds, const char* why) {
    if (!holds) fail(why);
}

// The bytes after the opcode: a register, or memory at base + displacement + index · scale.
struct Operand {
    int mod, reg, rm;
    uint64_t address, step;
    const uint8_t* end;
};

Operand operand(const uint8_t* p, uint8_t vex1, const greg_t* regs) {
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    const auto value = [&](int r) { return static_cast<uint64_t>(regs[order[r]]); };
    const int high_x = vex1 & 0x40 ? 0 : 8, high_b = vex1 & 0x20 ? 0 : 8;
    Operand o = {p[0] >> 6, p[0] >> 3 & 7, p[0] & 7, 0, 0, p + 1};
    if (o.mod == 3) return o;
    int base = o.rm;
    bool has_base = true;
    if (o.rm == 4) {
        const uint8_t sib = *o.end++;
        const int index = (sib >> 3 & 7) + high_x;
        if (index != 4) o.step = value(index) << (sib >> 6);
        base = sib & 7;
        has_base = !(base == 5 && o.mod == 0);
    } else {
        require(!(o.rm == 5 && o.mod == 0), "an address relative to the instruction");
    }
    if (has_base) o.address = value(base + high_b);
    if (o.mod == 1) {
        o.address += static_cast<uint64_t>(static_cast<int64_t>(static_cast<int8_t>(*o.end++)));
    } else if (o.mod == 2 || !has_base) {
        int32_t far;
        std::memcpy(&far, o.end, 4);
        o.address += static_cast<uint64_t>(static_cast<int64_t>(far));
        o.end += 4;
    }
    return o;
}

void configure(uint64_t address) {
    uint8_t config[64];
    std::memcpy(config, reinterpret_cast<const void*>(address), 64);
    require(config[0] == 1, "a palette other than 1");
    for (int i = 1; i < 16; ++i) require(config[i] == 0, "a reserved byte that is not 0");
    for (int i = 0; i < 16; ++i) {
        const int row_bytes = config[16 + 2 * i] | config[17 + 2 * i] << 8, rows = config[48 + i];
        require(rows <= 16 && row_bytes <= 64 && !rows == !row_bytes, "the shape of a tile");
        require(i < 8 || !rows, "a tile beyond the eighth");
        if (i < 8) tile[i] = Tile{rows, row_bytes, {}};
    }
    configured = true;
}

Tile& used(int t) {
    require(configured && tile[t].rows, "a tile without a shape");
    return tile[t];
}

void multiply(Tile& c, const Tile& a, const Tile& b) {
    require(&c != &a && &c != &b && &a != &b, "a tile twice in one product");
    require(a.rows == c.rows && b.row_bytes == c.row_bytes, "the shapes of a product");
    require(a.row_bytes % 4 == 0 && c.row_bytes % 4 == 0 && a.row_bytes / 4 == b.rows, "the depth of a product");
    for (int m = 0; m < c.rows; ++m)
        for (int n = 0; n < c.row_bytes; n += 4) {
            int32_t sum;
            std::memcpy(&sum, c.row[m] + n, 4);
            for (int k = 0; k < a.row_bytes; ++k)
                sum += static_cast<int8_t>(a.row[m][k]) * static_cast<int8_t>(b.row[k / 4][n + k % 4]);
            std::memcpy(c.row[m] + n, &sum, 4);
        }
}

void move(Tile& t, const Operand& o, bool to_memory) {
    require(o.rm == 4, "a tile's address without an index");
    if (!to_memory) std::memset(t.row, 0, sizeof t.row);
    for (int r = 0; r < t.rows; ++r) {
        void* p = reinterpret_cast<void*>(o.address + o.step * static_cast<uint64_t>(r));
        if (to_memory) std::memcpy(p, t.row[r], static_cast<size_t>(t.row_bytes));
        else std::memcpy(t.row[r], p, static_cast<size_t>(t.row_bytes));
    }
}

void on_illegal(int, siginfo_t*, void* context) {
    greg_t* regs = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    const uint8_t* code = reinterpret_cast<const uint8_t*>(regs[REG_RIP]);
    require(code[0] == 0xC4 && (code[1] & 0x1F) == 2 && (code[2] & 0x84) == 0, "not an instruction on tiles");
    const int prefix = code[2] & 3, third = ~code[2] >> 3 & 15;
    const Operand o = operand(code + 4, code[1], regs);
    const bool memory = o.mod != 3;
    if (code[3] == 0x49 && prefix == 0 && memory && o.reg == 0) configure(o.address);
    else if (code[3] == 0x49 && prefix == 0 && code[4] == 0xC0) configured = false;
    else if (code[3] == 0x49 && prefix == 3 && !memory && o.rm == 0) std::memset(used(o.reg).row, 0, sizeof tile[0].row);
    else if (code[3] == 0x4B && prefix == 3 && memory) move(used(o.reg), o, false);
    else if (code[3] == 0x4B && prefix == 2 && memory) move(used(o.reg), o, true);
    else if (code[3] == 0x5E && prefix == 3 && !memory) multiply(used(o.reg), used(o.rm), used(third));
    else fail("an instruction that is not known here");
    ++executed;
    regs[REG_RIP] = reinterpret_cast<greg_t>(o.end);
}

void at_end() {
    // Tiles left configured would weigh on every switch of threads.
    require(executed > 0, "no instruction on tiles was run");
    require(!configured, "tiles are still configured");
}

}  // namespace

void software_tiles() {
    struct sigaction action = {};
    action.sa_sigaction = on_illegal;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGILL, &action, nullptr);
    std::atexit(at_end);
}
