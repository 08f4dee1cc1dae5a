// Products of packed matrices with some rows, in blocks that fit the processor's registers.
//
// Each sum of a row and an output is one chain of multiply-adds, from the first place to the last.
// Blocks say which chains are taken side by side, and where one waits in memory for its next part;
// neither changes a bit of it.

#pragma once

#include "native_vectors.h"

extern "C" {

// A packed matrix (N, D): strips of 32 output rows, each (D, 32); N filled up to whole strips.
struct Matrix {
    const void* weight;
    const float* scale;  // (N,), of int8 alone
    const float* bias;   // (N,) or null
    int64_t rows, width, kind;  // kind: 0 float32, 1 bfloat16, 2 int8
};
}

namespace {

constexpr int STRIP = 2 * BLOCK;   // output rows that lie side by side in a packed matrix
constexpr int AHEAD = 64 * STRIP;  // weights that are fetched early
constexpr int DEPTH = 64;          // places whose weights stay in the nearest cache between rows
// Rows whose sums are taken together, and vectors of sums that fit beside weights and inputs.
constexpr int MOST_ROWS = LANES == 16 ? 8 : 6;
constexpr int HELD = REGISTERS * 3 / 4;

// Vectors of a strip that are taken together with R rows: all, or an even share of them.
constexpr int across(int rows) {
    int vectors = STRIP / LANES;
    while (vectors * rows > HELD) vectors /= 2;
    return vectors;
}

// Adds `depth` places of V vectors of a strip, for R rows, to the sums (R, 32) so far.
template <int R, int V, typename W>
void add_places(const W* weight, const float* x, int64_t depth, int64_t stride, bool afresh, float* sums) {
    Floats held[R][V];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) held[r][v] = afresh ? Floats{} : load(sums + r * STRIP + v * LANES);
    for (int64_t d = 0; d < depth; ++d, weight += STRIP) {
        constexpr int apart = 64 / sizeof(W);  // weights a line of memory
#pragma GCC unroll 8
        for (int n = 0; n < V * LANES; n += apart) __builtin_prefetch(weight + AHEAD + n);
        // One input at a time, so that sums, weights and it have room in registers.
        Floats wide[V];
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) wide[v] = widened(weight + v * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const Floats value = filled(x[r * stride + d]);
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) held[r][v] += wide[v] * value;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) store(sums + r * STRIP + v * LANES, held[r][v]);
}

// The same of all vectors, for as many rows as are given, at most R.
template <typename W, int R = MOST_ROWS>
void add_strip(const W* weight, const float* x, int64_t rows, int64_t depth, int64_t stride, bool afresh,
               float* sums) {
    if constexpr (R > 1) {
        if (rows < R) return add_strip<W, R - 1>(weight, x, rows, depth, stride, afresh, sums);
    }
    constexpr int V = across(R);
    for (int n = 0; n < STRIP; n += V * LANES)
        add_places<R, V>(weight + n, x, depth, stride, afresh, sums + n);
}

// Sums (rows, 32) of one strip, (D, 32).
template <typename W>
void strip_sums(const W* weight, const float* x, int64_t width, int64_t rows, float* sums) {
    // Groups of rows of one size, or one less.
    const int64_t groups = (rows + MOST_ROWS - 1) / MOST_ROWS;
    const int64_t depth = groups == 1 && across(rows) * LANES == STRIP ? width : DEPTH;
    for (int64_t d = 0; d < width; d += depth)
        for (int64_t g = 0; g < groups; ++g) {
            const int64_t row = g * rows / groups, end = (g + 1) * rows / groups;
            add_strip(weight + d * STRIP, x + row * width + d, end - row, std::min(depth, width - d), width,
                      d == 0, sums + row * STRIP);
        }
}

// Calls `use(first output row, how many, (B, 32) sums)` for this thread's strips.
template <typename Use>
void product(const Matrix& matrix, const float* x, int64_t rows, Share share, float* sums, Use use) {
    const int64_t strips = (matrix.rows + STRIP - 1) / STRIP;
    for (int64_t s = share.begin(strips); s < share.end(strips); ++s) {
        const int64_t offset = s * matrix.width * STRIP, first = s * STRIP;
        if (matrix.kind == 0) {
            strip_sums(static_cast<const float*>(matrix.weight) + offset, x, matrix.width, rows, sums);
        } else if (matrix.kind == 1) {
            strip_sums(static_cast<const uint16_t*>(matrix.weight) + offset, x, matrix.width, rows, sums);
        } else {
            strip_sums(static_cast<const int8_t*>(matrix.weight) + offset, x, matrix.width, rows, sums);
        }
        const int64_t count = std::min<int64_t>(STRIP, matrix.rows - first);
        for (int64_t row = 0; row < rows; ++row) {
            float* sum = sums + row * STRIP;
            for (int64_t n = 0; n < count; ++n) {
                if (matrix.scale) sum[n] *= matrix.scale[first + n];
                if (matrix.bias) sum[n] += matrix.bias[first + n];
            }
        }
        use(first, count, sums);
    }
}

}  // namespace
