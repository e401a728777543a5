"""How the two sides of a product are cut for the tile: `pack` lays weights into panels, `start_of` deals rows out to tiles.

A panel is NR columns of a matrix, row after row, so that the tile reads it from begin to end.

Imports: registers, machine.
"""
from minigrad.kernels.cpu.machine.compiling import inner
from minigrad.kernels.cpu.registers.emit import MR, NR


@inner
def pack(block, w, places, group_stride, out_stride, outs, panels, packed):
    """One panel of packed (groups*panels, taps, ins, NR): weights in the order in which the tile reads them, and 0 beyond `outs`.

    The weight for output channel o, tap t and input channel c of group q is w[q*group_stride + o*out_stride + places[t, c]].
    """
    taps, ins = places.shape
    first = block % panels * NR
    width = min(NR, outs - first)
    start = block // panels * group_stride + first * out_stride
    for c in range(ins):
        for t in range(taps):
            at = start + places[t, c]
            for o in range(width):
                packed[block, t, c, o] = w[at + o * out_stride]
            for o in range(width, NR):
                packed[block, t, c, o] = 0


@inner
def start_of(tile, tiles, rows):
    """The first row of a tile. Each tile has MR rows, but the last two share what is left, because a tile of few rows costs as much
    time as one of LOW rows."""
    if tile < max(1, tiles - 1):
        return tile * MR
    return rows if tile == tiles else rows - (rows - MR * (tiles - 2)) // 2
