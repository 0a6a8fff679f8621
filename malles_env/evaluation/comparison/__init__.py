"""Every model on every split of the protocol: answers, scores, differences and the tables of them."""
