"""Thousands of broken inputs: each works, or gives a LasegError; none hangs, crashes, or writes outside its folder.

The inputs are the same in every run (``derandomize``).  What once was mishandled stays, as an ``example``.
"""
# ruff: noqa: F401, F811  (fixtures come by import)

import contextlib
import copy
import warnings

import h5py
import numpy as np
import pytest
import torch
from children import same
from fuzzing import fuzz, no_input_hangs, place, root, trained, values
from hypothesis import example, given
from hypothesis import strategies as st

from laseg_lib.config import TrainConfig
from laseg_lib.data import phantom
from laseg_lib.data.volumes import LAHeart, read_list, read_volume, write_volume
from laseg_lib.errors import LasegError
from laseg_lib.runtime.checkpoints import explain_foreign, load_checkpoint, load_network, save_checkpoint


@st.composite
def mutations(draw):
    """A function from bytes to other bytes: some changed, a piece cut out or doubled, the end cut off."""
    share = st.floats(0, 1, exclude_max=True)
    changes = draw(st.lists(st.tuples(share, st.booleans(), st.integers(0, 255)), max_size=8))
    cut = draw(st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)))
    kind = draw(st.sampled_from(["keep", "keep", "drop", "double", "end", "zero"]))

    def mutate(data):
        data = bytearray(data)
        for where, early, value in changes:
            data[int(where * (min(len(data), 2048) if early else len(data)))] = value
        if cut:
            a, b = sorted(int(share * len(data)) for share in cut)
            if kind == "end":
                del data[b:]
            else:
                data[a:b] = {"keep": data[a:b], "drop": b"", "double": data[a:b] * 2, "zero": bytes(b - a)}[kind]
        return bytes(data)

    return mutate


# -- volumes and lists ------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def volume(place):
    image, label = phantom.make_phantom(1, size=(16, 16, 8))
    write_volume(place / "sound.h5", image, label)
    return (place / "sound.h5").read_bytes()


def sound_or_told(path):
    try:
        image, label = read_volume(path)
    except LasegError as error:
        assert str(path) in str(error)
        return
    assert image.dtype == np.float32 and label.dtype == np.uint8 and image.shape == label.shape and image.ndim == 3
    assert np.isfinite(image).all() and set(np.unique(label)) <= {0, 1} and label.any()


@fuzz(1000)
@given(mutate=mutations())
def test_volumes_with_changed_bytes(place, volume, mutate):
    (place / "mutated.h5").write_bytes(mutate(volume))
    sound_or_told(place / "mutated.h5")


DTYPES = ["f4", "f8", "f2", "u1", "i8", "u8", "b1", "S3", "c8", h5py.string_dtype(), [("a", "f4")],
          h5py.vlen_dtype("f4"), h5py.ref_dtype]
HUGE = [(10**6, 10**6, 10), (2**31, 2, 2), (2**40, 1, 1), (10**5, 10**5, 100)]
things = st.one_of(
    st.none(), st.just("group"), st.just("link"),
    st.tuples(st.sampled_from(range(len(DTYPES))), st.lists(st.integers(0, 4), max_size=4),
              st.sampled_from([0, 1, 2, -1, 255, np.nan, np.inf, 1e300])),
    st.tuples(st.just(0), st.sampled_from(HUGE), st.just(0)))


@fuzz(300)
@given(image=things, label=things)
@example(image=(0, (10**6, 10**6, 10), 0), label=(3, (10**6, 10**6, 10), 0))  # 50 TB that take 2 kB on the disk
@example(image="group", label="group")
@example(image=(2, [2, 2, 2], 1), label=(3, [2, 2, 2], 1))
@example(image=(1, [2, 2, 2], 1e300), label=(3, [2, 2, 2], 1))  # beyond float32
def test_volumes_of_any_kind(place, image, label):
    path = place / "odd.h5"
    with h5py.File(path, "w") as file:
        for name, thing in (("image", image), ("label", label)):
            make_thing(file, name, thing)
    sound_or_told(path)


def make_thing(file, name, thing):
    if thing == "group":
        file.create_group(name)
    elif thing == "link":
        file[name] = h5py.ExternalLink("/etc/passwd", "x")
    elif thing:
        kind, shape, value = thing
        dataset = file.create_dataset(name, tuple(shape), DTYPES[kind], chunks=(16, 1, 1) if shape in HUGE else None)
        if shape not in HUGE and kind < 7:  # h5py's writer crashes on numbers for references; we only read
            with warnings.catch_warnings(), contextlib.suppress(TypeError, ValueError, OSError, OverflowError):
                warnings.simplefilter("ignore")
                dataset[...] = value


NAMES = ["CASE", "../CASE", "..", "/etc", "a\\b", "C:x", "a\0b", "\ufeffCASE", "x" * 5000,
         "CON", "~", " ", "\u202eCASE", "."]
lines = st.builds(lambda names, end: end.join(names).encode("utf-8", "surrogatepass"),
                  st.lists(st.text(max_size=12) | st.sampled_from(NAMES)),
                  st.sampled_from(["\n", "\r\n", "\r", "\u2028", "\x00"]))


@fuzz(1500)
@given(data=st.binary(max_size=60) | lines)
@example(data=b"x" * 5000)
@example(data=b"../../secret")
@example(data=b"\xed\xb2\x80")
def test_lists_of_any_kind(place, data):
    folder = place / "lists"
    (folder / "cases").mkdir(parents=True, exist_ok=True)
    (folder / "train.list").write_bytes(data)
    try:
        names = read_list(folder / "train.list")
        assert all((folder / "cases" / name).parent == folder / "cases" and name not in ("", "..") for name in names)
        LAHeart(folder / "cases")
    except LasegError as error:
        assert "\n" not in str(error)


# -- checkpoints ------------------------------------------------------------------------------------

STATE = {"student": {"weight": torch.arange(40.0)}, "iteration": 7, "generator": 2**120, "list": [1, None, "x", 0.5]}


@pytest.fixture(scope="module")
def checkpoint(place):
    save_checkpoint(place / "sound.pth", STATE)
    return (place / "sound.pth").read_bytes()


@fuzz(1000)
@given(mutate=mutations())
def test_checkpoints_with_changed_bytes_are_the_same_or_refused(place, checkpoint, mutate):
    (place / "mutated.pth").write_bytes(mutate(checkpoint))
    try:
        state = load_checkpoint(place / "mutated.pth")
    except LasegError as error:
        assert "mutated.pth" in str(error)
        return
    assert same(state, STATE)


@fuzz(300)
@given(data=st.data(), value=values)
def test_checkpoints_whose_parts_are_something_else(trained, place, data, value):
    trainer, state = trained
    state = {name: dict(part) if isinstance(part, dict) else copy.deepcopy(part) for name, part in state.items()}
    node, depth = state, data.draw(st.integers(1, 5))
    for level in range(depth):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        inner = node[key]
        if level == depth - 1 or not isinstance(inner, (dict, list)) or not inner:
            node[key] = value
            break
        node[key] = node = copy.copy(inner)
    try:
        with explain_foreign("x.pth"):
            trainer.load_state_dict(state)
            trainer.batches.state_dict()
    except LasegError as error:
        assert "\n" not in str(error)


@fuzz(150)
@given(data=st.data(), value=values)
def test_networks_whose_weights_are_something_else(trained, place, data, value):
    _, state = trained
    state = {"student": dict(state["student"]), "config": dict(state["config"])}
    for _ in range(data.draw(st.integers(1, 3))):
        part = state[data.draw(st.sampled_from(["student", "config"]))]
        part[data.draw(st.sampled_from(["block_one.conv.0.weight", "block_four_dw.conv.0.weight", "out_conv.weight",
                                        *list(part)[:12], "more"]))] = value
    torch.save(state, place / "odd.pth")
    try:
        network, config = load_network(place / "odd.pth")
    except LasegError as error:
        assert "odd.pth" in str(error)
        return
    TrainConfig.from_dict(config)
