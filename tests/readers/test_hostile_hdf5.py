"""HDF5 that lies, leads elsewhere or blows up: one line, nothing followed, nothing allocated for what is not there."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from readers.flat import source_of
from readers.keras_files import Made, archive, conv, hdf5, model, new_layout, numbers
from readers.opening import opened, refused

from gcx import limits
from gcx.errors import CheckpointError, LimitError
from gcx.readers import read_checkpoint
from gcx.readers.base import ReadOptions
from gcx.readers.keras import KerasHdf5Reader
from gcx.readers.keras.config import read_config

KERNEL = numbers((3, 3, 4, 8))
PATH = "layers/conv2d/vars"
PLAIN = new_layout(model(conv("c", KERNEL)))


def refused_h5(write, watched, **options) -> str:
    return refused(hdf5(write, **options), watched, name="model.weights.h5")


@pytest.mark.parametrize("version", [{}, {"libver": "latest"}])
@pytest.mark.parametrize(
    "link", [h5py.SoftLink("/elsewhere"), h5py.ExternalLink("/etc/passwd", "/x")], ids=["soft", "external"]
)
def test_links_by_name_are_not_followed(link, version, watched):
    def write(file):
        file.create_group(PATH)["0"] = link

    message = refused_h5(write, watched, **version)
    assert "does not follow" in message


def test_numbers_in_another_file_are_not_read(watched):
    def write(file):
        file.create_group(PATH).create_dataset("0", (3, 3, 4, 8), "f4", external=[("secret.bin", 0, 1152)])

    Path("secret.bin").write_bytes(bytes(1152))
    assert "in another file" in refused_h5(write, watched)


def test_virtual_numbers_are_not_read(watched):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))

    def write(file):
        file.create_group(PATH).create_virtual_dataset("0", layout)

    assert "virtual" in refused_h5(write, watched, libver="latest")


def lying_shape(dims: tuple[int, ...]) -> bytes:
    """A file whose kernel says another shape than it has."""
    was = b"".join(size.to_bytes(8, "little") for size in KERNEL.shape)
    now = b"".join(size.to_bytes(8, "little") for size in dims)
    assert was in PLAIN
    return PLAIN.replace(was, now)


@pytest.mark.parametrize("dims", [(3, 3, 4, 9), (1 << 20, 1 << 10, 4, 8), (1 << 62, 4, 1, 1), (1 << 63, 0, 1, 1)])
def test_a_shape_without_the_bytes_allocates_nothing(dims, watched):
    data = lying_shape(dims)
    tracemalloc.start()
    message = refused(data, watched, name="a.weights.h5")
    assert tracemalloc.get_traced_memory()[1] < 4 * limits.MIB
    tracemalloc.stop()
    assert "its place has fewer" in message or "beyond any memory" in message


@pytest.mark.parametrize("address", [len(PLAIN) - 100, len(PLAIN), 1 << 62])
def test_a_place_beyond_the_file_is_refused_at_opening(address, watched):
    place = PLAIN.find(KERNEL.tobytes()).to_bytes(8, "little")
    assert PLAIN.count(place) == 1
    message = refused(PLAIN.replace(place, address.to_bytes(8, "little")), watched, name="a.weights.h5")
    assert "its place has fewer" in message


def test_what_was_never_written_is_no_number(watched):
    def write(file):
        group = file.create_group(PATH)
        group.create_dataset("0", (3, 3, 4, 8), "f4")

    arrays, checkpoint = opened(hdf5(write), watched, name="a.weights.h5")
    assert arrays["conv2d.weight"] is None
    assert "no numbers in the file" in checkpoint.tensors["conv2d.weight"].unreadable


def test_chunks_that_were_never_written_are_no_zeros(watched):
    def write(file):
        dataset = file.create_group(PATH).create_dataset("0", (3, 3, 4, 8), "f4", chunks=(1, 3, 4, 8))
        dataset[0] = 1

    assert "2 of 3 chunks that are not in the file" in refused_h5(write, watched)


@pytest.mark.parametrize("options", [{"chunks": (1024, 1024), "compression": "gzip"}, {"chunks": (1 << 13, 1 << 13)}])
def test_a_bomb_is_refused_before_it_inflates(options, watched):
    def write(file):
        file.create_group(PATH).create_dataset("0", (1 << 13, 1 << 13), "f4", **options)

    data = hdf5(write)
    assert len(data) < limits.MIB
    message = refused(data, watched, name="a.weights.h5")
    assert "INFLATE_RATIO" in message


def test_a_chunk_that_inflates_to_more_than_it_says_is_cut(watched):
    small, large = numbers((1, 1, 4, 8)), np.zeros(1 << 22, "u1")

    def write(file):
        file.create_group(PATH).create_dataset("0", data=small, chunks=(1, 1, 4, 8), compression="gzip")
        file.create_dataset("layers/x", data=large, chunks=(1 << 22,), compression="gzip")

    data = hdf5(write)
    with source_of(data) as source, KerasHdf5Reader().read(source, ReadOptions()) as checkpoint:
        layout = checkpoint.tensors["conv2d.weight"].load.args[0].layout
        tree = layout.address
    with h5py.File(io.BytesIO(data)) as file:
        bomb = file["layers/x"].id.get_chunk_info(0)
    rank = 4
    key = tree + 24
    lied = bytearray(data)
    lied[key : key + 4] = bomb.size.to_bytes(4, "little")
    child = key + 8 * (rank + 2)
    lied[child : child + 8] = bomb.byte_offset.to_bytes(8, "little")
    tracemalloc.start()
    assert "another length" in refused(bytes(lied), watched, name="a.weights.h5")
    assert tracemalloc.get_traced_memory()[1] < limits.MIB
    tracemalloc.stop()


def test_a_flipped_bit_under_a_checksum_is_seen(watched):
    def write(file):
        file.create_group(PATH).create_dataset("0", data=KERNEL, chunks=(3, 3, 4, 8), fletcher32=True)

    data = bytearray(hdf5(write))
    data[data.find(KERNEL.tobytes()) + 100] ^= 1
    assert "checksum" in refused(bytes(data), watched, name="a.weights.h5")


def test_a_group_within_itself_is_refused(watched):
    def write(file):
        file.create_group(PATH)["0"] = KERNEL
        file["layers/conv2d/again"] = file["layers"]

    assert "linked twice" in refused_h5(write, watched)


def test_groups_too_deep_are_refused(watched):
    assert "limit NESTING" in refused_h5(lambda file: file.create_group("/".join("a" * 80)), watched)


@pytest.mark.parametrize(("name", "most"), [("HDF5_OBJECTS", 20), ("HDF5_METADATA", 5000)])
def test_budgets_of_the_tree(name, most, watched, monkeypatch):
    import gcx.readers.keras.hdf5 as module

    def write(file):
        for number in range(18 if name == "HDF5_OBJECTS" else 40):
            file.create_group(f"layers/g{number}")

    data = hdf5(write)
    with source_of(data) as source:
        if name == "HDF5_OBJECTS":
            monkeypatch.setattr(module, name, most)
            module.Hdf5File(source)  # the root, layers and 18 groups are 20
        monkeypatch.setattr(module, name, most - 1)
        with pytest.raises(LimitError, match=name):
            module.Hdf5File(source)


def test_texts_that_are_one_and_the_same_a_thousand_times_count_each_time(watched):
    """A list of texts of variable length may point a thousand times at one of a megabyte."""
    big = "x" * (1 << 20)

    def write(file):
        file.attrs["a"] = big
        file.attrs["layer_names"] = ["y"] * 1000

    data = hdf5(write)
    at = data.find(b"GCOL")
    collections = []
    while at >= 0:
        collections.append(at)
        at = data.find(b"GCOL", at + 4)
    large = max(collections, key=lambda at: int.from_bytes(data[at + 8 : at + 16], "little"))
    number = int.from_bytes(data[large + 16 : large + 18], "little")
    pieces = data.split((1).to_bytes(4, "little"))
    lied = pieces[0]
    for piece in pieces[1:]:
        if int.from_bytes(piece[:8], "little") in collections:
            piece = large.to_bytes(8, "little") + number.to_bytes(4, "little") + piece[12:]
            lied += len(big).to_bytes(4, "little") + piece
        else:
            lied += (1).to_bytes(4, "little") + piece
    tracemalloc.start()
    message = refused(lied, watched, name="a.h5")
    assert tracemalloc.get_traced_memory()[1] < 2 * limits.HDF5_METADATA
    tracemalloc.stop()
    assert "HDF5_METADATA" in message


@pytest.mark.parametrize("length", [9, 50, 96, 500, 2000, len(PLAIN) - 1])
def test_cut_off_files(length, watched):
    assert refused(PLAIN[:length], watched, name="a.weights.h5")


def test_hdf5_of_others_is_named(watched):
    message = refused_h5(lambda file: file.create_dataset("weights", data=KERNEL), watched)
    assert "that Keras did not write" in message


def test_many_links_of_the_newest_kind_are_named(watched):
    def write(file):
        for number in range(40):
            file.create_group(f"layers/g{number}")

    assert "fractal heap" in refused_h5(write, watched, libver="latest")


def test_names_without_weights(watched):
    def nameless(file):
        file.attrs["layer_names"] = [b"a", b"b"]
        file.create_group("a").attrs["weight_names"] = []

    assert "layer 'b' without a group" in refused_h5(nameless, watched)

    def write(file):
        file.attrs["layer_names"] = [b"a", b"a/"]
        file.create_group("a").attrs["weight_names"] = [b"gone"]

    assert "'gone' that is not there" in refused_h5(write, watched)

    def twice(file):
        file.attrs["layer_names"] = [b"a", b"/a"]
        file.create_group("a").attrs["weight_names"] = []

    assert "twice" in refused_h5(twice, watched)


@pytest.mark.parametrize("groups", [0, -1, 3, "2", True, 1.5, 2**70])
def test_groups_that_cannot_be(groups, watched):
    made = model(conv("c", KERNEL, groups=groups))
    assert "do not divide" in refused(archive(made), watched, name="a.keras")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": ' * 5000, "\0", '{"class_name": 1' + "0" * 5000 + "}"])
def test_configurations_that_are_none(text, watched):
    assert "no JSON" in refused(archive(model(), PLAIN, config=text), watched, name="a.keras")


def test_a_configuration_of_another_thing_leaves_the_weights(watched):
    arrays, _ = opened(archive(model(), PLAIN, config='{"class_name": [], "config": 3}'), watched, name="a.keras")
    assert list(arrays) == ["c.weight"]


def test_configurations_are_bounded():
    with pytest.raises(LimitError, match="KERAS_CONFIG"):
        read_config(" " * (limits.KERAS_CONFIG + 1))
    with pytest.raises(LimitError, match="KERAS_VALUES"):
        read_config("[" + "," * limits.KERAS_VALUES)
    twice = Made("Dense", "d")
    for _ in range(40):
        twice = Made("Bidirectional", "b", parts={"layer": twice})
    config = read_config(json.dumps(model(twice).configuration()))
    with pytest.raises(LimitError, match="KERAS_LAYERS"):
        list(config.below())


def test_a_damaged_archive(watched):
    data = bytearray(archive(model(conv("c", KERNEL))))
    data[data.find(KERNEL.tobytes()) + 5] ^= 1
    assert "CRC32" in refused(bytes(data), watched, name="a.keras")
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model.weights.h5", bytes(200 * limits.MIB))
    assert "INFLATE" in refused(empty.getvalue(), watched, name="a.keras")


def test_a_file_that_shrinks_is_an_error(tmp_path):
    path = tmp_path / "a.weights.h5"
    path.write_bytes(PLAIN)
    with read_checkpoint(str(path)) as checkpoint:
        path.write_bytes(PLAIN[:1000])
        with pytest.raises(CheckpointError, match="changed while it was read"):
            checkpoint.tensors["c.weight"].read()
