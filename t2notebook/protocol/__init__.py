"""Parts that both sides of the wire share: archives, framing, signatures, launch data."""
