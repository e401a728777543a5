"""How the two sides of a product are cut for the tile: `pack` lays weights into panels, `start_of` deals rows out to tiles.

May import: `compiling`, `emit`.
"""
from minigrad.kernels.cpu.machine.compiling import inner
from minigrad.kernels.cpu.registers.emit import MR, NR


@inner
def pack(block, w, places, group_stride, out_stride, outs, panels, packed):
    """Weights in the order in which the tile reads them: packed (groups*panels, taps, ins, NR), zeros beyond `outs`; one panel.

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
def start_of(group, groups, tiles):
    """The first tile of a group: MR to a group, but for the last two, which share what is left, for a register tile of few rows
    costs the time of LOW."""
    if group < max(1, groups - 1):
        return group * MR
    return tiles if group == groups else tiles - (tiles - MR * (groups - 2)) // 2
