"""UA-MT's own training script on this library, with nothing changed but its import lines: it gives its own numbers.

The script is not ours, and so it isn't stored here.  ``LASEG_UAMT`` names a checkout of the public repository
yulequan/UA-MT; without it these tests are skipped.  For the test's sake the patch is smaller, there is no GPU, and
numbers have 64 bits: 32 bits round differently in two orders of summation, and 20 iterations enlarge that.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
NAME = "train_LA_meanteacher_certainty_unlabel.py"
# What a user changes.  Three arguments turn our corrections off: the bottom's stride, the mirror image that is always
# taken, and the offsets that leave out the last.
IMPORTS = {
    "from networks.vnet import VNet": "from functools import partial\n"
                                      "from laseg_lib import VNet as V; VNet = partial(V, bottom_stride=2)",
    "from utils import ramps, losses": "from laseg_lib import ramps; from laseg_lib.losses import maps as losses",
    "from dataloaders.la_heart import LAHeart, RandomCrop, CenterCrop, RandomRotFlip, ToTensor, TwoStreamBatchSampler":
        "from laseg_lib import LAHeart, CenterCrop, ToTensor, TwoStreamBatchSampler\n"
        "RandomRotFlip = partial(transforms.RandomRotFlip, flip_probability=1)\n"
        "RandomCrop = partial(transforms.RandomCrop, walkthrough_offsets=True)",
}
# What the test changes in both.  torchvision and its pictures are not needed, and today's PyTorch has
# another order of add_'s arguments.
BOTH = {
    "from tensorboardX import SummaryWriter": "from torch.utils.tensorboard import SummaryWriter",
    "from torchvision import transforms": "from laseg_lib import transforms",
    "from torchvision.utils import make_grid": "",
    "from dataloaders import utils": "",
    ".add_(1 - alpha, param.data)": ".add_(param.data, alpha=1 - alpha)",
    "net.cuda()": "net.double()",
    "volume_batch.cuda(), label_batch.cuda()": "volume_batch.double(), label_batch",
    "[stride * T, 2, 112, 112, 80]).cuda()": "[stride * T, 2, 32, 32, 16]).double()",
    "reshape(T, stride, 2, 112, 112, 80)": "reshape(T, stride, 2, 32, 32, 16)",
    "patch_size = (112, 112, 80)": "patch_size = (32, 32, 16)",
    "range(16))": "range(4))",
    "range(16, 80)": "range(4, 8)",
    "num_workers=4": "num_workers=0",
}


@pytest.fixture(scope="module")
def checkout():
    folder = Path(os.environ.get("LASEG_UAMT", "")) / "code"
    if not (folder / NAME).exists():
        pytest.skip("LASEG_UAMT does not name a checkout of the public repository yulequan/UA-MT")
    return folder


def losses(script, changes, root, home, folders):
    """The 20 lines of the log of ``script`` with ``changes``, run in ``home``: [(loss, consistency), ...]."""
    for old, new in changes.items():
        assert script.count(old) == 1, old
        script = script.replace(old, new)
    (home / "code").mkdir(parents=True)
    (home / "code" / NAME).write_text(script, encoding="utf-8")
    done = subprocess.run([sys.executable, NAME, "--root_path", str(root), "--max_iterations", "20"],
                          cwd=home / "code", capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)})
    assert done.returncode == 0, done.stderr[-2000:]
    log = (home / "model" / "UAMT_unlabel" / "log.txt").read_text()
    return [(float(loss), float(distance)) for loss, distance in
            re.findall(r"iteration \d+ : loss : ([\d.]+) cons_dist: ([\d.]+)", log)]


def test_20_iterations_give_the_same_losses(checkout, real_root, tmp_path):
    script = (checkout / NAME).read_text(encoding="utf-8")
    theirs = losses(script, BOTH, real_root, tmp_path / "theirs", [str(checkout), str(REPO)])
    ours = losses(script, BOTH | IMPORTS, real_root, tmp_path / "ours", [str(REPO)])
    assert len(theirs) == 20 and all(distance > 0 for _, distance in theirs)
    assert ours == [pytest.approx(row, abs=1e-5) for row in theirs]
