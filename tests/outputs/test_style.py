from xml.etree import ElementTree as ET

import pytest

from geoseg.legend import Legend, LegendClass
from geoseg.outputs.style import pam_xml, raster_qml, vector_qml

_NASTY = Legend(
    classes=(
        LegendClass(value=0, name="</category><!ENTITY x SYSTEM 'file:///etc/passwd'>", color="#000000"),
        LegendClass(value=3, name='"quoted" & \x00\x1b[2J \ufffe', color="#FFaa00"),
    )
)


@pytest.mark.parametrize("text", [raster_qml(_NASTY), vector_qml(_NASTY), pam_xml(_NASTY)])
def test_no_name_breaks_the_xml(text: str) -> None:
    root = ET.fromstring(text)
    texts = [e.get("label", e.text or "") for e in root.iter()]
    assert _NASTY.names[0] in texts
    assert '"quoted" & \\x00\\x1b[2J \\ufffe' in texts


def test_the_vector_style_has_a_symbol_per_class() -> None:
    root = ET.fromstring(vector_qml(_NASTY, column="to_id"))
    symbols = {s.get("name"): s for s in root.iter("symbol")}
    colors = {}
    for category in root.iter("category"):
        properties = {p.get("k"): p.get("v") for p in symbols[category.get("symbol")].iter("prop")}
        colors[category.get("value")] = properties["color"]
    assert colors == {"0": "0,0,0,255", "3": "255,170,0,255"}
    assert root.find("renderer-v2[@attr='to_id']") is not None


def test_what_a_driver_put_beside_the_raster_is_kept() -> None:
    band = '<PAMRasterBand band="1"><Metadata><MDI key="a">b</MDI></Metadata></PAMRasterBand>'
    existing = f"<PAMDataset><SRS>old</SRS>{band}</PAMDataset>"
    root = ET.fromstring(pam_xml(_NASTY, existing=existing))
    assert (root.findtext("SRS"), root.findtext("PAMRasterBand/Metadata/MDI")) == ("old", "b")
    assert [c.text or "" for c in root.findall("PAMRasterBand/CategoryNames/Category")][1:3] == ["", ""]
    site = 'ENGCRS["s",EDATUM["p"],CS[Cartesian,2],AXIS["e",east],AXIS["n",north],LENGTHUNIT["metre",1]]'
    assert [s.text for s in ET.fromstring(pam_xml(None, srs_wkt=site, existing=existing)).findall("SRS")] == [site]
