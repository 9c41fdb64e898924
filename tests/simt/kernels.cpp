// The CUDA kernels in a program of their own, for sanitizers and counters: see test_kernels.py.
//
// Arguments: a kernel, then B, T, C, the logarithm of the lanes, threads, seed, resident blocks.
// Every tensor is a piece of the heap of just its size. What a parallel kernel writes is compared
// with what the sequential one does.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "interface.h"
#include "linear.h"

PARATIME_RECURRENCE(gru1, Gru<1>, float32, float)
PARATIME_RECURRENCE(lstm1, Lstm<1>, float32, float)

// A counter of accesses, where the program is linked with one.
extern "C" __attribute__((weak)) void watch(const char* name, const void* begin, size_t bytes);
extern "C" __attribute__((weak)) void count_from_here();
extern "C" __attribute__((weak)) void report_counts(const char* kernel);

namespace {

using Floats = std::vector<float>;

struct Tensors {
  int64_t batch, steps, channels, lanes_log2, threads;
  Floats weight, h0, u, y, memory, last, g, d_u, d_h0;
  std::vector<uint8_t> reset;
};

Floats random(int64_t n, float scale) {
  static uint32_t bits = 1;
  Floats x(n);
  for (float& value : x) {
    bits = bits * 1664525 + 1013904223;
    value = scale * (float(bits >> 8) / float(1 << 23) - 1);
  }
  return x;
}

template <class Cell>
Tensors problem(int64_t batch, int64_t steps, int64_t channels, int64_t lanes_log2, int64_t threads) {
  constexpr int outputs = Cell::state - Cell::memory;
  const int64_t all = batch * steps * channels, sequences = batch * channels;
  Tensors x{batch,
            steps,
            channels,
            lanes_log2,
            threads,
            random(Cell::weights * channels, 1),
            random(sequences * Cell::state, 1),
            random(all * Cell::drives, 2),
            Floats(all * outputs),
            Floats(all * Cell::memory),
            Floats(sequences * Cell::state),
            random(all * outputs, 1),
            Floats(all * Cell::drives),
            Floats(sequences * Cell::state),
            std::vector<uint8_t>(batch * steps)};
  for (int64_t i = 0; i < batch * steps; i += 37) x.reset[i] = 1;
  if (watch) {
    watch("u", x.u.data(), 4 * x.u.size());
    watch("y", x.y.data(), 4 * x.y.size());
    watch("memory", x.memory.data(), 4 * x.memory.size());
    watch("g", x.g.data(), 4 * x.g.size());
    watch("d_u", x.d_u.data(), 4 * x.d_u.size());
  }
  return x;
}

// A launch that fails ends the program; counts are those of launches alone.
template <class Launch>
void run(const char* kernel, const Launch& launch) {
  if (count_from_here) count_from_here();
  const int code = launch();
  if (report_counts) report_counts(kernel);
  if (code) printf("%s\n", paratime_simt_error()), exit(code & 0xff);
}

#define PROBLEM(x)                                                                            \
  x.batch, x.steps, x.channels, x.u.data(), x.weight.data(), x.h0.data(), x.reset.data(), nullptr

void compare(const char* what, const Floats& found, const Floats& truth) {
  for (size_t i = 0; i < truth.size(); ++i)
    if (!(std::fabs(found[i] - truth[i]) <= 1e-4f * (1 + std::fabs(truth[i])))) {
      printf("wrong: %s[%zu] is %g instead of %g\n", what, i, double(found[i]), double(truth[i]));
      exit(2);
    }
}

// The kernels of a recurrence under one name each.
#define KERNEL(name, part) paratime::name##_float32::paratime_##name##_##part##_float32
#define KERNELS(name)                                               \
  struct name {                                                     \
    static constexpr auto forward = KERNEL(name, forward_sequential);   \
    static constexpr auto backward = KERNEL(name, backward_sequential); \
    static constexpr auto newton = KERNEL(name, forward_newton);        \
    static constexpr auto scan = KERNEL(name, backward_scan);           \
    static constexpr auto tile = KERNEL(name, tile);                    \
  };
KERNELS(gru1)
KERNELS(lstm1)

template <class Kernels>
void forward(Tensors& x) {
  run("forward_sequential", [&] {
    return Kernels::forward(PROBLEM(x), x.y.data(), x.y.size() / x.batch, x.memory.data(),
                            x.last.data(), nullptr);
  });
}

template <class Kernels>
void newton(Tensors& x) {
  std::vector<int> report(2);
  run("forward_newton", [&] {
    return Kernels::newton(PROBLEM(x), x.y.data(), x.y.size() / x.batch, x.memory.data(),
                           x.last.data(), 1e-5, report.data(), x.lanes_log2, x.threads, nullptr);
  });
  const Floats y = x.y, memory = x.memory, last = x.last;
  forward<Kernels>(x);
  compare("y", y, x.y);
  compare("memory", memory, x.memory);
  compare("last", last, x.last);
}

template <class Kernels>
void backward(Tensors& x) {
  forward<Kernels>(x);
  Floats parts(x.batch * x.weight.size());
  run("backward_sequential", [&] {
    return Kernels::backward(PROBLEM(x), x.y.data(), x.memory.data(), x.g.data(), nullptr,
                             x.d_u.data(), parts.data(), x.d_h0.data(), nullptr);
  });
}

struct Chained {
  int64_t tiles;
  std::vector<int> told;
  Floats maps;

  Chained(const Tensors& x, int64_t tile, int K)
      : tiles((x.steps + tile - 1) / tile),
        told(1 + sequences(x) * tiles),
        maps(sequences(x) * tiles * (K * K + 2 * K) * 32) {}
  static int64_t sequences(const Tensors& x) {
    return paratime::groups_of(x.batch, x.channels, int(x.lanes_log2));
  }
};

template <class Kernels, int K>
void backward_scan(Tensors& x) {
  forward<Kernels>(x);
  Chained chain(x, Kernels::tile(x.lanes_log2), K);
  if (watch) watch("maps", chain.maps.data(), 4 * chain.maps.size());
  Floats parts(x.batch * chain.tiles * x.weight.size());
  run("backward_scan", [&] {
    return Kernels::scan(PROBLEM(x), x.y.data(), x.memory.data(), x.g.data(), nullptr,
                         x.d_u.data(), parts.data(), x.d_h0.data(), chain.tiles,
                         chain.told.data(), chain.maps.data(), x.lanes_log2, nullptr);
  });
  const Floats d_u = x.d_u, d_h0 = x.d_h0;
  backward<Kernels>(x);
  compare("d_u", d_u, x.d_u);
  compare("d_h0", d_h0, x.d_h0);
}

void scan(Tensors& x) {
  using Source = paratime::Linear<1, float>;
  using Tile = paratime::LookBackTile<Source>;
  const Floats slopes = random(x.y.size(), 1);
  const Source source{x.batch, x.steps, x.channels, false, slopes.data(), x.g.data(), x.h0.data(),
                      x.y.data()};
  Chained chain(x, Tile::steps(Tile::threads(), int(x.lanes_log2)), 1);
  run("scan", [&] {
    return paratime::launch_scan(source, x.batch, x.channels, chain.tiles, chain.told.data(),
                                 chain.maps.data(), int(x.lanes_log2), nullptr);
  });
  Floats h = x.g;
  for (size_t i = 0; i < h.size(); ++i) {
    const size_t row = x.steps * x.channels, c = i % x.channels;
    const bool first = i % row < size_t(x.channels);
    h[i] += slopes[i] * (first ? x.h0[i / row * x.channels + c] : h[i - x.channels]);
  }
  compare("h", x.y, h);
}

using Run = void (*)(Tensors&);

const std::map<std::string, Run> of_gru = {{"gru1_forward_sequential", forward<gru1>},
                                           {"gru1_backward_sequential", backward<gru1>},
                                           {"gru1_forward_newton", newton<gru1>},
                                           {"gru1_backward_scan", backward_scan<gru1, 1>},
                                           {"scan1", scan}};
const std::map<std::string, Run> of_lstm = {{"lstm1_forward_sequential", forward<lstm1>},
                                            {"lstm1_backward_sequential", backward<lstm1>},
                                            {"lstm1_forward_newton", newton<lstm1>},
                                            {"lstm1_backward_scan", backward_scan<lstm1, 2>}};

}  // namespace

int main(int, char** arguments) {
  const std::string name = arguments[1];
  int64_t n[7];
  for (int i = 0; i < 7; ++i) n[i] = atoll(arguments[2 + i]);
  paratime_simt_schedule(uint64_t(n[5]), int32_t(n[6]));
  const bool lstm = of_lstm.count(name) > 0;
  Tensors x = (lstm ? problem<paratime::Lstm<1>> : problem<paratime::Gru<1>>)(n[0], n[1], n[2],
                                                                             n[3], n[4]);
  (lstm ? of_lstm : of_gru).at(name)(x);
}
