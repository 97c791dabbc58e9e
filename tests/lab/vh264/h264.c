// SPDX-License-Identifier: GPL-2.0
/*
 * Of a key frame each macroblock has one colour, its samples' mean, to the nearest value: exact where the
 * picture is a test pattern, and a mosaic elsewhere. Any other picture is one run of skipped macroblocks:
 * the key frame once more. Filler data makes up the rate.
 *
 * Section numbers are those of ITU-T H.264.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/string.h>
#include <linux/videodev2.h>

#include "h264.h"

#define MACROBLOCK 16
#define LONGEST_CREDIT 1	/* seconds of the rate that may be saved up */

/* For the rate: nobody tells an M2M device. */
static unsigned int frame_rate = 30;
module_param(frame_rate, uint, 0644);
MODULE_PARM_DESC(frame_rate, " pictures a second that the bitrate is shared among");

enum nal {			/* nal_ref_idc and nal_unit_type, 7.3.1 */
	NAL_SLICE = 0x41,
	NAL_IDR = 0x65,
	NAL_SPS = 0x67,
	NAL_PPS = 0x68,
	NAL_FILLER = 0x0c,
};

enum { SLICE_P = 5, SLICE_I = 7 };	/* slice_type where all slices of a picture are alike, 7.4.3 */
enum { PROFILE_BASELINE = 66, CONSTRAINED = 0xc0 };

/*
 * At this quantiser one level changes luma by 20/64 of a value and chroma by 40/64 (8.5.10, 8.5.11), so
 * that every value can be had.
 */
enum { QP = 18, LUMA_STEP = 20, CHROMA_STEP = 40 };

/* How a macroblock is predicted: from that on its left, or above, or from nothing. Numbers of 8.3.3, 8.3.4. */
struct prediction {
	u8 luma_mode, chroma_mode;
	u8 y, cb, cr;
};

struct bits {
	u8 *next, *end;
	u32 held;		/* bits that do not yet make a byte */
	int count;		/* of them */
	int zeros;		/* bytes of zero just written */
	bool overflow;
};

static void raw(struct bits *b, u8 byte)
{
	if (b->next < b->end)
		*b->next++ = byte;
	else
		b->overflow = true;
}

/* Never three bytes that look like a start code, 7.4.1. */
static void escaped(struct bits *b, u8 byte)
{
	if (b->zeros >= 2 && byte <= 3) {
		raw(b, 3);
		b->zeros = 0;
	}
	raw(b, byte);
	b->zeros = byte ? 0 : b->zeros + 1;
}

static void u(struct bits *b, int n, u32 value)
{
	while (n--) {
		b->held = b->held << 1 | (value >> n & 1);
		if (++b->count == 8) {
			escaped(b, b->held);
			b->held = 0;
			b->count = 0;
		}
	}
}

/* Exp-Golomb, 9.1. */
static void ue(struct bits *b, u32 value)
{
	int length = fls(value + 1);

	u(b, length - 1, 0);
	u(b, length, value + 1);
}

static void se(struct bits *b, s32 value)
{
	ue(b, value > 0 ? 2 * value - 1 : -2 * value);
}

static void align_zero(struct bits *b)
{
	while (b->count)
		u(b, 1, 0);
}

static void nal_begin(struct bits *b, enum nal header)
{
	raw(b, 0);
	raw(b, 0);
	raw(b, 0);
	raw(b, 1);
	raw(b, header);
	b->zeros = 0;
}

static void nal_end(struct bits *b)
{
	u(b, 1, 1);
	align_zero(b);
}

static u32 macroblocks(u32 samples)
{
	return DIV_ROUND_UP(samples, MACROBLOCK);
}

/* 7.3.2.1 */
static void sequence_parameters(struct bits *b, const struct h264_encoder *enc, const struct h264_picture *pic)
{
	u32 right = macroblocks(pic->width) * MACROBLOCK - pic->width;
	u32 bottom = macroblocks(pic->height) * MACROBLOCK - pic->height;

	nal_begin(b, NAL_SPS);
	u(b, 8, PROFILE_BASELINE);
	u(b, 8, CONSTRAINED);
	u(b, 8, enc->level_idc);
	ue(b, 0);			/* seq_parameter_set_id */
	ue(b, 4);			/* log2_max_frame_num_minus4: 8 bits */
	ue(b, 2);			/* pic_order_cnt_type: output order is coding order */
	ue(b, 1);			/* max_num_ref_frames */
	u(b, 1, 0);			/* gaps_in_frame_num_value_allowed_flag */
	ue(b, macroblocks(pic->width) - 1);
	ue(b, macroblocks(pic->height) - 1);
	u(b, 1, 1);			/* frame_mbs_only_flag */
	u(b, 1, 1);			/* direct_8x8_inference_flag */
	u(b, 1, right || bottom);	/* frame_cropping_flag, in pairs of samples */
	if (right || bottom) {
		ue(b, 0);
		ue(b, right / 2);
		ue(b, 0);
		ue(b, bottom / 2);
	}
	u(b, 1, 0);			/* vui_parameters_present_flag */
	nal_end(b);
}

/* 7.3.2.2 */
static void picture_parameters(struct bits *b)
{
	nal_begin(b, NAL_PPS);
	ue(b, 0);		/* pic_parameter_set_id */
	ue(b, 0);		/* seq_parameter_set_id */
	u(b, 1, 0);		/* entropy_coding_mode_flag: CAVLC */
	u(b, 1, 0);		/* bottom_field_pic_order_in_frame_present_flag */
	ue(b, 0);		/* num_slice_groups_minus1 */
	ue(b, 0);		/* num_ref_idx_l0_default_active_minus1 */
	ue(b, 0);		/* num_ref_idx_l1_default_active_minus1 */
	u(b, 1, 0);		/* weighted_pred_flag */
	u(b, 2, 0);		/* weighted_bipred_idc */
	ue(b, 0);		/* pic_init_qp_minus26, se(v): 0 is written alike */
	ue(b, 0);		/* pic_init_qs_minus26 */
	ue(b, 0);		/* chroma_qp_index_offset */
	u(b, 1, 1);		/* deblocking_filter_control_present_flag */
	u(b, 1, 0);		/* constrained_intra_pred_flag */
	u(b, 1, 0);		/* redundant_pic_cnt_present_flag */
	nal_end(b);
}

/* The mean of a square of samples, as far as it is visible. */
static u8 mean(const u8 *plane, u32 stride, u32 step, u32 x, u32 y, u32 size, u32 width, u32 height)
{
	u32 right = min(x + size, width), bottom = min(y + size, height);
	u32 sum = 0, count = (right - x) * (bottom - y), column, row;

	for (row = y; row < bottom; row++)
		for (column = x; column < right; column++)
			sum += plane[row * stride + column * step];
	return (sum + count / 2) / count;
}

/* The level that brings a decoder from @from to @to, and where it gets. */
static s32 level_between(int from, int to, int step, u8 *reached)
{
	s32 level = DIV_ROUND_CLOSEST((to - from) * 64, step);

	*reached = clamp(from + ((level * step + 32) >> 6), 0, 255);
	return level;
}

/* 9.2: a block of which nothing but the first coefficient may be other than zero; @chroma is DC of 2 by 2. */
static void coefficient(struct bits *b, s32 level, bool chroma)
{
	u32 code;

	if (!level) {
		chroma ? u(b, 2, 1) : u(b, 1, 1);	/* coeff_token: none */
		return;
	}
	if (abs(level) == 1) {
		chroma ? u(b, 1, 1) : u(b, 2, 1);	/* coeff_token: one, and a trailing one */
		u(b, 1, level < 0);
	} else {
		u(b, 6, chroma ? 7 : 5);		/* coeff_token: one, not trailing */
		code = (level > 0 ? 2 * level - 2 : -2 * level - 1) - 2;
		if (code < 14) {
			u(b, code + 1, 1);		/* level_prefix */
		} else if (code < 30) {
			u(b, 15, 1);
			u(b, 4, code - 14);
		} else {
			u(b, 16, 1);
			u(b, 12, code - 30);
		}
	}
	u(b, 1, 1);					/* total_zeros: none */
}

/* 7.3.5; replaces @p's values by those that a decoder has now. */
static void macroblock(struct bits *b, const struct h264_picture *pic, u32 mx, u32 my, struct prediction *p)
{
	const u32 half = MACROBLOCK / 2, width = pic->width / 2, height = pic->height / 2;
	const u8 *cb = pic->samples + pic->stride * pic->rows;
	const u8 *cr = cb + (pic->chroma_pairs ? 1 : pic->stride / 2 * (pic->rows / 2));
	u32 stride = pic->chroma_pairs ? pic->stride : pic->stride / 2, step = pic->chroma_pairs ? 2 : 1;
	s32 y_level, cb_level, cr_level;

	y_level = level_between(p->y, mean(pic->samples, pic->stride, 1, mx * MACROBLOCK, my * MACROBLOCK,
					   MACROBLOCK, pic->width, pic->height), LUMA_STEP, &p->y);
	cb_level = level_between(p->cb, mean(cb, stride, step, mx * half, my * half, half, width, height),
				 CHROMA_STEP, &p->cb);
	cr_level = level_between(p->cr, mean(cr, stride, step, mx * half, my * half, half, width, height),
				 CHROMA_STEP, &p->cr);

	ue(b, 1 + p->luma_mode + 4);	/* mb_type: Intra_16x16 with DC of chroma, table 7-11 */
	ue(b, p->chroma_mode);
	se(b, 0);			/* mb_qp_delta */
	coefficient(b, y_level, false);
	coefficient(b, cb_level, true);
	coefficient(b, cr_level, true);
}

/* 7.3.3 */
static void key_slice(struct bits *b, const struct h264_encoder *enc, const struct h264_picture *pic)
{
	struct prediction above = { .luma_mode = 2, .chroma_mode = 0, .y = 128, .cb = 128, .cr = 128 }, p;
	u32 mx, my;

	nal_begin(b, NAL_IDR);
	ue(b, 0);			/* first_mb_in_slice */
	ue(b, SLICE_I);
	ue(b, 0);			/* pic_parameter_set_id */
	u(b, 8, enc->frame_num);
	ue(b, enc->idr_pic_id);
	u(b, 1, 0);			/* no_output_of_prior_pics_flag */
	u(b, 1, 0);			/* long_term_reference_flag */
	se(b, QP - 26);			/* slice_qp_delta */
	ue(b, 1);			/* disable_deblocking_filter_idc: samples stay as they are */
	for (my = 0; my < macroblocks(pic->height); my++) {
		/* A row begins with what is above, and goes on with what is on the left. */
		p = above;
		for (mx = 0; mx < macroblocks(pic->width); mx++) {
			macroblock(b, pic, mx, my, &p);
			if (!mx) {
				above = p;
				above.luma_mode = 0;
				above.chroma_mode = 2;
			}
			p.luma_mode = 1;
			p.chroma_mode = 1;
		}
	}
	nal_end(b);
}

static void repeated_slice(struct bits *b, const struct h264_encoder *enc, const struct h264_picture *pic)
{
	nal_begin(b, NAL_SLICE);
	ue(b, 0);			/* first_mb_in_slice */
	ue(b, SLICE_P);
	ue(b, 0);			/* pic_parameter_set_id */
	u(b, 8, enc->frame_num);
	u(b, 1, 0);			/* num_ref_idx_active_override_flag */
	u(b, 1, 0);			/* ref_pic_list_modification_flag_l0 */
	u(b, 1, 0);			/* adaptive_ref_pic_marking_mode_flag */
	ue(b, 0);			/* slice_qp_delta */
	ue(b, 1);			/* disable_deblocking_filter_idc */
	ue(b, macroblocks(pic->width) * macroblocks(pic->height)); /* mb_skip_run */
	nal_end(b);
}

/* 7.3.2.7: bytes in all, start code and end included. */
static void filler(struct bits *b, u32 bytes)
{
	const u32 frame = 6;

	nal_begin(b, NAL_FILLER);
	for (; bytes > frame && !b->overflow; bytes--)
		raw(b, 0xff);
	raw(b, 0x80);
}

int h264_encode(struct h264_encoder *enc, const struct h264_picture *pic, u8 *out, u32 capacity, bool *key)
{
	struct bits b = { .next = out, .end = out + capacity };
	u32 rate = max(frame_rate, 1U), share = enc->bitrate / 8 / rate;
	u32 size;

	*key = enc->key_wanted || !enc->since_key || (enc->group && enc->since_key >= enc->group);
	enc->credit = min_t(s64, enc->credit + share, (s64)share * rate * LONGEST_CREDIT);
	if (*key) {
		enc->key_wanted = false;
		enc->since_key = 0;
		enc->frame_num = 0;
		enc->idr_pic_id ^= 1;	/* two in a row have to differ, 7.4.3 */
		sequence_parameters(&b, enc, pic);
		picture_parameters(&b);
		key_slice(&b, enc, pic);
	} else {
		repeated_slice(&b, enc, pic);
		size = b.next - out;
		/* No more than two shares: what a key frame left over is spread. */
		if (enc->credit > size && !b.overflow)
			filler(&b, min_t(s64, min_t(s64, enc->credit, 2 * share) - size, capacity - size));
	}
	if (b.overflow)
		return -ENOSPC;

	size = b.next - out;
	enc->credit -= size;
	enc->since_key++;
	enc->frame_num++;
	return size;
}

u8 h264_level_idc(u32 v4l2_level)
{
	static const u8 idc[] = {
		[V4L2_MPEG_VIDEO_H264_LEVEL_1_0] = 10, [V4L2_MPEG_VIDEO_H264_LEVEL_1B] = 11,
		[V4L2_MPEG_VIDEO_H264_LEVEL_1_1] = 11, [V4L2_MPEG_VIDEO_H264_LEVEL_1_2] = 12,
		[V4L2_MPEG_VIDEO_H264_LEVEL_1_3] = 13, [V4L2_MPEG_VIDEO_H264_LEVEL_2_0] = 20,
		[V4L2_MPEG_VIDEO_H264_LEVEL_2_1] = 21, [V4L2_MPEG_VIDEO_H264_LEVEL_2_2] = 22,
		[V4L2_MPEG_VIDEO_H264_LEVEL_3_0] = 30, [V4L2_MPEG_VIDEO_H264_LEVEL_3_1] = 31,
		[V4L2_MPEG_VIDEO_H264_LEVEL_3_2] = 32, [V4L2_MPEG_VIDEO_H264_LEVEL_4_0] = 40,
		[V4L2_MPEG_VIDEO_H264_LEVEL_4_1] = 41, [V4L2_MPEG_VIDEO_H264_LEVEL_4_2] = 42,
		[V4L2_MPEG_VIDEO_H264_LEVEL_5_0] = 50, [V4L2_MPEG_VIDEO_H264_LEVEL_5_1] = 51,
	};

	return v4l2_level < ARRAY_SIZE(idc) ? idc[v4l2_level] : 40;
}
