import click


@click.command("verify")
def verify_deployment() -> None:
    """x"""
