"""`geoseg models`: the shipped models."""

import json
from dataclasses import asdict

import click

__all__ = ["models"]


@click.group()
def models() -> None:
    """List the shipped models, or show one."""


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
def show(name: str, as_json: bool) -> None:
    """Show the card of a model: a shipped one by NAME, or the file of a card."""
    from geoseg.models.load import load_model

    model = load_model(name)
    if as_json:
        click.echo(json.dumps(model.card.model_dump(mode="json") | {"digest": model.digest}, indent=2))
        return
    click.echo(model.card.to_yaml(), nl=False)
    click.echo(f"# digest: {model.digest}")
