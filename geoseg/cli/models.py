"""`geoseg models`: the shipped models."""

import click

__all__ = ["models"]


@click.group()
def models() -> None:
    """List the shipped models, or show one."""


@models.command("list")
def list_() -> None:
    """List the shipped models."""
    from geoseg.cli.show import show_table
    from geoseg.models.load import list_models

    show_table(
        ("name", "kind", "bands", "classes", "description"),
        [
            (m.name, m.kind, ", ".join(m.bands) or "any", ", ".join(m.classes), m.description.split(". ")[0].strip())
            for m in list_models()
        ],
    )


@models.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Show the card of a model: a shipped one by NAME, or the file of a card."""
    from geoseg.models.load import load_model

    model = load_model(name)
    click.echo(model.card.to_yaml(), nl=False)
    click.echo(f"# digest: {model.digest}")
