/* Tables of sums in 64-bit words, for machines without vector instructions.
 *
 * Lanes are eight output pixels. For g input channels of the eight pixels a table holds the sums of all 2^g subsets, and one
 * load and one addition do g input channels of an output channel at eight pixels. Lane l has outputs l s, .., (l + 1) s - 1
 * of the picture's outputs in rows one after the other, so that a tap is the same step for all lanes and one table serves
 * all taps. A stride is taken apart: inputs of one remainder modulo the stride are a picture of their own.
 *
 * With S the sum of all inputs that an output sees, and N of those whose weight is -1, z = S - 2 N for binary weights: N
 * modulo 2^7, seven bits and a buffer bit in a byte, gives z modulo 2^8. Sums modulo 2^16, and ternary weights (z =
 * S - N - M, M the sum of inputs whose weight is 0 or -1), take
 * lanes of 16 bits, two words for eight pixels; four sums of at most 8 * 255, twice for ternary weights, never fill them,
 * so that only the addition to the accumulator keeps lanes apart.
 */
#include "swar_table.h"

#include "finish.h"

static int runs_here(void) { return 1; }

/* Taps that lie further apart than outputs: all inputs between them would be gone through. */
static int supports(const low_bit_shape *s, int weights, int bits, int wide) {
    return (weights == LOW_BIT_BINARY || weights == LOW_BIT_TERNARY) && bits <= (wide ? 16 : 8) &&
           wide != LOW_BIT_SIGNED &&
           (s->kernel_h - 1) * s->dilation_h / s->stride_h <= s->out_height + 16 &&
           (s->kernel_w - 1) * s->dilation_w / s->stride_w <= s->out_width + 16;
}

/* Inputs of the eight lanes at one place of a phase's picture, a word a channel; 0 where all lanes are outside. */
static int gather(const low_bit_shape *s, const plan *p, const uint8_t *x, int64_t y, int64_t phase, int64_t at,
                  uint64_t *to) {
    const uint8_t *pixel[LANES];
    int any = 0;
    for (int l = 0; l < LANES; ++l) {
        const int64_t place = l * p->segment + at;
        const int64_t row = (y + place / p->pitch) * s->stride_h + phase / s->stride_w - s->pad_h;
        const int64_t column = place % p->pitch * s->stride_w + phase % s->stride_w - s->pad_w;
        const int inside = row >= 0 && row < s->height && column >= 0 && column < s->width;
        pixel[l] = inside ? x + (row * s->width + column) * s->channels : NULL;
        any |= inside;
    }
    for (int64_t group = 0; any && group < s->groups; ++group) {
        for (int64_t c = 0; c < p->in; c += LANES, to += LANES) {
            for (int l = 0; l < LANES; ++l) {
                to[l] = pixel[l] ? load_some(pixel[l] + group * p->in + c, p->in - c) : 0;
            }
            transpose8(to);
        }
    }
    return any;
}

/* Entry i of a table: the sum of the inputs j whose bit j is set in i, of all n inputs. */
static void make_table(const uint64_t *input, int64_t n, int words, uint64_t *table) {
    memset(table, 0, 16);
    for (int64_t j = 0; j < n; ++j) {
        const int64_t half = INT64_C(1) << j;
        if (words == 1) {
            const uint64_t a = input[j] & BYTES(0x7f);
            for (int64_t i = 0; i < half; ++i) {
                table[half + i] = (table[i] + a) & BYTES(0x7f);
            }
        } else {
            const uint64_t even = input[j] & PAIRS(0xff), odd = input[j] >> 8 & PAIRS(0xff);
            for (int64_t i = 0; i < half; ++i) {
                table[2 * (half + i)] = table[2 * i] + even;
                table[2 * (half + i) + 1] = table[2 * i + 1] + odd;
            }
        }
    }
}

/* The inner loop: `units` tables for `out` output channels at eight pixels. */
static INLINE void look_up(uint64_t *sum, const uint64_t *table, const uint8_t *code, int64_t out, int64_t units,
                           int64_t planes, int words) {
    for (int64_t o = 0; o < out; ++o) {
        if (words == 1) {
            uint64_t a = sum[o];
            for (int64_t u = 0; u < units; ++u) {
                a = (a + table[u * 256 + *code++]) & BYTES(0x7f);
            }
            sum[o] = a;
        } else {
            uint64_t even = 0, odd = 0;
            for (int64_t u = 0; u < units; ++u) {
                for (int64_t plane = 0; plane < planes; ++plane, ++code) {
                    even += table[(u * 256 + *code) * 2];
                    odd += table[(u * 256 + *code) * 2 + 1];
                }
            }
            sum[2 * o] = add16(sum[2 * o], even);
            sum[2 * o + 1] = add16(sum[2 * o + 1], odd);
        }
    }
}

/* Everything that the inputs at one place add to: for each group and tap, the outputs `step` places before. */
static void add_place(const low_bit_shape *s, const plan *p, const places *m, const uint8_t *code, int64_t phase,
                      int64_t at) {
    for (int64_t group = 0; group < s->groups; ++group) {
        const uint64_t *input = m->inputs + group * up(p->in, LANES) * LANES;
        uint64_t even = 0, odd = 0;
        for (int64_t c = 0; c < p->in; ++c) {
            even = add16(even, input[c] & PAIRS(0xff));
            odd = add16(odd, input[c] >> 8 & PAIRS(0xff));
        }
        for (int64_t first = 0; first < p->units; first += UNITS) {
            const int64_t units = min64(UNITS, p->units - first);
            for (int64_t u = 0; u < units; ++u) {
                const int64_t c = (first + u) * p->group;
                make_table(input + c, min64(p->group, p->in - c), (int)p->words, m->table + u * 256 * p->words);
            }
            for (int64_t tap = 0; tap < p->taps; ++tap, code += p->out * units * p->planes) {
                const int64_t place = at - m->step[tap];
                if (m->phase[tap] != phase || place < 0 || place >= p->segment) {
                    continue;
                }
                uint64_t *sum = m->sums + (place * s->out_channels + group * p->out) * p->words;
                if (first == 0) {
                    uint64_t *seen = m->seen + (place * s->groups + group) * 2;
                    seen[0] = add16(seen[0], even);
                    seen[1] = add16(seen[1], odd);
                }
                if (p->words == 1 && units == UNITS) {
                    look_up(sum, m->table, code, p->out, UNITS, 1, 1);
                } else if (p->words == 1) {
                    look_up(sum, m->table, code, p->out, units, 1, 1);
                } else if (p->planes == 2 && units == UNITS) {
                    look_up(sum, m->table, code, p->out, UNITS, 2, 2);
                } else {
                    look_up(sum, m->table, code, p->out, units, p->planes, 2);
                }
            }
        }
    }
}

/* Sums of a strip become outputs: z = S - 2 N or S - N - M. */
static void finish_strip(const low_bit_shape *s, const plan *p, const places *m, int64_t row, int64_t rows,
                         const low_bit_finish *finish, void *out) {
    const uint64_t keep = p->words == 1 ? 0x7f : 0xffff;
    for (int64_t place = 0; place < p->segment; ++place) {
        for (int l = 0; l < LANES; ++l) {
            const int64_t at = l * p->segment + place, i = at / p->pitch, j = at % p->pitch;
            if (i >= rows || j >= s->out_width) {
                continue;
            }
            const uint64_t *sum = m->sums + place * s->out_channels * p->words + (p->words == 1 ? 0 : l % 2);
            const uint64_t *seen = m->seen + place * s->groups * 2 + l % 2;
            const int shift = p->words == 1 ? 8 * l : l / 2 * 16;
            for (int64_t o = 0; o < s->out_channels; ++o) {
                const int32_t all = (int32_t)(seen[o / p->out * 2] >> (l / 2 * 16) & 0xffff);
                m->row[o] = all - (int32_t)((sum[o * p->words] >> shift & keep) << (p->planes == 1));
            }
            low_bit_finish_row(finish, m->row, s->out_channels, ((row + i) * s->out_width + j) * s->out_channels, out);
        }
    }
}

static void convolve(const low_bit_shape *s, int weights, int wide, const uint8_t *x, const void *packed, int64_t first,
                     int64_t last, void *scratch, const low_bit_finish *finish, void *out) {
    plan p = planned(s, weights, wide);
    places m;
    scratch_places(s, &p, scratch, &m);
    for (int64_t tap = 0; tap < p.taps; ++tap) {
        const int64_t y = tap / s->kernel_w * s->dilation_h, c = tap % s->kernel_w * s->dilation_w;
        m.step[tap] = y / s->stride_h * p.pitch + c / s->stride_w;
        m.phase[tap] = y % s->stride_h * s->stride_w + c % s->stride_w;
    }
    for (int64_t row = first, rows; row < last; row += rows) {
        const int64_t image = row / s->out_height, y = row % s->out_height;
        rows = min64(min64(p.rows, last - row), s->out_height - y);
        p.segment = segment_of(s, p.pitch, rows);
        memset(m.sums, 0, (size_t)(p.segment * s->out_channels * p.words * 8));
        memset(m.seen, 0, (size_t)(p.segment * s->groups * 16));
        for (int64_t tap = 0; tap < p.taps; ++tap) {
            int64_t before = 0;
            while (m.phase[before] != m.phase[tap]) {
                ++before;
            }
            for (int64_t at = 0; before == tap && at < p.segment + p.halo; ++at) {
                if (gather(s, &p, x + image * s->height * s->width * s->channels, y, m.phase[tap], at, m.inputs)) {
                    add_place(s, &p, &m, packed, m.phase[tap], at);
                }
            }
        }
        finish_strip(s, &p, &m, row, rows, finish, out);
    }
}

const low_bit_kernel low_bit_swar_table = {"swar-table", runs_here, supports, packed_bytes, pack, scratch_bytes, convolve};
