"""Where this library meets other people's code: a loss that refuses a mask, and networks with several outputs.

UA-MT's scripts multiply a consistency loss, which is a map there, by a mask.  Here the loss of that name is a scalar:
broadcasting would only change its scale, and the mask would select nothing.
"""

import copy
import warnings

import torch

from ..errors import LasegError

REFUSED = {"mul", "imul", "rmul", "multiply", "where", "masked_select", "masked_fill"}
STILL_A_MEAN = {"mul", "rmul", "multiply", "div", "truediv", "true_divide"}


class BatchLoss(torch.Tensor):
    """The mean loss of a batch, a scalar.  Multiplying it by a map, or selecting from it with ``torch.where``, raises
    TypeError; so it does after multiplying it by a weight.  Every other result of a computation with it is a plain
    tensor, and it is saved as one."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = function.__name__.strip("_")
        with torch._C.DisableTorchFunctionSubclass():
            shapes = [tuple(arg.shape) for arg in args if torch.is_tensor(arg) and arg.numel() > 1]
            if shapes and name in REFUSED and (name != "masked_fill" or isinstance(args[0], cls)):
                raise TypeError(f"this loss is the mean over the batch, and the mask has shape {shapes[0]}: take "
                                "reduction='none', which gives one value for each voxel")
            result = function(*args, **(kwargs or {}))
            return result.as_subclass(cls) if name in STILL_A_MEAN and not result.ndim else result

    def __mul__(self, other):
        return torch.mul(self, other)  # Tensor's own operator would hide the message

    __rmul__ = __mul__

    def __format__(self, how):
        return format(self.as_subclass(torch.Tensor), how)

    def __deepcopy__(self, memo):
        return copy.deepcopy(self.as_subclass(torch.Tensor), memo)

    def __reduce_ex__(self, protocol):
        return self.as_subclass(torch.Tensor).__reduce_ex__(protocol)


def batch_loss(loss):
    """``loss``, a scalar tensor, as a ``BatchLoss``; unchanged under ``torch.compile``, which can't trace one."""
    return loss if torch.compiler.is_compiling() else loss.as_subclass(BatchLoss)


def first_output(output, x):
    """The logits in a network's ``output`` for ``x`` (B, 1, W, H, D): the output itself, or the first element of a
    tuple, a list or a dictionary.  LasegError if they have another size than ``x``, or fewer than two classes; a
    warning if they look like probabilities."""
    while isinstance(output, (tuple, list, dict)) and len(output):
        output = next(iter(output.values() if isinstance(output, dict) else output))
    if not torch.is_tensor(output):
        raise LasegError(f"the network's first output is of type {type(output).__name__}; logits (B, C, W, H, D) are "
                         "needed: wrap it in a module that returns these")
    if output.ndim != x.ndim or len(output) != len(x) or output.shape[2:] != x.shape[2:] or output.shape[1] < 2:
        raise LasegError(f"the network's first output is {tuple(output.shape)} for an input of {tuple(x.shape)}; "
                         "logits of that size are needed, with a channel for the background and one for each class")
    if output.min() >= 0 and (output.sum(1) - 1).abs().max() < 1e-2 and ((output > 0) & (output < 1)).any():
        warnings.warn("the network's outputs are positive and add up to 1, like probabilities, but logits are needed: "
                      "a second softmax makes all probabilities alike; leave out the network's own", stacklevel=4)
    return output
