"""What notebook 15_many_gpus starts with torchrun and draws, its exercises and their answers."""

import json
import os
import statistics
import subprocess
import sys

import torch

from ..config import TrainConfig
from ..figures.progress import waiting
from ..figures.style import LOOKS, SMALL, line_style, new_axes
from ..records.read import RECORDED
from ..runtime import distributed
from ..runtime.places import PACKAGE
from ..training import Trainer
from .alt import ALT_TEXTS
from .exercise import Exercise

ALT = ALT_TEXTS["15_many_gpus"]


def launch(processes, module, *words):
    """``torchrun --nproc-per-node PROCESSES -m MODULE WORDS``: the lines that were printed.

    Each process has one thread.  Without the address, torchrun waits for ever on machines that
    can't resolve their own name.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               "--local-addr", "127.0.0.1", "--nproc-per-node", str(processes),
               "-m", module, *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PACKAGE.parent)}
    with waiting("torchrun"):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]


class OnFourPatches(Trainer):
    """A training whose batch is always ``slots`` of the same four patches, labelled ones first."""

    def __init__(self, root, slots, *, shared):
        super().__init__(TrainConfig(
            root_path=str(root), labelnum=4, max_samples=8, val_num=0, batch_size=len(slots),
            labeled_bs=len(slots) // 2, patch_size=(32, 32, 16), n_filters=2, has_dropout=False,
            noise_on="none", consistency=1.0, consistency_rampup=0, device="cpu", precision="fp32",
            sync_norm=shared))
        self.slots = slots

    def _on_device(self, network):
        # float64: in float32 rounding alone changes this gradient by some per cent
        return super()._on_device(network).double()

    def next_batch(self):
        draw = torch.Generator().manual_seed(3)  # four patches, very unlike one another
        width, atrium = torch.tensor([1, 3, 2, 0.5]), torch.tensor([0.02, 0.5, 0.1, 0.9])
        image = torch.randn(4, 1, 32, 32, 16, generator=draw) * width.view(4, 1, 1, 1, 1)
        label = torch.rand(4, 32, 32, 16, generator=draw) < atrium.view(4, 1, 1, 1)
        return image[self.slots].double(), label[self.slots].long()

    def gradient(self):
        """The gradient of one step, as a vector."""
        self.step()
        return torch.cat([p.grad.flatten().double() for p in self.student.parameters()])


def main(root, out):
    """On each of two ranks: one step of 1 + 1 with shared statistics, one with each rank's own."""
    found, slots = {}, [[0, 2], [1, 3]][int(os.environ["RANK"])]
    for name in ("shared", "own"):
        trainer = OnFourPatches(root, slots, shared=name == "shared")
        found[name] = trainer.gradient()
        state = trainer.teacher.state_dict()
        teacher = torch.cat([value.flatten().double() for value in state.values()])
        found[f"teachers equal, {name}"] = all(torch.equal(teacher, other)
                                               for other in distributed.gather(teacher))
    if distributed.rank() == 0:
        torch.save(found, out)


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
    """Lines about tools/scaling.py: how, where and when it ran, then the speed of each way.

    The last number of a line is the speed divided by that of one process.
    """
    record = json.loads(path.read_text(encoding="utf-8"))
    rates = record["volumes_a_second"]
    alone = statistics.median(rates["one process"])
    lines = [f"{record['command']}: {record['cores']} cores, {record['hardware']}, "
             f"torch {record['versions']['torch']}, {record['date'][:10]}, "
             f"commit {record['commit'][:7]}"]
    for way, found in rates.items():
        middle = statistics.median(found)
        lines.append(f"{way:26} {middle:5.1f} volumes a second "
                     f"({min(found):.1f} to {max(found):.1f})   "
                     f"{middle / alone:.2f} times one process")
    return lines


# --- Exercises -----------------------------------------------------------------------------------


def least_link(parameters, processes, seconds, share):
    """The slowest link, in 10^9 bytes a second, that leaves computing ``share`` of a step or more.

    Computing takes ``seconds``; the rest is a ring all-reduce of one float32 gradient.
    """
    sent = 2 * (processes - 1) / processes * 4 * parameters
    return sent / (seconds * (1 - share) / share) / 1e9


def _link(sent, allowed=lambda seconds, share: seconds * (1 - share) / share):
    return lambda p, n, seconds, share: sent(p, n) / allowed(seconds, share) / 1e9


def _sent(p, n):
    return 2 * (n - 1) / n * 4 * p


check_link = Exercise(
    least_link,
    [(9_186_722, 2, 0.2, 0.5), (9_186_722, 4, 0.2, 0.9), (9_186_722, 1, 0.2, 0.9), (1_000_000, 3, 0.05, 0.8)],
    {"One process alone sends nothing: N - 1 is 0.": _link(lambda p, n: 2 * max(n - 1, 1) / n * 4 * p),
     "A float32 has 4 bytes.": _link(lambda p, n: _sent(p, n) / 4),
     "That is in gigabits. A byte has 8 bits, and gigabytes are asked for.": _link(lambda p, n: 8 * _sent(p, n)),
     "That is half of it. A float32 has 4 bytes, and the gradient goes round the ring twice: once to be added up, once "
     "to be handed out.": _link(lambda p, n: _sent(p, n) / 2),
     "The pieces are 1/N of the gradient: 2 (N - 1) / N times its bytes, not 2 (N - 1) times.":
        _link(lambda p, n: _sent(p, n) * n),
     "The share is of the whole step, computing and sending together. With a share of one half, sending takes as long "
     "as computing.": _link(_sent, lambda seconds, share: seconds * (1 - share)),
     "Invert the quotient: sending may take (1 - share) / share times as long as computing.":
        _link(_sent, lambda seconds, share: seconds * share / (1 - share))})


def share_of(indices, rank, world):
    """What this rank draws from: every world-th index."""
    return list(indices)[rank::world]


check_share = Exercise(
    share_of, [(range(10), 0, 2), (range(10), 1, 2), (range(8, 80), 3, 4), (range(5), 2, 3), ([3, 5, 7, 8, 20], 0, 2)],
    {"Every rank gets the same volumes: begin at `rank`.": lambda i, rank, world: list(i)[::world],
     "That tests a volume's number. Its place in the list counts: indices may begin anywhere and have gaps.":
        lambda i, rank, world: [n for n in i if n % world == rank],
     "Those are `world` volumes in a row from `rank` on, not every world-th.":
        lambda i, rank, world: list(i)[rank:rank + world],
     "Those are neighbours, a block for each rank. Deal like cards: every `world`-th one, from `rank` on.":
        lambda i, rank, world: list(i)[rank * (len(i) // world):(rank + 1) * (len(i) // world)]})


if __name__ == "__main__":
    main(*sys.argv[1:])
