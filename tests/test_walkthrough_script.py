"""The walkthrough's own training script runs on this library, with nothing changed but its import lines.

Where there is no GPU `.cuda()` goes too; and for the test's sake the patch is smaller, the iterations are
fewer and volumes are read by no extra processes.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import laseg_lib
from laseg_lib.runtime.checkpoints import load_network

REPO = Path(__file__).resolve().parent.parent
WALKTHROUGH = REPO.parent / "shared" / "seed" / "walkthrough-zh.md"
IMPORTS = {
    "from tensorboardX import SummaryWriter": "from torch.utils.tensorboard import SummaryWriter",
    "from torchvision import transforms": "from laseg_lib import transforms",
    "from networks.vnet import VNet": "from laseg_lib import VNet",
    "from utils import ramps, losses": "from laseg_lib import ramps, losses",
    "from dataloaders.la_heart import *": "from laseg_lib import *",
}


@pytest.fixture(scope="module")
def script():
    """The complete listing, word for word."""
    if not WALKTHROUGH.exists():
        pytest.skip("the walkthrough with the seed's script does not lie beside this checkout")
    listings = re.findall(r"```python\n(.*?)```", WALKTHROUGH.read_text(encoding="utf-8"), re.S)
    complete = [listing for listing in listings if "argparse.ArgumentParser()" in listing]
    assert len(complete) == 1
    return complete[0]


def change(text, old, new, times=1):
    assert text.count(old) == times, old
    return text.replace(old, new)


def run(script, root, folder, labelled, cases):
    for old, new in IMPORTS.items():
        script = change(script, old, new)
    if not torch.cuda.is_available():
        script = change(script, ".cuda()", "", times=5)
    script = change(script, "patch_size = (112, 112, 80)", "patch_size = (16, 16, 16)", times=2)
    script = change(script, "num_workers=4", "num_workers=0", times=2)
    (folder / "train_mean_teacher.py").write_text(script, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "train_mean_teacher.py", "--root_path", str(root), "--max_iterations", "20", "--gpu", "0",
         "--labelnum", str(labelled), "--max_samples", str(cases)], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(REPO)})


def check(done, folder, labelled):
    assert done.returncode == 0, done.stderr[-2000:]
    snapshot = folder / "model" / f"LA_vnet_{labelled}_labeled" / "MT"
    lines = re.findall(r"iteration (\d+) : loss : ([\d.]+) cons_dist: ([\d.]+), loss_weight: ([\d.]+)",
                       (snapshot / "log.txt").read_text())
    assert [int(line[0]) for line in lines] == list(range(1, 21))
    assert all(0 < float(loss) < 5 and float(distance) > 0 and weight == "0.000674" for _, loss, distance,
               weight in lines)
    network, _ = load_network(snapshot / "iter_20.pth")
    assert sum(p.numel() for p in network.parameters()) == 9_186_722


def test_it_runs_20_iterations_on_phantoms(script, phantom_root, tmp_path):
    check(run(script, phantom_root, tmp_path, 4, 8), tmp_path, 4)


def test_it_runs_20_iterations_on_real_volumes(script, real_root, tmp_path):
    check(run(script, real_root, tmp_path, 2, 4), tmp_path, 2)


def test_the_star_gives_every_name_that_the_script_had_from_it(script):
    namespace = {}
    exec("from laseg_lib import *", namespace)
    wanted = {"np", "LAHeart", "RandomRotFlip", "RandomCrop", "CenterCrop", "ToTensor", "TwoStreamBatchSampler"}
    assert all(re.search(rf"\b{name}\b", script) for name in wanted)
    assert wanted <= set(namespace) and not {"transforms", "F", "torch"} & set(namespace)


def test_all_is_there_and_imports_little():
    assert all(hasattr(laseg_lib, name) for name in laseg_lib.__all__)
    heavy = "monai", "skimage", "plotly", "matplotlib", "requests", "nrrd", "medpy", "pandas", "ipywidgets", "IPython"
    code = f"import laseg_lib, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
