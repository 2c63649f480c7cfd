"""Numbers of things in words."""

__all__ = ["counted", "were"]


def counted(n: int, thing: str) -> str:
    """So many of a thing that takes an s.

    Example:
        >>> counted(1, "block"), counted(2000, "block")
        ('1 block', '2000 blocks')
    """
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def were(n: int, thing: str) -> str:
    """The same, with its verb in the past.

    Example:
        >>> were(1, "block"), were(2, "block")
        ('1 block was', '2 blocks were')
    """
    return f"{counted(n, thing)} {'was' if n == 1 else 'were'}"
