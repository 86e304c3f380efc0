"""Small experiments and drawings of notebooks 02, 03 and 04, each used on one page.

What is measured is measured on the library's own sampler, network and losses.
"""

import numpy as np
import torch
from torch.utils.data import Dataset

from ..axes import SMALL, TEXT, dress, line_style, new_axes
from ..losses import softmax_kl_loss, softmax_mse_loss
from ..style import INK, LOOKS
from ..vnet import STAGES, VNet
from .pages_08_10 import one_thread

# --- 02 two_stream_sampler ------------------------------------------------------------------------


class RandomNumbers(Dataset):
    """Stands for an augmented dataset: an item is one draw from NumPy's global state, as augmentation makes it."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return np.random.randint(100)


def seed_python(worker):
    """The walkthrough's ``worker_init_fn``: seeds Python's generator, which the augmentation doesn't use."""
    import random

    random.seed(1337 + worker)


def seed_numpy(worker):
    """The cure that everybody writes first."""
    np.random.seed(1337 + worker)


def seed_numpy_by_torch(worker):
    """From the worker's torch seed, which differs between workers and between epochs."""
    np.random.seed(torch.initial_seed() % 2**32)


def visit_counts(left, right, titles):
    """How often each unlabelled volume was drawn (two dicts index -> count), most visited first."""
    figure, axes = new_axes(2, height=3.6, sharey=True, xlabel="unlabelled volumes, most visited first")
    for ax, counts, title in zip(axes, (left, right), titles):
        values = sorted(counts.values(), reverse=True)
        ax.bar(range(len(values)), values, width=1.0, color=LOOKS["MT"].colour, edgecolor="white", linewidth=0.5)
        unseen = sum(value == 0 for value in values)
        ax.axvspan(len(values) - unseen - 0.5, len(values) - 0.5, color=LOOKS["strong"].colour, alpha=0.25, linewidth=0)
        ax.set_title(title, fontsize=TEXT, loc="left")
        ax.text(0.97, 0.9, f"never seen: {unseen}", transform=ax.transAxes, ha="right", fontsize=TEXT, color=INK)
        ax.locator_params(axis="y", integer=True)
    axes[0].set_ylabel("times seen", fontsize=TEXT)
    return figure


# --- 03 vnet --------------------------------------------------------------------------------------


def trace(network, x):
    """[(block, output shape, parameters)] of one forward pass, by hooks on the direct children."""
    rows = []

    def note(name):
        return lambda module, args, out: rows.append(
            (name, tuple(out.shape[1:]), sum(p.numel() for p in module.parameters())))

    hooks = [module.register_forward_hook(note(name)) for name, module in network.named_children()]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return [row for row in rows if row[2]]


def draw_v(rows):
    """The V that ``trace`` saw: heights are sizes, widths are channels, on a logarithmic scale."""
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
    """Where the weights are and where the memory goes, in percent, block by block."""
    figure, ax = new_axes(height=3.8, ylabel="share of the whole (%)")
    blocks = [row for row in rows if row[0].startswith("block")]
    weights, values = (np.array(v, float) for v in ([row[2] for row in blocks], [np.prod(row[1]) for row in blocks]))
    at = np.arange(len(blocks))
    ax.bar(at - 0.2, 100 * weights / weights.sum(), 0.4, color=LOOKS["strong"].colour, label="parameters")
    ax.bar(at + 0.2, 100 * values / values.sum(), 0.4, color=LOOKS["supervised_equal"].colour, hatch="//",
           edgecolor="white", label="output voxels × channels")
    number = {name: str(i) for i, name in enumerate(STAGES, 1)}
    names = [row[0].removeprefix("block_").split("_") for row in blocks]
    ax.set_xticks(at, [number[name] + {"dw": "↓", "up": "↑"}.get("".join(way), "") for name, *way in names])
    ax.set_xlabel("block (↓ and ↑: the way to the next)", fontsize=TEXT, color=INK)
    ax.legend(fontsize=SMALL, frameon=False)
    return figure


def seen_by(network, image):
    """What the voxel in the middle of each level depends on: {level: |d feature / d input| (W, H, D)}.

    ``image``: (W, H, D) array.  One pass in train mode sets BatchNorm's statistics, so that eval mode has a
    signal down to the bottom and no voxel reaches another through a mean.
    """
    x = torch.from_numpy(image)[None, None]
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.momentum = None  # the statistics of one pass count in full
    with torch.no_grad():
        network.train()(x)
    features = network.eval().encoder(x.requires_grad_())
    levels = {f"x{i}": feature for i, feature in enumerate(features, 1)} | {"output": network.decoder(features)}
    found = {}
    for name, level in levels.items():
        middle = level[(0, slice(None), *(side // 2 for side in level.shape[2:]))].sum()
        found[name] = torch.autograd.grad(middle, x, retain_graph=True)[0][0, 0].abs().numpy()
    return found


def extent(gradient):
    """(W, H, D) of the box in which anything at all counts."""
    places = np.argwhere(gradient > 0)
    return tuple(int(side) for side in places.max(0) - places.min(0) + 1)


def draw_seen(image, found):
    """The axial slice through the middle, once a level: what one voxel there depends on is coloured."""
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
        ax.set_title(f"{name}: {' × '.join(map(str, extent(gradient)))}", fontsize=TEXT + 1, color=INK)
        ax.set_axis_off()
    return figure


class NoSkips(VNet):
    """A V-Net whose decoder sees nothing but the bottom."""

    def decoder(self, features):
        *skips, bottom = features
        return super().decoder([0 * skip for skip in skips] + [bottom])


# --- 04 losses ------------------------------------------------------------------------------------


@one_thread()  # rounding grows in a training: the pictures must not depend on the number of cores
def dice_at_work(loss, network, image, label, iterations, lr=0.1):
    """Train on two volumes at a time with ``loss(logits, label)``; Dice of each batch before its step, as floats."""
    optimizer, scores = torch.optim.SGD(network.parameters(), lr, momentum=0.9), []
    for i in range(iterations):
        pair = [2 * i % len(image), (2 * i + 1) % len(image)]
        logits = network(image[pair])
        optimizer.zero_grad()
        loss(logits, label[pair]).backward()
        optimizer.step()
        found, gold = logits.argmax(1), label[pair]
        scores.append(float(2 * (found * gold).sum() / (found.sum() + gold.sum())))
    return scores


def slope(loss, p):
    """d loss / d logit of the class, voxel by voxel, at probabilities ``p`` (an array), by autograd.

    ``loss``: logits (N, 2) -> scalar, a mean over the N voxels; the mean's 1/N is taken out again.
    """
    p = torch.as_tensor(p, dtype=torch.float64)
    logits = torch.stack([torch.zeros_like(p), torch.log(p / (1 - p))], 1).requires_grad_()
    loss(logits).backward()
    return len(p) * logits.grad[:, 1].numpy()


def draw_consistency(teacher=0.9):
    """MSE and KL, and their pull on the student's logit, over the student's probability, for one teacher."""
    p = np.linspace(0.001, 0.999, 500)
    q = torch.full((1,), teacher, dtype=torch.float64)
    target = torch.log(torch.stack([1 - q, q], 1))
    figure, (left, right) = new_axes(2, height=4.2, margins={"left": 0.08, "right": 0.98, "bottom": 0.15, "top": 0.9,
                                                              "wspace": 0.24})
    for name, loss, arm in (("MSE", softmax_mse_loss, "MT"), ("KL", softmax_kl_loss, "supervised")):
        look = LOOKS[arm]._replace(label=name)
        logits = torch.from_numpy(np.stack([np.log(1 - p), np.log(p)], 1))
        values = [loss(row[None], target).item() for row in logits]
        left.plot(p, values, **line_style(look, 3))
        right.plot(p, slope(lambda z, f=loss: f(z, target.expand(len(z), 2)), p), **line_style(look, 3))
    dress(left, "student's probability p", "loss of one voxel", f"teacher q = {teacher:.2f}")
    dress(right, "student's probability p", "gradient at the logit", "the pull: below 0 raises p")
    for ax in (left, right):
        ax.axvline(teacher, color=LOOKS["gold"].colour, linewidth=2, linestyle=(0, (2, 2)))
        ax.set_xlim(0, 1)
    left.set_ylim(0, 1.5)
    right.set_ylim(-0.55, 0.55)
    left.legend(fontsize=TEXT, frameon=False)
    return figure
