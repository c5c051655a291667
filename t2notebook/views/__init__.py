"""Views of jobs and of the cluster: the records that they show, and the ES modules that draw them in any page."""
