"""What a file may tell of a run beside its numbers; in an archive, for that is the plainest."""

import pytest

from epochwidget import Bus, Run

from .saved import everything, loaded, parts, refused, write


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.npz"


def test_a_file_of_a_newer_epochwidget_says_so(past, path):
    past.save(path)
    told, members = parts(path)
    write(path, {**told, "version": 2, "new": 1}, members)
    told = "it has version 2 of the format, and this epochwidget reads version 1; update epochwidget."
    assert refused(path).endswith(told)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 0}, "the description.version has to be 1, got 0"),
        ({"version": True}, "the description.version has to be 1, got True"),
        ({"name": 3}, "the description.name has to be a text, got 3"),
        ({"started": float("nan")}, "the description.started has to be a time in seconds since 1970, got nan"),
        ({"started": 9e12}, "the description.started has to be a time in seconds since 1970, got 9000000000000.0"),
        (
            {"generation": 2**30},
            "the description.generation has to be a whole number of 0 to a million, got 1073741824",
        ),
        ({"elapsed": float("inf")}, "the description.elapsed has to be a finite number, got inf"),
        ({"elapsed": 10**400}, "the description.elapsed has to be a finite number, got 1000"),
        ({"watching": True}, "the description.watching has to be a finite number, got True"),
        ({"steps": -1}, "the description.steps has to be a whole number of 0 or more, got -1"),
        ({"steps": 1.0}, "the description.steps has to be a whole number of 0 or more, got 1.0"),
        (
            {"clock": {"points": 2**60, "merged": 0, "buckets": 0}},
            "the description.clock.points has to be a whole number of 0 or more, got 1152921504606846976",
        ),
        ({"clock": {"points": 7, "merged": 0, "buckets": 0}}, "steps_clock has 6 numbers, and its description says 7"),
        ({"clock": {"points": 6, "merged": 6, "buckets": 2}}, "its members are not those that its description names"),
        (
            {"status": "gone"},
            "the description.status has to be 'running' or 'completed' or 'stopped' or 'failed', got 'gone'",
        ),
        ({"open": 0}, "the description.open has to be true or false, got 0"),
        ({"error": []}, "the description.error has to be a text, got []"),
        ({"marks": {}}, "the description.marks has to be a list, got {}"),
        ({"spans": [3]}, "the description.spans[0] has to be an object of epoch, first, batches, time, watching"),
        ({"more": 1}, "the description has to be an object of format, version, run, name, number, started"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(past, path, change, sentence):
    past.save(path)
    told, members = parts(path)
    write(path, {**told, **change}, members)
    refused(path, f": {sentence}")


def test_every_part_of_a_description_is_checked(past, path):
    """Each of its values, however deep, is left out or replaced by what does not fit."""
    with Run(bus=(bus := Bus(strict=True)), resume=bus.take(past)) as run:
        run.log(loss=1.0)
        run.declare("f1", metric="F1", kind="batch")
    past.save(path)
    told, members = parts(path)
    assert all(told[name] for name in ("series", "declared", "spans", "marks", "resumed"))

    def places(value):
        if isinstance(value, (dict, list)):
            for at in value if isinstance(value, dict) else range(len(value)):
                yield value, at
                yield from places(value[at])

    for holder, at in list(places(told)):
        kept = holder[at]
        for wrong in ({"a": 1}, -1.5 if isinstance(kept, (int, str)) or kept is None else "1"):
            holder[at] = wrong
            write(path, told, members)
            refused(path)
        holder[at] = kept
        if isinstance(holder, dict):
            del holder[at]
            write(path, told, members)
            refused(path)
            holder[at] = kept
    write(path, told, members)
    assert everything(loaded(path))[1:] == everything(past)[1:]


def test_two_series_of_one_name_are_refused(past, path):
    past.save(path)
    told, members = parts(path)
    told["series"][1]["name"] = "loss"
    write(path, told, members)
    refused(path, "two of its series of granularity 'batch' are called 'loss'")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "[]", '{"format": "epochwidget run"}', "\x00"])
def test_a_description_that_is_no_description_is_refused(path, text):
    write(path, text, {})
    refused(path)
