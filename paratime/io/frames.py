"""Tables of other packages, as pandas'."""

from typing import Any

import pandas as pd

from paratime.errors import InputError
from paratime.io.packages import import_package


def as_pandas(table: Any) -> pd.DataFrame:
    """Return a table of any package as pandas' without a copy where it is one.

    Packages such as polars and pyarrow offer ``to_pandas``, Arrow's stream (``__arrow_c_stream__``)
    or the dataframe interchange protocol (``__dataframe__``).

    Raises:
        InputError: It is no table, or pyarrow is missing that reads it.
    """
    if isinstance(table, pd.DataFrame):
        return table
    try:
        if hasattr(table, "to_pandas"):
            return pd.DataFrame(table.to_pandas())
    except ImportError:
        raise InputError(
            "frame",
            expected="the package pyarrow, to read a table that is not pandas'",
            got="none installed",
            remedy="pip install pyarrow",
        ) from None
    if hasattr(table, "__arrow_c_stream__"):
        return import_package("pyarrow", what="frame").table(table).to_pandas()
    if hasattr(table, "__dataframe__"):
        return pd.api.interchange.from_dataframe(table)
    lazy = ", after collect()" if hasattr(table, "collect") else ""
    raise InputError(
        "frame",
        expected="a table of pandas, polars or pyarrow",
        got=type(table).__name__,
        remedy=f"pass one{lazy}",
    )
