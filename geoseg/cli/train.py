"""`geoseg train`: labelled images in, a model out."""

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.input_options import band_options, comma_separated
from geoseg.cli.manner import talk_options
from geoseg.cli.options import trust_option

if TYPE_CHECKING:
    from geoseg.cli.talk import Talk
    from geoseg.train.keeper import Epoch

__all__ = ["train"]


def _share_or_names(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        return [name.strip() for name in value.split(",")]


@click.command()
@click.argument("config", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--images", multiple=True, metavar="PATH", help="File, folder or glob of images; may be given several times."
)
@click.option(
    "--labels", metavar="PATH", help="Folder or glob of label rasters, or a vector file (FILE or FILE:LAYER)."
)
@click.option("--class-column", metavar="NAME", help="Of a vector file: its column of class names or values.")
@click.option(
    "--ignore", callback=comma_separated, metavar="VALUE,...", help="Values of label rasters that are no label."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the model; made if missing. What geoseg run -m takes.",
)
@band_options
@click.option("--use-bands", callback=comma_separated, metavar="NAME,...", help="Bands the model takes [all].")
@click.option(
    "--split", type=click.Choice(["scene", "block"]), help="What is held out: whole scenes [scene], or blocks."
)
@click.option(
    "--val", callback=_share_or_names, metavar="SHARE|NAME,...", help="How much is held out, or which scenes [0.2]."
)
@click.option(
    "--architecture", metavar="NAME", help="Of segmentation_models_pytorch: Unet, FPN, DeepLabV3Plus ... [Unet]"
)
@click.option("--encoder", metavar="NAME", help="Such as resnet18 or tu-mobilenetv3_small_050 [resnet18].")
@click.option(
    "--init", metavar="none|imagenet|FILE", help="Where weights start: drawn, fetched, or from a file [none]."
)
@click.option(
    "--pseudo-labels",
    metavar="MODEL",
    help="A first model, as of geoseg run -m: what it is sure of is a label where there is none.",
)
@click.option(
    "--pseudo-confidence", type=float, metavar="P", help="How probable to it a class is that becomes a label [0.9]."
)
@click.option("--window", type=int, metavar="PX", help="Side of a training window [256].")
@click.option("--batch-size", type=int, help="Windows in a batch [8].")
@click.option("--epochs", type=int, help="Times that is validated and saved [30].")
@click.option("--batches", type=int, help="Batches in an epoch [100].")
@click.option("--patience", type=int, metavar="EPOCHS", help="Stop after so many epochs without a better score.")
@click.option("--learning-rate", type=float, help="Highest, of AdamW [0.001].")
@click.option("--precision", type=click.Choice(["float32", "bfloat16", "float16"]), help="Of the arithmetic [float32].")
@click.option(
    "--gradient-checkpointing",
    is_flag=True,
    default=None,
    help="Compute blocks of the encoder twice in place of keeping what they gave: less memory, the same model.",
)
@click.option("--seed", type=int, help="Of weights, windows and their variation [0].")
@click.option("--name", help="Of the model [trained].")
@click.option("--device", default="auto", metavar="[auto|cpu|cuda[:N]|mps]", help="Where it is computed.")
@click.option(
    "--devices",
    type=click.IntRange(1),
    default=1,
    metavar="N",
    help="Share each batch out over so many GPUs, or processes on a CPU [1].",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads of the network.")
@trust_option
@click.option("--restart", is_flag=True, help="Start over, whatever is there of a training that did not end.")
@click.option("--overwrite", is_flag=True, help="Replace a model of other data or settings.")
@talk_options
def train(config: Path | None, output: Path, **asked: Any) -> int:
    """Train a model on labelled images.

    CONFIG is a YAML file of settings; options win over it, and a few settings are only there. Images and label rasters
    belong together by name. A part of the scenes, or of their blocks, is held out, and the epoch that does best there
    is kept. The same command again goes on where a training died, and does nothing where it ended.

    Exit codes: 0 done, 2 wrong usage, or it could not be trained, 130 interrupted.
    """
    from geoseg.cli.talk import Talk, set_up_logging

    verbosity = -1 if asked["quiet"] else asked["verbose"]
    set_up_logging(verbosity, asked["log_format"])
    _check_installed()

    from geoseg.inference.engine import choose_device
    from geoseg.jobs.train import train as train_model
    from geoseg.train.config import load_training
    from geoseg.train.machine import Machine

    if config is None and not (asked["images"] and asked["labels"]):
        raise click.UsageError("give --images and --labels, or a file of settings that names them")
    training = load_training(config, _settings(asked), folder=Path.cwd())
    machine = Machine(device=str(choose_device(asked["device"])), devices=asked["devices"], threads=asked["threads"])
    gc.freeze()
    gc.enable()
    with Talk(verbosity=verbosity, log_format=asked["log_format"]) as talk:
        trained = train_model(
            training,
            output,
            machine=machine,
            overwrite=asked["overwrite"],
            restart=asked["restart"],
            trust=asked["trust_model"],
            say=talk.say,
            progress=lambda done, total, epoch: _tell(talk, done, total, epoch),
        )
        if trained.was_there:
            talk.say(f"unchanged since it was trained: {output}")
    if not asked["quiet"] and trained.card.scores is not None:
        from geoseg.cli.show import show_table

        scores = trained.card.scores
        rows = [(name, f"{value:.4f}") for name, value in scores.iou.items()]
        show_table(("class", "iou"), [*rows, ("mean", f"{scores.miou:.4f}"), ("accuracy", f"{scores.accuracy:.4f}")])
    sys.stdout.flush()
    return 0


def _check_installed() -> None:
    from importlib.util import find_spec

    if find_spec("lightning") is None:
        raise click.ClickException("training needs Lightning, which is not installed: pip install 'geoseg[train]'")


def _settings(asked: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as keys of a file of settings."""
    plain = (
        "labels", "class_column", "init", "pseudo_labels", "pseudo_confidence", "window", "batch_size", "epochs",
        "batches", "patience", "learning_rate", "precision", "gradient_checkpointing", "seed", "name", "scale",
        "offset", "bands", "use_bands",
    )  # fmt: skip
    found = {k: asked[k] for k in plain if asked[k] is not None}
    if asked["images"]:
        found["images"] = list(asked["images"])
    if asked["ignore"] is not None:
        try:
            found["ignore"] = [int(v) for v in asked["ignore"]]
        except ValueError as error:
            raise click.UsageError(f"--ignore {','.join(asked['ignore'])}: write whole numbers") from error
    split = {k: v for k, v in (("by", asked["split"]), ("val", asked["val"])) if v is not None}
    if split:
        found["split"] = split
    network = {k: v for k, v in (("name", asked["architecture"]), ("encoder", asked["encoder"])) if v is not None}
    if network:
        found["architecture"] = network
    return found


def _tell(talk: "Talk", done: int, total: int, epoch: "Epoch | None") -> None:
    """A step of a bar for each batch, a line for each epoch."""
    talk.count("training", done, total, unit="batches")
    if epoch is not None:
        talk.say(
            f"epoch {epoch.epoch}: loss {epoch.train_loss:.4f}, held out {epoch.val_loss:.4f}, "
            f"mIoU {epoch.miou:.4f}, {epoch.seconds:.1f} s"
        )
