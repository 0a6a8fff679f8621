"""What retailers call the columns of a log, and what the importer calls them."""

from __future__ import annotations

import re
import unicodedata

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
    "status": "sale, return or cancelled, in words",
    "currency": "code of the currency of the row",
}
"""Columns that the importer fills, and what each is."""

_NAMES: dict[str, str] = {
    "household_id": (
        "household id; household; household key; hh id; customer unique id; customer id; customer no; "
        "customer number; customer code; customer key; customer; cust id; client id; client; member id; "
        "member number; member; card id; card no; card number; loyalty id; user id; user; shopper id; "
        "buyer id; account id; account; panelist; panel id; kunde; kunden nr; kundennr; kunden id; "
        "kundennummer; cliente; id cliente; codigo cliente; code client; msno; client no; numero client; "
        "id client; klant; klantnummer; klant id; klient; kund; kundnummer; clienti; клиент; покупатель; "
        "номер клиента; 顧客番号; 顧客id; 会員番号; 客户; 客户id; 客户编号"
    ),
    "basket_id": (
        "basket id; basket; invoice no; invoice id; invoice number; invoice; order id; order no; order "
        "number; order; transaction id; transaction no; transaction number; transaction; receipt id; "
        "receipt no; receipt number; receipt; ticket id; ticket; trip id; trip; bill no; bill id; bill "
        "number; bill; bon nr; bonnummer; bon; beleg; beleg nr; belegnr; belegnummer; rechnung; rechnungsnr; "
        "rechnungsnummer; factura; facture; session id; sales id; order key; cart id; no ticket; numero "
        "ticket; num ticket; recibo; nota fiscal; pedido; scontrino; numero scontrino; ricevuta; paragon; "
        "numer paragonu; kvitto; kassabon; чек; номер чека; заказ; номер заказа; 伝票番号; 注文番号; "
        "レシート番号; 订单; 订单号; 订单编号; 小票号"
    ),
    "timestamp": (
        "timestamp; ts; date time; datetime; invoice date; order date; transaction date; transaction dt; "
        "transaction timestamp; purchase date; order purchase timestamp; purchase timestamp; sale date; "
        "sales date; bill date; order datetime; order time; created at; date; day; datum; rechnungsdatum; "
        "belegdatum; kaufdatum; fecha; data; shop date; event time; time stamp; date achat; date "
        "commande; date vente; fecha compra; fecha venta; data venda; data acquisto; data compra; datum "
        "verkoop; aankoopdatum; data zakupu; дата; дата покупки; дата продажи; 日付; 日時; 注文日; 購入日; 日期; 时间; "
        "订单日期"
    ),
    "time": "time; time of day; clock; uhrzeit; zeit; hora; heure; transaction time; trans time; shop hour",
    "store_id": (
        "store id; store; store key; store no; store number; store code; shop id; shop; branch; branch "
        "id; outlet; outlet id; location id; location; filiale; filial nr; filialnr; tienda; magasin; "
        "sales channel; channel; seller id; magasin id; negozio; punto vendita; loja; winkel; filiaal; "
        "sklep; butik; магазин; 店舗; 店舗コード; 门店"
    ),
    "product_id": (
        "product id; product code; product no; product number; product key; stock code; sku; sku id; item "
        "id; item code; item no; item number; article id; article no; article number; article; ean; ean "
        "code; upc; gtin; barcode; artikel; artikel nr; artikelnr; artikelnummer; codigo producto; prod "
        "code; plu; product; item; code produit; code article; reference; ref; codigo; codigo do produto; "
        "cod articulo; articulo; codice; codice articolo; codice prodotto; articolo; prodotto; "
        "artikelcode; kod produktu; produkt; indeks; artikelnummer; код товара; артикул; товар; 商品コード; "
        "商品番号; 商品id; 商品编码; 商品编号; 产品编号"
    ),
    "quantity": (
        "quantity; qty; quantity sold; order quantity; units; units sold; unit sales; pieces; pcs; menge; "
        "anzahl; stueck; cantidad; quantite; number of items; item count; count; packages; amount; "
        "quantidade; quantita; qtd; qta; qte; aantal; ilosc; antal; szt; количество; кол во; 数量; 個数; 购买数量"
    ),
    "unit_price": (
        "unit price; price per unit; price each; item price; price; preis; einzelpreis; stueckpreis; "
        "precio; precio unitario; prix; prix unitaire; shelf price; price paid; selling price; unit cost "
        "price; net price; sales price; preco; preco unitario; valor unitario; prezzo; prezzo unitario; "
        "prijs; stukprijs; cena; cena jednostkowa; cena jedn; pris; styckpris; цена; цена за единицу; 単価; "
        "価格; 单价; 价格"
    ),
    "line_total": (
        "line total; total price; total; total amount; sales value; sales amount; net sales; gross sales; "
        "sales; revenue; turnover; extended price; amount; net amount; subtotal; betrag; umsatz; gesamt; "
        "gesamtpreis; importe; montant; spend; total sales; value; sales price; total ligne; prix total; "
        "montant total; importe total; valor total; totale; importo; totaal; totaalbedrag; bedrag; "
        "wartosc; kwota; suma; belopp; summa; сумма; итого; стоимость; 金額; 合計; 金额; 总价; 总金额"
    ),
    "regular_price": "regular price; list price; base price; normal price; original price; msrp; rrp; uvp; listenpreis",
    "coupon_value": "coupon value; coupon; coupon discount; coupon disc",
    "title": (
        "title; description; product name; item name; product title; product description; item "
        "description; product desc; item desc; article name; bezeichnung; artikelbezeichnung; "
        "descripcion; designation; name; product; item; artikel; libelle; libelle produit; nom produit; "
        "nombre producto; descricao; descricao do produto; nome produto; descrizione; nome prodotto; "
        "omschrijving; artikelomschrijving; productnaam; nazwa; nazwa produktu; benamning; produktnamn; "
        "наименование; название; название товара; 商品名; 品名; 商品名称; 产品名称"
    ),
    "brand": (
        "brand; brand name; manufacturer; maker; vendor; marke; hersteller; marca; marque; producer; "
        "merk; marka; varumarke; бренд; марка; ブランド; メーカー; 品牌"
    ),
    "category": (
        "category; product category; product category name; category name; department; dept; product "
        "line; family; kategorie; warengruppe; categoria; rayon; class; section; aisle; categorie; "
        "famille; familia; categoria prodotto; reparto; productgroep; groep; kategoria; grupa; категория; "
        "группа; 分類; カテゴリ; 类别; 品类"
    ),
    "market": (
        "market; sub category; subcategory; product subcategory; product subclass; subclass; sub class; "
        "product type; product group; commodity; sub commodity; subfamily; unterkategorie; item group; "
        "sous categorie; sous famille; subcategoria; sottocategoria; subcategorie; podkategoria; "
        "подкатегория; 小分類; 子类别"
    ),
    "status": (
        "status; order status; transaction type; transaction status; sale type; document type; doc type; record type; "
        "line type; invoice type; type; belegart; vorgang; estado; statut; stato; tipo documento; ステータス; 状态"
    ),
    "currency": "currency; currency code; waehrung; devise; moneda; moeda; valuta; waluta; валюта; 通貨; 货币",
    "size": (
        "size; pack size; package size; curr size of product; product size; packung; packungsgroesse; "
        "content; taille; contenance; formato; inhoud; inhalt; pojemnosc"
    ),
}
IGNORED = frozenset({"index", "row", "row id", "unnamed 0", "id", "no", "nr", "rownames"})
"""Names of columns that number the rows."""

NUMBER = frozenset({"id", "no", "nr", "num", "number", "nummer", "numero", "nro"})
"""Words of column names that mean a number by which something is identified."""

UNDONE = (
    r"(?i)\b(?:returns?|returned|refund(?:s|ed)?|cancel(?:l?ed|lation|s)?|void(?:ed)?|chargeback|credit (?:note|memo)"
    r"|storno|storniert|retoure|rückgabe|gutschrift|annulée?|retour|avoir|devolución|devuelto|cancelado|reso|annullato)\b"
)
"""A status of rows that are no sales."""


def plain_name(name: str) -> str:
    """Return a column's name in lower-case words: ``InvoiceNo``, ``invoice_no`` and ``INVOICE NO`` are one.

    >>> plain_name("InvoiceNo"), plain_name("Sub-Category"), plain_name("CUSTOMER_ID"), plain_name("Stück")
    ('invoice no', 'sub category', 'customer id', 'stueck')
    """
    for letter, plain in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"), ("ł", "l"), ("ø", "o")):
        name = name.replace(letter, plain).replace(letter.upper(), plain.capitalize())
    name = re.sub(r"\b[Nn][°º]", "no ", name)
    name = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    words = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", words)
    return " ".join(re.findall(r"[^\W_]+", words.lower()))


def _in_any_order(target: str, name: str) -> list[str]:
    """Return the words of a plain name in alphabetical order; where an id is sought, without words for "number"."""
    return sorted(word for word in name.split() if word not in NUMBER or not target.endswith("_id"))


SYNONYMS: dict[str, tuple[str, ...]] = {
    target: tuple(plain_name(name) for name in names.split(";")) for target, names in _NAMES.items()
}
"""Canonical column -> names in plain words, the surest first."""
_ORDERED = {target: [_in_any_order(target, name) for name in names] for target, names in SYNONYMS.items()}


def closeness(target: str, column: str) -> float:
    """Return how well a column's name says that it is a canonical column: 0 not at all, up to 2.

    Exact names count more than names that contain one, and the surest of a list more than the others.
    """
    own = plain_name(column)
    joined, order = own.replace(" ", ""), _in_any_order(target, own)
    if own == target.replace("_", " ") or joined == target.replace("_", ""):
        return 2.0
    names = SYNONYMS[target]
    for place, name in enumerate(names):
        if own == name or joined == name.replace(" ", ""):
            return 1.9 - place / 1000
    if order and order in _ORDERED[target]:
        return 1.8 - _ORDERED[target].index(order) / 1000
    for place, name in enumerate(names):
        # Single words are too common to be looked for inside other names ("customer type").
        if " " in name and f" {name} " in f" {own} ":
            return 0.9 - place / 1000
    return 0.0


def known_columns(columns: list[str]) -> int:
    """Return how many columns have a name that means something here."""
    return sum(max(closeness(target, column) for target in TARGETS) > 0 for column in columns)
