"""For tools/bench.py: the walkthrough's way, written plainly, as the walkthrough and its family do it.

Tensors are float32 and contiguous.  A sample is read from HDF5 and turned whole before the crop.  Windows are
predicted one at a time into maps on the host.  Metrics are computed on whole volumes.
"""

import copy
import math

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from medpy.metric import binary

from laseg_lib import VNet, losses
from laseg_lib.data.volumes import FILE, case_names


def fetch(path, patch):
    """image (1, W, H, D) float32 and label (W, H, D) int64: a random patch of the volume at ``path``."""
    with h5py.File(path, "r") as file:
        image, label = file["image"][:], file["label"][:]
    k, axis = np.random.randint(0, 4), np.random.randint(0, 2)
    image, label = (np.flip(np.rot90(v, k), axis).copy() for v in (image, label))
    missing = [max((want - have) // 2 + 3, 0) if have <= want else 0 for want, have in zip(patch, image.shape)]
    image, label = (np.pad(v, [(m, m) for m in missing]) for v in (image, label))
    corner = [np.random.randint(0, have - want) for want, have in zip(patch, image.shape)]
    window = tuple(slice(c, c + size) for c, size in zip(corner, patch))
    image, label = image[window].astype(np.float32), label[window]
    return torch.from_numpy(image.reshape(1, *patch).copy()), torch.from_numpy(label.copy()).long()


class Fetching(torch.utils.data.Dataset):
    """Four cases over and over, for the loader's workers."""

    def __init__(self, root, patch):
        self.paths, self.patch = [root / name / FILE for name in case_names(root)[:4]], patch

    def __len__(self):
        return 10**6

    def __getitem__(self, index):
        return fetch(self.paths[index % len(self.paths)], self.patch)


def batches(root, patch, device):
    """On a GPU four workers read ahead, as the walkthrough's; on a CPU, where they would take the step's cores,
    one batch is there already: that favours the walkthrough."""
    loader = torch.utils.data.DataLoader(Fetching(root, patch), 4, num_workers=4 if device.type == "cuda" else 0,
                                         pin_memory=device.type == "cuda")
    if device.type == "cuda":
        yield from loader
    batch = next(iter(loader))
    while True:
        yield batch


def make_step(device, patch, filters, root):
    """A function that does one training step (mean teacher, 2+2)."""
    student = VNet(1, 2, filters, "batchnorm", True).to(device).train()
    teacher = copy.deepcopy(student)
    optimizer = torch.optim.SGD(student.parameters(), 0.01, momentum=0.9, weight_decay=1e-4, foreach=False)
    batch = batches(root, patch, device)

    def step():
        image, label = (tensor.to(device) for tensor in next(batch))
        noise = torch.clamp(torch.randn_like(image[2:]) * 0.1, -0.2, 0.2)
        outputs = student(image)
        with torch.no_grad():
            ema_output = teacher(image[2:] + noise)
        soft = F.softmax(outputs, dim=1)
        loss = 0.5 * (F.cross_entropy(outputs[:2], label[:2]) + losses.dice_loss(soft[:2, 1], label[:2] == 1))
        loss = loss + 0.1 * torch.mean((F.softmax(outputs[2:], dim=1) - F.softmax(ema_output, dim=1)) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        update_ema(student, teacher)
        loss.item()

    return step


def work(root, patch, filters, device):
    """What the worker of tools/bench.py is asked for: a step of training, or four samples."""
    data = Fetching(root, patch)
    return {"step": make_step(device, patch, filters, root), "fetch": lambda: [data[i] for i in range(4)]}


def update_ema(student, teacher, alpha=0.99):
    for ema_param, param in zip(teacher.parameters(), student.parameters()):
        ema_param.data.mul_(alpha).add_(param.data, alpha=1 - alpha)


def windows(shape, patch, stride):
    """The corners of all windows."""
    starts = [[min(step * i, side - size) for i in range(math.ceil((side - size) / step) + 1)]
              for side, size, step in zip(shape, patch, stride)]
    return [(x, y, z) for x in starts[0] for y in starts[1] for z in starts[2]]


def predict(model, image, patch, stride=(18, 18, 4), most=None):
    """Mask of ``image`` (W, H, D), one window at a time, softmax summed in NumPy; at ``most`` so many windows."""
    device = next(model.parameters()).device
    score, count = np.zeros((2, *image.shape), np.float32), np.zeros(image.shape, np.float32)
    with torch.no_grad():
        for corner in windows(image.shape, patch, stride)[:most]:
            window = tuple(slice(c, c + size) for c, size in zip(corner, patch))
            piece = torch.from_numpy(image[window][None, None].astype(np.float32)).to(device)
            score[(slice(None), *window)] += F.softmax(model(piece), dim=1)[0].cpu().numpy()
            count[window] += 1
    return np.argmax(score / np.maximum(count, 1), axis=0)


def metrics(prediction, label):
    """Dice, Jaccard, HD95, ASD."""
    return [measure(prediction, label) for measure in (binary.dc, binary.jc, binary.hd95, binary.asd)]
