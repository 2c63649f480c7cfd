"""Options that several commands share: each is defined once and means one thing everywhere.

Here are those of how the work is done; `geoseg.cli.input_options` has those of what is read, and
`geoseg.cli.output_options` those of what is made.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import yaml

if TYPE_CHECKING:
    from geoseg.jobs.outcome import Options
    from geoseg.legend import Legend
    from geoseg.models.choose import Choice
    from geoseg.models.load import Model

__all__ = [
    "by_user",
    "chosen_of",
    "cluster_options",
    "compute_options",
    "decision_of",
    "decision_options",
    "of_one_date",
    "read_config",
    "segment_options",
    "segment_options_of",
    "trust_option",
]

F = TypeVar("F", bound=Callable[..., Any])


def read_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    """Options from a YAML file, as defaults: what the command line says wins."""
    if value is None:
        return
    try:
        content = yaml.safe_load(value.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise click.BadParameter(f"{value} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise click.BadParameter(f"{value} is not a mapping of options to values, such as 'overlap: 0.5'")
    options = {
        o.lstrip("-").replace("-", "_"): p.name for p in ctx.command.params for o in (*p.opts, *p.secondary_opts)
    }
    defaults = {}
    negated = {o.lstrip("-").replace("-", "_") for p in ctx.command.params for o in p.secondary_opts}
    for key, setting in content.items():
        name = options.get(str(key).replace("-", "_"))
        if name is None or name in ("config", "inputs"):
            known = ", ".join(sorted(o.replace("_", "-") for o in options if len(o) > 1 and o != "config"))
            raise click.BadParameter(f"{value}: option {key!r} is not known; known are {known}")
        if name == "bands" and isinstance(setting, list):
            setting = ",".join(map(str, setting))
        elif str(key).replace("-", "_") in negated:
            if not isinstance(setting, bool):
                raise click.BadParameter(f"{value}: option {key!r} is true or false, not {setting!r}")
            setting = not setting
        defaults[name] = setting
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def compute_options(command: F) -> F:
    """How and where the network is run."""
    from geoseg.inference.blend import BLENDS

    for option in (
        click.option("--threads", type=click.IntRange(1), help="CPU threads of the network in each process."),
        click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto",
                     help="Arithmetic of the network; auto is bfloat16 on GPUs that have it, else float32."),
        click.option("--device", default="auto", metavar="[auto|cpu|cuda[:N]|mps]", help="Where the network runs."),
        click.option("--batch-size", type=click.IntRange(1),
                     help="Windows per forward pass; a network may round otherwise in other batches [1; 16 on GPUs]."),
        click.option("--blend", type=click.Choice(BLENDS), help="Weight shape where windows overlap [the model's]."),
        click.option("--overlap", type=click.FloatRange(0, 1, max_open=True),
                     help="Share of a window that two neighbours have in common [the model's]."),
        click.option("--window", type=click.IntRange(1), help="Pixels along a side of a window [the model's]."),
    ):  # fmt: skip
        command = option(command)
    return command


def cluster_options(command: F) -> F:
    """Where the work is done: arguments of `geoseg.jobs.cluster.connect`."""
    for option in (
        click.option("--scheduler-file", type=click.Path(exists=True, dir_okay=False),
                     help="Its connection file instead."),
        click.option("--scheduler", metavar="ADDRESS", help="A running Dask scheduler, such as tcp://host:8786."),
        click.option("-j", "--workers", type=click.IntRange(0), default=0, show_default=True,
                     help="Processes on this machine; 0 computes in this one and opens no port."),
    ):  # fmt: skip
        command = option(command)
    return command


def segment_options(command: F) -> F:
    """How scenes are segmented, beside their bands and the network; `segment_options_of` makes a value of all."""
    for option in (
        click.option("--native-grid", is_flag=True,
                     help="Results on the grid of the scene's own pixels where these are resampled for the model."),
        click.option("--force", is_flag=True, help="Go on where unit or pixels do not fit the model; take any size."),
        click.option("--restart", is_flag=True,
                     help="Compute again what a run that died had finished of a scene; with --overwrite what is "
                          "finished and unchanged, too."),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
                     help="Of the pixels that kmeans looks at."),
        click.option("--block-size", type=int, metavar="PX", help="Side of a block, a multiple of 512 [planned]."),
    ):  # fmt: skip
        command = option(command)
    return command


def trust_option(command: F) -> F:
    """Whether formats that can run code are accepted."""
    text = "Accept a model that is a program (TorchScript, .pt2, module:Class): it can do whatever you can."
    return click.option("--trust-model", is_flag=True, help=text)(command)


def segment_options_of(asked: dict[str, Any], *, decided: dict[str, Any] | None = None, **more: Any) -> "Options":
    """What `band_options`, `compute_options` and `segment_options` say of a run.

    Args:
        asked: What was parsed; with ``--overwrite``, and ``--scheduler`` and ``--scheduler-file`` where there are such.
        decided: How classes are chosen, what `decision_of` gave; the most likely one by default.
        more: The other options of the run.

    Raises:
        ParameterError: If a value cannot be used, or the device is not there.
    """
    from geoseg.inference.engine import choose_device
    from geoseg.inference.recipe import Choices
    from geoseg.jobs.outcome import Options

    # the devices of a cluster are its workers' own: this machine need not have one like them
    elsewhere = asked.get("scheduler") or asked.get("scheduler_file")
    device = asked["device"] if elsewhere else str(choose_device(asked["device"]))
    names = ("window", "overlap", "blend", "batch_size", "precision", "threads", "seed", "force", "native_grid")
    return Options(
        choices=Choices(**{name: asked[name] for name in names}, device=device, **(decided or {})),
        **{
            name: asked[name]
            for name in ("bands", "scale", "offset", "mask_clouds", "block_size", "overwrite", "restart")
        },
        **more,
    )


def by_user(name: str) -> bool:
    """Whether the command line itself gives an option."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def chosen_of(asked: dict[str, Any], rasters: "Sequence[str]") -> "Choice":
    """The shipped model that is taken for some rasters where none is named."""
    from geoseg.models.choose import choose_model
    from geoseg.scene.open import open_scene

    pixels = {name: asked[name] for name in ("bands", "scale", "offset", "mask_clouds")}
    return choose_model(rasters, lambda href: open_scene(href, **pixels))


def of_one_date(model: "Model") -> "Model":
    """The model, where it takes one scene at a time.

    Raises:
        ModelError: If it takes several dates, as no scene can be segmented by it.
    """
    if model.card.dates > 1:
        from geoseg.errors import ModelError

        raise ModelError(
            f"model {model.card.name} takes {model.card.dates} dates: give both with geoseg change BEFORE AFTER --model"
        )
    return model


def decision_options(command: F) -> F:
    """How classes are chosen from what the network says; `decision_of` makes values of them."""
    from geoseg.inference.turns import TTAS

    for option in (
        click.option("--min-confidence", type=click.FloatRange(0, 1, min_open=True), metavar="P",
                     help="Leave pixels undecided whose most likely class is less probable than this, such as 0.6."),
        click.option("--cost-matrix", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="CSV",
                     help="Decide at least expected cost: a row for each decision, a column for each truth."),
        click.option("--tta", type=click.Choice(TTAS), default="none", show_default=True,
                     help="Test-time augmentation: average over flips (4 times the time), or turns, too (8 times)."),
    ):  # fmt: skip
        command = option(command)
    return command


def decision_of(asked: dict[str, Any], legend: "Legend") -> dict[str, Any]:
    """Arguments of `geoseg.inference.recipe.Choices` for how classes are chosen.

    Args:
        asked: What the command was asked.
        legend: Of the model, whose classes the cost matrix names.

    Raises:
        InputError: If the cost matrix cannot be used.
    """
    from geoseg.inference.decision import read_costs

    if asked["cost_matrix"] is not None and asked["min_confidence"] is not None:
        raise click.UsageError(
            "--min-confidence and --cost-matrix exclude one another: give the matrix a row 'reject' with its cost"
        )
    costs = None if asked["cost_matrix"] is None else read_costs(asked["cost_matrix"], legend)
    return {"costs": costs, "min_confidence": asked["min_confidence"], "tta": asked["tta"]}
