"""The background scheduler: driver, matching of offers, and the loop that launches workers and hears how
they end.
"""
