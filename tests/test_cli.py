"""`laseg` as a person meets it: help, a mistake in one line, and the whole way from phantoms to a table."""

import csv
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from test_training import closed_logs  # noqa: F401

from laseg_lib import VNet
from laseg_lib.cli import main, parser
from laseg_lib.config import TrainConfig
from laseg_lib.data.volumes import read_volume, write_volume
from laseg_lib.metrics import case_metrics
from laseg_lib.runtime.checkpoints import load_checkpoint

REPO = Path(__file__).resolve().parent.parent
COMMANDS = ["phantom", "fetch", "prepare", "train", "evaluate", "predict"]
TINY = "--labelnum 2 --patch_size 32 32 16 --n_filters 4 --max_iterations 2 --device cpu --precision fp32".split()


def said(capsys):
    """What a person reads on stderr: its lines without progress bars."""
    lines = re.split(r"[\r\n]+", capsys.readouterr().err)
    return [line for line in lines if line.strip() and not re.search(r"\d+%\|| \d+it ", line)]


def fails_with(capsys, message, *arguments):
    """One clear line, which matches ``message``, and an exit status that is not 0."""
    try:
        status = main([str(a) for a in arguments])
    except SystemExit as exit_:
        status = exit_.code
    lines = said(capsys)
    assert status not in (0, None), lines
    assert len(lines) == 1 and re.search(message, lines[0]), lines
    assert lines[0].startswith("laseg") and "Traceback" not in lines[0]


@pytest.fixture
def data(phantom_root, tmp_path):
    """A copy of the phantoms that a test may spoil; its root_path."""
    shutil.copytree(phantom_root.parent, tmp_path / "data")
    return tmp_path / "data" / phantom_root.name


@pytest.fixture(scope="module")
def trained(phantom_root, tmp_path_factory):
    """The folder of a run of two iterations."""
    folder = tmp_path_factory.mktemp("run")
    assert main(["train", "--root_path", str(phantom_root), "--snapshot_path", str(folder), "--val_num", "1",
                 "--val_every", "2",
                 *TINY]) == 0
    return folder


# --- help -----------------------------------------------------------------------------------------

def test_python_m_is_the_same_and_lists_the_commands():
    done = subprocess.run([sys.executable, "-m", "laseg_lib", "--help"], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and all(name in done.stdout for name in COMMANDS)
    assert done.stdout.startswith("usage: laseg ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example_that_is_right(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    example = re.search(rf"example: laseg ({command} .*)$", text).group(1)
    assert parser().parse_args(shlex.split(example)).command == command
    assert not re.search(r"default: (None|False)|default: [^)]*\) \(default", text)


def test_every_argument_says_what_it_is():
    commands = next(action for action in parser()._actions if action.dest == "command").choices
    assert not [(name, action.dest) for name, sub in commands.items() for action in sub._actions if not action.help]


@pytest.mark.parametrize("line, want", [
    ("phantom D", dict(train=40, test=10, size=(64, 48, 32), seed=0, raw=False)),
    ("phantom D --train 3 --test 2 --size 32 32 16 --seed 5 --raw", dict(train=3, test=2, size=[32, 32, 16],
        seed=5, raw=True)),
    ("fetch D --base-url http://127.0.0.1/", dict(base_url="http://127.0.0.1/")),
    ("prepare RAW D", dict(raw_dir=Path("RAW"), dest=Path("D"))),
    ("evaluate C --root_path R", dict(split="test", weights="student", window="walkthrough", csv=None)),
    ("evaluate C --root_path R --split train --weights teacher --window fast --csv o.csv",
     dict(split="train", weights="teacher", window="fast", csv=Path("o.csv"))),
    ("train --root_path R --model supervised --labelnum 8 --max_samples 80 --max_iterations 6000 --batch_size 4 "
     "--labeled_bs 2 "
     "--base_lr 0.01 --ema_decay 0.99 --consistency_type kl --consistency 0.1 --consistency_rampup 40 --seed 1337 "
     "--deterministic 1 --gpu 0 --exp vnet --downsample 2 --patch_size 48 48 40 --n_filters 8 "
     "--device cpu --precision fp32 "
     "--snapshot_path S --resume", dict(model="supervised", labelnum=8, consistency_type="kl",
                                        consistency_rampup=40.0, gpu="0",
                                        deterministic=1, patch_size=[48, 48, 40], resume=True, snapshot_path="S")),
])
def test_the_interface(line, want):
    args = vars(parser().parse_args(line.split()))
    assert {name: args[name] for name in want} == want


# --- mistakes -------------------------------------------------------------------------------------

@pytest.mark.parametrize("line, message", [
    ("", "required: command"), ("paint", "invalid choice"), ("train", "required: --root_path"), ("evaluate x",
        "--root_path"),
    ("phantom D --size 4 4", "--size"), ("train --root_path R --labelnum many", "--labelnum"),
    ("train --root_path R --lr 3", "--lr"),
    ("evaluate c --root_path r --window slow", "--window.*slow")])
def test_a_wrong_argument_is_one_line_that_points_to_help(line, message, capsys):
    fails_with(capsys, message + r".*see laseg.* --help", *line.split())


@pytest.mark.parametrize("line", ["predict a.nii.gz --out <>", "train --root_path R --init_weights <>",
                                  "evaluate --masks="])
def test_an_unset_variable_of_a_script_is_told(line, capsys):
    fails_with(capsys, "one of the arguments is empty", *line.replace("<>", "").split(" "))


def edit(path, **datasets):
    with h5py.File(path, "r+") as file:
        for name, data in datasets.items():
            del file[name]
            if data is not None:
                file[name] = data


def spoiled(kind, root):
    """Make ``root`` bad in this way; the words that must come up."""
    case = root / (root.parent / "train.list").read_text().split()[0]
    path = case / "mri_norm2.h5"
    image, label = read_volume(path)
    broken = image.copy()
    broken[3, 3, 3] = np.inf if kind == "infinite" else np.nan
    if kind == "missing list":
        (root.parent / "train.list").unlink()
        return r"train\.list: no such list.*lie beside"
    if kind == "missing case":
        shutil.rmtree(case)
        return rf"train\.list names 1 cases.*{case.name}.*fetch"
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:999])
    elif kind == "not HDF5":
        path.write_text("hello")
    else:
        edit(path, **{"no image": {"image": None}, "no label": {"label": None}, "shapes differ": {"label": label[1:]},
                      "NaN": {"image": broken}, "infinite": {"image": broken}, "255": {"label": label * 255},
                      "empty label": {"label": label * 0}}[kind])
    remedy = {"truncated": "truncated.*again", "not HDF5": "is text.*again", "no image": "no image.*again",
              "no label": "no label.*--labelnum", "shapes differ": "must be the same.*prepare",
              "NaN": "NaN.*prepare", "infinite": "infinite.*prepare",
              "255": "0 and 1 only.*laseg prepare", "empty label": "empty.*remove this case"}[kind]
    return rf"{case.name}.mri_norm2\.h5.*{remedy}"


@pytest.mark.parametrize("kind", ["missing list", "missing case", "truncated", "not HDF5", "no image",
                                  "no label", "shapes differ",
                                  "NaN", "infinite", "255", "empty label"])
def test_bad_data_is_one_line_that_names_the_file_and_the_remedy(kind, data, tmp_path, capsys):
    message = spoiled(kind, data)
    # Only the two labelled cases are sure to be in the first batch.
    fails_with(capsys, message, "train", "--root_path", data, "--snapshot_path", tmp_path / "run", "--val_num",
               0, *TINY)


@pytest.mark.parametrize("extra, message", [
    (["--labelnum", 1], "--labelnum 1 is fewer than the 2"),
    (["--labelnum", 8, "--max_samples", 8], "--labelnum 8 of --max_samples 8 leaves fewer unlabelled"),
    (["--max_samples", 9], "train.list names 8 cases.*--max_samples 9"),
    (["--patch_size", 30, 32, 16], r"--patch_size.*\(32, 32, 16\) is possible"),
    (["--model", "GAN"], "argument --model: invalid choice"),
    (["--downsample", 50], "can't be made 50 times smaller"),
    (["--device", "cuda:99"], "--device cuda"), (["--device", "tpu"], "--device tpu"),
    (["--base_lr", -1], "--base_lr"), (["--resume"], "no checkpoint to resume"),
])
def test_settings_that_cannot_work_are_one_line(extra, message, phantom_root, tmp_path, capsys):
    fails_with(capsys, message, "train", "--root_path", phantom_root, "--snapshot_path", tmp_path / "run",
               "--val_num", 0, *TINY, *extra)


def test_a_diverged_training_is_one_line_and_keeps_the_last_good_checkpoint(phantom_root, tmp_path, capsys):
    run = ["--root_path", phantom_root, "--snapshot_path", tmp_path, "--val_num", 0, *TINY, "--save_every", 1]
    assert main([str(a) for a in ["train", *run, "--max_iterations", 1]]) == 0
    capsys.readouterr()
    state = load_checkpoint(tmp_path / "last.pth")
    network = state["student"]
    network["out_conv.weight"] *= 1e38  # finite, and the next loss isn't
    from laseg_lib.runtime.checkpoints import save_checkpoint
    save_checkpoint(tmp_path / "last.pth", state)
    fails_with(capsys, r"(inf|nan) at iteration 2: training has diverged.*last good checkpoint.*--base_lr",
               "train", *run,
               "--max_iterations", 9, "--resume")
    assert load_checkpoint(tmp_path / "last.pth")["iteration"] == 1


def test_a_root_path_one_folder_too_high_is_explained(phantom_root, capsys):
    fails_with(capsys, r"--root_path is the folder that holds the cases", "train", "--root_path",
               phantom_root.parent, *TINY)


@pytest.mark.parametrize("kind, message", [
    ("missing", "no such checkpoint"), ("pointer", "git-lfs pointer.*git lfs pull"), ("page", "is a web page"),
    ("truncated", "damaged or truncated|not a checkpoint"), ("pickle", "could run code.*torch.save"),
    ("another architecture", "not the weights of a V-Net"), ("another depth", "another architecture"),
    ("no teacher", "holds no teacher"),
    ("three channels", "3 channels"), ("a list", "no dictionary"), ("one class", "1 class;.*two"),
    ("three classes", "class 1, class 2.*left atrium"), ("one network", "one network only.*--weights teacher"),
    ("two networks", "2 networks.*file of its own")])
def test_a_bad_checkpoint_is_one_line(kind, message, trained, phantom_root, tmp_path, capsys):
    path = tmp_path / "bad.pth"
    state = VNet(1, 2, 4, "batchnorm").state_dict()
    if kind == "truncated":
        whole = (trained / "last.pth").read_bytes()
        path.write_bytes(whole[:len(whole) // 2])
    elif kind in ("pointer", "page"):
        path.write_text({"pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
                         "page": "<!DOCTYPE html>\n<html>Please log in</html>"}[kind])
    elif kind != "missing":
        torch.save({"pickle": {"student": state, "config": Path("x")},
                    "another architecture": torch.nn.Linear(3, 3).state_dict(),
                    "another depth": {k: v for k, v in state.items() if "block_three.conv.6" not in k},
                    "no teacher": {"student": state},
                    "one class": VNet(1, 1, 4).state_dict(), "three classes": {"net": VNet(1, 3, 4).state_dict()},
                    "one network": {"state_dict": state}, "two networks": {"one": state, "two": state},
                    "three channels": VNet(3, 2, 4, "batchnorm").state_dict(), "a list": [1, 2]}[kind], path)
    weights = "teacher" if kind in ("no teacher", "one network") else "student"
    fails_with(capsys, rf"bad\.pth.*({message})", "evaluate", path, "--root_path", phantom_root, "--weights", weights)


@pytest.mark.parametrize("extra, message", [
    (["--patch_size", 30, 32, 16], r"--patch_size \(30, 32, 16\).*multiples of \(16, 16, 8\)"),
    (["--patch_size", 0, 0, 0], "--patch_size"), (["--downsample", -1], "--downsample"),
    (["--downsample", 0], "--downsample must be between 1 and 64"),
    (["--patch_size", 16 * 10**6, 16, 16], "4096 at most"),
    (["--csv", "."], r"--csv \.: can't be written")])
def test_an_evaluation_that_cannot_work_is_one_line(extra, message, trained, phantom_root, capsys):
    fails_with(capsys, message, "evaluate", trained / "last.pth", "--root_path", phantom_root, *extra)


def test_an_unsound_test_case_is_named(trained, data, capsys):
    (data / (data.parent / "test.list").read_text().split()[1] / "mri_norm2.h5").write_bytes(b"")
    fails_with(capsys, r"PHANTOM_0009.mri_norm2\.h5.*is empty", "evaluate", trained / "last.pth",
               "--root_path", data,
               "--window", "fast")


def test_a_second_training_does_not_overwrite_the_first(trained, phantom_root, capsys):
    fails_with(capsys, "holds a training already.*--resume", "train", "--root_path", phantom_root,
               "--snapshot_path", trained,
               "--val_num", 1, *TINY)


def test_a_folder_that_cannot_be_made_is_one_line(phantom_root, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    fails_with(capsys, "file", "train", "--root_path", phantom_root, "--snapshot_path",
               tmp_path / "file" / "run", *TINY)


# --- the whole way --------------------------------------------------------------------------------

def test_from_phantoms_to_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main("phantom data --train 5 --test 2 --size 32 32 16 --seed 3".split()) == 0
    assert "data/phantoms" in capsys.readouterr().out.replace("\\", "/")
    assert main(["train", "--root_path", "data/phantoms", "--val_num", "1", "--val_every", "1", *TINY]) == 0
    out = capsys.readouterr().out
    folder = Path("model/LA_vnet_2_labeled/MT")
    assert "MT: 2 labelled of 4 cases, 1 for validation" in out and "best validation Dice" in out
    assert {"last.pth", "best.pth", "history.csv", "log.txt", "log"} <= {p.name for p in folder.iterdir()}
    tables = {}
    for weights in ("student", "teacher"):
        for window in ("seed", "fast", "whole"):
            line = ["evaluate", folder / "last.pth", "--root_path", "data/phantoms", "--weights", weights,
                    "--window", window,
                    "--csv", f"out/{weights}_{window}.csv"]
            assert main([str(a) for a in line]) == 0
            assert f"2 cases of test.list, {weights}, {window} window: Dice " in capsys.readouterr().out
            with open(f"out/{weights}_{window}.csv", newline="", encoding="utf-8") as file:
                tables[weights, window] = list(csv.DictReader(file))
    for rows in tables.values():
        assert [row["case"] for row in rows] == ["PHANTOM_0005", "PHANTOM_0006"]
        assert list(rows[0]) == ["case", "dice", "jaccard", "hd95", "asd", "hd95_mm", "asd_mm", "empty"]
        for row in rows:
            assert 0 <= float(row["dice"]) <= 1
            assert float(row["hd95_mm"]) > 1.7 * float(row["hd95"])  # a phantom's voxels are wide, and aren't cubes
    line = ["evaluate", folder / "last.pth", "--root_path", "data/phantoms", "--split", "train", "--window", "fast"]
    assert main([str(a) for a in line]) == 0 and "5 cases of train.list" in capsys.readouterr().out


def test_an_empty_prediction_is_loud(trained, phantom_root, tmp_path, capsys):
    state = load_checkpoint(trained / "last.pth")
    state["student"]["out_conv.bias"] = torch.tensor([100.0, -100.0])
    torch.save({"config": state["config"], "student": state["student"]}, tmp_path / "empty.pth")
    assert main(["evaluate", str(tmp_path / "empty.pth"), "--root_path", str(phantom_root), "--window", "fast"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("the prediction is EMPTY") == 3 and "WARNING: 3 predictions are EMPTY" in captured.err
    assert "Dice 0.0000" in captured.out and "HD95 59.87 voxels" in captured.out  # the diagonal of 48 x 32 x 16


def test_the_seed_recipe_and_its_exceptions(phantom_root, tmp_path):
    line = ["train", "--root_path", phantom_root, "--snapshot_path", tmp_path, "--recipe", "seed",
            "--noise_on", "both",
            "--val_num", 0, *TINY, "--max_iterations", 1]
    assert main([str(a) for a in line]) == 0
    config = load_checkpoint(tmp_path / "last.pth")["config"]
    assert config["flip_probability"] == 1.0 and config["walkthrough_offsets"] and config["teacher_mode"] == "train"
    assert config["ema_buffers"] == "keep" and config["noise_on"] == "both"


def test_largest_component_and_downsampled_millimetres(trained, phantom_root, tmp_path, monkeypatch):
    def two_parts(network, image, patch_size, **options):
        label = np.zeros(image.shape, np.uint8)
        label[2:8, 2:8, 2:6], label[-1, -1, -1] = 1, 1
        return label, label.astype(np.float32)

    monkeypatch.setattr("laseg_lib.evaluate.predict_volume", two_parts)
    root, rows = phantom_root, {}
    for extra in ("--no-op", "--largest_component"):
        line = ["evaluate", trained / "last.pth", "--root_path", root, "--downsample", 2, "--csv",
                tmp_path / "o.csv"]
        assert main([str(a) for a in line + ([extra] if extra != "--no-op" else [])]) == 0
        with open(tmp_path / "o.csv", newline="") as file:
            rows[extra] = next(csv.DictReader(file))
    assert float(rows["--largest_component"]["asd"]) != float(rows["--no-op"]["asd"])
    row = rows["--no-op"]  # a voxel is 2.47 x 2.73 x 3.44 mm, twice as wide for this network
    assert 2 * 2.47 <= float(row["hd95_mm"]) / float(row["hd95"]) <= 2 * 3.44


@pytest.mark.parametrize("known", [None, (0.5, 0.5, 2), (np.nan, np.nan, 2)])
def test_evaluate_takes_the_spacing_that_files_dont_say(known, trained, phantom_root, tmp_path, monkeypatch):
    """What the file says wins; what it doesn't is given, or mm are NaN."""
    def square(network, image, patch_size, **options):
        label = np.zeros(image.shape, np.uint8)
        label[2:8, 2:8, 2:6] = 1
        return label, label.astype(np.float32)

    monkeypatch.setattr("laseg_lib.evaluate.predict_volume", square)
    image, label = read_volume(phantom_root / "PHANTOM_0008" / "mri_norm2.h5")
    geometry = {} if known is None else {"spacing": known}
    write_volume(tmp_path / "cases" / "odd" / "mri_norm2.h5", image, label, **geometry)
    (tmp_path / "test.list").write_text("odd\n")
    for given in ([], ["--spacing", 0.5, 0.5, 3]):
        line = ["evaluate", trained / "last.pth", "--root_path", tmp_path / "cases", "--csv", tmp_path / "o.csv",
                *given]
        assert main([str(a) for a in line]) == 0
        with open(tmp_path / "o.csv", newline="") as file:
            row = next(csv.DictReader(file))
        said = known is not None and not np.isnan(known).any()
        sides = known if said else (0.5, 0.5, known[2] if known else 3) if given else np.nan
        want = case_metrics(square(0, image, 0)[0], label, sides)
        assert float(row["hd95_mm"]) == pytest.approx(want["hd95_mm"], nan_ok=True)
        assert float(row["asd_mm"]) == pytest.approx(want["asd_mm"], nan_ok=True)


def test_a_case_in_both_lists_is_told(trained, data, tmp_path, capsys):
    (data.parent / "test.list").write_text("PHANTOM_0003\n")
    fails_with(capsys, "train.list: PHANTOM_0003 is in test.list too.*remove it", "train", "--root_path", data,
               "--snapshot_path", tmp_path / "run", *TINY)
    fails_with(capsys, "test.list: PHANTOM_0003 is in train.list too.*remove it", "evaluate",
               trained / "last.pth", "--root_path", data)


def test_commands_that_need_a_label_name_the_case_that_lacks_it(trained, data, tmp_path, capsys):
    for name in ("PHANTOM_0001", "PHANTOM_0007", "PHANTOM_0009"):
        edit(data / name / "mri_norm2.h5", label=None)
    run = ["train", "--root_path", data, "--snapshot_path", tmp_path / "run", *TINY]
    fails_with(capsys, "PHANTOM_0001.*no label.*--labelnum", *run, "--val_num", 0)
    fails_with(capsys, "PHANTOM_0007.*no label.*--val_num", *run, "--val_num", 1, "--labelnum", 1, "--batch_size", 2,
               "--labeled_bs", 1)
    fails_with(capsys, "PHANTOM_0009.*no label.*test cases", "evaluate", trained / "last.pth", "--root_path", data)


def test_a_volume_smaller_than_the_patch_is_no_mistake(phantom_root, tmp_path):
    small = [v[:20, :20, :10] for v in read_volume(phantom_root / "PHANTOM_0000" / "mri_norm2.h5")]
    for name in ("train", "test"):
        (tmp_path / f"{name}.list").write_text(f"{name}_small\n")
        write_volume(tmp_path / "cases" / f"{name}_small" / "mri_norm2.h5", *small)
    assert small[1].any()
    run = ["--root_path", tmp_path / "cases", "--model", "supervised", *TINY, "--labelnum", 1, "--batch_size",
           1, "--labeled_bs", 1]
    assert main([str(a) for a in ["train", *run, "--snapshot_path", tmp_path / "run"]]) == 0
    for window in ("seed", "fast", "whole"):
        assert main([str(a) for a in ["evaluate", tmp_path / "run" / "last.pth", "--root_path", tmp_path / "cases",
                                      "--window", window]]) == 0


def test_real_volumes_are_evaluated(trained, real_root, tmp_path, monkeypatch):
    from laseg_lib.data import volumes

    monkeypatch.setattr(volumes, "read_list", lambda path, real=volumes.read_list: real(path)[:1])
    line = ["evaluate", trained / "last.pth", "--root_path", real_root, "--window", "fast", "--downsample", 2,
            "--csv", tmp_path / "o.csv"]
    assert main([str(a) for a in line]) == 0
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 2


def test_a_scans_name_steers_no_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("laseg_lib.predict.Predictor", lambda *_, **__: None)
    monkeypatch.setattr("laseg_lib.data.masks.predict_files", lambda *_, say, **__: say("a\x1b[31m.nrrd") or 0)
    assert main(["predict", "last.pth", "scan.nrrd", "--out", str(tmp_path)]) == 0
    assert "a\\x1b[31m.nrrd" in capsys.readouterr().out


def test_a_system_that_opens_no_more_files_is_told(monkeypatch, capsys):
    def refuse():
        raise OSError("could not get source code")

    monkeypatch.setattr("laseg_lib.cli.parser", refuse)
    assert main(["phantom", "here"]) == 1 and capsys.readouterr().err == "laseg: could not get source code\n"


def test_help_imports_no_torch():
    script = ("import sys, laseg_lib.cli\ntry:\n    laseg_lib.cli.main(['train', '--help'])\n"
              "except SystemExit:\n    pass\n"
              "assert not {'torch', 'numpy', 'monai', 'SimpleITK'} & set(sys.modules), 'slow to start'")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and "--labelnum" in done.stdout, done.stderr


def test_what_goes_with_masks_only_is_refused_beside_a_checkpoint(capsys, tmp_path):
    fails_with(capsys, "--masks", "evaluate", "x.pth", "--root_path", tmp_path, "--label-value", 3)


def test_safetensors_under_another_name_are_read(trained, tmp_path):
    from safetensors.torch import save_file

    from laseg_lib.runtime.checkpoints import load_network
    network, _ = load_network(trained / "last.pth")
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, tmp_path / "weights.pth")
    found = load_network(tmp_path / "weights.pth")[0].state_dict()
    assert all(torch.equal(found[name], value) for name, value in network.state_dict().items())


def test_every_way_to_start_the_program_starts_it():
    for module in ("laseg_lib", "laseg_lib.cli"):
        done = subprocess.run([sys.executable, "-m", module, "predict"], capture_output=True, text=True)
        assert done.returncode == 2 and "the following arguments are required" in done.stderr


def test_the_home_folder_may_stand_after_an_equals_sign(tmp_path, monkeypatch):
    """A shell leaves it as it is there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    args = parser().parse_args(["predict", "~x.nii.gz", "--out=~/masks"])
    assert args.out == tmp_path / "masks" and args.files == [Path("~x.nii.gz")]
    assert TrainConfig(root_path="a", snapshot_path="~/run").snapshot_path == str(tmp_path / "run")
