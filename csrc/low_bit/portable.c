/* Any shape, any weights, any bits, in plain C: what runs where nothing faster does, and what the others are tested against.
 *
 * Weights lie as int16 (group, tap, channel, output channel of the group), so that the inner loop goes over neighbours in
 * memory; four channels are taken at once, so that a sum is loaded and stored for four products. Sums of b <= 16 bits are
 * made modulo 2^16, which SSE2 and the like multiply eight at a time; others in 32 bits.
 */
#include <string.h>

#include "finish.h"

LOW_BIT_FINISH(finish_16, int16_t)

#define TAKEN 4

static int runs_here(void) { return 1; }

static int supports(const low_bit_shape *shape, int weights, int bits, int wide) {
    (void)shape, (void)weights, (void)bits, (void)wide;
    return 1;
}

static int64_t packed_bytes(const low_bit_shape *s, int weights, int wide) {
    (void)weights, (void)wide;
    return s->kernel_h * s->kernel_w * (s->channels / s->groups) * s->out_channels * (int64_t)sizeof(int16_t);
}

static void pack(const low_bit_shape *s, int weights, int wide, const int8_t *from, void *to) {
    int64_t taps = s->kernel_h * s->kernel_w, depth = s->channels / s->groups, outs = s->out_channels / s->groups;
    int16_t *packed = to;
    (void)weights, (void)wide;
    for (int64_t o = 0; o < s->out_channels; ++o) {
        int16_t *group = packed + o / outs * taps * depth * outs + o % outs;
        for (int64_t i = 0; i < taps * depth; ++i) {
            group[i * outs] = from[o * taps * depth + i];
        }
    }
}

static int64_t scratch_bytes(const low_bit_shape *s, int weights, int wide, int64_t rows) {
    (void)weights, (void)wide, (void)rows;
    return s->out_channels * (int64_t)sizeof(int32_t);
}

/* sum[o] += sum over channels c < depth of x[c] w[c][o]; codes read as signed where `sign` is 128. */
#define ADD_PIXEL(NAME, LANE, PRODUCT)                                                                                 \
    static INLINE void NAME(LANE *sum, const uint8_t *x, int sign, int64_t depth, const int16_t *w, int64_t outs) {    \
        int64_t c = 0;                                                                                                 \
        for (; c + TAKEN <= depth; c += TAKEN, w += TAKEN * outs) {                                                    \
            PRODUCT a[TAKEN];                                                                                          \
            for (int i = 0; i < TAKEN; ++i) {                                                                          \
                a[i] = (PRODUCT)(int16_t)((x[c + i] ^ sign) - sign);                                                   \
            }                                                                                                          \
            for (int64_t o = 0; o < outs; ++o) {                                                                       \
                PRODUCT s = (PRODUCT)sum[o];                                                                           \
                s = (PRODUCT)(s + 1u * a[0] * (PRODUCT)w[o] + 1u * a[1] * (PRODUCT)w[outs + o]);                       \
                s = (PRODUCT)(s + 1u * a[2] * (PRODUCT)w[2 * outs + o] + 1u * a[3] * (PRODUCT)w[3 * outs + o]);        \
                sum[o] = (LANE)s;                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        for (; c < depth; ++c, w += outs) {                                                                            \
            PRODUCT a = (PRODUCT)(int16_t)((x[c] ^ sign) - sign);                                                      \
            for (int64_t o = 0; o < outs; ++o) {                                                                       \
                sum[o] = (LANE)(PRODUCT)((PRODUCT)sum[o] + 1u * a * (PRODUCT)w[o]);                                    \
            }                                                                                                          \
        }                                                                                                              \
    }
/* Unsigned, so that sums wrap without being undefined; 16-bit factors are widened by C to int, so unsigned: 1u. */
ADD_PIXEL(add_16, int16_t, uint16_t)
ADD_PIXEL(add_32, int32_t, uint32_t)

/* Sums of all output channels of the output pixel (row, column) of a picture: sum (out_channels) of int16 or int32. */
static INLINE void sum_pixel(const low_bit_shape *s, const uint8_t *picture, const int16_t *packed, int64_t row,
                             int64_t column, int sign, int narrow, void *sum) {
    int64_t depth = s->channels / s->groups, outs = s->out_channels / s->groups, tap = depth * outs;
    memset(sum, 0, (size_t)s->out_channels * (narrow ? sizeof(int16_t) : sizeof(int32_t)));
    for (int64_t ky = 0; ky < s->kernel_h; ++ky) {
        int64_t y = row * s->stride_h - s->pad_h + ky * s->dilation_h;
        if (y < 0 || y >= s->height) {
            continue;
        }
        for (int64_t kx = 0; kx < s->kernel_w; ++kx) {
            int64_t x = column * s->stride_w - s->pad_w + kx * s->dilation_w;
            if (x < 0 || x >= s->width) {
                continue;
            }
            const uint8_t *pixel = picture + (y * s->width + x) * s->channels;
            for (int64_t g = 0; g < s->groups; ++g) {
                const int16_t *w = packed + ((g * s->kernel_h + ky) * s->kernel_w + kx) * tap;
                if (narrow) {
                    add_16((int16_t *)sum + g * outs, pixel + g * depth, sign, depth, w, outs);
                } else {
                    add_32((int32_t *)sum + g * outs, pixel + g * depth, sign, depth, w, outs);
                }
            }
        }
    }
}

static void convolve(const low_bit_shape *s, int weights, int wide, const uint8_t *x, const void *packed, int64_t first,
                     int64_t last, void *scratch, const low_bit_finish *finish, void *out) {
    int narrow = finish->bits <= 16, sign = wide == LOW_BIT_SIGNED ? 128 : 0;
    low_bit_fold fold = low_bit_fold_of(finish);
    (void)weights;
    for (int64_t row = first; row < last; ++row) {
        const uint8_t *picture = x + row / s->out_height * s->height * s->width * s->channels;
        for (int64_t column = 0; column < s->out_width; ++column) {
            int64_t at = (row * s->out_width + column) * s->out_channels;
            sum_pixel(s, picture, packed, row % s->out_height, column, sign, narrow, scratch);
            if (narrow) {
                finish_16(finish, fold, scratch, 0, s->out_channels, out, at);
            } else {
                low_bit_finish_32(finish, fold, scratch, 0, s->out_channels, out, at);
            }
        }
    }
}

const low_bit_kernel low_bit_portable = {
    "portable", runs_here, supports, packed_bytes, pack, scratch_bytes, convolve,
};
