"""Jobs as HTML and as text."""
