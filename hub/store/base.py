"""What the stores have in common for those who use them: the ways in which one can fail. Knows no medium."""

from hub.refusal import StoreDown


class Locked(Exception):
    """Others serve from this database, in a way that leaves no place. The message is a sentence for the operator."""


class LaterVersion(Exception):
    """The database was migrated by a later version of the hub."""

    def __init__(self) -> None:
        super().__init__("the database was written by a later version of the hub: run that one, or restore a backup")


class Ambiguous(StoreDown):
    """The commit was asked for and no answer came: it may have taken hold. Look before you write again."""
