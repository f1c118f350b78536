"""How tables call a row, and the published networks that are rows of their own."""

from pydantic import field_validator

from fairat.settings.architectures import NetworkSettings, PublishedNetwork
from fairat.settings.base import Settings


class Presentation(Settings):
    """How tables call a row, and where it stands.

    Attributes:
        label: name in tables, as the papers print it.
        short: name in the headings of corruption tables; the label if empty.
        group: rows of one group stand together in tables (AT, TRADES, ...).
        ours: whether tables mark the row as the paper's own method.
    """

    label: str
    short: str = ""
    group: str = ""
    ours: bool = False


class Published(Presentation):
    """A network with the weights its authors published: evaluated like a run, or where methods start from.

    Attributes:
        architecture: which network, and where its weights are.
    """

    group: str = "published"
    architecture: PublishedNetwork

    @field_validator("architecture")
    @classmethod
    def _has_weights(cls, architecture: NetworkSettings) -> NetworkSettings:
        if not architecture.has_start:
            raise ValueError("names no weights; give the file that holds them as `checkpoint`")
        return architecture
