"""Polygons: trace, measure, simplify, write."""
