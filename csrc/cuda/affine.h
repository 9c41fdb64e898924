// Maps x -> a x + b of K numbers a channel, and their composition over the segments of a warp.
#pragma once

#include <cfloat>

#include "tile.h"

namespace paratime {

// Products of slopes beyond this are cut, so that a zero times a product is zero.
template <class E>
constexpr E kSteepest = sizeof(E) == 8 ? E(1e150) : E(1e18);

PARATIME_DEVICE bool is_within(float x, float most) { return fabsf(x) <= most; }
PARATIME_DEVICE bool is_within(double x, double most) { return fabs(x) <= most; }

template <int n, class V, class E>
PARATIME_DEVICE bool are_within(const V* values, E most) {
  bool within = true;
#pragma unroll
  for (int i = 0; i < n; ++i) within = within && is_within(values[i].value, most);
  return within;
}
template <int n, class V>
PARATIME_DEVICE bool all_finite(const V* values) {
  using E = decltype(values->value);
  return are_within<n>(values, sizeof(E) == 8 ? E(DBL_MAX) : E(FLT_MAX));
}
// Whether a map of tame numbers leaves tame numbers finite.
template <int n, class V>
PARATIME_DEVICE bool all_tame(const V* values) {
  return are_within<n>(values, kSteepest<decltype(values->value)>);
}

template <class V, int K>
struct Affine {
  V a[K * K], b[K];

  static PARATIME_DEVICE Affine identity() {
    Affine f;
#pragma unroll
    for (int i = 0; i < K * K; ++i) f.a[i] = i % (K + 1) == 0 ? V(1) : V(0);
#pragma unroll
    for (int i = 0; i < K; ++i) f.b[i] = V(0);
    return f;
  }

  PARATIME_DEVICE void apply(const V* x, V* y) const {
#pragma unroll
    for (int i = 0; i < K; ++i) {
      V sum = b[i];
#pragma unroll
      for (int j = 0; j < K; ++j) sum += a[i * K + j] * x[j];
      y[i] = sum;
    }
  }

  // The same, but a slope of zero passes on nothing, not even what is not finite.
  PARATIME_DEVICE void apply_exactly(const V* x, V* y) const {
#pragma unroll
    for (int i = 0; i < K; ++i) {
      V sum = b[i];
#pragma unroll
      for (int j = 0; j < K; ++j)
        sum += a[i * K + j] * (a[i * K + j].value == 0 ? V(0) : x[j]);
      y[i] = sum;
    }
  }

  // The map that applies `first`, then this one.
  PARATIME_DEVICE Affine after(const Affine& first) const {
    Affine f;
    apply(first.b, f.b);
    product<false>(a, first.a, f.a);
    return f;
  }

  // x y, or x^T y.
  template <bool transposed>
  static PARATIME_DEVICE void product(const V* x, const V* y, V* result) {
#pragma unroll
    for (int i = 0; i < K; ++i)
#pragma unroll
      for (int j = 0; j < K; ++j) {
        V sum = x[transposed ? i : i * K] * y[j];
#pragma unroll
        for (int l = 1; l < K; ++l) sum += x[transposed ? l * K + i : i * K + l] * y[l * K + j];
        result[i * K + j] = sum;
      }
  }

  // Cut the slopes; a NaN becomes finite, too.
  PARATIME_DEVICE void limit() {
#pragma unroll
    for (int i = 0; i < K * K; ++i) a[i] = limited(a[i].value);
  }
  static PARATIME_DEVICE float limited(float x) {
    return fminf(fmaxf(x, -kSteepest<float>), kSteepest<float>);
  }
  static PARATIME_DEVICE double limited(double x) {
    return fmin(fmax(x, -kSteepest<double>), kSteepest<double>);
  }

  PARATIME_DEVICE bool is_tame() const { return all_tame<K * K>(a) && all_tame<K>(b); }

  // The map of the thread `distance` lanes below.
  PARATIME_DEVICE Affine from_below(int distance) const {
    Affine f;
#pragma unroll
    for (int i = 0; i < K * K; ++i)
      f.a[i] = __shfl_up_sync(kAllLanes, a[i].value, distance);
#pragma unroll
    for (int i = 0; i < K; ++i) f.b[i] = __shfl_up_sync(kAllLanes, b[i].value, distance);
    return f;
  }

  // Write to, and read from, rows of shared memory `stride` apart.
  template <class T>
  PARATIME_DEVICE void store(const Shared<T>& to, int first, int stride) const {
#pragma unroll
    for (int i = 0; i < K * K; ++i) to.store(first + i * stride, a[i].value);
#pragma unroll
    for (int i = 0; i < K; ++i) to.store(first + (K * K + i) * stride, b[i].value);
  }
  template <class T>
  static PARATIME_DEVICE Affine load(const Shared<T>& from, int first, int stride) {
    Affine f;
#pragma unroll
    for (int i = 0; i < K * K; ++i) f.a[i] = from.load(first + i * stride);
#pragma unroll
    for (int i = 0; i < K; ++i) f.b[i] = from.load(first + (K * K + i) * stride);
    return f;
  }
};

// The composition of the maps of all of the warp's segments before this thread's, by doubling
// (Hillis and Steele); `total` becomes that of all segments up to and with this thread's.
// limited: cut the slopes after every product.
template <bool limited, class V, int K>
PARATIME_DEVICE Affine<V, K> compose_before(const Place& place, Affine<V, K>& total) {
  for (int near = 1; near < place.segments; near *= 2) {
    const Affine<V, K> earlier = total.from_below(near * place.lanes);
    if (place.inner >= near) total = total.after(earlier);
    if (limited) total.limit();
  }
  const Affine<V, K> before = total.from_below(place.lanes);
  return place.inner == 0 ? Affine<V, K>::identity() : before;
}

}  // namespace paratime
