// The threads of a block as fibers: each runs until it waits for others.  The order of warps, and of the lanes in one,
// is drawn anew after each wait, so that a missing barrier gives wrong numbers.

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace {

enum State : unsigned char { READY, AT_BARRIER, AT_EXCHANGE, DONE };
enum Error { FINE, NOT_ALL_LANES, PARTIAL_MASK, NO_MEMORY, MISALIGNED, OUT_OF_BOUNDS, BAD_SHIFT };

// What the data of a check of GCC's begin with.
struct Location {
  const char* file;
  uint32_t line, column;
};

const unsigned MOST = 1024;
const size_t STACK = 128 << 10;

char* stacks;
State state[MOST];
unsigned char parity[MOST];
uint64_t slots[2][MOST];
uint64_t random_;
unsigned now, error, line;
void** outside;   // where a kernel without fibers goes on after an error
void (*body)(void*);
void* arguments_;

#if defined(__x86_64__)
void* pointers[MOST];
void* scheduler;
extern "C" void fibers_switch(void** save, void* load);
asm(R"(
.text
.globl fibers_switch
.hidden fibers_switch
fibers_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
void leave() { fibers_switch(&pointers[now], scheduler); }
void resume() { fibers_switch(&scheduler, pointers[now]); }
#else
ucontext_t contexts[MOST], scheduler;
void leave() { swapcontext(&contexts[now], &scheduler); }
void resume() { swapcontext(&scheduler, &contexts[now]); }
#endif

void start() {
  body(arguments_);
  state[now] = DONE;
  for (;;) leave();
}

void prepare(unsigned t) {
  state[t] = READY;
  parity[t] = 0;
  char* top = stacks + (t + 1) * STACK - t % 128 * 320 / 64 * 64;  // not all in the same lines of the cache
#if defined(__x86_64__)
  void** sp = (void**)(top - 16);
  *sp = (void*)start;  // as if start had been called: the stack is 8 bytes off the alignment at its entry
  memset(sp - 6, 0, 6 * sizeof(void*));
  pointers[t] = sp - 6;
#else
  getcontext(&contexts[t]);
  contexts[t].uc_stack.ss_sp = stacks + t * STACK;
  contexts[t].uc_stack.ss_size = top - stacks - t * STACK;
  contexts[t].uc_link = 0;
  makecontext(&contexts[t], start, 0);
#endif
}

unsigned drawn() {
  random_ = random_ * 6364136223846793005ull + 1442695040888963407ull;
  return (unsigned)(random_ >> 33);
}

// Runs a warp until each of its threads has ended or waits for the other warps.
void run_warp(unsigned first, unsigned last, unsigned* index) {
  for (;;) {
    unsigned turn = drawn() & 31u, there = 0;
    for (unsigned i = 0; i < 32; i++) {
      now = first + (i ^ turn);
      if (now >= last || state[now] != READY) continue;
      *index = now;
      resume();
    }
    for (unsigned t = first; t < last; t++) there += state[t] == AT_EXCHANGE;
    if (there && there != 32) error = NOT_ALL_LANES;
    if (!there || error) return;
    for (unsigned t = first; t < last; t++) state[t] = READY;
  }
}

// Lets those go on who wait for all others; false when everybody has ended.
bool released(unsigned n) {
  bool any = false;
  for (unsigned t = 0; t < n; t++) {
    if (state[t] != AT_BARRIER) continue;
    state[t] = READY;
    any = true;
  }
  return any;
}

// Ends a launch at a mistake that the compiler's checks have found.
void fail(Error what, const Location* where) {
  error = what;
  line = where->line;
  if (outside) __builtin_longjmp(outside, 1);
  state[now] = DONE;
  for (;;) leave();
}

}  // namespace

extern "C" {

void __ubsan_handle_type_mismatch_v1(const Location* where, void*) { fail(MISALIGNED, where); }
void __ubsan_handle_out_of_bounds(const Location* where, void*) { fail(OUT_OF_BOUNDS, where); }
void __ubsan_handle_shift_out_of_bounds(const Location* where, void*, void*) { fail(BAD_SHIFT, where); }

// ``back``: what __builtin_setjmp has filled.
void fibers_begin(void** back) {
  error = FINE;
  line = 0;
  outside = back;
}

unsigned fibers_error() { return error; }
unsigned fibers_line() { return line; }

void fibers_barrier() {
  state[now] = AT_BARRIER;
  leave();
}

// Leaves ``bits`` for the other lanes of the warp; what all of them left.
uint64_t* fibers_exchange(uint64_t bits, unsigned mask) {
  if (mask != 0xffffffffu) error = PARTIAL_MASK;
  uint64_t* lanes = slots[parity[now] ^= 1];
  lanes[now] = bits;
  state[now] = AT_EXCHANGE;
  leave();
  return lanes + (now & ~31u);
}

int fibers_run(void (*thread)(void*), void* arguments, unsigned n, unsigned* index, unsigned seed) {
  if (!stacks) {
    void* memory = mmap(0, MOST * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return NO_MEMORY;
    stacks = (char*)memory;
  }
  random_ = seed;
  body = thread;
  arguments_ = arguments;
  outside = 0;
  for (unsigned t = 0; t < n; t++) prepare(t);
  const unsigned warps = (n + 31) / 32;
  do {
    const unsigned start = drawn() % warps, back = drawn() & 1u;
    for (unsigned i = 0; i < warps && !error; i++) {
      const unsigned w = (start + (back ? warps - i : i)) % warps, first = w * 32;
      run_warp(first, first + 32 < n ? first + 32 : n, index);
    }
  } while (!error && released(n));
  return (int)error;
}

}  // extern "C"
