"""The command that notebook 07 prints trains as the settings say; its scratch folders come and go."""

import subprocess
import sys

from laseg_lib.cli import main
from laseg_lib.config import TrainConfig
from laseg_lib.course import nb07_train_mean_teacher as nb07

SMALL = dict(patch_size=(32, 32, 16), n_filters=2, has_dropout=False, labelnum=2, max_samples=6, val_num=2,
             labeled_bs=1, batch_size=2, precision="fp32", device="cpu")


def test_the_command_names_what_differs_and_is_understood(phantom_root, tmp_path):
    told = nb07.command(TrainConfig(root_path="x", snapshot_path="y", labelnum=3, patch_size=(32, 32, 16)))
    assert "--labelnum 3" in told and "--patch_size 32 32 16" in told and "--base_lr" not in told
    words = nb07.command(TrainConfig(max_iterations=1, **SMALL)).replace("\\\n", " ").split()[1:]
    folders = iter([str(phantom_root), str(tmp_path / "run")])
    assert main([next(folders) if word == "FOLDER" else word for word in words]) in (0, None)


def test_two_kernels_have_two_scratch_folders_and_leave_none(tmp_path):
    code = ("import sys, pathlib, laseg_lib.course as c; c.HOME = pathlib.Path(sys.argv[1]); "
            "a, b = c.scratch_folder('07'), c.scratch_folder('07'); (a / 'old').write_text(''); "
            "print(a != b, len(list(a.parent.iterdir())))")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "2"] and list((tmp_path / "data").iterdir()) == []
