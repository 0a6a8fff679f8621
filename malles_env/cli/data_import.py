"""`malles data import` and `malles data template`: a log from a retailer's export, and an empty one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malles_env.cli.places import folder_option

FilesArgument = Annotated[
    list[Path],
    typer.Argument(help="Parts or tables of one export: .csv, .tsv, .txt, .xlsx, .parquet, .rda (.csv.gz too)."),
]


def import_command(
    files: FilesArgument,
    out: Annotated[Path, folder_option("Folder of the log to write.", "--out")],
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", help="NAME=COLUMN,... e.g. household_id=CustomerID; an empty COLUMN leaves NAME out."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show which column is which, and stop.")] = False,
    date_format: Annotated[
        str | None, typer.Option(help="dmy, mdy, ymd, or e.g. '%d/%m/%Y %H:%M'; default: decided over the column.")
    ] = None,
    time_zone: Annotated[str | None, typer.Option(help="Timestamps are UTC; the stores' zone.")] = None,
    decimal: Annotated[str | None, typer.Option(help="Decimal mark of text files, '.' or ','.")] = None,
    separator: Annotated[str | None, typer.Option(help="Of text files; default: found in them.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of text files; default: found in them.")] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of a workbook, or data frame of an R file.")] = None,
    one_market: Annotated[str | None, typer.Option(help="All products are one market of this name.")] = None,
    keywords: Annotated[
        Path | None, typer.Option(help="YAML file of markets and words of titles, e.g. 'bags: [bag, tote]'.")
    ] = None,
    drop_returns: Annotated[bool, typer.Option("--drop-returns/--refuse-returns", help="Negative quantities.")] = True,
    drop_zero_prices: Annotated[
        bool, typer.Option("--drop-zero-prices/--refuse-zero-prices", help="Prices or quantities of zero.")
    ] = True,
    drop_fractions: Annotated[
        bool, typer.Option("--drop-fractions/--refuse-fractions", help="Quantities that are no whole number.")
    ] = True,
    drop_guests: Annotated[
        bool,
        typer.Option("--drop-guests/--keep-guests", help="Rows without a customer; kept: one household a receipt."),
    ] = True,
    drop_notes: Annotated[bool, typer.Option("--drop-notes/--keep-notes", help="Titles that name no product.")] = True,
    drop_mistyped: Annotated[
        bool, typer.Option("--drop-mistyped/--keep-mistyped", help="Prices far from their product's median.")
    ] = True,
    drop_far_dates: Annotated[
        bool, typer.Option("--drop-far-dates/--keep-far-dates", help="Dates years away from all others.")
    ] = True,
    price_factor: Annotated[float, typer.Option(help="How many times above or below is far.")] = 5.0,
    drop_repeated: Annotated[
        bool, typer.Option("--drop-repeated/--keep-repeated", help="Rows that equal another one of their file.")
    ] = False,
    drop_unreadable: Annotated[
        bool, typer.Option("--drop-unreadable/--refuse-unreadable", help="Rows with a value that cannot be read.")
    ] = False,
    currency: Annotated[
        str | None, typer.Option(help="Code of the currency, e.g. EUR; rows in another are left out.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="What the log is, in words, for scenarios.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write the report to this file, too.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an imported log in --out.")] = False,
) -> None:
    """Turn a retailer's export into a log: columns found and shown, every row kept or dropped by a stated rule."""
    from malles_env.data.exports import ImportChoices, import_log, planned
    from malles_env.data.exports.choices import parse_map
    from malles_env.data.exports.report import text_report
    from malles_env.data.exports.writing import check_target, write_import
    from malles_env.files import write_json

    choices = ImportChoices(
        parse_map(columns or []), separator, encoding, decimal, sheet, date_format, time_zone, one_market, keywords,
        drop_returns, drop_zero_prices, drop_guests, drop_notes, drop_fractions, drop_mistyped, drop_repeated,
        drop_unreadable, price_factor, currency, source, drop_far_dates,
    )  # fmt: skip
    check_target(out, overwrite=overwrite, files_read=files)
    plan = planned(files, choices)
    typer.echo(str(plan))
    if dry_run:
        return
    found = import_log(plan, choices)
    write_import(found, out, overwrite=overwrite, files_read=files)
    if as_json is not None:
        write_json(as_json, found.as_json(), allow_nan=False)
    typer.echo(text_report(found, out))


def template_command(
    out: Annotated[Path, folder_option("New folder for the empty log.", "--out")] = Path("log"),
) -> None:
    """Write an empty log: transactions.csv and products.csv with their headers, and columns.md, which explains them."""
    from malles_env.data.exports import write_template

    write_template(out)
    typer.echo(f"{out}: transactions.csv, products.csv, columns.md (what each column holds), settings.yaml")
    typer.echo(f"next: fill them in, then malles data check {out}")
