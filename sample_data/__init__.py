"""A constructed place: small scenes with known truth, and the scripts that made them."""
