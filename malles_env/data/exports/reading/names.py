"""What retailers call the columns of a log, and what the importer calls them."""

from __future__ import annotations

import re

TARGETS: dict[str, str] = {
    "household_id": "who bought: customer, card, household",
    "basket_id": "one trip: receipt, invoice, order",
    "timestamp": "date, or date and time, of the trip",
    "time": "clock time, where it has a column of its own",
    "store_id": "shop or channel",
    "product_id": "code of the product",
    "quantity": "packages",
    "unit_price": "money per package",
    "line_total": "money of the whole line, divided by the quantity",
    "regular_price": "money per package without discount",
    "coupon_value": "money of coupons per line",
    "title": "the product's name in words",
    "brand": "brand or maker",
    "category": "group of markets",
    "market": "products that are alternatives to each other",
    "size": "content of the package in words, e.g. 12 oz",
}
"""Columns that the importer fills, and what each is."""

_NAMES: dict[str, str] = {
    "household_id": (
        "household id; household; household key; hh id; customer unique id; customer id; customer no; "
        "customer number; customer code; customer key; customer; cust id; client id; client; member id; "
        "member number; member; card id; card no; card number; loyalty id; user id; user; shopper id; buyer "
        "id; account id; account; panelist; panel id; kunde; kunden nr; kundennr; kunden id; kundennummer; "
        "cliente; id cliente; codigo cliente; code client; msno"
    ),
    "basket_id": (
        "basket id; basket; invoice no; invoice id; invoice number; invoice; order id; order no; order "
        "number; order; transaction id; transaction no; transaction number; transaction; receipt id; receipt "
        "no; receipt number; receipt; ticket id; ticket; trip id; trip; bill no; bill id; bill number; bill; "
        "bon nr; bonnummer; beleg nr; belegnr; belegnummer; rechnung; rechnungsnr; rechnungsnummer; factura; "
        "facture; session id; sales id; order key; cart id"
    ),
    "timestamp": (
        "timestamp; date time; datetime; invoice date; order date; transaction date; transaction dt; "
        "transaction timestamp; purchase date; order purchase timestamp; purchase timestamp; sale date; sales "
        "date; bill date; order datetime; order time; created at; date; day; datum; rechnungsdatum; "
        "belegdatum; kaufdatum; fecha; data; shop date; event time; time stamp"
    ),
    "time": "time; time of day; clock; uhrzeit; zeit; hora; heure; transaction time; trans time; shop hour",
    "store_id": (
        "store id; store; store key; store no; store number; store code; shop id; shop; branch; branch id; "
        "outlet; outlet id; location id; location; filiale; filial nr; filialnr; tienda; magasin; sales "
        "channel; channel; seller id"
    ),
    "product_id": (
        "product id; product code; product no; product number; product key; stock code; sku; sku id; item id; "
        "item code; item no; item number; article id; article no; article number; article; ean; ean code; "
        "upc; gtin; barcode; artikel; artikel nr; artikelnr; artikelnummer; codigo producto; prod code; plu; "
        "product; item"
    ),
    "quantity": (
        "quantity; qty; quantity sold; order quantity; units; units sold; unit sales; pieces; pcs; menge; "
        "anzahl; stueck; cantidad; quantite; number of items; item count; count; packages; amount"
    ),
    "unit_price": (
        "unit price; price per unit; price each; item price; price; preis; einzelpreis; stueckpreis; precio; "
        "precio unitario; prix; prix unitaire; shelf price; price paid; selling price; unit cost price; net "
        "price; sales price"
    ),
    "line_total": (
        "line total; total price; total; total amount; sales value; sales amount; net sales; gross sales; "
        "sales; revenue; turnover; extended price; amount; net amount; subtotal; betrag; umsatz; gesamt; "
        "gesamtpreis; importe; montant; spend; total sales; value; sales price"
    ),
    "regular_price": "regular price; list price; base price; normal price; original price; msrp; rrp; uvp; listenpreis",
    "coupon_value": "coupon value; coupon; coupon discount; coupon disc",
    "title": (
        "title; description; product name; item name; product title; product description; item description; "
        "product desc; item desc; article name; bezeichnung; artikelbezeichnung; descripcion; designation; "
        "name; product; item; artikel"
    ),
    "brand": "brand; brand name; manufacturer; maker; vendor; marke; hersteller; marca; marque; producer",
    "category": (
        "category; product category; product category name; category name; department; dept; product line; "
        "family; kategorie; warengruppe; categoria; rayon; class; section; aisle"
    ),
    "market": (
        "market; sub category; subcategory; product subcategory; product subclass; subclass; sub class; "
        "product type; product group; commodity; sub commodity; subfamily; unterkategorie; item group"
    ),
    "size": "size; pack size; package size; curr size of product; product size; packung; packungsgroesse; content",
}
SYNONYMS: dict[str, tuple[str, ...]] = {
    target: tuple(name.strip() for name in names.split(";")) for target, names in _NAMES.items()
}
"""Canonical column -> names in plain words, the surest first."""

IGNORED = frozenset({"", "index", "row", "row id", "unnamed 0", "id", "no", "nr", "rownames"})
"""Names of columns that number the rows."""


def plain_name(name: str) -> str:
    """Return a column's name in lower-case words: ``InvoiceNo``, ``invoice_no`` and ``INVOICE NO`` are one.

    >>> plain_name("InvoiceNo"), plain_name("Sub-Category"), plain_name("CUSTOMER_ID"), plain_name("Stück")
    ('invoice no', 'sub category', 'customer id', 'stueck')
    """
    for letter, plain in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"), ("é", "e"), ("ó", "o"), ("á", "a")):
        name = name.replace(letter, plain).replace(letter.upper(), plain.capitalize())
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    words = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", words)
    return " ".join(re.findall(r"[a-z0-9]+", words.lower()))


def closeness(target: str, column: str) -> float:
    """Return how well a column's name says that it is a canonical column: 0 not at all, up to 2.

    Exact names count more than names that contain one, and the surest of a list more than the others.
    """
    own = plain_name(column)
    joined = own.replace(" ", "")
    if own == target.replace("_", " ") or joined == target.replace("_", ""):
        return 2.0
    names = SYNONYMS[target]
    for place, name in enumerate(names):
        if own == name or joined == name.replace(" ", ""):
            return 1.9 - place / 1000
    for place, name in enumerate(names):
        # Single words are too common to be looked for inside other names ("customer type").
        if " " in name and f" {name} " in f" {own} ":
            return 0.9 - place / 1000
    return 0.0


def known_columns(columns: list[str]) -> int:
    """Return how many columns have a name that means something here."""
    return sum(max(closeness(target, column) for target in TARGETS) > 0 for column in columns)
