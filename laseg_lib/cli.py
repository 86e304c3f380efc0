"""The command line: ``laseg phantom | fetch | prepare | train | evaluate | predict``."""

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path

from .config import RECIPES, RENAMED, TrainConfig, choices, explanations, type_of_setting
from .errors import LasegError, visible
from .runtime import places, program


def main(argv=None):
    """Run one command; returns the exit status.  A user's mistake is reported in one line, without a stack trace."""
    program.restore_ctrl_c()
    program.open_streams()
    command = ""
    try:
        args = parser().parse_args(argv)
        command = f" {args.command}"
        return program.exit_status(args.run(args) or 0)
    except (LasegError, OSError) as error:
        message = program.in_one_line(error)
    except KeyboardInterrupt:
        message = "interrupted"
    program.print_error(f"laseg{command}: {message}")
    return program.exit_status(1)


def parser():
    top = program.OneLineParser(prog="laseg", description="Mean Teacher segmentation of the left atrium.")
    commands = top.add_subparsers(dest="command", required=True)

    def command(name, run, text, example):
        sub = commands.add_parser(name, help=text, description=text, epilog=f"example: laseg {name} {example}",
                                  formatter_class=program.WithDefaults)
        sub.set_defaults(run=run)
        return sub

    trained = "last.pth or best.pth of a training, or another V-Net's weights"
    window = "walkthrough (or seed): stride 18 of 112 voxels, 4 of 80; fast: half a patch; whole: the volume at once"
    orientation = {"choices": ["qform", "sform"], "help": "which of a NIfTI file's two matrices counts, if they differ"}
    three_sides = {"type": millimetres, "nargs": 3, "metavar": ("X", "Y", "Z")}

    phantom = command("phantom", run_phantom, "write synthetic atria", "data --train 40 --test 10")
    phantom.add_argument("dest", type=Path, metavar="DEST", help="the folder to write into; cases lie in DEST/phantoms")
    phantom.add_argument("--train", type=int, default=40, help="training cases")
    phantom.add_argument("--test", type=int, default=10, help="test cases")
    phantom.add_argument("--size", type=int, nargs=3, default=(64, 48, 32), metavar=("W", "H", "D"), help="voxels")
    phantom.add_argument("--seed", type=int, default=0, help="random seed")
    phantom.add_argument("--classes", type=int, choices=(1, 2), default=1,
                         help="1: the atrium's cavity; 2: the cavity, and its wall of 2.5 mm")
    phantom.add_argument("--raw", action="store_true", help="write raw NRRD pairs, for `laseg prepare`")

    fetch = command("fetch", run_fetch, "download the 100 public volumes, verified (about 220 MB)", "data/la2018")
    fetch.add_argument("dest", type=Path, metavar="DEST", help="the folder to write into")
    fetch.add_argument("--base-url", help="a mirror of the public folder (default: UA-MT's repository)")

    prepare = command("prepare", run_prepare, "turn scans (NIfTI, NRRD, MetaImage, DICOM) and the labels of some into "
                      "training files", "scans data/mine --scan '*_mri.nii.gz' --label '*_la.nii.gz'")
    prepare.add_argument("raw_dir", type=Path, metavar="SCANS", help="the folder that holds the scans, at any depth")
    prepare.add_argument("dest", type=Path, metavar="DEST", help="the folder to write into; cases lie in DEST/volumes")
    prepare.add_argument("--scan", metavar="PATTERN", help="which files (or folders of DICOM) are scans; the stars are "
                         "the case's name (default: lgemri.nrrd, or nnU-Net's imagesTr)")
    prepare.add_argument("--label", metavar="PATTERN", help="which files are labels, with the same stars (default: "
                         "laendo.nrrd, or nnU-Net's labelsTr)")
    which = prepare.add_mutually_exclusive_group()
    which.add_argument("--label-value", type=int, nargs="+", metavar="N",
                       help="the value (or values) of the atrium, if a label holds others too")
    which.add_argument("--classes", nargs="+", metavar="NAME=VALUE", help="several classes, such as wall=1 cavity=2")
    prepare.add_argument("--orientation", **orientation)
    prepare.add_argument("--label-as-scan", action="store_true",
                         help="ignore the labels' headers: their voxels lie where the scans' do")
    prepare.add_argument("--labelled-list", type=Path, metavar="FILE", help="the labelled training cases, in order")
    prepare.add_argument("--test-list", type=Path, metavar="FILE", help="the test cases")
    prepare.add_argument("--test-share", type=float, default=0.2,
                         help="the share of labelled patients that is drawn for testing, if there is no list")
    prepare.add_argument("--patient", metavar="PATTERN", help="a pattern whose star is the patient's part of a case's "
                         "name, as in '*_scan?'; a patient is never in both training and test (default: BIDS's and "
                         "nnU-Net's names)")
    prepare.add_argument("--skip-bad", action="store_true",
                         help="leave out cases that can't be prepared; DEST/left_out.txt lists them with the reason")
    prepare.add_argument("--spacing", **three_sides, help="a voxel's sides in mm, for headers without them")
    prepare.add_argument("--voxel", type=millimetres, default=0.625, metavar="MM", help="side of the prepared voxels")
    prepare.add_argument("--checkpoint", type=Path, metavar="FILE",
                         help="a trained network; unlabelled scans are cropped around the atrium that it finds")
    prepare.add_argument("--seed", type=int, default=1337, help="random seed of margins and drawn test cases")

    train = command("train", run_train, "train one arm", "--root_path data/phantoms --model MT --labelnum 4 "
                    "--patch_size 48 48 32 --n_filters 8 --max_iterations 400")
    add_config_arguments(train)
    train.add_argument("--recipe", choices=RECIPES, default="right",
                       help="walkthrough (or seed): with its bugs (" + ", ".join(RECIPES["walkthrough"])
                            + "); right: without them; strong: right, with " + ", ".join(RECIPES["strong"]))
    train.add_argument("--gpu", help="which GPUs the process may see (CUDA_VISIBLE_DEVICES), e.g. 0")
    train.add_argument("--resume", action="store_true", help="continue from the last checkpoint in --snapshot_path")

    def network_arguments(sub, default, unfit=""):
        """The arguments that `evaluate` and `predict` share."""
        sub.add_argument("--weights", choices=["student", "teacher"], default="student", help="which network")
        sub.add_argument("--window", choices=["walkthrough", "seed", "fast", "whole"], default=default,
                         help=window + unfit)
        sub.add_argument("--patch_size", type=int, nargs=3, metavar=("W", "H", "D"), help="default: the training's")
        sub.add_argument("--downsample", type=int, help="default: the training's")
        sub.add_argument("--spacing", **three_sides, help="a voxel's sides in mm, for files without them")
        sub.add_argument("--device", default="auto", help=explanations()["device"])
        sub.add_argument("--precision", choices=choices("precision"), default="fp32", help=explanations()["precision"])

    evaluate = command("evaluate", run_evaluate, "measure a checkpoint on whole volumes",
                       "model/LA_vnet_8_labeled/MT/last.pth --root_path data/phantoms --csv out.csv")
    evaluate.add_argument("checkpoint", type=Path, nargs="?", metavar="CHECKPOINT", help=trained)
    evaluate.add_argument("--root_path", help=explanations()["root_path"])
    evaluate.add_argument("--masks", type=Path, metavar="FOLDER", help="in place of a checkpoint: measure the masks in "
                          "this folder, from any tool; matched by name with --labels or the cases of --root_path")
    evaluate.add_argument("--labels", type=Path, metavar="FOLDER", help="with --masks: the folder of the labels")
    evaluate.add_argument("--label-value", type=int, nargs="+", metavar="N",
                          help="with --masks: the value (or values) of the atrium, if masks or labels hold others too")
    evaluate.add_argument("--classes", nargs="+", metavar="NAME=VALUE",
                          help="with --masks: several classes, such as wall=1 cavity=2")
    evaluate.add_argument("--orientation", **orientation)
    evaluate.add_argument("--split", choices=["train", "test"], default="test", help="which list names the cases")
    network_arguments(evaluate, "walkthrough", ", not for tables")
    evaluate.add_argument("--at", choices=["same", "full"], default="same",
                          help="same: labels at the network's resolution; full: the prediction is enlarged to the "
                               "stored size and compared with the stored labels")
    evaluate.add_argument("--largest_component", action="store_true", help="keep only the largest connected part")
    evaluate.add_argument("--csv", type=Path, metavar="FILE", help="write a row for each case (and class) here")

    predict = command("predict", run_predict, "segment scans: a mask in each scan's own geometry",
                      "patient1.nii.gz patient2.nii.gz --out masks")
    predict.add_argument("files", type=Path, nargs="+", metavar="SCAN",
                         help=f"a network first: {trained} (without one: the included network); then scans: "
                              "NIfTI, NRRD, MetaImage, a folder with a DICOM series, or mri_norm2.h5; or a folder of "
                              "scans, or a pattern in quotes, such as '*.nii.gz'")
    predict.add_argument("--out", type=Path, required=True, metavar="DIR", help="where NAME_la.nii.gz is written (for "
                         "CASE_0000.nii.gz in a folder of nnU-Net's: CASE.nii.gz)")
    predict.add_argument("--format", choices=[".nii.gz", ".nrrd"], default=".nii.gz", help="format of the masks")
    predict.add_argument("--probability", action="store_true", help="also write NAME_probability")
    predict.add_argument("--force", action="store_true", help="replace existing masks")
    network_arguments(predict, "fast")
    predict.add_argument("--whole", action="store_true", help="segment the whole scan at once, not coarse to fine")
    predict.add_argument("--all_parts", action="store_true",
                         help="keep every part of the prediction, not only the largest connected one")
    predict.add_argument("--orientation", **orientation)
    predict.add_argument("--voxel", type=millimetres, nargs="+", metavar="MM", default=None,
                         help="side, or three sides, of the voxels that the network was trained on (default: those in "
                              "the checkpoint, or 0.625)")
    return top


def add_config_arguments(sub):
    """One argument for each setting of TrainConfig, with its name, type, choices and explanation."""
    for field in fields(TrainConfig):
        kind, _ = type_of_setting(field.name)
        options = {"help": explanations()[field.name], "default": argparse.SUPPRESS}
        if kind is tuple:
            options |= {"type": int, "nargs": 3, "metavar": ("W", "H", "D")}
        elif kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options |= {"type": kind, "choices": choices(field.name)}
        if field.default not in (None, ""):
            options["help"] += f" (default: {('off', 'on')[field.default] if kind is bool else field.default})"
        names = [f"--{name}" for name in (field.name, *(old for old, new in RENAMED.items() if new == field.name))]
        sub.add_argument(*names, required=field.name == "root_path", **options)


def print_line(message):
    """Print a line without invisible characters, which a file's name may hold."""
    print(visible(message), flush=True)


def run_phantom(args):
    from .data.phantom import write_phantoms

    root = write_phantoms(args.dest, train=args.train, test=args.test, size=tuple(args.size), seed=args.seed,
                          raw=args.raw, classes=args.classes)
    print_line(f"{args.train} training and {args.test} test phantoms in {root}")


def run_fetch(args):
    from .data.download import PUBLIC_URL, fetch

    print_line(f"all volumes verified in {fetch(args.dest, args.base_url or PUBLIC_URL)}")


def run_prepare(args):
    from .classes import parse_classes
    from .data.prepare import prepare

    if not 0 <= args.test_share <= 1:
        raise LasegError(f"--test-share must be between 0 and 1; got {args.test_share}")
    if args.seed < 0:
        raise LasegError(f"--seed must be 0 or more; got {args.seed}")
    find = found_by = None
    if args.checkpoint:
        from .data.volumes import fingerprint
        from .predict import Predictor

        find, found_by = Predictor(args.checkpoint).find, fingerprint(args.checkpoint)
    value = args.label_value[0] if args.label_value and len(args.label_value) == 1 else args.label_value
    classes = parse_classes(args.classes, "--classes") if args.classes else None
    root = prepare(args.raw_dir, args.dest, scan=args.scan, label=args.label, label_value=value, classes=classes,
                   orientation=args.orientation, label_as_scan=args.label_as_scan, labelled_list=args.labelled_list,
                   test_list=args.test_list, voxel_mm=args.voxel, spacing=args.spacing, find=find, found_by=found_by,
                   test_share=args.test_share, patient=args.patient, skip_bad=args.skip_bad, seed=args.seed,
                   say=print_line)
    print_line(f"prepared volumes in {root}")


def millimetres(text):
    """For argparse: a voxel's side in mm."""
    if not 0.02 <= float(text) <= 50:
        raise argparse.ArgumentTypeError(f"a voxel's side in mm must be between 0.02 and 50, not {text}")
    return float(text)


def run_train(args):
    values = {f.name: getattr(args, f.name) for f in fields(TrainConfig) if hasattr(args, f.name)}
    if args.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = args.gpu
        import torch

        if not torch.cuda.is_available():
            raise LasegError(f"--gpu {args.gpu}: there is no such GPU; give another, or --device cpu alone")
    from .data.volumes import split_of, training_names
    from .training import Trainer

    config = TrainConfig(**{**RECIPES[args.recipe], **values})
    config = split_of(config, training_names(config))
    if not config.snapshot_path:
        config.snapshot_path = f"model/LA_{config.exp}_{config.labelnum}_labeled/{config.model}"
    trainer = Trainer(config, resume=args.resume)
    print_first = print_line if trainer.first else lambda message: None  # only one of torchrun's processes prints
    print_first(f"{config.model}: {config.labelnum} labelled of {config.max_samples} cases, {config.val_num} for "
                f"validation, on {trainer.device}; the cache takes up to {trainer.cache_bytes / 1e6:.0f} MB; writing "
                f"to {config.snapshot_path}")
    if config.val_num == 0:
        print_first("no case is left for validation: only the last checkpoint is written, no best one")
    trainer.run()
    if trainer.iteration < config.max_iterations:
        return 1
    print_first(f"done: {config.snapshot_path}/last.pth" +
                ("" if trainer.best is None else f"; best validation Dice of the student {trainer.best:.4f}"))


def run_evaluate(args):
    from .data.atomic import require_own_table, require_writable, write_table
    from .evaluate import evaluate_checkpoint
    from .metrics import average

    if args.csv:
        require_writable(args.csv, "--csv")
        require_own_table(args.csv)
    if (args.checkpoint is None) == (args.masks is None) or not (args.root_path or args.masks and args.labels):
        raise LasegError("give CHECKPOINT and --root_path, or --masks FOLDER and either --labels FOLDER or "
                         "--root_path; see laseg evaluate --help")
    if not args.masks and (args.labels or args.label_value or args.classes or args.orientation):
        raise LasegError("--labels, --label-value, --classes and --orientation need --masks, and no checkpoint")
    if args.masks:
        from .classes import parse_classes
        from .data.masks import evaluate_masks

        rows = evaluate_masks(args.masks, args.labels, args.root_path, split=args.split, label_value=args.label_value,
                              classes=parse_classes(args.classes, "--classes") if args.classes else None,
                              spacing=args.spacing, orientation=args.orientation)
        what = f"masks of {args.masks}"
    else:
        rows = evaluate_checkpoint(**{k: v for k, v in vars(args).items() if k not in (
            "csv", "run", "command", "masks", "labels", "label_value", "classes", "orientation")})
        what = f"cases of {args.split}.list, {args.weights}, {args.window} window"

    def format_distance(mean, name):  # mm are NaN where nobody knows how large a voxel is
        mm = mean[f"{name}_mm"]
        return f"{mean[name]:.2f} voxels" + (f" ({mm:.2f} mm)" if mm == mm else "")

    for kind in dict.fromkeys(row.get("class") for row in rows):  # several classes: a line for each, and their mean
        of_kind = [row for row in rows if row.get("class") == kind]
        mean = average(of_kind)
        counted = what if of_kind[1:] else what.replace("s of", " of", 1)
        print_line(f"{len(of_kind)} {counted}" + (f", {kind}" if kind else "") + f": Dice {mean['dice']:.4f}, Jaccard "
                   f"{mean['jaccard']:.4f}, HD95 {format_distance(mean, 'hd95')}, ASD {format_distance(mean, 'asd')}")
    if mean["empty"]:
        program.print_error(f"WARNING: {mean['empty']} predictions are EMPTY: Dice 0, distances the volume's diagonal")
    if args.csv:  # last, so that the results are on the terminal even if writing fails
        write_table(args.csv, rows)


def run_predict(args):
    from tqdm import tqdm

    from .data.files import network_and_scans, scans_of_all
    from .data.masks import predict_files
    from .predict import Predictor

    voxel = args.voxel[0] if args.voxel and len(args.voxel) == 1 else args.voxel
    if args.voxel and len(args.voxel) not in (1, 3):
        raise LasegError(f"--voxel {args.voxel}: give one side in mm, or three")
    checkpoint, scans = network_and_scans(args.files)
    if checkpoint is None:
        checkpoint = places.weights("atrium")
        print_line(f"network: {checkpoint.name}, which LASeg includes. It was trained on 76 scans of one "
                   "challenge. It is for research; it is not a medical device")
    predictor = Predictor(checkpoint, weights=args.weights, patch_size=args.patch_size, downsample=args.downsample,
                          voxel_mm=voxel, device=args.device, window=args.window, whole=args.whole,
                          keep_largest=not args.all_parts, precision=args.precision, spacing=args.spacing,
                          orientation=args.orientation)
    scans = scans_of_all(scans)

    failed = predict_files(predictor, scans, args.out, suffix=args.format, keep_probability=args.probability,
                           force=args.force, say=lambda line: tqdm.write(visible(line)),
                           complain=lambda line: tqdm.write(program.in_one_line(f"laseg predict: {line}"), sys.stderr))
    if failed and len(scans) > 1:
        print(f"laseg predict: {failed} of {len(scans)} scans failed", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
