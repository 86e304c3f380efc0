"""V-Net (Milletari et al. 2016, arXiv:1606.04797) as the UA-MT family builds it.

3x3x3 convolutions, four halvings by strided convolution, four doublings by transposed
convolution, and skips that are added, not concatenated.  Module names are those of the public
checkpoints (UA-MT, LASeg, SSL4MIS), so those load with ``strict=True``.
"""

import contextlib
import math

from torch import nn


def normalisation(name, channels):
    """The layers (none or one) that ``normalization=name`` puts after a convolution."""
    layers = {
        "none": [],
        "batchnorm": [nn.BatchNorm3d(channels)],
        "groupnorm": [nn.GroupNorm(math.gcd(16, channels), channels)],
        "instancenorm": [nn.InstanceNorm3d(channels)],
    }
    if name not in layers:
        raise ValueError(f"normalization must be one of {', '.join(layers)}; got {name!r}")
    return layers[name]


class ConvBlock(nn.Module):
    """``n_stages`` times convolution, normalisation, ReLU.

    (B, n_in, W, H, D) -> (B, n_out, W, H, D)
    """

    def __init__(self, n_stages, n_in, n_out, normalization):
        super().__init__()
        layers = []
        for stage in range(n_stages):
            layers.append(nn.Conv3d(n_in if stage == 0 else n_out, n_out, 3, padding=1))
            layers += [*normalisation(normalization, n_out), nn.ReLU(inplace=True)]
        self.conv = nn.Sequential(*layers)

    def forward(self, x):
        return self.conv(x)


class Resample(nn.Module):
    """A convolution (down) or transposed convolution (up) whose kernel is its stride.

    Each side is divided, or multiplied, by the stride."""

    def __init__(self, convolution, n_in, n_out, stride, normalization):
        super().__init__()
        layers = [convolution(n_in, n_out, stride, stride=stride)]
        layers += [*normalisation(normalization, n_out), nn.ReLU(inplace=True)]
        self.conv = nn.Sequential(*layers)

    def forward(self, x):
        return self.conv(x)


class VNet(nn.Module):
    """(B, n_channels, W, H, D) float -> (B, n_classes, W, H, D) logits.

    ``n_filters``: channels at full size, doubled at each halving.  ``has_dropout``: Dropout3d(0.5)
    after the bottom and before the output, while in train mode.
    ``bottom_stride``: the stride of the fourth halving.  (2, 2, 1) is the walkthrough's network
    (9,186,722 parameters with one input channel, BatchNorm and 16 filters), 2 is UA-MT's (9,448,866).
    The defaults are the walkthrough's; the course has ``n_channels=1``.
    Raises ValueError for another ``normalization``, for images, and for a volume whose sides can't be halved so
    often; the message names sizes that can.  V-Net is for volumes only.  For images see TWO_DIMENSIONS.md.
    """

    def __init__(self, n_channels=3, n_classes=2, n_filters=16, normalization="none", has_dropout=False,
                 *, bottom_stride=(2, 2, 1)):
        super().__init__()
        self.bottom_stride = (bottom_stride,) * 3 if isinstance(bottom_stride, int) else tuple(bottom_stride)
        self.has_dropout = has_dropout
        f, norm, down, up = n_filters, normalization, nn.Conv3d, nn.ConvTranspose3d

        self.block_one = ConvBlock(1, n_channels, f, norm)
        self.block_one_dw = Resample(down, f, 2 * f, (2, 2, 2), norm)
        self.block_two = ConvBlock(2, 2 * f, 2 * f, norm)
        self.block_two_dw = Resample(down, 2 * f, 4 * f, (2, 2, 2), norm)
        self.block_three = ConvBlock(3, 4 * f, 4 * f, norm)
        self.block_three_dw = Resample(down, 4 * f, 8 * f, (2, 2, 2), norm)
        self.block_four = ConvBlock(3, 8 * f, 8 * f, norm)
        self.block_four_dw = Resample(down, 8 * f, 16 * f, self.bottom_stride, norm)

        self.block_five = ConvBlock(3, 16 * f, 16 * f, norm)
        self.block_five_up = Resample(up, 16 * f, 8 * f, self.bottom_stride, norm)

        self.block_six = ConvBlock(3, 8 * f, 8 * f, norm)
        self.block_six_up = Resample(up, 8 * f, 4 * f, (2, 2, 2), norm)
        self.block_seven = ConvBlock(3, 4 * f, 4 * f, norm)
        self.block_seven_up = Resample(up, 4 * f, 2 * f, (2, 2, 2), norm)
        self.block_eight = ConvBlock(2, 2 * f, 2 * f, norm)
        self.block_eight_up = Resample(up, 2 * f, f, (2, 2, 2), norm)
        self.block_nine = ConvBlock(1, f, f, norm)
        self.out_conv = nn.Conv3d(f, n_classes, 1)
        self.dropout = nn.Dropout3d(p=0.5)

    @property
    def divisor(self):
        """What each side of the input must be a multiple of, e.g. (16, 16, 8)."""
        return tuple(8 * stride for stride in self.bottom_stride)

    def encoder(self, x):
        """The features of ``x`` at five resolutions, from (B, F, W, H, D) to (B, 16 F, W/16, H/16, D/8).

        F is ``n_filters``."""
        x1 = self.block_one(x)
        x2 = self.block_two(self.block_one_dw(x1))
        x3 = self.block_three(self.block_two_dw(x2))
        x4 = self.block_four(self.block_three_dw(x3))
        x5 = self.block_five(self.block_four_dw(x4))
        return x1, x2, x3, x4, self.dropout(x5) if self.has_dropout else x5

    def decoder(self, features):
        """Back to full size; at each size the encoder's features are added.

        Returns logits (B, n_classes, W, H, D)."""
        x1, x2, x3, x4, x5 = features
        x = self.block_six(self.block_five_up(x5) + x4)
        x = self.block_seven(self.block_six_up(x) + x3)
        x = self.block_eight(self.block_seven_up(x) + x2)
        x = self.block_nine(self.block_eight_up(x) + x1)
        return self.out_conv(self.dropout(x) if self.has_dropout else x)

    def forward(self, x):
        self._check(x)
        return self.decoder(self.encoder(x))

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        """torch's, with an error that names the arguments of the V-Net that the weights belong to.  torch calls it for
        a V-Net inside another module too."""
        state = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
        with contextlib.suppress(KeyError, AttributeError, TypeError, IndexError):
            theirs, mine = settings_of(state), settings_of(self.state_dict())
            if theirs != mine:
                said = ", ".join(f"{name}={theirs[name]!r}" for name in theirs if theirs[name] != mine[name])
                rest[-1].append(f"these weights belong to a V-Net with {said}; build it with these arguments, or with "
                                "network_from_state")
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _check(self, x):
        size, divisor = tuple(x.shape[2:]), self.divisor
        if len(size) != 3:
            raise ValueError(f"V-Net takes (batch, channel, W, H, D), got {tuple(x.shape)}; for images take a "
                             "two-dimensional network")
        if any(side % d for side, d in zip(size, divisor)):
            below = tuple(max(d, side // d * d) for side, d in zip(size, divisor))
            above = tuple(-(-side // d) * d for side, d in zip(size, divisor))
            raise ValueError(f"V-Net halves its input: sides must be multiples of {divisor}, got {size}; "
                             f"{below} and {above} are possible")


def settings_of(state):
    """The arguments of the VNet whose weights ``state`` (a state dict) holds, read from its names and shapes.
    KeyError, AttributeError, TypeError or IndexError if it isn't a V-Net's."""
    first, bottom = state["block_one.conv.0.weight"], state["block_four_dw.conv.0.weight"].shape[2:]
    if "block_one.conv.1.running_mean" in state:
        norm = "batchnorm"
    elif "block_one.conv.1.weight" in state:
        norm = "groupnorm"
    else:  # InstanceNorm has no weights, but it changes the numbers of the convolutions
        norm = "instancenorm" if "block_two.conv.3.weight" in state else "none"
    return {"n_channels": first.shape[1], "n_classes": state["out_conv.weight"].shape[0], "n_filters": first.shape[0],
            "normalization": norm, "bottom_stride": bottom[0] if len(set(bottom)) == 1 else tuple(bottom)}


def network_from_state(state, *, has_dropout=False):
    """The VNet whose weights ``state`` (a state dict) holds, with them loaded strictly; see ``settings_of``.

    Raises ValueError when the keys are not those of a V-Net of this family.
    """
    try:
        network = VNet(has_dropout=has_dropout, **settings_of(state))
    except (KeyError, AttributeError, TypeError, IndexError) as error:
        raise ValueError(f"these are not the weights of a V-Net of this family (no {error})") from error
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"these are the weights of another architecture: {reason}") from error
    return network
