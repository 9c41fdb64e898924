// exp, sigmoid and tanh for g++ and nvcc, on single numbers and on vectors of lanes alike.
//
// All three rest on one reduction (Cody and Waite, Software Manual for the Elementary Functions,
// 1980): x = n ln 2 + r with |r| <= ln 2 / 2, so that exp(x) = 2^n exp(r). n is rounded by adding
// 1.5 * 2^mantissa, whose sum carries n in its low bits: no rounding instruction is needed, which
// plain x86-64 lacks. exp(r) - 1 = r + r^2 tail(r), so that nothing cancels near 0; tail is the
// Chebyshev interpolant of its series, to the rounding of the format.
#pragma once

#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define PARATIME_INLINE __host__ __device__ __forceinline__
#else
#define PARATIME_INLINE inline __attribute__((always_inline))
#endif

namespace paratime {

// What a number, or a vector of lanes, is made of: its element, and integers of the same size.
template <class V>
struct Lanes;

template <>
struct Lanes<float> {
  using Element = float;
  using Bits = int32_t;
};

template <>
struct Lanes<double> {
  using Element = double;
  using Bits = int64_t;
};

template <class Element>
struct Format;

template <>
struct Format<float> {
  static constexpr int mantissa = 23;
  static constexpr int32_t one = 0x3f800000;
  static constexpr float shifter = 12582912.0f;
  static constexpr float log2_e = 1.44269504f;
  static constexpr float ln2_high = 0.693359375f;  // few bits, so that n * ln2_high is exact
  static constexpr float ln2_low = -2.12194440e-4f;
  static constexpr float underflow = -104.0f;  // exp(x) rounds to 0
  static constexpr float lowest = -87.3f;      // exp(x) is normal, and 1 + exp(x) rounds to 1
  static constexpr float overflow = 89.0f;     // exp(x) is infinite
  static constexpr float saturated = 20.0f;    // tanh(x / 2) rounds to 1

  template <class V>
  static PARATIME_INLINE V tail(V r) {
    const V low = 0.5f + r * 0.166665763f;
    const V high = 0.0416665538f + r * (0.00836329275f + r * 0.00139263256f);
    return low + r * r * high;
  }
};

template <>
struct Format<double> {
  static constexpr int mantissa = 52;
  static constexpr int64_t one = 0x3ff0000000000000;
  static constexpr double shifter = 6755399441055744.0;
  static constexpr double log2_e = 1.4426950408889634;
  static constexpr double ln2_high = 0.693147180369123816490;
  static constexpr double ln2_low = 1.90821492927058770002e-10;
  static constexpr double underflow = -746.0;
  static constexpr double lowest = -708.3;
  static constexpr double overflow = 710.0;
  static constexpr double saturated = 40.0;

  template <class V>
  static PARATIME_INLINE V tail(V r) {
    const V r2 = r * r, r4 = r2 * r2;
    const V a = 0.5000000000000004 + r * 0.16666666666666738;
    const V b = 0.04166666666654738 + r * 0.008333333333256901;
    const V c = 0.001388888895581401 + r * 0.00019841270105252774;
    const V d = 2.4801463542392413e-05 + r * 2.755695849718364e-06;
    const V e = 2.7645966079207524e-07 + r * 2.5230688897876423e-08;
    return a + r2 * b + r4 * (c + r2 * d + r4 * e);
  }
};

template <class To, class From>
PARATIME_INLINE To bits_as(const From& x) {
  static_assert(sizeof(To) == sizeof(From), "a cast of bits keeps the size");
  To y;
  memcpy(&y, &x, sizeof(To));
  return y;
}

// Clamp x; a NaN fails both comparisons, and stays.
template <class V>
PARATIME_INLINE V clamp(V x, typename Lanes<V>::Element low, typename Lanes<V>::Element high) {
  const V least = V{} + low, most = V{} + high;
  x = x < least ? least : x;
  return x > most ? most : x;
}

// exp(x) = 2^n (1 + growth).
template <class V>
struct Reduced {
  typename Lanes<V>::Bits n;
  V growth;
};

template <class V>
PARATIME_INLINE Reduced<V> reduce(V x) {
  using F = Format<typename Lanes<V>::Element>;
  using Bits = typename Lanes<V>::Bits;
  const V shifter = V{} + F::shifter;
  const V shifted = x * F::log2_e + shifter;
  const V n = shifted - shifter;
  const V r = (x - n * F::ln2_high) - n * F::ln2_low;
  return {bits_as<Bits>(shifted) - bits_as<Bits>(shifter), r + r * r * F::tail(r)};
}

// 2^n for n from the smallest normal exponent to one above the largest, which is infinity.
template <class V>
PARATIME_INLINE V power_of_two(typename Lanes<V>::Bits n) {
  using F = Format<typename Lanes<V>::Element>;
  return bits_as<V>((n << F::mantissa) + F::one);
}

template <class V>
PARATIME_INLINE V exp(V x) {
  using F = Format<typename Lanes<V>::Element>;
  const Reduced<V> e = reduce(clamp(x, F::underflow, F::overflow));
  const typename Lanes<V>::Bits half = e.n >> 1;  // in two factors: 2^n itself may not be normal
  return power_of_two<V>(half) * (1 + e.growth) * power_of_two<V>(e.n - half);
}

// 1 / (1 + exp(-x)), with exp infinite or tiny where sigmoid is 0 or 1. Results below the smallest
// normal number are 0.
template <class V>
PARATIME_INLINE V sigmoid(V x) {
  using F = Format<typename Lanes<V>::Element>;
  const Reduced<V> e = reduce(clamp(-x, F::lowest, F::overflow));
  return 1 / (1 + power_of_two<V>(e.n) * (1 + e.growth));
}

// expm1(2x) / (expm1(2x) + 2).
template <class V>
PARATIME_INLINE V tanh(V x) {
  using F = Format<typename Lanes<V>::Element>;
  const Reduced<V> e = reduce(clamp(x + x, -F::saturated, F::saturated));
  const V scale = power_of_two<V>(e.n);
  const V expm1 = scale * e.growth + (scale - 1);
  return expm1 / (expm1 + 2);
}

}  // namespace paratime
