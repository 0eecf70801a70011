import json
import math

import pytest

from tests.frames import read
from tests.wire import golden


def spelled(value):
    if isinstance(value, dict):
        return {key: spelled(part) for key, part in value.items()}
    if isinstance(value, list):
        return [spelled(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return value


@pytest.mark.parametrize("case", golden.CASES)
def test_the_encoder_gives_the_golden_frame_byte_for_byte(case):
    """If the change is meant: run ``golden.py`` and tell the page (``js/src/wire.ts``)."""
    assert golden.CASES[case]() == (golden.FOLDER / f"{case}.bin").read_bytes()


@pytest.mark.parametrize("case", golden.CASES)
def test_a_reader_that_knows_the_contract_alone_reads_what_the_twin_says(case):
    frame = read((golden.FOLDER / f"{case}.bin").read_bytes())
    assert spelled(frame) == json.loads((golden.FOLDER / f"{case}.json").read_text(encoding="utf-8"))


def test_every_golden_file_has_a_case():
    assert {path.stem for path in golden.FOLDER.glob("*.bin")} == set(golden.CASES)
    assert {path.stem for path in golden.FOLDER.glob("*.json")} == {*golden.CASES, "settings"}


def test_the_golden_frames_hold_what_they_are_there_for():
    """So that nobody empties one of them by accident."""
    twins = {case: json.loads((golden.FOLDER / f"{case}.json").read_text(encoding="utf-8")) for case in golden.CASES}
    (first,), (then,) = twins["append_first"]["runs"], twins["append_next"]["runs"]
    sent = {column["series"]: column["start"] + column["count"] for column in first["columns"]}
    new = {spec["id"] for spec in then["series"]}
    assert new
    assert new.isdisjoint(sent)
    for column in then["columns"]:
        assert column["start"] == sent.get(column["series"], 0)
    assert then["spans"]["start"] == len(first["spans"]["items"]) - 1
    text = json.dumps(twins["append_not_finite"])
    assert all(f'"{word}"' in text for word in ("NaN", "Infinity", "-Infinity"))
    assert any(column["steps"] == [2, 4, 6] for column in twins["append_sparse"]["runs"][0]["columns"])
    assert twins["append_ended"]["runs"][0]["status"] == "failed"
    (resumed,) = twins["append_resumed"]["runs"]
    assert (resumed["generation"], resumed["resumed"], resumed["status"]) == (
        1,
        [[4, 1, golden.STARTED + 60]],
        "running",
    )
    assert all(column["start"] == 0 for column in resumed["columns"])
    assert twins["snapshot_empty"] == {"runs": []}
    assert len(twins["snapshot_two_runs"]["runs"]) == 2
    thinned = [column for column in twins["snapshot_decimated"]["runs"][0]["columns"] if "indices" in column]
    assert all(column["count"] < column["length"] for column in thinned)
    assert any("NaN" in column["values"] and 40 in column["values"] and -40 in column["values"] for column in thinned)
