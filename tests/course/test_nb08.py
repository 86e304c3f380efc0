"""What notebook 08 asks: as many windows as MONAI cuts, and a picture of them."""

import numpy as np
import torch
from matplotlib.figure import Figure

from laseg_lib.course.nb08_measuring import draw_overlap, window_count
from laseg_lib.inference import walkthrough_stride

SIZE, PATCH = (50, 40, 19), (32, 32, 16)


def test_the_windows_are_as_many_as_those_of_the_sliding_window():
    from monai.inferers import sliding_window_inference

    seen = []

    def note(x):
        seen.extend(x)
        return x

    overlap = [1 - (stride + 1e-3) / size for stride, size in zip(walkthrough_stride(PATCH), PATCH)]
    sliding_window_inference(torch.zeros(1, 1, *SIZE), PATCH, 4, note, overlap=overlap)
    assert len(seen) == window_count(SIZE, PATCH, walkthrough_stride(PATCH))


def test_the_overlap_is_drawn_from_its_counts():
    counts = np.ones(SIZE, int)
    counts[10:20] = 7
    figure = draw_overlap(counts, PATCH)
    assert isinstance(figure, Figure) and figure.axes[0].images[0].get_array().max() == 7
