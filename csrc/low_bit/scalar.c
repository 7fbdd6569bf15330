/* One number in a register at a time: what packed numbers are compared with. Never chosen, asked for by name alone.
 *
 * "scalar" is the loop as it is written down, a product after the other. "scalar-blocked" gathers what four neighbouring
 * output pixels see and makes their sums for four output channels at once, so that eight loads serve sixteen products.
 * Both make sums in 32 bits.
 */
#include "swar.h"

#include "finish.h"

#define SIDE 4 /* of a block, output pixels by output channels */

static int runs_here(void) { return 1; }

static int supports(const low_bit_shape *s, int weights, int bits, int wide) {
    (void)s, (void)weights, (void)bits, (void)wide;
    return 1;
}

static int64_t taps_of(const low_bit_shape *s) { return s->kernel_h * s->kernel_w * (s->channels / s->groups); }

static int64_t packed_bytes(const low_bit_shape *s, int weights, int wide) {
    (void)weights, (void)wide;
    return s->out_channels * taps_of(s);
}

static void pack(const low_bit_shape *s, int weights, int wide, const int8_t *from, void *to) {
    const int64_t bytes = packed_bytes(s, weights, wide);
    if (bytes > 0) {
        memcpy(to, from, (size_t)bytes);
    }
}

static int32_t code_of(uint8_t x, int sign) { return (x ^ sign) - sign; }

/* Where the tap of an output pixel lies, or NULL: the group's first channel. */
static const uint8_t *seen(const low_bit_shape *s, const uint8_t *x, int64_t row, int64_t column, int64_t tap,
                           int64_t group) {
    const int64_t i = row % s->out_height * s->stride_h + tap / s->kernel_w * s->dilation_h - s->pad_h;
    const int64_t j = column * s->stride_w + tap % s->kernel_w * s->dilation_w - s->pad_w;
    if (i < 0 || i >= s->height || j < 0 || j >= s->width) {
        return NULL;
    }
    return x + ((row / s->out_height * s->height + i) * s->width + j) * s->channels + group * (s->channels / s->groups);
}

static int64_t scratch_plain(const low_bit_shape *s, int weights, int wide, int64_t rows) {
    (void)weights, (void)wide, (void)rows;
    return s->out_channels * (int64_t)sizeof(int32_t);
}

static void convolve_plain(const low_bit_shape *s, int weights, int wide, const uint8_t *x, const void *packed,
                           int64_t first, int64_t last, void *scratch, const low_bit_finish *finish, void *out) {
    const int64_t in = s->channels / s->groups, outs = s->out_channels / s->groups, taps = s->kernel_h * s->kernel_w;
    const int sign = wide == LOW_BIT_SIGNED ? 128 : 0;
    int32_t *sums = scratch;
    (void)weights;
    for (int64_t at = first * s->out_width; at < last * s->out_width; ++at) {
        for (int64_t o = 0; o < s->out_channels; ++o) {
            const int8_t *w = (const int8_t *)packed + o * taps * in;
            int32_t sum = 0;
            for (int64_t tap = 0; tap < taps; ++tap, w += in) {
                const uint8_t *from = seen(s, x, at / s->out_width, at % s->out_width, tap, o / outs);
                for (int64_t c = 0; from != NULL && c < in; ++c) {
                    sum += w[c] * code_of(from[c], sign);
                }
            }
            sums[o] = sum;
        }
        low_bit_finish_row(finish, sums, s->out_channels, at * s->out_channels, out);
    }
}

static int64_t scratch_blocked(const low_bit_shape *s, int weights, int wide, int64_t rows) {
    (void)weights, (void)wide, (void)rows;
    return SIDE * (s->groups * taps_of(s) + s->out_channels) * (int64_t)sizeof(int32_t);
}

/* SIDE sums of SIDE output channels: `field` has the SIDE pixels of an input beside each other; sums lie `pitch` apart. */
static INLINE void add_block(const int32_t *field, const int8_t *const w[SIDE], int64_t length, int32_t *sums, int64_t pitch,
                             int64_t outs) {
    int32_t sum[SIDE][SIDE] = {{0}};
    for (int64_t i = 0; i < length; ++i) {
        for (int k = 0; k < SIDE; ++k) {
            const int32_t weight = w[k][i];
            for (int p = 0; p < SIDE; ++p) {
                sum[k][p] += weight * field[i * SIDE + p];
            }
        }
    }
    for (int64_t k = 0; k < outs; ++k) {
        for (int p = 0; p < SIDE; ++p) {
            sums[p * pitch + k] = sum[k][p];
        }
    }
}

static void convolve_blocked(const low_bit_shape *s, int weights, int wide, const uint8_t *x, const void *packed,
                             int64_t first, int64_t last, void *scratch, const low_bit_finish *finish, void *out) {
    const int64_t in = s->channels / s->groups, outs = s->out_channels / s->groups, length = taps_of(s);
    const int sign = wide == LOW_BIT_SIGNED ? 128 : 0;
    int32_t *field = scratch, *sums = field + SIDE * s->groups * length;
    (void)weights;
    for (int64_t at = first * s->out_width, end = last * s->out_width; at < end; at += SIDE) {
        const int64_t pixels = min64(SIDE, end - at);
        for (int64_t i = 0; i < s->groups * length && in > 0; i += in) {
            for (int64_t p = 0; p < SIDE; ++p) {
                const int64_t row = (at + p) / s->out_width, column = (at + p) % s->out_width;
                const uint8_t *from = p < pixels ? seen(s, x, row, column, i % length / in, i / length) : NULL;
                for (int64_t c = 0; c < in; ++c) {
                    field[(i + c) * SIDE + p] = from == NULL ? 0 : code_of(from[c], sign);
                }
            }
        }
        for (int64_t group = 0; group < s->groups; ++group) {
            for (int64_t o = 0; o < outs; o += SIDE) {
                const int8_t *w[SIDE];
                for (int k = 0; k < SIDE; ++k) {
                    w[k] = (const int8_t *)packed + (group * outs + min64(o + k, outs - 1)) * length;
                }
                add_block(field + group * length * SIDE, w, length, sums + group * outs + o, s->out_channels,
                          min64(SIDE, outs - o));
            }
        }
        for (int64_t p = 0; p < pixels; ++p) {
            low_bit_finish_row(finish, sums + p * s->out_channels, s->out_channels, (at + p) * s->out_channels, out);
        }
    }
}

const low_bit_kernel low_bit_scalar = {"scalar", runs_here, supports, packed_bytes, pack, scratch_plain, convolve_plain};

const low_bit_kernel low_bit_scalar_blocked = {"scalar-blocked", runs_here,       supports,        packed_bytes,
                                               pack,             scratch_blocked, convolve_blocked};
