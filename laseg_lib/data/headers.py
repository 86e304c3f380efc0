"""What a scan's header says that SimpleITK doesn't pass on, and whether its voxels are all there.

SimpleITK fills in what a header leaves out, takes one of two sizes that contradict each other, and fills up what a
file lacks, without a word.  So NIfTI, NRRD and MetaImage headers are looked at here before it reads them.
"""

import glob
import gzip
import math
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from ..errors import LasegError
from .volumes import in_mm

MOST_HEADER = 2**20  # bytes of a text header; the longest that tools write, of diffusion scans, have a twentieth
NO_SIZE = "its header doesn't say how large a voxel is along"
BLOCK = 2**24  # bytes that are looked at at a time


def read_header(path, kind):
    """What SimpleITK doesn't pass on: which sides of a voxel a file says (it fills in 1), whether its orientation, and
    where its data are, if not in it.

    Raises LasegError for a detached data file that doesn't lie beside its header, and for one that contradicts itself.
    """
    if kind == "NIfTI":
        try:
            with unpacked(path) as file:
                return nifti_header(path, file.read(540))
        except (OSError, EOFError, zlib.error, struct.error):
            return {"said": (False,) * 3, "oriented": False}  # reading it says what is wrong
    fields, rest, where = text_header(path, kind)
    require_mm(path, fields.get("space units") or fields.get("distanceunits") or "")
    detached = fields.get("elementdatafile") or fields.get("data file") or fields.get("datafile") or ""
    if detached.lower() == "local":
        detached = ""
    found = {"oriented": False, "detached": detached, "files": [], "where": where}
    if detached:
        names = data_files(path, detached, rest)
        require_beside(path, names)
        found["files"] = [path.parent / name for name in names]
    if kind == "MetaImage":
        require_slices(path, fields, found["files"])
        found["compressed"] = fields.get("compresseddata", "").lower() == "true"
        found["skipped"] = max([0, *numbers(fields.get("headersize"))[:1]])
        lies = [fields[name] for name in ("offset", "position", "origin", "transformmatrix", "rotation", "orientation")
                if name in fields]
        if not np.isfinite([number for text in lies for number in numbers(text)]).all():
            raise LasegError(f"{path}: its header holds numbers that lay the scan nowhere; correct it")
        sides = numbers(fields.get("elementspacing") or fields.get("elementsize"))
        return found | {"said": said(sides),
                        "oriented": bool({"transformmatrix", "rotation", "orientation"} & set(fields))}
    if "space directions" in fields:
        vectors = re.findall(r"\(([^)]*)\)|(none)", fields["space directions"].lower())
        if sum(bool(vector) for vector, _ in vectors) == 3:  # an axis before or behind them is none of space
            vectors = [(vector, "") for vector, _ in vectors if vector]
        return found | {"said": said([np.linalg.norm(numbers(vector)) for vector, none in vectors if vector or none]),
                        "oriented": bool({"space", "space dimension"} & set(fields))}
    return found | {"said": said(numbers(fields.get("spacings")))}


def text_header(path, kind):
    """({field in lower case: value} of a NRRD's or MetaImage's header, the lines after it, the bytes up to there), as
    their readers take it.

    LasegError for one that goes on for a megabyte: what it would say after that nobody has looked at.
    """
    with open(path, "rb") as file:
        lines = iter(file.read(MOST_HEADER).decode("latin-1").split("\n"))
    fields, where = {}, 0
    for line in lines:
        where += len(line) + 1
        if kind == "NRRD" and not line.strip():
            break
        name, value = [*re.split(":" if kind == "NRRD" else "[=:]", line, maxsplit=1), ""][:2]
        name, value = name.strip().lower(), value.strip()
        fields.setdefault(name, value)
        if name == "elementdatafile" or (name in ("data file", "datafile") and value.startswith("LIST")):
            break
    else:
        if os.path.getsize(path) > MOST_HEADER:
            raise LasegError(f"{path}: its header doesn't end within {MOST_HEADER} bytes; export it again")
    return fields, list(lines), where


def require_mm(path, units):
    """LasegError where a header counts in other units than mm: SimpleITK takes every length for mm."""
    if other := [unit for unit in re.findall(r'[^\s"]+', units) if unit.lower() not in ("mm", "millimeter", "?")]:
        raise LasegError(f"{path}: its header gives lengths in {other[0]}, and mm are read here; export it in mm")


def data_files(path, detached, rest):
    """The files that a header names as its data, each relative to it: one, those of a list, or of a pattern."""
    if detached.startswith("LIST"):
        return [line.strip() for line in rest if line.strip()]
    if "%" not in detached:
        return [detached]
    pattern, *counts = detached.split()  # "slice%03d.raw 1 88 1"
    if not re.fullmatch(r"[^%]*%0?\d?d[^%]*", pattern):  # a reader would print with it, into too little memory
        raise LasegError(f"{path}: its data are in {detached[:100]}, which is no pattern of a number; name the files")
    if len(counts) >= 2 and all(re.fullmatch(r"\d{1,5}", count) for count in counts[:3]):
        first, last, step = map(int, [*counts[:3], 1][:3])
        return [pattern % k for k in range(first, last + 1, max(step, 1))]
    folder, pattern = os.path.split(pattern)
    found = sorted((path.parent / folder).glob(re.sub(r"%\d*d", "*", glob.escape(pattern)))) if folder_is_ours(
        folder) else []
    return [os.path.join(folder, file.name) for file in found] or [os.path.join(folder, pattern)]


def folder_is_ours(name):
    """Whether a path, as a header names it, stays in the header's folder."""
    return not (re.match(r"[/\\~]|[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name))


def require_beside(path, names):
    """LasegError unless a header's data files lie beside it, or below, and are there, as files: a pipe would wait for
    ever."""
    home = path.parent.resolve()
    for name in names:
        if "\0" in name:
            raise LasegError(f"{path}: its data are in {name[:100]!r}, which can't name a file; export it again")
        file = path.parent / name
        if not folder_is_ours(name) or not Path(os.path.realpath(file)).is_relative_to(home):
            raise LasegError(f"{path}: its data are in {name[:100]}, outside its folder; "
                             "put that file beside the header, and name it there")
        if os.path.lexists(file) and not file.is_file():
            raise LasegError(f"{path}: its data are in {name[:100]}, which is no file; put the data there")
        if not file.exists():
            raise LasegError(f"{path}: the data files that its header names are not there, or not as many as it says "
                             f"({name[:100]}); put them beside the header")


def require_slices(path, fields, files):
    """LasegError unless a MetaImage header with a list of files names one for each slice (or what else it counts)."""
    if len(files) < 2 and not fields.get("elementdatafile", "").startswith("LIST"):
        return
    sizes = [int(n) for n in numbers(fields.get("dimsize")) if 0 < n < 2**31]
    given = re.fullmatch(r"LIST\s+(\d)D?", fields.get("elementdatafile", ""))
    slices = math.prod(sizes[int(given[1]) if given else len(sizes) - 1:])
    if len(files) != slices:
        raise LasegError(f"{path}: its header tells of {slices} slices and names {len(files)} files; export it again")


def nifti_header(path, head):
    """What ``read_header`` finds of a NIfTI file's first 540 bytes, and ``offset``, ``bytes`` and ``floats`` (their
    NumPy type, or None) of its voxels.  LasegError where it places them nowhere, or gives their size twice."""
    order = "<" if head[:4] in (struct.pack("<i", 348), struct.pack("<i", 540)) else ">"
    if struct.unpack(order + "i", head[:4])[0] == 540:  # NIfTI-2
        sides, codes = struct.unpack(order + "3d", head[112:136]), struct.unpack(order + "2i", head[344:352])
        dims, (kind, bits) = struct.unpack(order + "8q", head[16:80]), struct.unpack(order + "2h", head[12:16])
        offset, places = struct.unpack(order + "q", head[168:176])[0], struct.unpack(order + "12d", head[400:496])
    else:
        sides, codes = struct.unpack(order + "3f", head[80:92]), struct.unpack(order + "2h", head[252:256])
        dims, (kind, bits) = struct.unpack(order + "8h", head[40:56]), struct.unpack(order + "2h", head[70:74])
        offset, places = struct.unpack(order + "f", head[108:112])[0], struct.unpack(order + "12f", head[280:328])
    found = {"said": said(np.abs(sides)), "oriented": any(code > 0 for code in codes), "offset": offset,
             "floats": {16: order + "f4", 64: order + "f8"}.get(kind)}
    if 1 <= dims[0] <= 7 and min(dims[1:dims[0] + 1]) > 0 and bits > 0:
        found["bytes"] = math.prod(dims[1:dims[0] + 1]) * bits // 8
    if codes[1] > 0:  # the sform: rows of a matrix whose columns are a voxel's sides, and where the first one lies
        if not np.isfinite(places).all():
            raise LasegError(f"{path}: its header (sform) holds numbers that lay the scan nowhere; correct it")
        lengths = np.linalg.norm(np.reshape(places, (3, 4))[:, :3], axis=0)
        if all(found["said"]) and not np.allclose(lengths, np.abs(sides), rtol=0.01, atol=1e-4):
            raise LasegError(f"{path}: its header gives a voxel's sides twice, as {in_mm(np.abs(sides))} (pixdim) and "
                             f"as {in_mm(lengths)} (sform); correct the wrong one")
    return found


def unpacked(path):
    """A NIfTI file open for reading, gzipped (whatever it is called) or not."""
    return (gzip.open if is_packed(path) else open)(path, "rb")


def is_packed(path):
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def require_whole(path, kind, header, size):
    """LasegError where a NIfTI or MetaImage file holds less than the ``size`` bytes of voxels that its header tells
    of, or damaged ones, or NIfTI's are not finite: SimpleITK fills up the first with what it finds in memory, and the
    last with 0."""
    short = LasegError(f"{path}: its header tells of {size} bytes of voxels, and not as many are there, or they are "
                       "damaged: it was cut off; copy it again")
    if kind == "NIfTI":
        try:
            with unpacked(path) as file:
                file.seek(int(header["offset"]))
                for block in blocks_of(file, size):
                    if header["floats"] and not np.isfinite(np.frombuffer(block, header["floats"])).all():
                        raise LasegError(f"{path}: some of its voxels are no finite numbers; export it again")
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise short from error
    elif kind == "MetaImage":
        files = header["files"] or [path]
        if header["compressed"]:
            if len(files) == 1 and inflated(files[0], 0 if header["files"] else header["where"], size) != size:
                raise short
            return
        before = header["skipped"] if header["files"] else header["where"]
        for file in files:
            if os.path.getsize(file) < before + size // len(files):
                raise short


def blocks_of(file, size):
    """The next ``size`` bytes, some at a time; EOFError where there are fewer."""
    while size > 0:
        block = file.read(min(size, BLOCK))
        if not block:
            raise EOFError
        size -= len(block)
        yield block


def inflated(path, before, size):
    """How many bytes zlib finds behind the first ``before`` (up to a few more than ``size``); 0 for damaged ones."""
    found, tool = 0, zlib.decompressobj(wbits=47)  # with zlib's or with gzip's head, and its checksum
    try:
        with open(path, "rb") as file:
            file.seek(before)
            while not tool.eof and found <= size and (block := file.read(2**20)):
                while block and not tool.eof:
                    found += len(tool.decompress(block, BLOCK))
                    block = tool.unconsumed_tail
            found += len(tool.flush()) if not tool.eof and found <= size else 0
        return found if tool.eof else 0
    except zlib.error:
        return 0


def numbers(text):
    """The numbers of a text; NaN for each word that is none."""
    def number(word):
        try:
            return float(word)
        except ValueError:
            return np.nan

    return [number(word) for word in re.split(r"[\s,]+", (text or "").strip()) if word]


def said(sides):
    """Which of x, y and z are positive numbers."""
    sides = [*sides, np.nan, np.nan, np.nan][:3]
    return tuple(bool(np.isfinite(side) and side > 0) for side in sides)


def in_words(path, kind, text, header):
    """SimpleITK's error as one sentence with its true cause."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    cause = re.sub(r"^(\[nrrd\] )?\w*: |.*ERROR:? ", "", lines[-1])[:300]
    if "encod" in cause.lower() and ("not available" in cause or "parse" in cause):
        return f"{path}: its data are compressed in a way that isn't read here ({cause}); write it again with gzip"
    if header.get("detached") and ("datafile" in text or "data file" in text):
        return (f"{path}: the data files that its header names are not there, or not as many as it says ({cause}); "
                "put them beside the header")
    if header.get("said") and not all(header["said"]) and re.search("[sS]pac", text):
        unknown = ", ".join(axis for axis, known in zip("xyz", header["said"]) if not known)
        return f"{path}: {NO_SIZE} {unknown} ({cause}); correct the header"
    if re.search("orthonormal|[dD]eterminant|[sS]ingular", text):
        return f"{path}: its axes are not at right angles; resample it to a plain grid first"
    return f"{path}: not a whole {kind} file ({cause}); copy it again"
