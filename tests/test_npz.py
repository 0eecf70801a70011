"""A run in a NumPy archive, and archives that are none of a run."""

import json
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from .saved import everything, loaded, npy, parts, refused, write


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.npz"


def test_another_program_reads_it_by_what_is_written_of_it(past, path):
    past.save(path)
    with np.load(path, allow_pickle=False) as file:
        told = json.loads(bytes(file["description"]))
        assert (told["format"], told["version"], told["name"]) == ("epochwidget run", 1, "resnet18")
        arrays = {name: file[name] for name in file.files if name != "description"}
    named = [(series["granularity"], series["name"], series["points"]) for series in told["series"]]
    assert named == [("batch", "loss", 6), ("batch", "lr", 6), ("epoch", "loss", 2), ("epoch", "val_loss", 2)]
    assert set(arrays) == {
        *("steps_clock", "values_clock", "steps_0", "values_0", "steps_1", "values_1"),
        *("steps_2", "values_2", "epochs_2", "steps_3", "values_3", "epochs_3"),
    }
    assert all(array.dtype == np.dtype("<f8") for array in arrays.values())
    assert arrays["values_0"].tolist() == past.batch["loss"].tolist()
    assert arrays["epochs_3"].tolist() == [0, 1]
    assert (told["elapsed"], told["steps"]) == (past.elapsed, 6)


@pytest.mark.parametrize(
    "content",
    [b"", b"loss\n1.0\n", b"\x89PNG\r\n\x1a\n" + bytes(100), b"PK\x05\x06" + bytes(18), b"PK\x03\x04" + bytes(500)],
)
def test_what_is_no_archive_of_arrays_is_refused(path, content):
    path.write_bytes(content)
    refused(path)


def test_what_a_refusal_says(path):
    np.savez(path, loss=np.ones(3))
    assert refused(path) == (
        f"load({str(path)!r}) needs a file that history.save(path) has written: it has no description of a run; "
        f"give such a file, or another copy if this was one."
    )
    np.savez(path, description=np.frombuffer(b'{"format": "other"}', np.uint8))
    refused(path, "its description is of something else")
    np.save(path.with_suffix(".npy"), np.ones(3))
    refused(path.with_suffix(".npy"), "it is damaged (BadZipFile)")


EXECUTED = []


class Hostile:
    def __reduce__(self):
        return EXECUTED.append, (1,)


def test_a_file_of_another_program_is_as_good(past, path):
    past.save(path)
    told, members = parts(path)
    write(path, told, dict(reversed(members.items())))
    assert everything(loaded(path)) == everything(past)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_file_that_unpacks_to_more_than_it_is_takes_no_memory(past, path, compression):
    past.save(path)
    told, members = parts(path)
    told["clock"]["points"] = 5_000_000
    members["values_clock.npy"] = members["steps_clock.npy"] = npy(np.zeros(5_000_000))
    write(path, told, members, compression)
    del members
    tracemalloc.start()
    refused(path, "its members are compressed")
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


def test_members_that_overlap_are_not_read_over_and_over(past, path):
    past.save(path)
    told, members = parts(path)
    told["clock"]["points"] = 100_000
    write(path, told, members | {"steps_clock.npy": npy(np.zeros(100_000))})
    with zipfile.ZipFile(path, "a") as archive:
        (large,) = [info for info in archive.infolist() if info.filename == "steps_clock.npy"]
        for name in ("a", "b", "c"):
            archive.filelist.append(other := zipfile.ZipInfo(name))
            other.header_offset, other.CRC = large.header_offset, large.CRC
            other.file_size, other.compress_size = large.file_size, large.compress_size
        archive._didModify = True
    refused(path, "its members claim to be larger than the file")


def test_an_array_that_claims_more_than_it_holds_takes_no_memory(past, path):
    past.save(path)
    told, members = parts(path)
    data = members["values_0.npy"]
    at = data.index(b"'shape': (6,), }")
    for shape in (b"(999999999,)", b"(10**9,)", b"(-6,)", b"(6, 1)", b"()"):
        text = b"'shape': " + shape + b", }"
        members["values_0.npy"] = data[:at] + text + data[at + len(text) :]
        write(path, told, members)
        tracemalloc.start()
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 2e6
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("values_0", np.array([Hostile()] * 6, dtype=object)),
        ("values_0", np.zeros(6, "float32")),
        ("values_0", np.zeros(6, ">f8")),
        ("values_0", np.zeros(6, "int64")),
        ("values_0", np.zeros(6, [("a", "<f8")])),
        ("values_0", np.zeros((6, 1))),
        ("values_0", np.zeros((2, 3), order="F")),
        ("values_0", np.float64(0)),
        ("values_0", np.array(["loss"] * 6)),
        ("steps_0", np.zeros(5)),
        ("steps_0", np.zeros(7)),
        ("steps_0", np.array([1, 2, 3, np.nan, 5, 6])),
        ("steps_0", np.array([1, 2, 3, 4, 5, np.inf])),
        ("steps_0", np.array([1, 2, 3, 4, 5, 5.5])),
        ("epochs_2", np.array([0.0, -1.0])),
        ("values_clock", np.array([1, 2, 3, 4, 5, np.nan])),
    ],
)
def test_arrays_that_do_not_fit_are_refused_and_nothing_is_executed(past, path, name, array):
    past.save(path)
    told, members = parts(path)
    write(path, told, members | {f"{name}.npy": npy(array)})
    refused(path, name)
    assert EXECUTED == []


def test_pickles_are_not_read(past, path):
    past.save(path)
    told, members = parts(path)
    write(path, told, members | {"values_0.npy": pickle.dumps(Hostile())})
    refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("description.npy", npy(np.array([Hostile()], dtype=object)))
    refused(path)
    path.write_bytes(pickle.dumps(Hostile()))
    refused(path)
    assert EXECUTED == []


def test_members_that_nobody_names_and_those_that_are_missing_are_refused(past, path, tmp_path):
    past.save(path)
    told, members = parts(path)
    for name in ("../../escaped.npy", "/escaped.npy", "extra.npy", "steps_00.npy"):
        write(path, told, members | {name: npy(np.zeros(3))})
        refused(path, "its members are not those that its description names")
    for name in members:
        write(path, told, {other: data for other, data in members.items() if other != name})
        refused(path, "its members are not those that its description names")
    write(path, told, members)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("steps_0.npy", members["steps_0.npy"])
    refused(path, "its members are not those that its description names")
    assert [one.name for one in tmp_path.iterdir()] == ["a.npz"]
