// Attention of some tokens over the keys and values that are held of their rows.

#pragma once

#include <type_traits>

#include "native_product.h"

extern "C" {

struct Layer {
    Matrix qkv, out, up_gate, down;
    const float* qk_gain;  // (H + H', D) or null
    float* keys;           // (slots, H', L / 16, D, 16)
    float* values;         // (slots, H', L, D)
};

struct Model {
    const Layer* layers;
    const float* rotations;  // (positions, D / 2, 2): cosine, sine
    int64_t num_layers, dim, heads, kv_heads, dim_head, hidden, positions;
    float eps;
};

// B tokens and memory for them.
struct Step {
    const int64_t* positions;  // (B,)
    const int64_t* slots;      // (B,): where the keys and values of a token's row lie
    float* x;                  // (B, dim): embeddings in, final unit vectors out
    float* scratch;            // `scratch_floats`
    int64_t rows, threads;
};
}

namespace {

constexpr int WIDEST = 256;  // head
constexpr int CHUNK = 128;   // keys that one thread attends to at a time

// Gain of the QK norm, if any, then the rotation by the position; `factor` scales what comes out.
void rotate(const float* head, const float* gain, const float* rotations, int64_t width, float eps,
          float factor, float* out) {
    std::memcpy(out, head, width * sizeof(float));
    if (gain) {
        unit(head, width, eps, out);
        for (int64_t d = 0; d < width; ++d) out[d] *= gain[d];
    }
    for (int64_t d = 0; d < width; d += 2) {
        const float x = out[d], y = out[d + 1], cosine = rotations[d], sine = rotations[d + 1];
        out[d] = (x * cosine - y * sine) * factor;
        out[d + 1] = (x * sine + y * cosine) * factor;
    }
}

// A sum waits some cycles for its last part, and two parts are begun in each: of one query, blocks of
// keys and vectors of values are taken together, so that enough sums are under way at once.
template <int G>
constexpr int SIDE_BY_SIDE = G == 1 ? std::clamp(REGISTERS / 4 / PARTS, 1, 4) : 1;
template <int G>
constexpr int MOST_VALUES = std::min(LANES == 8 ? 8 : 4, REGISTERS / 2 / G);

// Scores of K blocks of 16 keys, (K, D, 16), for G queries, (G, D); products of even and odd places
// are summed apart.
template <int G, int K>
void scores_of(const float* queries, const float* keys, int64_t width, float* scores) {
    // Vectors of a block at once: all, unless so many sums have no room.
    constexpr int V = std::min(PARTS, std::max(1, REGISTERS / 4 / G));
    for (int n = 0; n < BLOCK; n += V * LANES) {
        Floats sums[2][K][G][V] = {};
        for (int64_t d = 0; d < width; d += 2)
#pragma GCC unroll 8
            for (int i = 0; i < 2; ++i)
#pragma GCC unroll 8
                for (int k = 0; k < K; ++k)
#pragma GCC unroll 8
                    for (int g = 0; g < G; ++g)
#pragma GCC unroll 8
                        for (int v = 0; v < V; ++v)
                            sums[i][k][g][v] += load(keys + (k * width + d + i) * BLOCK + n + v * LANES) *
                                                queries[g * width + d + i];
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k)
#pragma GCC unroll 8
            for (int g = 0; g < G; ++g)
#pragma GCC unroll 8
                for (int v = 0; v < V; ++v)
                    store(scores + g * CHUNK + k * BLOCK + n + v * LANES, sums[0][k][g][v] + sums[1][k][g][v]);
    }
}

// G sums of values, V vectors of them, weighted; `next` is fetched meanwhile.
template <int G, int V>
void weighted(const float* values, const float* weights, int64_t count, int64_t width, const float* next,
              float* results, int64_t stride) {
    Floats sums[G][V] = {};
    for (int64_t slot = 0; slot < count; ++slot, values += width, next += width) {
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            if (v * LANES % LINE == 0) __builtin_prefetch(next + v * LANES);
            const Floats value = load(values + v * LANES);
#pragma GCC unroll 8
            for (int g = 0; g < G; ++g) sums[g][v] += value * weights[g * CHUNK + slot];
        }
    }
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g)
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) store(results + g * stride + v * LANES, sums[g][v]);
}

struct Attention {
    const Model& model;
    const Layer& layer;
    const Step& step;
    const float* qkv;  // (B, (H + 2 H') D)
    float* out;        // (B, H D)
    float* parts;      // (B, H', chunks, H / H', 2 + D): largest score, sum, weighted values
    int64_t chunks;

    int64_t groups() const { return model.heads / model.kv_heads; }
    int64_t chunks_of(int64_t row) const { return step.positions[row] / CHUNK + 1; }
    float* part(int64_t row, int64_t head, int64_t chunk) const {
        return parts + ((row * model.kv_heads + head) * chunks + chunk) * groups() * (2 + model.dim_head);
    }

    int64_t held(int64_t row, int64_t head) const {
        return (step.slots[row] * model.kv_heads + head) * model.positions * model.dim_head;
    }

    void write(int64_t row, int64_t head) const {
        const int64_t width = model.dim_head, position = step.positions[row];
        float *keys = layer.keys + held(row, head), *values = layer.values + held(row, head);
        const float* from = qkv + row * (model.heads + 2 * model.kv_heads) * width;
        const float* gain = layer.qk_gain ? layer.qk_gain + (model.heads + head) * width : nullptr;
        const float* rotations = model.rotations + position * width;
        float key[WIDEST];
        rotate(from + (model.heads + head) * width, gain, rotations, width, model.eps, 1, key);
        float* slot = keys + position / BLOCK * width * BLOCK + position % BLOCK;
        for (int64_t d = 0; d < width; ++d) slot[d * BLOCK] = key[d];
        std::memcpy(values + position * width, from + (model.heads + model.kv_heads + head) * width,
                    width * sizeof(float));
    }

    // The keys of one chunk, for the query heads of one key head of one row.
    void attend(int64_t row, int64_t head, int64_t chunk) const {
        int64_t group = 0;
        for (; group + 4 <= groups(); group += 4) attend_with<4>(row, head, chunk, group);
        for (; group + 2 <= groups(); group += 2) attend_with<2>(row, head, chunk, group);
        for (; group < groups(); ++group) attend_with<1>(row, head, chunk, group);
    }

    // G of those query heads, from `group` on.
    template <int G>
    void attend_with(int64_t row, int64_t head, int64_t chunk, int64_t group) const {
        const int64_t width = model.dim_head, position = step.positions[row], stride = 2 + width;
        const int64_t first = chunk * CHUNK, last = std::min<int64_t>(first + CHUNK, position + 1);
        const float* keys = layer.keys + held(row, head) + first * width;
        const float* values = layer.values + held(row, head) + first * width;
        float queries[G * WIDEST], scores[G * CHUNK];
        for (int g = 0; g < G; ++g) {
            const int64_t which = head * groups() + group + g;
            const float* gain = layer.qk_gain ? layer.qk_gain + which * width : nullptr;
            rotate(qkv + (row * (model.heads + 2 * model.kv_heads) + which) * width, gain,
                 model.rotations + position * width, width, model.eps, 1 / std::sqrt(float(width)),
                 queries + g * width);
        }
        const auto score = [&](int64_t slot, auto blocks) {
            constexpr int K = decltype(blocks)::value;
            for (int64_t line = 0; line < K * width; ++line)
                __builtin_prefetch(values + slot * width + line * LINE);
            scores_of<G, K>(queries, keys + slot * width, width, scores + slot);
        };
        constexpr int K = SIDE_BY_SIDE<G>;
        int64_t slot = 0;
        for (; slot + (K - 1) * BLOCK < last - first; slot += K * BLOCK)
            score(slot, std::integral_constant<int, K>());
        for (; slot < last - first; slot += BLOCK) score(slot, std::integral_constant<int, 1>());
        float* result = part(row, head, chunk) + group * stride;
        for (int g = 0; g < G; ++g) soften(scores + g * CHUNK, last - first, result + g * stride);
        const float* next = keys + (last - first) * width;
        int64_t d = 0;
        const auto weigh = [&](auto vectors) {
            constexpr int V = decltype(vectors)::value;
            for (; d + V * LANES <= width; d += V * LANES)
                weighted<G, V>(values + d, scores, last - first, width, next + d, result + 2 + d, stride);
        };
        weigh(std::integral_constant<int, MOST_VALUES<G>>());
        weigh(std::integral_constant<int, std::min(4, MOST_VALUES<G>)>());
        weigh(std::integral_constant<int, 1>());
    }

    // Scores become weights relative to the largest, which comes to lie before their sum.
    static void soften(float* scores, int64_t count, float* largest_and_sum) {
        std::fill(scores + count, scores + (count + BLOCK - 1) / BLOCK * BLOCK, -INFINITY);
        Floats most[PARTS], sum[PARTS] = {};
        for (int p = 0; p < PARTS; ++p) most[p] = load(scores + p * LANES);
        for (int64_t slot = BLOCK; slot < count; slot += BLOCK)
            for (int p = 0; p < PARTS; ++p) {
                const Floats score = load(scores + slot + p * LANES);
                most[p] = score > most[p] ? score : most[p];
            }
        const float largest = highest(most);
        for (int64_t slot = 0; slot < count; slot += BLOCK)
            for (int p = 0; p < PARTS; ++p) {
                const Floats weight = exponential(load(scores + slot + p * LANES) - largest);
                store(scores + slot + p * LANES, weight);
                sum[p] += weight;
            }
        largest_and_sum[0] = largest;
        largest_and_sum[1] = total(sum);
    }

    void join(int64_t row, int64_t head) const {
        const int64_t width = model.dim_head, size = groups() * (2 + width);
        for (int64_t group = 0; group < groups(); ++group) {
            const float* first = part(row, head, 0) + group * (2 + width);
            float most = first[0], sum = 0;
            for (int64_t c = 1; c < chunks_of(row); ++c) most = std::max(most, first[c * size]);
            float* result = out + (row * model.heads + head * groups() + group) * width;
            std::fill(result, result + width, 0.0f);
            for (int64_t c = 0; c < chunks_of(row); ++c) {
                const float* from = first + c * size;
                const float weight = std::exp(from[0] - most);
                sum += weight * from[1];
                for (int64_t d = 0; d < width; ++d) result[d] += weight * from[2 + d];
            }
            for (int64_t d = 0; d < width; ++d) result[d] /= sum;
        }
    }
};

}  // namespace
