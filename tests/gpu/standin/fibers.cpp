// The threads of a block as fibers: each runs until it waits for the others.  The order in which they run is drawn
// anew after each wait, so that a missing barrier gives wrong numbers.

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace {

enum State : unsigned char { READY, AT_BARRIER, AT_EXCHANGE, DONE };
enum Error { FINE, NOT_ALL_LANES, PARTIAL_MASK, NO_MEMORY };

const unsigned MOST = 1024;
const size_t STACK = 128 << 10;

char* stacks;
State state[MOST];
unsigned char parity[MOST];
uint64_t slots[2][MOST];
unsigned now, error;
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
  char* top = stacks + (t + 1) * STACK;
#if defined(__x86_64__)
  void** sp = (void**)(top - 16);
  *sp = (void*)start;  // as if start had been called: the stack is 8 bytes off the alignment at its entry
  memset(sp - 6, 0, 6 * sizeof(void*));
  pointers[t] = sp - 6;
#else
  getcontext(&contexts[t]);
  contexts[t].uc_stack.ss_sp = top - STACK;
  contexts[t].uc_stack.ss_size = STACK;
  contexts[t].uc_link = 0;
  makecontext(&contexts[t], start, 0);
#endif
}

void shuffled(unsigned* order, unsigned n, uint64_t& seed) {
  for (unsigned i = 0; i < n; i++) order[i] = i;
  for (unsigned i = n; i > 1; i--) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    unsigned j = (unsigned)(((seed >> 32) * i) >> 32), x = order[j];
    order[j] = order[i - 1];
    order[i - 1] = x;
  }
}

// Lets those go on whom everybody they wait for has met: false where nobody may.
bool released(unsigned n) {
  bool any = false;
  for (unsigned first = 0; first < n; first += 32) {
    unsigned last = first + 32 < n ? first + 32 : n, there = 0;
    for (unsigned t = first; t < last; t++) there += state[t] == AT_EXCHANGE;
    if (!there) continue;
    if (there != 32) {
      error = NOT_ALL_LANES;
      return false;
    }
    for (unsigned t = first; t < last; t++) state[t] = READY;
    any = true;
  }
  if (any) return true;
  for (unsigned t = 0; t < n; t++) {
    if (state[t] != AT_BARRIER) continue;
    state[t] = READY;
    any = true;
  }
  return any;
}

}  // namespace

extern "C" {

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
  unsigned order[MOST];
  uint64_t random = seed;
  body = thread;
  arguments_ = arguments;
  error = FINE;
  for (unsigned t = 0; t < n; t++) prepare(t);
  do {
    shuffled(order, n, random);
    for (unsigned i = 0; i < n && !error; i++) {
      now = order[i];
      if (state[now] != READY) continue;
      *index = now;
      resume();
    }
  } while (!error && released(n));
  return (int)error;
}

}  // extern "C"
