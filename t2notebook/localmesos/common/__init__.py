"""Parts that master and agent share."""
