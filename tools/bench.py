#!/usr/bin/env python3
"""After a change of the speed: time the walkthrough's way and ours, side by side and in turn; `make bench`.

    python tools/bench.py [--rounds 3] [--json build/bench.json] [--only step] [--quick] [--checkpoint last.pth]

It prints a row for each task: the median seconds of both ways, and the median and range of the ratio theirs/ours over
the rounds.  tools/bench_walkthrough.py is the walkthrough's way.  A training step of either way runs in a process of
its own, which reports its peak of memory.  LASEG_DATA names real volumes; otherwise phantoms of that size are used.

    python tools/bench.py --only methods --json data/recorded/steps.json

measures the step of every method on the strong base, and which operations take its time.

    python tools/bench.py --only commands --json data/recorded/commands.json

measures `laseg predict`, `prepare` and `evaluate` on whole-chest phantoms: how their time grows with the voxels of a
scan and with the number of cases.

    python tools/bench.py worker ROOT seed|fp32|bf16|ARM:fp32 W H D FILTERS DEVICE

is such a process; ARM is an arm of the record methods.  It answers each line of its input with a line of
JSON.  ``step`` (of training) and ``fetch`` (four samples) give seconds of the clock and the processor, and
the peak of memory in MB without that of the imports.  ``count`` gives a step's operations, the bytes that
they move, and the seconds of its convolutions.  ``shares`` gives the shares of a step's time.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import product
from pathlib import Path

import bench_walkthrough
import numpy as np
import SimpleITK as sitk
import torch
from torch.profiler import profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from laseg_lib import LAHeart, VNet, cli, update_ema_variables
from laseg_lib.config import TrainConfig
from laseg_lib.data.atomic import require_writable, write_whole
from laseg_lib.data.phantom import make_phantom, write_phantoms
from laseg_lib.data.scans import SCAN, read_scan, write_image
from laseg_lib.data.volumes import FILE, find_root, write_volume
from laseg_lib.errors import LasegError
from laseg_lib.inference import WINDOWS, predict_volume, walkthrough_stride
from laseg_lib.metrics import case_metrics
from laseg_lib.records.make import current_provenance
from laseg_lib.records.plans import ARM_NAMES, METHOD_ARMS, labels_runs
from laseg_lib.records.read import HOME
from laseg_lib.runtime import places
from laseg_lib.runtime.checkpoints import load_network
from laseg_lib.runtime.machine import available_memory, has_fast_bf16, pick_device
from laseg_lib.runtime.program import one_line_errors, positive_integer
from laseg_lib.training import Trainer

FULL, QUICK, HALF = (112, 112, 80), (48, 48, 32), (48, 48, 40)
STEPS = {"training step 2+2, 48x48x32, 8 filters": (QUICK, 8, 1e9, 5),  # patch, filters, bytes needed, times rounds
         "training step 2+2, 112x112x80, 16 filters": (FULL, 16, 14e9, 1)}
TASKS = ("fetch", "metrics", "ema", "step", "inference", "methods", "commands")
ALONE = ("methods", "commands")  # only with --only: a file of its own each
SCANS = ((48, 36, 24), (72, 54, 36), (96, 72, 48), (144, 108, 72))  # voxels of the part around the atrium
TIMED = 6  # windows of the full-size volume that the walkthrough's inference is timed on
CASES = 4  # on which the Dice of the windows is compared; with --checkpoint all test cases


def volumes(folder):
    """The root of eight training and four test cases of real size, or that of LASEG_DATA."""
    if os.environ.get("LASEG_DATA"):
        return find_root(os.environ["LASEG_DATA"])
    root = Path(folder) / "phantoms"
    names = [f"P{i:02d}" for i in range(12)]
    for i, name in enumerate(names):
        write_volume(root / name / FILE, *make_phantom(i, size=(190, 140, 88)))
    for split, chosen in (("train", names[:8]), ("test", names[8:])):
        (Path(folder) / f"{split}.list").write_text("\n".join(chosen) + "\n")
    return root


def timed(function, device, repeat=1):
    """(seconds, processor seconds of all threads) of one call."""
    begun, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeat):
        function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - begun) / repeat, (time.process_time() - cpu) / repeat


class Bench:
    """The rows so far, and what all tasks share."""

    def __init__(self, args, root, device):
        self.args, self.root, self.device, self.rows = args, root, device, []

    def row(self, name, pairs, **more):
        """Add and print one row from the (walkthrough's, our) times of the rounds."""
        ratios = [theirs[0] / ours[0] for theirs, ours in pairs]
        (seed_s, seed_cpu), (ours_s, ours_cpu) = (map(statistics.median, zip(*side)) for side in zip(*pairs))
        self.rows.append({"task": name, "seed_s": seed_s, "ours_s": ours_s, "ratio": statistics.median(ratios),
                          "low": min(ratios), "high": max(ratios), "rounds": len(pairs),
                          "cpu_ratio": seed_cpu / ours_cpu, **more})
        print(f"{name:<52}{seed_s:>10.4g} s{ours_s:>10.4g} s{statistics.median(ratios):>9.1f} x   "
              f"({min(ratios):.1f} to {max(ratios):.1f}, {len(pairs)} rounds);"
              f"  processor time {seed_cpu / ours_cpu:.1f} x", flush=True)

    def compare(self, theirs, ours, rounds, repeat=1, scale=1):
        """{name: [(walkthrough's times, our times) of each round]} for ``ours`` = {name: way}.

        A round times the walkthrough's way once, then each of ours.  ``scale`` multiplies the walkthrough's seconds if
        only a part of its work is done.
        """
        for way in (theirs, *ours.values()):
            way()  # warm-up
        pairs = {name: [] for name in ours}
        for _ in range(rounds):
            seed = [scale * t for t in timed(theirs, self.device, repeat)]
            for name, way in ours.items():
                pairs[name].append((seed, timed(way, self.device, repeat)))
        return pairs

    def fetch(self, rounds):
        """Four samples each, in processes that cache volumes (ours) or don't, as the trainings do."""
        with contextlib.ExitStack() as stack:
            ask = [stack.enter_context(child(self.root, way, FULL, 2, self.device)) for way in ("seed", "fp32")]
            pairs = [[one("fetch")["seconds"] for one in ask] for _ in range(5 * rounds + 1)]
        moved = 4 * int(np.prod(FULL)) * (4 + 4 + 1 + 8)  # float32 read and written, uint8 read and int64 written
        limit = moved / copy_speed(self.device)
        self.row("four samples with augmentation, 112x112x80, cached", pairs[1:], copy_s=limit)
        print(f"  {moved / 1e6:.0f} MB to be copied, {limit:.3g} s: at best {self.rows[-1]['seed_s'] / limit:.0f} x")

    def metrics(self, rounds):
        label = LAHeart(self.root, "test", num=1)[0]["label"].astype(bool)
        prediction = np.roll(label, (2, 1, 1), (0, 1, 2))
        ours = list(case_metrics(prediction, label).values())[:4]
        apart = float(np.abs(np.subtract(bench_walkthrough.metrics(prediction, label), ours)).max())
        assert apart < 1e-6, f"the metrics differ by {apart}"
        name = "Dice, Jaccard, HD95, ASD of a case"
        pairs = self.compare(lambda: bench_walkthrough.metrics(prediction, label),
                             {name: lambda: case_metrics(prediction, label)}, rounds)
        self.row(name, pairs[name], largest_difference=apart)
        print(f"  largest difference of the four {apart:.1e}")

    def ema(self, rounds):
        for filters, size in ((16, "9.2"), (4, "0.6")):
            pair = [VNet(1, 2, filters, "batchnorm").to(self.device) for _ in range(2)]
            name = f"EMA update, {size} million parameters"
            pairs = self.compare(partial(bench_walkthrough.update_ema, *pair),
                                 {name: partial(update_ema_variables, *pair, 0.99, 10_000)}, 5 * rounds, repeat=10)
            self.row(name, pairs[name], moves=[5, 3])
        if self.device.type == "cpu":
            print("  its two calls move each value 5 times, our one 3 times: 1.7 x where memory is the limit")

    def step(self, rounds):
        for name, (patch, filters, needed, times) in STEPS.items():
            if self.args.quick and patch == FULL:
                continue
            if self.device.type == "cpu" and (available_memory(self.device) or needed) < needed:
                print(f"{name}: left out, the ways side by side need {needed / 1e9:.0f} GB")
                continue
            ways = ["fp32"] + (["bf16"] if has_fast_bf16(self.device) else [])
            with contextlib.ExitStack() as stack:
                ask = {way: stack.enter_context(child(self.root, way, patch, filters, self.device))
                       for way in ("seed", *ways)}
                self._step(name, ask, ways, rounds * times)

    def _step(self, name, ask, ways, rounds):
        for way in ask:
            ask[way]("step")  # warm-up
        answers = [{way: ask[way]("step") for way in ask} for _ in range(rounds)]
        peak = {way: answers[-1][way]["peak_mb"] for way in ask}
        for way in ways:
            counted = ask[way]("count")
            rate = product_speed(self.device, {"fp32": torch.float32, "bf16": torch.bfloat16}[way])
            bandwidth = copy_speed(self.device)
            limit, moving = counted["operations"] / rate, counted["bytes"] / bandwidth
            self.row(f"{name}, {way}", [(t["seed"]["seconds"], t[way]["seconds"]) for t in answers],
                     seed_peak_mb=peak["seed"], ours_peak_mb=peak[way], **counted, limit_s=limit, moving_s=moving,
                     operations_per_s=rate, bytes_per_s=bandwidth)
            print(f"  peak memory {peak['seed']:.0f} MB, ours {peak[way]:.0f} MB\n"
                  f"  {counted['operations'] / 1e9:.0f} Gop at {rate / 1e9:.0f} Gop/s (matrix product) {limit:.3g} s;"
                  f" {counted['bytes'] / 1e9:.1f} GB at {bandwidth / 1e9:.1f} GB/s (copy) {moving:.3g} s;"
                  f" ours takes {self.rows[-1]['ours_s'] / (limit + moving):.1f} times both together\n"
                  f"  its convolutions alone {counted['convolutions_s']:.3g} s: with these at best"
                  f" {self.rows[-1]['seed_s'] / counted['convolutions_s']:.1f} x")

    def methods(self, rounds):
        """Our step of every method on the strong base, beside the time of its convolutions alone."""
        for precision in ["fp32"] + (["bf16"] if has_fast_bf16(self.device) else []):
            for filters, arm in product((16, 8), ("labels_only", "strong", *METHOD_ARMS)):
                with child(self.root, f"{arm}:{precision}", HALF, filters, self.device) as ask:
                    ask("step")  # warm-up
                    times = [ask("step")["seconds"][0] for _ in range(5 * rounds)]
                    shares = ask("shares")
                row = {"task": f"{ARM_NAMES[arm]}, {filters} filters, {precision}", "ours_s": statistics.median(times),
                       "low_s": min(times), "high_s": max(times), "rounds": len(times), "shares": shares}
                self.rows.append(row)
                print(f"{row['task']:<40}{row['ours_s']:>10.3f} s   ({min(times):.3f} to {max(times):.3f});  "
                      + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()), flush=True)

    def commands(self, rounds):
        """Our commands on scans of several sizes, and on 2, 4 and 8 cases, without the start of Python."""
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            for size in SCANS:
                raw = write_phantoms(folder / "x".join(map(str, size)), 1, 1, size, raw=True, progress=False)
                image, scan = read_scan(raw / "PHANTOM_0000" / SCAN).image, folder / "scan.nii.gz"
                write_image(scan, image)
                predict = "predict", scan, "--out", folder / "masks", "--force", "--device", self.device
                self.command(f"predict, a NIfTI of {'x'.join(map(str, image.GetSize()))}", rounds, *predict)
                if size == SCANS[1]:  # a larger field of view: mirrored tissue around
                    border = [side // 4 for side in image.GetSize()[:2]] + [0]
                    write_image(scan, wide := sitk.MirrorPad(image, border, border))
                    self.command(f"predict, the same in a field of {'x'.join(map(str, wide.GetSize()))}", rounds,
                                 *predict)
            raw = write_phantoms(folder / "cases", 7, 1, SCANS[1], raw=True, progress=False)
            for cases in (2, 4, 8):
                some = folder / f"raw{cases}"
                for k in range(cases):
                    shutil.copytree(raw / f"PHANTOM_{k:04d}", some / f"PHANTOM_{k:04d}")
                made = folder / f"made{cases}"
                self.command(f"prepare, {cases} scans", rounds, "prepare", some, f"{made}_ROUND", "--test-share", 0)
                self.command(f"evaluate, {cases} volumes", rounds, "evaluate", places.weights("atrium"),
                             "--root_path", f"{made}_0/volumes", "--split", "train", "--device", self.device)

    def command(self, name, rounds, *words):
        """Add and print a row of the seconds of `laseg WORDS`, with ROUND as the round's number; 0 is a warm-up.  One
        more round is profiled, for the seconds of its convolutions."""
        times = []

        def once(k):
            begun = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
                status = cli.main([str(word).replace("ROUND", str(k)) for word in words])
            if status:
                raise LasegError(f"{name}: {said.getvalue()}")
            times.append(time.perf_counter() - begun)

        for k in range(rounds + 1):
            once(k)
        convolutions = convolution_seconds(partial(once, rounds + 1), self.device)
        times = times[1:-1]
        self.rows.append({"task": name, "ours_s": statistics.median(times), "low_s": min(times), "high_s": max(times),
                          "convolutions_s": convolutions, "rounds": rounds})
        print(f"{name:<40}{statistics.median(times):>10.3f} s   ({min(times):.3f} to {max(times):.3f}), "
              f"convolutions {convolutions:.3f} s", flush=True)

    def inference(self, rounds):
        model, trained = self.network()
        cases = LAHeart(self.root, "test", num=None if self.args.checkpoint else CASES, downsample=2)
        precision = "bf16" if has_fast_bf16(self.device) else "fp32"
        slow = partial(bench_walkthrough.predict, model, patch=HALF, stride=walkthrough_stride(HALF))
        ways = {window: partial(self.predict, model, HALF, window, precision) for window in WINDOWS}
        dice = []
        for i in range(len(cases)):
            image, label = (cases[i][key] for key in ("image", "label"))
            masks = [way(image) for way in (slow, *ways.values())]
            dice.append([2 * (mask * label).sum() / (mask.sum() + label.sum()) for mask in masks])
        theirs, *ours = map(float, np.mean(dice, axis=0))
        on_one = {window: partial(way, image) for window, way in ways.items()}
        pairs = self.compare(partial(slow, image), on_one, rounds)
        for window, our in zip(ways, ours):
            self.row(f"whole volume at half resolution, window '{window}', {precision}", pairs[window], dice=our,
                     dice_seed=theirs, network=f"{trained}; {len(cases)} test cases")
            print(f"  Dice {our:.4f}, the walkthrough's way {theirs:.4f} ({trained})")
        if not self.args.quick:
            self._full_size(rounds, precision)

    def _full_size(self, rounds, precision):
        image = LAHeart(self.root, "test", num=1)[0]["image"]
        count = len(bench_walkthrough.windows(image.shape, FULL, (18, 18, 4)))
        model = VNet(1, 2, 16, "batchnorm").to(self.device).eval()
        ways = {window: partial(self.predict, model, FULL, window, precision, image) for window in ("fast", "whole")}
        slow = partial(bench_walkthrough.predict, model, image, FULL, most=TIMED)
        pairs = self.compare(slow, ways, rounds, scale=count / TIMED)
        for window in ways:
            self.row(f"whole volume, 16 filters, window '{window}', {precision}", pairs[window], windows=count,
                     windows_timed=TIMED)
        print(f"  the walkthrough's time is that of {TIMED} of its {count} windows, in proportion; untrained: no Dice")

    @staticmethod
    def predict(model, patch, window, precision, image):
        return predict_volume(model, image, patch, window=window, precision=precision)[0]

    def network(self):
        """(a network for half resolution, words about it): --checkpoint, or one trained for a minute."""
        if self.args.checkpoint:
            network, said = load_network(self.args.checkpoint, "student")[0], f"of {self.args.checkpoint}"
        else:
            with tempfile.TemporaryDirectory() as folder:
                settings = ("--model supervised_equal --labelnum 8 --max_samples 8 --val_num 0 --downsample 2 "
                            "--n_filters 8 --patch_size 48 48 40 --max_iterations 300 --base_lr 0.03 "
                            "--no-has_dropout").split()
                subprocess.run([sys.executable, "-m", "laseg_lib", "train", "--root_path", str(self.root), *settings,
                                "--snapshot_path", folder], check=True, capture_output=True, cwd=HOME)
                network = load_network(Path(folder) / "last.pth", "student")[0]
            said = "trained 300 iterations on 8 cases"
        return network.to(self.device).eval(), said


@contextlib.contextmanager
def child(root, way, patch, filters, device):
    """A process that makes training steps; yields ``ask(line) -> dict``."""
    command = [sys.executable, str(Path(__file__).resolve()), "worker", root, way, *patch, filters, device]
    quiet = {**os.environ, "KINETO_LOG_LEVEL": "99"}  # PyTorch's profiler announces itself on the terminal
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=quiet) as process:
        def ask(line):
            print(line, file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


def product_speed(device, dtype):
    """Operations a second of a large matrix product."""
    n = 8192 if device.type == "cuda" else 4096
    a = torch.randn(n, n, device=device).to(dtype)
    return 2 * n**3 / min(timed(lambda: a @ a, device)[0] for _ in range(5))


def copy_speed(device):
    """Bytes a second, read and written, of a large copy."""
    big = torch.zeros(64 * 2**20, device=device)
    other = torch.zeros_like(big)
    return 2 * big.numel() * 4 / min(timed(lambda: other.copy_(big), device)[0] for _ in range(5))


# --- The process that makes training steps -------------------------------------------------------

class CountBytes(TorchDispatchMode):
    """Adds up the sizes of all tensors that go into and come out of operations (views move nothing)."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = {id(t): t for t in tree_leaves((args, kwargs, out)) if torch.is_tensor(t)}
            CountBytes.total += sum(t.numel() * t.element_size() for t in tensors.values())
        return out


def our_work(root, way, patch, filters, device):
    """The library's own step, data included, and its own augmented samples."""
    arm, _, precision = way.rpartition(":")
    settings = {"cache": "device" if device.type == "cuda" else "memory", "deterministic": 0}
    if arm:
        run, = labels_runs(2, (arm,), (0,))
        settings = {**run.settings, **settings, "model": run.model}
    config = TrainConfig(**{**settings, "root_path": str(root), "labelnum": 2, "max_samples": 4, "val_num": 0,
                            "patch_size": patch, "n_filters": filters, "precision": precision, "device": str(device)})
    trainer = Trainer(config)
    augment = trainer.batches.augment["labelled"]
    return {"step": trainer.step, "fetch": lambda: [augment(trainer.train_set[i]) for i in range(4)]}


def count(step, device):
    """Operations, bytes and the seconds spent in convolutions, of one ``step()``."""
    with FlopCounterMode(display=False) as operations, CountBytes():
        step()
    return {"operations": operations.get_total_flops(), "bytes": CountBytes.total,
            "convolutions_s": min(convolution_seconds(step, device) for _ in range(2))}


def profiled(step, device):
    """[(operation, its own seconds, its seconds with the operations that it calls)] of one ``step()``."""
    with profile() as found:
        step()
    clock = "device_time_total" if device.type == "cuda" else "cpu_time_total"
    return [(row.key, getattr(row, f"self_{clock}") / 1e6, getattr(row, clock) / 1e6) for row in found.key_averages()]


def convolution_seconds(step, device):
    """What one ``step()`` spends in convolutions."""
    return sum(own for name, own, _ in profiled(step, device) if "conv" in name.lower())


def shares(step, device):
    """{kind of operation: its share of the time of one ``step()``}; the rest is many small ones."""
    rows = profiled(step, device)
    kinds = {"convolutions": ("conv",), "normalisation": ("norm",), "copies": ("copy_", "clone", "contiguous")}
    found = {kind: sum(own for name, own, _ in rows if any(word in name.lower() for word in words))
             for kind, words in kinds.items()}
    # laseg_lib.runtime.instance_norm, whose parts have general names.
    found["normalisation"] += sum(whole for name, _, whole in rows if name in ("Rows", "RowsBackward"))
    return {kind: seconds / sum(own for _, own, _ in rows) for kind, seconds in found.items()}


def peak_mb(device):
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    status = Path("/proc/self/status")
    if status.exists():  # Linux's ru_maxrss would count what the process that started this one took
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def worker(root, way, *numbers_and_device):
    """Answer the lines of stdin: see above."""
    *numbers, device = numbers_and_device
    *patch, filters = map(int, numbers)
    device, base = torch.device(device), peak_mb(torch.device(device))
    work = (bench_walkthrough.work(Path(root), patch, filters, device) if way == "seed"
            else our_work(root, way, patch, filters, device))
    for line in sys.stdin:
        if line.strip() in ("count", "shares"):
            answer = {"count": count, "shares": shares}[line.strip()](work["step"], device)
        else:
            begun, cpu = time.perf_counter(), time.process_time()
            work[line.strip()]()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - begun, time.process_time() - cpu
            answer = {"seconds": seconds, "peak_mb": peak_mb(device) - base}
        print(json.dumps(answer), flush=True)


@one_line_errors
def main(argv=None):
    if sys.argv[1:2] == ["worker"] and argv is None:
        return worker(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive_integer, default=3)
    parser.add_argument("--only", choices=TASKS)
    parser.add_argument("--quick", action="store_true", help="leave out the full-size step and inference")
    parser.add_argument("--checkpoint",
                        help="of a network trained at half resolution (a run of the record half), not one trained now")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, default=HOME / "build" / "bench.json")
    args = parser.parse_args(argv)
    require_writable(args.json, "--json")
    device = pick_device(args.device)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, volumes(folder), device)
        print(f"{'task':<52}{'theirs':>12}{'ours':>12}{'ratio':>11}")
        for task in TASKS:
            if args.only == task or args.only is None and task not in ALONE:
                getattr(bench, task)(args.rounds)
    write_whole(args.json, json.dumps({
        "command": " ".join(["python tools/bench.py", *sys.argv[1:]]),
        "data": "real" if os.environ.get("LASEG_DATA") else "phantoms",
        **current_provenance(device), "rows": bench.rows}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
