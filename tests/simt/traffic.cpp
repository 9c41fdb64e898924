// Counts what kernels load and store, in the place of ThreadSanitizer's run-time library: code
// compiled with -fsanitize=thread calls these functions at every access to memory.
#include <cstddef>
#include <cstdint>
#include <cstdio>

namespace {

struct Watched {
  const char *name, *begin, *end;
  int64_t loaded, stored;
};

Watched tensors[8];  // constructors that run before main() are counted, too
int watched;

void count(const void* address, size_t bytes, int64_t Watched::*counter) {
  for (Watched* x = tensors; x < tensors + watched; ++x)
    if (address >= x->begin && address < x->end) x->*counter += int64_t(bytes);
}

void load(const void* address, size_t bytes) { count(address, bytes, &Watched::loaded); }
void store(const void* address, size_t bytes) { count(address, bytes, &Watched::stored); }

}  // namespace

extern "C" {

void watch(const char* name, const void* begin, size_t bytes) {
  const char* first = static_cast<const char*>(begin);
  tensors[watched++] = {name, first, first + bytes, 0, 0};
}

void count_from_here() {
  for (int i = 0; i < watched; ++i) tensors[i].loaded = tensors[i].stored = 0;
}

void report_counts(const char* kernel) {
  for (int i = 0; i < watched; ++i)
    printf("%s %s %lld %lld\n", kernel, tensors[i].name, (long long)tensors[i].loaded,
           (long long)tensors[i].stored);
}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_read_range(const void* p, size_t n) { load(p, n); }
void __tsan_write_range(void* p, size_t n) { store(p, n); }

#define ACCESS(bytes)                                                   \
  void __tsan_read##bytes(const void* p) { load(p, bytes); }            \
  void __tsan_write##bytes(void* p) { store(p, bytes); }                \
  void __tsan_unaligned_read##bytes(const void* p) { load(p, bytes); }  \
  void __tsan_unaligned_write##bytes(void* p) { store(p, bytes); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)

#define ATOMIC(bits, T)                                                                        \
  T __tsan_atomic##bits##_load(const volatile T* p, int) { return *p; }                        \
  void __tsan_atomic##bits##_store(volatile T* p, T x, int) { *p = x; }                        \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* expected, T x, int, int) { \
    const bool equal = *p == *expected;                                                        \
    equal ? void(*p = x) : void(*expected = *p);                                               \
    return equal;                                                                              \
  }
ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

}  // extern "C"
