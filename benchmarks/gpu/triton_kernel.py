"""The kernel of `triton_panels`: several weighted sums of the same states, each state read once.

Importing this module needs Triton. `TRITON_INTERPRET=1` runs the kernel on a CPU.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def add_product(  # type: ignore[no-untyped-def]
    weights,
    states,
    sums,
    num_states,
    size,
    weights_by_sum,
    weights_by_state,
    states_by_row,
    sums_by_row,
    num_sums,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ONTO: tl.constexpr,
):
    """Sums [P, N] of the states [S, N] by the weights [P, S], of the columns of one program; float32.

    `ROWS` is the next power of two of P. With `ONTO` they are added to what is in `sums`.
    """
    columns = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    rows = tl.arange(0, ROWS)
    inside = columns < size
    places = sums + rows[:, None].to(tl.int64) * sums_by_row + columns[None, :]
    both = (rows < num_sums)[:, None] & inside[None, :]
    if ONTO:  # noqa: SIM108
        total = tl.load(places, mask=both, other=0.0)
    else:
        total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for state in range(num_states):
        row = tl.load(states + tl.cast(state, tl.int64) * states_by_row + columns, mask=inside, other=0.0)
        weight = tl.load(weights + rows * weights_by_sum + state * weights_by_state, mask=rows < num_sums, other=0.0)
        total += weight[:, None] * row[None, :]
    tl.store(places, total, mask=both)
