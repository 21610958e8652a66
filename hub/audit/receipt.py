"""A receipt: where one record stands in which log. It is what a client holds against the hub; it knows no storage."""

from msgspec import Struct


class Receipt(Struct, frozen=True):
    """`origin` names the log, `index` the place of the record in its tree, `leaf` the record's RFC 6962 leaf hash."""

    origin: str
    index: int
    leaf: bytes

    def header(self) -> str:
        """The value of the `hub-receipt` header: `<origin>/<index>;<leaf hash in hex>`."""
        return f"{self.origin}/{self.index};{self.leaf.hex()}"
