"""Pipeline files: what is read, what is refused with file, line and key, and the schema that says the same."""

from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from geoseg.errors import InputError
from geoseg.jobs.pipeline import Pipeline, load_pipeline, pipeline_schema
from geoseg.jobs.pipeline_options import asked_of
from tests.jobs.batches import PLAIN, pipeline_in, write_pipeline

SHIPPED = sorted((Path(__file__).parents[2] / "pipelines").glob("*.yaml"))

LIKELY: dict[str, Any] = {"segment": {"probabilities": True}}
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"version": 2}, "line 1: version", "should be 1"),
    ({"version": None}, "line 1: version", "missing"),
    ({"name": "Small Pipeline"}, "line 2: name", "write it like this"),
    ({"name": "-x"}, "line 2: name", "write it like this"),
    ({"inputs": "in"}, "line 3: inputs", "array"),
    ({"inputs": []}, "line 3: inputs", "at least 1"),
    ({"inputs": ["a", ""]}, "line 5: inputs[1]", "at least 1 character"),
    ({"model": 5}, "line 5: model", "string (got 5)"),
    ({"model": None}, "line 1: model", "missing"),
    ({"output": None}, "line 1: output", "missing"),
    ({"outputs": "x"}, "outputs", "unknown key; did you mean output? known keys: version, name"),
    ({"steps": {"segment": {"overlap": 1}}}, "line 8: steps.segment.overlap", "less than 1 (got 1)"),
    ({"steps": {"segment": {"windo": 64}}}, "line 8: steps.segment.windo", "did you mean window?"),
    ({"steps": {"segment": {"window": "64"}}}, "steps.segment.window", "integer (got '64')"),
    ({"steps": {"segment": {"window": 64.5}}}, "steps.segment.window", "integer"),
    ({"steps": {"segment": {"blend": "median"}}}, "steps.segment.blend", "'gaussian'"),
    ({"steps": {"segment": {"device": "gpu"}}}, "steps.segment.device", "write it like this"),
    ({"steps": {"segment": {"block_size": 600}}}, "steps.segment.block_size", "multiple of 512"),
    ({"steps": {"segment": {"scale": 0}}}, "steps.segment.scale", "gives no physical values"),
    ({"steps": {"segment": {"bands": []}}}, "steps.segment.bands", "at least 1"),
    ({"steps": {"segment": {"tta": "d8"}}}, "steps.segment.tta", "'flips'"),
    ({"steps": {"segment": {"min_confidence": 0}}}, "steps.segment.min_confidence", "greater than 0"),
    ({"steps": {"segment": {"min_confidence": 0.5, "cost_matrix": "c.csv"}}}, "steps.segment", "exclude one another"),
    ({"steps": {"segment": {"force": 1}}}, "steps.segment.force", "boolean"),
    ({"steps": {"segment": {"aoi": "a.gpkg", "bbox": [1, 2, 3, 4]}}}, "line 7: steps.segment", "exclude one another"),
    ({"steps": {"segment": {"bbox": [1, 2, 3]}}}, "steps.segment.bbox", "at least 4"),
    ({"steps": {"segment": {"bbox_crs": "EPSG:4326"}}}, "steps.segment", "of no use without bbox"),
    ({"steps": {"vectorize": {"formats": ["kml"]}}}, "steps.vectorize.formats[0]", "'gpkg'"),
    ({"steps": {"vectorize": {"formats": ["gpkg", "gpkg"]}}}, "steps.vectorize.formats", "twice"),
    ({"steps": {"vectorize": {"min_area": "5"}}}, "steps.vectorize.min_area", "write it like this"),
    ({"steps": {"vectorize": {"min_area": "-5ha"}}}, "steps.vectorize.min_area", "write it like this"),
    ({"steps": {"vectorize": {"simplify": "10ft"}}}, "steps.vectorize.simplify", "write it like this"),
    ({"steps": {"vectorize": {"connectivity": 6}}}, "steps.vectorize.connectivity", "4 or 8"),
    ({"steps": {"areas": {"zones": "z.gpkg"}}}, "line 7: steps.areas", "zones and zone_id go together"),
    ({"steps": {"areas": {"zone_id": "name"}}}, "line 7: steps.areas", "zones and zone_id go together"),
    ({"steps": {"change": {"tolerance": 65}}}, "line 8: steps.change.tolerance", "less than or equal to 64 (got 65)"),
    ({"steps": {"change": {"tolerence": 1}}}, "line 8: steps.change.tolerence", "did you mean tolerance?"),
    ({"steps": {"change": {"align": "yes"}}}, "line 8: steps.change.align", "boolean"),
    ({"steps": {"change": {"crosswalk": ""}}}, "line 8: steps.change.crosswalk", "at least 1 character"),
    ({"steps": {"change": {"prior": 0.2}}}, "line 7: steps.change", "prior is of no use without probabilities"),
    ({"steps": {"change": {"costs": "c.csv"}}}, "line 7: steps.change", "costs is of no use without probabilities"),
    ({"steps": {"change": {"probabilities": True}}}, "line 7: steps.change", "'probabilities: true' to segment, too"),
    ({"steps": LIKELY | {"change": {"probabilities": True, "prior": 1}}}, "steps.change.prior", "below 1, or a table"),
    (
        {"steps": LIKELY | {"change": {"probabilities": True, "prior": True}}},
        "steps.change.prior",
        "should be the share",
    ),
    ({"steps": {"change": {"strata_buffer": 0}}}, "steps.change.strata_buffer", "greater than or equal to 1"),
    ({"steps": {"change": {"formats": ["kml"]}}}, "steps.change.formats[0]", "'gpkg'"),
    ({"steps": {"change": {"zones": "z.gpkg"}}}, "line 7: steps.change", "zones and zone_id go together"),
    ({"steps": {"classify": {}}}, "line 7: steps.classify", "known keys: segment, vectorize, areas, change"),
    ({"compute": {"workers": -1}}, "compute.workers", "greater than or equal to 0"),
    ({"compute": {"workers": 2, "scheduler": "tcp://h:1"}}, "compute", "exclude one another"),
    ({"concurrency": 0}, "concurrency", "greater than or equal to 1"),
    ({"retries": {"limit": 0}}, "retries.limit", "greater than or equal to 1"),
    ({"retries": {"backoff": "a day"}}, "retries.backoff", "write it like this"),
    ({"retention": {}}, "retention", "give one of keep_dates and keep_days"),
    ({"retention": {"keep_dates": 2, "keep_days": 3}}, "retention", "give one of keep_dates and keep_days"),
    ({"retention": {"keep_dates": 0}}, "retention.keep_dates", "greater than or equal to 1"),
    ({"deadline": 90}, "deadline", "string (got 90)"),
    ({"notify": {}}, "notify", "give a command or a webhook"),
    ({"notify": {"command": []}}, "notify.command", "at least 1"),
    ({"notify": {"command": "mail me"}}, "notify.command", "array"),
    ({"notify": {"webhook": "file:///etc/passwd"}}, "notify.webhook", "write it like this"),
    ({"schedule": {"cron": "6"}}, "schedule.cron", "write it like this"),
    ({"schedule": {"cron": "0 6 * * 1", "time_zone": "CET CEST"}}, "schedule.time_zone", "write it like this"),
]
IDS = [f"{where}-{why}"[:60] for _, where, why in REFUSED]


@pytest.mark.parametrize(("changes", "where", "why"), REFUSED, ids=IDS)
def test_what_is_wrong_is_said_with_file_line_and_key_and_the_schema_refuses_it_too(
    changes: dict[str, Any], where: str, why: str, tmp_path: Path
) -> None:
    path = write_pipeline(tmp_path, changes)
    with pytest.raises(InputError) as refused:
        load_pipeline(path)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{path}, line ")
    assert f"{where}: " in line
    assert why in line
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(path.read_text("utf-8")), pipeline_schema())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"schedule": {"cron": "0 6 1 * 1"}}, "limits both"),
        ({"schedule": {"cron": "0 6 * * 9"}}, "'9' is no weekday"),
        ({"schedule": {"cron": "0 6 * * 1", "time_zone": "Europe/Berlino"}}, "no time zone"),
        ({"notify": {"webhook": "http:///x"}}, "names no host"),
        ({"steps": {"vectorize": {"min_area": "1.2.3ha"}}}, "not a smallest area"),
        ({"steps": {"vectorize": {"simplify": "0px"}}}, "above 0"),
    ],
)
def test_what_only_a_program_can_tell_is_refused_too(changes: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        load_pipeline(write_pipeline(tmp_path, changes))


def test_all_that_is_wrong_is_said_at_once_and_secrets_are_not(tmp_path: Path) -> None:
    changes = {"name": "A", "concurrency": "x", "notify": {"webhook": "http://a b/SECRET"}}
    with pytest.raises(InputError) as refused:
        load_pipeline(write_pipeline(tmp_path, changes))
    lines = str(refused.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["name", "concurrency", "notify.webhook"]
    assert "SECRET" not in str(refused.value)


FULL: dict[str, Any] = {
    "trust_model": True,
    "description": "All there is",
    "inputs": ["in", "more/*.tif", "one.tif", "https://example.org/a.tif?token=1"],
    "steps": {
        "segment": {
            "window": 64, "overlap": 0.5, "blend": "hann", "batch_size": 2, "device": "cpu", "precision": "float32",
            "threads": 1, "block_size": 1024, "seed": 3, "force": True, "probabilities": True,
            "bands": ["green", "red", "nir"], "scale": 0.0001, "offset": -0.1, "mask_clouds": True,
            "bbox": [13.5, 45.0, 14.0, 45.3], "bbox_crs": "EPSG:4326", "tta": "flips", "min_confidence": 0.3,
            "native_grid": True,
        },
        "vectorize": {
            "formats": ["fgb", "gpkg"], "min_area": "0.5ha", "smooth": True, "simplify": "10 m", "connectivity": 8,
        },
        "areas": {"zones": "zones.gpkg:zones", "zone_id": "name"},
        "change": {
            "tolerance": 1, "align": True, "crosswalk": "crosswalk.csv", "plausible": "plausible.csv",
            "probabilities": True, "prior": 0.03, "costs": "costs.csv", "picture": True, "strata_buffer": 3,
            "formats": ["gpkg"], "min_area": "0.5ha", "smooth": True, "simplify": "5m", "connectivity": 8,
            "zones": "zones.gpkg", "zone_id": "name",
        },
    },
    "compute": {"workers": 2},
    "concurrency": 3,
    "retries": {"limit": 2, "backoff": "1h", "longest": "2d"},
    "retention": {"keep_days": 30},
    "deadline": "90min",
    "notify": {"command": ["mail", "-s", "done"], "webhook": "https://example.org/h", "when": "problems",
               "timeout": "5s"},
    "metrics": "m.prom",
    "schedule": {"cron": "@daily", "time_zone": "Europe/Berlin"},
}  # fmt: skip


def test_a_file_with_every_key_is_read_and_fits_the_schema(tmp_path: Path) -> None:
    path = write_pipeline(tmp_path, FULL)
    spec = load_pipeline(path).spec
    assert spec.model_dump(mode="json", exclude_unset=True) == PLAIN | FULL
    jsonschema.validate(yaml.safe_load(path.read_text("utf-8")), pipeline_schema())

    def keys(part: dict[str, Any]) -> int:
        return sum(1 + (keys(v) if isinstance(v, dict) else 0) for v in part.values())

    # no key of the format is missing in this test
    schema = pipeline_schema()
    known = len(schema["properties"]) + sum(len(part["properties"]) for part in schema["$defs"].values())
    # ... but scheduler and scheduler_file, which exclude workers, keep_dates, which excludes keep_days, aoi and
    # cost_matrix
    assert keys(PLAIN | FULL) == known - 5


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_the_shipped_pipelines_are_valid_and_fit_the_schema(path: Path) -> None:
    pipeline = load_pipeline(path)
    jsonschema.validate(yaml.safe_load(path.read_text("utf-8")), pipeline_schema())
    assert asked_of(pipeline).model.card.name
    assert pipeline.output.is_relative_to(path.parents[1] / "out")


def test_there_are_shipped_pipelines() -> None:
    assert {p.name for p in SHIPPED} >= {"change-monitoring.yaml", "landcover.yaml", "zones-report.yaml"}


def test_the_schema_is_one(tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(pipeline_schema())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &x 1\nb: *x\n", "line 1: anchors"),
        ("version: 1\nversion: 1\n", "line 2: key version is given twice"),
        ("!!python/object:os.system x", "tags"),
        ("- a\n", "is not a pipeline"),
        ("", "is not a pipeline"),
        ("a: [", "line 1: expected"),
        ("deadline: 06:30\n", "base 60"),
        ("x: " + "a" * 1_100_000, "bytes, more than"),
    ],
)
def test_what_is_no_plain_yaml_is_refused(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=why) as refused:
        load_pipeline(path)
    assert str(path) in str(refused.value)


def test_a_step_that_is_named_and_says_no_more_has_its_defaults(tmp_path: Path) -> None:
    assert asked_of(pipeline_in(tmp_path, steps={"segment": None, "vectorize": None})).options.formats == ("gpkg",)
    assert asked_of(pipeline_in(tmp_path, steps={"segment": None})).options.formats == ()
    # without steps it is what geoseg run makes
    assert asked_of(pipeline_in(tmp_path, steps=None)).options.formats == ("gpkg",)


def test_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "a [1]" / "pipelines"
    (folder.parent / "in").mkdir(parents=True)
    pipeline = load_pipeline(
        write_pipeline(
            folder,
            {"inputs": ["../in", "../in/*.tif", "/abs/x.tif", "s3://b/a.tif"], "model": "cards/m.yaml",
             "output": "../out", "metrics": "m.prom"},
        )
    )  # fmt: skip
    assert pipeline.output == tmp_path / "a [1]" / "out"
    assert pipeline.model == str(folder / "cards" / "m.yaml")
    assert pipeline.metrics_file == folder / "m.prom"
    assert pipeline.inputs() == [
        str(tmp_path / "a [1]" / "in"), f"{tmp_path}/a [[]1]/in/*.tif", "/abs/x.tif", "s3://b/a.tif",
    ]  # fmt: skip


def test_a_folder_that_is_not_there_does_not_pass_for_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 4: inputs\[0\]: there is no folder .*/in: check .* mounted"):
        pipeline_in(tmp_path).inputs()


def test_a_model_that_is_a_program_needs_to_be_trusted_in_the_file(tmp_path: Path) -> None:
    from geoseg.models.load import load_model
    from geoseg.outputs.model_export import export_model

    export_model(load_model("spectral"), tmp_path / "rules.ts", kind="torchscript")
    with pytest.raises(InputError, match=r"line 5: model: .*is a program"):
        asked_of(pipeline_in(tmp_path, model="rules.ts"))
    assert asked_of(pipeline_in(tmp_path, model="rules.ts", trust_model=True)).model.card.kind == "torchscript"


def test_a_cost_matrix_is_found_beside_the_file_and_its_faults_are_named_with_the_key(tmp_path: Path) -> None:
    steps = {"segment": {"cost_matrix": "costs.csv"}}
    plain = asked_of(pipeline_in(tmp_path)).settings
    (tmp_path / "costs.csv").write_text(",cluster 1,cluster 2\n1,0,1\n2,1,0\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 8: steps.segment.cost_matrix: .*costs.csv: .* lack cluster 3"):
        asked_of(pipeline_in(tmp_path, steps=steps))
    costs = ",1,2,3\n1,0,1,5\n2,1,0,1\n3,1,1,0\nreject,1,1,1\n"
    (tmp_path / "costs.csv").write_text(costs, encoding="utf-8")
    asked = asked_of(pipeline_in(tmp_path, steps=steps))
    assert asked.options.choices.costs is not None
    assert [list(r) for r in asked.options.choices.costs] == [[0, 1, 5], [1, 0, 1], [1, 1, 0], [1, 1, 1]]
    assert asked.settings != plain


CHANGED: list[tuple[str, Any]] = [
    ("window", 96), ("overlap", 0.1), ("blend", "flat"), ("precision", "auto"), ("seed", 4), ("force", False),
    ("probabilities", False), ("bands", ["red", "green", "nir"]), ("scale", 0.1), ("offset", 0.0),
    ("tta", "none"), ("min_confidence", 0.6), ("native_grid", False),
    ("mask_clouds", False), ("bbox", [13.5, 45.0, 14.0, 45.2]), ("bbox_crs", "EPSG:4258"),
    ("formats", ["gpkg"]), ("min_area", "1ha"), ("smooth", False), ("simplify", "1px"), ("connectivity", 4),
]  # fmt: skip
SAME = [("batch_size", 3), ("device", "auto"), ("threads", 2), ("block_size", 512)]


def settings_with(folder: Path, key: str | None, value: Any) -> tuple[Pipeline, str]:
    steps: dict[str, Any] = {k: dict(v) for k, v in FULL["steps"].items() if k not in ("areas", "change")}
    if key is not None:
        steps["segment" if key in steps["segment"] else "vectorize"][key] = value
    pipeline = pipeline_in(folder, steps=steps)
    return pipeline, asked_of(pipeline).settings


@pytest.mark.parametrize(("key", "value"), CHANGED)
def test_every_key_that_shapes_results_makes_other_settings(key: str, value: Any, tmp_path: Path) -> None:
    assert settings_with(tmp_path, key, value)[1] != settings_with(tmp_path, None, None)[1]


@pytest.mark.parametrize(("key", "value"), SAME)
def test_where_and_how_fast_it_is_computed_is_not_in_the_settings(key: str, value: Any, tmp_path: Path) -> None:
    pipeline, settings = settings_with(tmp_path, key, value)
    assert settings == settings_with(tmp_path, None, None)[1]
    options = asked_of(pipeline).options
    assert value in (getattr(options.choices, key, None), getattr(options, key, None))


def test_a_model_or_zones_that_cannot_be_used_are_named_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pipeline.yaml, line 5: model: there is no model 'unett'"):
        asked_of(pipeline_in(tmp_path, model="unett"))
    with pytest.raises(InputError, match=r"line 8: steps.areas.zones: .*z.gpkg: cannot be read"):
        asked_of(pipeline_in(tmp_path, steps={"areas": {"zones": "z.gpkg", "zone_id": "a"}}))
