"""The teacher: an exponential moving average (EMA) of the student."""

import warnings

import torch


@torch.no_grad()
def update_ema_variables(model, ema_model, alpha, global_step, *, buffers="keep"):
    """theta'_t = alpha theta'_(t-1) + (1 - alpha) theta_t, in place on ``ema_model``.

    alpha is lowered to min(1 - 1/(global_step + 1), alpha): in the first steps the teacher is the
    plain mean of all students so far, at global_step 0 the student itself.
    Source: Tarvainen & Valpola 2017, eq. 2 and their code.

    ``buffers``: BatchNorm's running mean and variance are buffers, not parameters.  'keep' does
    not change the teacher's (the walkthrough), 'average' averages them with the same alpha, 'copy'
    takes the student's.  Integer buffers (counters) are copied unless kept.  The average keeps the
    teacher's dtype and device; half precision gives a warning.  Returns None.  Raises ValueError
    for networks whose tensors differ in shape or are the same, for an ``alpha`` that is not from 0
    to 1, for a ``global_step`` below 0, and for another ``buffers``.
    """
    if buffers not in ("keep", "average", "copy"):
        raise ValueError(f"buffers must be 'keep', 'average' or 'copy', not {buffers!r}")
    pairs = [(list(ema_model.parameters()), list(model.parameters()))]
    pairs += [(list(ema_model.buffers()), list(model.buffers()))] if buffers != "keep" else []
    _check(pairs, alpha, global_step)
    alpha = min(1 - 1 / (global_step + 1), alpha)
    # theta' + (1 - alpha) (theta - theta'), one fused call; `to` does nothing for equal dtypes.
    torch._foreach_lerp_(pairs[0][0], [new.to(old) for old, new in zip(*pairs[0])], 1 - alpha)
    if buffers == "keep":
        return
    for ema_buffer, buffer in zip(*pairs[1]):
        if buffers == "average" and buffer.is_floating_point():
            ema_buffer.lerp_(buffer.to(ema_buffer), 1 - alpha)
        else:
            ema_buffer.copy_(buffer)


def _check(pairs, alpha, global_step):
    for theirs, ours in pairs:
        if [one.shape for one in theirs] != [one.shape for one in ours]:
            raise ValueError("teacher and student must be the same network; their shapes differ")
        # A frozen part may be shared, to save memory: its average is itself.
        if any(one.data_ptr() == other.data_ptr() != 0 and other.requires_grad for one, other in zip(theirs, ours)):
            raise ValueError("teacher and student share their tensors, so nothing is averaged; "
                             "make the teacher with copy.deepcopy(student)")
    if not 0 <= alpha <= 1 or global_step < 0:
        raise ValueError(f"alpha must be from 0 to 1, and global_step 0 or more; not {alpha} and {global_step}")
    if any(one.dtype in (torch.float16, torch.bfloat16) for one in pairs[0][0]):
        warnings.warn("the teacher is in half precision, which rounds the small steps of the average away; "
                      "keep it in float32: ema_model.float()", stacklevel=4)
