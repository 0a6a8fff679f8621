"""Studies of sellers: deep RL against known answers, dynamic pricing, and the tournament."""
