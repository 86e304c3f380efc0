"""Small experiments and drawings of notebooks 09 and 11, each used on one page.

What is measured is measured on the library's own predictions, surfaces and processes.
"""

import json
import os
import re
import statistics
import subprocess
import sys
from collections import namedtuple
from itertools import islice

import numpy as np
import torch

from .. import distributed
from ..axes import SMALL, line_style, new_axes
from ..config import TrainConfig
from ..inference import predict_volume
from ..meshes import atrium_scene, surface, surface_distance
from ..phantom import make_phantom
from ..records import HOME, RECORDED, RECORDS, find_data, load_metrics, run_name
from ..stills import scene_still
from ..streams import Streams
from ..style import LOOKS
from ..training import Trainer
from ..vnet import VNet
from ..volumes import FILE, LAHeart, case_names, downsample, read_volume
from .pages_00_01 import spacing_of

# --- 09 atria_in_3d -------------------------------------------------------------------------------

Atrium = namedtuple("Atrium", "case gold predictions spacing origin")  # spacing: mm, three sides
Fine = namedtuple("Fine", "gold spacing")


def predicted_atrium(data, arms=("supervised", "MT"), seed=0, number=0):
    """A test case with the student's prediction of each arm: from the quick record where it is there, otherwise
    (real volumes, or nothing recorded yet) from networks trained here for a minute.

    ``number``: the first test case, of the first seed, unless told otherwise.
    """
    folders = {arm: RECORDED / "quick" / run_name(arm, 4, seed, variant="instancenorm") for arm in arms}
    if not data.real and all((folder / "predictions.npz").exists() for folder in folders.values()):
        root = find_data(RECORDS["quick"]["data"], seed)
        case = case_names(root, "test")[number]
        gold = read_volume(root / case / FILE)[1]
        masks = {arm: unpack(folder / "predictions.npz", f"student/{case}", gold.shape)
                 for arm, folder in folders.items()}
        return Atrium(case, gold, masks, spacing_of(gold.shape, False), f"the record quick (InstanceNorm), seed {seed}")
    masks = {}
    for arm in arms:
        trainer = Trainer(data.config(model=arm, val_num=0))
        trainer.run(80 if data.real else 150, progress=False)
        test = LAHeart(data.root, "test", downsample=trainer.config.downsample)
        image, gold = test[number]["image"], test[number]["label"]
        masks[arm] = predict_volume(trainer.student.eval(), image, trainer.config.patch_size, window="fast")[0]
    spacing = spacing_of(gold.shape, data.real) * trainer.config.downsample
    return Atrium(test.image_list[number], gold, masks, spacing, "networks trained for a minute, just now")


def unpack(path, key, shape):
    """A mask from the packed bits that ``records.score`` kept."""
    with np.load(path) as file:
        return np.unpackbits(file[key], count=int(np.prod(shape))).reshape(shape)


def fine_gold(data, case, seed=0):
    """The gold label of the same patient in small voxels: the file itself, or the phantom's formula once more."""
    if data.real:
        gold = read_volume(data.root / case / FILE)[1]
    else:
        patient = {name: RECORDS["quick"]["data"][name] for name in ("variability", "scanner")}
        gold = make_phantom(10_000 * seed + int(case.split("_")[1]), (95, 70, 44), **patient)[1]
    return Fine(gold, spacing_of(gold.shape, data.real))


def ball(radius):
    """A mask (N, N, N) of a ball of that many voxels."""
    at = np.arange(-radius - 2, radius + 3)
    return (np.add.outer(np.add.outer(at**2, at**2), at**2) <= radius**2).astype(np.uint8)


def stairs(mask):
    """The area of all voxel sides between inside and outside, in voxel sides."""
    framed = np.pad(mask.astype(int), 1)
    return int(sum(np.abs(np.diff(framed, axis=axis)).sum() for axis in range(3)))


def surface_drawer(fine):
    """A function to slide: ``draw(shrink, triangles)`` -> the surface of ``fine`` with voxels ``shrink`` times wider
    and at most so many ``triangles``, and what that costs in mm."""
    def draw(shrink=1, triangles=4000):
        mask = downsample(np.zeros(fine.gold.shape, np.float32), fine.gold, shrink)[1]
        spacing = fine.spacing * shrink
        scene = atrium_scene({"gold": mask}, spacing, faces=triangles)
        vertices, found = surface(mask, spacing, faces=triangles)
        off = surface_distance(vertices, fine.gold, fine.spacing)
        scene.update_layout(title={"text": f"voxels of {np.mean(spacing):.2f} mm, {len(found)} triangles: on average "
                                           f"{off.mean():.2f} mm off, at most {off.max():.1f} mm"})
        return scene_still(scene)
    return draw


def errors_mm(atrium):
    """{arm: how far each vertex of the predicted surface is from the gold surface, mm}; nothing for an empty one."""
    return {arm: surface_distance(surface(mask, atrium.spacing, faces=None)[0], atrium.gold, atrium.spacing)
            for arm, mask in atrium.predictions.items()}


def near_and_far(atrium, arm):
    """Mean error in mm of the predicted surface's half nearer to the middle of the atrium, and of the farther half."""
    vertices = surface(atrium.predictions[arm], atrium.spacing, faces=None)[0]
    if not len(vertices):
        return float("nan"), float("nan")
    off = surface_distance(vertices, atrium.gold, atrium.spacing)
    middle = (np.argwhere(atrium.gold).mean(0) + 0.5) * atrium.spacing
    far = np.linalg.norm(vertices - middle, axis=1)
    far = far > np.median(far)
    return float(off[~far].mean()), float(off[far].mean())


def wins(one="MT", other="supervised"):
    """In how many pairs of test case and seed of the quick record (InstanceNorm) ``one``'s student has the higher
    Dice, and how many pairs there are; (0, 0) where nothing is recorded."""
    table = load_metrics("quick")
    table = table[(table.variant == "instancenorm") & (table.labels == 4) & (table.weights == "student")]
    scores = table.pivot_table(index=["seed", "case"], columns="arm", values="dice")
    if not {one, other} <= set(scores):
        return 0, 0
    return int((scores[one] > scores[other]).sum()), len(scores)


# --- 11 many_gpus ---------------------------------------------------------------------------------


def laseg_train(*words, processes=1):
    """``torchrun --nproc-per-node N -m laseg_lib train …`` on this machine's CPU; what all processes print."""
    return launch(processes, "laseg_lib", "train", "--device", "cpu", *words)


def launch(processes, module, *words):
    """``torchrun --nproc-per-node PROCESSES -m MODULE WORDS``, one thread a process, and what was printed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m",
               module, *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HOME)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]


def said(lines, *patterns):
    """What in ``lines`` matches each of ``patterns``, with the number of lines that do."""
    hits = [[match.group() for line in lines if (match := re.search(pattern, line))] for pattern in patterns]
    return [f"{len(found)} x  {found[0]}" for found in hits if found]


def shares(config, world, batches=2):
    """For each rank of ``world``: its labelled cases, its unlabelled ones, and its first batches of indices."""
    streams = [Streams(config, torch.device("cpu"), rank, world) for rank in range(world)]
    sampler = [stream.sampler for stream in streams]
    return [(list(s.primary_indices), list(s.secondary_indices), [tuple(map(int, b)) for b in islice(s, batches)])
            for s in sampler]


def fixed_batch():
    """Two labelled and two unlabelled patches, very unlike one another: image (4, 1, 32, 32, 16), label."""
    draw = torch.Generator().manual_seed(3)
    image = torch.randn(4, 1, 32, 32, 16, generator=draw) * torch.tensor([1, 3, 2, 0.5]).view(4, 1, 1, 1, 1)
    label = torch.rand(4, 32, 32, 16, generator=draw) < torch.tensor([0.02, 0.5, 0.1, 0.9]).view(4, 1, 1, 1)
    return image, label.long()


def one_step(root, synchronised, slots):
    """The gradient (a vector) of one mean-teacher step on these slots of ``fixed_batch``, and the trainer."""
    trainer = Trainer(TrainConfig(
        root_path=str(root), labelnum=4, max_samples=8, val_num=0, batch_size=len(slots), labeled_bs=len(slots) // 2,
        patch_size=(32, 32, 16), n_filters=2, has_dropout=False, noise_on="none", consistency=1.0, consistency_rampup=0,
        device="cpu", precision="fp32", sync_norm=synchronised))
    image, label = fixed_batch()
    trainer.next_batch = lambda: (image[slots], label[slots])
    trainer.step()
    return torch.cat([p.grad.flatten().double() for p in trainer.student.parameters()]), trainer


def main(root, out):
    """On each of two ranks: one step of 1+1 with synchronised BatchNorm, and one with each rank's own."""
    found = {}
    for name in ("synchronised", "own"):
        slots = [[0, 2], [1, 3]][int(os.environ["RANK"])]
        gradient, trainer = one_step(root, name == "synchronised", slots)
        teacher = torch.cat([value.flatten().double() for value in trainer.teacher.state_dict().values()])
        found[name] = gradient
        found[f"teachers equal, {name}"] = all(torch.equal(teacher, other) for other in distributed.gather(teacher))
    if distributed.rank() == 0:
        torch.save(found, out)


def step_flops(patch=(112, 112, 80), batch=4, unlabelled=2):
    """Floating-point operations of one mean-teacher step of the walkthrough's V-Net, counted without computing."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network, volume = VNet(1, 2, 16, "batchnorm", has_dropout=True), torch.empty(1, 1, *patch)
    with FlopCounterMode(display=False) as counter:
        network(volume)
    # Backward costs two forwards; the student sees the batch, the teacher looks at the unlabelled share.
    return counter.get_total_flops() * (3 * batch + unlabelled)


def draw_efficiency(seconds, megabytes, links, processes=(1, 2, 4, 8, 16)):
    """Share of the step that is spent computing, over the number of processes, a line a link {name: GB/s}."""
    figure, ax = new_axes(height=4.0, xlabel="processes", ylabel="time spent computing (%)")
    for (name, speed), arm in zip(links.items(), ("strong", "lambda0", "supervised", "MT")):
        wire = [2 * (n - 1) / n * megabytes / 1000 / speed for n in processes]
        ax.plot(processes, [100 * seconds / (seconds + w) for w in wire], marker=LOOKS[arm].marker, markersize=9,
                **line_style(LOOKS[arm]._replace(label=f"{name}, {speed:g} GB/s"), 2.6))
    ax.set_xscale("log", base=2)
    ax.set(xticks=processes, xticklabels=processes, ylim=(0, 104))
    ax.legend(fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def measured_scaling(path=RECORDED / "scaling.json"):
    """Where, when and how tools/scaling.py was run, and a line a way: volumes a second, and how many times as many as
    one process."""
    record = json.loads(path.read_text(encoding="utf-8"))
    rates = record["volumes_a_second"]
    alone = statistics.median(rates["one process"])
    lines = [f"{record['command']}: {record['cores']} cores, {record['hardware']}, "
             f"torch {record['versions']['torch']}, {record['date'][:10]}, commit {record['commit'][:7]}"]
    for way, found in rates.items():
        middle = statistics.median(found)
        lines.append(f"{way:26} {middle:5.1f} volumes a second ({min(found):.1f} to {max(found):.1f})   "
                     f"{middle / alone:.2f} times one process")
    return lines


if __name__ == "__main__":
    main(*sys.argv[1:])
