"""Ready-made adapters for the common cases, so that a new domain needs no class of its own."""

from contextssl.adapters.items import ItemAdapter
from contextssl.adapters.relative import relative_action
from contextssl.adapters.table import FlippedColumn, NearestRows, TableAdapter
from contextssl.adapters.trajectories import trajectory
from contextssl.adapters.transformed import TransformedItems
from contextssl.adapters.views import ViewsAdapter

__all__ = [
    "FlippedColumn", "ItemAdapter", "NearestRows", "TableAdapter", "TransformedItems", "ViewsAdapter", "relative_action", "trajectory",
]  # fmt: skip
