"""Local modules."""
from __future__ import annotations
import os, sys, sysconfig
def is_installed(filename: str) -> bool:
    return False
