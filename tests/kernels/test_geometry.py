"""The two formulas of window geometry, against windows that are counted one by one and against each other."""

from hypothesis import given
from hypothesis import strategies as st

from minigrad.kernels.geometry import transposed_size, window_count

GEOMETRY = {"kernel": st.integers(1, 6), "stride": st.integers(1, 5), "padding": st.integers(0, 5), "dilation": st.integers(1, 4)}


def windows(size, kernel, stride, padding, dilation, may_overshoot):
    """The pixels of each window that fits, one list a window, laid down one by one; perhaps also of the first that does not fit."""
    laid, first = [], -padding
    while True:
        window = [first + u * dilation for u in range(kernel)]
        fits = window[-1] < size + padding
        if not fits and not may_overshoot:
            return laid
        laid.append(window)
        if not fits:
            return laid
        first += stride


@given(st.integers(1, 40), st.fixed_dictionaries(GEOMETRY))
def test_the_count_is_that_of_windows_laid_down_one_by_one(size, geometry):
    assert max(0, window_count(size, **geometry)) == len(windows(size, **geometry, may_overshoot=False))


@given(st.integers(1, 40), st.fixed_dictionaries(GEOMETRY))
def test_rounding_up_adds_the_window_that_overshoots_if_it_starts_inside_the_image(size, geometry):
    geometry["padding"] = min(geometry["padding"], geometry["kernel"] // 2)                 # as pooling demands
    down, up = window_count(size, **geometry), window_count(size, **geometry, ceil_mode=True)
    if down < 1:                                                # not even one fits; the first may overshoot by less than a stride
        assert up <= 1
        return
    *fitting, beyond = windows(size, **geometry, may_overshoot=True)
    pixels_left = size + geometry["padding"] - 1 - fitting[-1][-1]
    assert up == len(fitting) + (pixels_left > 0 and beyond[0] < size)


@given(st.integers(1, 20), st.fixed_dictionaries(GEOMETRY))
def test_transposed_size_gives_all_sizes_that_have_so_many_windows(count, geometry):
    stride = geometry["stride"]
    sizes = [transposed_size(count, **geometry, output_padding=extra) for extra in range(stride)]
    assert [window_count(size, **geometry) for size in sizes] == [count] * stride
    assert window_count(sizes[0] - 1, **geometry) == count - 1
    assert window_count(sizes[-1] + 1, **geometry) == count + 1


@given(st.integers(1, 60), st.fixed_dictionaries(GEOMETRY))
def test_a_size_is_found_again_from_its_windows_and_what_the_stride_left_over(size, geometry):
    count = window_count(size, **geometry)
    extra = size - transposed_size(count, **geometry)
    assert 0 <= extra < geometry["stride"]
    assert transposed_size(count, **geometry, output_padding=extra) == size


@given(st.integers(1, 20), st.fixed_dictionaries(GEOMETRY))
def test_without_padding_it_is_the_stretch_that_the_windows_cover(count, geometry):
    geometry["padding"] = 0
    first, last = 0, (count - 1) * geometry["stride"] + (geometry["kernel"] - 1) * geometry["dilation"]
    assert transposed_size(count, **geometry) == last - first + 1
