"""How a local model reads many prompts at once and answers in words."""
