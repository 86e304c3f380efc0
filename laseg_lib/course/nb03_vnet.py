"""What notebook 03_vnet draws, its exercises and their answers."""

import math

import numpy as np

from ..figures.style import INK, LOOKS, SMALL, TEXT, new_axes
from .exercise import Exercise


def draw_v(rows):
    """The V: heights are sizes, widths are channels, on a logarithmic scale.

    ``rows``: (block, (channels, W, H, D), parameters) for each child of a VNet, in the order of the forward pass.
    """
    figure, ax = new_axes(height=4.6)
    blocks = [row for row in rows if row[0].startswith("block") and not row[0].endswith(("_dw", "_up"))]
    depth = [0, 1, 2, 3, 4, 3, 2, 1, 0]
    places = []
    for i, ((_, (channels, *size), _), level) in enumerate(zip(blocks, depth)):
        wide, high = 0.13 + 0.09 * np.log2(channels / blocks[0][1][0] + 1), 0.85 * size[0] / blocks[0][1][1] + 0.12
        colour = LOOKS["supervised"].colour if i < 4 else LOOKS["strong"].colour if i == 4 else LOOKS["MT"].colour
        ax.add_patch(_box(i, -level, wide, high, colour))
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


def _box(x, y, wide, high, colour):
    from matplotlib.patches import Rectangle

    return Rectangle((x - wide / 2, y - high / 2), wide, high, facecolor=colour, edgecolor=INK, alpha=0.85)


def draw_shares(rows):
    """Where the weights are and where the memory goes, in percent, block by block; ``rows`` as in ``draw_v``."""
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


def _extent(gradient):
    """(W, H, D) of the box in which anything at all counts."""
    places = np.argwhere(gradient > 0)
    return tuple(int(side) for side in places.max(0) - places.min(0) + 1)


def draw_seen(image, found):
    """The axial slice through the middle, once a level: what one voxel there depends on is coloured.

    ``found``: {level: |d feature / d input|, an array of the image's shape}.
    """
    from scipy.ndimage import uniform_filter

    figure, axes = new_axes(3, rows=2, height=6.6)
    z = image.shape[2] // 2
    low, high = np.percentile(image, (1, 99.7))
    for ax, (name, gradient) in zip(axes, found.items()):
        ax.imshow(image[:, :, z].T, cmap="gray", vmin=low, vmax=high)
        seen = gradient[:, :, z].T > 0
        smooth = uniform_filter(gradient, 5)[:, :, z].T  # weights are random: the mean shows the trend
        flat = np.ma.array(np.log10(smooth / smooth.max() + 1e-12), mask=~seen)
        ax.imshow(flat, cmap="viridis", vmin=-3, vmax=0, alpha=0.65, interpolation="nearest")
        ax.set_title(f"{name}: {' × '.join(map(str, _extent(gradient)))}", fontsize=TEXT + 1, color=INK)
        ax.set_axis_off()
    return figure


# --- Exercises -----------------------------------------------------------------------------------


def receptive_field(layers):
    """Voxels, along one axis, that one voxel behind ``layers`` [(kernel, stride), ...] depends on."""
    seen, step = 1, 1  # step: how far apart neighbours are, in voxels of the input
    for kernel, stride in layers:
        seen, step = seen + (kernel - 1) * step, step * stride
    return seen


def conv_parameters(n_in, n_out, kernel):
    """Weights and biases of a 3D convolution; ``kernel``: three sides."""
    return n_out * (n_in * math.prod(kernel) + 1)


def padded_size(size, divisor):
    """The smallest size, side by side, that is no smaller and that the network takes."""
    return tuple(-(-side // d) * d for side, d in zip(size, divisor))


def _late_step(layers):
    seen, step = 1, 1
    for kernel, stride in layers:
        step *= stride
        seen += (kernel - 1) * step
    return seen


check_conv_parameters = Exercise(
    conv_parameters, [(1, 16, (3, 3, 3)), (256, 256, (3, 3, 3)), (128, 256, (2, 2, 1))],
    {"The biases are missing: one for each output channel.": lambda i, o, k: o * i * math.prod(k),
     "The kernel has three sides: multiply all of them.": lambda i, o, k: o * (i * k[0] * k[1] + 1),
     "There is one bias for each output channel, not one for the whole layer.":
        lambda i, o, k: o * i * math.prod(k) + 1,
     "There is one bias for each output channel, not for each input channel.":
        lambda i, o, k: i * (o * math.prod(k) + 1)})

check_receptive_field = Exercise(
    receptive_field, [([(3, 1)],), ([(3, 1), (2, 2), (3, 1), (3, 1)],), ([(2, 2), (2, 2), (3, 1)],)],
    {"Behind a stride of 2 neighbours are two input voxels apart: count (kernel - 1) times that step.":
        lambda layers: 1 + sum(kernel - 1 for kernel, _ in layers),
     "A layer's own stride widens the step only for the layers behind it: add first, multiply then.": _late_step,
     "The voxel itself counts too: begin with 1.": lambda layers: receptive_field(layers) - 1})

check_padded_size = Exercise(
    padded_size, [((60, 48, 30), (16, 16, 8)), ((190, 140, 88), (16, 16, 8)), ((112, 112, 80), (16, 16, 16))],
    {"That is smaller than the volume: round up, not down.":
        lambda size, divisor: tuple(side // d * d for side, d in zip(size, divisor)),
     "A side that fits already needs no padding.":
        lambda size, divisor: tuple((side // d + 1) * d for side, d in zip(size, divisor))})
