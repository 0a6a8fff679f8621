"""Studies of consumers who know products by their names: how transfer grows, and whether people carry over."""
