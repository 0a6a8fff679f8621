"""What sellers may do beside setting prices, and by which rules: promotion, orders, quantity discounts."""
