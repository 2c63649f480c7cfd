"""Numbers of things in words."""

__all__ = ["counted"]


def counted(n: int, thing: str) -> str:
    """So many of a thing that takes an s.

    Example:
        >>> counted(1, "block"), counted(2000, "block")
        ('1 block', '2000 blocks')
    """
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"
