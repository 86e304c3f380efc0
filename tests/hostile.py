"""Inputs that nobody should trust, by kind, for tests/faults.py: each case makes its files, and gives what reads them.

A generator a kind yields ``case``s.  ``make(folder)`` writes the files and returns a function without arguments: what
is tried.  It may return an exit status, or raise LasegError.
"""

import contextlib
import gc
import gzip
import io
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import h5py
import nbformat
import numpy as np
import torch
from children import tiny_config
from torch.utils.data import DataLoader

from laseg_lib import cli
from laseg_lib.data.grid import image_of
from laseg_lib.data.phantom import write_phantoms
from laseg_lib.data.scans import write_image
from laseg_lib.data.volumes import write_volume
from laseg_lib.errors import LasegError
from laseg_lib.training import Trainer

REPO = Path(__file__).resolve().parent.parent
KINDS = {}
ESCAPE = "\x1b]0;owned\x07\x1b[31m"  # what would change a terminal's title and colour
TRAIN = ["--labelnum", "3", "--max_samples", "8", "--val_num", "0", "--batch_size", "2", "--labeled_bs", "1",
         "--patch_size", "16", "16", "8", "--n_filters", "1", "--max_iterations", "2", "--device", "cpu"]


class Case(NamedTuple):
    kind: str
    name: str
    make: object  # called with a folder to write to; gives what is tried
    refused: bool  # whether it must be refused, with a sentence and a status that isn't 0
    quick: bool  # neither trains nor starts a process
    replaced: tuple  # names of files that may be replaced: it is what was asked for


def kind(function):
    KINDS[function.__name__] = function
    return function


def cases(sound):
    """Every case, kind by kind."""
    for name, function in KINDS.items():
        for case in function(sound):
            yield case._replace(kind=name)


def case(name, make, *, refused=True, quick=True, replaced=()):
    return Case("", name, make, refused, quick, replaced)


def make_sound(place):
    """A folder with a sound one of everything."""
    write_phantoms(place / "data", train=8, test=1, size=(24, 20, 12), seed=0, progress=False)
    write_phantoms(place / "raw", train=1, test=1, size=(24, 20, 12), seed=1, raw=True, progress=False)
    for name in ("train.list", "test.list"):
        (place / "raw" / name).unlink()
    trainer = Trainer(tiny_config(place / "data" / "phantoms", val_num=0, max_samples=8, max_iterations=4,
                                  snapshot_path=str(place / "run")))
    trainer.run(2, progress=False)
    trainer.log.close()
    for suffix in (".nii", ".nii.gz", ".nrrd", ".mha"):
        noise = np.random.default_rng(0).normal(size=(24, 20, 12)).astype(np.float32)
        write_image(place / "scans" / f"scan{suffix}", image_of(noise, spacing=(1, 1, 1), origin=(0, 0, 0)))
    return place


def copy_training(sound, folder):
    """The sound volumes and the sound training, to be spoilt."""
    for name in ("data", "run"):
        shutil.copytree(sound / name, folder / name)


def laseg(*words):
    return lambda: cli.main([str(word) for word in words])


def train(data, *more, run="out"):
    return laseg("train", "--root_path", data / "phantoms", *TRAIN, "--snapshot_path", data.parent / run, *more)


def evaluate(data, checkpoint, *more):
    return laseg("evaluate", checkpoint, "--root_path", data / "phantoms", "--window", "fast", "--device", "cpu", *more)


def predict(checkpoint, *scans, out):
    return laseg("predict", checkpoint, *scans, "--out", out, "--device", "cpu", "--patch_size", 16, 16, 8)


def not_a_file(path, what):
    """Put something that is no regular file at ``path``."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if what == "folder":
        path.mkdir()
    else:
        path.symlink_to({"loop": path.name, "dangling": "nowhere"}[what])


NO_FILES = ("folder", "loop", "dangling")


# -- lists ------------------------------------------------------------------------------------------

LISTS = {"empty": b"", "blank lines": b"\n \n\n", "zeros": bytes(2000), "binary": bytes(range(256)) * 9,
         "utf-16": "PHANTOM_0000\n".encode("utf-16"), "path upwards": b"../secret\n", "absolute": b"/etc\n",
         "drive": b"C:x\n", "twice": b"PHANTOM_0000\nPHANTOM_0000\n", "long": b"x" * 5000, "missing": b"NOBODY\n",
         "escape": ESCAPE.encode() + b"\n", "bidirectional": "\u202ePHANTOM_0000\n".encode(),
         "surrogate": b"\xed\xb2\x80\n", "million": b"PHANTOM_0000\n" * 10**6}


@kind
def lists(sound):
    def with_list(name, put, read):
        def make(folder):
            shutil.copytree(sound / "data", folder / "data")
            shutil.copytree(sound / "raw", folder / "raw")
            put(folder / "data" / name)
            return read(folder)
        return make

    readers = {
        "train": ("train.list", lambda f: train(f / "data")),
        "train_list": ("own.list", lambda f: train(f / "data", "--train_list", f / "data" / "own.list")),
        "evaluate": ("test.list", lambda f: evaluate(f / "data", sound / "run" / "last.pth")),
        "prepare labelled": ("own.list", lambda f: laseg("prepare", f / "raw", f / "out", "--labelled-list",
                                                         f / "data" / "own.list")),
        "prepare test": ("own.list", lambda f: laseg("prepare", f / "raw", f / "out", "--test-list",
                                                     f / "data" / "own.list"))}
    for reader, (name, read) in readers.items():
        for what, data in LISTS.items():
            yield case(f"{what}, {reader}", with_list(name, lambda p, data=data: p.write_bytes(data), read),
                       refused=not (what == "utf-16" and reader.startswith("prepare")))  # which reads it
        for what in NO_FILES:
            yield case(f"{what}, {reader}", with_list(name, lambda p, what=what: not_a_file(p, what), read))
    for what in ("folder",):
        yield case(f"{what} as test.list, train", with_list(
            "test.list", lambda p, what=what: not_a_file(p, what), readers["train"][1]), refused=False, quick=False)
    for command, words in {"phantom": ["--train", 2, "--test", 1, "--size", 8, 8, 8], "prepare": []}.items():
        def make(folder, command=command, words=words):
            shutil.copytree(sound / "raw", folder / "raw")
            (folder / "out").mkdir()
            (folder / "out" / "train.list").write_text("MINE_1\nMINE_2\n")
            return laseg(command, *([folder / "raw"] if command == "prepare" else []), folder / "out", *words)
        yield case(f"another data set's, {command}", make)


    for what in NO_FILES:
        for read in (train, lambda data: evaluate(data, sound / "run" / "last.pth")):
            def make(folder, what=what, read=read):
                (folder / "data").mkdir()
                not_a_file(folder / "data" / "phantoms", what)
                return read(folder / "data")
            yield case(f"--root_path {what}, {'train' if read is train else 'evaluate'}", make)

    def over_its_own(folder):
        (folder / "out").mkdir()
        (folder / "out" / "train.list").write_text("PHANTOM_0000\nNOBODY\n")
        return laseg("prepare", sound / "raw", folder / "out", "--labelled-list", folder / "out" / "train.list")

    def through_a_link(folder):
        (folder / "out").mkdir()
        (folder / "mine.list").write_text("MINE_1\nMINE_2\n")
        (folder / "out" / "test.list").symlink_to(folder / "mine.list")
        return laseg("phantom", folder / "out", "--train", 2, "--test", 1, "--size", 8, 8, 8)

    yield case("its own list would be replaced, prepare", over_its_own)
    yield case("another's list behind a link, phantom", through_a_link)


# -- volumes ----------------------------------------------------------------------------------------

IMAGE = np.random.default_rng(0).normal(size=(24, 20, 12)).astype(np.float32)
LABEL = np.zeros(IMAGE.shape, np.uint8)
LABEL[6:18, 5:15, 3:9] = 1


def volume(**parts):
    """A function that writes an HDF5 file: ``image`` and ``label`` sound, but for ``parts`` (None: left out; a function
    of the file and a name; or an array), and ``attrs``."""
    def write(path):
        attrs = parts.get("attrs", {})
        with h5py.File(path, "w") as file:
            for name, whole in (("image", IMAGE), ("label", LABEL)):
                part = parts.get(name, whole)
                if callable(part):
                    part(file, name)
                elif part is not None:
                    file[name] = part
            for name, value in attrs.items():
                file.attrs[name] = value
    return write


def of_type(kind, shape=(4, 4, 4)):
    return lambda file, name: file.create_dataset(name, shape, kind)


def spoilt(change):
    """A sound volume's bytes, changed."""
    def write(path):
        volume()(path)
        path.write_bytes(change(path.read_bytes()))
    return write


def written_and_zeroed(path):
    """A volume as we write it, compressed, with zeros over the middle of the image: its checksum tells."""
    write_volume(path, IMAGE, LABEL)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes(2000) + data[middle + 2000:])


def with_value(value, kind=np.float32):
    image = IMAGE.astype(kind)
    image[3, 3, 3] = value
    return image


IMAGES = {
    "no image": volume(image=None), "null": volume(image=h5py.Empty("f4")), "scalar": volume(image=np.float32(1)),
    "group": volume(image=lambda f, n: f.create_group(n)),
    "external link": volume(image=lambda f, n: f.__setitem__(n, h5py.ExternalLink("gone.h5", "/image"))),
    "flat": volume(image=IMAGE[0]),
    "four axes": volume(image=IMAGE[..., None]), "empty axis": volume(image=IMAGE[:0], label=LABEL[:0]),
    "strings": volume(image=of_type(h5py.string_dtype())), "bytes": volume(image=of_type("S9")),
    "compound": volume(image=of_type([("a", "f4")])), "ragged": volume(image=of_type(h5py.vlen_dtype("f4"))),
    "references": volume(image=of_type(h5py.ref_dtype)), "complex": volume(image=IMAGE.astype(complex)),
    "named type": volume(image=lambda f, n: f.__setitem__(n, np.dtype("f8"))), "nan": volume(image=with_value(np.nan)),
    "inf": volume(image=with_value(np.inf)), "1e300": volume(image=with_value(1e300, float)),
    "empty file": lambda p: p.write_bytes(b""), "text": lambda p: p.write_text("hello\n" * 99),
    "cut": spoilt(lambda b: b[:len(b) // 2]), "head only": spoilt(lambda b: b[:200]),
    "zeros inside": written_and_zeroed, "zeros in voxels": spoilt(lambda b: b[:9000] + bytes(2000) + b[11000:]),
    "gzip": lambda p: p.write_bytes(gzip.compress(bytes(9000))),
    "escape in attributes": volume(attrs={"spacing": ESCAPE}), "spacing nan": volume(attrs={"spacing": [np.nan, 1, 1]}),
    "spacing negative": volume(attrs={"spacing": [-1.0, 1, 1]}), "spacing inf": volume(attrs={"spacing": np.inf}),
    "spacing of five": volume(attrs={"spacing": np.ones(5)}),
    "spacing empty": volume(attrs={"spacing": h5py.Empty("f4")}),
    "spacing 1e-300": volume(attrs={"spacing": 1e-300}), "spacing 1e300": volume(attrs={"spacing": 1e300}),
    "near the largest float": volume(image=np.float32(IMAGE * 5e37)),
    "origin nan": volume(attrs={"origin": [np.nan, 0, 0]}), "origin 1e308": volume(attrs={"origin": 1e308})}
LABELS = {
    "no label": volume(label=None), "label of twos": volume(label=2 * LABEL), "label empty": volume(label=0 * LABEL),
    "label nan": volume(label=np.where(LABEL, np.nan, 0)), "label of another shape": volume(label=LABEL[1:]),
    "label null": volume(label=h5py.Empty("u1")), "label of text": volume(label=of_type("S3", IMAGE.shape)),
    "label halves": volume(label=LABEL * 0.5),
    "label of 257": volume(label=LABEL.astype(np.uint16) * 257),
    "label of 2**64": volume(label=LABEL.astype(np.uint64) * np.uint64(2**64 - 1))}
# nobody knows how large a voxel is, or where: said, not refused; and zeros are voxels like others where no checksum is
MAY_PASS = {"origin nan", "spacing nan", "zeros in voxels"}


@kind
def volumes(sound):
    def with_volume(name, put, read):
        def make(folder):
            shutil.copytree(sound / "data", folder / "data")
            put(folder / "data" / "phantoms" / name / "mri_norm2.h5")
            return read(folder)
        return make

    checkpoint = sound / "run" / "last.pth"
    readers = {
        "train": ("PHANTOM_0000", lambda f: train(f / "data")),
        "unlabelled": ("PHANTOM_0005", lambda f: train(f / "data")),
        "evaluate": ("PHANTOM_0008", lambda f: evaluate(f / "data", checkpoint)),
        "predict": ("PHANTOM_0008", lambda f: predict(checkpoint, f / "data/phantoms/PHANTOM_0008/mri_norm2.h5",
                                                      out=f / "out"))}
    for reader, (name, read) in readers.items():
        hostile = IMAGES | (LABELS if reader in ("train", "evaluate") else {})
        for what, put in hostile.items():
            known = what in MAY_PASS or (reader != "predict" and what.startswith(("spacing", "origin", "escape"))
                                         ) or (reader in ("evaluate", "predict") and "largest" in what)  # it warns
            yield case(f"{what}, {reader}", with_volume(name, put, read), refused=not known,
                       quick=reader in ("evaluate", "predict"))
        for what in NO_FILES:
            yield case(f"{what}, {reader}", with_volume(name, lambda p, what=what: not_a_file(p, what), read))


# -- scans ------------------------------------------------------------------------------------------

def nrrd(sizes="24 20 12", data=b"", **fields):
    """A .nrrd (or .nhdr) file as text and bytes."""
    head = {"type": "float", "dimension": "3", "sizes": sizes, "encoding": "raw", "endian": "little",
            "spacings": "1 1 1"} | {name.replace("_", " "): value for name, value in fields.items()}
    lines = "".join(f"{name}: {value}\n" for name, value in head.items() if value is not None)
    return b"NRRD0004\n" + lines.encode() + b"\n" + data


def meta(size="24 20 12", data=b"", **fields):
    head = {"ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
            "CompressedData": "False", "DimSize": size, "ElementSpacing": "1 1 1", "ElementType": "MET_FLOAT"} | fields
    last = head.pop("ElementDataFile", "LOCAL")
    lines = "".join(f"{name} = {value}\n" for name, value in head.items() if value is not None)
    return lines.encode() + f"ElementDataFile = {last}\n".encode() + data


def nifti(size=(24, 20, 12), data=b"", **changes):
    """A .nii file: a header of 348 bytes, made by hand."""
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, len(size), *size, *[1] * (7 - len(size)))
    struct.pack_into("<2h", head, 70, changes.get("kind", 16), 32)
    struct.pack_into("<8f", head, 76, 1, *changes.get("spacing", (1, 1, 1)), 1, 1, 1, 1)
    struct.pack_into("<f", head, 108, changes.get("offset", 352))
    head[344:348] = b"n+1\0"
    return bytes(head) + data


VOXELS = np.float32(np.random.default_rng(1).normal(size=(12, 20, 24))).tobytes()
ZEROS = bytes(2**28)  # packs a thousandfold


def zipped(size):
    return gzip.compress(ZEROS[:2**24], 9, mtime=0) * (size // 2**24)


def beside(name, data=VOXELS):
    """Writes a detached file, too."""
    def put(path):
        (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (path.parent / name).write_bytes(data)
    return put


SCANS = {
    **{f"empty{s}": (s, b"") for s in (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")},
    **{f"text{s}": (s, b"hello\n" * 200) for s in (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")},
    **{f"zeros{s}": (s, bytes(5000)) for s in (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")},
    "no data.nrrd": (".nrrd", nrrd()), "no data.mha": (".mha", meta()), "no data.nii": (".nii", nifti()),
    "half.nrrd": (".nrrd", nrrd(data=VOXELS[:9000])), "half.mha": (".mha", meta(data=VOXELS[:9000])),
    "half.nii": (".nii", nifti(data=VOXELS[:9000])),
    "half.nii.gz": (".nii.gz", gzip.compress(nifti(data=VOXELS))[:9000]),
    "huge.nrrd": (".nrrd", nrrd("30000 30000 30000", VOXELS)), "huge.mha": (".mha", meta("30000 30000 30000", VOXELS)),
    "huge.nii": (".nii", nifti((30000, 30000, 30000), VOXELS)),
    "huge.nii.gz": (".nii.gz", gzip.compress(nifti((30000, 30000, 30000), VOXELS))),
    "400 digits.nrrd": (".nrrd", nrrd(f"{'9' * 400} 20 12", VOXELS)),
    "400 digits.mha": (".mha", meta(f"{'9' * 400} 20 12", VOXELS)),
    "negative.nrrd": (".nrrd", nrrd("-24 20 12", VOXELS)), "negative.mha": (".mha", meta("-24 20 12", VOXELS)),
    "negative.nii": (".nii", nifti((-24, 20, 12), VOXELS)), "zero.nrrd": (".nrrd", nrrd("0 20 12", VOXELS)),
    "zero.mha": (".mha", meta("0 20 12", VOXELS)), "zero.nii": (".nii", nifti((0, 20, 12), VOXELS)),
    "words.nrrd": (".nrrd", nrrd("a b c", VOXELS)), "words.mha": (".mha", meta("a b c", VOXELS)),
    "spacing 1e300.nrrd": (".nrrd", nrrd(data=VOXELS, spacings="1e300 1 1")),
    "spacing nan.nrrd": (".nrrd", nrrd(data=VOXELS, spacings="nan 1 1")),
    "spacing 0.mha": (".mha", meta(data=VOXELS, ElementSpacing="0 1 1")),
    "spacing word.mha": (".mha", meta(data=VOXELS, ElementSpacing="x y z")),
    "spacing nan.nii": (".nii", nifti(data=VOXELS, spacing=(np.nan, 1, 1))),
    "directions flat.nrrd": (".nrrd", nrrd(data=VOXELS, spacings=None, space="LPS",
                                           space_directions="(1,0,0) (1,0,0) (0,0,1)")),
    "escape.nrrd": (".nrrd", nrrd(data=VOXELS, encoding=ESCAPE)), "escape.mha": (".mha", meta(ESCAPE, VOXELS)),
    "four axes.nii": (".nii", nifti((24, 20, 6, 2), VOXELS)), "colours.nrrd": (".nrrd", nrrd(
        "2 12 20 12", VOXELS, dimension="4", spacings=None, kinds="vector domain domain domain")),
    "complex.nii": (".nii", nifti(data=VOXELS * 2, kind=32)), "type 9999.nii": (".nii", nifti(data=VOXELS, kind=9999)),
    "offset.nii": (".nii", nifti(data=VOXELS, offset=1e30)),
    "offset nan.nii": (".nii", nifti(data=VOXELS, offset=np.nan)),
    "one value.nrrd": (".nrrd", nrrd(data=bytes(len(VOXELS)))),
    "nan inside.nrrd": (".nrrd", nrrd(data=np.float32([np.nan]).tobytes() + VOXELS[4:])),
    "skip.nrrd": (".nrrd", nrrd(data=VOXELS, byte_skip="-99999999"))}
SCANS |= {
    "comments.nrrd": (".nrrd", b"NRRD0004\n" + b"# a comment\n" * 10**6),
    "slope 1e38.nii": (".nii", nifti(data=VOXELS)[:112] + struct.pack("<2f", 3e38, 3e38) + nifti(data=VOXELS)[120:]),
    "no matrix.mha": (".mha", meta(data=VOXELS, TransformMatrix="0 0 0 0 0 0 0 0 0"))}
DETACHED = {
    "missing.nhdr": (".nhdr", nrrd(data_file="nowhere.raw"), None),
    "missing.mhd": (".mhd", meta(ElementDataFile="nowhere.raw"), None),
    "itself.nhdr": (".nhdr", nrrd(data_file="scan.nhdr"), None),
    "itself.mhd": (".mhd", meta(ElementDataFile="scan.mhd"), None),
    **{f"data a {what}{s}": (s, head, lambda p, what=what: not_a_file(p.parent / "data.raw", what))
       for what in ("folder", "loop") for s, head in (
           (".nhdr", nrrd(data_file="data.raw")), (".mhd", meta(ElementDataFile="data.raw")),
           (".nhdr", nrrd(data_file="LIST\ndata.raw")))}}
FINE = {"beside.nhdr": (".nhdr", nrrd(data_file="data.raw"), beside("data.raw")),
        "beside list.nhdr": (".nhdr", nrrd(data_file="LIST\ndata.raw"), beside("data.raw")),
        "beside.mhd": (".mhd", meta(ElementDataFile="data.raw"), beside("data.raw")),
        "in a folder.mhd": (".mhd", meta(ElementDataFile="sub/data.raw"), beside("sub/data.raw"))}


@kind
def scans(sound):
    def with_scan(suffix, data, more, read):
        def make(folder):
            place = folder / "in" / "case"
            place.mkdir(parents=True)
            (place / f"scan{suffix}").write_bytes(data)
            if more:
                more(place / f"scan{suffix}")
            return read(place / f"scan{suffix}", folder)
        return make

    def to_predict(scan, folder):
        return predict(sound / "run" / "last.pth", scan, out=folder / "out")

    def to_prepare(scan, folder):
        shutil.copyfile(sound / "raw/phantoms/PHANTOM_0000/laendo.nrrd", scan.parent / "label.nrrd")
        return laseg("prepare", scan.parent, folder / "out", "--scan", scan.name, "--label", "label.nrrd",
                     "--test-share", "0")

    hostile = {name: (*rest, None)[:3] for name, rest in {**SCANS, **DETACHED}.items()}
    for reader, read in {"predict": to_predict, "prepare": to_prepare}.items():
        for name, (suffix, data, more) in hostile.items():
            yield case(f"{name}, {reader}", with_scan(suffix, data, more, read))
        for suffix in (".nii.gz", ".nrrd", ".mha", ".dcm"):
            for what in NO_FILES:
                yield case(f"{what}{suffix}, {reader}", with_scan(
                    suffix, b"", lambda p, what=what: not_a_file(p, what), read))
    for name, (suffix, data, more) in FINE.items():
        yield case(f"{name}, predict", with_scan(suffix, data, more, to_predict), refused=False)

    def named(name):
        def make(folder):
            shutil.copyfile(sound / "scans" / "scan.nrrd", folder / name)
            return predict(sound / "run" / "last.pth", folder / name, out=folder / "out")
        return make

    for name in (f"{ESCAPE}.nrrd", "\udcff.nrrd", "\u202e.nrrd", "-.nrrd", " .nrrd", "a\nb.nrrd", "%d%s.nrrd"):
        yield case(f"a sound scan named {name!r}, predict", named(name), refused="\udcff" in name)

    def series(*things):
        def make(folder):
            (folder / "series").mkdir()
            for n, thing in enumerate(things):
                path = folder / "series" / f"{n}.dcm"
                not_a_file(path, thing) if isinstance(thing, str) else path.write_bytes(thing)
            return predict(sound / "run" / "last.pth", folder / "series", out=folder / "out")
        return make

    head = bytes(128) + b"DICM"
    yield case("no file, DICOM", series())
    for what in NO_FILES:
        yield case(f"{what}, DICOM", series(what))
        yield case(f"{what} beside others, DICOM", series(what, head, head + bytes(99)))
    yield case("heads, DICOM", series(head, head + bytes(400)))


# -- checkpoints ------------------------------------------------------------------------------------

def checkpoint_of(change):
    """A sound checkpoint with ``change(state)`` made to it, or what that gives back in its place."""
    def write(path, sound):
        state = torch.load(sound / "run" / "last.pth", weights_only=True)
        changed = change(state)
        torch.save(state if changed is None else changed, path)
    return write


def void(_):
    """None: what was changed was changed in place."""


def config_with(**values):
    return checkpoint_of(lambda state: state["config"].update(values))


def zip_changed(change):
    """A sound checkpoint's bytes with ``change({name: bytes})`` made to its entries."""
    def write(path, sound):
        with zipfile.ZipFile(sound / "run" / "last.pth") as file:
            entries = {name: file.read(name) for name in file.namelist()}
        entries = change(entries) or entries
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in entries.items():
                file.writestr(name, data)
    return write


def all_nan(state):
    for network in ("student", "teacher"):
        for tensor in state[network].values():
            if tensor.is_floating_point():
                tensor.fill_(np.nan)


def classes(count):
    def change(state):
        for network in ("student", "teacher"):
            for part in ("weight", "bias"):
                tensor = state[network][f"out_conv.{part}"]
                state[network][f"out_conv.{part}"] = tensor[:1].repeat(count, *[1] * (tensor.dim() - 1))
    return change


def put(network, name, value):
    return lambda state: state[network].__setitem__(name, value)


def code_inside(path, sound):
    import pickle

    class Evil:
        def __reduce__(self):
            return (os.system, ("touch owned",))

    path.write_bytes(pickle.dumps({"student": Evil()}))


FIRST = "block_one.conv.0.weight"
CHECKPOINTS = {
    "empty": lambda p, s: p.write_bytes(b""), "text": lambda p, s: p.write_text("hello"),
    "zeros": lambda p, s: p.write_bytes(bytes(9999)), "code": code_inside,
    "cut": lambda p, s: p.write_bytes((s / "run/last.pth").read_bytes()[:-300]),
    "half": lambda p, s: p.write_bytes((s / "run/last.pth").read_bytes()[:5000]),
    "no zip entries": zip_changed(lambda e: {}) and (lambda p, s: zipfile.ZipFile(p, "w").close()),
    "zip of text": lambda p, s: zipfile.ZipFile(p, "w").writestr("a.txt", "hello"),
    "no pickle": zip_changed(lambda e: {n: d for n, d in e.items() if not n.endswith("data.pkl")}),
    "short tensor": zip_changed(lambda e: {n: d[:4] if n.endswith("/data/0") else d for n, d in e.items()}),
    "no tensor": zip_changed(lambda e: {n: d for n, d in e.items() if not n.endswith("/data/0")}),
    "{}": checkpoint_of(lambda s: s.clear()), "list": checkpoint_of(lambda s: [1, 2]),
    "number": checkpoint_of(lambda s: 5), "tensor": checkpoint_of(lambda s: torch.ones(3)),
    "no student": checkpoint_of(lambda s: void(s.pop("student"))), "nan": checkpoint_of(all_nan),
    "one class": checkpoint_of(classes(1)), "three classes": checkpoint_of(classes(3)),
    "0 classes": checkpoint_of(classes(0)),
    "one nan": checkpoint_of(lambda s: void(s["student"][FIRST].view(-1)[:1].fill_(np.nan))),
    "infinite": checkpoint_of(lambda s: void(s["student"]["out_conv.bias"].fill_(np.inf))),
    "words": checkpoint_of(put("student", FIRST, "hello")), "none": checkpoint_of(put("student", FIRST, None)),
    "nothing": checkpoint_of(put("student", FIRST, torch.zeros(0))),
    "flat": checkpoint_of(put("student", FIRST, torch.ones(1))),
    "student a list": checkpoint_of(lambda s: s.update(student=[1])),
    "keys are numbers": checkpoint_of(lambda s: s.update(student={1: torch.ones(1)})),
    "escape in keys": checkpoint_of(put("student", ESCAPE, torch.ones(1))),
    "escape in a config": checkpoint_of(lambda s: s["config"].update({ESCAPE: 1})),
    "config none": checkpoint_of(lambda s: s.update(config=None)), "config list": checkpoint_of(
        lambda s: s.update(config=[1])), "null patch": config_with(patch_size=None),
    "huge patch": config_with(patch_size=[16000, 16000, 8000]),
    "patch of words": config_with(patch_size=["a", "b", "c"]),
    "patch of two": config_with(patch_size=[16, 16]), "patch 0": config_with(patch_size=[0, 0, 0]),
    "patch nan": config_with(patch_size=[np.nan] * 3),
    "downsample 0": config_with(downsample=0),
    "downsample none": config_with(downsample=None),
    "batch nan": config_with(base_lr=np.nan)}
ONLY_FOR_RESUMING = {  # what evaluation and prediction don't look at
    "no iteration": checkpoint_of(lambda s: void(s.pop("iteration"))),
    "streams none": checkpoint_of(lambda s: s.update(streams=None)),
    "streams empty": checkpoint_of(lambda s: s.update(streams=[{}])),
    "cases a list": checkpoint_of(lambda s: s.update(cases=[1])),
    "optimizer none": checkpoint_of(lambda s: s.update(optimizer=None)),
    "optimizer {}": checkpoint_of(lambda s: s.update(optimizer={})),
    "dropout's state short": checkpoint_of(lambda s: s["streams"][0].update(dropout=torch.zeros(5, dtype=torch.uint8)))}


@kind
def checkpoints(sound):
    def with_checkpoint(write, read):
        def make(folder):
            (folder / "run").mkdir()
            for name in ("log.txt", "history.csv"):
                shutil.copyfile(sound / "run" / name, folder / "run" / name)
            write(folder / "run" / "last.pth")
            return read(folder)
        return make

    def resume(folder):
        shutil.copytree(sound / "data", folder / "data")
        return train(folder / "data", "--max_iterations", 4, "--consistency", 1, "--consistency_rampup", 0, "--base_lr",
                     0.05, "--save_every", 1, "--val_every", 4, "--precision", "fp32", "--resume", run="run")

    readers = {
        "evaluate": lambda f: evaluate(sound / "data", f / "run" / "last.pth"),
        "predict": lambda f: laseg("predict", f / "run" / "last.pth", sound / "scans" / "scan.nrrd", "--out", f / "out",
                                   "--device", "cpu"),
        "prepare": lambda f: laseg("prepare", sound / "raw", f / "out", "--checkpoint", f / "run" / "last.pth"),
        "resume": resume}
    for reader, read in readers.items():
        more = ONLY_FOR_RESUMING if reader == "resume" else {}
        for name, write in {**CHECKPOINTS, **more}.items():
            harmless = (reader == "resume" and name in ("null patch",)) or name == "batch nan"
            yield case(f"{name}, {reader}", with_checkpoint(lambda p, write=write: write(p, sound), read),
                       refused=not harmless, quick=reader == "evaluate", replaced=("last.pth",))
        for what in NO_FILES:
            yield case(f"{what}, {reader}", with_checkpoint(lambda p, what=what: not_a_file(p, what), read))


# -- a training's files -----------------------------------------------------------------------------

@kind
def histories(sound):
    def with_file(name, put):
        def make(folder):
            copy_training(sound, folder)
            put(folder / "run" / name)
            return train(folder / "data", "--max_iterations", 3, "--consistency", 1, "--consistency_rampup", 0,
                         "--base_lr", 0.05, "--save_every", 1, "--val_every", 4, "--precision", "fp32", "--resume",
                         run="run")
        return make

    texts = {"empty": b"", "text": b"hello\n" * 99, "zeros": bytes(999), "binary": bytes(range(256)) * 9,
             "huge field": b"iteration," + b"9" * 200_000, "words": b"iteration,loss\n1,a\n2,b\n",
             "of a spreadsheet": "\ufeffiteration;loss\r\n1;0,5\r\n".encode(),
             "many digits": b"iteration,loss\n" + b"9" * 5000 + b",1\n"}
    for name in ("history.csv", "log.txt"):
        for what, data in texts.items():
            yield case(f"{what}, {name}", with_file(name, lambda p, data=data: p.write_bytes(data)), refused=False,
                       quick=False, replaced=("last.pth", "previous.pth"))
    for name in ("history.csv", "log.txt", "log", ".lock", "last.pth.partial", "previous.pth"):
        for what in ("folder", "loop"):
            yield case(f"{what}, {name}", with_file(name, lambda p, what=what: not_a_file(p, what)), refused=False,
                       quick=False, replaced=("last.pth", "previous.pth"))


    def through_a_link(path):
        (path.parent.parent / "mine.txt").write_text("mine\n" * 9999)
        path.unlink()
        path.symlink_to(path.parent.parent / "mine.txt")

    for name in ("history.csv", "log.txt"):
        yield case(f"a link to another's file, {name}", with_file(name, through_a_link), refused=False, quick=False,
                   replaced=("last.pth", "previous.pth"))


# -- numbers, words, and what the environment says ---------------------------------------------------

NUMBERS = ("9" * 400, "-" + "9" * 400, "nan", "inf", "-1", "1e400", "0x10", "١٢", "", " ", ESCAPE, "1e-400")


@kind
def settings(sound):
    whole = ("max_iterations", "batch_size", "labeled_bs", "labelnum", "n_filters", "seed", "downsample", "save_every",
             "val_num", "max_samples")
    for name in whole:
        for number in NUMBERS[:3] + NUMBERS[7:9] + NUMBERS[10:11]:
            fine = number == "١٢"  # twelve, and trains
            yield case(f"--{name} {number[:9]!r}", lambda f, name=name, number=number: train(
                sound / "data", f"--{name}={number}", "--snapshot_path", f / "out"), refused=not fine, quick=not fine)
    for name in ("base_lr", "ema_decay", "consistency", "affine", "intensity", "confidence"):
        for number in NUMBERS[1:4] + NUMBERS[10:11]:
            yield case(f"--{name} {number[:9]!r}", lambda f, name=name, number=number: train(
                sound / "data", f"--{name}={number}", "--snapshot_path", f / "out"))
    for size in ((5000, 5000, 5000), (0, 0, 0), (-8, 8, 8), (10**400,) * 3, (8, 8, 10**9), (100_000, 8, 8)):
        yield case(f"phantom --size {str(size)[:20]}", lambda f, size=size: laseg(
            "phantom", f / "out", "--size", *size, "--train", 1, "--test", 1))
        yield case(f"phantom --raw --size {str(size)[:20]}", lambda f, size=size: laseg(
            "phantom", f / "out", "--size", *size, "--train", 1, "--test", 1, "--raw"))
    for name in ("train", "test", "seed"):
        for number in ("9" * 400, "-1", "nan")[name == "seed":]:  # a seed may be any whole number
            yield case(f"phantom --{name} {number[:5]}", lambda f, name=name, number=number: laseg(
                "phantom", f / "out", f"--{name}={number}"))
    for word in ("spacing", "voxel"):
        for number in ("0", "-1", "nan", "inf", "1e300", "9" * 400, ESCAPE):
            yield case(f"predict --{word} {number[:9]!r}", lambda f, word=word, number=number: laseg(
                "predict", sound / "run/last.pth", sound / "scans/scan.nrrd", "--out", f / "out", f"--{word}",
                *[number] * 3))
    for name in ("patch_size", "downsample"):
        for number in ("0", "16000000", "9" * 400, "-16"):
            yield case(f"evaluate --{name} {number[:9]}", lambda f, name=name, number=number: evaluate(
                sound / "data", sound / "run/last.pth", f"--{name}", *[number] * (3 if name == "patch_size" else 1)))
    for name in ("x" * 300, "\udcff", ESCAPE, "a\nb"):
        too_long, shown = len(name) > 255, repr(name)[:12]
        yield case(f"phantom {shown}", lambda f, name=name: laseg(
            "phantom", f / name, "--size", 24, 20, 12, "--train", 2, "--test", 1), refused=too_long)
        yield case(f"predict --out {shown}", lambda f, name=name: predict(
            sound / "run/last.pth", sound / "scans/scan.nrrd", out=f / name), refused=too_long or name == "\udcff")
        yield case(f"evaluate --csv {shown}", lambda f, name=name: evaluate(
            sound / "data", sound / "run/last.pth", "--csv", f / name), refused=too_long)
        yield case(f"train --snapshot_path {shown}", lambda f, name=name: train(
            sound / "data", "--snapshot_path", f / name), refused=too_long, quick=too_long)
    for label in ("9" * 400, "-1", "nan", str(2**70)):
        yield case(f"prepare --label-value {label[:9]}", lambda f, label=label: laseg(
            "prepare", sound / "raw", f / "out", f"--label-value={label}"))


@kind
def environment(sound):
    def with_variables(**values):
        def make(folder):
            os.environ.update(values)
            return train(sound / "data", "--snapshot_path", folder / "out")
        return make

    met = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    for port in ("abc", "-1", "99999999", ""):
        yield case(f"MASTER_PORT={port}", with_variables(WORLD_SIZE="2", RANK="0", LOCAL_RANK="0", **met | {
            "MASTER_PORT": port}))
    yield case("no RANK", with_variables(WORLD_SIZE="2", **met))
    for name in ("COLUMNS", "LINES", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "LASEG_DATA", "LASEG_HOME", "HOME",
                 "TMPDIR", "HDF5_USE_FILE_LOCKING"):
        yield case(f"{name}=abc", with_variables(**{name: "\u202eabc"}), refused=False, quick=False)


# -- downloads --------------------------------------------------------------------------------------

ADDRESSES = ("", " ", "x", "http://", "http:///", "https://[::1", "http://a b/", "http://127.0.0.1:abc", "file:///etc",
             "http://127.0.0.1:99999999/", "ftp://127.0.0.1/", "//x", "http://..", "http://user:topsecret@127.0.0.1:1/")
ANSWERS = {
    "length of words": b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nx", "no status": b"hello\r\n\r\n",
    "nothing": b"",
    "redirect to itself": b"HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    "gzip that is none": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    "drops": None}


@kind
def downloads(sound):
    def fetch(folder, address, **options):
        from laseg_lib.data import download

        return lambda: download.fetch(folder / "out", base_url=address, progress=False,
                                      **{"timeout": 2, "attempts": 2, **options}) and 0

    for address in ADDRESSES:
        yield case(f"{address[:40]!r}", lambda f, address=address: secret(fetch(f, address)))
    for name, answer in ANSWERS.items():
        def make(folder, name=name, answer=answer):
            return secret(fetch(folder, f"http://127.0.0.1:{serve(answer)}", attempts=1))
        yield case(name, make)


def secret(act):
    """``act``, with an error where what it says holds the password of an address."""
    def checked():
        try:
            act()
        except LasegError as error:
            assert "secret" not in str(error), error
            raise
    return checked


def serve(answer):
    """A server's port; it answers everybody with the bytes ``answer``."""
    import socket

    server = socket.create_server(("127.0.0.1", 0))

    def talk(connection):
        try:
            connection.recv(9999)
            connection.sendall(answer or b"")
        except OSError:
            pass
        finally:
            connection.close()

    def loop():
        while True:
            connection, _ = server.accept()
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    return server.getsockname()[1]


# -- full disks, and places that can't be written ----------------------------------------------------

@kind
def full_disks(sound):
    """A limit of a file's size acts as a full disk does, and needs no administrator."""
    def limited(size, act, what=resource.RLIMIT_FSIZE):
        def make(folder):
            copy_training(sound, folder)
            run = act(folder)

            def go():
                before = resource.getrlimit(what)
                taken = 6 if what == resource.RLIMIT_NOFILE else 0
                resource.setrlimit(what, (taken + size, before[1]))
                try:
                    return run()
                finally:
                    if what != resource.RLIMIT_FSIZE:  # what judges needs both
                        resource.setrlimit(what, before)
            return go
        return make

    def csv(folder):
        return evaluate(folder / "data", folder / "run/last.pth", "--csv", folder / "out.csv")

    resume = ["--max_iterations", 4, "--consistency", 1, "--consistency_rampup", 0, "--base_lr", 0.05, "--save_every",
              1, "--val_every", 4, "--precision", "fp32", "--resume"]
    writers = {
        "phantom": lambda f: laseg("phantom", f / "out", "--train", 2, "--test", 1, "--size", 24, 20, 12),
        "phantom --raw": lambda f: laseg("phantom", f / "out", "--train", 1, "--test", 1, "--size", 24, 20, 12,
                                         "--raw"),
        "prepare": lambda f: laseg("prepare", sound / "raw", f / "out"),
        "predict": lambda f: predict(sound / "run/last.pth", sound / "scans/scan.nrrd", out=f / "out"),
        "evaluate --csv": csv, "train": lambda f: train(f / "data"),
        "resume": lambda f: train(f / "data", *resume, run="run"),
        "notebooks": lambda f: notebook_tool(f, "run_notebooks", "print(1)"), "learn": learners}
    for name, act in writers.items():
        for size in (0, 10, 100, 3000, 20_000):
            yield case(f"{size} bytes, {name}", limited(size, act), refused=False, quick=name != "train" and (
                name not in ("resume", "notebooks")), replaced=("last.pth", "previous.pth", "history.csv", "log.txt",
                                                                      "a.ipynb"))
    for name, act in writers.items():
        if name not in ("resume", "notebooks"):
            if name != "learn":  # which then isn't found itself
                yield case(f"no file may be opened, {name}", limited(0, act, resource.RLIMIT_NOFILE))
    for what in NO_FILES:
        def make(folder, what=what):
            path = folder / "out.csv"
            not_a_file(path, what)
            return evaluate(sound / "data", sound / "run/last.pth", "--csv", path)
        yield case(f"--csv {what}", make, refused=what not in ("dangling", "loop"))  # a link is replaced
        words = {"--snapshot_path": lambda out: train(sound / "data", "--snapshot_path", out),
                 "predict --out": lambda out: predict(sound / "run/last.pth", sound / "scans/scan.nrrd", out=out),
                 "phantom": lambda out: laseg("phantom", out, "--train", 1, "--test", 1, "--size", 8, 8, 8)}
        for name, act in words.items():
            yield case(f"{name} {what}", lambda f, what=what, act=act: (not_a_file(f / "out", what), act(f / "out"))[1],
                       refused=what != "folder", quick=name != "--snapshot_path" or what != "folder")


# -- the tools beside laseg -------------------------------------------------------------------------

def write_notebook(path, source="print(1)"):
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), path)


def tool(name, *words):
    def run():
        import importlib

        return importlib.import_module(name).main([str(word) for word in words])
    return run


def notebook_tool(folder, name, source, *words):
    write_notebook(folder / "a.ipynb", source)
    return tool(name, folder / "a.ipynb", *words)


def learners(folder):
    (folder / "notebooks").mkdir()
    write_notebook(folder / "notebooks" / "05_x.ipynb", "print('" + "x" * 5000 + "')")
    return tool("learners_copy", "--notebooks", folder / "notebooks", "--copy", folder / "learn")


NOTEBOOKS = {"empty": b"", "text": b"hello", "zeros": bytes(999), "list": b"[1]", "{}": b"{}", "null": b"null",
             "cells of words": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": "x"}',
             "cells of numbers": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [1]}',
             "version 99": b'{"nbformat": 99, "nbformat_minor": 5, "metadata": {}, "cells": []}',
             "deep": b"[" * 100_000, "many digits": b'{"nbformat": ' + b"9" * 5000 + b"}",
             "utf-16": "{}".encode("utf-16"),
             "no cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}',
             "no heading": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "markdown", '
                           b'"id": "a", "metadata": {}, "source": "words"}]}',
             "surrogate": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}'}


@kind
def tools(sound):
    def with_notebook(put, act):
        def make(folder):
            (folder / "notebooks").mkdir()
            put(folder / "notebooks" / "05_x.ipynb")
            return act(folder)
        return make

    readers = {
        "run_notebooks": lambda f: tool("run_notebooks", f / "notebooks/05_x.ipynb"),
        "run_notebooks --check": lambda f: tool("run_notebooks", "--check", f / "notebooks/05_x.ipynb"),
        "handout": lambda f: tool("handout", f / "notebooks/05_x.ipynb", "--output", f / "out"),
        "slides": lambda f: tool("slides", f / "notebooks/05_x.ipynb", "--output", f / "out"),
        "solutions": lambda f: tool("solutions", f / "notebooks/05_x.ipynb", "--output", f / "out"),
        "marks": lambda f: tool("marks", f, f / "notebooks/05_x.ipynb", "--output", f / "marks.csv"),
        "learners_copy": lambda f: tool("learners_copy", "--notebooks", f / "notebooks", "--copy", f / "learn")}
    for reader, read in readers.items():
        for name, data in NOTEBOOKS.items():
            fine = name in ("no cells", "no heading") and reader not in ("handout", "slides", "solutions")
            yield case(f"{name}, {reader}", with_notebook(lambda p, data=data: p.write_bytes(data), read),
                       refused=not fine, quick=not fine, replaced=("05_x.ipynb",) if fine else ())
        for what in NO_FILES:
            yield case(f"{what}, {reader}", with_notebook(lambda p, what=what: not_a_file(p, what), read),
                       refused=reader != "learners_copy" or what != "dangling")
    for what in NO_FILES:
        for name in ("learn", "learn/05_x.ipynb", "learn/.made_from.json"):
            def make(folder, what=what, name=name):
                act = learners(folder)
                (folder / name).parent.mkdir(exist_ok=True)
                not_a_file(folder / name, what)
                return act
            yield case(f"{what} at {name}", make, refused=False)
        for name in ("handout", "figures"):
            def make(folder, what=what, name=name):
                not_a_file(folder / "out", what)
                return tool(name, "--output", folder / "out")
            if what != "folder":
                yield case(f"{what} at the output, {name}", make)
    for name in ("run_notebooks", "handout", "figures", "learners_copy", "bench", "scaling", "record_scene"):
        yield case(f"an unheard option, {name}", lambda f, name=name: tool(name, "--unheard"))
    for name in ("bench", "scaling"):
        for words in (["--rounds", "0"], ["--rounds", "-1"], ["--rounds", "x"], ["--json", "/proc/x/y.json"]):
            yield case(f"{' '.join(words)}, {name}", lambda f, name=name, words=words: tool(name, *words))
    yield case("no data, bench", lambda f: (os.environ.update(LASEG_DATA=str(f)), tool("bench", "--quick"))[1])
    yield case("no checkpoint, bench", lambda f: (os.environ.update(LASEG_DATA=str(sound / "data")), tool(
        "bench", "--only", "inference", "--quick", "--checkpoint", f / "none.pth"))[1])


# -- records ----------------------------------------------------------------------------------------

@kind
def records(sound):
    def with_home(put, *words):
        def make(folder):
            from laseg_lib.records import make as making
            from laseg_lib.records import read

            read.HOME, read.RECORDED = folder, folder / "recorded"
            put(folder)
            return lambda: making.main([str(word) for word in words])
        return make

    run = "quick", "--only", "supervised_4_seed1337"
    for words in (["--jobs", "0"], ["--jobs", "-1"], ["--jobs", "x"], ["--jobs", "9" * 400], ["--unheard"]):
        yield case(" ".join(words)[:20], with_home(lambda f: None, "quick", *words))
    yield case("no such record", with_home(lambda f: None, ESCAPE))
    yield case("no git", with_home(lambda f: os.environ.update(PATH=""), "quick", "--only", "no such run"),
               refused=False)
    contents = {"empty": b"", "text": b"hello", "zeros": bytes(99)}
    name = "recorded/quick/supervised_4_seed1337/config.json"
    for what, data in contents.items():
        yield case(f"config.json {what}", with_home(lambda f, data=data: beside(name, data)(f / "x"), *run),
                   refused=False, quick=False)
    for what in NO_FILES:
        def put(folder, what=what):
            (folder / name).parent.mkdir(parents=True)
            not_a_file(folder / name, what)
        yield case(f"config.json a {what}", with_home(put, *run), refused=False, quick=False)
    yield case("the run's folder a file", with_home(
        lambda f: beside("recorded/quick/supervised_4_seed1337", b"mine")(f / "x"), *run), refused=False, quick=False)
    for what in ("loop", "dangling"):
        yield case(f"recorded a {what}", with_home(lambda f, what=what: not_a_file(f / "recorded", what), *run),
                   refused=False, quick=False)


# -- workers, clocks, and what grows -----------------------------------------------------------------

class Corners:
    """So many times the same volume whose every voxel is another number, through ``transform``: its first voxel."""

    def __init__(self, transform, count=8):
        self.transform, self.count = transform, count
        self.image = np.arange(20**3, dtype=np.float32).reshape(20, 20, 20)

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.transform({"image": self.image, "label": self.image > 0})["image"].reshape(-1)[0]


@kind
def workers(sound):
    """Random draws in several processes: every worker and epoch its own, and all alike from a seed."""
    from laseg_lib.transforms import Compose, RandomAffine, RandomCrop, RandomRotFlip, ToTensor

    def crop(rng):
        return RandomCrop((4, 4, 4), rng=rng)

    def all_of_them(rng):
        return Compose([RandomRotFlip(rng=rng), crop(rng), RandomAffine(probability=1, rng=rng), ToTensor()])

    def epochs(transform, count=3, **options):
        loader = DataLoader(Corners(transform), 1, num_workers=2, generator=torch.Generator().manual_seed(5), **options)
        return [[round(float(corner), 3) for corner in loader] for _ in range(count)]

    def drawn_anew(transform, **options):
        def make(folder):
            def act():
                found, again = (epochs(transform(np.random.default_rng(3)), **options) for _ in range(2))
                streams = [epoch[worker::2] for epoch in found for worker in range(2)]
                assert len(set(map(tuple, streams))) == 6, f"the same draws: {streams}"
                assert found == again, "other draws from the same seed"
            return act
        return make

    yield case("one crop", drawn_anew(crop), refused=False)
    yield case("workers that stay", drawn_anew(crop, persistent_workers=True), refused=False)
    yield case("turned, cropped and bent", drawn_anew(all_of_them), refused=False)

    def started_anew(folder):
        def act():
            forked, spawned = (epochs(crop(np.random.default_rng(3)), 1, multiprocessing_context=start)[0]
                               for start in ("fork", "spawn"))
            assert forked == spawned and forked[::2] != forked[1::2], (forked, spawned)
        return act

    yield case("workers that start anew", started_anew, refused=False, quick=False)

    def a_seed_of_numpy(folder):
        def act():
            np.random.seed(0)  # which all workers inherit
            found = epochs(crop(None))
            assert len({tuple(epoch[worker::2]) for epoch in found for worker in range(2)}) == 6, found
        return act

    def used_before(folder):
        def act():
            rng = np.random.default_rng(3)
            transform = crop(rng)
            Corners(transform)[0]  # in this process first: a look at one sample
            found = epochs(transform)
            assert len({tuple(epoch[worker::2]) for epoch in found for worker in range(2)}) == 6, found
        return act

    def sampled(folder):
        def act():
            from laseg_lib.sampler import TwoStreamBatchSampler

            whole, sampler = (TwoStreamBatchSampler(range(4), range(4, 12), 4, 2, generator=7) for _ in range(2))
            loader = DataLoader(range(12), batch_sampler=sampler, num_workers=2, persistent_workers=True)
            assert [batch.tolist() for _ in range(2) for batch in loader] == [
                list(batch) for _ in range(2) for batch in whole]
        return act

    yield case("NumPy's own seed set before", a_seed_of_numpy, refused=False)
    yield case("a sample looked at first", used_before, refused=False)
    yield case("two streams, workers that stay", sampled, refused=False)
    for name, given in {"a seed": 3, "RandomState": np.random.RandomState(3), "torch's": torch.Generator(),
                        "a word": "3", "nan": np.nan, "a module": np.random}.items():
        for transform in (crop, all_of_them):
            def make(folder, given=given, transform=transform):
                def act():
                    try:
                        Corners(transform(given))[0]
                    except TypeError as error:  # what a library says to whoever programs with it
                        return int("default_rng" in str(error))
                return act
            yield case(f"{name} for a generator, {'one' if transform is crop else 'all'}", make)


@kind
def clocks(sound):
    """A clock that is set while a training rests: TensorBoard must read every step once, in order."""
    now = 1_800_000_000

    def resumed(*times):
        def make(folder):
            copy_training(sound, folder)
            shutil.rmtree(folder / "run")

            def act():
                from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

                for number, moment in enumerate(times):
                    time.time = lambda moment=moment: moment
                    trainer = Trainer(tiny_config(folder / "data/phantoms", val_num=0, max_samples=8, max_iterations=9,
                                                  save_every=100, snapshot_path=str(folder / "run")), resume=number > 0)
                    trainer.run(1, progress=False)
                    for _ in range(2):  # without a checkpoint: the next one takes its place
                        trainer.step()
                    trainer.log.close()
                events = EventAccumulator(str(folder / "run" / "log"))
                events.Reload()
                found = [event.step for event in events.Scalars("loss/loss")]
                assert found == list(range(1, len(times) + 3)), found
            return act
        return make

    moments = {"ten years back": [now, now - 315_360_000], "an hour back, twice": [now, now - 3600, now - 7200],
               "first in 2099": [4_070_908_800, now], "back to 1970": [now, 0], "before 1970": [now, -86_400],
               "before 1970 all the time": [-86_400, -86_400, -86_400], "stands still": [now] * 3,
               "to and fro": [now, now + 9999, now - 9999, now + 1]}
    for name, times in moments.items():
        yield case(name, resumed(*times), refused=False, quick=False)

    def other_files(*names):
        def make(folder):
            copy_training(sound, folder)
            for name in names:
                (folder / "run" / "log" / name).write_bytes(b"")
            return train(folder / "data", "--max_iterations", 3, "--consistency", 1, "--consistency_rampup", 0,
                         "--base_lr", 0.05, "--save_every", 1, "--val_every", 4, "--precision", "fp32", "--resume",
                         run="run")
        return make

    yield case("names without a time", other_files(
        "events.out.tfevents.", "events.out.tfevents.x.y", f"events.out.tfevents.{'9' * 200}.z"), refused=False,
        quick=False, replaced=("last.pth", "previous.pth"))


def open_files():
    return len(os.listdir("/proc/self/fd"))


@kind
def growth(sound):
    """Thirty times the same: threads, open files and widgets must not pile up."""
    def thirty(once, before=1):
        """``once(number)`` thirty times; LasegErrors are what it may end with.  The last one may still be there."""
        def act():
            def try_it(number):
                with contextlib.suppress(LasegError):
                    once(number)

            for number in range(before):
                try_it(number)
            gc.collect()
            counted = threading.active_count(), open_files()
            for number in range(before, before + 30):
                try_it(number)
            gc.collect()
            now = threading.active_count(), open_files()
            assert now[0] <= counted[0] + 1 and now[1] <= counted[1] + 4, (
                f"threads and open files: {counted}, now {now}")
        return act

    def config(folder, number, **more):
        return tiny_config(folder / "data/phantoms", val_num=0, max_samples=8, max_iterations=4,
                           snapshot_path=str(folder / f"run{number}"), **more)

    def failing(put):
        """Trainers whose __init__ fails at the files of the run."""
        def make(folder):
            copy_training(sound, folder)

            def once(number):
                place = folder / f"run{number}"
                shutil.copytree(folder / "run", place)
                put(place)
                Trainer(config(folder, number), resume=True)
            return thirty(once)
        return make

    def history_of_words(path):
        state = torch.load(path / "last.pth", weights_only=True)
        state["files"] = {}
        torch.save(state, path / "last.pth")
        (path / "history.csv").write_text("iteration,loss\n1,a\n")

    yield case("Trainers without a checkpoint", failing(lambda p: (p / "last.pth").unlink()), refused=False)
    yield case("Trainers with a history of words", failing(history_of_words), refused=False)

    def dropped(run):
        def make(folder):
            copy_training(sound, folder)

            def once(number):
                trainer = Trainer(config(folder, number))
                if run:
                    trainer.run(run, progress=False)
            return thirty(once)
        return make

    yield case("Trainers dropped before they ran", dropped(0), refused=False)
    yield case("Trainers dropped after they ran", dropped(1), refused=False, quick=False)

    def kept_by_an_error(folder):
        copy_training(sound, folder)

        def once(number):
            try:
                trainer = Trainer(config(folder, number))
                trainer.optimizer.step = lambda: 1 / 0
                trainer.step()
            except ZeroDivisionError as error:
                sys.last_value = error  # as an interactive Python keeps it, with its frames
        return thirty(once)

    def on_one_folder(folder):
        copy_training(sound, folder)
        return thirty(lambda number: Trainer(config(folder, ""), resume=True))

    yield case("Trainers that fail in a step and are kept by the error", kept_by_an_error, refused=False)
    yield case("Trainers that go on in one folder", on_one_folder, refused=False,
               replaced=("log.txt", "history.csv", "last.pth", "previous.pth"))

    def fetching(folder):
        from laseg_lib.data import download

        port = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        address = f"http://127.0.0.1:{port}"
        return thirty(lambda number: download.fetch(folder / f"out{number}", base_url=address, progress=False,
                                                    timeout=2, attempts=1), before=2)

    yield case("downloads that fail", fetching, refused=False)

    def views(make_view):
        """A cell that is run thirty times; no more widgets than after two runs."""
        def make(folder):
            import IPython
            from ipywidgets.widgets import widget

            def alive():
                gc.collect()
                return len(widget._instances if hasattr(widget, "_instances") else widget.Widget.widgets)

            class Shell:
                def get_parent(self):
                    return {"metadata": {"cellId": "a"}, "header": {"msg_id": str(run)}}

            def act():
                nonlocal run
                IPython.get_ipython = Shell
                for run in range(30):
                    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(ZeroDivisionError):
                        make_view(run)
                    if run == 2:
                        before = alive()
                assert alive() <= before, f"{before} widgets after two runs, {alive()} after thirty"
            run = 0
            return act
        return make

    def slider(draw, **options):
        from laseg_lib.figures.viewer import SliderView

        return SliderView(draw, n=(0, 5), m=[0.5, 1.5], **options)

    def picture(**values):
        return np.zeros((8, 8, 3), np.uint8)

    def a_progress(run):
        from laseg_lib.figures.progress import counted

        list(counted(range(3), "case"))

    def slices(run):
        from laseg_lib.figures.viewer import SliceViewer

        SliceViewer(IMAGE, LABEL)._ipython_display_()

    yield case("a viewer's cell", views(slices), refused=False)
    yield case("a slider's cell with play", views(lambda run: slider(picture, play="n")._ipython_display_()),
               refused=False)
    yield case("a cell whose drawing fails", views(
        lambda run: slider(lambda **values: 1 / 0, play="n")._ipython_display_()), refused=False)
    yield case("a cell that fails after its view", views(
        lambda run: (slider(picture)._ipython_display_(), 1 / 0)), refused=False)
    yield case("a line of progress", views(a_progress), refused=False)


# -- processes --------------------------------------------------------------------------------------

@kind
def processes(sound):
    """Whole processes: interrupted while they start, without ears, with nobody who listens."""
    start = [sys.executable, "-m", "laseg_lib"]
    surroundings = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}

    def interrupted(after, words, number=signal.SIGINT):
        def act():
            child = subprocess.Popen([*start, *map(str, words)], env=surroundings, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True)
            time.sleep(after)
            child.send_signal(number)
            told = child.communicate()[0]
            lines = re.findall(r'laseg_lib/__init__\.py", line (\d+)', told)
            ours = any(int(line) > begun for line in lines)
            print(told if ours or (not lines and "laseg_lib" in told) else "")  # else Python's own start: not to mend
        return act

    program = (REPO / "laseg_lib" / "__init__.py").read_text().splitlines()
    begun = 1 + next(number for number, line in enumerate(program) if "program.before_imports()" in line)

    for after in (0.03, 0.2, 0.5, 1, 1.5, 2, 2.5, 3, 4):
        yield case(f"Ctrl-C after {after} s", lambda f, after=after: interrupted(after, [
            "train", "--root_path", sound / "data/phantoms", *TRAIN, "--snapshot_path", f / "out"]), refused=False,
            quick=False)
    for number in (signal.SIGTERM, signal.SIGHUP):
        yield case(f"{number.name} after 4 s", lambda f, number=number: interrupted(4, [
            "train", "--root_path", sound / "data/phantoms", *TRAIN, "--snapshot_path", f / "out"], number),
            refused=False, quick=False)
    commands = {"help": ["--help"], "none": [], "phantom": ["phantom", "here", "--train", "1", "--test", "1", "--size",
                                                             "8", "8", "8"],
                "train": ["train", "--root_path", sound / "data/phantoms", *TRAIN, "--snapshot_path", "out"],
                "evaluate": ["evaluate", sound / "run/last.pth", "--root_path", sound / "data/phantoms", "--window",
                             "fast"], "refused": ["evaluate", "none.pth", "--root_path", "none"]}
    for name, words in commands.items():
        for shell in ('"$@" | true', '"$@" >/dev/full', '"$@" 2>/dev/full', '"$@" 2>&1 | head -c 5'):
            def act(words=words, shell=shell):
                done = subprocess.run(["bash", "-o", "pipefail", "-c", shell, "bash", *start, *map(str, words)],
                                      env=surroundings, capture_output=True, text=True)
                print(done.stdout, done.stderr)
                assert done.returncode < 128 or done.returncode == 141, done.returncode
            yield case(f"{name} {shell[5:]}", lambda f, act=act: act, refused=False, quick=False)
