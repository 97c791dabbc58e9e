/* SPDX-License-Identifier: GPL-2.0 */
/* The least that is a valid H.264 stream: key frames of raw samples, and pictures that repeat them. */
#ifndef VH264_H264_H
#define VH264_H264_H

#include <linux/types.h>

/* What the device was told by its controls, and where it stands in its group of pictures. */
struct h264_encoder {
	u32 bitrate;		/* bit/s */
	u32 group;		/* pictures from key frame to key frame; 0: only the first is one */
	u8 level_idc;		/* ten times the level */
	bool key_wanted;	/* the next picture becomes a key frame */

	u32 since_key;		/* pictures, counting the key frame; 0 before the first */
	u8 frame_num;
	u16 idr_pic_id;
	s64 credit;		/* bytes that the bitrate allowed and nobody used; below 0 after a key frame */
};

/* 4:2:0 in one buffer: luma, then chroma either as pairs (NV12) or as two planes (I420). */
struct h264_picture {
	const u8 *samples;
	u32 stride;		/* of luma, bytes */
	u32 rows;		/* of luma, to where chroma begins */
	u32 width;		/* visible */
	u32 height;		/* visible */
	bool chroma_pairs;
};

/*
 * Writes one access unit, key frames with their parameter sets. Returns its bytes, or -ENOSPC where
 * @capacity does not hold it.
 */
int h264_encode(struct h264_encoder *enc, const struct h264_picture *pic, u8 *out, u32 capacity, bool *key);

/* Of a value of V4L2_CID_MPEG_VIDEO_H264_LEVEL. */
u8 h264_level_idc(u32 v4l2_level);

#endif
