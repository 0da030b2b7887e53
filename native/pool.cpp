#include "pool.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace solvent {

namespace {

inline void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

constexpr int kSpins = 20'000;       // about 0.2 ms: longer than any phase of a token
constexpr int kIdleSpins = 100'000;  // about 1 ms, for what a caller does between two tokens; then it goes to sleep

}  // namespace

Team::Team(int n_threads) : n_threads_(n_threads) {
    for (int i = 1; i < n_threads; ++i) threads_.emplace_back([this, i] { serve(i); });
}

Team::~Team() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
        round_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
}

void Team::run(const std::function<void(int)>& work, bool alone) {
    alone_ = alone || n_threads_ == 1;
    if (alone_) return work(0);
    {
        std::lock_guard<std::mutex> lock(mutex_);
        work_ = &work;
        round_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    work(0);
    barrier();
}

void Team::serve(int thread) {
    uint64_t seen = 0;
    for (;;) {
        int spins = 0;
        while (round_.load(std::memory_order_acquire) == seen) {
            if (++spins < kIdleSpins) {
                pause();
                continue;
            }
            std::unique_lock<std::mutex> lock(mutex_);
            wake_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != seen; });
        }
        ++seen;
        if (stop_) return;
        (*work_)(thread);
        barrier();
    }
}

void Team::barrier() {
    if (alone_) return;
    const uint64_t phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == n_threads_ - 1) {
        arrived_.store(0, std::memory_order_relaxed);
        phase_.store(phase + 1, std::memory_order_release);
        return;
    }
    int spins = 0;
    while (phase_.load(std::memory_order_acquire) == phase) {
        if (++spins < kSpins) pause();
        else std::this_thread::yield();
    }
}

}  // namespace solvent
