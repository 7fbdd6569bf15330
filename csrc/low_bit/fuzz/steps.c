/* Random steps between layers: pointwise.c against plain loops, bit for bit, on buffers of exactly their size.
 *
 *     steps SEED STEPS
 *
 * At the first difference the step is printed, and the status is 1; see fuzz.c.
 */
#define _POSIX_C_SOURCE 200112L
#include <math.h>
#include <string.h>

#include "../pointwise.h"
#include "draws.h"

void modicum_low_bit_pointwise(const low_bit_pointwise *p);
void modicum_low_bit_pool_codes(const low_bit_pool *shape, const uint8_t *x, uint8_t *out);
void modicum_low_bit_pool_numbers(const low_bit_pool *shape, const float *x, float *out);

#define MOST_CHANNELS 1300 /* more than two chunks */
#define MOST_NUMBERS 20000

static float *floats(int64_t count, float range) {
    float *to = block(count * (int64_t)sizeof(float));
    for (int64_t i = 0; i < count; ++i) {
        to[i] = one_in(50) ? 0.0f : one_in(50) ? real(1e30f) : real(range);
    }
    return to;
}

static float act(const low_bit_pointwise *p, float v) {
    return p->act == 0 || v > 0.0f ? v : p->act == 1 ? 0.0f : v * p->slope;
}

/* Whether one random pass gives what one number after the other gives. */
static int pass_agrees(void) {
    low_bit_pointwise p = {.channels = one_in(20) ? 0 : draw(1, one_in(4) ? MOST_CHANNELS : 40)};
    p.pixels = one_in(20) ? 0 : draw(1, p.channels ? 1 + MOST_NUMBERS / p.channels / (one_in(4) ? 1 : 50) : 9);
    p.act = (int32_t)draw(0, 2);
    p.top = (1 << draw(1, 8)) - 1;
    p.low = one_in(2) ? 0 : -(p.top / 2) - 1;
    p.top = p.low < 0 ? p.top / 2 : p.top;
    p.slope = real(1.0f);
    p.inverse = one_in(10) ? real(1e10f) : real(4.0f);
    const int64_t total = p.pixels * p.channels, size = total * (int64_t)sizeof(float);
    float *x = floats(total, 30.0f), *y = one_in(2) ? floats(total, 30.0f) : NULL;
    float *scale = one_in(2) ? floats(p.channels, 3.0f) : NULL, *shift = scale ? floats(p.channels, 30.0f) : NULL;
    float *numbers = one_in(2) ? block(size) : NULL;
    uint8_t *codes = !numbers || one_in(2) ? block(total) : NULL;
    p.x = x, p.y = y, p.scale = scale, p.shift = shift, p.numbers = numbers, p.codes = codes;
    modicum_low_bit_pointwise(&p);
    int agrees = 1;
    for (int64_t i = 0; i < total && agrees; ++i) {
        float v = x[i];
        if (scale != NULL) {
            v = v * scale[i % p.channels];
            v = v + shift[i % p.channels];
        }
        v = act(&p, y ? v + y[i] : v);
        agrees = numbers == NULL || memcmp(&v, numbers + i, sizeof v) == 0;
        if (codes != NULL) {
            const float q = fminf(fmaxf(rintf(v * p.inverse), (float)p.low), (float)p.top);
            agrees = agrees && codes[i] == (uint8_t)(int32_t)q;
        }
    }
    free(x), free(y), free(scale), free(shift), free(numbers), free(codes);
    return agrees;
}

/* The most of one channel of a picture x in a window; 0 where that sees nothing. */
static float window(const low_bit_pool *s, const float *x, int64_t row, int64_t column, int64_t channel) {
    float most = 0.0f;
    int seen = 0;
    for (int64_t tap = 0; tap < s->kernel_h * s->kernel_w; ++tap) {
        const int64_t y = row * s->stride_h - s->pad_h + tap / s->kernel_w * s->dilation_h;
        const int64_t z = column * s->stride_w - s->pad_w + tap % s->kernel_w * s->dilation_w;
        if (y >= 0 && y < s->height && z >= 0 && z < s->width) {
            const float value = x[(y * s->width + z) * s->channels + channel];
            most = !seen || value > most ? value : most;
            seen = 1;
        }
    }
    return most;
}

static int pool_agrees(void) {
    low_bit_pool s;
    do {
        s.batch = one_in(30) ? 0 : draw(1, 3);
        draw_side(&s.height, &s.kernel_h, &s.stride_h, &s.pad_h, &s.dilation_h, &s.out_height);
        draw_side(&s.width, &s.kernel_w, &s.stride_w, &s.pad_w, &s.dilation_w, &s.out_width);
        s.channels = one_in(30) ? 0 : draw(1, one_in(8) ? 200 : 20);
    } while ((double)s.batch * (double)s.out_height * (double)s.out_width * (double)(s.channels + 1) > MOST_NUMBERS);
    const int64_t inputs = s.batch * s.height * s.width * s.channels;
    const int64_t picture = s.height * s.width * s.channels, each = s.out_height * s.out_width * s.channels;
    uint8_t *x = block(inputs), *out = block(s.batch * each);
    float *numbers = block(inputs * (int64_t)sizeof(float)), *found = block(s.batch * each * (int64_t)sizeof(float));
    for (int64_t i = 0; i < inputs; ++i) {
        x[i] = (uint8_t)draw(0, 255);
        numbers[i] = (float)x[i];
    }
    modicum_low_bit_pool_codes(&s, x, out);
    modicum_low_bit_pool_numbers(&s, numbers, found);
    int agrees = 1;
    for (int64_t i = 0; i < s.batch * each && agrees; ++i) {
        const int64_t pixel = i % each / s.channels;
        const float most = window(&s, numbers + i / each * picture, pixel / s.out_width, pixel % s.out_width, i % s.channels);
        agrees = (float)out[i] == most && found[i] == most;
    }
    free(x), free(out), free(numbers), free(found);
    return agrees;
}

int main(int count, char **argument) {
    if (count != 3) {
        fprintf(stderr, "usage: steps SEED STEPS\n");
        return 2;
    }
    const uint64_t seed = strtoull(argument[1], NULL, 10);
    const int64_t steps = strtoll(argument[2], NULL, 10);
    int64_t pools = 0;
    for (int64_t number = 0; number < steps; ++number) {
        seed_number(seed, number);
        const int pool = one_in(2);
        if (!(pool ? pool_agrees() : pass_agrees())) {
            fprintf(stderr, "steps: %s differs, seed %" PRIu64 " step %" PRId64 "\n", pool ? "pool" : "pass", seed, number);
            _Exit(1); /* what is not freed is no news then */
        }
        pools += pool;
    }
    printf("%" PRId64 " steps, seed %" PRIu64 ", pass %" PRId64 ", pool %" PRId64 "\n", steps, seed, steps - pools, pools);
    return 0;
}
