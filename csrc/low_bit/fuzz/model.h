/* What carries let through give, addition by addition and bit by bit of paper: no word is ever added. */
#ifndef MODICUM_LOW_BIT_MODEL_H
#define MODICUM_LOW_BIT_MODEL_H

#include "../finish.h"

/* lanes + word: a carry goes to the next lane, that of the last is dropped. */
static void model_add(uint8_t *lane, const uint8_t *word, int lanes) {
    int carry = 0;
    for (int l = 0; l < lanes; ++l) {
        const int sum = lane[l] + word[l] + carry;
        lane[l] = (uint8_t)(sum % 256);
        carry = sum / 256;
    }
}

static int32_t model_sum(const low_bit_shape *s, const uint8_t *x, const int8_t *w, int64_t row, int64_t column, int64_t o,
                         int lanes) {
    const int64_t in = s->channels / s->groups, group = o / (s->out_channels / s->groups);
    uint8_t lane[8] = {0};
    int32_t sum = 0;
    for (int64_t tap = 0; tap < s->kernel_h * s->kernel_w; ++tap) {
        const int64_t i = row % s->out_height * s->stride_h + tap / s->kernel_w * s->dilation_h - s->pad_h;
        const int64_t j = column * s->stride_w + tap % s->kernel_w * s->dilation_w - s->pad_w;
        if (i < 0 || i >= s->height || j < 0 || j >= s->width) {
            continue;
        }
        const uint8_t *pixel = x + ((row / s->out_height * s->height + i) * s->width + j) * s->channels + group * in;
        for (int64_t c = 0; c < in; c += lanes) {
            uint8_t word[8] = {0};
            for (int l = 0; l < lanes && c + l < in; ++l) {
                const int weight = w[(o * s->kernel_h * s->kernel_w + tap) * in + c + l];
                word[l] = (uint8_t)(weight * pixel[c + l] & 255);
            }
            model_add(lane, word, lanes);
        }
    }
    for (int l = 0; l < lanes; ++l) {
        sum += lane[l];
    }
    return sum;
}

static void model_carry(const low_bit_shape *s, int lanes, const uint8_t *x, const int8_t *w, int64_t first, int64_t last,
                        const low_bit_finish *finish, void *out) {
    for (int64_t at = first * s->out_width * s->out_channels; at < last * s->out_width * s->out_channels; ++at) {
        const int64_t o = at % s->out_channels, column = at / s->out_channels % s->out_width;
        low_bit_finish one = *finish;
        const int32_t sum = model_sum(s, x, w, at / s->out_channels / s->out_width, column, o, lanes);
        one.unit = finish->unit + o;
        one.scale = finish->scale + o;
        one.shift = finish->shift + o;
        low_bit_finish_row(&one, &sum, 1, at, out);
    }
}

#endif
