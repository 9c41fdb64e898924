// The next token of a sequence, drawn from its logits: what paratime/language/generation/sampling.py says, in
// the same order and in float64, without a tensor for every intermediate result.
#pragma once

#include <cmath>
#include <vector>

#include "tiles.h"

namespace paratime {

struct Filters {
  double penalty, temperature, top_p, min_p;  // 1, any, 1 and 0 for none
  int64_t top_k;                              // the vocabulary for none
};

// How often each of `vocabulary` tokens occurred (vocabulary + 1,), and the last `window` tokens in
// a ring; tokens that are not there yet are `vocabulary`. Both may be null.
struct Occurred {
  int64_t* counts;
  int64_t* ring;
  int64_t window;

  void add(int64_t token, int64_t turn) const {
    if (!counts) return;
    ++counts[token];
    if (!ring) return;
    int64_t& oldest = ring[turn % window];
    --counts[oldest];
    oldest = token;
  }
};

class Draw {
 public:
  // Return a token, or -1 if a logit is infinite or NaN, perhaps by a penalty that is all but 0.
  template <class Element>
  int64_t operator()(const Element* logits, int64_t vocabulary, const Filters& filters,
                     const int64_t* counts, double uniform) {
    p_.assign(logits, logits + vocabulary);
    if (filters.penalty != 1)
      for (int64_t v = 0; v < vocabulary; ++v)
        if (counts[v] > 0) p_[v] = p_[v] > 0 ? p_[v] / filters.penalty : p_[v] * filters.penalty;
    double odd = 0;
    for (const double x : p_) odd += x - x;
    if (odd != 0) return -1;
    const auto most = std::max_element(p_.begin(), p_.end());
    if (filters.temperature == 0) return most - p_.begin();
    const double highest = *most;
    for (double& x : p_) x = (x - highest) / filters.temperature;
    keep_likeliest(filters.top_k);
    exponentiate();
    if (filters.top_p < 1) keep_nucleus(filters.top_p);
    for (double& x : p_) x = x < filters.min_p ? 0 : x;  // the most likely one has 1
    return pick(uniform);
  }

 private:
  void keep_likeliest(int64_t k) {
    if (k >= int64_t(p_.size())) return;
    sorted_ = p_;
    std::nth_element(sorted_.begin(), sorted_.begin() + k - 1, sorted_.end(), std::greater<>());
    const double least = sorted_[k - 1];
    for (double& x : p_) x = x < least ? -INFINITY : x;
  }

  void exponentiate() {
    Tile{0, int64_t(p_.size())}.for_each_vector<double>([&](Span s) {
      store(p_.data() + s.lane, paratime::exp(load(p_.data() + s.lane, s.n)), s.n);
    });
  }

  void keep_nucleus(double share) {
    order_.resize(p_.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(), [&](auto a, auto b) { return p_[a] > p_[b]; });
    const double enough = share * std::accumulate(p_.begin(), p_.end(), 0.0);
    double more_likely = 0;
    for (const int64_t v : order_) {
      const double p = p_[v];
      if (more_likely >= enough) p_[v] = 0;
      more_likely += p;
    }
  }

  int64_t pick(double uniform) {
    std::partial_sum(p_.begin(), p_.end(), p_.begin());
    const auto found = std::upper_bound(p_.begin(), p_.end(), uniform * p_.back());
    return found - p_.begin();
  }

  std::vector<double> p_, sorted_;
  std::vector<int64_t> order_;
};

}  // namespace paratime
