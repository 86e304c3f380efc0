"""What notebook 03_vnet draws, its exercises and their answers."""

import numpy as np
from matplotlib.patches import Rectangle

from ..figures.style import INK, LOOKS, SMALL, TEXT, new_axes, show_plane
from .alt import ALT_TEXTS
from .exercise import Exercise

ALT = ALT_TEXTS["03_vnet"]


def draw_v(rows):
    """The V of the network: the height of a box is its size, the width is the logarithm of its channels.

    ``rows``: (block, (channels, W, H, D), parameters) for each child of a VNet, in the order of the forward pass.
    """
    figure, ax = new_axes(height=4.6)
    blocks = [row for row in rows if row[0].startswith("block") and not row[0].endswith(("_dw", "_up"))]
    depth = [0, 1, 2, 3, 4, 3, 2, 1, 0]
    places = []
    for i, ((_, (channels, *size), _), level) in enumerate(zip(blocks, depth)):
        wide, high = 0.13 + 0.09 * np.log2(channels / blocks[0][1][0] + 1), 0.85 * size[0] / blocks[0][1][1] + 0.12
        colour = LOOKS["supervised"].colour if i < 4 else LOOKS["strong"].colour if i == 4 else LOOKS["MT"].colour
        ax.add_patch(Rectangle((i - wide / 2, -level - high / 2), wide, high, facecolor=colour, edgecolor=INK,
                               alpha=0.85))
        ax.text(i, -level - high / 2 - 0.08, f"{channels} × " + "·".join(map(str, size)), ha="center", va="top",
                fontsize=SMALL, color=INK)
        places.append((i, -level, wide))
    for (x1, y, w1), (x2, _, w2) in zip(places[:4], places[:4:-1]):
        ax.annotate("", (x2 - w2 / 2 - 0.16, y), (x1 + w1 / 2, y),
                    arrowprops={"arrowstyle": "->", "color": INK, "linestyle": (0, (4, 2)), "linewidth": 1.6})
        ax.text(x2 - w2 / 2 - 0.12, y, "+", fontsize=20, weight="bold", ha="center", va="center", color=INK)
    ax.text(4, -0.12, "skips: added, not concatenated", ha="center", va="top", fontsize=TEXT, color=INK)
    ax.text(1.0, -3.4, "down: stride 2,\nchannels double", ha="center", fontsize=TEXT, color=LOOKS["supervised"].colour)
    ax.text(7.0, -3.4, "up: transposed,\nchannels halve", ha="center", fontsize=TEXT, color=LOOKS["MT"].colour)
    ax.set(xlim=(-0.7, 8.7), ylim=(-4.75, 0.6))
    ax.set_axis_off()
    return figure


def draw_shares(rows):
    """Each block's share of the parameters and of the output values, in percent; ``rows`` as in ``draw_v``."""
    figure, ax = new_axes(height=3.8, ylabel="share of the whole (%)")
    blocks = [row for row in rows if row[0].startswith("block")]
    weights, values = (np.array(v, float) for v in ([row[2] for row in blocks], [np.prod(row[1]) for row in blocks]))
    at = np.arange(len(blocks))
    ax.bar(at - 0.2, 100 * weights / weights.sum(), 0.4, color=LOOKS["strong"].colour, label="parameters")
    ax.bar(at + 0.2, 100 * values / values.sum(), 0.4, color=LOOKS["supervised_equal"].colour, hatch="//",
           edgecolor="white", label="output voxels × channels")
    number = {name: str(i) for i, name in enumerate("one two three four five six seven eight nine".split(), 1)}
    names = [row[0].removeprefix("block_").split("_") for row in blocks]
    ax.set_xticks(at, [number[name] + {"dw": "↓", "up": "↑"}.get("".join(way), "") for name, *way in names])
    ax.set_xlabel("block (↓ and ↑: the way to the next)", fontsize=TEXT, color=INK)
    ax.legend(fontsize=SMALL, frameon=False)
    return figure


def draw_seen(image, found):
    """The middle axial slice, once for each level.  Coloured: the voxels on which the middle feature depends.

    ``found``: {level: |d feature / d input|, an array of the image's shape}.
    """
    from scipy.ndimage import uniform_filter

    figure, axes = new_axes(3, rows=2, height=6.6)
    z = image.shape[2] // 2
    for ax, (name, gradient) in zip(axes, found.items()):
        extent = np.ptp(np.argwhere(gradient), axis=0) + 1  # of the box outside of which the gradient is zero
        show_plane(ax, image[:, :, z], title=f"{name}: {' × '.join(map(str, extent))}")
        seen = gradient[:, :, z].T > 0
        smooth = uniform_filter(gradient, 5)[:, :, z].T  # weights are random: the mean shows the trend
        flat = np.ma.array(np.log10(smooth / smooth.max() + 1e-12), mask=~seen)
        ax.imshow(flat, cmap="viridis", vmin=-3, vmax=0, alpha=0.65, interpolation="nearest")
    return figure


# --- Exercises -----------------------------------------------------------------------------------


def receptive_field(layers):
    """The number of input voxels, along one axis, on which one voxel behind ``layers`` depends.

    ``layers``: [(kernel, stride), ...], the first layer first.
    """
    seen, step = 1, 1  # step: the distance of neighbours, in input voxels
    for kernel, stride in layers:
        seen, step = seen + (kernel - 1) * step, step * stride
    return seen


def kernel_side(parameters, n_in, n_out, dimensions):
    """The side of a convolution's kernel, all sides equal, from the number of its parameters."""
    return round(((parameters / n_out - 1) / n_in) ** (1 / dimensions))


def padded_size(size, divisor):
    """The smallest size that contains ``size`` and that ``divisor`` divides, side by side."""
    return tuple(-(-side // d) * d for side, d in zip(size, divisor))


def _late_step(layers):
    seen, step = 1, 1
    for kernel, stride in layers:
        step *= stride
        seen += (kernel - 1) * step
    return seen


check_side = Exercise(
    kernel_side, [(448, 1, 16, 3), (1_769_728, 256, 256, 3), (2_000_016, 1000, 16, 3), (272, 16, 16, 3),
                  (48, 1, 8, 1), (10, 1, 2, 1), (41, 8, 1, 1), (156, 1, 6, 2), (90_012, 60, 12, 3)],
    {"The biases are among the parameters: take one away for each output channel. (Rounding hides it in 3D.)":
        lambda p, i, o, d: round((p / o / i) ** (1 / d)),
     "The biases are among the parameters: take one away for each output channel.":
        lambda p, i, o, d: (p / o / i) ** (1 / d),
     "That is the number of voxels in the kernel. Its side is the root of it, the third root in 3D.":
        lambda p, i, o, d: (p / o - 1) / i,
     "The third root of 125 comes out as 4.9999…: round it to the nearest whole number, don't cut it off.":
        lambda p, i, o, d: int(((p / o - 1) / i) ** (1 / d)),
     "A kernel in 3D has three sides: take the third root, not the square root.":
        lambda p, i, o, d: round(((p / o - 1) / i) ** 0.5),
     "The third root is for 3D. A kernel has as many sides as there are dimensions.":
        lambda p, i, o, d: round(((p / o - 1) / i) ** (1 / 3)),
     "There is one bias for each output channel, not one for the whole layer.":
        lambda p, i, o, d: round(((p - 1) / o / i) ** (1 / d)),
     "Input and output channels have changed places: each output channel has a bias, and a weight for every voxel of "
     "the kernel and every input channel.": lambda p, i, o, d: kernel_side(p, o, i, d)})

check_receptive_field = Exercise(
    receptive_field, [([(3, 1)],), ([(3, 1), (2, 2), (3, 1), (3, 1)],), ([(2, 2), (2, 2), (3, 1)],),
                      ([(2, 2), (3, 3), (3, 1)],), ([(5, 1), (3, 2), (7, 3), (1, 1)],)],
    {"A kernel of k voxels adds k - 1 voxels, not k: one of them was there before.":
        lambda layers: receptive_field([(kernel + 1, stride) for kernel, stride in layers]),
     "A stride need not be 2: multiply by each layer's own stride.":
        lambda layers: receptive_field([(kernel, min(stride, 2)) for kernel, stride in layers]),
     "Behind a stride of 2 neighbours are two input voxels apart: count (kernel - 1) times that step.":
        lambda layers: 1 + sum(kernel - 1 for kernel, _ in layers),
     "A layer's own stride counts only for the layers behind it: add first, then multiply.": _late_step,
     "The voxel itself counts too: begin with 1.": lambda layers: receptive_field(layers) - 1})

check_padded_size = Exercise(
    padded_size, [((60, 40, 30), (16, 16, 8)), ((50, 33, 21), (16, 8, 4)),
                  ((190, 140, 86), (16, 16, 8)), ((112, 112, 80), (16, 16, 16))],
    {"That is smaller than the volume: round up, not down.":
        lambda size, divisor: tuple(side // d * d for side, d in zip(size, divisor)),
     "A side that fits already needs no padding.":
        lambda size, divisor: tuple((side // d + 1) * d for side, d in zip(size, divisor))})
