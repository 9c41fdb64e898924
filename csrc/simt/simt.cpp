// The scheduler of fibers behind simt.h.
//
// It is compiled without sanitizers, and finds out when it runs whether the program has one: its
// own work, which moves from fiber to fiber, must not look like that of the kernel's threads.
#undef _FORTIFY_SOURCE  // its longjmp refuses to change stacks

#include "simt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>
#include <random>
#include <vector>

#if defined(__SANITIZE_THREAD__)
#error "compile simt.cpp without -fsanitize=thread, and link with it"
#endif

#define PARATIME_WEAK extern "C" __attribute__((weak))
PARATIME_WEAK void __sanitizer_start_switch_fiber(void** save, const void* bottom, size_t size);
PARATIME_WEAK void __sanitizer_finish_switch_fiber(void* save, const void** bottom, size_t* size);
PARATIME_WEAK void __asan_unpoison_memory_region(const volatile void* begin, size_t size);
PARATIME_WEAK void* __tsan_get_current_fiber();
PARATIME_WEAK void* __tsan_create_fiber(unsigned flags);
PARATIME_WEAK void __tsan_destroy_fiber(void* fiber);
PARATIME_WEAK void __tsan_switch_to_fiber(void* fiber, unsigned flags);
PARATIME_WEAK void __tsan_acquire(void* address);
PARATIME_WEAK void __tsan_release(void* address);

namespace simt {
namespace {

constexpr size_t kStack = 256 * 1024, kGuard = 64 * 1024;
constexpr size_t kMostThreads = 1024;  // of a block
constexpr int64_t kPatience = 10'000'000;  // turns without progress that mean a deadlock
constexpr unsigned kWithoutOrder = 1;      // a switch of ThreadSanitizer's fibers

struct Warp;
struct Block;

struct Fiber : Thread {
  Block* home;
  Warp* warp;
  unsigned number;  // in the block
  bool begun;   // it has a stack to go back to
  bool inside;  // the kernel; it is abandoned there after an error
  bool ended;

  const char* waits;  // the name of the operation it waits at, or null
  Site site;          // where
  int source;         // the lane it asks for
  uint64_t value, answer;  // what it brought, and what it takes away

  unsigned char* stack;
  ucontext_t context;
  jmp_buf place;
  void* fake_stack;  // AddressSanitizer's
  void* identity;    // ThreadSanitizer's
};

// Lanes of a warp that wait for each other.
struct Meeting {
  const char* name;
  Site site;
  unsigned mask, come;
};

struct Warp {
  std::vector<Fiber*> lanes;
  unsigned ready, at_barrier, ended;  // masks of lanes
  Meeting meetings[32];  // no vector: ThreadSanitizer would see a thread move its elements
  int open;              // of those
  bool spins;            // a lane has yielded
  uint64_t priority;
};

struct Block {
  size_t index;
  std::vector<Warp> warps;
  std::vector<Fiber*> fibers;
  unsigned char* memory;  // what it shares, and after it the marks of what is written
  size_t running;
  size_t waiting;  // at the barrier
  Fiber* first;    // of those
  uint64_t votes;
};

struct Launch {
  const std::function<void()>* kernel;
  dim3 grid, shape;
  size_t shared_bytes, threads, blocks, begun;
  std::vector<std::unique_ptr<Block>> under_way;
  int64_t idle;  // turns since the last progress
};

std::mutex one_at_a_time;
uint64_t seed;
size_t resident = 1;
Launch current;
char message[400];
Fiber* running;
std::mt19937_64 dice;
std::vector<std::unique_ptr<Fiber>> pool;
size_t taken;  // from the pool

ucontext_t scheduler;
jmp_buf scheduler_place;
const void* scheduler_stack;
size_t scheduler_stack_bytes;
void* scheduler_fake_stack;
void* scheduler_identity;

// What a sanitizer knows. A switch of fibers orders nothing in its eyes; order() does.

void become(void* identity) { __tsan_switch_to_fiber(identity, kWithoutOrder); }

// What the fibers `before` have done happens before what those `after` will do.
void order(const std::vector<void*>& before, const std::vector<void*>& after) {
  void* const self = __tsan_get_current_fiber();
  const std::unique_ptr<char> meeting(new char);  // of its own: none other is ordered with it
  for (void* identity : before) {
    become(identity);
    __tsan_release(meeting.get());
  }
  for (void* identity : after) {
    become(identity);
    __tsan_acquire(meeting.get());
  }
  become(self);
}

std::vector<void*> identities(const std::vector<Fiber*>& fibers) {
  std::vector<void*> all;
  for (const Fiber* fiber : fibers) all.push_back(fiber->identity);
  return all;
}

// Switching. Jumps save swapcontext's system call, but sanitizers know only the latter.

bool jumps() { return !__sanitizer_start_switch_fiber && !__tsan_create_fiber; }

void leave() {
  Fiber& self = *running;
  if (__sanitizer_start_switch_fiber)
    __sanitizer_start_switch_fiber(&self.fake_stack, scheduler_stack, scheduler_stack_bytes);
  if (__tsan_create_fiber) become(scheduler_identity);
  if (!jumps())
    swapcontext(&self.context, &scheduler);
  else if (!_setjmp(self.place))
    _longjmp(scheduler_place, 1);
  if (__sanitizer_finish_switch_fiber)
    __sanitizer_finish_switch_fiber(self.fake_stack, &scheduler_stack, &scheduler_stack_bytes);
}

[[noreturn]] void stop() {
  for (;;) leave();
}

void jump(Fiber& fiber, bool first) {
  if (_setjmp(scheduler_place)) return;
  if (first) setcontext(&fiber.context);
  _longjmp(fiber.place, 1);
}

void enter(Fiber& fiber) {
  running = &fiber;
  now = &fiber;
  const bool first = !fiber.begun;
  fiber.begun = true;
  if (__sanitizer_start_switch_fiber)
    __sanitizer_start_switch_fiber(&scheduler_fake_stack, fiber.stack + kGuard, kStack);
  if (__tsan_create_fiber) become(fiber.identity);
  if (jumps())
    jump(fiber, first);
  else
    swapcontext(&scheduler, &fiber.context);
  if (__sanitizer_finish_switch_fiber)
    __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr);
}

// Fibers.

void end_thread();

void run_fiber() {
  if (__sanitizer_finish_switch_fiber)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
  for (;;) {
    running->inside = true;
    (*current.kernel)();
    end_thread();
  }
}

// Give a fiber a fresh start: it is new, or was abandoned amid a kernel.
void reset(Fiber& fiber) {
  fiber.begun = fiber.inside = false;
  fiber.fake_stack = nullptr;
  if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(fiber.stack + kGuard, kStack);
  if (__tsan_create_fiber) {
    if (fiber.identity) __tsan_destroy_fiber(fiber.identity);
    fiber.identity = __tsan_create_fiber(0);
  }
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack + kGuard;
  // Stacks end at different lines of the cache, or they would displace each other.
  fiber.context.uc_stack.ss_size =
      kStack - reinterpret_cast<uintptr_t>(fiber.stack) / (kGuard + kStack) % 61 * 64;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, run_fiber, 0);
  fiber.context.uc_stack.ss_size = 0;  // or swapcontext makes AddressSanitizer forget its frames
}

unsigned char* map(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<unsigned char*>(memory);
}

Fiber* take_fiber() {
  if (taken == pool.size()) {
    pool.push_back(std::make_unique<Fiber>());
    pool.back()->stack = map(kGuard + kStack);
    mprotect(pool.back()->stack, kGuard, PROT_NONE);
    reset(*pool.back());
  }
  return pool[taken++].get();
}

// Blocks.

size_t memory_bytes() { return 2 * ((current.shared_bytes + 63) / 64 * 64) + 64; }

dim3 position(size_t i, dim3 shape) {
  const size_t x = shape.x, y = shape.y;
  return dim3(unsigned(i % x), unsigned(i / x % y), unsigned(i / x / y));
}

void begin_block(Block& block) {
  block.index = current.begun++;
  block.memory = map(memory_bytes());  // a new map: to a sanitizer, no block uses another's memory
  unsigned char* const written = block.memory + memory_bytes() / 2;
  std::fill(block.memory, written, 0xff);  // NaN
  block.running = current.threads;
  block.waiting = 0;
  block.warps.clear();
  block.warps.resize((current.threads + 31) / 32);
  for (size_t i = 0; i < current.threads; ++i) {
    if (block.fibers.size() <= i) block.fibers.push_back(take_fiber());
    Fiber& fiber = *block.fibers[i];
    Warp& warp = block.warps[i / 32];
    static_cast<Thread&>(fiber) = {
        position(i, current.shape), position(block.index, current.grid),
        current.shape, current.grid,
        int(i % 32), block.memory, written, int64_t(current.shared_bytes),
        false, nullptr};
    fiber.home = &block;
    fiber.warp = &warp;
    fiber.number = unsigned(i);
    fiber.ended = false;
    fiber.waits = nullptr;
    warp.lanes.push_back(&fiber);
    warp.ready |= 1u << i % 32;
  }
  if (seed)
    for (Warp& warp : block.warps) warp.priority = dice();
  if (__tsan_create_fiber) order({scheduler_identity}, identities(block.fibers));
}

// Meetings: a thread waits until all that are concerned have come to the same place.

// It owns no memory, as a thread that fails never comes to free it.
struct Text {
  char text[240];
};

const char* name(Site site) {
  const char* slash = strrchr(site.file, '/');
  return slash ? slash + 1 : site.file;
}

Text thread(const Fiber& fiber) {
  Text said;
  if (fiber.ended)
    snprintf(said.text, sizeof(said.text), "thread %u has ended", fiber.number);
  else
    snprintf(said.text, sizeof(said.text), "thread %u waits at %s:%d in %s", fiber.number,
             name(fiber.site), fiber.site.line, fiber.waits);
  return said;
}

bool equal(const char* a, const char* b) { return a == b || (a && b && strcmp(a, b) == 0); }

bool same(Site a, Site b) { return a.line == b.line && equal(a.file, b.file); }

unsigned bit(const Fiber& fiber) { return 1u << fiber.lane; }

void wake(Fiber& fiber, uint64_t answer) {
  fiber.answer = answer;
  fiber.waits = nullptr;
  fiber.warp->ready |= bit(fiber);
  fiber.warp->at_barrier &= ~bit(fiber);
}

void wait() {
  running->warp->ready &= ~bit(*running);
  leave();
}

const Fiber* first_lane(unsigned mask) {
  return mask ? running->warp->lanes[unsigned(__builtin_ctz(mask))] : nullptr;
}

// A lane of a meeting that waits for the running thread, which will not come.
const Fiber* waits_in_warp() {
  const Warp& warp = *running->warp;
  for (const Meeting* x = warp.meetings; x < warp.meetings + warp.open; ++x)
    if (x->mask & bit(*running)) return first_lane(x->come);
  return nullptr;
}

void end_thread() {
  Block& block = *running->home;
  running->ended = true;
  running->warp->ended |= bit(*running);
  --block.running;
  progress();
  const Fiber* other = block.waiting ? block.first : waits_in_warp();
  if (other)
    fail(other->site, "divergent %s: %s, but this thread has ended", other->waits,
         thread(*other).text);
  running->inside = false;
  wait();
}

void come(const char* name, uint64_t value, Site at) {
  running->waits = name;
  running->value = value;
  running->site = at;
}

[[noreturn]] void diverge(const Fiber& other) {
  fail(running->site, "divergent %s: %s", running->waits, thread(other).text);
}

// The meeting of the mask that the running thread comes to. No lane of the mask may have gone, or
// wait elsewhere for this one.
Meeting& meeting_of(unsigned mask) {
  const Fiber& self = *running;
  Warp& warp = *self.warp;
  if (const Fiber* gone = first_lane(mask & (warp.ended | warp.at_barrier))) diverge(*gone);
  Meeting* const end = warp.meetings + warp.open;
  Meeting* found = end;
  for (Meeting* x = warp.meetings; x < end; ++x) {
    if (x->mask == mask && same(x->site, self.site) && equal(x->name, self.waits))
      found = x;
    else if (x->mask & bit(self) && x->come & mask)
      diverge(*first_lane(x->come & mask));
  }
  if (found == end) {
    *end = {self.waits, self.site, mask, 0};
    ++warp.open;
  }
  return *found;
}

// Wait for the lanes of the mask; true for the last one, who is to answer and wake the others.
bool complete(unsigned mask) {
  const Fiber& self = *running;
  Warp& warp = *self.warp;
  if (!(mask & bit(self)))
    fail(self.site, "%s: mask %08x does not name the calling lane %d", self.waits, mask, self.lane);
  if (warp.lanes.size() < 32 && mask >> warp.lanes.size())
    fail(self.site, "%s: mask %08x names lanes beyond the block's last, %d", self.waits, mask,
         int(warp.lanes.size()) - 1);
  Meeting& meeting = meeting_of(mask);
  meeting.come |= bit(self);
  if (meeting.come != mask) {
    wait();
    return false;
  }
  meeting = warp.meetings[--warp.open];
  progress();
  return true;
}

template <class Operation>
void for_lanes(unsigned mask, const Operation& operation) {
  for (; mask; mask &= mask - 1) operation(*running->warp->lanes[unsigned(__builtin_ctz(mask))]);
}

// Scheduling.

std::vector<Warp*> warps_under_way() {
  std::vector<Warp*> found;
  for (auto& block : current.under_way)
    for (Warp& warp : block->warps) found.push_back(&warp);
  return found;
}

Warp* choose(const std::vector<Warp*>& warps, size_t& turn) {
  Warp* best = nullptr;
  for (size_t i = 0; i < warps.size(); ++i) {
    Warp* warp = warps[(turn + i) % warps.size()];
    if (!warp->ready || (best && warp->priority <= best->priority)) continue;
    best = warp;
    if (seed) continue;
    turn = (turn + i + 1) % warps.size();
    break;
  }
  return best;
}

// Let each lane that is ready run until it waits; at random, only some of them.
void run_warp(Warp& warp) {
  warp.spins = false;
  for (unsigned lanes = warp.ready; lanes && !*message;) {
    const unsigned by = seed ? dice() % 32 : 0;
    const unsigned rotated = lanes >> by | lanes << (-by & 31);
    const unsigned lane = (unsigned(__builtin_ctz(rotated)) + by) % 32;
    lanes &= ~(1u << lane);
    enter(*warp.lanes[lane]);
    if (seed && dice() % 64 == 0) break;
  }
  if (seed && (warp.spins || dice() % 16 == 0)) warp.priority = dice();
}

void report(const Fiber& fiber, Site at, const char* text) {
  snprintf(message, sizeof(message), "%s:%d: block %zu, thread %u: %s", name(at), at.line,
           fiber.home->index, fiber.number, text);
}

// No thread can run: those under way wait for each other.
void report_deadlock() {
  for (auto& block : current.under_way)
    for (const Fiber* fiber : block->fibers)
      if (fiber->waits) {
        Text said;
        snprintf(said.text, sizeof(said.text), "deadlock: it waits in %s for ever", fiber->waits);
        return report(*fiber, fiber->site, said.text);
      }
}

void end_block(Block& block) {
  munmap(block.memory, memory_bytes());
  block.memory = nullptr;
}

// Put blocks that have not begun into the places of those that have ended.
void refill() {
  auto& blocks = current.under_way;
  for (auto& block : blocks) {
    if (block->running) continue;
    end_block(*block);
    if (current.begun < current.blocks) begin_block(*block);
  }
  const auto gone = [](const auto& block) { return !block->memory; };
  blocks.erase(std::remove_if(blocks.begin(), blocks.end(), gone), blocks.end());
}

void run_blocks() {
  for (size_t i = 0; i < std::min(resident, current.blocks); ++i) {
    current.under_way.push_back(std::make_unique<Block>());
    begin_block(*current.under_way.back());
  }
  size_t turn = 0;
  for (auto warps = warps_under_way(); !warps.empty() && !*message;) {
    Warp* const warp = choose(warps, turn);
    if (!warp) return report_deadlock();
    const Block& block = *warp->lanes[0]->home;
    run_warp(*warp);
    if (block.running) continue;
    refill();
    warps = warps_under_way();
  }
}

// Leave nothing behind, whatever state the launch is in.
void finish() {
  std::vector<Fiber*> used;
  for (size_t i = 0; i < taken; ++i) used.push_back(pool[i].get());
  if (__tsan_create_fiber) order(identities(used), {scheduler_identity});
  for (Fiber* fiber : used)
    if (fiber->inside) reset(*fiber);
  for (auto& block : current.under_way) end_block(*block);
  current.under_way.clear();
  taken = 0;
  running = nullptr;
  now = nullptr;
}

int refuse(const char* text) {
  snprintf(message, sizeof(message), "%s", text);
  return cudaErrorInvalidConfiguration;
}

size_t volume(dim3 shape) { return size_t(shape.x) * shape.y * shape.z; }

}  // namespace

Thread* now;

const char* error() { return message; }

int launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel) {
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  *message = 0;
  current.kernel = &kernel;
  current.grid = grid;
  current.shape = block;
  current.shared_bytes = shared_bytes;
  current.threads = volume(block);
  current.blocks = volume(grid);
  current.begun = 0;
  current.idle = 0;
  if (current.blocks == 0) return refuse("launch: the grid is empty");
  if (current.threads == 0 || current.threads > kMostThreads)
    return refuse("launch: a block has 1 to 1024 threads");
  if (shared_bytes > kMostShared)
    return refuse("launch: a block has at most 227 KiB of shared memory");
  dice.seed(seed);
  if (__tsan_create_fiber) scheduler_identity = __tsan_get_current_fiber();
  run_blocks();
  finish();
  return *message ? cudaErrorLaunchFailure : cudaSuccess;
}

void fail(Site at, const char* format, ...) {
  char text[300];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  report(*running, at, text);
  stop();
}

void yield(Site at) {
  running->site = at;
  running->warp->spins = true;
  if (++current.idle > kPatience)
    fail(at, "deadlock: no thread has made progress in %lld turns", (long long)kPatience);
  leave();
}

void progress() { current.idle = 0; }

int meet_block(const char* name, bool value, Site at) {
  Fiber& self = *running;
  Block& block = *self.home;
  come(name, value, at);
  if (block.running < block.fibers.size())
    for (const Fiber* other : block.fibers)
      if (other->ended) diverge(*other);
  if (const Fiber* other = waits_in_warp()) diverge(*other);
  if (!block.waiting) {
    block.first = &self;
    block.votes = 0;
  }
  if (!same(block.first->site, at) || !equal(block.first->waits, name)) diverge(*block.first);
  block.votes += value;
  self.warp->at_barrier |= bit(self);
  if (++block.waiting < block.running) {
    wait();
    return int(self.answer);
  }
  if (__tsan_create_fiber) order(identities(block.fibers), identities(block.fibers));
  block.waiting = 0;
  for (Fiber* fiber : block.fibers) wake(*fiber, block.votes);
  progress();
  return int(self.answer);
}

uint64_t meet_warp(const char* name, unsigned mask, uint64_t value, int source, Site at) {
  Fiber& self = *running;
  come(name, value, at);
  self.source = source;
  if (source >= 0 && !(mask >> source & 1))
    fail(at, "%s: reads lane %d, which mask %08x does not name", name, source, mask);
  if (!complete(mask)) return self.answer;
  uint64_t ballot = 0;
  for_lanes(mask, [&](const Fiber& x) { ballot |= uint64_t(x.value != 0) << x.lane; });
  for_lanes(mask, [&](Fiber& x) {
    wake(x, source == kBallot ? ballot : self.warp->lanes[size_t(x.source)]->value);
  });
  return self.answer;
}

void sync_warp(unsigned mask, Site at) {
  const size_t lanes = running->warp->lanes.size();
  if (lanes < 32) mask &= (1u << lanes) - 1;  // the default names all that a warp can have
  come("__syncwarp", 0, at);
  if (!complete(mask)) return;
  if (__tsan_create_fiber) {
    std::vector<void*> met;
    for_lanes(mask, [&](const Fiber& x) { met.push_back(x.identity); });
    order(met, met);
  }
  for_lanes(mask, [](Fiber& x) { wake(x, 0); });
}

void acquire(const void* address) {
  if (__tsan_acquire) __tsan_acquire(const_cast<void*>(address));
}

void release(const void* address) {
  if (__tsan_release) __tsan_release(const_cast<void*>(address));
}

}  // namespace simt

extern "C" void paratime_simt_schedule(uint64_t seed, int32_t resident) {
  simt::seed = seed;
  simt::resident = size_t(std::max(resident, 1));
}

extern "C" const char* paratime_simt_error() { return simt::error(); }
