import base64
import json
import re

import pytest

import epochwidget as ew

from .frames import read


@pytest.fixture
def widget(bus):
    with ew.Run("</script><b>", bus=bus) as run:
        for step in range(60_000):
            run.log(loss=float(step))
    widget = ew.EpochWidget(bus=bus, smoothing=0.5, panels=[ew.Panel("Mine", ["loss"])], title="<i>mine</i>")
    yield widget
    widget.close()


def part(html, name):
    [found] = re.findall(rf'<script type="[^"]*" id="{name}">(.*?)</script>', html, re.DOTALL)
    return found


def test_it_holds_every_point_and_all_settings(widget, tmp_path):
    path = tmp_path / "run.html"
    widget.save_html(path)
    html = path.read_text(encoding="utf-8")
    settings = json.loads(part(html, "settings"))
    assert settings["smoothing"] == 0.5
    assert settings["panels"] == [{"title": "Mine", "metrics": ["loss"], "scale": "auto"}]
    assert "_snapshot" not in settings
    [run] = read(base64.b64decode(part(html, "runs")))["runs"]
    loss = next(column for column in run["columns"] if column["values"][-1] == 59_999)
    assert len(loss["values"]) == 60_000, "more than a snapshot has room for"
    assert run["name"] == "</script><b> · run 1"


def test_names_are_text_and_nothing_is_fetched(widget, tmp_path):
    path = tmp_path / "run.html"
    widget.save_html(path)
    html = path.read_text(encoding="utf-8")
    assert "<title>&lt;i&gt;mine&lt;/i&gt;</title>" in html
    assert "<i>mine" not in html
    assert not re.search(r"""(?:src|href)=|@import|url\(\s*["']?http""", re.sub(r'id="script">.*?</script>', "", html))


def test_what_cannot_be_written_is_told_and_the_old_file_stays(widget, tmp_path):
    with pytest.raises(OSError, match=r"the page was not saved .* give a path in a folder that exists"):
        widget.save_html(tmp_path / "nowhere" / "run.html")
    assert list(tmp_path.iterdir()) == []
