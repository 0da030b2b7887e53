// What a system does to threads that use tiles, on a CPU that has them: the permission to ask for, many threads on one
// core, signals whose handler multiplies too, a child process. Every product of amx_int8 must have the bits of scalar.
// Prints what was met, ends with 1 at a difference, with 77 where CPU or system have no tiles. Linux on x86-64.
//   tile_threads ROUNDS
// Not here: speed. Enter at main().
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sched.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <thread>
#include <ucontext.h>
#include <unistd.h>

#include "../../native/cpu.hpp"
#include "../../native/dispatch.hpp"
#include "random_products.hpp"

using namespace solvent;

namespace {

constexpr int kColumns[] = {32, 96, 1056, 2112}, kCounts[] = {1, 23, 24, 25, 47, 48, 49, 63, 64, 65, 80, 95, 100, 129, 200};

const Kernels* named(const char* name) {
    for (const Kernels* kernels : runnable_kernels())
        if (std::strcmp(kernels->name, name) == 0) return kernels;
    return nullptr;
}

// A matrix, tokens and what scalar makes of them. Nothing is allocated while a product runs: signals may interrupt it.
struct Product {
    MatrixView w;
    std::vector<uint8_t> data, scratch;
    Tokens tokens;
    int n_tokens;
    std::vector<float> expected, got;

    Product(Random& random, const Shape& s, int n_cols, int n_tokens_)
        : w{s.format, 3 * kRows, n_cols, 3, n_cols / kBlock, 2, nullptr, 0, 0.375f},
          data(panels(random, s, w)),
          scratch(gemm_scratch_bytes(n_tokens_, n_cols)),
          tokens(random, n_tokens_, n_cols, is_one_scale(s.format)),
          n_tokens(n_tokens_),
          expected(static_cast<size_t>(3 * kRows * n_tokens_)),
          got(expected.size()) {
        const Kernels& scalar = *named("scalar");
        for (int t = 0; t < n_tokens; ++t)
            scalar.gemv(w, 0, w.n_panels, tokens.one(t), expected.data() + static_cast<size_t>(t) * 3 * kRows, kAhead);
    }
    // The first n tokens.
    bool right(const Kernels& kernels, int n) {
        std::memset(got.data(), 0, got.size() * sizeof(float));
        kernels.gemm(w, 0, w.n_panels, tokens.view, n, got.data(), 3 * kRows, scratch.data());
        return std::memcmp(got.data(), expected.data(), static_cast<size_t>(n) * 3 * kRows * sizeof(float)) == 0;
    }
};

[[noreturn]] void differs(const char* where) {
    std::printf("%s: amx_int8 differs from scalar\n", where);
    std::exit(1);
}

// How a child ends that uses tiles without having asked for them: by SIGILL on Linux.
int unasked() {
    const pid_t child = fork();
    if (child == 0) {
        alignas(64) uint8_t config[64] = {1};
        config[16] = 64, config[48] = 16;
        __asm__ volatile("ldtilecfg %0\n\ttilezero %%tmm0\n\ttilerelease" ::"m"(config));
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

void compare(Random& random, const Kernels& kernels) {
    int n_products = 0;
    for (const Shape& s : kShapes)
        for (const int n_cols : kColumns) {
            Product product(random, s, n_cols, 200);
            for (const int n : kCounts) {
                if (!product.right(kernels, n)) {
                    std::printf("%s, %d columns, %d tokens\n", s.name, n_cols, n);
                    differs(kernels.name);
                }
                ++n_products;
            }
        }
    std::printf("%s: %d products have the bits of scalar\n", kernels.name, n_products);
}

// Threads with tiles of other shapes each, all on one core; the first began before the process asked for tiles.
void share_a_core(Random& random, const Kernels& kernels, int rounds, std::atomic<int>& go, std::atomic<int>& wrong,
                  std::vector<std::unique_ptr<Product>>& products) {
    cpu_set_t one_core;
    CPU_ZERO(&one_core);
    CPU_SET(sched_getcpu(), &one_core);
    sched_setaffinity(0, sizeof one_core, &one_core);
    for (const int shape : {0, 5, 6, 7}) products.push_back(std::make_unique<Product>(random, kShapes[shape], 1056 + 32 * shape, 33 + 13 * shape));
    const auto work = [&](int i) {
        Product& product = *products[static_cast<size_t>(i)];
        for (int round = 0; round < rounds; ++round)
            if (!product.right(kernels, product.n_tokens)) ++wrong;
    };
    rusage before{}, after{};
    getrusage(RUSAGE_SELF, &before);
    std::vector<std::thread> threads;
    for (int i = 1; i < 4; ++i) threads.emplace_back(work, i);
    go = 1;
    for (std::thread& thread : threads) thread.join();
    while (go != 2) usleep(1000);
    getrusage(RUSAGE_SELF, &after);
    std::printf("4 threads on a core: %d products, %ld switches by force\n", 4 * rounds, after.ru_nivcsw - before.ru_nivcsw);
    if (wrong) differs("threads");
}

Product* in_handler;
const Kernels* tiled;
volatile int n_signals, n_live, n_wrong;

void on_alarm(int, siginfo_t*, void* context) {
    // The frame's XSAVE header stands behind 512 bytes; bit 18: tiles held data.
    uint64_t saved;
    std::memcpy(&saved, reinterpret_cast<const uint8_t*>(static_cast<ucontext_t*>(context)->uc_mcontext.fpregs) + 512, sizeof saved);
    n_signals = n_signals + 1;
    if (saved >> 18 & 1) n_live = n_live + 1;
    if (!in_handler->right(*tiled, in_handler->n_tokens)) n_wrong = n_wrong + 1;
}

void be_interrupted(Random& random, const Kernels& kernels, int rounds) {
    Product handlers(random, kShapes[5], 96, 32), own(random, kShapes[2], 2112, 100), ternary(random, kShapes[6], 2112, 100);
    in_handler = &handlers, tiled = &kernels;
    std::vector<uint8_t> stack(256 << 10);
    stack_t alternate = {stack.data(), 0, stack.size()};
    if (sigaltstack(&alternate, nullptr) != 0) std::perror("sigaltstack"), std::exit(1);
    struct sigaction action = {};
    action.sa_sigaction = on_alarm;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    const itimerval often = {{0, 20000}, {0, 20000}}, never = {};
    setitimer(ITIMER_REAL, &often, nullptr);
    bool right = true;
    // On a slow machine few signals come to many products.
    while (n_live < rounds && n_signals < 100 * rounds)
        right = own.right(kernels, own.n_tokens) && ternary.right(kernels, ternary.n_tokens) && right;
    setitimer(ITIMER_REAL, &never, nullptr);
    std::printf("%d signals, %d of them while tiles held data\n", n_signals, n_live);
    if (!right || n_wrong || n_live < rounds) differs("signals");
}

void be_a_child(Random& random, const Kernels& kernels) {
    Product product(random, kShapes[1], 1056, 65);
    const pid_t child = fork();
    if (child == 0) _exit(product.right(kernels, 65) ? 0 : 1);
    int status = 0;
    waitpid(child, &status, 0);
    std::printf("a child: status %d\n", status);
    if (status != 0) differs("a child");
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    setvbuf(stdout, nullptr, _IONBF, 0);
    const int rounds = std::atoi(argv[1]), refused = unasked();
    std::atomic<int> go{0}, wrong{0};
    std::vector<std::unique_ptr<Product>> products;
    std::thread early([&] {
        while (go != 1) usleep(1000);
        if (const Kernels* kernels = go == 1 && !products.empty() ? named("amx_int8") : nullptr)
            for (int round = 0; round < rounds; ++round)
                if (!products[0]->right(*kernels, products[0]->n_tokens)) ++wrong;
        go = 2;
    });
    for (const FeatureWord& f : kFeatureWords)
        if (cpu_features().*f.present) std::printf("%s ", f.word);
    std::printf("\nkernels:");
    for (const Kernels* kernels : runnable_kernels()) std::printf(" %s", kernels->name);
    std::printf("\nwithout asking: signal %d\n", refused);
    const Kernels* kernels = named("amx_int8");
    if (!kernels) {
        go = 1;
        early.join();
        return 77;
    }
    Random random = {20};
    for (const Kernels* each : runnable_kernels())
        if (std::strcmp(each->name, "scalar") != 0) compare(random, *each);
    share_a_core(random, *kernels, rounds, go, wrong, products);
    early.join();
    be_interrupted(random, *kernels, rounds);
    be_a_child(random, *kernels);
    std::printf("all right\n");
    return 0;
}
