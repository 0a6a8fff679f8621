"""What the pages show, worked out without a browser: one module per page."""
