"""The kernel of `between_on_gpu`; importing it needs Triton."""

import triton
import triton.language as tl


# One kernel serves blocks of every size and place.
@triton.jit(do_not_specialize=["width", "room", "top", "left", "row_images"])
def between(
    block, width, low, high, room, top, left, row_images, counts, high_by_image, scores, rows, places,
    has_low: tl.constexpr, has_high: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """Look through a part of a row: one program per row and ``columns`` columns.

    Args:
        block: (H, W) float32, contiguous.
        width: W.
        low: The lower limit.
        high: The upper limit.
        room: How many pairs are kept.
        top: The block's first row among the row images.
        left: Its first column among the column images.
        row_images: How many row images there are.
        counts: (2,) int64: strictly between the limits, and equal to the lower one.
        high_by_image: int64 of every row image, then of every column image: at least the upper limit.
        scores: (room,) float32 of what lies between.
        rows: (room,) int32, their rows.
        places: (room,) int32, their columns.
        has_low: Whether the lower limit is finite.
        has_high: Whether the upper one is.
        columns: A power of two.
    """
    row = tl.program_id(0)
    column = tl.program_id(1) * columns + tl.arange(0, columns)
    score = tl.load(block + row.to(tl.int64) * width + column, mask=column < width, other=float("-inf"))
    inside = (score > low) & (score < high)
    count = tl.sum(inside.to(tl.int32), axis=0)
    if count > 0:
        start = tl.atomic_add(counts, count.to(tl.int64), sem="relaxed")
        place = start + tl.cumsum(inside.to(tl.int32), axis=0) - 1
        fits = inside & (place < room)
        tl.store(scores + place, score, mask=fits)
        tl.store(rows + place, column * 0 + row + top, mask=fits)
        tl.store(places + place, column + left, mask=fits)
    if has_low:
        at_low = tl.sum((score == low).to(tl.int32), axis=0)
        if at_low > 0:
            tl.atomic_add(counts + 1, at_low.to(tl.int64), sem="relaxed")
    if has_high:
        above = score >= high
        of_row = tl.sum(above.to(tl.int32), axis=0)
        if of_row > 0:
            tl.atomic_add(high_by_image + top + row, of_row.to(tl.int64), sem="relaxed")
            one = (column * 0 + 1).to(tl.int64)
            tl.atomic_add(high_by_image + row_images + left + column, one, mask=above, sem="relaxed")
