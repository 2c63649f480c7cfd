"""`geoseg models`: what is shipped, what a model expects, other formats, and whether it works here."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from geoseg.cli.options import trust_option

__all__ = ["models"]


@click.group()
def models() -> None:
    """List the shipped models; show, check and export a model; draft a card."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the shipped models."""
    from geoseg.cli.show import show_table
    from geoseg.models.load import list_models

    if as_json:
        click.echo(json.dumps([asdict(model) for model in list_models()], indent=2))
        return
    show_table(
        ("name", "kind", "bands", "classes", "description"),
        [
            (m.name, m.kind, ", ".join(m.bands) or "any", ", ".join(m.classes), m.description.split(". ")[0].strip())
            for m in list_models()
        ],
    )


@models.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@trust_option
def show(name: str, as_json: bool, trust_model: bool) -> None:
    """Show the card of a model: a shipped one by NAME, or the file of a card or of a model that has one inside."""
    from geoseg.models.load import load_model

    model = load_model(name, trust=trust_model)
    if as_json:
        click.echo(json.dumps(model.card.model_dump(mode="json") | {"digest": model.digest}, indent=2))
        return
    click.echo(model.card.to_yaml(), nl=False)
    click.echo(f"# digest: {model.digest}")


@models.command("card")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write [prints it].")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
def card(source: Path, output: Path | None, overwrite: bool) -> None:
    """Draft the card of a model file that does not say all of it, to be completed in an editor.

    SOURCE is a folder of smp's save_pretrained or of transformers, a Lightning checkpoint, an ONNX file, a STAC MLM
    item, or an archive of torch. What it does not say stands at the top; a card is not accepted before it is filled in.
    """
    from geoseg.errors import OutputError
    from geoseg.models.draft import draft_card
    from geoseg.outputs.records import write_text

    text = draft_card(source)
    if output is None:
        click.echo(text, nl=False)
        return
    if output.exists() and not overwrite:
        raise OutputError(f"{output} is there: pass --overwrite to replace it, or choose another name")
    write_text(output, text)
    click.echo(f"complete {output}, then name it with --model", err=True)


@models.command("export")
@click.argument("name")
@click.option("--as", "kind", required=True, type=click.Choice(["onnx", "pt2", "torchscript", "mlm", "bundle"]),
              help="What to write.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File [the model's name].")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@trust_option
def export(name: str, kind: str, output: Path | None, overwrite: bool, trust_model: bool) -> None:
    """Write a model as ONNX, .pt2, TorchScript or a STAC MLM item with its weights, or all of it as one bundle.

    It is loaded again from what was written and has to give the same class map; else nothing appears.
    """
    from geoseg.models.load import load_model
    from geoseg.outputs.model_export import export_model

    done = export_model(load_model(name, trust=trust_model), output, kind=kind, overwrite=overwrite)
    for note in done.notes:
        click.echo(note, err=True)
    click.echo(f"compared with {name}: {done.agreement}", err=True)
    for file in done.files:
        click.echo(file)


@models.command("check")
@click.argument("name")
@click.option("--device", default="auto", metavar="[auto|cpu|cuda[:N]|mps]", help="Where the network runs.")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto",
              help="Arithmetic of the network.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@trust_option
def check(name: str, device: str, precision: str, as_json: bool, trust_model: bool) -> int:
    """Check a model on this machine: bands, window sizes, its test window, whether outputs depend on the whole window.

    And how fast it is. Exit codes: 0 it does what its card says, 1 it does not, 2 it cannot be loaded.
    """
    from geoseg.inference.check import Finding, check_model
    from geoseg.models.load import load_model

    found: list[Finding] = []
    for one in check_model(load_model(name, trust=trust_model), device=device, precision=precision):
        found.append(one)
        if not as_json:
            click.echo(f"{_MARKS[one.good]:6} {one.what:15} {one.text}")
    if as_json:
        listed: list[dict[str, Any]] = [asdict(one) for one in found]
        click.echo(json.dumps(listed, indent=2))
    return 1 if any(one.good is False for one in found) else 0


_MARKS = {True: "good", False: "WRONG", None: "-"}
