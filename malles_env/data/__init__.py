"""Transactions to choice occasions: schema, readers, the Complete Journey, shelves, prices, histories, splits."""
