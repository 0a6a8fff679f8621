"""A gift wholesaler's log with real product names (UCI "Online Retail", CC0) as choice occasions.

`reading` finds the file, `cleaning` drops lines by stated rules and counts them, `categories` sorts products by words
of their names, `prices` recovers list prices, quantity tiers and case sizes, `build` makes choice occasions,
`launches` the trials of products first sold after training, and `prepare` keeps all of it in the cache.
"""
