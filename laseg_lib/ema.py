"""The teacher: an exponential moving average (EMA) of the student."""

import warnings

import torch


@torch.no_grad()
def update_ema_variables(model, ema_model, alpha, global_step, *, buffers="keep"):
    """theta'_t = alpha theta'_(t-1) + (1 - alpha) theta_t, in place on ``ema_model``.

    alpha is lowered to min(1 - 1/(global_step + 1), alpha): a true average of all students
    so far until the exponential one has seen enough.  At global_step 0 the teacher
    becomes the student.  Source: Tarvainen & Valpola 2017, eq. 2 and their code.

    The student may have another precision or lie on another device: the average is the teacher's, in its type.
    ``buffers``: BatchNorm's running mean and variance are buffers, not parameters.
    'keep' leaves the teacher's own alone (the walkthrough), 'average' averages them with the same
    alpha, 'copy' takes the student's.  Integer buffers (counters) are copied unless kept.
    Raises ValueError for networks whose tensors differ in shape (broadcasting would mix what doesn't belong together),
    and for an alpha outside [0, 1].  Warns of a teacher in 16 bits: steps of 1 % are rounded away.

    >>> student, teacher = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    >>> _ = torch.nn.init.constant_(student.weight, 2), torch.nn.init.constant_(teacher.weight, 1)
    >>> update_ema_variables(student, teacher, alpha=0.9, global_step=1000)
    >>> teacher.weight.item()  # 0.9 * 1 + 0.1 * 2
    1.100000023841858
    """
    if buffers not in ("keep", "average", "copy"):
        raise ValueError(f"buffers must be 'keep', 'average' or 'copy', not {buffers!r}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is the teacher's share, from 0 to 1, not {alpha}; the step comes after it")
    pairs = [(list(ema_model.parameters()), list(model.parameters()))]
    pairs += [(list(ema_model.buffers()), list(model.buffers()))] if buffers != "keep" else []
    for theirs, ours in pairs:
        if [one.shape for one in theirs] != [one.shape for one in ours]:
            raise ValueError("the teacher's tensors and the student's differ in shape: they must be one network twice")
    if small := [one.dtype for one in pairs[0][0] if one.dtype in (torch.float16, torch.bfloat16)]:
        warnings.warn(f"the teacher's weights are {small[0]}, which rounds an average's small steps away, so that it "
                      "may stand still: keep it in float32 (ema_model.float())", stacklevel=3)
    alpha = min(1 - 1 / (global_step + 1), alpha)
    # theta' + (1 - alpha) (theta - theta'), one fused call for all tensors; `to` does nothing where the types agree.
    torch._foreach_lerp_(pairs[0][0], [new.to(old) for old, new in zip(*pairs[0])], 1 - alpha)
    if buffers == "keep":
        return
    for ema_buffer, buffer in zip(*pairs[1]):
        if buffers == "average" and buffer.is_floating_point():
            ema_buffer.lerp_(buffer.to(ema_buffer), 1 - alpha)
        else:
            ema_buffer.copy_(buffer)
