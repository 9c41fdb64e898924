// Vectors of lanes as g++ and clang spell them, as wide as the machine's registers.
#pragma once

#include "../activations.h"
#include "../formats.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define PARATIME_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define PARATIME_VECTOR_BYTES 32
#else
#define PARATIME_VECTOR_BYTES 16
#endif

// What a library shows. All else is hidden: g++ makes one of the statics of two libraries' templates,
// and those for several capabilities, of other sizes of vectors, may be in one process.
#define PARATIME_EXPORT extern "C" __attribute__((visibility("default")))

namespace paratime {

template <class Element>
struct VectorOf;

template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(PARATIME_VECTOR_BYTES)));
};

template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(PARATIME_VECTOR_BYTES)));
};

template <class Element>
using Vector = typename VectorOf<Element>::type;

template <class Element>
constexpr int width = PARATIME_VECTOR_BYTES / sizeof(Element);

template <>
struct Lanes<Vector<float>> {
  using Element = float;
  typedef int32_t Bits __attribute__((vector_size(PARATIME_VECTOR_BYTES)));
};

template <>
struct Lanes<Vector<double>> {
  using Element = double;
  typedef int64_t Bits __attribute__((vector_size(PARATIME_VECTOR_BYTES)));
};

// x86 has minimum and maximum in one instruction each, which return their second operand if either
// is a NaN; the compiler does not find them behind the comparisons of the portable clamp.
#if defined(__AVX512F__)
#define PARATIME_X86(operation) _mm512_##operation
#elif defined(__AVX2__)
#define PARATIME_X86(operation) _mm256_##operation
#elif defined(__SSE2__)
#define PARATIME_X86(operation) _mm_##operation
#endif
#ifdef PARATIME_X86
template <>
PARATIME_INLINE Vector<float> clamp(Vector<float> x, float low, float high) {
  return PARATIME_X86(min_ps)(Vector<float>{} + high, PARATIME_X86(max_ps)(Vector<float>{} + low, x));
}
template <>
PARATIME_INLINE Vector<double> clamp(Vector<double> x, double low, double high) {
  return PARATIME_X86(min_pd)(Vector<double>{} + high,
                              PARATIME_X86(max_pd)(Vector<double>{} + low, x));
}
#endif

typedef uint16_t Halves __attribute__((vector_size(PARATIME_VECTOR_BYTES / 2)));
typedef uint32_t Words __attribute__((vector_size(PARATIME_VECTOR_BYTES)));

// The first n lanes, in memory and in a register. Where the processor has masks, that is done under
// one: what is put together in memory, part by part, makes the next read of a whole vector wait.
template <class Lanes, class Element>
PARATIME_INLINE void load_part(Lanes& x, const Element* from, int n) {
  memcpy(&x, from, n * sizeof(Element));
}
template <class Lanes, class Element>
PARATIME_INLINE void store_part(Element* to, const Lanes& x, int n) {
  memcpy(to, &x, n * sizeof(Element));
}
#if defined(__AVX512BW__) && defined(__AVX512VL__)
PARATIME_INLINE uint32_t first(int n) { return (1u << n) - 1; }
PARATIME_INLINE void load_part(Vector<float>& x, const float* from, int n) {
  x = _mm512_maskz_loadu_ps(first(n), from);
}
PARATIME_INLINE void store_part(float* to, const Vector<float>& x, int n) {
  _mm512_mask_storeu_ps(to, first(n), x);
}
PARATIME_INLINE void load_part(Vector<double>& x, const double* from, int n) {
  x = _mm512_maskz_loadu_pd(first(n), from);
}
PARATIME_INLINE void store_part(double* to, const Vector<double>& x, int n) {
  _mm512_mask_storeu_pd(to, first(n), x);
}
PARATIME_INLINE void load_part(Halves& x, const BFloat16* from, int n) {
  x = Halves(_mm256_maskz_loadu_epi16(first(n), from));
}
PARATIME_INLINE void store_part(BFloat16* to, const Halves& x, int n) {
  _mm256_mask_storeu_epi16(to, first(n), __m256i(x));
}
#elif defined(__AVX2__)
PARATIME_INLINE __m256i first(int words) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(words), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
PARATIME_INLINE void load_part(Vector<float>& x, const float* from, int n) {
  x = _mm256_maskload_ps(from, first(n));
}
PARATIME_INLINE void store_part(float* to, const Vector<float>& x, int n) {
  _mm256_maskstore_ps(to, first(n), x);
}
PARATIME_INLINE void load_part(Vector<double>& x, const double* from, int n) {
  x = _mm256_maskload_pd(from, first(2 * n));
}
PARATIME_INLINE void store_part(double* to, const Vector<double>& x, int n) {
  _mm256_maskstore_pd(to, first(2 * n), x);
}
#endif

// Read the first n lanes; the others are 0.
template <class Element>
PARATIME_INLINE Vector<Element> load(const Element* from, int n) {
  Vector<Element> x{};
  if (n == width<Element>)
    memcpy(&x, from, sizeof(x));
  else
    load_part(x, from, n);
  return x;
}

// Write the first n lanes.
template <class Element>
PARATIME_INLINE void store(Element* to, Vector<Element> x, int n) {
  if (n == width<Element>)
    memcpy(to, &x, sizeof(x));
  else
    store_part(to, x, n);
}

template <class Element>
PARATIME_INLINE Element total(Vector<Element> x) {
  Element sum = 0;
  for (int lane = 0; lane < width<Element>; ++lane) sum += x[lane];
  return sum;
}

PARATIME_INLINE Vector<float> load(const BFloat16* from, int n) {
  Halves half{};
  if (n == width<float>)
    memcpy(&half, from, sizeof(half));
  else
    load_part(half, from, n);
  return bits_as<Vector<float>>(__builtin_convertvector(half, Words) << 16);
}

PARATIME_INLINE void store(BFloat16* to, Vector<float> x, int n) {
  const Words bits = bits_as<Words>(x);
  const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Words quiet_nan = Words{} + 0x7fc0;
  const Halves half = __builtin_convertvector(x == x ? rounded : quiet_nan, Halves);
  if (n == width<float>)
    memcpy(to, &half, sizeof(half));
  else
    store_part(to, half, n);
}

}  // namespace paratime
