"""HTTP as libprocess speaks it, and answers that master and agent share."""
