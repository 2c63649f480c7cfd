"""Small products, built to their public specifications: the layout, names and metadata of real ones, tiny rasters."""

import json
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

CRS = "EPSG:32633"
LEFT, TOP = 399_960, 5_800_020
SIDE = 96
"""Pixels of 10 m along a side."""
SAFE_NAME = "S2B_MSIL{level}_20230605T101559_N{baseline}_R065_T33UVU_20230605T133015.SAFE"
NATIVE = {
    "B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20, "B08": 10, "B8A": 20, "B09": 60,
    "B10": 60, "B11": 20, "B12": 20,
}  # fmt: skip
"""Metres a pixel, of each band in the order of the product's band numbers."""
COMMON = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B11": "swir16", "B12": "swir22"}


def reflectances(side: int = SIDE, *, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Reflectance of every Sentinel-2 band at its own pixel size: blobs of water, trees, grass, soil and snow."""
    kinds = {
        "B01": (0.06, 0.03, 0.05, 0.14, 0.80), "B02": (0.06, 0.03, 0.05, 0.13, 0.80),
        "B03": (0.05, 0.05, 0.09, 0.17, 0.82), "B04": (0.03, 0.03, 0.06, 0.22, 0.80),
        "B05": (0.02, 0.08, 0.14, 0.25, 0.75), "B06": (0.02, 0.20, 0.30, 0.27, 0.72),
        "B07": (0.02, 0.25, 0.36, 0.29, 0.71), "B08": (0.01, 0.28, 0.40, 0.30, 0.70),
        "B8A": (0.01, 0.29, 0.42, 0.31, 0.66), "B09": (0.01, 0.28, 0.40, 0.30, 0.50),
        "B10": (0.00, 0.00, 0.00, 0.00, 0.01), "B11": (0.01, 0.12, 0.24, 0.38, 0.08),
        "B12": (0.00, 0.06, 0.14, 0.32, 0.06),
    }  # fmt: skip
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 5, (side // 12, side // 12)).repeat(12, 0).repeat(12, 1)
    found = {}
    for band, levels in kinds.items():
        step = NATIVE[band] // 10
        base = np.asarray(levels)[ground[step // 2 :: step, step // 2 :: step]]
        found[band] = np.clip(base + rng.normal(0, 0.01, base.shape), 0, 1.2)
    return found


def numbers(reflectance: NDArray[np.float64], *, add: int = 0) -> NDArray[np.uint16]:
    """As they are stored: reflectance = (stored + add) / 10000; 0 is no data, and the upper left corner has none."""
    stored: NDArray[np.uint16] = np.clip(np.rint(reflectance * 10_000) - add, 1, 65_535).astype(np.uint16)
    stored[: len(stored) // 16, : len(stored) // 16] = 0
    return stored


def write_jp2(path: Path, pixels: NDArray[Any], metres: float, *, block: int = 32) -> Path:
    """A JPEG 2000 file without loss, (row, col) or (band, row, col)."""
    return _write(path, pixels, metres, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES", blockxsize=block,
                  blockysize=block)  # fmt: skip


def write_tif(path: Path, pixels: NDArray[Any], metres: float, **profile: Any) -> Path:
    """A GeoTIFF, (row, col) or (band, row, col)."""
    return _write(path, pixels, metres, driver="GTiff", **profile)


def _write(path: Path, pixels: NDArray[Any], metres: float, **profile: Any) -> Path:
    bands = pixels[None] if pixels.ndim == 2 else pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = {"crs": CRS, "transform": Affine(metres, 0, LEFT, 0, -metres, TOP)} | profile
    with rasterio.open(
        path, "w", count=len(bands), height=bands.shape[1], width=bands.shape[2], dtype=bands.dtype, **grid
    ) as file:
        file.write(bands)
    return path


def write_safe(
    folder: Path,
    *,
    level: str = "2A",
    baseline: str = "05.09",
    add: int | None = -1000,
    stored: Mapping[str, NDArray[np.uint16]] | None = None,
    scl: NDArray[np.uint8] | None = None,
    clouds: NDArray[np.uint8] | None = None,
    quantification: str = "10000",
) -> Path:
    """A Sentinel-2 product in SAFE format.

    Args:
        folder: It goes in here.
        level: 1C or 2A.
        baseline: Of the processing.
        add: BOA_ADD_OFFSET or RADIO_ADD_OFFSET; None writes no list of them, as before baseline 04.00.
        stored: Pixels by band at 10, 20 or 60 m.
        scl: Scene classification at 20 m, for Level-2A.
        clouds: Opaque clouds, cirrus and snow at 60 m, for Level-1C since baseline 04.00.
        quantification: As the metadata say it.
    """
    if stored is None:
        stored = {b: numbers(r, add=add or 0) for b, r in reflectances().items()}
    safe = folder / SAFE_NAME.format(level=level, baseline=baseline.replace(".", ""))
    granule = f"L{level}_T33UVU_A032631_20230605T101558"
    images, prefix = [], "T33UVU_20230605T101559"
    for band, pixels in stored.items():
        metres = SIDE * 10 // len(pixels)
        name = (
            f"GRANULE/{granule}/IMG_DATA/R{metres}m/{prefix}_{band}_{metres}m"
            if level == "2A"
            else f"GRANULE/{granule}/IMG_DATA/{prefix}_{band}"
        )
        if level == "2A" and band == "B10":  # Level-2A has no cirrus band
            continue
        write_jp2(safe / f"{name}.jp2", pixels, metres)
        images.append(name)
        if level == "2A" and metres == 10:  # a coarser copy of each, as real products have
            copy = f"GRANULE/{granule}/IMG_DATA/R20m/{prefix}_{band}_20m"
            write_jp2(safe / f"{copy}.jp2", pixels[::2, ::2], 20)
            images.append(copy)
    if scl is not None:
        name = f"GRANULE/{granule}/IMG_DATA/R20m/{prefix}_SCL_20m"
        write_jp2(safe / f"{name}.jp2", scl, 20)
        images.append(name)
    if clouds is not None:
        write_jp2(safe / f"GRANULE/{granule}/QI_DATA/MSK_CLASSI_B00.jp2", clouds, 60)
    (safe / f"MTD_MSIL{level}.xml").write_text(_safe_xml(level, baseline, add, images, granule, quantification))
    (safe / f"GRANULE/{granule}/MTD_TL.xml").write_text(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<n1:Level-{level}_Tile_ID '
        f'xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-{level}_Tile_Metadata.xsd">'
        '<n1:General_Info><SENSING_TIME metadataLevel="Standard">2023-06-05T10:21:31.318Z</SENSING_TIME>'
        f"</n1:General_Info></n1:Level-{level}_Tile_ID>\n"
    )
    (safe / "manifest.safe").write_text("<xfdu:XFDU xmlns:xfdu='urn:ccsds:schema:xfdu:1'/>\n")
    return safe


def _safe_xml(level: str, baseline: str, add: int | None, images: list[str], granule: str, quantification: str) -> str:
    kind = "BOA" if level == "2A" else "RADIO"
    offsets = "".join(f'<{kind}_ADD_OFFSET band_id="{i}">{add}</{kind}_ADD_OFFSET>' for i in range(13))
    listed = {"2A": "BOA_ADD_OFFSET_VALUES_LIST", "1C": "Radiometric_Offset_List"}[level]
    offset_list = "" if add is None else f"<{listed}>{offsets}</{listed}>"
    values = (
        "<QUANTIFICATION_VALUES_LIST>"
        f'<BOA_QUANTIFICATION_VALUE unit="none">{quantification}</BOA_QUANTIFICATION_VALUE>'
        '<AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>'
        if level == "2A"
        else f'<QUANTIFICATION_VALUE unit="none">{quantification}</QUANTIFICATION_VALUE>'
    )
    files = "".join(f"<IMAGE_FILE>{name}</IMAGE_FILE>" for name in images)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<n1:Level-{level}_User_Product '
        f'xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd"><n1:General_Info>'
        "<Product_Info><PRODUCT_START_TIME>2023-06-05T10:15:59.024Z</PRODUCT_START_TIME>"
        f"<PRODUCT_URI>{SAFE_NAME.format(level=level, baseline=baseline.replace('.', ''))}</PRODUCT_URI>"
        f"<PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>"
        '<Datatake datatakeIdentifier="GS2B_20230605T101559_032631_N05.09"><SPACECRAFT_NAME>Sentinel-2B'
        "</SPACECRAFT_NAME></Datatake><Product_Organisation><Granule_List>"
        f'<Granule granuleIdentifier="{granule}" imageFormat="JPEG2000">{files}</Granule>'
        "</Granule_List></Product_Organisation></Product_Info><Product_Image_Characteristics><Special_Values>"
        "<SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>"
        f"{values}{offset_list}</Product_Image_Characteristics></n1:General_Info></n1:Level-{level}_User_Product>\n"
    )


def zipped(product: Path) -> Path:
    """The product as a zip file beside it, as it is downloaded."""
    path = product.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(product.rglob("*")):
            if file.is_file():
                archive.write(file, f"{product.name}/{file.relative_to(product).as_posix()}")
    return path


def on_10_m(pixels: NDArray[Any]) -> NDArray[Any]:
    """Pixels of any size as pixels of 10 m, each the value of the one it lies in."""
    step = SIDE // len(pixels)
    return pixels.repeat(step, axis=0).repeat(step, axis=1)


def without(product: Path, pattern: str) -> Path:
    """The product with files taken away."""
    for path in product.rglob(pattern):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return product


LANDSAT_ID = "LC08_{level}_193024_20230604_20230614_02_T1"
LANDSAT = {2: "B02", 3: "B03", 4: "B04", 5: "B08", 6: "B11", 7: "B12"}
"""Band numbers of Landsat 8, and the bands of Sentinel-2 that are nearest."""
SUN_ELEVATION = 57.5


def at_30_m(band: str) -> NDArray[np.float64]:
    """Reflectance of a band at 30 m: every third of 10 m pixels, from coarser ones what lies there."""
    return on_10_m(reflectances()[band])[1::3, 1::3]


def write_landsat(
    folder: Path, *, level: str = "L2SP", text: bool = False, qa: NDArray[np.uint16] | None = None
) -> Path:
    """A Landsat 8 Collection 2 bundle: a folder with a file per band, quality, and metadata as JSON or text."""
    name = LANDSAT_ID.format(level=level)
    bundle = folder / name
    surface = level.startswith("L2")
    sun = 1.0 if surface else float(np.sin(np.radians(SUN_ELEVATION)))
    scale, offset = (2.75e-05, -0.2) if surface else (2.0e-05, -0.1)
    contents = {"LANDSAT_PRODUCT_ID": name, "PROCESSING_LEVEL": level, "COLLECTION_NUMBER": "02"}
    radiometry: dict[str, str] = {}
    for number, band in LANDSAT.items():
        stored = np.clip(np.rint((at_30_m(band) * sun - offset) / scale), 1, 65_535).astype(np.uint16)
        stored[:2, :2] = 0
        file = f"{name}_{'SR_' if surface else ''}B{number}.TIF"
        write_tif(bundle / file, stored, 30, tiled=True, blockxsize=16, blockysize=16)
        contents[f"FILE_NAME_BAND_{number}"] = file
        radiometry |= {f"REFLECTANCE_MULT_BAND_{number}": str(scale), f"REFLECTANCE_ADD_BAND_{number}": str(offset)}
    if surface:
        contents["FILE_NAME_BAND_ST_B10"] = f"{name}_ST_B10.TIF"
        write_tif(bundle / f"{name}_ST_B10.TIF", np.full((32, 32), 44_000, np.uint16), 30)
    else:
        contents["FILE_NAME_BAND_8"] = f"{name}_B8.TIF"
        write_tif(bundle / f"{name}_B8.TIF", np.full((64, 64), 9_000, np.uint16), 15)
    if qa is not None:
        contents["FILE_NAME_QUALITY_L1_PIXEL"] = f"{name}_QA_PIXEL.TIF"
        write_tif(bundle / f"{name}_QA_PIXEL.TIF", qa, 30)
    groups = {
        "PRODUCT_CONTENTS": contents,
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": "LANDSAT_8", "DATE_ACQUIRED": "2023-06-04", "SCENE_CENTER_TIME": "10:02:36.1234560Z",
            "SUN_ELEVATION": str(SUN_ELEVATION),
        },
        # a Level-2 bundle has both groups: the one of its Level-1 source must not be taken
        "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": radiometry if surface else {},
        "LEVEL1_RADIOMETRIC_RESCALING": dict.fromkeys(radiometry, "9.9") if surface else radiometry,
    }  # fmt: skip
    if text:
        lines = ["GROUP = LANDSAT_METADATA_FILE"]
        for group, values in groups.items():
            lines += [f"  GROUP = {group}", *(f'    {k} = "{v}"' for k, v in values.items()), f"  END_GROUP = {group}"]
        (bundle / f"{name}_MTL.txt").write_text("\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END"]))
    else:
        (bundle / f"{name}_MTL.json").write_text(json.dumps({"LANDSAT_METADATA_FILE": groups}))
    return bundle


def tarred(bundle: Path) -> Path:
    """The bundle as a tar file beside it, as it is downloaded: without a folder in it."""
    path = bundle.with_name(f"{bundle.name}.tar")
    with tarfile.open(path, "w") as archive:
        for file in sorted(bundle.iterdir()):
            archive.add(file, arcname=file.name)
    return path


def write_hls(folder: Path, *, kind: str = "S30", fmask: NDArray[np.uint8] | None = None) -> str:
    """The files of an HLS granule; gives the granule's name in its folder."""
    granule = f"HLS.{kind}.T33UVU.2023156T101559.v2.0"
    own = {"S30": {b: b for b in LANDSAT.values()}, "L30": {f"B0{n}": b for n, b in LANDSAT.items()}}[kind]
    for name, band in own.items():
        stored = np.rint(at_30_m(band) * 10_000).astype(np.int16)
        stored[:2, :2] = -9999
        write_tif(folder / f"{granule}.{name}.tif", stored, 30)
    if kind == "L30":
        write_tif(folder / f"{granule}.B10.tif", np.full((32, 32), 2000, np.int16), 30)
    if fmask is not None:
        write_tif(folder / f"{granule}.Fmask.tif", fmask, 30)
    return str(folder / granule)
